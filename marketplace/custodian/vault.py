"""Shares at rest: taken in against the chain and the dealer's commitments, kept under the storage key."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import delete

from marketplace.chain.adapter import Chain, CommitteeView, Record
from marketplace.chain.patience import Patience, not_looked_at
from marketplace.custodian.journal import Journal
from marketplace.custodian.keys import Keys
from marketplace.custodian.models import ErasedRow, RestoredRow, ShareRow
from marketplace.custodian.tallies import OfferedTally, Tallies
from marketplace.errors import EnvelopeUnreadable, Refusal
from marketplace.wire import feldman, hpke
from marketplace.wire.canonical import canonical
from marketplace.wire.custody import Holding
from marketplace.wire.feldman import Share
from marketplace.wire.header import RecordHeader
from marketplace.wire.http import to_hex
from marketplace.wire.record import share_info
from marketplace.wire.structs import StorageReceipt, require_signed, sign

X25519 = 1


class RecordRefused(Refusal):
    """A share whose record the chain does not know, or not any more."""

    CODE = "record_refused"


@dataclass(frozen=True)
class Held:
    """An operator's signed word that the record's ciphertext lies with it."""

    operator: str
    signature: bytes


@dataclass(frozen=True, kw_only=True)
class Deposit(OfferedTally):
    """A share as it is offered, with the record's tally."""

    index: int
    envelope: bytes
    held: Held | None = None  # not needed for a record that is in use already


@dataclass(frozen=True)
class Seat:
    """A custodian's place in one epoch: its quorum, and the key that envelopes are sealed to.

    It is looked up for each upload, and remembers for that long what one upload's records have in common.
    """

    epoch: int
    quorum: int
    secret: hpke.SecretKey
    dictionaries: dict[bytes, bytes] = field(default_factory=dict)  # hash on chain, by dataset
    operators: dict[str, bool] = field(default_factory=dict)  # whether an account is one
    asked: set[tuple[bytes, str, bytes]] = field(default_factory=set)  # dataset, holder, commitment
    patience: Patience = field(default_factory=Patience)


