"""What a receipt of the homomorphic lane has beside the vault lane's: whose noise counts, what was decrypted,
and the partial decryptions of one quorum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from marketplace.receipts.fields import Fields
from marketplace.receipts.parts import Step
from marketplace.vocabulary import unsigned
from marketplace.wire.feldman import MOST_CUSTODIANS, POINT_BYTES
from marketplace.wire.http import hash_field, to_base64, to_hex
from marketplace.wire.solidity import malformed
from marketplace.wire.tallying import MOST_SUMS
from ml.homomorphic.threshold import PAIR_BYTES, PROOF_BYTES

MOST_TALLY: Final = 2 << 20
"""Bytes of it, in JSON: 1,024 sums and their partial decryptions by 16 custodians take 1.6 MB."""
PLACE_BITS: Final = 4
MOST_NOISED: Final = PAIR_BYTES * MOST_SUMS
MOST_PARTIAL: Final = PROOF_BYTES + MOST_NOISED
Places = TypeVar("Places", bound=Sequence[int])
KEYS: Final = {"places", "commitments", "committed", "fixed", "joint_key", "noised", "partials"}
STEP: Final = {"block", "block_hash", "transaction"}


@dataclass(frozen=True)
class TallyPart:
    """Of one settled request of the homomorphic lane.

    places: whose noise counts, ascending. commitments: everybody's hash of its noise, by place, ascending.
    committed: where the chain took these, and what it had for records then counted. fixed: where it fixed
    whose noise counts. joint_key: the epoch's Feldman commitments, 33 bytes each, as
    many as the quorum. noised: the sums with all noise, 66 bytes each. partials: one quorum's, by place.
    """

    places: tuple[int, ...]
    commitments: tuple[tuple[int, bytes], ...]
    committed: Step
    fixed: Step
    joint_key: bytes
    noised: bytes = field(repr=False)
    partials: tuple[tuple[int, bytes], ...] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The document, in the one form that `read_tally` reads."""
        return {
            "places": list(self.places),
            "commitments": [[place, to_hex(each)] for place, each in self.commitments],
            "committed": _step_json(self.committed),
            "fixed": _step_json(self.fixed),
            "joint_key": to_hex(self.joint_key),
            "noised": to_base64(self.noised),
            "partials": [
                {"place": place, "partial": to_base64(each)} for place, each in self.partials
            ],
        }


def read_tally(receipt: Fields) -> TallyPart:
    """The `tally` of a receipt. Raises `Refusal`s naming the field."""
    fields = receipt.inside("tally", KEYS)
    return TallyPart(
        places=_places(fields.items("places", MOST_CUSTODIANS)),
        commitments=_commitments(fields.items("commitments", MOST_CUSTODIANS)),
        committed=_step(fields.inside("committed", STEP)),
        fixed=_step(fields.inside("fixed", STEP)),
        joint_key=fields.hex("joint_key", POINT_BYTES * MOST_CUSTODIANS),
        noised=fields.binary("noised", MOST_NOISED),
        partials=read_partials(fields),
    )


def read_partials(fields: Fields) -> tuple[tuple[int, bytes], ...]:
    """Partial decryptions by place, whatever they hold. Raises `Refusal`s naming the field."""
    items = fields.items("partials", MOST_CUSTODIANS)
    at = fields.name("partials")
    read = [Fields(each, f"{at}[{i}]", {"place", "partial"}) for i, each in enumerate(items)]
    found = tuple(
        (each.number("place", PLACE_BITS), each.binary("partial", MOST_PARTIAL)) for each in read
    )
    _ascending([place for place, _ in found], at)
    return found


def _step(fields: Fields) -> Step:
    block = fields.number("block", 53)
    return Step(block, fields.hash("block_hash"), fields.hash("transaction"))


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "block": step.block,
        "block_hash": to_hex(step.block_hash),
        "transaction": to_hex(step.transaction),
    }


def _places(items: list[Any]) -> tuple[int, ...]:
    found = (unsigned(each, PLACE_BITS, f"tally.places[{i}]") for i, each in enumerate(items))
    return _ascending(tuple(found), "tally.places")


def _commitments(items: list[Any]) -> tuple[tuple[int, bytes], ...]:
    found = tuple(_commitment(each, i) for i, each in enumerate(items))
    _ascending([place for place, _ in found], "tally.commitments")
    return found


def _ascending(places: Places, at: str) -> Places:
    if list(places) != sorted(set(places)):
        raise malformed(at, "must ascend by place, each place once")
    return places


def _commitment(pair: Any, position: int) -> tuple[int, bytes]:
    at = f"tally.commitments[{position}]"
    if not isinstance(pair, list) or len(pair) != 2:
        raise malformed(at, "must be a place and a hash")
    return unsigned(pair[0], PLACE_BITS, at), hash_field(pair[1], at)
