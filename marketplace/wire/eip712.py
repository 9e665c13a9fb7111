"""EIP-712: domains, digests, signatures. The messages themselves are in `structs`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from coincurve import PrivateKey, PublicKey
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from marketplace.errors import Refusal
from marketplace.wire.solidity import (
    Address,
    SolidityStruct,
    Text,
    Uint256,
    hash_encoded,
    solidity_name,
)

CONSENT_REGISTRY = "Usufruct ConsentRegistry"
DATASET_REGISTRY = "Usufruct DatasetRegistry"
RESEARCH_MARKET = "Usufruct ResearchMarket"
CUSTODIAN_COMMITTEE = "Usufruct CustodianCommittee"
NOISE_REGISTRY = "Usufruct NoiseRegistry"
API = "Usufruct API"
VERSION = "1"

HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""The contracts refuse the other, malleated half of the signatures (EIP-2)."""

MOST_SIGNATURE: Final = 4_096
"""Bytes of a signature that anything of ours reads: an ERC-1271 wallet's may be longer than a key's 65."""

_HASHED: Final[dict[str, Callable[[Any], bytes]]] = {
    "string": lambda text: bytes(keccak(text=text)),
    "bytes": lambda data: bytes(keccak(data)),
}
"""EIP-712, encodeData: values of a dynamic type are encoded as their hash."""

SigningKey = bytes | LocalAccount
_DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


class BadSignature(Refusal):
    """A signature that is malformed, malleated or somebody else's."""

    CODE = "bad_signature"


@dataclass(frozen=True)
class Domain(SolidityStruct):
    """Where a signature counts: one contract on one chain."""

    name: Text
    version: Text
    chain_id: Uint256
    verifying_contract: Address

    def separator(self) -> bytes:
        """EIP-712 hashStruct of the domain, 32 bytes."""
        return hash_encoded(
            ["bytes32", "bytes32", "bytes32", "uint256", "address"],
            [
                keccak(text=_DOMAIN_TYPE),
                keccak(text=self.name),
                keccak(text=self.version),
                self.chain_id,
                self.verifying_contract,
            ],
        )


def market_domain(chain_id: int, market: str) -> Domain:
    """For gate keys, turn certificates, settlements, and withdrawals of credit and earnings."""
    return Domain(RESEARCH_MARKET, VERSION, chain_id, market)


def api_domain(chain_id: int, market: str) -> Domain:
    """The operator's HTTP API of one market; the signature is for no contract."""
    return Domain(API, VERSION, chain_id, market)


class SignedStruct(SolidityStruct):
    """A message that somebody signs."""

    DOMAIN: ClassVar[str | None]
    """Name of the domain it may be signed for; None leaves it to the caller (a token's own)."""
    TYPE: ClassVar[str | None] = None
    """Name of the EIP-712 type, where the class is called otherwise."""

    @classmethod
    def type_string(cls) -> str:
        """EIP-712 encodeType, e.g. `Erasure(address patient,bytes32 dataset,uint32 version)`."""
        members = (f"{kind.name} {solidity_name(name)}" for name, kind in cls.kinds().items())
        return f"{cls.TYPE or cls.__name__}({','.join(members)})"

    def struct_hash(self) -> bytes:
        """EIP-712 hashStruct, 32 bytes."""
        kinds = self.kinds()
        types = ["bytes32" if kind.name in _HASHED else kind.name for kind in kinds.values()]
        values = [
            _HASHED[kind.name](getattr(self, name)) if kind.name in _HASHED else getattr(self, name)
            for name, kind in kinds.items()
        ]
        return hash_encoded(["bytes32", *types], [keccak(text=self.type_string()), *values])

    def digest(self, domain: Domain) -> bytes:
        """What is signed, 32 bytes. Raises `Refusal` (wrong_domain)."""
        if self.DOMAIN is not None and (domain.name, domain.version) != (self.DOMAIN, VERSION):
            raise Refusal(
                code="wrong_domain",
                message=f"A {type(self).__name__} is signed for {self.DOMAIN} {VERSION}, "
                f"not for {domain.name[:60]} {domain.version[:10]}.",
                remedy="Use the domain of the contract that reads this message.",
            )
        return keccak(b"\x19\x01" + domain.separator() + self.struct_hash())

    def typed_data(self, domain: Domain) -> dict[str, Any]:
        """The JSON that wallets take (`eth_signTypedData_v4`)."""
        self.digest(domain)
        name = self.TYPE or type(self).__name__
        return {
            "types": {"EIP712Domain": _type_list(Domain), name: _type_list(type(self))},
            "primaryType": name,
            "domain": domain.to_json() | {"chainId": domain.chain_id},
            "message": self.to_json(),
        }


def _type_list(struct: type[SolidityStruct]) -> list[dict[str, str]]:
    return [
        {"name": solidity_name(name), "type": kind.name} for name, kind in struct.kinds().items()
    ]


def sign(struct: SignedStruct, domain: Domain, key: SigningKey) -> bytes:
    """Signs for a domain: 65 bytes r, s, v, of which v is 27 or 28 and s is in the lower half.

    Raises:
        Refusal: `wrong_domain`.
    """
    secret = bytes(key.key) if isinstance(key, LocalAccount) else key
    signed = PrivateKey(secret).sign_recoverable(struct.digest(domain), hasher=None)
    return signed[:64] + bytes([signed[64] + 27])


def recover(struct: SignedStruct, domain: Domain, signature: bytes) -> str:
    """The account whose signature this is, judged as strictly as the contracts judge it.

    Raises:
        BadSignature: as `recover_digest`.
        Refusal: `wrong_domain`.
    """
    return recover_digest(struct.digest(domain), signature)


def recover_digest(digest: bytes, signature: bytes) -> str:
    """The account that signed these 32 bytes.

    Raises:
        BadSignature: not 65 bytes, v neither 27 nor 28, s in the upper half, or no such point.
    """
    if len(signature) != 65 or signature[64] not in (27, 28):
        raise _bad("is not 65 bytes that end in 27 or 28")
    if int.from_bytes(signature[32:64], "big") > HALF_ORDER:
        raise _bad("is the malleated twin of another (EIP-2)")
    try:
        point = PublicKey.from_signature_and_message(
            signature[:64] + bytes([signature[64] - 27]), digest, hasher=None
        )
    except Exception as fault:  # coincurve raises bare Exception and ValueError here
        raise _bad("belongs to no key") from fault
    return str(to_checksum_address(keccak(point.format(compressed=False)[1:])[12:]))


def require_signed(struct: SignedStruct, domain: Domain, signature: bytes, signer: str) -> None:
    """Raises `BadSignature` unless this account signed (ECDSA; wallets are for the chain)."""
    if recover(struct, domain, signature) != to_checksum_address(signer):
        raise _bad(f"is not that of {to_checksum_address(signer)}")


def _bad(problem: str) -> BadSignature:
    return BadSignature(
        message=f"The signature {problem}.",
        remedy="Sign this very message with the account's own key, for this chain and contract.",
        field="signature",
    )
