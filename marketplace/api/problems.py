"""How one entry of a batch is answered."""

from __future__ import annotations

from typing import Any

from marketplace.errors import Refusal


def outcome(done: str, refusal: Refusal | None) -> dict[str, Any]:
    """`{"outcome": done}`, or `refused` with code, detail, remedy and field."""
    if refusal is None:
        return {"outcome": done}
    return {
        "outcome": "refused",
        "code": refusal.code,
        "detail": refusal.message,
        "remedy": refusal.remedy,
        "field": refusal.field,
    }
