"""What a receipt is made of, and the refusal of one that is not what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from marketplace.errors import Refusal
from marketplace.vocabulary import Address
from marketplace.wire.roots import SealedShard


class ReceiptInvalid(Refusal):
    """A receipt that is not what it says; `field` is at fault, `facts["step"]` found it."""

    CODE = "receipt_invalid"


def invalid(step: str, field: str, problem: str) -> ReceiptInvalid:
    """The refusal of one step of the verification. Never carries the receipt's values."""
    return ReceiptInvalid(
        message=f"The receipt is not valid: {field} {problem} (step {step}).",
        remedy="Do not rely on it. Ask for the receipt again, or build it from the chain.",
        field=field,
        facts={"step": step},
    )


@dataclass(frozen=True)
class Contract:
    """A contract: where it is, and keccak256 of its runtime code."""

    address: Address
    code_hash: bytes


@dataclass(frozen=True)
class Deployment:
    """Which chain and contracts the receipt is of."""

    chain_id: int
    genesis_hash: bytes
    deployed_block: int
    contracts: Mapping[str, Contract]

    @property
    def market(self) -> Address:
        """Address of the ResearchMarket, which the settlement's signatures are for."""
        return self.contracts["ResearchMarket"].address


@dataclass(frozen=True)
class Step:
    """Where on chain one step of a request's life lies."""

    block: int
    block_hash: bytes
    transaction: bytes


@dataclass(frozen=True)
class Shard:
    """One shard as it was sealed, and the root that its event carries."""

    sealed: SealedShard
    members: int
    root: bytes


@dataclass(frozen=True)
class CohortPart:
    """Who was counted, by place: bitmaps in the request's order, and the root over them."""

    members: int
    seal_block: int
    seal_block_hash: bytes
    root: bytes
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class CommitteePart:
    """The custodians of the pinned epoch, by place, and how many had to sign."""

    signers: tuple[Address, ...]
    quorum: int
