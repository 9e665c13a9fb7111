"""What a browser's key file keeps (`browser_keyfile`), and how such a document is read: strictly.

Everything that is read is written again and compared, so that each content has one text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeVar

from marketplace.errors import Refusal
from marketplace.vocabulary import DatasetId, address, unsigned
from marketplace.wire import feldman
from marketplace.wire.browser_keys import CHAIN_BITS, ROOT_BYTES, Place, Root
from marketplace.wire.canonical import canonical, parse_canonical
from marketplace.wire.http import hash_field, hex_field, to_hex

LARGEST_KEYRING: Final = 180 * 1024  # bytes of JSON
MOST_DATASETS: Final = 500
MOST_IMPORTED: Final = 50
MOST_LABEL: Final = 60  # characters
NOT_WRITTEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that no text here may hold: controls, what hides or turns text, ends of lines."""

T = TypeVar("T")


class KeysUnreadable(Refusal):
    """A key file that is not of this format, or asks for what no such file asks for."""

    CODE = "keys_unreadable"


@dataclass(frozen=True)
class Joined:
    """A dataset in which this root has an address, and which of its addresses is in use."""

    place: Place
    index: int

    def to_json(self) -> dict[str, Any]:
        """As the box holds it."""
        return {
            "chain_id": self.place.chain_id,
            "dataset": to_hex(self.place.dataset),
            "index": self.index,
            "registry": self.place.registry,
        }


@dataclass(frozen=True)
class ImportedKey:
    """A secp256k1 key of the command line under a name. The key does not print."""

    label: str
    key: bytes = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """As the box holds it."""
        return {"key": to_hex(self.key), "label": self.label}


@dataclass(frozen=True)
class Keyring:
    """What a key file keeps. No secret of it prints."""

    root: Root
    datasets: tuple[Joined, ...] = ()
    imported: tuple[ImportedKey, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What is encrypted."""
        return {
            "datasets": [each.to_json() for each in self.datasets],
            "imported": [each.to_json() for each in self.imported],
            "root": to_hex(self.root.raw),
        }

    def index_in(self, place: Place) -> int | None:
        """Which address is in use in a dataset; None where this root has none."""
        return next((each.index for each in self.datasets if each.place == place), None)


def read_keyring(plaintext: bytes) -> Keyring:
    """Strict, although it was authenticated: another program may have written it."""
    whole = canonical_object(plaintext, LARGEST_KEYRING, "box")
    require_keys(whole, {"datasets", "imported", "root"}, "box")
    keyring = Keyring(
        Root(exactly(whole["root"], ROOT_BYTES, "box.root")),
        _list(whole["datasets"], MOST_DATASETS, "box.datasets", _joined),
        _list(whole["imported"], MOST_IMPORTED, "box.imported", _imported),
    )
    _require_distinct([each.place for each in keyring.datasets], "box.datasets")
    _require_distinct([each.label for each in keyring.imported], "box.imported")
    if canonical(keyring.to_json()) != plaintext:
        unreadable("box", "writes a value in another than its one form")
    return keyring


def _joined(value: Any, at: str) -> Joined:
    known = require_keys(value, {"chain_id", "dataset", "index", "registry"}, at)

    def read() -> Joined:
        place = Place(
            unsigned(known["chain_id"], CHAIN_BITS, f"{at}.chain_id"),
            address(known["registry"], f"{at}.registry"),
            DatasetId(hash_field(known["dataset"], f"{at}.dataset")),
        )
        return Joined(place, unsigned(known["index"], 32, f"{at}.index"))

    return read_field(at, read)


def _imported(value: Any, at: str) -> ImportedKey:
    known = require_keys(value, {"key", "label"}, at)
    require_text(known["label"], MOST_LABEL, f"{at}.label")
    key = exactly(known["key"], feldman.SCALAR_BYTES, f"{at}.key")
    if not known["label"] or not 0 < int.from_bytes(key, "big") < feldman.ORDER:
        unreadable(at, "has no label, or is no key")
    return ImportedKey(known["label"], key)


def canonical_object(data: bytes, limit: int, at: str) -> dict[str, Any]:
    """The object whose canonical form is exactly `data`. Raises KeysUnreadable."""
    found = read_field(at, lambda: parse_canonical(data, limit=limit))
    if not isinstance(found, dict):
        unreadable(at, "is not an object")
    return found


def require_keys(value: object, keys: set[str], at: str) -> dict[str, Any]:
    """The same object, known to have exactly these keys. Raises KeysUnreadable."""
    if not isinstance(value, dict) or set(value) != keys:
        unreadable(at, f"has not exactly the keys {', '.join(sorted(keys))}")
    return value


def exactly(value: object, size: int, at: str) -> bytes:
    """`size` bytes from 0x hexadecimal text. Raises KeysUnreadable, and does not repeat it."""
    raw = read_field(at, lambda: hex_field(value, at, size))
    if len(raw) != size or to_hex(raw) != value:
        unreadable(at, f"is not {size} bytes in small hexadecimal letters")
    return raw


def within(value: object, least: int, most: int, at: str) -> int:
    """A whole number from `least` to `most`. Raises KeysUnreadable."""
    if type(value) is not int or not least <= value <= most:
        unreadable(at, f"is not a whole number from {least} to {most}")
    return value


def _list(value: object, most: int, at: str, read: Callable[[Any, str], T]) -> tuple[T, ...]:
    if not isinstance(value, list) or len(value) > most:
        unreadable(at, f"is not a list of at most {most}")
    return tuple(read(each, f"{at}[{number}]") for number, each in enumerate(value))


def _require_distinct(names: list[Any], at: str) -> None:
    if len(set(names)) != len(names):
        unreadable(at, "names one of its entries twice")


def require_text(value: object, most: int, at: str) -> None:
    """Text that shows as itself, on one line. Raises KeysUnreadable."""
    if not isinstance(value, str) or len(value) > most:
        unreadable(at, f"is not text of at most {most} characters")
    if any(unicodedata.category(each) in NOT_WRITTEN for each in value):
        unreadable(at, "holds a character that does not show as itself")


def read_field(at: str, read: Callable[[], T]) -> T:
    """What is read, every refusal of it as one of this format. None of them repeats a value."""
    try:
        return read()
    except KeysUnreadable:
        raise
    except Refusal as refusal:
        raise KeysUnreadable(
            message=f"The key file cannot be read: {refusal.message}",
            remedy="Take a copy of the file as it was saved.",
            field=refusal.field if refusal.field not in (None, "$") else at,
        ) from None


def unreadable(at: str, problem: str) -> NoReturn:
    """Raises KeysUnreadable. `problem` says no value."""
    raise KeysUnreadable(
        message=f"The key file cannot be read: {at} {problem}.",
        remedy="Take a copy of the file as it was saved, or a newer version of this program.",
        field=at,
    )
