"""Settling: the market pays for an answer that a quorum of custodians signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.chain.sender import Sender
from marketplace.chain.wallets import signed_by_key
from marketplace.errors import Refusal
from marketplace.peers import Peer, ask_all
from marketplace.release import QuorumMissing
from marketplace.stages import Cleared, Settled
from marketplace.wire.structs import Settlement

NOT_SERVING = frozenset({"handover_unfinished", "journal_behind", "finality_violated"})
"""What a custodian's health names and time alone does not cure."""


def require_serving(chain: Chain, custodians: Sequence[Peer]) -> None:
    """As many custodians as the quorum are there and could turn.

    Asked before a freeze: the seal spends the patients' budget and the researcher's money for good.

    Raises:
        QuorumMissing: naming each custodian that could not, and why.
    """
    quorum = chain.committee().quorum
    said = ask_all(
        len(custodians),
        lambda place: _require_serving(custodians[place]),
        lambda serving: len(serving) >= quorum,
    )
    faults = {place: each for place, each in said.items() if isinstance(each, Refusal)}
    serving = len(said) - len(faults)
    if serving < quorum:
        named = ", ".join(f"{custodians[i].name} ({faults[i].code})" for i in sorted(faults))
        raise QuorumMissing(
            message=f"{serving} of the {quorum} custodians needed could turn. {named}",
            remedy="Start or repair these custodians, or finish their handover; the step is tried again.",
            field="custodians",
        )


def _require_serving(peer: Peer) -> None:
    for reason in peer.reasons():
        if reason in NOT_SERVING:
            raise Refusal(
                code=reason,
                message=f"{peer.name} cannot turn now.",
                remedy="Its host repairs it, or finishes its handover.",
            )


def settle(sender: Sender, cleared: Cleared) -> None:
    """Sends the settlement: fee and bond are credited, the sealed result is delivered with it."""
    settlement = Settlement.from_json(cleared.computed.settlement)
    sender.send(
        "ResearchMarket",
        "settle",
        settlement.abi_tuple(),
        cleared.computed.sealed_result,
        [list(each) for each in cleared.signatures],
    )


def by_wallets(chain: Chain, cleared: Cleared) -> frozenset[int]:
    """The places whose signature is not a key's own, and so only a contract wallet's word (ERC-1271).

    Such a wallet may say yes where a node asks it, and no in the transaction that its word is needed for.
    """
    settlement = Settlement.from_json(cleared.computed.settlement)
    domain = chain.domain("ResearchMarket")
    signers = {each.place: each.signer for each in chain.committee(settlement.epoch).members}
    return frozenset(
        place
        for place, signature in cleared.signatures
        if not signed_by_key(settlement, domain, signature, signers[place])
    )


def conclude(chain: Chain, request: str, receipt: Mapping[str, Any]) -> Settled:
    """The end of a request whose settlement is final.

    Raises:
        Refusal: `not_yet_final`: nothing is shown to a researcher that a reorganisation may take away.
    """
    block = int(receipt["blocks"]["settled"])
    chain.require_final(block)
    return Settled(request, block, dict(receipt))
