"""Regenerates tally_delivery.json: python -m tests.vectors.generate_tally_delivery

HKDF is written out by RFC 5869, and the curve is `plain_curve`'s whole numbers.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

from tests.support import plain_curve
from tests.vectors.generate_web import written
from tests.vectors.tagging import hexed, seeded

FILE = Path(__file__).parent / "tally_delivery.json"
INFO = b"usufruct/tally-delivery/1"
KEYS = (bytes(32), b"\xff" * 32, *(seeded(f"tally delivery {n}") for n in range(6)))


def hkdf(ikm: bytes, info: bytes) -> bytes:
    """48 bytes with no salt: the first block, and half of the second."""
    prk = hmac.digest(bytes(32), ikm, "sha256")
    first = hmac.digest(prk, info + b"\x01", "sha256")
    return (first + hmac.digest(prk, first + info + b"\x02", "sha256"))[:48]


def vectors() -> dict[str, Any]:
    return {
        "schema": "usufruct-vectors-tally-delivery/1",
        "keys": {"derived": [_key(each) for each in KEYS]},
    }


def _key(delivery: bytes) -> dict[str, str]:
    order = plain_curve.ORDER
    source = hkdf(delivery, INFO)
    scalar = int.from_bytes(source, "big") % (order - 1) + 1
    point = plain_curve.times(scalar)
    if point is None:
        raise AssertionError("no scalar here is 0")
    x, y = point
    return {
        "delivery": hexed(delivery),
        "source": hexed(source),
        "scalar": f"0x{scalar:064x}",
        "secret": f"0x{scalar if y % 2 == 0 else order - scalar:064x}",
        "public": f"0x{x:064x}",
    }


if __name__ == "__main__":
    FILE.write_text(written(vectors()), encoding="utf-8")
