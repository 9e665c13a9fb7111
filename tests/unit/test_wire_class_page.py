"""Rules of the page that patients read: one document, one byte string, nothing but plain text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.errors import BadClassPage
from marketplace.wire.class_page import (
    LONGEST_PARAGRAPH,
    LONGEST_TITLE,
    MOST_BYTES,
    PARAGRAPHS,
    ClassPage,
    from_json,
    load,
)
from marketplace.wire.plain import plain
from tests.vectors import generate_class_page

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "class_page.json").read_text("utf-8"))
GOOD = {each["name"]: each for each in VECTORS["good"]}
BAD = {each["name"]: bytes.fromhex(each["bytes"]) for each in VECTORS["bad"]}
TEXTS = st.text(
    st.characters(exclude_categories=["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"]), min_size=1
)


def test_the_vectors_are_what_their_generator_says() -> None:
    assert json.loads(json.dumps(generate_class_page.vectors())) == VECTORS


@pytest.mark.parametrize("name", GOOD)
def test_a_good_page_has_these_bytes_and_this_hash(name: str) -> None:
    vector = GOOD[name]
    page = load(bytes.fromhex(vector["bytes"]))
    assert page == from_json(vector["document"])
    assert page.to_json() == vector["document"]
    assert page.to_bytes().hex() == vector["bytes"]
    assert "0x" + page.hash().hex() == vector["hash"]


@pytest.mark.parametrize("name", BAD)
def test_a_spoiled_page_is_refused_with_a_field_and_a_remedy(name: str) -> None:
    with pytest.raises(BadClassPage) as refused:
        load(BAD[name])
    assert refused.value.field
    assert refused.value.remedy


def test_the_largest_page_fits_and_what_is_larger_is_refused_unread() -> None:
    longest = dict.fromkeys(PARAGRAPHS, "\U0001d54f" * LONGEST_PARAGRAPH)
    page = from_json(
        {**GOOD["plain"]["document"], **longest, "title": "\U0001d54f" * LONGEST_TITLE}
    )
    assert load(page.to_bytes()) == page
    with pytest.raises(BadClassPage, match="the limit is"):
        load(page.to_bytes() + b" " * MOST_BYTES)


@given(st.sampled_from(["title", *PARAGRAPHS]), TEXTS)
def test_every_line_of_plain_text_goes_in_and_comes_out_as_it_was(name: str, text: str) -> None:
    text = text[:LONGEST_TITLE]
    page = replace(load(bytes.fromhex(GOOD["plain"]["bytes"])), **{name: text})
    assert load(page.to_bytes()) == page
    assert dict(page.paragraphs).get(name, page.title) == text


@given(st.sampled_from(["title", *PARAGRAPHS]), st.text(min_size=1, max_size=40))
def test_what_is_taken_is_shown_as_itself(name: str, text: str) -> None:
    document: dict[str, Any] = {**GOOD["plain"]["document"], name: text}
    if plain(text) == text == text.strip():
        assert getattr(from_json(document), name) == text
        return
    with pytest.raises(BadClassPage) as refused:
        from_json(document)
    assert refused.value.field == name


def test_two_pages_that_differ_in_one_word_have_other_hashes() -> None:
    page = load(bytes.fromhex(GOOD["plain"]["bytes"]))
    others = [replace(page, **{name: "Another."}) for name in ("title", *PARAGRAPHS)]
    hashes = {page.hash(), *(each.hash() for each in others), replace(page, language="fr").hash()}
    assert len(hashes) == len(others) + 2


def test_paragraphs_are_read_with_the_pay_after_the_risks() -> None:
    page = load(bytes.fromhex(GOOD["plain"]["bytes"]))
    order = [name for name, _ in page.paragraphs]
    assert order == ["what", "who", "why", "how_long", "how_protected", "how_to_stop", "pay"]
    assert isinstance(page, ClassPage)
