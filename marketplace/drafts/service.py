"""Drafts: left by patients, opened, attested or declined by issuers, carried on, and let go."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from marketplace.chain.adapter import Chain
from marketplace.drafts import checks
from marketplace.drafts.desks import Desks
from marketplace.drafts.entries import Desk, Draft, Invitation, OpenedDraft, Progress
from marketplace.drafts.onward import Onward, upload_of
from marketplace.errors import BadParameter, Refusal
from marketplace.intake import Intake
from marketplace.store import Database, DraftRow, DraftState, Shares
from marketplace.vocabulary import address, bytes32, patient_address
from marketplace.wire.http import to_hex
from marketplace.wire.record import dump
from marketplace.wire.voucher import Voucher

SHARES: Final = Shares(
    most=20_000, shared=15_000, of_issuer=2_500, few=50, codes_a_day=500, uses_a_day=5
)
"""20,000 drafts are about 200 MB; for both lanes, of 64 variables, 1 GB, and 7 GB with the largest tallies
that there can be. For one clinic 2,500 wait: 178 a day, with nobody at its desk for the
fortnight that a draft is kept. Six such clinics fill what is shared; the last 5,000 are for those that have
few, so that it takes a hundred more, each named on chain by a steward, to leave a newcomer none of its fifty.
A desk that attests one a minute for eight hours is done with 480 a day. A patient's five a day are as many as
the pages let an account try (`web.rules.DRAFT`), which forget it at a restart."""
LISTED: Final = (DraftState.WAITING, DraftState.OPENED, DraftState.ATTESTED)
REASONS: Final = {
    "values_differ": "The values are not those in the clinic's files.",
    "wrong_person": "The invitation was given to somebody else.",
    "wrong_secret": "The record does not open with what was left for the clinic.",
    "other": "The clinic does not say why here; ask it.",
}
"""Why an issuer declines. No free text: a clinic would write of values, and the operator would read them."""


@dataclass(frozen=True)
class Drafts:
    """The way of a browser's record to its issuer's word. Every account given here proved itself."""

    chain: Chain
    database: Database
    intake: Intake

    @functools.cached_property
    def desks(self) -> Desks:
        """Where drafts are sealed to, and who may leave one."""
        return Desks(self.chain, self.database)

    def post_desk(self, document: object, signature: object) -> Desk:
        """See `Desks.post_desk`."""
        return self.desks.post_desk(document, signature)

    def desk_of(self, dataset: bytes, issuer: str) -> Desk | None:
        """See `Desks.desk_of`."""
        return self.desks.desk_of(dataset, issuer)

    def invite(
        self, dataset: bytes, issuer: str, codes: Mapping[bytes, Voucher], days: int
    ) -> list[Invitation]:
        """See `Desks.invite`."""
        return self.desks.invite(dataset, issuer, codes, days)

    # --- patients

    def leave(
        self, dataset: bytes, patient: str, code: bytes, document: object, opening: bytes
    ) -> Progress:
        """Keeps a patient's sealed record for the issuer whose code this is the hash of.

        Leaving the same again changes nothing. Another record takes the place of one that the issuer has
        not opened, or has declined, also under the same code.

        Args:
            patient: the account that is signed in; the record must be bound to it.
            code: keccak of the invitation, 32 bytes; the operator never learns the invitation itself.
            document: usufruct-record/1 as JSON, or /2 with a tally.
            opening: usufruct-opening/1.

        Raises:
            Refusal: code_unusable, no_desk, opening_unreadable, record_unreadable, draft_mismatch,
                dataset_retired, wrong_committee, wrong_record_version, no_joint_key, too_many_drafts,
                draft_exists, draft_opened.
        """
        whose = patient_address(patient)
        # The code first: without one, nothing is parsed and no node is asked.
        invitation = self.desks.invitation_of(dataset, code)
        record = checks.left_record(document, opening)
        checks.require_fit(self.chain, record, dataset, whose)
        checks.require_tally(self.chain, record, self.intake.published)
        self.desks.require_desk(dataset, invitation.issuer)
        now = int(time.time())
        row = DraftRow(
            commitment=to_hex(record.commitment),
            dataset=to_hex(dataset),
            patient=whose,
            issuer=invitation.issuer,
            code=to_hex(code),
            record=dump(record).decode(),
            opening=opening,
            state=DraftState.WAITING,
            made_at=now,
        )
        because = "the patient left it"
        kept = self.database.keep_draft(row, now=now, because=because, shares=SHARES)
        return self._progress_of(kept)

    def take_back(self, dataset: bytes, patient: str) -> bool:
        """Deletes a patient's own draft at once, unless it is attested already: then an erasure ends it.

        Its code stays used. Returns False where there is no draft.

        Raises:
            Refusal: draft_attested; wrong_draft_state, it moved on at this moment.
        """
        row = self.database.draft_of(to_hex(dataset), patient_address(patient))
        if row is None:
            return False
        if row.state == DraftState.ATTESTED:
            raise _attested()
        because = "the patient took it back"
        return self.database.end_draft(row.commitment, DraftState.TAKEN_BACK, because=because)

    def progress(self, dataset: bytes, patient: str) -> Progress | None:
        """How far a patient's latest record came, from the draft to the custodians; None before the first."""
        row = self.database.draft_of(to_hex(dataset), patient_address(patient))
        if row is not None:
            return self._progress_of(row)
        found = self.chain.record_of(dataset, patient)
        if not found.is_there:
            return None
        is_pending = any(found.pending)
        commitment = found.pending if is_pending else found.commitment
        state = DraftState.ATTESTED if is_pending else DraftState.STORED
        return self._progress(commitment, state, None)

    def _progress_of(self, row: DraftRow) -> Progress:
        return self._progress(bytes.fromhex(row.commitment[2:]), DraftState(row.state), row.reason)

    def _progress(
        self, commitment: bytes, state: DraftState, reason: Mapping[str, Any] | None
    ) -> Progress:
        epoch = self.chain.current_epoch()
        quorum, seats = self.chain.call("CustodianCommittee", "quorumOf", epoch)
        places = self.database.confirmed_places(to_hex(commitment), epoch)
        return Progress(commitment, state, reason, tuple(places), quorum, seats)

    # --- issuers

    def waiting(self, dataset: bytes, issuer: str) -> list[Draft]:
        """Drafts that an issuer has not finished with, oldest first, at most 200.

        Raises:
            Refusal: not_issuer.
        """
        self.desks.require_issuer(dataset, issuer)
        rows = self.database.drafts_for(to_hex(dataset), address(issuer, "issuer"), LISTED)
        return [Draft.of(row) for row in rows]

    def opened(self, dataset: bytes, issuer: str, commitment: bytes) -> OpenedDraft:
        """What an issuer needs to open one draft. From now on nothing takes its place until it has decided.

        Raises:
            Refusal: not_issuer; unknown_draft, there is none, or it is for another issuer; draft_declined.
        """
        self.desks.require_issuer(dataset, issuer)
        row = self._row(dataset, issuer, commitment)
        if row.state == DraftState.WAITING:
            because = "the issuer opened it"
            self.database.move_draft(row.commitment, DraftState.OPENED, because=because)
            row = self._row(dataset, issuer, commitment)
        return OpenedDraft.of(row)

    def attest(
        self, dataset: bytes, issuer: str, commitment: bytes, document: object, signature: object
    ) -> Progress:
        """Takes an issuer's word for a draft that it opened, and the record on its way.

        The signature covers commitment, patient, person and version. Once it is kept, the record goes on
        by itself (`sweep`): what custodians or a node do not answer now is asked again.

        Args:
            document: `RecordAttestation` as JSON.
            signature: the issuer's, 65 bytes as 0x hexadecimal text.

        Raises:
            Refusal: not_issuer, unknown_draft, wrong_draft_state; malformed_message,
                attestation_mismatch, bad_signature, not_this_issuer, attestation_expired; what the chain
                refuses (person_has_record, ...): the draft then is opened still.
        """
        self.desks.require_issuer(dataset, issuer)
        row = self._row(dataset, issuer, commitment)
        checks.require_attested(self.chain, upload_of(row, document, signature), row)
        # Of two that send it at once one moves it, and both see it on its way.
        self.database.move_draft(
            row.commitment,
            DraftState.ATTESTED,
            because="the issuer attested it",
            attestation=document,
            signature=signature,
            reason=None,
        )
        kept = self.database.draft(row.commitment)
        if kept is None and self._was_stored(row.commitment):
            return self._progress(commitment, DraftState.STORED, None)
        if kept is None or kept.state != DraftState.ATTESTED:
            raise _unknown_draft()
        (entry,) = self.onward.carry_on([kept])
        if entry.refusal is not None and entry.state == "received":
            raise entry.refusal
        reason = None if entry.refusal is None else entry.refusal.reason()
        return self._progress(commitment, DraftState(entry.state), reason)

    def decline(self, dataset: bytes, issuer: str, commitment: bytes, why: str) -> None:
        """Ends a draft that was opened. Record and opening are deleted now; the patient is told why.

        Args:
            why: one of `REASONS`.

        Raises:
            Refusal: bad_parameter, not_issuer, unknown_draft, wrong_draft_state, draft_declined.
        """
        if why not in REASONS:
            raise BadParameter(
                message="The reason is none of those that can be given.",
                remedy=f"Give one of: {', '.join(REASONS)}.",
                field="why",
            )
        self.desks.require_issuer(dataset, issuer)
        row = self._row(dataset, issuer, commitment)
        moved = self.database.move_draft(
            row.commitment,
            DraftState.DECLINED,
            because=f"the issuer declined it: {why}",
            record="",
            opening=b"",
            reason=_declined(why),
        )
        if not moved:
            raise _unknown_draft()

    def _was_stored(self, commitment: str) -> bool:
        history = self.database.draft_history(commitment)
        return bool(history) and history[-1].after == DraftState.STORED

    def _row(self, dataset: bytes, issuer: str, commitment: bytes) -> DraftRow:
        row = self.database.draft(to_hex(bytes32(commitment, "commitment")))
        if row is None or (row.dataset, row.issuer) != (to_hex(dataset), address(issuer, "issuer")):
            raise _unknown_draft()
        if row.state == DraftState.DECLINED:
            raise Refusal(
                code="draft_declined",
                message="The draft was declined, and its record is deleted.",
                remedy="The patient can leave another.",
                field="draft",
            )
        return row

    # --- what goes on by itself

    @functools.cached_property
    def onward(self) -> Onward:
        """What becomes of drafts that were attested, and of old ones."""
        return Onward(self.database, self.intake)

    def sweep(self) -> None:
        """See `Onward.sweep`."""
        self.onward.sweep()


def _declined(why: str) -> dict[str, str | None]:
    return {
        "code": why,
        "message": REASONS[why],
        "remedy": "Ask the clinic, then leave another record.",
        "field": None,
    }


def _attested() -> Refusal:
    return Refusal(
        code="draft_attested",
        message="The clinic has attested the record, and it is on its way to the custodians.",
        remedy="Wait until it is registered, then erase it: nothing is permitted until you consent.",
        field="draft",
    )


def _unknown_draft() -> Refusal:
    return Refusal(
        code="unknown_draft",
        message="There is no such draft for this issuer: it was replaced, has ended, or never was.",
        remedy="Look at the list of drafts again.",
        field="draft",
    )
