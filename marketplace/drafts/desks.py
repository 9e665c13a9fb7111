"""Desks and invitations: where drafts for an issuer are sealed to, and who may leave one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from marketplace.chain.adapter import Chain
from marketplace.drafts.entries import Desk, Invitation
from marketplace.errors import BadParameter, Refusal
from marketplace.store import Database, InvitationRow, IssuerDeskRow
from marketplace.store.desks import code_unusable
from marketplace.vocabulary import address, bytes32, patient_address
from marketplace.wire import hpke
from marketplace.wire.http import hex_field, to_hex
from marketplace.wire.opening import LONGEST_DESK, IssuerDesk
from marketplace.wire.structs import require_signed
from marketplace.wire.voucher import Voucher

DAY: Final = 86_400
LONGEST_INVITATION_DAYS: Final = 30
MOST_CODES: Final = 100
"""Invitations made at once."""
MOST_INVITATIONS: Final = 1_000
"""Of one issuer for one dataset, used ones too, until they expire: each lets one draft of a few KB in. A
clinic that brings in more people at once seals their records itself (`usufruct seal`)."""
SIGNATURE_BYTES: Final = 65


def not_issuer(account: str) -> Refusal:
    """The refusal of an account that may not attest records of the dataset."""
    return Refusal(
        code="not_issuer",
        message=f"{account} is not an issuer of this dataset.",
        remedy="Sign in with the issuer's address, or ask the steward to add it.",
        field="issuer",
    )


@dataclass(frozen=True)
class Desks:
    """What issuers set up. Every account given here is one that proved itself."""

    chain: Chain
    database: Database

    def post_desk(self, document: object, signature: object) -> Desk:
        """Keeps an issuer's desk; the signature proves who posts it. Posting it again changes nothing.

        Args:
            document: `IssuerDesk` as JSON.
            signature: the issuer's, 65 bytes as 0x hexadecimal text.

        Raises:
            Refusal: malformed_message, bad_signature, bad_parameter, not_issuer; desk_older, one that ends
                later is kept.
        """
        statement = IssuerDesk.from_json(document, "desk.")
        signed = hex_field(signature, "signature", SIGNATURE_BYTES)
        require_signed(statement, self.chain.domain("DatasetRegistry"), signed, statement.issuer)
        _require_usable(statement)
        self.require_issuer(statement.dataset, statement.issuer)
        desk = Desk(statement, signed)
        if not self.database.keep_desk(_row(desk)) and desk not in self._kept(statement):
            raise Refusal(
                code="desk_older",
                message="A desk of this issuer that ends later is kept already.",
                remedy="Sign one with a later end.",
                field="desk.until",
            )
        return desk

    def desk_of(self, dataset: bytes, issuer: str) -> Desk | None:
        """An issuer's desk, where it is good now: not past its end, and the issuer is one still."""
        found = self._current(dataset, issuer)
        return found[0] if found and self.chain.is_issuer(dataset, issuer) else None

    def desks_of(self, dataset: bytes) -> list[Desk]:
        """Every desk of a dataset that is good now."""
        current = self._current(dataset, None)
        return [each for each in current if self.chain.is_issuer(dataset, each.statement.issuer)]

    def invite(
        self, dataset: bytes, issuer: str, codes: Mapping[bytes, Voucher], days: int
    ) -> list[Invitation]:
        """Keeps the hashes of codes that an issuer made, each good for one draft until it expires.

        Args:
            codes: 1 to 100 hashes of 32 bytes (`wire.opening.code_hash`), each with its voucher: without
                one no patient's browser seals anything. Nobody here can say whether it is right.
            days: 1 to 30.

        Raises:
            Refusal: bad_parameter, not_issuer, no_desk, code_known, too_many_invitations.
        """
        _require_codes(codes, days)
        self.require_issuer(dataset, issuer)
        self.require_desk(dataset, issuer)
        now = int(time.time())
        rows = [
            InvitationRow(
                code=to_hex(bytes32(code, "codes")),
                dataset=to_hex(dataset),
                issuer=address(issuer, "issuer"),
                voucher=voucher.to_json(),
                made_at=now,
                expires_at=now + days * DAY,
            )
            for code, voucher in codes.items()
        ]
        self.database.keep_invitations(rows, now=now, most=MOST_INVITATIONS)
        return [Invitation.of(row) for row in rows]

    def invitations(self, dataset: bytes, issuer: str) -> list[Invitation]:
        """An issuer's invitations, used ones too, oldest first. Raises Refusal (not_issuer)."""
        self.require_issuer(dataset, issuer)
        kept = self.database.invitations(to_hex(dataset), address(issuer, "issuer"))
        return [Invitation.of(row) for row in kept]

    def invitation_of(self, dataset: bytes, code: bytes) -> Invitation:
        """The invitation with this hash, so that a browser finds the desk of whoever gave it the code.

        Raises:
            Refusal: code_unusable, in the same words whatever is wrong with it.
        """
        row = self.database.invitation(to_hex(bytes32(code, "code")))
        if row is None or row.dataset != to_hex(dataset) or row.expires_at <= int(time.time()):
            raise code_unusable()
        return Invitation.of(row)

    def invitation_for(self, dataset: bytes, patient: str, code: bytes) -> Invitation:
        """The invitation with this hash, where this patient may leave a record with it.

        Raises:
            Refusal: code_unusable, also for one that somebody else has used.
        """
        found = self.invitation_of(dataset, code)
        own = self.database.draft_of(to_hex(dataset), patient_address(patient))
        mine = None if own is None else bytes.fromhex(own.commitment[2:])
        if found.used_by not in (None, mine):
            raise code_unusable()
        return found

    def require_issuer(self, dataset: bytes, issuer: str) -> None:
        """Raises Refusal (not_issuer) unless this account may attest records of the dataset now."""
        if not self.chain.is_issuer(dataset, issuer):
            raise not_issuer(issuer)

    def require_desk(self, dataset: bytes, issuer: str) -> None:
        """Raises Refusal (no_desk) unless the issuer has a desk that is good now."""
        if not self._current(dataset, issuer):
            raise Refusal(
                code="no_desk",
                message="The clinic has no desk to which a record could be sealed, or it has ended.",
                remedy="The clinic opens its page, signed in as the issuer, and names a desk key.",
                field="issuer",
            )

    def _current(self, dataset: bytes, issuer: str | None) -> list[Desk]:
        of = None if issuer is None else address(issuer, "issuer")
        now = int(time.time())
        return [Desk.of(row) for row in self.database.desks(to_hex(dataset), of) if row.until > now]

    def _kept(self, statement: IssuerDesk) -> list[Desk]:
        rows = self.database.desks(to_hex(statement.dataset), statement.issuer)
        return [Desk.of(row) for row in rows]


