"""What pages and commands are told of desks, invitations and drafts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from marketplace.store import DraftRow, DraftState, InvitationRow, IssuerDeskRow
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.opening import IssuerDesk
from marketplace.wire.voucher import Voucher


@dataclass(frozen=True)
class Desk:
    """An issuer's signed desk. Whoever seals to it recovers the signer, and asks whether it is an issuer."""

    statement: IssuerDesk
    signature: bytes

    @classmethod
    def of(cls, row: IssuerDeskRow) -> Self:
        """As it was posted."""
        statement = IssuerDesk(_raw(row.dataset), row.issuer, _raw(row.key), row.until)
        return cls(statement, _raw(row.signature))

    def to_json(self) -> dict[str, Any]:
        """`{"desk", "signature"}`, as it is posted."""
        return {"desk": self.statement.to_json(), "signature": to_hex(self.signature)}


@dataclass(frozen=True)
class Invitation:
    """A code by its hash (32 bytes). Times in unix seconds; `used_by` is a commitment."""

    code: bytes
    issuer: str
    voucher: Voucher
    made_at: int
    expires_at: int
    used_by: bytes | None

    @classmethod
    def of(cls, row: InvitationRow) -> Self:
        """As it is kept."""
        used_by = None if row.used_by is None else _raw(row.used_by)
        voucher = Voucher.from_json(row.voucher)
        return cls(_raw(row.code), row.issuer, voucher, row.made_at, row.expires_at, used_by)

    def to_json(self) -> dict[str, Any]:
        """Hashes as 0x hexadecimal text."""
        return {
            "code": to_hex(self.code),
            "issuer": self.issuer,
            "voucher": self.voucher.to_json(),
            "made_at": self.made_at,
            "expires_at": self.expires_at,
            "used_by": None if self.used_by is None else to_hex(self.used_by),
        }


@dataclass(frozen=True)
class Draft:
    """A draft as it is listed for its issuer."""

    commitment: bytes
    patient: str
    code: bytes  # hash
    state: DraftState
    reason: Mapping[str, Any] | None
    made_at: int  # unix seconds

    @classmethod
    def of(cls, row: DraftRow) -> Self:
        """Without record and opening."""
        state = DraftState(row.state)
        return cls(
            _raw(row.commitment), row.patient, _raw(row.code), state, row.reason, row.made_at
        )

    def to_json(self) -> dict[str, Any]:
        """Hashes as 0x hexadecimal text."""
        return {
            "commitment": to_hex(self.commitment),
            "patient": self.patient,
            "code": to_hex(self.code),
            "state": str(self.state),
            "reason": None if self.reason is None else dict(self.reason),
            "made_at": self.made_at,
        }


@dataclass(frozen=True)
class OpenedDraft:
    """A draft with what its issuer opens. Ciphertext, all of it."""

    draft: Draft
    record: Mapping[str, Any]  # usufruct-record/1 or /2
    opening: bytes  # usufruct-opening/1

    @classmethod
    def of(cls, row: DraftRow) -> Self:
        """Of a draft that was not declined."""
        return cls(Draft.of(row), json.loads(row.record), row.opening)

    def to_json(self) -> dict[str, Any]:
        """The draft's own fields, `record` as JSON, `opening` in base64."""
        inside = {"record": dict(self.record), "opening": to_base64(self.opening)}
        return self.draft.to_json() | inside


@dataclass(frozen=True)
class Progress:
    """How far one patient's record came.

    `places` are the custodians that hold their part of it, by place (0, 1, ..) in the current epoch;
    `quorum` of `seats` have to.
    """

    commitment: bytes
    state: DraftState
    reason: Mapping[str, Any] | None
    places: tuple[int, ...]
    quorum: int
    seats: int

    def to_json(self) -> dict[str, Any]:
        """The commitment as 0x hexadecimal text."""
        return {
            "commitment": to_hex(self.commitment),
            "state": str(self.state),
            "reason": None if self.reason is None else dict(self.reason),
            "places": list(self.places),
            "quorum": self.quorum,
            "seats": self.seats,
        }


def _raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])
