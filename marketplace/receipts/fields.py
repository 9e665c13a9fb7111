"""Reads one JSON object strictly: exactly its keys, every value of its type and range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marketplace.vocabulary import Address, address, unsigned
from marketplace.wire.canonical import is_shallow
from marketplace.wire.http import binary_field, hash_field, hex_field, require_keys
from marketplace.wire.solidity import malformed

MOST_TEXT = 1 << 16
DEEPEST = 16
MOST_DIGITS = 20  # of 64 bits; the bound keeps a hostile number from being parsed at all


def require_shallow(raw: bytes) -> None:
    """Raises `Refusal` for JSON nested deeper than any receipt, before anything parses it."""
    if not is_shallow(raw, DEEPEST):
        raise malformed("$", "is nested too deeply")


class Fields:
    """The values of the object at `path`, each checked when taken. All raise `Refusal`s."""

    def __init__(self, document: Any, path: str, keys: set[str] | None = None) -> None:
        if keys is not None:
            require_keys(document, keys, at=path)
        self._document = document
        self._path = path

    def name(self, key: str) -> str:
        """Where a value stands, for refusals."""
        return key if self._path == "receipt" else f"{self._path}.{key}"

    def value(self, key: str) -> Any:
        """The parsed value, unchecked: for readers that check it themselves."""
        return self._document[key]

    def constant(self, key: str, wanted: str) -> None:
        """Refuses all but one text, such as the name of the schema."""
        if self.value(key) != wanted:
            raise malformed(self.name(key), f"must be {wanted}")

    def inside(self, key: str, keys: set[str]) -> Fields:
        """The object under a key, with exactly these keys."""
        return Fields(self.value(key), self.name(key), keys)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """An object whose keys are not known beforehand. Its values are unchecked."""
        found = self.value(key)
        if not isinstance(found, dict):
            raise malformed(self.name(key), "must be an object")
        return found

    def items(self, key: str, most: int) -> list[Any]:
        """A list of at most `most` unchecked values."""
        found = self.value(key)
        if not isinstance(found, list) or len(found) > most:
            raise malformed(self.name(key), f"must be a list of at most {most}")
        return found

    def number(self, key: str, bits: int) -> int:
        """A JSON integer below 2^`bits`, not negative; true and false are none."""
        return unsigned(self.value(key), bits, self.name(key))

    def decimal(self, key: str, bits: int) -> int:
        """A whole number written as text, as everything wider than 48 bits is."""
        found = self.text(key, MOST_DIGITS)
        if not (found.isascii() and found.isdigit()):
            raise malformed(self.name(key), "must be a decimal number written as a string")
        return unsigned(int(found), bits, self.name(key))

    def text(self, key: str, most: int = MOST_TEXT) -> str:
        """At most `most` characters, whichever they are."""
        found = self.value(key)
        if not isinstance(found, str) or len(found) > most:
            raise malformed(self.name(key), f"must be text of at most {most} characters")
        return found

    def hash(self, key: str) -> bytes:
        """32 bytes from 0x hex of either case; `load` then insists on lower case."""
        return hash_field(self.value(key), self.name(key))

    def hex(self, key: str, most: int) -> bytes:
        """At most `most` bytes from 0x hex, measured before it is decoded."""
        return hex_field(self.value(key), self.name(key), most)

    def binary(self, key: str, most: int) -> bytes:
        """At most `most` bytes from base64, measured before it is decoded."""
        return binary_field(self.value(key), self.name(key), most)

    def address(self, key: str) -> Address:
        """Checksummed, also where lower case was given; `load` then insists on the checksum."""
        return address(self.value(key), self.name(key))

    def addresses(self, key: str, most: int) -> tuple[Address, ...]:
        """At most `most` of them, in order; a refusal says which one is wrong."""
        items = self.items(key, most)
        return tuple(address(each, f"{self.name(key)}[{i}]") for i, each in enumerate(items))
