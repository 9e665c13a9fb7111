"""Tables. Ids, hashes and addresses are lower-case hex text, so that a row reads as the chain does."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables of the operator."""


class RequestRow(Base):
    """One request, where it stands, and what its researcher asked for."""

    __tablename__ = "requests"

    id: Mapped[str] = mapped_column(String(66), primary_key=True)
    researcher: Mapped[str] = mapped_column(String(42), index=True)
    stage: Mapped[str] = mapped_column(String(16), index=True)
    terms: Mapped[dict[str, Any]] = mapped_column(JSON)
    analysis: Mapped[str] = mapped_column(String(40))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    reason: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    submitted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class StageLogRow(Base):
    """Every transition, with what caused it. Written in the transaction that changes the stage."""

    __tablename__ = "stage_log"
    __table_args__ = (Index("ix_stage_log_request", "request", "id"),)

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    request: Mapped[str] = mapped_column(ForeignKey("requests.id"))
    before: Mapped[str | None] = mapped_column(String(16))
    after: Mapped[str] = mapped_column(String(16))
    because: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class RecordRow(Base):
    """One sealed record: where its ciphertext lies and what opens it once k custodians turn."""

    __tablename__ = "records"

    commitment: Mapped[str] = mapped_column(String(66), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(66))
    patient: Mapped[str] = mapped_column(String(42))
    version: Mapped[int] = mapped_column(Integer)
    header: Mapped[dict[str, Any]] = mapped_column(
        JSON
    )  # everything of the sealed record but box and shares
    attestation: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16))  # received, attested, stored, erased
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class RecordLogRow(Base):
    """What became of a sealed record's ciphertext. Written in the transaction that changes its state."""

    __tablename__ = "record_log"
    __table_args__ = (Index("ix_record_log_commitment", "commitment", "id"),)

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    commitment: Mapped[str] = mapped_column(ForeignKey("records.commitment"))
    before: Mapped[str] = mapped_column(String(16))
    after: Mapped[str] = mapped_column(String(16))
    because: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ComputedRow(Base):
    """The noised answer, persisted before it goes anywhere: a retry finds it here.

    `gate_signature` is empty in the homomorphic lane, which has no gate.
    """

    __tablename__ = "computed"

    request: Mapped[str] = mapped_column(ForeignKey("requests.id"), primary_key=True)
    settlement: Mapped[dict[str, Any]] = mapped_column(JSON)
    sealed_result: Mapped[bytes] = mapped_column(LargeBinary)
    gate_signature: Mapped[bytes] = mapped_column(LargeBinary)
    signatures: Mapped[list[Any] | None] = mapped_column(JSON, default=None)
    stated: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)  # cost and noise
    evidence: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    """Of the homomorphic lane: noised sums, partial decryptions, revealed noise."""


class ReceiptRow(Base):
    """The receipt of a settled request."""

    __tablename__ = "receipts"

    request: Mapped[str] = mapped_column(ForeignKey("requests.id"), primary_key=True)
    block: Mapped[int] = mapped_column(BigInteger)
    receipt: Mapped[dict[str, Any]] = mapped_column(JSON)


class ApiNonceRow(Base):
    """A nonce of a signed API request, kept until its deadline has passed."""

    __tablename__ = "api_nonces"

    address: Mapped[str] = mapped_column(String(42), primary_key=True)
    nonce: Mapped[str] = mapped_column(String(66), primary_key=True)
    deadline: Mapped[int] = mapped_column(BigInteger, index=True)


class CarriedRow(Base):
    """How many messages of a kind were carried on a day for one patient in one dataset."""

    __tablename__ = "carried"

    day: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False
    )  # since 1970, UTC
    kind: Mapped[str] = mapped_column(String(24), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(66), primary_key=True)
    patient: Mapped[str] = mapped_column(String(42), primary_key=True)
    number: Mapped[int] = mapped_column(Integer)


class WebChallengeRow(Base):
    """A text that a browser was given to sign in with, kept until it is used once or expires."""

    __tablename__ = "web_challenges"

    nonce: Mapped[str] = mapped_column(String(64), primary_key=True)
    browser: Mapped[str] = mapped_column(String(64), index=True)  # SHA-256 of its hello cookie
    address: Mapped[str] = mapped_column(String(42))
    message: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
    network: Mapped[str] = mapped_column(String(64), index=True, server_default="")  # keyed hash


class WebSessionRow(Base):
    """One browser signed in as one account. Times in unix seconds; rows of before 0006 name no network."""

    __tablename__ = "web_sessions"

    token: Mapped[str] = mapped_column(String(64), primary_key=True)  # SHA-256 of its cookie
    account: Mapped[str] = mapped_column(String(42), index=True)
    half: Mapped[str] = mapped_column(String(64))  # opens what the tab keeps, with the other half
    started_at: Mapped[int] = mapped_column(BigInteger)
    seen_at: Mapped[int] = mapped_column(BigInteger, index=True)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
    network: Mapped[str] = mapped_column(String(64), index=True, server_default="")  # keyed hash