class Vault:
    """The shares of one custodian, at one place."""

    def __init__(
        self, chain: Chain, journal: Journal, keys: Keys, place: int, tallies: Tallies
    ) -> None:
        self._chain = chain
        self._journal = journal
        self._keys = keys
        self._tallies = tallies
        self.place = place

    @property
    def index(self) -> int:
        """Of this custodian's shares: places count from 0, shares from 1 (f(0) is the secret)."""
        return self.place + 1

    def admitted(self, offered: Deposit, seat: Seat) -> bytes | None:
        """Whether the chain has this record; the receipt's signature, if its share is kept already.

        Raises:
            RecordRefused, Refusal (too_many_refused).
        """
        self._require_ours(offered)
        if offered.index != self.index:
            raise _refused("wrong_place", f"This custodian holds the shares of index {self.index}.")
        record = self._require_on_chain(offered, seat)
        if record.pending == offered.header.commitment:
            self._require_held(offered, seat)
        kept = self._journal.share(offered.header.commitment)
        if kept is not None and (kept.epoch, kept.holder) == (offered.header.epoch, offered.holder):
            return kept.signature
        return None

    def require_in_use(self, offered: OfferedTally, seat: Seat) -> None:
        """The chain has this very record in use, so that its tally counts, whether its share is here or not.

        Raises:
            RecordRefused, Refusal (too_many_refused).
        """
        self._require_ours(offered)
        if self._require_on_chain(offered, seat).commitment != offered.header.commitment:
            raise _refused("not_stored", "The record still waits for its storage receipts.")

    def deposit(self, offered: Deposit, seat: Seat) -> bytes:
        """Keeps and acknowledges what was `admitted`, and whose tally has no faults: the receipt's signature.

        Share and tally are on disk before the receipt exists. Asked again, the answer is the same.

        Raises:
            EnvelopeUnreadable, WrongShare, RecordRefused, Refusal (storage_full): nothing was kept.
        """
        share = self._open(offered, seat)
        return self._keep(offered, share)

    def _require_ours(self, offered: OfferedTally) -> None:
        context = offered.header.context
        registry = self._chain.manifest.address("DatasetRegistry")
        if (context.chain_id, context.registry) != (self._chain.chain_id, registry):
            raise _refused("wrong_market", "The record is sealed for another chain or registry.")
        if self._journal.is_erased(offered.header.commitment):
            raise _refused("record_erased", "This record was erased; its share never comes back.")

    def _require_on_chain(self, offered: OfferedTally, seat: Seat) -> Record:
        """The chain's record, which has this commitment, pending or in use, for the bound address."""
        context, commitment = offered.header.context, offered.header.commitment
        record = self._record_of(offered, seat)
        if record.erased and record.pending != commitment:
            raise _refused("record_erased", "The chain has this record as erased.")
        if record.suspended and record.pending != commitment:
            raise _refused("record_suspended", "The chain has this record as suspended.")
        bound = {
            record.pending: (record.pending_bound_to, record.pending_version),
            record.commitment: (record.bound_to, record.version),
        }.get(commitment)
        if bound is None:
            raise _refused(
                "not_attested", "No attested record of this patient has this commitment."
            )
        if bound != (context.patient, context.record_version):
            raise _refused("wrong_binding", "The record is bound to another address or version.")
        if self._dictionary_of(context.dataset, seat) != context.dictionary_hash:
            raise _refused("wrong_dictionary", "The record is sealed for another data dictionary.")
        return record

    def _record_of(self, offered: OfferedTally, seat: Seat) -> Record:
        """As the chain has it. An upload asks so often for nothing, or for the same: anybody may send one."""
        dataset, commitment = offered.header.context.dataset, offered.header.commitment
        if seat.patience.is_over:
            raise not_looked_at()
        record = self._chain.record_of(dataset, offered.holder)
        about = (dataset, offered.holder, commitment)
        if commitment not in (record.pending, record.commitment) or about in seat.asked:
            seat.patience.lose()
        seat.asked.add(about)
        return record

    def _dictionary_of(self, dataset: bytes, seat: Seat) -> bytes:
        if dataset not in seat.dictionaries:
            seat.dictionaries[dataset] = self._chain.dictionary_of(dataset)
        return seat.dictionaries[dataset]

    def _is_operator(self, account: str, seat: Seat) -> bool:
        if account not in seat.operators:
            seat.operators[account] = self._chain.is_operator(account)
        return seat.operators[account]

    def _require_held(self, offered: Deposit, seat: Seat) -> None:
        """An operator has the ciphertext: else the patient would be paid for a record nobody can use."""
        held = offered.held
        if held is None or not self._is_operator(held.operator, seat):
            raise _refused("ciphertext_not_held", "No operator says that it holds the ciphertext.")
        header = offered.header
        holding = Holding(header.context.dataset, offered.holder, header.commitment)
        domain = self._chain.domain("ResearchMarket")
        require_signed(holding, domain, held.signature, held.operator)

    def seat(self) -> Seat:
        """This custodian's place in the current epoch, as the chain has it."""
        return self.seat_in(self._chain.committee())

    def seat_in(self, committee: CommitteeView) -> Seat:
        """Its place in a committee. Raises Refusal: wrong_epoch, it has none; key_missing."""
        member = next((m for m in committee.members if m.place == self.place), None)
        if member is None or member.signer != self._keys.signer.address:
            raise _refused("wrong_epoch", f"This custodian has no seat in epoch {committee.epoch}.")
        secret = self._keys.for_public(member.keys[X25519])
        if secret is None:
            raise _refused("key_missing", "This custodian lacks the key that the committee lists.")
        return Seat(committee.epoch, committee.quorum, secret)

    def _open(self, offered: Deposit, seat: Seat) -> Share:
        header = offered.header
        if header.epoch != seat.epoch or len(header.key_commitments) != seat.quorum:
            raise _refused("wrong_epoch", f"Seal shares for epoch {seat.epoch}, k {seat.quorum}.")
        return open_share(header, offered, seat.secret)

    def _keep(self, offered: Deposit, share: Share) -> bytes:
        header = offered.header
        domain = self._chain.domain("DatasetRegistry")
        signature = sign(receipt_of(offered), domain, self._keys.signer.secret)
        row = ShareRow(
            commitment=header.commitment,
            dataset=header.context.dataset,
            holder=offered.holder,
            version=header.context.record_version,
            epoch=header.epoch,
            share_index=share.index,
            header=canonical(header.to_json()).decode(),
            sealed=self._keys.lock(share.to_bytes(), header.commitment),
            signature=signature,
        )
        with self._journal.writing() as session:
            if session.get(ErasedRow, header.commitment) is not None:
                raise _refused("record_erased", "This record was erased meanwhile.")
            session.merge(row)
            session.execute(delete(RestoredRow).where(RestoredRow.commitment == header.commitment))
            if offered.tally is not None:
                self._tallies.keep(session, header, offered.tally)
            body = {"commitment": to_hex(header.commitment), "epoch": int(header.epoch)}
            self._journal.append(session, "share-stored", body)
        return signature

    def unlock(self, row: ShareRow) -> Share:
        """A share from its row, bound to its commitment. Raises `Refusal` (share_damaged)."""
        raw = self._keys.unlock(row.sealed, row.commitment, "share")
        return Share(row.share_index, int.from_bytes(raw, "big"))


def open_share(header: RecordHeader, offered: Deposit, secret: hpke.SecretKey) -> Share:
    """The share in an envelope, held against the dealer's commitments.

    Raises:
        EnvelopeUnreadable, WrongShare.
    """
    info = share_info(header.context, header.commitment, header.epoch, offered.index)
    raw = hpke.open_envelope(offered.envelope, secret, info)
    if len(raw) != feldman.SCALAR_BYTES:
        raise EnvelopeUnreadable(
            message="The envelope does not hold a share.",
            remedy="Seal the record again.",
            field="share.envelope",
        )
    share = Share(offered.index, int.from_bytes(raw, "big"))
    feldman.verify_share(share, header.key_commitments)
    return share


def receipt_of(deposit: Deposit) -> StorageReceipt:
    """What the answer to a deposit is a signature of."""
    header = deposit.header
    return StorageReceipt(
        dataset=header.context.dataset,
        patient=deposit.holder,
        commitment=header.commitment,
        version=header.context.record_version,
        epoch=header.epoch,
    )


def _refused(code: str, message: str) -> RecordRefused:
    return RecordRefused(
        code=code,
        message=message,
        remedy="Attest the record on chain for the current committee, then send its share again.",
        field="record",
    )
