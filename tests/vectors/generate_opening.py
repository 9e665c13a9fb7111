"""Regenerates opening.json: python -m tests.vectors.generate_opening

The envelope is made by `generate`'s independent reading of RFC 9180 with a fixed ephemeral key, base32 and
check bits are read anew here, digest and signature are eth_account's. HKDF is written out by RFC 5869, and
what a voucher covers stands as a table of types and values.
"""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
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


# --- vouchers


def hkdf(ikm: bytes, info: bytes) -> bytes:
    """RFC 5869 with no salt; 32 bytes are one block."""
    prk = hmac.digest(bytes(32), ikm, "sha256")
    return hmac.digest(prk, info + b"\x01", "sha256")


def market(seats: int) -> dict[str, Any]:
    """What a browser is told and confirmed, as JSON."""
    names = ("ResearchMarket", "ConsentRegistry", "DatasetRegistry", "CustodianCommittee")
    return {
        "chain_id": 31_337 + seats,
        "contracts": {each: address(each) for each in names},
        "token": {"address": address("token"), "decimals": 6, "symbol": "E€R"},
        "dataset": hexed(generate.key("dataset")),
        "issuer": address("issuer"),
        "desk": hexed(generate.key("desk key")),
        "committee": {
            "epoch": seats + 4,
            "quorum": seats // 2 + 1,
            "members": [
                {
                    "place": place,
                    "signer": address(f"signer {place}"),
                    "key": hexed(generate.key(f"custodian {place}")),
                }
                for place in range(seats)
            ],
        },
        "custodians": [f"https://custodian-{place}.example:8443" for place in range(seats)],
    }


def address(seed: str) -> str:
    return to_checksum_address(generate.key(seed)[:20])


def committee_hash(committee: dict[str, Any]) -> bytes:
    members = committee["members"]
    row = {
        "string": "usufruct/committee/1",
        "uint64": committee["epoch"],
        "uint8": committee["quorum"],
        "address[]": [each["signer"] for each in members],
        "bytes32[]": [bytes.fromhex(each["key"][2:]) for each in members],
    }
    return keccak(encode(list(row), list(row.values())))


def seen_hash(told: dict[str, Any]) -> bytes:
    contracts, token = sorted(told["contracts"].items()), told["token"]
    rows = [
        ("string", "usufruct/voucher/1"),
        ("uint256", told["chain_id"]),
        ("string[]", [name for name, _ in contracts]),
        ("address[]", [at for _, at in contracts]),
        ("address", token["address"]),
        ("uint8", token["decimals"]),
        ("string", token["symbol"]),
        ("bytes32", bytes.fromhex(told["dataset"][2:])),
        ("address", told["issuer"]),
        ("bytes32", bytes.fromhex(told["desk"][2:])),
        ("bytes32", committee_hash(told["committee"])),
        ("string[]", told["custodians"]),
    ]
    return keccak(encode([kind for kind, _ in rows], [value for _, value in rows]))


def voucher(code: bytes, seats: int) -> dict[str, Any]:
    told = market(seats)
    seen = seen_hash(told)
    mac = hmac.digest(hkdf(code, b"usufruct/voucher-key/1"), seen, "sha256")
    epoch, custodians = told["committee"]["epoch"], told["custodians"]
    return {
        "code": hexed(code),
        "told": told,
        "committee": hexed(committee_hash(told["committee"])),
        "seen": hexed(seen),
        "voucher": {"custodians": custodians, "epoch": epoch, "mac": hexed(mac)},
    }


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
        "vouchers": [voucher(CODES[2], 3), voucher(CODES[3], 5), voucher(CODES[0], 1)],
    }


if __name__ == "__main__":
    (HERE / "opening.json").write_text(json.dumps(vectors(), indent=1) + "\n")