class IssuerDeskRow(Base):
    """The key to which drafts for an issuer are sealed, as the issuer signed it."""

    __tablename__ = "issuer_desks"

    dataset: Mapped[str] = mapped_column(String(66), primary_key=True)
    issuer: Mapped[str] = mapped_column(String(42), primary_key=True)
    key: Mapped[str] = mapped_column(String(66))
    until: Mapped[int] = mapped_column(BigInteger)  # unix seconds
    signature: Mapped[str] = mapped_column(Text)


class InvitationRow(Base):
    """The hash of a code that an issuer handed to somebody; good for one record, until it expires.

    Its voucher is the issuer's (`wire.voucher`): nobody who has not the code can read or write one.
    """

    __tablename__ = "invitations"
    __table_args__ = (
        Index("ix_invitations_of", "dataset", "issuer", "expires_at"),
        Index("ix_invitations_used", "issuer", "used_on"),
    )

    code: Mapped[str] = mapped_column(String(66), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(66))
    issuer: Mapped[str] = mapped_column(String(42))
    voucher: Mapped[dict[str, Any]] = mapped_column(JSON)
    made_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
    used_by: Mapped[str | None] = mapped_column(String(66), default=None)  # a commitment
    used_on: Mapped[int | None] = mapped_column(Integer, default=None)  # last, days since 1970, UTC
    uses: Mapped[int] = mapped_column(Integer, default=0, server_default="0")  # on that day


class DraftRow(Base):
    """A sealed record that waits for its issuer's word. Nothing here opens it but the issuer's desk key."""

    __tablename__ = "drafts"
    __table_args__ = (
        Index("ix_drafts_desk", "dataset", "issuer", "state"),
        Index("ix_drafts_patient", "dataset", "patient", unique=True),
    )

    commitment: Mapped[str] = mapped_column(String(66), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(66))
    patient: Mapped[str] = mapped_column(String(42))
    issuer: Mapped[str] = mapped_column(String(42), index=True)
    code: Mapped[str] = mapped_column(String(66))  # hash of its invitation
    record: Mapped[str] = mapped_column(Text)  # canonical JSON; empty once declined
    opening: Mapped[bytes] = mapped_column(LargeBinary)  # to the desk key; empty once declined
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    attestation: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    signature: Mapped[str | None] = mapped_column(Text, default=None)  # the issuer's
    made_at: Mapped[int] = mapped_column(BigInteger, index=True)


class DraftLogRow(Base):
    """One step of a draft: kept when the draft itself is gone, and says nothing of what was in it."""

    __tablename__ = "draft_log"
    __table_args__ = (Index("ix_draft_log_commitment", "commitment", "id"),)

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    commitment: Mapped[str] = mapped_column(String(66))
    before: Mapped[str | None] = mapped_column(String(16))
    after: Mapped[str] = mapped_column(String(16))
    because: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ConfirmationRow(Base):
    """That the custodian at a place signed, in an epoch, that it holds its part of a record."""

    __tablename__ = "confirmations"

    commitment: Mapped[str] = mapped_column(String(66), primary_key=True)
    epoch: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    place: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[int] = mapped_column(BigInteger)


class ScoreModelRow(Base):
    """A published model that runs on encrypted records (`ml.ckks.models`), by its hash."""

    __tablename__ = "score_models"

    model: Mapped[str] = mapped_column(String(66), primary_key=True)
    publisher: Mapped[str] = mapped_column(String(42), index=True)
    shown: Mapped[dict[str, Any]] = mapped_column(JSON)  # title, kind, unit, variables
    document: Mapped[str] = mapped_column(Text)  # canonical JSON
    published_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)


class ScoreRecordRow(Base):
    """That a patient handed in an encrypted record to be scored; its bytes lie in the folder of scores."""

    __tablename__ = "score_records"

    dataset: Mapped[str] = mapped_column(String(66), primary_key=True)
    patient: Mapped[str] = mapped_column(String(42), primary_key=True)
    record: Mapped[str] = mapped_column(String(66))  # SHA-256 of the encrypted record
    block: Mapped[int] = mapped_column(BigInteger)  # of the chain, when it came
    handed_in_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ScoreRoundRow(Base):
    """That it is settled whom a request scores: `ScoreRow` has them."""

    __tablename__ = "score_rounds"

    request: Mapped[str] = mapped_column(ForeignKey("requests.id"), primary_key=True)
    planned_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ScoreRow(Base):
    """One patient's score of one request; its bytes lie in the folder of scores, encrypted to the patient."""

    __tablename__ = "scores"
    __table_args__ = (
        Index("ix_scores_patient", "dataset", "patient"),
        Index("ix_scores_state", "state"),
    )

    request: Mapped[str] = mapped_column(ForeignKey("requests.id"), primary_key=True)
    patient: Mapped[str] = mapped_column(String(42), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(66))
    model: Mapped[str] = mapped_column(String(66))
    state: Mapped[str] = mapped_column(String(16))  # due, scored, failed
    record: Mapped[str | None] = mapped_column(String(66), default=None)  # that was scored, SHA-256
