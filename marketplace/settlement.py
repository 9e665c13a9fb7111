"""Settling: a quorum of custodians signs what the gate answered, and the market pays for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from marketplace.chain.adapter import Chain, RequestView
from marketplace.chain.sender import Sender
from marketplace.chain.wallets import accepts_signature
from marketplace.errors import Refusal
from marketplace.peers import Peer, ask_all
from marketplace.receipts.format import SIGNATURE_BYTES
from marketplace.release import require_releasable
from marketplace.stages import Cleared, Computed
from marketplace.wire.eip712 import BadSignature
from marketplace.wire.http import hex_field, to_base64, to_hex
from marketplace.wire.http_client import SMALL_ANSWER
from marketplace.wire.structs import Settlement, require_signed


class QuorumMissing(Refusal):
    """Fewer custodians signed than the epoch's quorum."""

    CODE = "quorum_missing"


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
        )


def _require_serving(peer: Peer) -> None:
    for reason in peer.reasons():
        if reason in NOT_SERVING:
            raise Refusal(
                code=reason,
                message=f"{peer.name} cannot turn now.",
                remedy="Its host repairs it, or finishes its handover.",
            )


def clear(
    chain: Chain, computed: Computed, view: RequestView, custodians: Sequence[Peer]
) -> Cleared:
    """Has a quorum sign a releasable answer. Custodian i of `custodians` sits at place i.

    Raises:
        ReleaseRefused, BadSignature: the answer is not of what was sealed.
        QuorumMissing: naming each custodian that did not sign, and why.
    """
    domain = chain.domain("ResearchMarket")
    settlement = require_releasable(computed, view, domain)
    committee = chain.committee(view.epoch)
    body = {
        "settlement": settlement.to_json(),
        "sealed_result": to_base64(computed.sealed_result),
        "gate_signature": to_hex(computed.gate_signature),
    }

    def signed(place: int) -> bytes:
        said = custodians[place].post("/settlements", body, most=SMALL_ANSWER)
        signature = hex_field(said.get("signature"), "signature", SIGNATURE_BYTES)
        _require_signed(chain, settlement, signature, committee.members[place].signer)
        return signature

    said = ask_all(
        min(len(custodians), len(committee.members)),
        signed,
        lambda good: len(good) >= committee.quorum,
    )
    signatures = sorted((i, each) for i, each in said.items() if isinstance(each, bytes))
    if len(signatures) < committee.quorum:
        raise _unsigned(said, custodians, committee.quorum)
    return Cleared(computed, tuple(signatures[: committee.quorum]))


def _unsigned(
    said: Mapping[int, bytes | Refusal], custodians: Sequence[Peer], quorum: int
) -> QuorumMissing:
    refusals = {place: each for place, each in said.items() if isinstance(each, Refusal)}
    named = (f"{custodians[place].name}: {refusals[place]}" for place in sorted(refusals))
    return QuorumMissing(
        message=f"{len(said) - len(refusals)} of the {quorum} custodians needed signed. "
        + " ".join(named),
        remedy="Start the missing custodians; the step is tried again.",
    )


def _require_signed(chain: Chain, settlement: Settlement, signature: bytes, signer: str) -> None:
    """As the market judges it: by the custodian's key, or by the contract wallet that sits in its place."""
    domain = chain.domain("ResearchMarket")
    try:
        require_signed(settlement, domain, signature, signer)
    except BadSignature:
        if not accepts_signature(chain.node, signer, settlement.digest(domain), signature):
            raise


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
