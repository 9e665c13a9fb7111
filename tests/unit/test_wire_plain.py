"""What other parties say reaches people as text, never as commands to their terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.wire.plain import REPLACED, counted, plain

COMMANDS = {
    "erases a line": "\x1b[2K",
    "moves up, over what was said": "\x1b[1A",
    "hides what follows": "\x1b[8m",
    "a title or a clipboard (OSC)": "\x1b]52;c;AAAA\x07",
    "the same by C1": "\x9b2K",
    "starts the line again": "\r",
    "begins a line of its own": "\n",
    "deletes": "\x7f\b",
    "turns text around": "\u202e\u2066\u2069",
    "marks of direction": "\u200e\u200f\u061c",
    "lines and paragraphs": "\u2028\u2029",
    "hidden text (tags)": "\U000e0041\U000e0042",
    "half a character": "\ud800",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_nothing_that_commands_a_terminal_is_left(command: str) -> None:
    shown = plain(f"before{command}after")
    assert shown.startswith("before")
    assert shown.endswith("after")
    assert REPLACED in shown
    assert not any(unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") for each in shown)


@given(st.text())
def test_plain_text_is_as_long_as_it_was_on_one_line_and_can_be_written(text: str) -> None:
    shown = plain(text)
    assert len(shown) == len(text)
    assert len(shown.splitlines()) <= 1
    assert shown.encode("utf-8")[:1] not in (b"\x1b", b"\r")
    assert plain(shown) == shown


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"])))
def test_words_of_any_language_stay_as_they_are(text: str) -> None:
    assert plain(text) == text


@given(st.integers(0, 2**64))
def test_only_one_of_a_thing_is_singular(number: int) -> None:
    assert counted(number, "patient").endswith(" patient") == (number == 1)
    assert counted(number, "patient").split()[0].replace(",", "") == str(number)
