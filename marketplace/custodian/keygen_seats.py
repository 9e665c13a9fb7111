"""Who deals and who holds in a key generation, by the chain; whether a session is wanted, and still on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.chain.views import CommitteeView
from marketplace.errors import Refusal
from marketplace.vocabulary import unsigned
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.http import hash_field, hex_field, require_keys
from marketplace.wire.keygen import MOST_SECONDS, KeygenExpired, Session
from marketplace.wire.keygen_words import Words
from marketplace.wire.structs import recover
from ml.homomorphic.curve import Point, points_from_bytes


class KeygenRefused(Refusal):
    """A message of a key generation that this custodian does not take part in."""

    CODE = "keygen_refused"


def refused(message: str, field: str) -> KeygenRefused:
    """A refusal that a new session gets over."""
    return KeygenRefused(
        message=message,
        remedy="Start a new session with what the custodians say now.",
        field=field,
    )


@dataclass(frozen=True)
class Seats:
    """Who deals and who holds in a session, by the chain."""

    session: Session
    dealers: CommitteeView
    holders: CommitteeView
    old: tuple[Point, ...] | None  # in a re-sharing, the commitments of the key that is kept

    @property
    def quorum(self) -> int:
        """Of the epoch that gets the key."""
        return self.holders.quorum

    @property
    def needed(self) -> int:
        """Dealers that must count."""
        return self.dealers.quorum

    def words(self, chain: Chain) -> Words:
        """Reads what the session's custodians say."""
        dealers, holders = ([m.signer for m in c.members] for c in (self.dealers, self.holders))
        return Words(self.session, dealers, holders, chain.domain("CustodianCommittee"))

    def deals(self, place: int, signer: str) -> bool:
        """Whether the custodian with this signing key is the dealer at this place."""
        return _seated(self.dealers, place, signer)

    def require_dealer(self, place: int, signer: str) -> None:
        """Raises KeygenRefused."""
        if not self.deals(place, signer):
            raise refused("This custodian is no dealer of the session.", "session")

    def require_holder(self, place: int, signer: str) -> None:
        """Raises KeygenRefused."""
        if not _seated(self.holders, place, signer):
            raise refused("This custodian is no holder of the session.", "session")


def session_of(document: Any, chain: Chain) -> Session:
    """A session from its JSON. Raises BadParameter."""
    fields = require_keys(document, {"epoch", "origin", "nonce", "deadline"}, at="session")
    return Session(
        chain.chain_id,
        chain.manifest.address("CustodianCommittee"),
        unsigned(fields["epoch"], 32, "session.epoch"),
        unsigned(fields["origin"], 32, "session.origin"),
        hash_field(fields["nonce"], "session.nonce"),
        unsigned(fields["deadline"], 40, "session.deadline"),
    )


def seats_of(chain: Chain, session: Session) -> Seats:
    """Raises KeygenRefused: nothing to re-share. ContractRefusal: unknown_epoch."""
    holders = chain.committee(session.epoch)
    if not session.is_resharing:
        return Seats(session, holders, holders, None)
    dealers = chain.committee(session.origin)
    raw, _ = chain.joint_key(session.origin)
    if not raw or session.origin >= session.epoch:
        raise refused("There is no key of an earlier epoch to re-share.", "session.origin")
    return Seats(session, dealers, holders, points_from_bytes(raw))


def require_called(chain: Chain, session: Session, signature: Any) -> None:
    """That who opens epochs called this session, and that it is on.

    Raises:
        KeygenRefused; KeygenExpired: its deadline has passed, whenever this custodian was started.
        BadSignature, BadParameter.
    """
    raw = hex_field(signature, "signature", MOST_SIGNATURE)
    caller = recover(session.call, chain.domain("CustodianCommittee"), raw)
    if not chain.has_role("CustodianCommittee", "ADMIN", caller):
        raise refused("The session was not called by who opens epochs.", "signature")
    now = chain.now()
    if now > session.deadline:
        raise KeygenExpired.at(session.deadline, now)
    if session.deadline > now + MOST_SECONDS:
        raise refused(
            f"The deadline is more than {MOST_SECONDS} seconds ahead.", "session.deadline"
        )


def require_keyless(chain: Chain, session: Session) -> None:
    """Raises KeygenRefused where the chain has a key of the session's epoch."""
    if chain.joint_key(session.epoch)[0]:
        raise refused(f"Epoch {session.epoch} has its joint key.", "session.epoch")


def _seated(committee: CommitteeView, place: int, signer: str) -> bool:
    return any(each.place == place and each.signer == signer for each in committee.members)
