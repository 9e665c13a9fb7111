"""This custodian's shares of joint keys, under its storage key; the chain says which of them counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from eth_hash.auto import keccak
from sqlalchemy.orm import Session as Transaction

from marketplace.chain.adapter import Chain
from marketplace.custodian.journal import Journal
from marketplace.custodian.keys import Keys
from marketplace.custodian.models import JointShareRow
from marketplace.errors import Refusal
from marketplace.wire.http import to_hex
from ml.homomorphic.curve import POINT_BYTES, SCALAR_BYTES, Point, points_from_bytes


class NoJointShare(Refusal):
    """The epoch has no joint key, or this custodian no share of it."""

    CODE = "no_joint_share"


@dataclass(frozen=True)
class JointShare:
    """A share of one epoch's joint key, for holder `index` = place + 1."""

    epoch: int
    index: int
    commitments: tuple[Point, ...]
    value: int = field(repr=False)

    @property
    def public_key(self) -> Point:
        """The joint key."""
        return self.commitments[0]


class JointShares:
    """The shares of one custodian, at one place."""

    def __init__(self, chain: Chain, journal: Journal, keys: Keys, place: int) -> None:
        self._chain = chain
        self._journal = journal
        self._keys = keys
        self._place = place

    def keep(
        self, session: Transaction, epoch: int, raw: bytes, transcript: bytes, value: int
    ) -> None:
        """Keeps a share in the caller's transaction; it counts once the chain has these commitments."""
        name = bytes(keccak(raw))
        row = JointShareRow(
            commitments=name,
            epoch=epoch,
            raw=raw,
            transcript=transcript,
            sealed=self._keys.lock(value.to_bytes(SCALAR_BYTES, "big"), name),
        )
        session.merge(row)
        body = {"epoch": epoch, "commitments": to_hex(name), "transcript": to_hex(transcript)}
        self._journal.append(session, "joint-share", body)

    def held(self, raw: bytes) -> JointShareRow | None:
        """The row of these commitments; None where this custodian has no share of them."""
        with self._journal.reading() as session:
            return session.get(JointShareRow, bytes(keccak(raw)))

    def of(self, epoch: int) -> JointShare:
        """This custodian's share of the key that the chain has for the epoch.

        Raises:
            NoJointShare; Refusal (share_damaged).
        """
        raw, _ = self._chain.joint_key(epoch)
        if not raw:
            raise _none(f"Epoch {epoch} has no joint key on chain.", "Have the key generated.")
        row = self.held(raw)
        if row is None:
            raise self._missing(epoch, raw)
        value = int.from_bytes(self._keys.unlock(row.sealed, row.commitments), "big")
        return JointShare(epoch, self._place + 1, points_from_bytes(raw), value)

    def _missing(self, epoch: int, raw: bytes) -> NoJointShare:
        message = f"This custodian holds no share of the joint key of epoch {epoch}."
        newest = int(self._chain.current_epoch())
        for later in range(newest, epoch, -1):
            if self._chain.joint_key(later)[0][:POINT_BYTES] == raw[:POINT_BYTES]:
                return _none(
                    f"{message} That key was handed on: epoch {later} has it now, and old shares are erased.",
                    f"Name epoch {later} instead.",
                )
        return _none(message, "Ask the other custodians; a re-sharing gives it one.")


def _none(message: str, remedy: str) -> NoJointShare:
    return NoJointShare(message=message, remedy=remedy)