def _require_codes(codes: Mapping[bytes, Voucher], days: int) -> None:
    if not 1 <= len(codes) <= MOST_CODES:
        raise BadParameter(
            message=f"codes must be 1 to {MOST_CODES} different hashes.",
            remedy="Make more in several steps.",
            field="codes",
        )
    if type(days) is not int or not 1 <= days <= LONGEST_INVITATION_DAYS:
        raise BadParameter(
            message=f"An invitation is good for 1 to {LONGEST_INVITATION_DAYS} days.",
            remedy="Choose fewer days; a new code can be made at any time.",
            field="days",
        )


def _require_usable(statement: IssuerDesk) -> None:
    now = int(time.time())
    if not now < statement.until <= now + LONGEST_DESK:
        raise BadParameter(
            message="A desk has to end within a year, and not yet.",
            remedy="Sign it with an end within the next 366 days; it can be renewed.",
            field="desk.until",
        )
    try:
        hpke.seal(b"", statement.key, b"")
    except BadParameter as refusal:
        refusal.field = "desk.key"
        raise


def _row(desk: Desk) -> IssuerDeskRow:
    return IssuerDeskRow(
        dataset=to_hex(desk.statement.dataset),
        issuer=desk.statement.issuer,
        key=to_hex(desk.statement.key),
        until=desk.statement.until,
        signature=to_hex(desk.signature),
    )
