"""Before an answer leaves the gate: a quorum of custodians has noted it as the one for its request.

A gate's journal is its own, and a host may restore an old copy of it. Then the gate would draw fresh
noise for a request that it has answered. Every two quorums share a custodian (k > n/2), and each
custodian notes one answer for a request, for ever: the second draw finds no quorum and is seen by nobody.
What is sent here are hashes; the sealed result itself stays with the gate until they are noted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

import structlog

from marketplace.chain.views import CommitteeView
from marketplace.errors import Refusal
from marketplace.gate.quorum import SIGNATURE_BYTES, Fault, missing
from marketplace.wire.http import hex_field, to_hex
from marketplace.wire.http_client import SMALL_ANSWER, post
from marketplace.wire.settings import Endpoint
from marketplace.wire.structs import Domain, Settlement, require_signed

log = structlog.get_logger()


class AnsweredBefore(Refusal):
    """This gate gave another answer to this request, and its journal does not know of it."""

    CODE = "answered_before"


def register(
    settlement: Settlement,
    gate_signature: bytes,
    committee: CommitteeView,
    custodians: Sequence[Endpoint],
    market: Domain,
    *,
    timeout: float,
) -> list[tuple[int, bytes]]:
    """The signatures of a quorum of the epoch's custodians under this very settlement, by ascending place.

    They are the ones that the market asks for: whoever holds them needs no custodian to settle.

    Raises:
        AnsweredBefore: so many have noted another answer that no quorum is left for this one.
        QuorumMissing: too few can be reached, or turned. The answer must not be given out then.
    """
    signers = {member.place: member.signer for member in committee.members}
    seated = [each for each in custodians if each.place in signers]
    body = {"settlement": settlement.to_json(), "gate_signature": to_hex(gate_signature)}

    def note(custodian: Endpoint) -> bytes:
        said = post(custodian.url, "/answers", body, timeout=timeout, most=SMALL_ANSWER)
        signature = hex_field(said.get("signature"), "signature", SIGNATURE_BYTES)
        require_signed(settlement, market, signature, signers[custodian.place])
        return signature

    noted, faults = _ask(note, seated, committee.quorum)
    if len(noted) >= committee.quorum:
        return sorted(noted.items())
    if any(fault.code == "equivocation" for fault in faults):
        raise _answered_before(faults)
    raise missing(committee.quorum, len(noted), faults)


def _ask(
    note: Callable[[Endpoint], bytes], seated: Sequence[Endpoint], quorum: int
) -> tuple[dict[int, bytes], list[Fault]]:
    """What the places that noted it signed, as soon as they are a quorum, and what the others said."""
    pool = ThreadPoolExecutor(max(1, len(seated)))
    asked = {pool.submit(note, each): each.place for each in seated}
    noted: dict[int, bytes] = {}
    faults: list[Fault] = []
    for future in as_completed(asked):
        try:
            noted[asked[future]] = future.result()
        except Refusal as refusal:
            faults.append(Fault(asked[future], refusal.code))
        except Exception as fault:
            # A custodian whose answer trips this gate is at fault; the others still count.
            log.warning("answer_unreadable", place=asked[future], kind=type(fault).__name__)
            faults.append(Fault(asked[future], "unreadable_answer"))
        if len(noted) >= quorum:
            break
    pool.shutdown(wait=False)
    return noted, sorted(faults, key=lambda fault: fault.place)


def _answered_before(faults: Sequence[Fault]) -> AnsweredBefore:
    return AnsweredBefore(
        message="Custodians have noted another answer of this gate to this request; this one stays here.",
        remedy="Restore the newest copy of the gate's journal. The operator may hold the first answer, "
        "and settle with it; otherwise the request defaults.",
        facts={"faults": {fault.place: fault.code for fault in faults}},
    )
