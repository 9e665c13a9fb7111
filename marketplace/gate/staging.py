"""Ciphertexts that the operator sent ahead of a computation, in pages, within a bound."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from marketplace.errors import Refusal
from marketplace.gate.opening import Ciphertext
from marketplace.vocabulary import Lane, address
from marketplace.wire import feldman
from marketplace.wire.http import binary_field, hash_field, hex_field, require_keys
from marketplace.wire.record import LARGEST_BOX

MOST_BYTES = 512 * 1024 * 1024
"""Of all staged ciphertexts: a full shard (655,360 members) of about 700 bytes each."""
RECORD_OVERHEAD = 256


class Staging:
    """In memory: after a restart the operator sends them again. Safe for threads."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._held: dict[bytes, dict[str, Ciphertext]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, request: bytes, records: Mapping[str, Ciphertext]) -> int:
        """Adds or replaces members' ciphertexts. Returns how many are held for this request.

        Raises:
            Refusal: `staging_full`; nothing was added.
        """
        with self._lock:
            held = self._held.get(request, {})
            merged = held | dict(records)
            size = self._bytes - _size(held) + _size(merged)
            if size > self._most:
                raise Refusal(
                    code="staging_full",
                    message="This gate holds as much ciphertext as it may.",
                    remedy="Finish or drop other requests first, then send the pages again.",
                )
            self._held[request], self._bytes = merged, size
            return len(merged)

    def get(self, request: bytes) -> Mapping[str, Ciphertext]:
        """Ciphertexts by patient, a copy; empty where none were sent."""
        with self._lock:
            return dict(self._held.get(request, {}))

    def requests(self) -> tuple[bytes, ...]:
        """Requests that ciphertexts are held for."""
        with self._lock:
            return tuple(self._held)

    def drop(self, request: bytes) -> None:
        """Forgets a request's ciphertexts, if there are any, and frees their share of the bound."""
        with self._lock:
            self._bytes -= _size(self._held.pop(request, {}))


def _size(records: Mapping[str, Ciphertext]) -> int:
    return sum(RECORD_OVERHEAD + len(each.box) for each in records.values())


def read_records(document: object) -> dict[str, Ciphertext]:
    """Ciphertexts by patient, from [{patient, box, key_commitments}], each with its `leaves` of other lanes.

    Raises BadParameter.
    """
    listed = document if isinstance(document, list) else [document]
    return dict(_read(entry, f"records[{i}]") for i, entry in enumerate(listed))


def _read(entry: object, at: str) -> tuple[str, Ciphertext]:
    fields = require_keys(
        entry, {"patient", "box", "key_commitments"}, frozenset({"leaves"}), at=at
    )
    points = fields["key_commitments"]
    points = points[: feldman.MOST_CUSTODIANS + 1] if isinstance(points, list) else [points]
    commitments = tuple(
        hex_field(point, f"{at}.key_commitments[{i}]", feldman.POINT_BYTES)
        for i, point in enumerate(points)
    )
    box = binary_field(fields["box"], f"{at}.box", LARGEST_BOX)
    others = _leaves(fields.get("leaves", []), f"{at}.leaves")
    return address(fields["patient"], f"{at}.patient"), Ciphertext(box, commitments, others)


def _leaves(listed: object, at: str) -> tuple[bytes, ...]:
    leaves = listed[: len(Lane)] if isinstance(listed, list) else [listed]
    return tuple(hash_field(leaf, f"{at}[{i}]") for i, leaf in enumerate(leaves))
