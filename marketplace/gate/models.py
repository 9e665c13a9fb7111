"""What a gate keeps: its answers, which are fixed for ever. Never a record, share or plain result."""

from __future__ import annotations

from sqlalchemy import LargeBinary, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Metadata of the gate's journal file."""


class ComputationRow(Base):
    """The one answer to a request. `settlement` and `turns` are canonical JSON; `turns` also says which
    custodians were at fault, and what the sealed result states of itself."""

    __tablename__ = "computations"
    request: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    settlement: Mapped[str] = mapped_column(Text)
    sealed_result: Mapped[bytes] = mapped_column(LargeBinary)
    gate_signature: Mapped[bytes] = mapped_column(LargeBinary)
    turns: Mapped[str] = mapped_column(Text)
    registered: Mapped[bool] = mapped_column(default=False)  # a quorum of custodians noted it
    signatures: Mapped[str | None] = mapped_column(Text, default=None)  # theirs, canonical JSON
