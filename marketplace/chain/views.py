"""What the contracts' views return, as typed values. Layouts: contracts/src/interfaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeVar

from marketplace.chain.faults import NodeFault
from marketplace.vocabulary import CohortRoot, Epoch, PatientAddress, RequestId
from marketplace.wire.solidity import (
    ZERO_HASH,
    Address,
    Bool,
    Bytes32,
    SolidityStruct,
    Uint8,
    Uint16,
    Uint24,
    Uint32,
    Uint40,
    Uint56,
    Uint64,
    Uint96,
    Uint256,
)


class RequestStage(IntEnum):
    """Where a request stands on chain (IResearchMarket.Stage)."""

    NONE = 0
    OPENED = 1
    FROZEN = 2
    SEALED = 3
    SETTLED = 4
    DEFAULTED = 5
    RECLAIMED = 6
    CANCELLED = 7


class ConsentState(IntEnum):
    """Where a consent stands on chain (IConsentRegistry.ConsentState)."""

    NONE = 0
    LIVE = 1
    RESTING = 2
    RESTED_BY_PATIENT = 3
    MOVED = 4


W = TypeVar("W", bound=IntEnum)


def _named(words: type[W], number: int) -> W:
    """A contract answers with no other number: this one is the node's."""
    try:
        return words(number)
    except ValueError:
        raise NodeFault(
            message=f"The node answered with a {words.__name__} that the contracts do not have.",
            remedy="Use another node; nothing was decided on this one.",
            facts={"number": number},
        ) from None


GRACE_SECONDS: Final = 20.0
"""Once a quorum of custodians has answered, the others have this long: more contributors, less noise each."""
SET_SECONDS: Final = 120.0
"""Whose noise counts is decided once. After a quorum, whoever committed has this long to add up, and to be
brought what it lacks: in a set of just a quorum, one that then stops ends the request.
"""
CLOSING_SECONDS: Final = 60.0
"""For what takes no waiting for a custodian: drawing, verifying, agreeing, and two transactions."""
ROUNDS_SECONDS: Final = int(SET_SECONDS + 4 * GRACE_SECONDS + CLOSING_SECONDS)
"""What the custodians' rounds of noise take beside waiting for final blocks, though one of them is silent: to
commit, to say their journals' heads, to reveal, to reveal for a smaller set, and to take the others' noise.
"""


@dataclass(frozen=True)
class MarketPolicy(SolidityStruct):
    """Fixed at deployment. Windows in seconds, money in token units."""

    minimum_cohort: Uint32 = 20
    notice_window: Uint40 = 0
    freeze_window: Uint40 = 600
    turn_window: Uint40 = 3600
    gate_window: Uint40 = 600
    certificate_window: Uint40 = 86_400
    unused_freeze_bps: Uint16 = 1_000
    minimum_bond: Uint96 = 1_000_000


@dataclass(frozen=True)
class RequestView(SolidityStruct):
    """A request as the market keeps it."""

    researcher: Address
    stage_number: Uint8
    lane: Uint8
    opened_at: Uint40
    seal_deadline: Uint40
    settle_deadline: Uint40
    cost: Uint56
    price: Uint56
    max_patients: Uint32
    fee: Uint64
    dataset: Bytes32
    operator: Address
    epoch: Uint32
    shards: Uint16
    sealed_shards: Uint16
    members: Uint32
    escrow: Uint96
    bond: Uint96
    seal_block: Uint64
    root: Bytes32
    gate: Address
    gate_draw: Uint16
    gate_drawn_at: Uint40
    frozen_until: Uint40
    draw_block: Uint64
    gate_key: Bytes32
    result_hash: Bytes32

    @property
    def stage(self) -> RequestStage:
        """NONE for a request that was never opened. Raises NodeFault on a number that no stage has."""
        return _named(RequestStage, self.stage_number)

    @property
    def was_sealed(self) -> bool:
        """Whether there is a cohort: now Sealed, or ended after that."""
        return self.stage in (RequestStage.SEALED, RequestStage.SETTLED, RequestStage.DEFAULTED)


