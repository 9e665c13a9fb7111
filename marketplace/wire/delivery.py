"""Results on their way to the researcher: salted hash, sealed delivery, root over the inputs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eth_hash.auto import keccak

from marketplace.errors import EnvelopeUnreadable
from marketplace.vocabulary import Address, Commitment, RequestId, bytes32
from marketplace.wire import hpke
from marketplace.wire.canonical import canonical, parse_canonical, tagged_hash

SCHEMA = "usufruct-result/1"
MOST_RESULT = 100_000
"""Bytes of a sealed result: it travels in a transaction, which nodes bound at 128 KB."""
SALT_BYTES = 32  # hides a low-entropy result (a count, say) behind its public hash


@dataclass(frozen=True)
class DeliveryContext:
    """What a sealed result is bound to."""

    chain_id: int
    market: Address
    request: RequestId

    def info(self) -> bytes:
        """The HPKE info of this delivery, 32 bytes."""
        types = ["uint256", "address", "bytes32"]
        return tagged_hash("usufruct/result/1", types, [self.chain_id, self.market, self.request])


@dataclass(frozen=True)
class Opened:
    """A delivered result: its bytes, their salt and the parsed document. Does not print."""

    salt: bytes = field(repr=False)
    result: bytes = field(repr=False)
    document: Mapping[str, object] = field(repr=False)


def encode_result(
    request: RequestId,
    analysis: str,
    parameters: Mapping[str, object],
    cohort_size: int,
    noised: Mapping[str, object],
) -> bytes:
    """The result document as canonical JSON; numbers are integers or text, never floats."""
    return canonical(
        {
            "schema": SCHEMA,
            "request": "0x" + request.hex(),
            "analysis": analysis,
            "parameters": dict(parameters),
            "cohort_size": cohort_size,
            "noised": dict(noised),
        }
    )


def new_salt() -> bytes:
    """32 random bytes."""
    return secrets.token_bytes(SALT_BYTES)


def result_hash(salt: bytes, result: bytes) -> bytes:
    """keccak256(salt || result): what custodians sign and the chain keeps. 32 bytes."""
    return keccak(bytes32(salt, "salt") + result)


def seal_result(
    salt: bytes, result: bytes, researcher_key: bytes, context: DeliveryContext
) -> bytes:
    """The result sealed to the researcher's X25519 key. Raises BadParameter for a bad key."""
    return hpke.seal(bytes32(salt, "salt") + result, researcher_key, context.info())


def open_result(sealed: bytes, secret: hpke.SecretKey, context: DeliveryContext) -> Opened:
    """The delivered result. Raises EnvelopeUnreadable, or MalformedJson for a foreign document."""
    plaintext = hpke.open_envelope(sealed, secret, context.info())
    salt, result = plaintext[:SALT_BYTES], plaintext[SALT_BYTES:]
    document = parse_canonical(result)
    expected = "0x" + context.request.hex()
    if not isinstance(document, dict) or (document.get("schema"), document.get("request")) != (
        SCHEMA,
        expected,
    ):
        raise EnvelopeUnreadable(
            message="The sealed result is not the answer to this request.",
            remedy=f"Ask the gate for the {SCHEMA} document of request {expected}.",
            field="request",
        )
    return Opened(salt, result, document)


def ciphertext_root(commitments: Sequence[Commitment]) -> bytes:
    """The root over the record commitments that were computed on, in cohort order. 32 bytes."""
    return tagged_hash("usufruct/ciphertexts/1", ["bytes32[]"], [list(commitments)])


def delivery_hash(sealed: bytes) -> bytes:
    """keccak256 of the sealed result, 32 bytes."""
    return keccak(sealed)
