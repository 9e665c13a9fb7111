"""Settling: a quorum of custodians signs what the gate answered, and the market pays for it."""

from __future__ import annotations

from collections.abc import Sequence

from marketplace.chain.adapter import Chain, RequestView
from marketplace.chain.sender import Sender
from marketplace.errors import Refusal
from marketplace.peers import Peer
from marketplace.release import require_releasable
from marketplace.stages import Cleared, Computed
from marketplace.wire.http import hex_field, to_base64, to_hex
from marketplace.wire.structs import Settlement, require_signed


class QuorumMissing(Refusal):
    """Fewer custodians signed than the epoch's quorum."""

    CODE = "quorum_missing"


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
    signatures: list[tuple[int, bytes]] = []
    refusals: list[str] = []
    for place, peer in enumerate(custodians):
        if len(signatures) == committee.quorum:
            break
        try:
            signature = hex_field(
                peer.post("/settlements", body).get("signature"), "signature", 4_096
            )
            require_signed(settlement, domain, signature, committee.members[place].signer)
        except Refusal as refusal:
            refusals.append(f"{peer.name}: {refusal}")
            continue
        signatures.append((place, signature))
    if len(signatures) < committee.quorum:
        raise QuorumMissing(
            message=f"{len(signatures)} of the {committee.quorum} custodians needed signed. "
            + " ".join(refusals),
            remedy="Start the missing custodians; the step is tried again.",
        )
    return Cleared(computed, tuple(signatures))


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