@dataclass(frozen=True)
class ShardRef(SolidityStruct):
    """A shard of a request: class index and shard index."""

    class_: Uint16
    shard: Uint16


@dataclass(frozen=True)
class ConsentView(SolidityStruct):
    """One consent. Budget in nano-rho, earnings in token units."""

    state_number: Uint8
    class_: Bytes32
    shard: Uint16
    place: Uint24
    sequence: Uint32
    expiry: Uint40
    cap: Uint56
    spent: Uint56
    owed: Uint256

    @property
    def state(self) -> ConsentState:
        """NONE where there is no consent now. Raises NodeFault on a number that no state has."""
        return _named(ConsentState, self.state_number)


@dataclass(frozen=True)
class ShardView(SolidityStruct):
    """One shard's meters and freeze."""

    spent: Uint56
    earned: Uint56
    live: Uint32
    used: Uint32
    frozen_until: Uint40
    frozen_for: Bytes32


@dataclass(frozen=True)
class Record(SolidityStruct):
    """One person's record: the version in use, and the one that awaits its storage receipt."""

    commitment: Bytes32
    pending: Bytes32
    bound_to: Address
    version: Uint32
    pending_version: Uint32
    suspended: Bool
    erased: Bool
    issuer: Address
    pending_issuer: Address
    pending_bound_to: Address
    person: Bytes32

    @property
    def is_there(self) -> bool:
        """Whether the address has a record, in whatever state: not before the first, nor after a move."""
        return self.person != ZERO_HASH


@dataclass(frozen=True)
class Liabilities(SolidityStruct):
    """Every token unit that somebody could claim, by kind."""

    escrows: Uint256
    locked_bonds: Uint256
    free_bonds: Uint256
    credits: Uint256
    earnings: Uint256

    @property
    def total(self) -> int:
        """Token units; the market's balance is at least that, since anybody may donate."""
        return self.escrows + self.locked_bonds + self.free_bonds + self.credits + self.earnings


@dataclass(frozen=True)
class Stored:
    """A patient's usable record: commitment, and the address that its ciphertext is bound to."""

    patient: str
    commitment: bytes  # zero if there is no usable record
    bound_to: str
    version: int

    @property
    def usable(self) -> bool:
        """Whether there is a record to compute on; without one, the member counts as null."""
        return self.commitment != ZERO_HASH


@dataclass(frozen=True)
class CommitteeMember:
    """A custodian of one epoch; `keys` by scheme (1 X25519)."""

    place: int
    signer: str
    keys: Mapping[int, bytes]


@dataclass(frozen=True)
class CommitteeView:
    """One epoch of the committee."""

    epoch: Epoch
    quorum: int
    members: tuple[CommitteeMember, ...]
    gates: tuple[str, ...]


@dataclass(frozen=True)
class Member:
    """One member of a sealed cohort, where the seal found it."""

    shard: ShardRef
    place: int
    patient: PatientAddress


@dataclass(frozen=True)
class Cohort:
    """A sealed cohort, in cohort order, verified against the root in the market's storage."""

    request: RequestId
    root: CohortRoot
    epoch: Epoch
    dataset: bytes
    members: tuple[Member, ...]
    seal_block: int
    seal_block_hash: bytes

    @property
    def patients(self) -> tuple[PatientAddress, ...]:
        """The members' addresses in cohort order, in which commitments and records are given too."""
        return tuple(member.patient for member in self.members)


@dataclass(frozen=True)
class DatasetView:
    """A dataset as published; `classes` is their number (indices 1, 2, ...)."""

    dataset: bytes
    steward: str
    dictionary: bytes
    uri: str
    retired: bool
    classes: int


@dataclass(frozen=True)
class Event:
    """One decoded log. `args` by Solidity name; tuples as `SolidityStruct.from_abi` takes."""

    contract: str
    name: str
    args: Mapping[str, Any]
    block: int
    block_hash: bytes
    transaction: bytes
    log_index: int
