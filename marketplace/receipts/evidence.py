"""What only its operator kept of an answer of the homomorphic lane: the chain has hashes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from marketplace.errors import Refusal
from marketplace.receipts.fields import Fields
from marketplace.receipts.tally_part import MOST_NOISED, PLACE_BITS, read_partials
from marketplace.wire.feldman import MOST_CUSTODIANS
from marketplace.wire.tallying import Reveal

KEYS: Final = {"ciphertext_root", "noised", "partials", "reveals"}


class EvidenceMissing(Refusal):
    """A receipt or bundle that needs more than the chain and what was given."""

    CODE = "evidence_missing"


@dataclass(frozen=True)
class Evidence:
    """Of one answer. noised: 66 bytes a sum. partials: of one quorum, by place. reveals: by place."""

    ciphertext_root: bytes
    noised: bytes = field(repr=False)
    partials: tuple[tuple[int, bytes], ...] = field(repr=False)
    reveals: Mapping[int, Reveal] = field(repr=False)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Evidence:
        """From the document that an operator keeps. Raises `Refusal`s naming the field."""
        fields = Fields(document, "evidence", KEYS)
        return cls(
            ciphertext_root=fields.hash("ciphertext_root"),
            noised=fields.binary("noised", MOST_NOISED),
            partials=read_partials(fields),
            reveals=_reveals(fields),
        )


def _reveals(fields: Fields) -> dict[int, Reveal]:
    found = {}
    for i, item in enumerate(fields.items("reveals", MOST_CUSTODIANS)):
        inner = Fields(item, f"evidence.reveals[{i}]", {"place", "reveal"})
        at = inner.name("reveal")
        found[inner.number("place", PLACE_BITS)] = Reveal.from_json(inner.value("reveal"), at)
    return found
