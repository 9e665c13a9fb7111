"""Two conversations that differ anywhere are asked differently."""

from __future__ import annotations

import hashlib

from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from ml.homomorphic.curve import ORDER
from ml.homomorphic.transcript import Transcript

ERROR_RATE = 1e-9
labels = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=6)
said = st.lists(st.tuples(labels, st.binary(max_size=6)), max_size=4)


def asked(things: list[tuple[str, bytes]], protocol: str = "p", context: bytes = b"c") -> int:
    talk = Transcript(protocol, context)
    for label, data in things:
        talk.absorb(label, data)
    return talk.challenge("q")


@given(said, said)
def test_what_was_said_differs_so_what_is_asked_does(
    one: list[tuple[str, bytes]], other: list[tuple[str, bytes]]
) -> None:
    assert (asked(one) == asked(other)) == (one == other)


@given(said, st.data())
def test_bytes_moved_over_a_boundary_are_another_conversation(
    things: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    joined = b"".join(part for _, part in things)
    cut = data.draw(st.integers(0, len(joined)))
    moved = [("a", joined[:cut]), ("b", joined[cut:])]
    assume(moved != things)
    assert asked(moved) != asked(things)
    assert asked([("ab", b"c")]) != asked([("a", b"bc")]) != asked([("a", b""), ("b", b"c")])


def test_bytes_that_look_like_the_next_thing_said_are_not_that() -> None:
    inside = b"x" + (1).to_bytes(4, "big") + b"b" + b"y"
    lengths = b"x" + (1).to_bytes(4, "big") + b"b" + (1).to_bytes(8, "big") + b"y"
    told = [("a", b"x"), ("b", b"y")]
    assert len({asked(told), asked([("a", inside)]), asked([("a", lengths)])}) == 3
    assert asked([("a", b""), ("b", b"")]) != asked([("a", (1).to_bytes(4, "big") + b"b")])


def test_protocol_and_context_bind() -> None:
    every = {asked([], p, c) for p in ("p", "q", "pc", "") for c in (b"c", b"d", b"", b"pc")}
    assert len(every) == 16


def test_every_question_depends_on_all_before_it_and_on_its_own_name() -> None:
    talk = Transcript("p", b"c")
    first, second = talk.challenge("q"), talk.challenge("q")
    assert first != second
    other = Transcript("p", b"c")
    assert other.challenge("q") == first
    other.absorb("more", b"")
    assert other.challenge("q") != second
    assert Transcript("p", b"c").challenge("r") != first


def test_a_conversation_has_the_bytes_that_its_documentation_says() -> None:
    def part(label: bytes, data: bytes) -> bytes:
        lengths = len(label).to_bytes(4, "big"), len(data).to_bytes(8, "big")
        return lengths[0] + label + lengths[1] + data

    whole = part(b"protocol", b"usufruct/x/1") + part(b"context", bytes(32)) + part(b"a", b"data")
    whole += part(b"challenge", b"one")
    drawn = hashlib.sha512(whole).digest()
    talk = Transcript("usufruct/x/1", bytes(32))
    talk.absorb("a", b"data")
    assert talk.challenge("one") == int.from_bytes(drawn, "big") % ORDER
    whole += part(b"drawn", drawn) + part(b"challenge", b"two")
    assert talk.challenge("two") == int.from_bytes(hashlib.sha512(whole).digest(), "big") % ORDER


def test_questions_are_spread_evenly_over_the_scalars() -> None:
    """By their upper 4 and their lower 4 bits; deterministic, so it fails always or never."""
    drawn = [asked([("n", i.to_bytes(4, "big"))]) for i in range(4_000)]
    assert max(drawn) < ORDER
    for cells in ([d * 16 // ORDER for d in drawn], [d % 16 for d in drawn]):
        counts = [cells.count(cell) for cell in range(16)]
        assert stats.chisquare(counts).pvalue > ERROR_RATE
