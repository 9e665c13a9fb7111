"""Rules of uploads in pieces: nothing lost, nothing reordered, nothing larger than the other side takes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from marketplace.config import MAX_UPLOAD_BYTES
from marketplace.wire.canonical import canonical
from marketplace.wire.paging import (
    FRAME_BYTES,
    LARGEST_DEPOSITS,
    LARGEST_UPLOAD,
    pages,
    sent_bytes,
)
from marketplace.wire.record import LARGEST_WITH_TALLY

texts = st.lists(st.text('aé"\\\n', max_size=400), max_size=60)


@given(texts, st.integers(1, 7), st.integers(FRAME_BYTES + 1, FRAME_BYTES + 2_000))
def test_every_upload_fits_and_together_they_are_what_was_to_be_sent(
    items: list[str], most: int, largest: int
) -> None:
    found = list(pages(items, sent_bytes, most=most, largest=largest))
    assert [each for page in found for each in page] == items
    for page in found:
        assert 1 <= len(page) <= most
        sent = len(canonical({"entries": page}))
        assert len(page) == 1 or sent <= largest - FRAME_BYTES + len('{"entries":[]}')


@given(texts, st.integers(1, 7), st.integers(FRAME_BYTES + 1, FRAME_BYTES + 2_000))
def test_there_are_no_more_uploads_than_needed(items: list[str], most: int, largest: int) -> None:
    """No item would have found room in the upload before its own."""
    found = list(pages(items, sent_bytes, most=most, largest=largest))
    for before, after in pairwise(found):
        size = sum(sent_bytes(each) + 1 for each in [*before, after[0]])
        assert len(before) == most or size > largest - FRAME_BYTES


def test_what_is_sent_is_made_as_it_goes() -> None:
    """A custodian's shares and tallies do not lie in memory all at once."""
    made: list[int] = []

    def items() -> Iterator[str]:
        for number in range(100):
            made.append(number)
            yield "x"

    first = next(pages(items(), sent_bytes, most=3, largest=10_000))
    assert (first, len(made)) == (["x"] * 3, 4)


def test_the_largest_record_fits_in_an_upload_of_either_kind_and_the_server_takes_what_is_sent() -> (
    None
):
    assert LARGEST_WITH_TALLY + 64 * 1024 + FRAME_BYTES < LARGEST_DEPOSITS <= LARGEST_UPLOAD
    assert MAX_UPLOAD_BYTES == LARGEST_UPLOAD
