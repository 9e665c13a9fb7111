"""What a patient's browser leaves for the issuer's desk beside a sealed record (usufruct-opening/1).

The record's secret, in an HPKE envelope (suite of `hpke`) to the desk's X25519 key, so that the issuer can
open that one record and hold its values against its own before it attests them. Bound to the record:

    info      = keccak256(abi.encode("usufruct/opening/1", uint256 chain, address registry, bytes32 dataset,
                address patient, bytes32 commitment))
    plaintext = {"code":"0x..","secret":"0x.."}   canonical JSON; 16 and 32 bytes in small hexadecimal letters
    opening   = encapsulated key (32) || ciphertext || tag (16): 171 bytes in all

`code` is the one-time invitation that the issuer handed to the person. The operator knows its hash and
never the code: whoever wrote an envelope with the code in it was given it. A person reads it as 28
characters of Crockford's base32 in four groups of seven: the code's 128 bits and the first 12 bits of
keccak256("usufruct/invitation-check/1" || code), which catch what was mistyped. Its hash is
keccak256("usufruct/invitation/1" || code). With it the issuer leaves a voucher (`wire.voucher`), by which
the person's browser knows what the issuer's saw.

Vectors: tests/vectors/opening.json.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final, Self

from eth_hash.auto import keccak

from marketplace.errors import BadParameter, EnvelopeUnreadable, Refusal
from marketplace.vocabulary import Address as AddressText
from marketplace.vocabulary import Commitment, DatasetId, PatientAddress
from marketplace.wire import feldman, hpke
from marketplace.wire.canonical import canonical, parse_canonical, tagged_hash
from marketplace.wire.eip712 import DATASET_REGISTRY, SignedStruct
from marketplace.wire.http import hex_field, to_hex
from marketplace.wire.record import SealedRecord
from marketplace.wire.solidity import Address, Bytes32, Uint40

CODE_BYTES: Final = 16
OPENING_BYTES: Final = hpke.OVERHEAD + len('{"code":"0x","secret":"0x"}') + 2 * (16 + 32)
LONGEST_DESK: Final = 366 * 86_400
"""Seconds from now for which an issuer may name a desk key: a stolen one is not good for ever."""
GROUP: Final = 7
ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base32: without I, L, O and U. I and L are read as 1, O as 0."""
CHECK_BITS: Final = 12

_READ_AS: Final = str.maketrans("IiLlOo", "111100", " -")
_CHARACTERS: Final = (8 * CODE_BYTES + CHECK_BITS) // 5


@dataclass(frozen=True)
class IssuerDesk(SignedStruct):
    """An issuer's word that drafts for it are sealed to this key until then. No contract reads it."""

    DOMAIN = DATASET_REGISTRY

    dataset: Bytes32
    issuer: Address
    key: Bytes32  # X25519
    until: Uint40  # unix seconds


@dataclass(frozen=True)
class OpeningContext:
    """What an opening is bound to. `registry` is the DatasetRegistry."""

    chain_id: int
    registry: AddressText
    dataset: DatasetId
    patient: PatientAddress
    commitment: Commitment

    @classmethod
    def of(cls, record: SealedRecord) -> Self:
        """Of one sealed record."""
        where = record.context
        return cls(where.chain_id, where.registry, where.dataset, where.patient, record.commitment)

    def info(self) -> bytes:
        """The HPKE info, 32 bytes."""
        types = ["uint256", "address", "bytes32", "address", "bytes32"]
        where = [self.chain_id, self.registry, self.dataset, self.patient, self.commitment]
        return tagged_hash("usufruct/opening/1", types, where)


@dataclass(frozen=True)
class Opening:
    """An invitation's code, and the secret of one record's box. Neither prints."""

    code: bytes = field(repr=False)
    secret: int = field(repr=False)


def seal_opening(opening: Opening, desk_key: bytes, context: OpeningContext) -> bytes:
    """The envelope, 171 bytes. Raises BadParameter: a key of low order, no code, no scalar."""
    require_code(opening.code)
    feldman.times_generator(opening.secret)
    secret = opening.secret.to_bytes(feldman.SCALAR_BYTES, "big")
    text = canonical({"code": to_hex(opening.code), "secret": to_hex(secret)})
    return hpke.seal(text, desk_key, context.info())


