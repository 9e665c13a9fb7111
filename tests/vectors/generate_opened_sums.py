"""Regenerates opened_sums.json: python -m tests.vectors.generate_opened_sums

Made in plain arithmetic from what `marketplace/receipts/opened_sums.py` and `ml/homomorphic/threshold.py` say
in their heads, without a line of theirs: a researcher in another language who gives these bytes has read it
rightly. `receipt` is an opening of the receipt in receipt_tally.json.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from tests.support.plain_curve import ORDER, Plain, add, add_all, compress, lift, times
from tests.vectors.generate_web import written
from tests.vectors.tagging import hexed, seeded

HERE = Path(__file__).parent
FILE = HERE / "opened_sums.json"
RESEARCHER = 0x7E57
"""Whose request the receipt of receipt_tally.json is."""
RECEIPT_SUMS = (-16_053, 34_977)
"""What that receipt's sums are opened to: noise, mostly."""
SUMS: tuple[tuple[int, ...], ...] = (
    (0,),
    (-1, 1, 4_206, -(2**39)),
    (7, 2**39 - 1, -999_999_999_999, 0, 12),
)
Pair = tuple[Plain, Plain]


def scalar(name: str) -> int:
    return int.from_bytes(seeded(f"opened sums {name}"), "big") % ORDER


def negated(point: Plain) -> Plain:
    return times(ORDER - 1, point)


def tagged(tag: str, types: Sequence[str], values: Sequence[object]) -> bytes:
    return keccak(encode(["string", *types], [tag, *values]))


def context(session: dict[str, Any]) -> bytes:
    name = tagged(
        "usufruct/tally-session/1",
        ["uint256", "address", "bytes32", "bytes32", "uint32"],
        [
            session["chain_id"],
            session["market"],
            bytes.fromhex(session["request"][2:]),
            bytes.fromhex(session["root"][2:]),
            session["epoch"],
        ],
    )
    result = bytes.fromhex(session["result_hash"][2:])
    return tagged("usufruct/opened-sums/1", ["bytes32", "bytes32"], [name, result])


def even(secret: int) -> int:
    """The secret or its negative: whose point has the even y."""
    return secret if compress(times(secret))[0] == 2 else ORDER - secret


def sealed_to(secret: int, sums: Sequence[int], name: str) -> list[Pair]:
    """(E, v G - p E) of each; the last one without any randomness."""
    found: list[Pair] = []
    for i, value in enumerate(sums):
        key = None if i and i == len(sums) - 1 else times(scalar(f"{name} {i}"))
        found.append((key, add(times(value), negated(times(secret, key)))))
    return found


class Talk:
    def __init__(self, about: bytes) -> None:
        self.said = b""
        self.say(b"protocol", b"usufruct/opened-sums-proof/1")
        self.say(b"context", about)

    def say(self, label: bytes, data: bytes) -> None:
        self.said += len(label).to_bytes(4, "big") + label + len(data).to_bytes(8, "big") + data

    def ask(self, label: bytes) -> int:
        self.say(b"challenge", label)
        drawn = hashlib.sha512(self.said).digest()
        self.say(b"drawn", drawn)
        return int.from_bytes(drawn, "big") % ORDER


def proved(
    secret: int, sealed: Sequence[Pair], sums: Sequence[int], about: bytes, blind: int
) -> bytes:
    talk = Talk(about)
    talk.say(b"recipient", compress(times(secret)))
    talk.say(b"delivered", b"".join(compress(key) + compress(value) for key, value in sealed))
    talk.say(b"opened", b"".join(compress(times(each)) for each in sums))
    weight = talk.ask(b"weights")
    keys = (times(pow(weight, j, ORDER), key) for j, (key, _) in enumerate(sealed))
    talk.say(b"announced", compress(times(blind)) + compress(times(blind, add_all(*keys))))
    c = talk.ask(b"answers")
    return c.to_bytes(32, "big") + ((blind + c * secret) % ORDER).to_bytes(32, "big")


def document(request: str, sums: Sequence[int], proof: bytes) -> str:
    content = {
        "proof": hexed(proof),
        "request": request,
        "schema": "usufruct-opened-sums/1",
        "sums": [str(each) for each in sums],
    }
    return json.dumps(content, separators=(",", ":"))


def case(number: int, sums: Sequence[int]) -> dict[str, Any]:
    name = f"case {number}"
    session = {
        "chain_id": 31_337 + number,
        "market": "0x" + f"{number + 1}{number + 1}" * 20,
        "request": hexed(seeded(f"{name} request")),
        "root": hexed(seeded(f"{name} root")),
        "epoch": number,
        "result_hash": hexed(seeded(f"{name} result")),
    }
    secret, blind = even(scalar(f"{name} secret")), scalar(f"{name} blind")
    sealed, about = sealed_to(secret, sums, name), context(session)
    raw = b"".join(compress(key) + compress(value) for key, value in sealed)
    return {
        "session": session,
        "secret": f"0x{secret:064x}",
        "sealed_result": hexed(b"\x01" + len(sums).to_bytes(2, "big") + raw),
        "context": hexed(about),
        "blind": f"0x{blind:064x}",
        "document": document(session["request"], sums, proved(secret, sealed, sums, about, blind)),
    }


def of_receipt() -> dict[str, Any]:
    receipt = json.loads((HERE / "receipt_tally.json").read_text())["receipt"]
    session = {
        "chain_id": receipt["chain_id"],
        "market": receipt["contracts"]["ResearchMarket"]["address"],
        "request": receipt["request"],
        "root": receipt["cohort"]["root"],
        "epoch": receipt["epoch"],
        "result_hash": receipt["settlement"]["resultHash"],
    }
    raw = base64.b64decode(receipt["sealed_result"])[3:]
    points = [point(raw[at : at + 33]) for at in range(0, len(raw), 33)]
    sealed = list(zip(points[::2], points[1::2], strict=True))
    about, blind = context(session), scalar("receipt blind")
    proof = proved(even(RESEARCHER), sealed, RECEIPT_SUMS, about, blind)
    return {
        "context": hexed(about),
        "blind": f"0x{blind:064x}",
        "document": document(receipt["request"], RECEIPT_SUMS, proof),
    }


def point(raw: bytes) -> Plain:
    if not any(raw):
        return None
    found = lift(int.from_bytes(raw[1:], "big"))
    return found if raw[0] == 2 else negated(found)


def vectors() -> dict[str, Any]:
    return {
        "schema": "usufruct-vectors-opened-sums/1",
        "opened": {"cases": [case(number, sums) for number, sums in enumerate(SUMS)]},
        "receipt": {"cases": [of_receipt()]},
    }


if __name__ == "__main__":
    FILE.write_text(written(vectors()), encoding="utf-8")
