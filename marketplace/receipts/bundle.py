"""usufruct-bundle/1: the records that an answer of the homomorphic lane was added up from, and its noise.

Canonical JSON, one document a line, each line ended by a line feed. Line 1 is the header: request, the
dataset's dictionary, and the noise of the places that count, with its proofs. Then one line for each record
that counted, in cohort order: the columns that the question uses, and what leads from them to the record's
commitment on chain; or, where that was asked for, the record's whole part in this lane, with the proof of its
validity. A record that counts as null shows why: it has no part in this lane, or one that is encrypted under
another key.

Nothing in it is secret: it holds ciphertexts, hashes and proofs. It is read line by line, so that a cohort of
any size takes the memory of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from marketplace.errors import Refusal
from marketplace.receipts.fields import Fields
from marketplace.receipts.parts import ReceiptInvalid
from marketplace.receipts.tally_part import PLACE_BITS
from marketplace.wire import dictionary as dictionaries
from marketplace.wire.canonical import canonical, parse
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.feldman import MOST_CUSTODIANS
from marketplace.wire.http import hash_field, to_base64, to_hex
from marketplace.wire.record import record_commitment
from marketplace.wire.solidity import malformed
from marketplace.wire.tally import LARGEST_TALLY, SealedTally, TallyHeader, root_of_columns
from marketplace.wire.tallying import Reveal
from ml.homomorphic.curve import POINT_BYTES
from ml.homomorphic.elgamal import COLUMN_BYTES

SCHEMA: Final = "usufruct-bundle/1"
MOST_HEADER: Final = 1 << 26
"""Bytes: the noise of 16 custodians for 1,024 sums takes 42 MB in base64."""
MOST_VALUES: Final = 50_000
"""JSON values of that line: a dictionary with its encoding has a few thousand, a reveal four."""
MOST_LINE: Final = 1 << 19
MOST_PATH: Final = 512
HEADER_KEYS: Final = {"schema", "request", "dictionary", "reveals"}
MEMBER_KEYS: Final = {"commitment", "version", "leaves", "tally"}
SHOWN_KEYS: Final = {"public_key", "columns_number", "proof_hash", "columns", "path"}
WHOLE_KEYS: Final = {"public_key", "columns", "proof"}
HIDDEN_KEYS: Final = {"public_key", "column_root", "proof_hash"}


@dataclass(frozen=True)
class Header:
    """The first line. reveals: by place, as many as count."""

    request: bytes
    dictionary: Dictionary
    reveals: tuple[tuple[int, Reveal], ...] = field(repr=False)

    def to_bytes(self) -> bytes:
        """The line, as `read_header` reads it."""
        return _line(
            {
                "schema": SCHEMA,
                "request": to_hex(self.request),
                "dictionary": parse(self.dictionary.to_bytes(), limit=MOST_HEADER),
                "reveals": [
                    {"place": place, "reveal": each.to_json()} for place, each in self.reveals
                ],
            }
        )


@dataclass(frozen=True)
class Shown:
    """The part of a record in this lane: the columns that a question uses (66 bytes each, by position), of
    `number` columns, and the hashes of `wire.tally.prove_columns` for all others.
    """

    public_key: bytes
    number: int
    proof_hash: bytes
    columns: bytes = field(repr=False)
    path: tuple[bytes, ...] = field(repr=False)

    def header(self, used: Sequence[int]) -> TallyHeader:
        """What stands for it in the record, if these are the columns at the positions `used`, ascending.

        Raises ValueError for another number of columns or hashes.
        """
        if len(self.columns) != COLUMN_BYTES * len(used):
            raise ValueError("has another number of columns than the question uses")
        starts = range(0, len(self.columns), COLUMN_BYTES)
        parts = (self.columns[at : at + COLUMN_BYTES] for at in starts)
        root = root_of_columns(dict(zip(used, parts, strict=True)), self.number, self.path)
        return TallyHeader(self.public_key, root, self.proof_hash)


Tally = Shown | SealedTally | TallyHeader | None


@dataclass(frozen=True)
class Member:
    """One record that counted. leaf: of the vault lane.

    tally: what it adds, whole or the columns that a question uses; the header alone of a part that is under
    another key; None where it has none.
    """

    commitment: bytes
    version: int
    leaf: bytes
    tally: Tally

    def root(self, dictionary_hash: bytes, used: Sequence[int]) -> bytes:
        """The commitment that its parts lead to. Raises ValueError as `Shown.header` does."""
        leaves = [self.leaf]
        if self.tally is not None:
            leaves.append(_header(self.tally, used).leaf(dictionary_hash))
        return record_commitment(self.version, leaves)

    def to_bytes(self) -> bytes:
        """The line, as `read_member` reads it."""
        return _line(
            {
                "commitment": to_hex(self.commitment),
                "version": self.version,
                "leaves": [to_hex(self.leaf)],
                "tally": _tally_to_json(self.tally),
            }
        )


class Lines:
    """A bundle's lines, one at a time; `number` is of the last one read, from 1."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.number = 0

    def next(self, step: str, most: int) -> bytes | None:
        """The next line with its line feed; None after the last. Raises ReceiptInvalid for one that is too
        long or broken off.
        """
        self.number += 1
        raw = self._source.readline(most + 1)
        if not raw:
            return None
        if not raw.endswith(b"\n") or len(raw) > most:
            raise unfit(step, self.number, "", "is too long, or the file ends within it")
        return raw


