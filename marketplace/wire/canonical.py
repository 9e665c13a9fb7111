"""Canonical JSON and tagged hashes.

Canonical JSON here: keys sorted by code point, no white space, UTF-8, whole numbers within 2^53
(so that JavaScript reads the same number), no floating point. One value, one byte string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from itertools import accumulate
from typing import Any, NoReturn

from eth_abi.abi import encode
from eth_hash.auto import keccak

from marketplace.errors import MalformedJson, Refusal

LARGEST_INTEGER = 2**53
JSON_LIMIT = 1 << 20  # bytes; every format of this package is far smaller
DEEPEST = 64  # levels; FHIR bundles have about 12
FARTHEST_EXPONENT = 9_999  # of the first digit; far below where Decimal itself gives up

LONGEST_STEP = 40  # characters of a key, where a refusal says the place

_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""Possessive, and a text without its closing quote runs to the end: linear on hostile bytes."""
_OTHER_THAN_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_DEEPER = [1 if byte in b"[{" else -1 for byte in range(256)]

_Place = tuple["_Place", str | int] | None
"""Where a value stands: in what, and under which key or at which position. Written out only for a refusal:
a path as text for each item would cost a hostile key's length as many times as there are items under it."""


def canonical(value: object) -> bytes:
    """The one byte string for `value` (dicts with text keys, lists, text, integers, bool, None).

    Raises MalformedJson for floats, large integers, other keys and types, and lone surrogates.
    """
    _require_plain(value, None)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        _refuse("A text holds half of a surrogate pair.", "Give valid Unicode text.", None)


def parse_canonical(data: bytes, *, limit: int = JSON_LIMIT) -> Any:
    """The value whose canonical form is exactly `data`. Raises MalformedJson otherwise."""
    value = parse(data, limit=limit)
    if canonical(value) != data:
        _refuse("The JSON is not in canonical form.", "Sort keys and drop white space.", None)
    return value


def parse(
    data: bytes,
    *,
    limit: int,
    refusal: type[Refusal] = MalformedJson,
    decimals: bool = False,
    values: int | None = None,
) -> Any:
    """JSON from hostile bytes: bounded size, no duplicate keys, no NaN, no floating point.

    Args:
        limit: bytes.
        decimals: whether to read fractions, as Decimal; otherwise they are refused.
        values: most that it may hold (see `has_few_values`), where more are refused before any is made: read,
            each may take a hundred times the bytes that it was sent in.

    Raises:
        `refusal`.
    """
    if len(data) > limit:
        raise refusal(
            message=f"The JSON has {len(data)} bytes; the limit is {limit}.",
            remedy="Send a smaller document.",
            field="$",
            facts={"bytes": len(data), "limit": limit},
        )
    if values is not None and not has_few_values(data, values):
        raise refusal(
            message=f"The JSON holds more than {values} values.",
            remedy="Send less at a time.",
            field="$",
            facts={"limit": values},
        )
    if not is_shallow(data):
        raise refusal(
            message=f"The JSON is nested more than {DEEPEST} levels deep.",
            remedy="Send a flatter document.",
            field="$",
        )
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object_reader(refusal),
            parse_float=_decimal if decimals else _no_fraction,
            parse_constant=_no_fraction,
        )
    except (ValueError, RecursionError) as fault:
        raise refusal(
            message=f"The bytes are not JSON that this format allows{place_of(fault)}.",
            remedy="Send UTF-8 JSON without NaN, Infinity or excessive nesting.",
            field="$",
        ) from None


def place_of(fault: BaseException) -> str:
    """` (line 3, column 5)`, where the text stops being JSON or UTF-8; empty where nothing says it.

    Never what stands there, which may be a record's value.
    """
    if isinstance(fault, json.JSONDecodeError):
        return f" (line {fault.lineno}, column {fault.colno})"
    if isinstance(fault, UnicodeDecodeError):
        before = fault.object[: fault.start]
        line, column = before.count(b"\n") + 1, fault.start - before.rfind(b"\n")
        return f" (line {line}, column {column})"
    return ""


def is_shallow(data: bytes, deepest: int = DEEPEST) -> bool:
    """Whether no bracket of this JSON is nested deeper than `deepest`. To be asked before parsing.

    The libraries below web3 raise Python's recursion limit so far that the interpreter's own JSON
    reader, given enough brackets, would run off the stack and take the process with it.
    """
    brackets = _TEXT.sub(b"", data).translate(None, _OTHER_THAN_BRACKETS)
    depths = accumulate(map(_DEEPER.__getitem__, brackets))
    return max(depths, default=0) <= deepest


def has_few_values(data: bytes, most: int) -> bool:
    """Whether this JSON holds at most `most` values, each list and object within another counted twice."""
    # Quotes are counted first, which is quick: each text has two that no backslash precedes, and is a value
    # or the key of one.
    if data.count(b'"') - data.count(b'\\"') > 4 * most:
        return False
    bare = _TEXT.sub(b"", data)
    return bare.count(b",") + bare.count(b"[") + bare.count(b"{") <= most


def tagged_hash(tag: str, types: Sequence[str], values: Sequence[object]) -> bytes:
    """keccak256(abi.encode(tag, values...)): 32 bytes, domain-separated by the text tag."""
    return keccak(encode(["string", *types], [tag, *values]))


def _object_reader(refusal: type[Refusal]) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def read(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise refusal(
                message="A JSON object names the same key twice.",
                remedy="Name every key once: readers disagree about which value wins.",
                field="$",
            )
        return result

    return read


def _decimal(text: str) -> Decimal:
    """Raises ValueError for what no measurement is; Decimal's own InvalidOperation is none."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError("an exponent out of range") from None
    if abs(value.adjusted()) > FARTHEST_EXPONENT:
        raise ValueError("an exponent out of range")
    return value


def _no_fraction(_text: str) -> NoReturn:
    raise ValueError("a number that is not whole")


def _require_plain(value: object, at: _Place) -> None:
    if isinstance(value, dict):
        _require_plain_object(value, at)
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            _require_plain(item, (at, position))
    elif isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            _refuse("A whole number exceeds 2^53.", "Write it as text.", at)
    elif value is not None and not isinstance(value, str):
        _refuse(f"A {type(value).__name__} has no canonical form.", "Use integers or text.", at)


def _require_plain_object(value: dict[Any, Any], at: _Place) -> None:
    for key, item in value.items():
        if not isinstance(key, str):
            _refuse("A key is not text.", "Use text keys.", at)
        _require_plain(item, (at, key))


def _refuse(message: str, remedy: str, at: _Place) -> NoReturn:
    path = _written(at)
    raise MalformedJson(message=f"{message} (at {path})", remedy=remedy, field=path)


def _written(place: _Place) -> str:
    """`$.a[0]`, say; of a long key its beginning."""
    steps: list[str] = []
    while place is not None:
        place, step = place
        steps.append(f".{step[:LONGEST_STEP]}" if isinstance(step, str) else f"[{step}]")
    return "".join(["$", *reversed(steps)])
