"""What a browser derives from one root of 32 bytes, so that the command line can derive it, too.

Every secret is HKDF-SHA256 (RFC 5869) of the root with an empty salt; `info` says what it is for. Every
part of an `info` has a fixed width and stands right after the one before, numbers big-endian, addresses
and ids as their bytes, the tag as ASCII without an end mark:

    patient key    48 bytes  "usufruct/patient-key/1"    chain (32) registry (20) dataset (32) index (4)
    record secret  48 bytes  "usufruct/record-secret/1"  chain (32) registry (20) dataset (32) patient (20)
                                                         version (4) nonce (12)
    delivery key   32 bytes  "usufruct/delivery-key/1"   chain (32) market (20) salt (32)
    desk key       32 bytes  "usufruct/desk-key/1"       chain (32) registry (20) dataset (32)
    person key     32 bytes  "usufruct/person-key/1"     chain (32) registry (20) dataset (32)

48 bytes become a scalar of secp256k1 as (their number, big-endian) mod (n - 1) + 1, which is uniform up to
2^-128; 32 bytes are an X25519 secret as they are (the person key: an HMAC key). `registry` is the
DatasetRegistry. `index` counts a patient's addresses in one dataset: 0, and one more at each rotation.
The patient key of the dataset `NO_DATASET` is of an address in none, by which somebody asks as a
researcher or acts as a guardian.

The record secret names the address, not its index, since all that it needs then stands in the record
itself, and since a wallet's address has no index. Its nonce is the box's own: another sealing has another
nonce, so no secret ever makes two boxes.

A person, as an issuer attests it, is HMAC-SHA256(person key, "usufruct/person/1" || number), where number
is the issuer's own patient number: NFKC, without spaces, ASCII letters made small.

The file that keeps a root is in `browser_keyfile`. Vectors: tests/vectors/browser_keys.json.
"""

from __future__ import annotations

import hmac
import re
import secrets
import unicodedata
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from marketplace.errors import BadParameter
from marketplace.vocabulary import Address, DatasetId, address, bytes32, unsigned
from marketplace.wire import feldman, hpke
from marketplace.wire.record import NONCE_BYTES, RecordContext

NO_DATASET: Final = DatasetId(bytes(32))
"""No dataset has this id: it is a hash with an index behind it (`DatasetRegistry`)."""
ROOT_BYTES: Final = 32
SCALAR_SOURCE: Final = 48
"""Bytes from which a scalar is made: 128 bits more than it has, so that the remainder shows no bias."""
CHAIN_BITS: Final = 53
"""Of a chain id here: what JavaScript reads as an exact number."""
MOST_NUMBER: Final = 64
"""Characters of an issuer's patient number."""

_NUMBER: Final = re.compile(r"[a-z0-9._/-]+")


@dataclass(frozen=True)
class Place:
    """One dataset of one deployment. `registry` is its DatasetRegistry."""

    chain_id: int
    registry: Address
    dataset: DatasetId

    def __post_init__(self) -> None:
        unsigned(self.chain_id, CHAIN_BITS, "chain_id")
        object.__setattr__(self, "registry", address(self.registry, "registry"))
        bytes32(self.dataset, "dataset")

    @classmethod
    def of(cls, context: RecordContext) -> Self:
        """Where a record belongs."""
        return cls(context.chain_id, context.registry, context.dataset)

    def packed(self) -> bytes:
        """chain (32) || registry (20) || dataset (32)."""
        return _deployed(self.chain_id, self.registry) + self.dataset


@dataclass(frozen=True)
class Root:
    """What everything of one browser is derived from. It does not print."""

    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.raw, bytes) or len(self.raw) != ROOT_BYTES:
            raise BadParameter(
                message=f"The root is not {ROOT_BYTES} bytes.",
                remedy="Take the root of a key file.",
                field="root",
            )

    def patient_key(self, place: Place, index: int = 0) -> bytes:
        """The secp256k1 key of this person's address in one dataset, 32 bytes. Raises BadParameter."""
        info = place.packed() + unsigned(index, 32, "index").to_bytes(4, "big")
        return _to_bytes(self._scalar(b"usufruct/patient-key/1", info))

    def record_secret(self, context: RecordContext, nonce: bytes) -> int:
        """The secret under which the box with this nonce is closed, in [1, n - 1]. Raises BadParameter."""
        if len(nonce) != NONCE_BYTES:
            raise BadParameter(
                message=f"The nonce is not {NONCE_BYTES} bytes.",
                remedy="Give the first bytes of the box.",
                field="nonce",
            )
        version = unsigned(context.record_version, 32, "record_version").to_bytes(4, "big")
        info = Place.of(context).packed() + _raw(context.patient) + version + nonce
        return self._scalar(b"usufruct/record-secret/1", info)

    def delivery_key(self, chain_id: int, market: Address, salt: bytes) -> hpke.SecretKey:
        """The X25519 key to which the answer to the request with this salt is sealed. Raises BadParameter."""
        unsigned(chain_id, CHAIN_BITS, "chain_id")
        info = _deployed(chain_id, address(market, "market")) + bytes32(salt, "salt")
        return hpke.SecretKey(self._derive(b"usufruct/delivery-key/1", info, 32))

    def desk_key(self, place: Place) -> hpke.SecretKey:
        """The X25519 key of an issuer's desk for one dataset."""
        return hpke.SecretKey(self._derive(b"usufruct/desk-key/1", place.packed(), 32))

    def person(self, place: Place, number: str) -> bytes:
        """The issuer's pseudonym of the patient with this number, 32 bytes.

        The same number leads to the same pseudonym, in whatever case or width it was typed: two would let
        one person have two records. Another dataset's pseudonym cannot be linked to it without the root.

        Raises:
            BadParameter: the number is empty, too long, or has other than letters, digits and . _ / -.
        """
        key = self._derive(b"usufruct/person-key/1", place.packed(), 32)
        text = plain_number(number).encode("ascii")
        return hmac.digest(key, b"usufruct/person/1" + text, "sha256")

    def _derive(self, tag: bytes, info: bytes, length: int) -> bytes:
        return HKDF(algorithm=SHA256(), length=length, salt=None, info=tag + info).derive(self.raw)

    def _scalar(self, tag: bytes, info: bytes) -> int:
        source = int.from_bytes(self._derive(tag, info, SCALAR_SOURCE), "big")
        return source % (feldman.ORDER - 1) + 1


def new_root() -> Root:
    """A fresh root from the operating system's generator."""
    return Root(secrets.token_bytes(ROOT_BYTES))


def plain_number(number: str) -> str:
    """A patient number in its one spelling. Raises BadParameter, and does not repeat the number."""
    text = unicodedata.normalize("NFKC", number).replace(" ", "").lower()
    if len(text) > MOST_NUMBER or _NUMBER.fullmatch(text) is None:
        raise BadParameter(
            message="The patient number is empty, too long, or has characters that none has.",
            remedy=f"Give at most {MOST_NUMBER} letters (A to Z), digits and . _ / -, as your files do.",
            field="number",
        )
    return text


def _deployed(chain_id: int, contract: Address) -> bytes:
    return chain_id.to_bytes(32, "big") + _raw(contract)


def _raw(account: Address) -> bytes:
    return bytes.fromhex(account[2:])


def _to_bytes(scalar: int) -> bytes:
    return scalar.to_bytes(feldman.SCALAR_BYTES, "big")
