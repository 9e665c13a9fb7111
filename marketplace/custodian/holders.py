"""To whom a custodian hands its part of the joint key on: who the chain seats, if its host knows them, too.

Whoever opens epochs could seat itself at every place, and collect the key from honest dealers. So a seat of a
new epoch gets a share only if it is the same as in the epoch before, signer and X25519 key, or if this
custodian's host was given that custodian's identity by another way: the file that `custodian init` printed
there, put into the folder `holders` of this custodian's data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from marketplace.chain.adapter import Chain, CommitteeView, ContractRefusal
from marketplace.chain.views import CommitteeMember
from marketplace.errors import Refusal
from marketplace.vocabulary import address
from marketplace.wire.canonical import JSON_LIMIT, parse
from marketplace.wire.http import hash_field

FOLDER = "holders"
X25519 = 1
Identity = tuple[str, bytes]
"""Signer and X25519 key."""


class UnknownHolder(Refusal):
    """A custodian of a new epoch whom this one's host does not know."""

    CODE = "unknown_holder"


def known_holders(data: Path) -> frozenset[Identity]:
    """The identities that the host put into the folder. Raises UnknownHolder for a file that holds none."""
    folder = data / FOLDER
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return frozenset(_read(each) for each in files)


def require_known(
    chain: Chain, epoch: int, dealers: CommitteeView, known: frozenset[Identity]
) -> CommitteeView:
    """The committee of the newest epoch, in a final block, of the dealers' shape, every seat of it known.

    Raises:
        UnknownHolder: wrong_epoch, not_yet_final, committee_changed; unknown_holder naming the place.
    """
    current = int(chain.current_epoch())
    if epoch != current:
        raise _refused("wrong_epoch", f"Epoch {epoch} is not the current one, {current}.")
    try:
        holders = chain.committee(epoch, block=chain.finalized())
    except ContractRefusal:
        raise _refused("not_yet_final", f"Epoch {epoch} is not in a final block yet.") from None
    if (holders.quorum, len(holders.members)) != (dealers.quorum, len(dealers.members)):
        raise _refused(
            "committee_changed", "The new epoch has another quorum, or size, than the old one."
        )
    for each in strangers(dealers, holders, known):
        raise _refused(
            "unknown_holder",
            f"The chain seats {each.signer} at place {each.place} of epoch {epoch}, and this custodian's "
            "host was not told of that custodian and key.",
        )
    return holders


def strangers(
    before: CommitteeView, after: CommitteeView, known: frozenset[Identity]
) -> list[CommitteeMember]:
    """The members of a committee that are neither seated as in the one before nor known to the host."""
    seats = {(each.place, each.signer, each.keys[X25519]) for each in before.members}
    return [
        each
        for each in after.members
        if (each.place, each.signer, each.keys[X25519]) not in seats
        and (each.signer, each.keys[X25519]) not in known
    ]


def _read(path: Path) -> Identity:
    try:
        document: Any = parse(path.read_bytes(), limit=JSON_LIMIT)
        return address(document["signer"], "signer"), hash_field(document["x25519"], "x25519")
    except (OSError, KeyError, TypeError, Refusal):
        raise _refused(
            "unknown_holder", f"The file {path.name} among the holders is no identity."
        ) from None


def _refused(code: str, message: str) -> UnknownHolder:
    return UnknownHolder(
        code=code,
        message=message,
        remedy="Have every new custodian's `custodian init` output brought to this custodian's host by a way "
        "that it trusts, into the folder `holders` of its data; then call the re-sharing again.",
        field="session.epoch",
    )
