"""Rules of canonical JSON and of reading JSON from hostile bytes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.errors import MalformedJson
from marketplace.wire.canonical import (
    DEEPEST,
    JSON_LIMIT,
    LARGEST_INTEGER,
    LONGEST_STEP,
    canonical,
    has_few_values,
    is_shallow,
    parse,
    parse_canonical,
    place_of,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_a_value_comes_back_from_its_one_byte_string(value: Any) -> None:
    assert parse_canonical(canonical(value)) == value
    assert canonical(json.loads(json.dumps(value))) == canonical(value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, 1.5]}, "$.a[1]"),
        ([float("nan")], "$[0]"),
        ({"a": {"b": float("inf")}}, "$.a.b"),
        (LARGEST_INTEGER + 1, "$"),
        (-LARGEST_INTEGER - 1, "$"),
        ({"a": b"bytes"}, "$.a"),
        ({1: "key"}, "$"),
        ({"a": "\ud800"}, "$"),
        ({"\udfff": 1}, "$"),
    ],
)
def test_what_has_no_canonical_form_is_refused_naming_its_place(value: Any, path: str) -> None:
    with pytest.raises(MalformedJson) as refusal:
        canonical(value)
    assert refusal.value.field == path


@pytest.mark.parametrize("edge", [LARGEST_INTEGER, -LARGEST_INTEGER, 0])
def test_whole_numbers_up_to_2_53_pass(edge: int) -> None:
    assert parse_canonical(canonical(edge)) == edge


@pytest.mark.parametrize(
    "data",
    [
        b'{"b":1,"a":2}', b'{"a": 1}', b"[1]\n", b'"\\u0041"', b"-0", b"\xef\xbb\xbf1",
        b'{"a":1,"a":1}', b'{"a":{"b":1,"b":2}}', b"1.0", b"1e2", b"NaN", b"-Infinity", b"01", b"'a'",
        b"", b"[1,]", b'"\xc3"', b'"\\ud800"', b"9007199254740993",
    ],
)  # fmt: skip
def test_bytes_that_are_not_the_canonical_ones_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_canonical(data)


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"{4242", "(line 1, column 2)"),
        (b'{"a": 1,\n  "b": 4242 4}', "(line 2, column 13)"),
        (b'{"a":\n\n"4242\xff"}', "(line 3, column 6)"),
        (b"\xff4242", "(line 1, column 1)"),
    ],
)
def test_what_is_no_json_is_told_by_line_and_column_and_never_by_what_stands_there(
    data: bytes, place: str
) -> None:
    with pytest.raises(MalformedJson) as refusal:
        parse(data, limit=JSON_LIMIT)
    assert place in refusal.value.message
    assert "4242" not in str(refusal.value) + repr(refusal.value.facts)


@given(st.binary(max_size=60))
def test_whatever_is_no_json_is_refused_and_its_place_lies_within(data: bytes) -> None:
    try:
        json.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as fault:
        line, column = map(int, re.findall(r"\d+", place_of(fault)))
        lines = data.split(b"\n")
        assert 1 <= line <= len(lines)
        assert 1 <= column <= len(lines[line - 1]) + 1
    except ValueError:
        return


def test_size_is_checked_before_anything_is_read() -> None:
    assert parse(b" " * (JSON_LIMIT - 1) + b"1", limit=JSON_LIMIT) == 1
    with pytest.raises(MalformedJson, match="limit"):
        parse(b" " * JSON_LIMIT + b"1", limit=JSON_LIMIT)


@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_allowed_to_the_limit_and_not_beyond(pair: tuple[bytes, bytes]) -> None:
    first, last = pair
    assert parse(first * DEEPEST + b"1" + last * DEEPEST, limit=JSON_LIMIT)
    with pytest.raises(MalformedJson, match="levels deep"):
        parse(first * (DEEPEST + 1) + b"1" + last * (DEEPEST + 1), limit=JSON_LIMIT)


def test_brackets_in_texts_do_not_count_as_nesting() -> None:
    assert is_shallow(json.dumps({"[{" * 200: '\\"' + "[" * 200}).encode())


@pytest.mark.parametrize("unit", [b'\\"', b'"', b"\\", b'"\\', b'"['])
def test_half_open_texts_are_read_in_linear_time(unit: bytes) -> None:
    """Quadratic scanning of this much would outlive the test's own limit by hours."""
    with pytest.raises(MalformedJson):
        parse(b'"' + unit * (JSON_LIMIT // len(unit) - 1), limit=JSON_LIMIT)


def test_a_long_key_costs_its_length_once_and_not_for_every_item_under_it() -> None:
    """A path as text for each item would be 4 MB long, a million times."""
    value = {"k" * 2**22: [0] * 2**20}
    assert parse_canonical(canonical(value), limit=2**23) == value
    with pytest.raises(MalformedJson) as refusal:
        canonical({"k" * 1_000: [{"b": 0.5}]})
    assert refusal.value.field == f"$.{'k' * LONGEST_STEP}[0].b"


@given(PLAIN)
def test_values_are_counted_once_and_at_most_twice(value: Any) -> None:
    held = values_in(value)
    for written in (canonical(value), json.dumps(value, indent=1).encode()):
        assert parse(written, limit=len(written), values=2 * held) == value
        assert not has_few_values(written, held - 2)


def values_in(value: Any) -> int:
    """Counted one by one."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(values_in(each) for each in inside)


@pytest.mark.parametrize("unit", [b"{}", b"[]", b"0", b'""', b'{"a":0}', b'"\\"\\\\"', b'["],["]'])
def test_what_would_take_a_hundred_times_its_bytes_is_refused_before_it_is_made(
    unit: bytes,
) -> None:
    data = b"[" + b",".join([unit] * 9_000) + b"]"
    with pytest.raises(MalformedJson, match="more than 4096 values"):
        parse(data, limit=len(data), values=4_096)
    assert parse(data, limit=len(data))


def test_a_raised_recursion_limit_does_not_let_brackets_end_the_process() -> None:
    """web3's libraries raise it; without the check of depth the reader runs off the stack."""
    program = """
import sys
sys.setrecursionlimit(10**6)
from marketplace.errors import MalformedJson
from marketplace.wire.canonical import parse
for data in (b"[" * 10**6, b'{"a":' * 10**5):
    try:
        parse(data, limit=1 << 20)
    except MalformedJson:
        print("refused")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["refused"] * 2)
