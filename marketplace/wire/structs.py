"""The EIP-712 messages of the market, under the contracts' own type strings.

Every message knows the contract whose domain it is signed for, so that it cannot be signed for
another. Source: EIP-712; the type strings stand in contracts/src/interfaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eth_utils.crypto import keccak

from marketplace.wire.eip712 import (
    API,
    CONSENT_REGISTRY,
    CUSTODIAN_COMMITTEE,
    DATASET_REGISTRY,
    NOISE_REGISTRY,
    RESEARCH_MARKET,
    BadSignature,
    Domain,
    SignedStruct,
    SigningKey,
    api_domain,
    market_domain,
    recover,
    require_signed,
    sign,
)
from marketplace.wire.solidity import (
    Address,
    Bool,
    Bytes,
    Bytes32,
    SolidityStruct,
    Text,
    Uint8,
    Uint16,
    Uint32,
    Uint40,
    Uint56,
    Uint64,
    Uint256,
    hash_encoded,
)
from marketplace.wire.terms import (
    ClassTerms,
    Credential,
    Purpose,
    RequestTerms,
    class_id,
    dataset_id,
    dataset_of,
    index_of,
    request_id,
)

__all__ = [
    "HOMOMORPHIC",
    "MESSAGES",
    "SETTLEMENT_SCHEMA",
    "VAULT",
    "ApiRequest",
    "BadSignature",
    "ClassTerms",
    "Credential",
    "CreditWithdrawal",
    "Domain",
    "EarningsWithdrawal",
    "Erasure",
    "GateKey",
    "Grant",
    "Guardianship",
    "JointKey",
    "JournalHead",
    "NoiseCommitment",
    "NoiseSet",
    "Permit",
    "Purpose",
    "RecordAttestation",
    "RequestTerms",
    "Rest",
    "Revocation",
    "Rotation",
    "Settlement",
    "SignedStruct",
    "SigningKey",
    "SolidityStruct",
    "StorageReceipt",
    "TurnCertificate",
    "Wake",
    "api_domain",
    "class_id",
    "dataset_id",
    "dataset_of",
    "index_of",
    "market_domain",
    "recover",
    "request_id",
    "require_signed",
    "sign",
]

VAULT = 1
"""Lane of a settlement whose records a gate opened."""
HOMOMORPHIC = 2
"""Lane of a settlement whose records nobody opened: computed on ciphertext, with the custodians' noise."""
SETTLEMENT_SCHEMA = 1
NOISE_TAG = "usufruct/noise/1"
_NOISE_TYPES = ["string", "uint256", "address", *["bytes32"] * 2, "uint32", "uint16", "bytes32[]"]
"""NoiseRegistry.fixNoise: tag, chain, market, request, root, epoch, places, commitments."""

# --- ConsentRegistry


@dataclass(frozen=True)
class Grant(SignedStruct):
    """Consent: everything that the patient agrees to."""

    DOMAIN = CONSENT_REGISTRY

    patient: Address
    dataset: Bytes32
    class_: Bytes32
    definition: Bytes32
    cap: Uint56  # lifetime, nano-rho
    expiry: Uint40  # unix seconds
    sequence: Uint32  # one above the patient's current one
    deadline: Uint40  # unix seconds


@dataclass(frozen=True)
class Revocation(SignedStruct):
    """Ends every grant up to `sequence`. No deadline, no order."""

    DOMAIN = CONSENT_REGISTRY

    patient: Address
    dataset: Bytes32
    sequence: Uint32


@dataclass(frozen=True)
class Rest(SignedStruct):
    """Takes a live consent out of cohorts, at its patient's wish."""

    DOMAIN = CONSENT_REGISTRY

    patient: Address
    dataset: Bytes32
    sequence: Uint32
    nonce: Uint256
    deadline: Uint40


@dataclass(frozen=True)
class Wake(SignedStruct):
    """Brings a resting consent back."""

    DOMAIN = CONSENT_REGISTRY

    patient: Address
    dataset: Bytes32
    sequence: Uint32
    nonce: Uint256
    deadline: Uint40


@dataclass(frozen=True)
class Guardianship(SignedStruct):
    """Appoints a guardian for one dataset; the zero address dismisses."""

    DOMAIN = CONSENT_REGISTRY

    patient: Address
    dataset: Bytes32
    guardian: Address
    expiry: Uint40
    may_grant: Bool
    nonce: Uint256
    deadline: Uint40


@dataclass(frozen=True)
class Erasure(SignedStruct):
    """Revokes, and has custodians destroy their shares of every version up to this one."""

    DOMAIN = CONSENT_REGISTRY

    patient: Address
    dataset: Bytes32
    version: Uint32


@dataclass(frozen=True)
class Rotation(SignedStruct):
    """Moves record, consent, earnings and spend to another address; signed by both."""

    DOMAIN = CONSENT_REGISTRY

    dataset: Bytes32
    from_: Address
    to: Address
    deadline: Uint40


# --- DatasetRegistry


@dataclass(frozen=True)
class RecordAttestation(SignedStruct):
    """An issuer's word that this commitment is this person's record."""

    DOMAIN = DATASET_REGISTRY

    dataset: Bytes32
    patient: Address
    person: Bytes32
    commitment: Bytes32
    version: Uint32
    issuer: Address
    deadline: Uint40


@dataclass(frozen=True)
class StorageReceipt(SignedStruct):
    """A custodian's word that it holds its part of a record."""

    DOMAIN = DATASET_REGISTRY

    dataset: Bytes32
    patient: Address
    commitment: Bytes32
    version: Uint32
    epoch: Uint32


