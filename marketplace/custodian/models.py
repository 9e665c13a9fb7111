"""What a custodian keeps. Share values only under its storage key; everything else is public."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

HASH = LargeBinary(32)


class Base(DeclarativeBase):
    """Metadata of the custodian's journal file."""


class EntryRow(Base):
    """One journal entry; `head` hashes everything up to it."""

    __tablename__ = "journal"
    height: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(32))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    prev: Mapped[bytes] = mapped_column(HASH)
    head: Mapped[bytes] = mapped_column(HASH)


class ShareRow(Base):
    """The share of one record version. `holder` is the patient's current address."""

    __tablename__ = "shares"
    commitment: Mapped[bytes] = mapped_column(HASH, primary_key=True)
    dataset: Mapped[bytes] = mapped_column(HASH)
    holder: Mapped[str] = mapped_column(String(42), index=True)
    version: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[int] = mapped_column(BigInteger)
    share_index: Mapped[int] = mapped_column(Integer)
    header: Mapped[str] = mapped_column(Text)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary)


class RestoredRow(Base):
    """A record whose part in the homomorphic lane was brought without its share: that went by when it was
    stored. `holder` is the patient's current address.
    """

    __tablename__ = "restored"
    commitment: Mapped[bytes] = mapped_column(HASH, primary_key=True)
    dataset: Mapped[bytes] = mapped_column(HASH)
    holder: Mapped[str] = mapped_column(String(42), index=True)
    version: Mapped[int] = mapped_column(BigInteger)
    header: Mapped[str] = mapped_column(Text)


class ErasedRow(Base):
    """A record that may never be stored or turned again."""

    __tablename__ = "erased"
    commitment: Mapped[bytes] = mapped_column(HASH, primary_key=True)


class TurnRow(Base):
    """One turn, as it was answered. `envelope` is dropped once the request has ended.

    The seal's block is what was final then; `None` for turns of before it was kept.
    """

    __tablename__ = "turns"
    __table_args__ = (Index("ix_turns_seal", "seal_block", "seal_block_hash", "request"),)
    request: Mapped[bytes] = mapped_column(HASH, primary_key=True)
    root: Mapped[bytes] = mapped_column(HASH)
    epoch: Mapped[int] = mapped_column(BigInteger)
    gate_key: Mapped[bytes] = mapped_column(HASH)
    envelope: Mapped[bytes | None] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary)
    journal_height: Mapped[int] = mapped_column(BigInteger)
    journal_head: Mapped[bytes] = mapped_column(HASH)
    journal_signature: Mapped[bytes] = mapped_column(LargeBinary)
    seal_block: Mapped[int | None] = mapped_column(BigInteger)
    seal_block_hash: Mapped[bytes | None] = mapped_column(HASH)


class ViolationRow(Base):
    """A final block that went away, at the height of its journal entry; it halts until resolved."""

    __tablename__ = "violations"
    height: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    block: Mapped[int] = mapped_column(BigInteger)
    resolved: Mapped[bool] = mapped_column(Boolean)


class SettlementRow(Base):
    """The one settlement that this custodian ever signs for a request."""

    __tablename__ = "settlements"
    request: Mapped[bytes] = mapped_column(HASH, primary_key=True)
    digest: Mapped[bytes] = mapped_column(HASH)
    signature: Mapped[bytes] = mapped_column(LargeBinary)


class DeliveryRow(Base):
    """A share that the successor of an epoch acknowledged: what an interrupted rewrap need not repeat."""

    __tablename__ = "deliveries"
    epoch: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    commitment: Mapped[bytes] = mapped_column(HASH, primary_key=True)


class HandoverRow(Base):
    """The signed word of a predecessor that all its shares went over to this custodian."""

    __tablename__ = "handovers"
    predecessor: Mapped[str] = mapped_column(String(42), primary_key=True)
    epoch: Mapped[int] = mapped_column(BigInteger)
    shares: Mapped[int] = mapped_column(BigInteger)
    signature: Mapped[bytes] = mapped_column(LargeBinary)


class FailureRow(Base):
    """How often a wallet said yes in a rehearsal and failed on chain, on a day (since 1970, UTC)."""

    __tablename__ = "failures"
    day: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(24), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(66), primary_key=True)
    patient: Mapped[str] = mapped_column(String(42), primary_key=True)
    number: Mapped[int] = mapped_column(Integer)


