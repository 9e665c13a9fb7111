"""What takes records in: each goes its way alone; a bad one does not sink the rest."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from marketplace.chain.adapter import Chain, CommitteeView, Record
from marketplace.chain.dry_runs import DryRun, Planned
from marketplace.chain.joint_keys import joint_key_of
from marketplace.chain.patience import Patience, not_looked_at
from marketplace.chain.sender import Sender
from marketplace.errors import Refusal
from marketplace.intake.checks import as_sent, misfit, out_of_turn, parsed, untrusted
from marketplace.intake.deposits import Deposits, storage_receipt
from marketplace.intake.entries import Entry, attestation_of, record_of, row_of
from marketplace.intake.tallies import Published, misfits
from marketplace.peers import Peer
from marketplace.records import RecordStore
from marketplace.store import RecordRow
from marketplace.wire.structs import RecordAttestation

REGISTRY: Final = "DatasetRegistry"


@dataclass(frozen=True)
class Intake:
    """What takes records in."""

    chain: Chain
    sender: Sender
    records: RecordStore
    custodians: tuple[Peer, ...]
    key: bytes = field(repr=False)  # of `sender`'s account
    published: Published

    @functools.cached_property
    def deposits(self) -> Deposits:
        """How custodians get their parts."""
        return Deposits(
            self.chain,
            self.custodians,
            self.sender.address,
            self.key,
            self._confirmed,
            self.published,
        )

    def _confirmed(self, commitment: bytes, epoch: int, place: int) -> None:
        """For people who watch. A database that is full keeps no record from its custodians."""
        with contextlib.suppress(Refusal):
            now = int(time.time())
            self.records.database.confirm_part("0x" + commitment.hex(), epoch, place, now)

    def receive(self, uploads: Sequence[Any]) -> list[Entry]:
        """Takes a batch of `{record, attestation, issuer_signature}`; returns each one's outcome.

        Repeating an upload is harmless: what was done is seen on chain and not done again. Copies within
        one upload are taken once, and share the outcome.
        """
        names = [json.dumps(raw, sort_keys=True) for raw in uploads]
        copies = dict(zip(names, uploads, strict=True))
        taken = dict(zip(copies, self._take_in(list(copies.values())), strict=True))
        return [taken[name] for name in names]

    def _take_in(self, uploads: Sequence[Any]) -> list[Entry]:
        """The same, of uploads no two of which are equal."""
        self.chain.require_healthy()
        committee = self.chain.committee()
        entries = [parsed(raw, self.chain) for raw in uploads]
        self._require_trusted(entries)
        self._require_sealed_for(committee, entries)
        self._require_tallied(committee, entries)
        self._keep(entries)
        self._register(entries)
        self.deposits.collect(entries, committee)
        self._confirm(entries)
        return entries

    # --- keep

    def _require_trusted(self, entries: Sequence[Entry]) -> None:
        """Refuses before anything is kept what strangers signed, so that they cannot fill the disk."""
        now, trusted, patience = self.chain.now(), dict[tuple[bytes, str], bool](), Patience()
        for entry in entries:
            if entry.refusal is not None:
                continue
            attestation = attestation_of(entry)
            pair = (attestation.dataset, attestation.issuer)
            if pair not in trusted and patience.is_over:
                entry.refusal = not_looked_at()
                continue
            if pair not in trusted:
                trusted[pair] = self.chain.is_issuer(*pair)
                if not trusted[pair]:
                    patience.lose()  # anybody can sign as an issuer made up
            entry.refusal = untrusted(attestation, trusted[pair], now)

    def _require_sealed_for(self, committee: CommitteeView, entries: Sequence[Entry]) -> None:
        """Refuses before anything is kept what this committee could never confirm.

        The attestation covers neither shares nor epoch, so whoever carries a record could change them.
        """
        for entry in entries:
            if entry.refusal is None:
                found = misfit(record_of(entry), committee)
                entry.refusal = found if found and not self._in_use(entry) else None

    def _require_tallied(self, committee: CommitteeView, entries: Sequence[Entry]) -> None:
        """Refuses before anything is kept whose tally no custodian would take.

        One that is in use stays so when the committee gets another joint key: it counts as null under that.
        """
        tallied = {
            number: entry.record
            for number, entry in enumerate(entries)
            if entry.refusal is None and entry.record is not None and entry.record.tally is not None
        }
        if not tallied:
            return
        joint_key = joint_key_of(self.chain, int(committee.epoch))
        for number, refusal in misfits(tallied, joint_key, self.published).items():
            if not self._in_use(entries[number]):
                entries[number].refusal = refusal

    def _in_use(self, entry: Entry) -> bool:
        attestation = attestation_of(entry)
        found = self.chain.record_of(attestation.dataset, attestation.patient)
        return found.commitment == attestation.commitment

    def _keep(self, entries: Sequence[Entry]) -> None:
        """Keeps all or none: what a full disk refuses leaves nothing of its batch behind."""
        kept = [entry for entry in entries if entry.refusal is None]
        # The rows first: where the database is full, no file is left behind.
        new = self.records.database.keep_records(
            [row_of(record_of(each), attestation_of(each)) for each in kept]
        )
        try:
            for entry in kept:
                self._put(entry)
        except Refusal:
            self._forget(new)
            raise

    def _forget(self, rows: Sequence[RecordRow]) -> None:
        for row in rows:
            if self.records.database.forget_record(row.commitment, row.patient):
                self.records.delete(bytes.fromhex(row.commitment[2:]))

    def _keep_one(self, entry: Entry) -> None:
        # The row first: where the database is full, no file is left behind.
        self.records.database.keep_record(row_of(record_of(entry), attestation_of(entry)))
        self._put(entry)

    def _put(self, entry: Entry) -> None:
        record = record_of(entry)
        self.records.put(attestation_of(entry).commitment, record.box, record.tally)

    # --- register

    def _register(self, entries: Sequence[Entry]) -> None:
        """Puts attestations on chain, many to a transaction: not those that are there, nor what it would
        refuse."""
        waiting = [
            entry for entry in entries if entry.refusal is None and not self._has_arrived(entry)
        ]
        refused = self._sent(
            [entry for entry in waiting if entry.refusal is None],
            "registerRecord",
            lambda each: (attestation_of(each).abi_tuple(), each.signature),
        )
        told = {each: as_sent(why) for each, why in refused.items()}
        for entry in waiting:
            if entry.refusal is None:
                entry.refusal = told.get(attestation_of(entry))
            if entry.refusal is not None:
                self._drop(entry)
            elif not self.records.holds(attestation_of(entry).commitment):
                self._keep_one(entry)  # the same upload beside this one was refused, and dropped it
        for entry in entries:
            if entry.refusal is None and entry.state == "received":
                self._mark(entry, "attested")

    def _has_arrived(self, entry: Entry) -> bool:
        """Whether the chain has this record; refuses it where it has another in this one's place."""
        attestation = attestation_of(entry)
        found = self.chain.record_of(attestation.dataset, attestation.patient)
        if self._is_it(entry, found):
            return True
        entry.refusal = out_of_turn(attestation, found)
        return False

    def _sent(
        self, entries: Sequence[Entry], function: str, arguments: Callable[[Entry], tuple[Any, ...]]
    ) -> dict[RecordAttestation, Refusal]:
        """Makes one call for each attestation, rehearsed first. Returns those refused, and why."""
        firsts: dict[RecordAttestation, Entry] = {}
        for entry in entries:
            firsts.setdefault(attestation_of(entry), entry)
        planned = [Planned(function, arguments(each)) for each in firsts.values()]
        # Issuers that stewards trust have signed them all: every one is looked at.
        dry = DryRun(self.sender, REGISTRY, planned, Patience(len(planned) + 1)).refusals()
        refused = {each: why for each, why in zip(firsts, dry, strict=True) if why is not None}
        good = [each for each in firsts if each not in refused]
        if not good:
            return refused
        calls = [(function, arguments(firsts[each])) for each in good]
        sent = self.sender.batch(REGISTRY, calls).refused
        return refused | {good[position]: why for position, why in sent.items()}

    def _drop(self, entry: Entry) -> None:
        """Leaves nothing of a record that the chain refused, so that nobody can fill the disk with them.

        The chain is asked afterwards: the same record may have been taken from another upload
        meanwhile, and then it is kept again, whichever of the two comes last.
        """
        record, patient = record_of(entry), attestation_of(entry).patient
        if self.records.database.forget_record("0x" + record.commitment.hex(), patient):
            self.records.delete(record.commitment)
        if self._known(entry):
            entry.refusal = None
            self._keep_one(entry)

    def _known(self, entry: Entry) -> bool:
        attestation = attestation_of(entry)
        return self._is_it(entry, self.chain.record_of(attestation.dataset, attestation.patient))

    def _is_it(self, entry: Entry, found: Record) -> bool:
        commitment = attestation_of(entry).commitment
        if found.commitment == commitment:
            self._mark(entry, "stored")
        return commitment in (found.commitment, found.pending)

    # --- confirm

    def _confirm(self, entries: Sequence[Entry]) -> None:
        epoch = self.chain.current_epoch()
        waiting = [entry for entry in entries if entry.refusal is None and entry.receipts]
        refused = self._sent(
            waiting,
            "confirmStorage",
            lambda each: (
                storage_receipt(attestation_of(each), epoch).abi_tuple(),
                [(place, signature) for place, signature in each.receipts],
            ),
        )
        for entry in waiting:
            entry.refusal = refused.get(attestation_of(entry))
            if entry.refusal is None:
                self._mark(entry, "stored")
            elif self._known(entry) and entry.state == "stored":
                entry.refusal = None  # the same upload beside this one confirmed it first

    def _mark(self, entry: Entry, state: str) -> None:
        entry.state = state
        self.records.database.set_record_state("0x" + attestation_of(entry).commitment.hex(), state)