# --- ResearchMarket


@dataclass(frozen=True)
class GateKey(SignedStruct):
    """The drawn gate's X25519 key for one request."""

    DOMAIN = RESEARCH_MARKET

    request: Bytes32
    root: Bytes32
    key: Bytes32


@dataclass(frozen=True)
class TurnCertificate(SignedStruct):
    """A custodian's word that it turned its key for this request."""

    DOMAIN = RESEARCH_MARKET

    request: Bytes32
    root: Bytes32
    epoch: Uint32


@dataclass(frozen=True)
class Settlement(SignedStruct):
    """What k custodians sign, and what settles a request."""

    DOMAIN = RESEARCH_MARKET

    request: Bytes32
    root: Bytes32
    epoch: Uint32
    lane: Uint8
    schema: Uint16
    ciphertext_root: Bytes32
    noise: Bytes32  # as NoiseRegistry fixed it; zero in the vault lane
    result_hash: Bytes32  # keccak(salt || result)
    delivery_hash: Bytes32  # keccak of the sealed result
    gate: Address  # zero in the homomorphic lane


@dataclass(frozen=True)
class CreditWithdrawal(SignedStruct):
    """Pays an account's whole credit to `to`."""

    DOMAIN = RESEARCH_MARKET

    account: Address
    to: Address
    nonce: Uint256
    deadline: Uint40


@dataclass(frozen=True)
class EarningsWithdrawal(SignedStruct):
    """Pays a patient's earnings of one dataset to `to`."""

    DOMAIN = RESEARCH_MARKET

    patient: Address
    dataset: Bytes32
    to: Address
    nonce: Uint256
    deadline: Uint40


# --- NoiseRegistry


@dataclass(frozen=True)
class NoiseCommitment(SignedStruct):
    """A custodian's hash of its noise for one request, before anybody's is revealed."""

    DOMAIN = NOISE_REGISTRY

    request: Bytes32
    root: Bytes32
    epoch: Uint32
    place: Uint8
    commitment: Bytes32


@dataclass(frozen=True)
class CountedSums(SignedStruct):
    """A custodian's word on what it added up for one request, before it decrypts anything. Given once.

    No contract reads it: custodians hold it against their own sums.
    """

    DOMAIN = NOISE_REGISTRY

    request: Bytes32
    root: Bytes32
    epoch: Uint32
    place: Uint8
    sums: Bytes32  # `TallySession.sums`


@dataclass(frozen=True)
class NoiseSet(SignedStruct):
    """A custodian's word that it holds and has verified the noise of these places, which count."""

    DOMAIN = NOISE_REGISTRY

    request: Bytes32
    root: Bytes32
    epoch: Uint32
    places: Uint16  # bit i is the custodian at place i
    noise: Bytes32  # hash of their commitments: see `of`

    @classmethod
    def of(
        cls, domain: Domain, sealed: NoiseCommitment, commitments: Mapping[int, bytes]
    ) -> NoiseSet:
        """The set of these places, with `noise` as the contract computes it.

        Args:
            domain: the market's, whose chain and address are part of the noise.
            sealed: any one of the commitments, for request, root and epoch.
            commitments: by place.
        """
        places = sum(1 << place for place in commitments)
        sealed_for = (sealed.request, sealed.root, sealed.epoch)
        hashes = [commitments[place] for place in sorted(commitments)]
        values = [
            NOISE_TAG,
            domain.chain_id,
            domain.verifying_contract,
            *sealed_for,
            places,
            hashes,
        ]
        return cls(*sealed_for, places, hash_encoded(_NOISE_TYPES, values))


# --- CustodianCommittee, the token, and the operator's API


@dataclass(frozen=True)
class JournalHead(SignedStruct):
    """A custodian's own journal, anchored so that a restored backup is noticed."""

    DOMAIN = CUSTODIAN_COMMITTEE

    epoch: Uint32
    place: Uint8
    height: Uint64
    head: Bytes32


@dataclass(frozen=True)
class JointKey(SignedStruct):
    """The key to which an epoch's custodians made shares together."""

    DOMAIN = CUSTODIAN_COMMITTEE

    epoch: Uint32
    commitments: Bytes  # Feldman's, quorum x 33 bytes, the joint ElGamal key first
    transcript: Bytes32  # hash of how they made it


@dataclass(frozen=True)
class Permit(SignedStruct):
    """ERC-2612: lets `spender` take `value`; signed for the token's own domain."""

    DOMAIN = None

    owner: Address
    spender: Address
    value: Uint256
    nonce: Uint256
    deadline: Uint256


@dataclass(frozen=True)
class ApiRequest(SignedStruct):
    """One HTTP request to the operator: method, path with query string, hash of the body."""

    DOMAIN = API

    method: Text
    path: Text
    body_hash: Bytes32  # keccak of the body's bytes
    nonce: Bytes32
    deadline: Uint40

    @classmethod
    def of(cls, method: str, path: str, body: bytes, nonce: bytes, deadline: int) -> ApiRequest:
        """For a body as sent; `method` in capitals."""
        return cls(method.upper(), path, keccak(body), nonce, deadline)


MESSAGES: tuple[type[SignedStruct], ...] = (
    Grant,
    Revocation,
    Rest,
    Wake,
    Guardianship,
    Erasure,
    Rotation,
    RecordAttestation,
    StorageReceipt,
    GateKey,
    TurnCertificate,
    Settlement,
    CreditWithdrawal,
    EarningsWithdrawal,
    NoiseCommitment,
    NoiseSet,
    JournalHead,
    JointKey,
    Permit,
    ApiRequest,
)
