"""Regenerates opening.json: python -m tests.vectors.generate_opening

The envelope is made by `generate`'s independent reading of RFC 9180 with a fixed ephemeral key, base32 and
check bits are read anew here, digest and signature are eth_account's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from marketplace.wire import record
from marketplace.wire.opening import IssuerDesk
from tests.vectors import generate, generate_structs

HERE = Path(__file__).parent
CODES = (bytes(16), b"\xff" * 16, *(generate.key(f"code {n}")[:16] for n in range(3)))
SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def printed(code: bytes) -> str:
    """By strings of bits: 128 of the code, 12 of the check, five to a symbol, seven symbols to a group."""
    check = keccak(b"usufruct/invitation-check/1" + code)
    bits = "".join(f"{byte:08b}" for byte in code) + "".join(f"{byte:08b}" for byte in check)[:12]
    symbols = "".join(SYMBOLS[int(bits[at : at + 5], 2)] for at in range(0, 140, 5))
    return "-".join(symbols[at : at + 7] for at in (0, 7, 14, 21))


def plaintext(code: bytes, secret: int) -> bytes:
    return json.dumps(
        {"code": hexed(code), "secret": hexed(secret.to_bytes(32, "big"))}, separators=(",", ":")
    ).encode()


def info(sealed: record.SealedRecord) -> bytes:
    where = sealed.context
    types = ["string", "uint256", "address", "bytes32", "address", "bytes32"]
    values = [where.chain_id, where.registry, where.dataset, where.patient, sealed.commitment]
    return keccak(encode(types, ["usufruct/opening/1", *values]))


def refused(to: bytes, bound: bytes, good: bytes) -> list[dict[str, str]]:
    """Envelopes that open, and hold what no browser of ours writes."""
    texts = {
        "spaces": good.replace(b":", b": "),
        "capitals": good.replace(b"secret", b"Secret"),
        "upper": good.replace(b"0x", b"0X"),
        "zero": plaintext(CODES[2], 0),
        "order": plaintext(CODES[2], 2**256 - 1),
        "short code": good.replace(b'"code":"0x', b'"code":"0x00', 1),
    }
    made = {
        why: generate.hpke_seal(text, to, bound, generate.key(why)) for why, text in texts.items()
    }
    made["other info"] = generate.hpke_seal(good, to, bound[::-1], generate.key("e6"))
    return [{"why": why, "envelope": hexed(envelope)} for why, envelope in made.items()]


def vectors() -> dict[str, Any]:
    sealed, desk = generate.sealed_record(), generate.key("desk")
    secret, to = generate.coefficients()[0], generate.public(desk)
    text, bound = plaintext(CODES[2], secret), info(sealed)
    return {
        "schema": "usufruct-vectors-opening/1",
        "codes": [
            {
                "code": hexed(each),
                "text": printed(each),
                "hash": hexed(keccak(b"usufruct/invitation/1" + each)),
            }
            for each in CODES
        ],
        "desk": generate_structs.message_vector(IssuerDesk),
        "signer": generate_structs.SIGNER,
        "opening": {
            "record": record.dump(sealed).decode(),
            "desk_secret": hexed(desk),
            "desk_key": hexed(to),
            "ephemeral": hexed(generate.key("e7")),
            "info": hexed(bound),
            "plaintext": text.decode(),
            "envelope": hexed(generate.hpke_seal(text, to, bound, generate.key("e7"))),
        },
        "refused": refused(to, bound, text),
    }


if __name__ == "__main__":
    (HERE / "opening.json").write_text(json.dumps(vectors(), indent=1) + "\n")