def read_header(lines: Lines) -> Header:
    """The first line. Raises ReceiptInvalid (step bundle) naming the field."""
    raw = lines.next("bundle", MOST_HEADER)
    if raw is None:
        raise unfit("bundle", 1, "", "is missing")
    with _spelt("bundle", 1):
        fields = Fields(
            parse(raw[:-1], limit=MOST_HEADER, values=MOST_VALUES), "line 1", HEADER_KEYS
        )
        fields.constant("schema", SCHEMA)
        found = Header(
            request=fields.hash("request"),
            dictionary=_dictionary(fields),
            reveals=_reveals(fields),
        )
        _require_one_spelling(found.to_bytes(), raw)
    return found


def read_member(raw: bytes, number: int) -> Member:
    """One line after the first. Raises ReceiptInvalid (step members) naming line and field."""
    with _spelt("members", number):
        fields = Fields(parse(raw[:-1], limit=MOST_LINE), f"line {number}", MEMBER_KEYS)
        leaves = fields.items("leaves", 1)
        if len(leaves) != 1:
            raise malformed(fields.name("leaves"), "must be the one leaf of the vault lane")
        found = Member(
            commitment=fields.hash("commitment"),
            version=fields.number("version", 32),
            leaf=hash_field(leaves[0], fields.name("leaves[0]")),
            tally=_tally(fields),
        )
        _require_one_spelling(found.to_bytes(), raw)
    return found


def unfit(step: str, line: int, what: str, problem: str) -> ReceiptInvalid:
    """The refusal of one line. Never carries what stands there."""
    where = f"line {line}.{what}" if what else f"line {line}"
    return _unfit(step, line, where, f"{where} {problem}")


def _unfit(step: str, line: int, field: str, why: str) -> ReceiptInvalid:
    return ReceiptInvalid(
        message=f"The bundle does not show what the receipt says: {why} (step {step}).",
        remedy="Do not rely on the receipt until it verifies with a bundle. Ask for the bundle again.",
        field=field,
        facts={"step": step, "line": line},
    )


@contextmanager
def _spelt(step: str, line: int) -> Iterator[None]:
    """Whatever a line cannot be read for, by its line."""
    try:
        yield
    except Refusal as refusal:
        at = f"line {line}"
        known = refusal.field is not None and refusal.field.startswith(at)
        # Each line is parsed by itself, and is its text's line 1.
        why = refusal.message.replace("(line 1, column", "(column")
        raise _unfit(step, line, str(refusal.field) if known else at, f"{at}: {why}") from None


def _require_one_spelling(written: bytes, given: bytes) -> None:
    if written != given:
        raise malformed("line", "is not in its one canonical spelling")


def _dictionary(fields: Fields) -> Dictionary:
    try:
        return dictionaries.from_json(fields.value("dictionary"))
    except Refusal as refusal:
        raise malformed(fields.name("dictionary"), f"is none: {refusal.message}") from None


def _reveals(fields: Fields) -> tuple[tuple[int, Reveal], ...]:
    items = fields.items("reveals", MOST_CUSTODIANS)
    found = []
    for i, item in enumerate(items):
        inner = Fields(item, f"{fields.name('reveals')}[{i}]", {"place", "reveal"})
        at = inner.name("reveal")
        try:
            reveal = Reveal.from_json(inner.value("reveal"), at)
        except Refusal as refusal:
            raise malformed(at, f"is none: {refusal.message}") from None
        found.append((inner.number("place", PLACE_BITS), reveal))
    return tuple(found)


def _header(tally: Shown | SealedTally | TallyHeader, used: Sequence[int]) -> TallyHeader:
    if isinstance(tally, Shown):
        return tally.header(used)
    return tally.header if isinstance(tally, SealedTally) else tally


def _tally(fields: Fields) -> Tally:
    document = fields.value("tally")
    if document is None:
        return None
    if not isinstance(document, dict) or "columns" not in document:
        hidden = fields.inside("tally", HIDDEN_KEYS)
        return TallyHeader(
            hidden.hex("public_key", POINT_BYTES),
            hidden.hash("column_root"),
            hidden.hash("proof_hash"),
        )
    if "proof" in document:
        whole = fields.inside("tally", WHOLE_KEYS)
        return SealedTally(
            whole.hex("public_key", POINT_BYTES),
            whole.binary("columns", LARGEST_TALLY),
            whole.binary("proof", LARGEST_TALLY),
        )
    shown = fields.inside("tally", SHOWN_KEYS)
    path = shown.items("path", MOST_PATH)
    return Shown(
        public_key=shown.hex("public_key", POINT_BYTES),
        number=shown.number("columns_number", 16),
        proof_hash=shown.hash("proof_hash"),
        columns=shown.binary("columns", LARGEST_TALLY),
        path=tuple(hash_field(each, f"{shown.name('path')}[{i}]") for i, each in enumerate(path)),
    )


def _tally_to_json(tally: Tally) -> dict[str, Any] | None:
    if tally is None:
        return None
    if isinstance(tally, SealedTally):
        return dict(tally.to_json())
    if isinstance(tally, TallyHeader):
        return {
            "public_key": to_hex(tally.public_key),
            "column_root": to_hex(tally.column_root),
            "proof_hash": to_hex(tally.proof_hash),
        }
    return {
        "public_key": to_hex(tally.public_key),
        "columns_number": tally.number,
        "proof_hash": to_hex(tally.proof_hash),
        "columns": to_base64(tally.columns),
        "path": [to_hex(each) for each in tally.path],
    }


def _line(document: Mapping[str, Any]) -> bytes:
    return canonical(document) + b"\n"
