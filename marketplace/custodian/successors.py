"""Rotation: to whom a place's shares may go. The chain names a successor, and so does its own host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from marketplace.chain.adapter import Chain, CommitteeView, ContractRefusal
from marketplace.custodian.vault import X25519
from marketplace.errors import Refusal
from marketplace.vocabulary import Address, Epoch


@dataclass(frozen=True)
class Successor:
    """Who holds the place in the new epoch: as the chain has it, and as its host said by another way."""

    epoch: Epoch
    signer: str
    key: bytes


def require_successor(
    chain: Chain, place: int, own: str, epoch: int, signer: Address, key: bytes
) -> Successor:
    """Whoever the chain seats at `place` in the current epoch, if it is who its host says it is.

    Args:
        own: the address of the custodian that hands over.
        signer, key: the successor's identity, as it reached this custodian by another way. The chain
            alone would let whoever opens epochs collect all shares.

    Raises:
        Refusal: `wrong_epoch`, `not_yet_final`, `successor_mismatch`, `still_seated`,
            `custodian_moved`, `committee_changed`.
    """
    committee = _final_committee(chain, epoch)
    if chain.signer_of(epoch, place) == own:
        raise _refused("still_seated", f"This custodian keeps place {place} in epoch {epoch}.")
    _require_same_shape(chain.committee(last_seat(chain, place, own, epoch)), committee)
    seat = committee.members[place]
    if (seat.signer, seat.keys[X25519]) != (signer, key):
        raise _refused(
            "successor_mismatch",
            f"The chain seats {seat.signer} at place {place} of epoch {epoch}, and its identity is "
            "not the one given.",
        )
    for earlier in range(1, epoch):
        _require_one_place(chain.committee(earlier), place, signer)
    return Successor(committee.epoch, signer, key)


def last_seat(chain: Chain, place: int, signer: str, before: int) -> int:
    """The newest epoch before `before` that seats this custodian at its place.

    Raises:
        Refusal: `wrong_epoch`, if none does.
    """
    for epoch in range(before - 1, 0, -1):
        if chain.signer_of(epoch, place) == signer:
            return epoch
    raise _refused("wrong_epoch", f"This custodian never held place {place} of the committee.")


def _final_committee(chain: Chain, epoch: int) -> CommitteeView:
    """Only the newest epoch, and only once nothing can undo it."""
    current = chain.current_epoch()
    if epoch != current:
        raise _refused("wrong_epoch", f"Epoch {epoch} is not the current one, {current}.")
    try:
        return chain.committee(epoch, block=chain.finalized())
    except ContractRefusal:
        raise _refused("not_yet_final", f"Epoch {epoch} is not in a final block yet.") from None


def _require_same_shape(old: CommitteeView, new: CommitteeView) -> None:
    """Shares are cut for one n and k."""
    if (old.quorum, len(old.members)) != (new.quorum, len(new.members)):
        raise _refused(
            "committee_changed",
            f"Epoch {old.epoch} is {old.quorum} of {len(old.members)}, "
            f"epoch {new.epoch} {new.quorum} of {len(new.members)}.",
        )


def _require_one_place(earlier: CommitteeView, place: int, signer: str) -> None:
    """Two places in one hand are two shares, and so one custodian fewer to agree."""
    if any(m.signer == signer and m.place != place for m in earlier.members):
        raise _refused("custodian_moved", f"{signer} held another place in epoch {earlier.epoch}.")


REMEDIES: Final = {
    "wrong_epoch": "Give the current epoch, and the configuration of the place that changes hands.",
    "not_yet_final": "Wait until the chain has finalised it, then run this again.",
    "still_seated": "Nothing has to be handed over here.",
    "successor_mismatch": "Ask its host for what `usufruct custodian init` printed; if the chain "
    "differs from that, hand nothing over and ask the committee's administrator.",
    "committee_changed": "Have the committee opened with the same n and k, or the records sealed and "
    "attested anew.",
    "custodian_moved": "Have the committee opened with everybody who stays at the place held before.",
}


def _refused(code: str, message: str) -> Refusal:
    return Refusal(code=code, message=message, remedy=REMEDIES[code], field="epoch")