def open_opening(envelope: bytes, desk: hpke.SecretKey, context: OpeningContext) -> Opening:
    """What the patient's browser left for this desk.

    Raises:
        EnvelopeUnreadable: it was sealed to another key or for another record, or holds something else.
    """
    if len(envelope) != OPENING_BYTES:
        raise _unreadable(f"An opening has {OPENING_BYTES} bytes.")
    text = hpke.open_envelope(envelope, desk, context.info())
    try:
        return _read(text)
    except Refusal:
        raise _unreadable("The opening holds no code and secret in their one form.") from None


def _read(text: bytes) -> Opening:
    document = parse_canonical(text, limit=OPENING_BYTES)
    if not isinstance(document, dict) or set(document) != {"code", "secret"}:
        raise _unreadable("The opening has other keys.")
    code = hex_field(document["code"], "code", CODE_BYTES)
    secret = hex_field(document["secret"], "secret", feldman.SCALAR_BYTES)
    if (to_hex(code), to_hex(secret)) != (document["code"], document["secret"]):
        raise _unreadable("The opening is not in small hexadecimal letters.")
    require_code(code)
    if len(secret) != feldman.SCALAR_BYTES or not 0 < int.from_bytes(secret, "big") < feldman.ORDER:
        raise _unreadable("The secret is no scalar.")
    return Opening(code, int.from_bytes(secret, "big"))


# --- invitations


def new_code() -> bytes:
    """16 random bytes from the operating system's generator."""
    return secrets.token_bytes(CODE_BYTES)


def code_hash(code: bytes) -> bytes:
    """What the operator keeps of a code, 32 bytes. Raises BadParameter."""
    require_code(code)
    return keccak(b"usufruct/invitation/1" + code)


def code_text(code: bytes) -> str:
    """As it is printed and read aloud: `XXXXXXX-XXXXXXX-XXXXXXX-XXXXXXX`. Raises BadParameter."""
    require_code(code)
    bits = int.from_bytes(code, "big") << CHECK_BITS | _check(code)
    digits = [ALPHABET[bits >> 5 * place & 31] for place in reversed(range(_CHARACTERS))]
    return "-".join("".join(digits[i : i + GROUP]) for i in range(0, _CHARACTERS, GROUP))


def read_code(text: str) -> bytes:
    """The code that somebody typed: in capitals or not, with hyphens and spaces or without.

    Raises:
        BadParameter: `code`, which it does not repeat.
    """
    digits = text.translate(_READ_AS).upper() if text.isascii() else ""
    if len(digits) != _CHARACTERS or not set(digits) <= set(ALPHABET):
        raise _mistyped(f"An invitation has {_CHARACTERS} letters and digits.")
    bits = 0
    for digit in digits:
        bits = bits << 5 | ALPHABET.index(digit)
    code = (bits >> CHECK_BITS).to_bytes(CODE_BYTES, "big")
    if bits & (1 << CHECK_BITS) - 1 != _check(code):
        raise _mistyped("One of the letters or digits was mistyped.")
    return code


def _check(code: bytes) -> int:
    digest = keccak(b"usufruct/invitation-check/1" + code)
    return int.from_bytes(digest[:2], "big") >> 16 - CHECK_BITS


def require_code(code: bytes) -> None:
    """Raises BadParameter unless it has 16 bytes."""
    if len(code) != CODE_BYTES:
        raise _mistyped(f"An invitation is {CODE_BYTES} bytes.")


def _mistyped(message: str) -> BadParameter:
    return BadParameter(message=message, remedy="Copy it as the clinic printed it.", field="code")


def _unreadable(message: str) -> EnvelopeUnreadable:
    return EnvelopeUnreadable(
        message=message,
        remedy="Decline the draft; its patient can seal the record again, for the current desk.",
        field="opening",
    )