class KeygenRow(Base):
    """One session of key generation, as far as this custodian took part; what it said, it says again.

    `commits`, `dealt` and `answers` are hashes of what it was shown before each of its own messages.
    """

    __tablename__ = "keygen"
    session: Mapped[bytes] = mapped_column(HASH, primary_key=True)
    epoch: Mapped[int] = mapped_column(BigInteger)
    origin: Mapped[int] = mapped_column(BigInteger)
    dealing: Mapped[bytes | None] = mapped_column(LargeBinary)
    polynomial: Mapped[bytes | None] = mapped_column(LargeBinary)  # under the storage key
    envelopes: Mapped[str | None] = mapped_column(Text)
    commits: Mapped[bytes | None] = mapped_column(HASH)
    dealt: Mapped[bytes | None] = mapped_column(HASH)
    complaints: Mapped[str | None] = mapped_column(Text)
    answers: Mapped[bytes | None] = mapped_column(HASH)


class JointShareRow(Base):
    """This custodian's share of one joint key, by the hash of the key's commitments."""

    __tablename__ = "joint_shares"
    commitments: Mapped[bytes] = mapped_column(HASH, primary_key=True)
    epoch: Mapped[int] = mapped_column(BigInteger, index=True)
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    transcript: Mapped[bytes] = mapped_column(HASH)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)  # under the storage key


class TallyRow(Base):
    """One record's part in the homomorphic lane. `row` is its place in the folder of columns, for ever.

    Columns and proof are `None` once the record was erased; the row goes when its cells are zeros.
    """

    __tablename__ = "tallies"
    __table_args__ = (UniqueConstraint("folder", "row"),)
    commitment: Mapped[bytes] = mapped_column(HASH, primary_key=True)
    folder: Mapped[str] = mapped_column(String(64))
    row: Mapped[int] = mapped_column(Integer)
    public_key: Mapped[bytes] = mapped_column(LargeBinary(33))
    columns: Mapped[bytes | None] = mapped_column(LargeBinary)
    proof: Mapped[bytes | None] = mapped_column(LargeBinary)


class NoisedRow(Base):
    """One request of the homomorphic lane that this custodian committed noise to.

    sums: over the records that counted at `noise_block`, kept before any of them can be erased here.
    sums_digest: what this custodian has told others that it added up; from then on, sums stay as they are.
    """

    __tablename__ = "noised"
    request: Mapped[bytes] = mapped_column(HASH, primary_key=True)
    root: Mapped[bytes] = mapped_column(HASH)
    epoch: Mapped[int] = mapped_column(BigInteger)
    seal_block: Mapped[int] = mapped_column(BigInteger)
    seal_block_hash: Mapped[bytes] = mapped_column(HASH)
    parameters: Mapped[bytes] = mapped_column(LargeBinary)  # canonical JSON
    commitment: Mapped[bytes] = mapped_column(HASH)
    noise_block: Mapped[int | None] = mapped_column(BigInteger)
    noise_block_hash: Mapped[bytes | None] = mapped_column(HASH)
    ciphertext_root: Mapped[bytes | None] = mapped_column(HASH)
    sums: Mapped[bytes | None] = mapped_column(LargeBinary)
    sums_digest: Mapped[bytes | None] = mapped_column(HASH)
    aggregate: Mapped[bytes | None] = mapped_column(HASH)
    partial: Mapped[bytes | None] = mapped_column(LargeBinary)
    ended: Mapped[bool] = mapped_column(Boolean, index=True)


class ContributionRow(Base):
    """Encrypted noise for one request and one size of the set: this custodian's own, or verified by it.

    sums_signature: its maker's word that it added up what this custodian did; none of this custodian's own.
    """

    __tablename__ = "contributions"
    request: Mapped[bytes] = mapped_column(HASH, primary_key=True)
    place: Mapped[int] = mapped_column(Integer, primary_key=True)
    size: Mapped[int] = mapped_column(Integer, primary_key=True)
    columns: Mapped[bytes] = mapped_column(LargeBinary)
    proof: Mapped[bytes] = mapped_column(LargeBinary)
    digests: Mapped[bytes] = mapped_column(LargeBinary)  # of its maker's, 32 bytes for each size
    sums_signature: Mapped[bytes | None] = mapped_column(LargeBinary)


class DictionaryRow(Base):
    """A data dictionary that a dataset on chain names by its hash."""

    __tablename__ = "dictionaries"
    hash: Mapped[bytes] = mapped_column(HASH, primary_key=True)
    document: Mapped[bytes] = mapped_column(LargeBinary)


class CursorRow(Base):
    """Up to which final block the chain's events were followed.

    Its hash tells whether the node still shows that chain; `None` for a cursor of before it was kept.
    """

    __tablename__ = "cursor"
    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    block: Mapped[int] = mapped_column(BigInteger)
    block_hash: Mapped[bytes | None] = mapped_column(HASH)
