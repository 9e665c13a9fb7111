"""Classes, purposes, credentials and requests: what their ids and definitions are hashes of.

The layouts are those of contracts/src/types/DataUseTypes.sol and interfaces/IResearchMarket.sol.
"""

from __future__ import annotations

from dataclasses import dataclass

from marketplace.wire.solidity import (
    Bool,
    Bytes2,
    Bytes32,
    SolidityStruct,
    Uint8,
    Uint16,
    Uint32,
    Uint40,
    Uint56,
    Uint64,
    hash_encoded,
    malformed,
)

REQUEST_TAG = "usufruct/request/1"
DATASET_TAG = "usufruct/dataset/1"
MOST_DISEASES = 32
"""Of one purpose, as of a class's lists. The market has no bound of its own, but looks each one up: a few
thousand would need more gas than a transaction may use, after everything else was checked."""
MOST_CLASSES = 64
"""In one request: a freeze takes at most so many shards (ResearchMarket.MOST_SHARDS)."""
CLASS_MASK = 0xFFFF
"""A class id is its dataset's id with the class index (1, 2, ...) in the low 16 bits."""


@dataclass(frozen=True)
class ClassTerms(SolidityStruct):
    """What a patient of a class permits (DUO), and its price. Never changes once published."""

    permission: Uint8
    disease: Uint32
    modifiers: Uint32
    research_types: Uint32
    countries: tuple[Bytes2, ...]
    months: Uint16
    users: tuple[Bytes32, ...]
    projects: tuple[Bytes32, ...]
    institutions: tuple[Bytes32, ...]
    release_kinds: Uint32
    max_cost: Uint56  # nano-rho, of one request
    floor_per_record: Uint56  # token units a member
    floor_per_milli_rho: Uint56  # token units a member and 1e6 nano-rho
    terms_hash: Bytes32  # of the page that the patient read

    def definition_hash(self, class_id: bytes) -> bytes:
        """What the registry stores for the class, and what a grant names."""
        return hash_encoded(["bytes32", self.abi_type()], [class_id, self.abi_tuple()])


@dataclass(frozen=True)
class Descent(SolidityStruct):
    """One line of a steward's disease table: numbers of the MONDO disease ontology."""

    disease: Uint32
    kind_of: Uint32


@dataclass(frozen=True)
class Purpose(SolidityStruct):
    """What a request wants the data for; who asks is said by the credential."""

    uses: Uint32
    diseases: tuple[Uint32, ...]
    commercial: Bool
    clinical_care: Bool
    months: Uint16
    project: Bytes32
    ethics_approval: Bytes32
    duties: Uint32

    def require_short(self, field: str = "purpose") -> None:
        """Raises `Refusal` (malformed_message) for more than MOST_DISEASES diseases."""
        if len(self.diseases) > MOST_DISEASES:
            raise malformed(f"{field}.diseases", f"names more than {MOST_DISEASES} diseases")


@dataclass(frozen=True)
class Credential(SolidityStruct):
    """A researcher's standing, as the credential authority vouched for it."""

    kind: Uint8  # 1 non-profit, 2 public body, 3 commercial; 0 is none
    country: Bytes2  # ISO 3166-1 alpha-2
    expiry: Uint40  # unix seconds
    withdrawn: Bool
    user: Bytes32
    institution: Bytes32
    evidence: Bytes32


@dataclass(frozen=True)
class RequestTerms(SolidityStruct):
    """Everything that a researcher asks for."""

    dataset: Bytes32
    classes: tuple[Uint16, ...]  # indices, strictly ascending
    lane: Uint8  # 1 vault
    release_kind: Uint8
    analysis: Bytes32  # keccak of the catalogue entry's id
    parameters: Bytes32  # keccak of the canonical parameters
    purpose: Purpose
    cost: Uint56  # nano-rho
    price: Uint56  # token units a member
    fee: Uint64  # token units, to the operator
    max_patients: Uint32
    seal_deadline: Uint40  # unix seconds
    settle_deadline: Uint40  # unix seconds
    delivery_key: Bytes32  # the researcher's X25519 public key
    salt: Bytes32

    def request_id(self, chain_id: int, market: str, researcher: str) -> bytes:
        """The id under which the market keeps this request of this researcher."""
        return hash_encoded(
            ["string", "uint256", "address", "address", self.abi_type()],
            [REQUEST_TAG, chain_id, market, researcher, self.abi_tuple()],
        )

    @property
    def escrow(self) -> int:
        """Token units that `open` takes in."""
        return self.max_patients * self.price + self.fee

    def class_ids(self) -> tuple[bytes, ...]:
        """The ids of `classes`, in their order. Raises `Refusal` (malformed_message) on what can be none."""
        return tuple(class_id(self.dataset, index) for index in self.classes)


def request_id(chain_id: int, market: str, researcher: str, terms: RequestTerms) -> bytes:
    """As `RequestTerms.request_id`."""
    return terms.request_id(chain_id, market, researcher)


def dataset_id(chain_id: int, registry: str, steward: str, dictionary: bytes, salt: bytes) -> bytes:
    """The id that `publishDataset` gives: a hash with its low 16 bits cleared for classes."""
    digest = hash_encoded(
        ["string", "uint256", "address", "address", "bytes32", "bytes32"],
        [DATASET_TAG, chain_id, registry, steward, dictionary, salt],
    )
    return digest[:30] + bytes(2)


def class_id(dataset: bytes, index: int) -> bytes:
    """The id of a dataset's class (index 1, 2, ..., 65535)."""
    if dataset_of(dataset) != dataset or len(dataset) != 32:
        raise malformed("dataset", "must be a dataset id (32 bytes, the last two zero)")
    if not 0 < index <= CLASS_MASK:
        raise malformed("class", "must be a class index from 1 to 65535")
    return dataset[:30] + index.to_bytes(2, "big")


def dataset_of(class_id: bytes) -> bytes:
    """The dataset that a class belongs to."""
    return class_id[:30] + bytes(2)


def index_of(class_id: bytes) -> int:
    """The index of a class in its dataset."""
    return int.from_bytes(class_id[30:], "big")
