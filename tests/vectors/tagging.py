"""How a vector writes what JSON cannot: {"n": "12"} is a whole number, {"b": "0x.."} are bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from marketplace.errors import Refusal


def tag(value: Any) -> Any:
    """The same value with its numbers, bytes and decimals tagged, in lists and objects, too."""
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int):
        return {"n": str(value)}
    if isinstance(value, Decimal):
        return {"d": str(value)}
    if isinstance(value, bytes):
        return {"b": hexed(value)}
    if isinstance(value, dict):
        return {"o": {name: tag(each) for name, each in value.items()}}
    return [tag(each) for each in value]


def hexed(raw: bytes) -> str:
    return "0x" + raw.hex()


def outcome(make: Callable[[], Any]) -> dict[str, Any]:
    """What came of it: its value, or why it was refused."""
    try:
        return {"value": tag(make())}
    except Refusal as refusal:
        return {"refused": refusal.reason()}


def seeded(name: str, length: int = 32) -> bytes:
    """Bytes that are the same every time and have no pattern."""
    return hashlib.shake_256(name.encode()).digest(length)
