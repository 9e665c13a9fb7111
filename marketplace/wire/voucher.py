"""What a clinic vouches for with an invitation, so that a first visit need not believe the operator.

Whoever comes for the first time knows nothing to hold the operator's word against: an operator could name
keys of its own as the desk's or the custodians'. But the clinic's browser has confirmed the true ones, and
the invitation's code goes from hand to hand on paper; the operator learns its hash and never the code. So
the clinic leaves, with each invitation, a message authentication code under a key made of that code, over
all that it saw. The patient's browser computes it over what *it* was told, and seals nothing where the two
differ. (What tells a newcomer whom to trust is called a voucher, as in RFC 8366.)

    committee = keccak256(abi.encode("usufruct/committee/1", uint64 epoch, uint8 quorum, address[] signers,
                bytes32[] keys)), both lists in the order of the seats; the keys are X25519
    seen      = keccak256(abi.encode("usufruct/voucher/1", uint256 chain, string[] names, address[] contracts,
                address token, uint8 decimals, string symbol, bytes32 dataset, address issuer,
                bytes32 desk, bytes32 committee, string[] custodians)), contracts in the order of their names
    key       = HKDF-SHA256(code, no salt, info = "usufruct/voucher-key/1", 32 bytes)   (RFC 5869)
    mac       = HMAC-SHA256(key, seen)                                                  (RFC 2104)
    voucher   = {"custodians":["https://..",..],"epoch":7,"mac":"0x.."}

Two things are carried in it, and covered: the epoch, so that a change of committee can be told from a lie,
and the origins at which the custodians answer, which the patient's browser takes from here and not from the
operator. Custodians sign nothing here: each says the hash of the committee by itself, at `/health`.

A code has 128 bits, so that its hash and any number of vouchers give nobody else the key. What a clinic was
lied to about at its own first visit, it vouches for.

Vectors: tests/vectors/opening.json.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from marketplace.errors import BadParameter
from marketplace.vocabulary import unsigned
from marketplace.wire.canonical import tagged_hash
from marketplace.wire.http import hash_field, require_keys, to_hex
from marketplace.wire.opening import require_code

MAC_BYTES: Final = 32
MOST_ORIGINS: Final = 32
"""Twice the seats of the largest committee: a browser keeps custodians that left until they say so."""
LONGEST_ORIGIN: Final = 255

_KEY: Final = b"usufruct/voucher-key/1"
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
_SEEN: Final = (
    *("uint256", "string[]", "address[]", "address", "uint8", "string"),
    *("bytes32", "address", "bytes32", "bytes32", "string[]"),
)


def committee_hash(epoch: int, quorum: int, signers: Sequence[str], keys: Sequence[bytes]) -> bytes:
    """Names one epoch's committee, 32 bytes. Signers and X25519 keys are in the order of the seats."""
    types = ["uint64", "uint8", "address[]", "bytes32[]"]
    return tagged_hash("usufruct/committee/1", types, [epoch, quorum, list(signers), list(keys)])


@dataclass(frozen=True)
class Seen:
    """What a browser was told of a market and of a clinic's desk, and confirmed. All of it is public."""

    chain_id: int
    contracts: Mapping[str, str]  # addresses by name
    token: tuple[str, int, str]  # address, decimals, symbol
    dataset: bytes
    issuer: str
    desk: bytes  # X25519
    committee: bytes  # `committee_hash`

    def hash(self, custodians: Sequence[str]) -> bytes:
        """What is authenticated, 32 bytes; `custodians` are origins."""
        names = sorted(self.contracts)
        addresses = [self.contracts[name] for name in names]
        market = [self.chain_id, names, addresses, *self.token]
        desk = [self.dataset, self.issuer, self.desk, self.committee]
        return tagged_hash("usufruct/voucher/1", _SEEN, [*market, *desk, list(custodians)])


@dataclass(frozen=True)
class Voucher:
    """A clinic's word on one invitation, which only who has its code can write or check."""

    epoch: int
    custodians: tuple[str, ...]
    mac: bytes

    @classmethod
    def of(cls, code: bytes, seen: Seen, epoch: int, custodians: Sequence[str]) -> Self:
        """Vouches. Raises BadParameter: that is no code."""
        return cls(epoch, tuple(custodians), _mac(code, seen, custodians))

    @classmethod
    def from_json(cls, document: object, at: str = "voucher") -> Self:
        """Reads one, of which nobody without the code can say whether it is right.

        Raises:
            BadParameter: at its field.
        """
        fields = require_keys(document, {"custodians", "epoch", "mac"}, at=at)
        origins = _origins(fields["custodians"], f"{at}.custodians")
        epoch = unsigned(fields["epoch"], 48, f"{at}.epoch")
        return cls(epoch, origins, hash_field(fields["mac"], f"{at}.mac"))

    def to_json(self) -> dict[str, Any]:
        """As it is kept and shown."""
        return {"custodians": list(self.custodians), "epoch": self.epoch, "mac": to_hex(self.mac)}

    def is_of(self, code: bytes, seen: Seen) -> bool:
        """Whether whoever knew this code saw the same. Raises BadParameter: that is no code."""
        return hmac.compare_digest(self.mac, _mac(code, seen, self.custodians))


def _mac(code: bytes, seen: Seen, custodians: Sequence[str]) -> bytes:
    require_code(code)
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_KEY).derive(code)
    return hmac.digest(key, seen.hash(custodians), "sha256")


def _origins(value: object, at: str) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else []
    good = [each for each in listed if isinstance(each, str) and _is_origin(each)]
    if 1 <= len(listed) <= MOST_ORIGINS and len(set(good)) == len(listed):
        return tuple(good)
    raise BadParameter(
        message=f"{at} is not 1 to {MOST_ORIGINS} different origins.",
        remedy="Give scheme, host and port alone, such as https://custodian.example.",
        field=at,
    )


def _is_origin(text: str) -> bool:
    return len(text) <= LONGEST_ORIGIN and _ORIGIN.fullmatch(text) is not None
