"""Who was at fault in a key generation, and what is to be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """A custodian that was silent, or said what does not count; as `role` of the session.

    remedy: what it said itself that is to be done; empty where it said nothing.
    """

    role: str
    place: int
    signer: str
    why: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"The {self.role} at place {self.place} ({self.signer}), {self.why}"

    def to_json(self) -> dict[str, Any]:
        """For whoever runs the session."""
        return {"role": self.role, "place": self.place, "signer": self.signer, "why": self.why}


def told(faults: Sequence[Fault]) -> str:
    """A sentence for each."""
    return " ".join(map(str, faults))


def remedy_of(faults: Sequence[Fault]) -> str:
    """What custodians said themselves is to be done, each once; else what always helps."""
    said = list(dict.fromkeys(each.remedy for each in faults if each.remedy))
    first = " ".join(said) or "Start or mend the custodians named."
    return f"{first} Then run generate-key again: it begins a new session. Or open an epoch without them."


def facts_of(faults: Sequence[Fault]) -> dict[str, object]:
    """For a refusal."""
    return {"faults": [each.to_json() for each in faults]}
