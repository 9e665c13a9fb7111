"""Receipts of the homomorphic lane and their bundles, verified with nothing but a node."""

from __future__ import annotations

import base64
import io
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path as Folder
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result
from eth_utils.address import to_checksum_address
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.anchors import anchors_of
from marketplace.chain.adapter import Chain, Finality, Stored
from marketplace.cli.main import main
from marketplace.cli.verify import ALL_RECOMPUTED, NOT_PROVEN, NOT_RECOMPUTED
from marketplace.errors import BadParameter, Refusal
from marketplace.receipts.build import build_receipt
from marketplace.receipts.bundle import HIDDEN_KEYS, Lines, read_header, read_member
from marketplace.receipts.bundling import Kept, write_bundle
from marketplace.receipts.evidence import EvidenceMissing
from marketplace.receipts.format import load
from marketplace.receipts.proofs import PROOFS, Bound, Proofs
from marketplace.receipts.recount import STEPS as RECOUNTED
from marketplace.receipts.recount import Wanted, added, recount
from marketplace.receipts.tally_steps import question, records_of
from marketplace.receipts.verify import TALLY_STEPS, ReceiptInvalid, verify
from marketplace.vocabulary import DatasetId, Lane
from marketplace.wire.canonical import canonical
from marketplace.wire.delivery import Opened
from marketplace.wire.http import to_base64
from marketplace.wire.tally import SealedTally
from marketplace.words import LANES
from ml.homomorphic.curve import G
from ml.homomorphic.elgamal import COLUMN_BYTES
from ml.homomorphic.threshold import PAIR_BYTES, Sum, sums_to_bytes
from tests.support.mutations import (
    Path,
    at,
    dotted,
    is_canonical,
    is_json,
    leaves,
    nudged,
    spans,
    with_value,
)
from tests.support.tally_receipts import (
    ANALYSIS,
    Answered,
    answer,
    answer_falsely,
    enrol_under_an_earlier_key,
    enrol_without_tally,
    receipts_market,
)
from tests.support.tally_world import PEOPLE

NAMES = [f"p{i}" for i in range(len(PEOPLE))]
EARLY, LATE = NAMES[3], NAMES[7]
"""Who erase their records before the second request's noise is committed to, and once it is fixed."""
ALL_STEPS = (*TALLY_STEPS, *RECOUNTED)


@dataclass(frozen=True)
class Settled:
    """Requests about the same cohort: true answers, and two that a quorum lied about."""

    first: Answered
    erased: Answered
    altered: Answered
    shortened: Answered


@pytest.fixture(scope="module")
def market_of_four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settled]:
    """Twelve records, one under an earlier joint key and one without a part in the lane, asked about; every
    custodian is down since.
    """
    with receipts_market(tmp_path_factory.mktemp("tally-receipts")) as (market, custodians):
        enrol_under_an_earlier_key(market, "earlier", PEOPLE[0])
        market.enrol(dict(zip(NAMES, PEOPLE, strict=True)))
        enrol_without_tally(market, "untallied")
        first = answer(market, market.sealed("first", ANALYSIS, {"variable": "systolic"}))
        second = market.sealed("second", ANALYSIS, {"variable": "systolic"})
        third = market.sealed("third", ANALYSIS, {"variable": "systolic"})
        fourth = market.sealed("fourth", ANALYSIS, {"variable": "systolic"})
        altered = answer_falsely(market, third, lambda sums: [sums[0] + Sum(G, G), sums[1]])
        shortened = answer_falsely(market, fourth, lambda sums: sums[:1])
        erased = answer(market, second, [EARLY], [LATE])
        custodians.close()
        yield Settled(first, erased, altered, shortened)


@pytest.fixture(scope="module")
def settled(market_of_four: Settled) -> Answered:
    return market_of_four.first


@pytest.fixture(scope="module")
def receipt(settled: Answered) -> dict[str, Any]:
    return settled.receipt()


@pytest.fixture(scope="module")
def bundle(settled: Answered) -> list[Any]:
    """Its lines, read."""
    return [json.loads(line) for line in settled.bundle().splitlines()]


@pytest.fixture(scope="module")
def remembering(settled: Answered) -> Iterator[Chain]:
    """The same node, asked everything once, so that hundreds of verifications are quick."""
    monkeypatch = pytest.MonkeyPatch()
    chain = Chain(settled.chain.node.url, settled.chain.manifest, finality=Finality(0, False))
    provider = chain.node.web3.provider
    answers: dict[tuple[str, str], Any] = {}
    ask = provider.make_request

    def remember(method: Any, parameters: Any) -> Any:
        key = (method, repr(parameters))
        if key not in answers:
            answers[key] = ask(method, parameters)
        return answers[key]

    monkeypatch.setattr(provider, "make_request", remember)
    yield chain
    monkeypatch.undo()


def written(lines: list[Any]) -> io.BytesIO:
    return io.BytesIO(b"".join(canonical(line) + b"\n" for line in lines))


def refused(act: Callable[[], object]) -> ReceiptInvalid:
    with pytest.raises(ReceiptInvalid) as raised:
        act()
    assert raised.value.facts["step"] in (*ALL_STEPS, PROOFS)
    assert raised.value.field
    return raised.value


def said(refusal: ReceiptInvalid) -> tuple[str, str]:
    return str(refusal.facts["step"]), str(refusal.field)


# --- what holds


def test_what_a_receipt_is_held_against_has_all_of_its_tally_that_the_chain_keeps(
    settled: Answered, receipt: dict[str, Any], market_of_four: Settled
) -> None:
    whole = anchors_of(settled.chain, bytes.fromhex(receipt["request"][2:]))
    told = whole["receipt"]
    assert whole["stage"] == "settled"
    assert all(told[name] == receipt[name] for name in told if name not in ("cohort", "tally"))
    off_chain = ("noised", "partials")
    kept = {name: part for name, part in receipt["tally"].items() if name not in off_chain}
    assert told["tally"] == kept
    other = market_of_four.erased.receipt()
    assert (
        anchors_of(settled.chain, bytes.fromhex(other["request"][2:]))["receipt"]["tally"] != kept
    )


def test_a_settled_answers_receipt_and_bundle_verify_with_every_custodian_down(
    settled: Answered, receipt: dict[str, Any], bundle: list[Any]
) -> None:
    raw = settled.bundle()
    began = time.perf_counter()
    alone = verify(canonical(receipt), settled.chain)
    between = time.perf_counter()
    whole = verify(canonical(receipt), settled.chain, bundle=io.BytesIO(raw))
    ended = time.perf_counter()
    print(
        f"\nreceipt of {len(canonical(receipt))} bytes: {between - began:.2f} s; with a bundle of "
        f"{len(bundle) - 1} records in {len(raw)} bytes: {ended - between:.2f} s"
    )
    assert (alone.steps, alone.not_done) == (TALLY_STEPS, (*RECOUNTED, PROOFS))
    assert (whole.steps, whole.not_done) == (ALL_STEPS, (PROOFS,))
    assert len(bundle) == 1 + len(PEOPLE) + 2
    parts = [line["tally"] for line in bundle[1:]]
    assert parts.count(None) == 1
    hidden = [part for part in parts if part is not None and "columns" not in part]
    assert [set(part) for part in hidden] == [HIDDEN_KEYS]
    assert hidden[0]["public_key"] != receipt["tally"]["joint_key"][: 2 + 2 * 33]


def test_with_the_dictionary_alone_what_was_asked_is_verified(
    settled: Answered, receipt: dict[str, Any], remembering: Chain
) -> None:
    dictionary = settled.market.world.dictionary
    found = verify(receipt, remembering, dictionary=dictionary)
    assert found.steps == (*TALLY_STEPS, "question")
    assert found.not_done == ("bundle", "reveals", "members", "sums", PROOFS)
    other = replace(dictionary, version=2)
    with pytest.raises(BadParameter) as refusal:
        verify(receipt, remembering, dictionary=other)
    assert (refusal.value.code, refusal.value.field) == ("wrong_dictionary", "dictionary")


def test_records_erased_before_the_noise_commitments_do_not_count_and_later_ones_do(
    market_of_four: Settled,
) -> None:
    second = market_of_four.erased
    lines = [json.loads(line) for line in second.bundle().splitlines()]
    records = second.market.world.records
    shown = {line["commitment"] for line in lines[1:]}
    early, late = ("0x" + second.record(name).commitment.hex() for name in (EARLY, LATE))
    assert early not in shown
    assert late in shown
    assert len(shown) == len(records) - 1
    document = second.receipt()
    assert document["cohort"]["members"] == len(records)
    assert verify(document, second.chain, bundle=written(lines)).not_done == (PROOFS,)


def test_a_receipt_and_its_bundle_are_the_same_bytes_whenever_they_are_made(
    settled: Answered, receipt: dict[str, Any], bundle: list[Any]
) -> None:
    assert canonical(settled.receipt()) == canonical(receipt)
    assert settled.bundle() == written(bundle).getvalue()


# --- what a changed receipt meets

RECEIPT: list[tuple[Path, list[tuple[str, str]]]] = [
    (("schema",), [("format", "schema")]),
    (("chain_id",), [("deployment", "chain_id")]),
    (("genesis_hash",), [("deployment", "genesis_hash")]),
    (("deployed_block",), [("deployment", "deployed_block")]),
    (("contracts",), [("deployment", "contracts."), ("format", "contracts.")]),
    (("request",), [("request", "request")]),
    (("researcher",), [("request", "request"), ("format", "researcher")]),
    (("terms",), [("format", ""), ("request", "request")]),
    (("analysis",), [("analysis", "analysis")]),
    (("parameters",), [("parameters", "parameters")]),
    (("epoch",), [("settlement", "settlement.epoch")]),
    (
        ("committee", "quorum"),
        [("committee", "committee.quorum"), ("settlement", "tally.places")],
    ),
    (("committee",), [("committee", "committee.signers"), ("format", "committee.signers")]),
    (("gate",), [("settlement", "settlement.gate"), ("format", "gate")]),
    (("gate_key",), [("settlement", "gate_key")]),
    (("cohort", "members"), [("shards", "cohort.members")]),
    (("cohort", "seal_block"), [("cohort", "cohort.seal_block")]),
    (("cohort", "seal_block_hash"), [("cohort", "cohort.seal_block_hash")]),
    (("cohort", "root"), [("cohort", "cohort.root")]),
    (("cohort",), [("shards", "cohort.shards"), ("format", ""), ("storage", "cohort.shards")]),
    (("settlement", "ciphertextRoot"), [("events", "settlement")]),
    (("settlement", "resultHash"), [("storage", "settlement.result_hash")]),
    (("settlement", "deliveryHash"), [("delivery", "sealed_result")]),
    (("settlement",), [("settlement", "settlement."), ("format", "")]),
    (("signatures",), [("signatures", "signatures"), ("format", "signatures")]),
    (("sealed_result",), [("delivery", "sealed_result")]),
    (("blocks", "sealed"), [("cohort", "cohort.seal_block")]),
    (("block_hashes", "sealed"), [("cohort", "cohort.seal_block_hash")]),
    (("blocks",), [("events", "blocks.")]),
    (("block_hashes",), [("events", "block_hashes.")]),
    (("transactions",), [("events", "transactions.")]),
    (("cost",), [("request", "cost"), ("format", "cost")]),
    (("price",), [("request", "price"), ("format", "price")]),
    (("fee",), [("request", "fee"), ("format", "fee")]),
    (("tally", "places"), [("settlement", "settlement.noise"), ("format", "tally.places")]),
    (
        ("tally", "commitments"),
        [("settlement", "settlement.noise"), ("format", "tally.commitments")],
    ),
    (("tally", "committed"), [("noise", "tally.committed.")]),
    (("tally", "fixed"), [("noise", "tally.fixed.")]),
    (("tally", "joint_key"), [("joint_key", "tally.joint_key")]),
    (("tally", "noised"), [("aggregate", "tally.noised")]),
    (("tally", "partials"), [("partials", "tally.partials["), ("format", "tally.partials")]),
]
"""Of each field (the first that fits), the steps that may find a change in it, and what they may name."""


def assert_named(
    table: list[tuple[Path, list[tuple[str, str]]]], path: Path, refusal: ReceiptInvalid
) -> None:
    allowed = next(cases for field, cases in table if path[: len(field)] == field)
    step, named = said(refusal)
    assert any(step == each and named.startswith(begin) for each, begin in allowed), (
        path,
        step,
        named,
    )


def test_every_value_of_a_receipt_is_covered_by_a_step_that_names_it(
    receipt: dict[str, Any], remembering: Chain
) -> None:
    verify(receipt, remembering)
    for path in leaves(receipt):
        changed = with_value(receipt, path, nudged(at(receipt, path)))
        assert_named(RECEIPT, path, refused(partial(verify, changed, remembering)))


BITS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def flipped(value: Any, bit: int) -> Any:
    """One bit of what a value stands for: of bytes behind hexadecimal or base64, of numbers, of text."""
    if isinstance(value, int):
        return value ^ 1 << bit % 8
    if value.startswith("0x") and len(value) > 2:
        found = "0x" + _flipped(bytes.fromhex(value[2:]), bit).hex()
        return to_checksum_address(found) if len(value) == 42 else found
    try:
        raw = base64.b64decode(value, validate=True)
    except ValueError:
        raw = b""
    if len(raw) >= PAIR_BYTES:
        return to_base64(_flipped(raw, bit))
    where = bit % len(value)
    return value[:where] + chr(ord(value[where]) ^ 1) + value[where + 1 :]


def _flipped(raw: bytes, bit: int) -> bytes:
    at_byte, found = bit // 8 % len(raw), bytearray(raw)
    found[at_byte] ^= 1 << bit % 8
    return bytes(found)


@BITS
@given(data=st.data(), bit=st.integers(0, 1 << 16))
def test_a_bit_flipped_behind_any_value_of_a_receipt_is_found_where_it_is(
    receipt: dict[str, Any], remembering: Chain, data: st.DataObject, bit: int
) -> None:
    path = data.draw(st.sampled_from(list(leaves(receipt))))
    changed = with_value(receipt, path, flipped(at(receipt, path), bit))
    assert_named(RECEIPT, path, refused(lambda: verify(changed, remembering)))


@pytest.fixture(scope="module")
def owners(receipt: dict[str, Any]) -> list[tuple[Path, range]]:
    """Where each value of the receipt stands in its bytes."""
    return list(spans(receipt))


def owner_of(owners: list[tuple[Path, range]], place: int) -> tuple[Path, range] | None:
    """The value that a byte belongs to; None for one of a key, or between values."""
    return next((each for each in owners if place in each[1]), None)


def akin(field: str, path: Path, root: str = "") -> bool:
    """Whether a field that was named is the value at a path, a part of it, or what it is a part of."""
    named = dotted((root, *path) if root else path)
    return f"{named}.".startswith((f"{field}.", f"{field}[")) or field.startswith(named)


COLUMN = re.compile(r"\(line 1, column (\d+)\)")


def assert_broken_from(refusal: ReceiptInvalid, begin: int) -> None:
    """Where the message says from where on there is no JSON, it is not before the value that was changed."""
    said_to_be = COLUMN.search(refusal.message)
    assert said_to_be is None or int(said_to_be[1]) - 1 >= begin, (refusal.message, begin)


STRUCTS: Final = ("terms", "settlement")
"""Whose values are named without them where they are misspelt: as the struct that is signed has them."""


def assert_found_in_receipt(
    raw: bytes, place: int, owners: list[tuple[Path, range]], refusal: ReceiptInvalid
) -> None:
    """The refusal of a receipt's bytes of which the one at `place` is another than it was."""
    owner, (step, named) = owner_of(owners, place), said(refusal)
    if not is_canonical(raw):
        assert (step, named) == ("format", "$"), place
        assert_broken_from(refusal, owner[1].start if owner else 0)
    elif owner is None:  # a key: a name that is missing, or of no contract
        assert step == "format" or (step == "deployment" and named.startswith("contracts.")), place
    elif step == "format":
        path = owner[0]
        signed = path[0] in STRUCTS and akin(named, path[1:])
        assert signed or akin(named, path), (path, named)
    else:
        assert_named(RECEIPT, owner[0], refusal)


def flipped_at(raw: bytes, place: int, bit: int) -> bytes:
    return raw[:place] + bytes([raw[place] ^ 1 << bit]) + raw[place + 1 :]


def test_every_value_stands_where_its_bytes_are_said_to(
    receipt: dict[str, Any], bundle: list[Any], owners: list[tuple[Path, range]]
) -> None:
    for document in (receipt, *bundle):
        raw, found = canonical(document), list(spans(document))
        assert {path for path, _ in found} == set(leaves(document))
        for path, span in found:
            assert raw[span.start : span.stop] == canonical(at(document, path))
    assert sum(len(span) for _, span in owners) > len(canonical(receipt)) // 2


@settings(BITS, max_examples=200)
@given(data=st.data(), bit=st.integers(0, 7))
def test_a_bit_flipped_anywhere_in_a_receipts_bytes_is_found_where_it_is(
    receipt: dict[str, Any],
    owners: list[tuple[Path, range]],
    remembering: Chain,
    data: st.DataObject,
    bit: int,
) -> None:
    raw = canonical(receipt)
    place = data.draw(st.integers(0, len(raw) - 1))
    changed = flipped_at(raw, place, bit)
    refusal = refused(lambda: verify(changed, remembering))
    assert_found_in_receipt(changed, place, owners, refusal)


EVERY: Final = 5
"""Bytes from one to the next in a campaign, each with a bit of its own."""


def flips(length: int) -> Iterator[tuple[int, int]]:
    """(place, bit) of every `EVERY`-th byte, from another one on each time."""
    drawn = random.Random()
    return ((place, drawn.randrange(8)) for place in range(drawn.randrange(EVERY), length, EVERY))


@pytest.mark.long
def test_a_bit_flipped_in_every_fifth_byte_of_a_receipt_is_found_where_it_is(
    receipt: dict[str, Any], owners: list[tuple[Path, range]], remembering: Chain
) -> None:
    raw = canonical(receipt)
    for place, bit in flips(len(raw)):
        changed = flipped_at(raw, place, bit)
        refusal = refused(partial(verify, changed, remembering))
        assert_found_in_receipt(changed, place, owners, refusal)


# --- what a changed bundle meets


@pytest.fixture(scope="module")
def adding(receipt: dict[str, Any], bundle: list[Any], remembering: Chain) -> Callable[..., bytes]:
    """Adds up a bundle's records, without its noise: what the records' lines alone have to withstand."""
    read = load(receipt)
    header = read_header(Lines(written(bundle[:1])))
    assert read.tally is not None
    assert header.dictionary.encoding is not None
    forms = question(read, remembering, header.dictionary).forms
    count = len(header.dictionary.encoding.columns)
    wanted = Wanted(forms, count, read.tally.joint_key[:33], header.dictionary.hash())
    used = [each.commitment for each in records_of(read, remembering) if each.usable]

    def add(raw: bytes) -> bytes:
        lines = Lines(io.BytesIO(raw))
        read_header(lines)
        return sums_to_bytes(added(lines, used, wanted))

    return add


HIDDEN: Final = 1
"""The record under an earlier key, enrolled before all others. Which earlier key it is under, nobody says."""


def line_of(number: int) -> list[tuple[Path, list[tuple[str, str]]]]:
    """As `RECEIPT`, for the records' lines: number from 0."""
    here = f"line {number + 1}"
    return [
        ((number, "commitment"), [("members", f"{here}.commitment")]),
        (
            (number, "tally", "public_key"),
            [("members", here if number == HIDDEN else f"{here}.tally.public_key")],
        ),
        ((number, "tally", "columns_number"), [("members", f"{here}.tally.columns_number")]),
        ((number,), [("members", here)]),
    ]


HEADER: list[tuple[Path, list[tuple[str, str]]]] = [
    ((0, "schema"), [("bundle", "line 1.schema")]),
    ((0, "request"), [("bundle", "line 1.request")]),
    ((0, "dictionary"), [("question", "line 1.dictionary"), ("bundle", "line 1.dictionary")]),
    ((0, "reveals"), [("reveals", "line 1.reveals"), ("bundle", "line 1.reveals")]),
]


def test_every_value_of_a_bundle_is_covered_by_a_step_that_names_its_line(
    receipt: dict[str, Any],
    bundle: list[Any],
    remembering: Chain,
    adding: Callable[[bytes], bytes],
) -> None:
    read = load(receipt)
    recount(read, remembering, written(bundle))
    for path in leaves(bundle):
        old = at(bundle, path)
        if old is None:  # a record without a part in the lane; said below
            continue
        changed = with_value(bundle, path, nudged(old))
        if path[0] == 0:
            refusal = refused(partial(recount, read, remembering, written(changed)))
            assert_named(HEADER, path, refusal)
        else:
            refusal = refused(partial(adding, written(changed).getvalue()))
            assert_named(line_of(int(path[0])), path, refusal)


@settings(BITS, max_examples=200)
@given(data=st.data(), bit=st.integers(0, 1 << 16))
def test_a_bit_flipped_behind_any_value_of_a_record_is_found_in_its_line(
    bundle: list[Any], adding: Callable[[bytes], bytes], data: st.DataObject, bit: int
) -> None:
    paths = [path for path in leaves(bundle) if path[0] != 0 and at(bundle, path) is not None]
    path = data.draw(st.sampled_from(paths))
    changed = with_value(bundle, path, flipped(at(bundle, path), bit))
    refusal = refused(lambda: adding(written(changed).getvalue()))
    assert_named(line_of(int(path[0])), path, refusal)


SHAPES = ("columns", "whole")
"""What a bundle shows of its records."""


@pytest.fixture(scope="module")
def bundles(settled: Answered) -> Callable[[str], bytes]:
    """By shape. A function, as what Hypothesis is given has to be short when it is written out."""
    raw = {shape: settled.bundle(whole=shape == "whole") for shape in SHAPES}
    return lambda shape: raw[shape]


def assert_found_in_bundle(raw: bytes, place: int, bit: int, check: Callable[..., object]) -> None:
    """That a bit flipped in a bundle's byte is found in its line, and as what it belongs to there."""
    begin = raw.rfind(b"\n", 0, place) + 1
    number, end = raw.count(b"\n", 0, place), raw.index(b"\n", place)
    changed = flipped_at(raw, place, bit)
    refusal = refused(partial(check, changed))
    here, (step, named) = f"line {number + 1}", said(refusal)
    assert refusal.facts["line"] == number + 1, (place, bit)
    assert akin(named, (), here), (place, bit, named)
    line = raw[begin:end]
    owner = owner_of(list(spans(json.loads(line))), place - begin)
    readers = "members" if number else "bundle"
    if place == end or not is_json(changed[begin:end]):
        assert (step, named) == (readers, here), (place, bit)
        assert_broken_from(refusal, owner[1].start if owner else 0)
        return
    if owner is not None:
        assert akin(named, owner[0], here), (place, bit, owner[0], named)
    if owner is None or not is_canonical(changed[begin:end]):
        assert step == readers, (place, bit)
    elif (step, named) != (readers, here):  # of another spelling, the line alone is named
        assert_named(line_of(number) if number else HEADER, (number, *owner[0]), refusal)


@pytest.mark.parametrize("shape", SHAPES)
@settings(BITS, max_examples=60)
@given(place=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_a_bit_flipped_anywhere_in_a_bundles_bytes_is_found_in_its_line(
    receipt: dict[str, Any],
    bundles: Callable[[str], bytes],
    remembering: Chain,
    shape: str,
    place: int,
    bit: int,
) -> None:
    raw, read = bundles(shape), load(receipt)

    def counting(changed: bytes) -> object:
        return recount(read, remembering, io.BytesIO(changed))

    assert_found_in_bundle(raw, place % len(raw), bit, counting)


@pytest.mark.parametrize("shape", SHAPES)
@settings(BITS, max_examples=200)
@given(number=st.integers(1, len(PEOPLE) + 2), place=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_a_bit_flipped_anywhere_in_any_records_bytes_is_found_in_its_line(
    bundles: Callable[[str], bytes],
    adding: Callable[[bytes], bytes],
    shape: str,
    number: int,
    place: int,
    bit: int,
) -> None:
    """Each record as often as any other, however short its line is."""
    raw = bundles(shape)
    lines = raw.splitlines(keepends=True)
    begin = sum(map(len, lines[:number]))
    assert_found_in_bundle(raw, begin + place % len(lines[number]), bit, adding)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_bit_flipped_in_every_fifth_byte_of_a_bundle_is_found_in_its_line(
    receipt: dict[str, Any],
    bundles: Callable[[str], bytes],
    adding: Callable[[bytes], bytes],
    remembering: Chain,
    shape: str,
) -> None:
    """The header with all that it is held against, the records without the noise beside them."""
    raw, read = bundles(shape), load(receipt)

    def counting(changed: bytes) -> object:
        return recount(read, remembering, io.BytesIO(changed))

    header = raw.index(b"\n")
    for place, bit in flips(len(raw)):
        assert_found_in_bundle(raw, place, bit, counting if place <= header else adding)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_record_passes_with_another_ones_part_or_with_none(
    bundles: Callable[[str], bytes], adding: Callable[[bytes], bytes], shape: str
) -> None:
    """Nor does one that has none pass with a part: neither with columns, whole, nor with a header alone."""
    both = {each: [json.loads(line) for line in bundles(each).splitlines()] for each in SHAPES}
    parts = [line["tally"] for lines in both.values() for line in lines[1:]]
    assert {len(part or {}) for part in parts} == {0, 3, 5}
    for number in range(1, len(both[shape])):
        own = [lines[number]["tally"] for lines in both.values()]
        for part in parts:
            if part not in own:
                changed = with_value(both[shape], (number, "tally"), part)
                refusal = refused(partial(adding, written(changed).getvalue()))
                assert said(refusal) == ("members", f"line {number + 1}")


def tampered(what: str, lines: list[Any], other: list[Any]) -> list[Any]:
    """A bundle in which somebody arranged something; `other` is of another answer about the same records."""
    head, members = lines[0], lines[1:]
    tallied = [i for i, each in enumerate(members) if "columns" in (each["tally"] or {})]
    first, second = members[tallied[0]], members[tallied[1]]
    columns = base64.b64decode(first["tally"]["columns"])
    turned = to_base64(columns[PAIR_BYTES:] + columns[:PAIR_BYTES])

    def with_tally(**changes: Any) -> list[Any]:
        found = [dict(each) for each in members]
        found[tallied[0]]["tally"] = first["tally"] | changes
        return [head, *found]

    reveals = head["reveals"]
    swapped = [each | {"reveal": reveals[-1 - i]["reveal"]} for i, each in enumerate(reveals)]
    null = [dict(each) for each in members]
    null[tallied[0]]["tally"] = None
    hidden = [dict(each) for each in members]
    hidden[tallied[0]]["tally"] = {
        "public_key": first["tally"]["public_key"],
        "column_root": "0x" + "11" * 32,
        "proof_hash": first["tally"]["proof_hash"],
    }
    return {
        "a patient left out": [head, *members[:4], *members[5:]],
        "the last patient left out": lines[:-1],
        "a patient counted twice": [head, *members[:5], members[4], *members[5:]],
        "the last patient counted twice": [*lines, lines[-1]],
        "two patients in another order": [head, members[1], members[0], *members[2:]],
        "another record's columns": with_tally(columns=second["tally"]["columns"]),
        "another record's columns and path": with_tally(
            columns=second["tally"]["columns"],
            path=second["tally"]["path"],
            proof_hash=second["tally"]["proof_hash"],
        ),
        "columns of another position": with_tally(columns=turned),
        "a column less": with_tally(columns=to_base64(columns[PAIR_BYTES:])),
        "a hash more": with_tally(path=[*first["tally"]["path"], "0x" + "11" * 32]),
        "a record passed as null": [head, *null],
        "a record whose columns are hidden": [head, *hidden],
        "noise swapped": [head | {"reveals": swapped}, *members],
        "noise of another answer": [head | {"reveals": other[0]["reveals"]}, *members],
        "noise left out": [head | {"reveals": reveals[:-1]}, *members],
        "another answer's bundle": other,
        "no records": [head],
        "nothing": [],
    }[what]


TAMPERED = {
    "a patient left out": ("members", "line 6.commitment"),
    "the last patient left out": ("members", "line 15"),
    "a patient counted twice": ("members", "line 7.commitment"),
    "the last patient counted twice": ("members", "line 16"),
    "two patients in another order": ("members", "line 2.commitment"),
    "another record's columns": ("members", "line 3"),
    "another record's columns and path": ("members", "line 3"),
    "columns of another position": ("members", "line 3"),
    "a column less": ("members", "line 3.tally"),
    "a hash more": ("members", "line 3.tally"),
    "a record passed as null": ("members", "line 3"),
    "a record whose columns are hidden": ("members", "line 3.tally"),
    "noise swapped": ("reveals", "line 1.reveals[0]"),
    "noise of another answer": ("reveals", "line 1.reveals[0]"),
    "noise left out": ("reveals", "line 1.reveals"),
    "another answer's bundle": ("bundle", "line 1.request"),
    "no records": ("members", "line 2"),
    "nothing": ("bundle", "line 1"),
}


@pytest.mark.parametrize("what", sorted(TAMPERED))
def test_a_bundle_that_shows_anything_else_is_refused_by_name(
    market_of_four: Settled,
    receipt: dict[str, Any],
    bundle: list[Any],
    remembering: Chain,
    what: str,
) -> None:
    other = [json.loads(line) for line in market_of_four.erased.bundle().splitlines()]
    raw = written(tampered(what, bundle, other))
    assert said(refused(lambda: verify(receipt, remembering, bundle=raw))) == TAMPERED[what]


def test_another_dictionary_in_the_bundle_is_refused(
    receipt: dict[str, Any], bundle: list[Any], remembering: Chain
) -> None:
    """One under which the same parameters ask for sums of other columns."""
    edges = ("dictionary", "encoding", "variables", 0, "edges")
    wider = [with_value(bundle[0], edges, ["120", "161"]), *bundle[1:]]
    refusal = refused(lambda: verify(receipt, remembering, bundle=written(wider)))
    assert said(refusal) == ("question", "line 1.dictionary")


# --- what was decrypted


def test_a_partial_decryption_counts_at_its_own_place_only(
    settled: Answered, receipt: dict[str, Any], remembering: Chain
) -> None:
    partials = receipt["tally"]["partials"]
    assert [each["place"] for each in partials] == [0, 1]
    moved = [partials[0], partials[1] | {"place": 2}]
    swapped = [partials[0] | {"partial": partials[1]["partial"]}, partials[1]]
    cases = {
        "tally.partials[1].partial": moved,
        "tally.partials[0].partial": swapped,
        "tally.partials": partials[:1],
    }
    for field, case in cases.items():
        changed = with_value(receipt, ("tally", "partials"), case)
        refusal = refused(partial(verify, changed, remembering))
        assert said(refusal) == ("partials", field)


def test_the_partials_are_those_that_were_combined(
    settled: Answered, receipt: dict[str, Any], remembering: Chain
) -> None:
    """Another quorum's are as good, but they seal to other bytes than were delivered."""
    genuine = [receipt["tally"]["partials"][0], settled.spare]
    changed = with_value(receipt, ("tally", "partials"), genuine)
    assert said(refused(lambda: verify(changed, remembering))) == ("result", "sealed_result")


def test_a_quorum_that_decrypts_other_sums_is_found_with_the_bundle_only(
    market_of_four: Settled,
) -> None:
    """Whoever holds the shares can decrypt anything, and sign it: that is what a bundle is for."""
    found = market_of_four.altered
    document = found.receipt()
    assert verify(document, found.chain).not_done == (*RECOUNTED, PROOFS)
    refusal = refused(lambda: verify(document, found.chain, bundle=io.BytesIO(found.bundle())))
    assert said(refusal) == ("sums", "tally.noised")


def test_the_commitment_of_a_custodian_whose_noise_was_left_out_is_the_chains_too(
    market_of_four: Settled,
) -> None:
    found = market_of_four.altered
    document = found.receipt()
    assert document["tally"]["places"] == [0, 1]
    assert len(document["tally"]["commitments"]) == 3
    where: Path = ("tally", "commitments", 2, 1)
    changed = with_value(document, where, nudged(at(document, where)))
    assert said(refused(lambda: verify(changed, found.chain))) == ("noise", "tally.commitments")
    reinstated = with_value(document, ("tally", "places"), [0, 1, 2])
    refusal = refused(lambda: verify(reinstated, found.chain))
    assert said(refusal) == ("settlement", "settlement.noise")


def test_a_quorum_that_decrypts_another_number_of_sums_is_found_with_the_dictionary(
    market_of_four: Settled,
) -> None:
    found = market_of_four.shortened
    document, dictionary = found.receipt(), found.market.world.dictionary
    assert verify(document, found.chain).steps == TALLY_STEPS
    refusal = refused(lambda: verify(document, found.chain, dictionary=dictionary))
    assert said(refusal) == ("question", "tally.noised")


# --- what can not be built


def test_without_what_the_operator_kept_there_is_no_receipt(
    market_of_four: Settled, settled: Answered
) -> None:
    cases = {
        "missing": None,
        "another answer's": market_of_four.erased.evidence,
        "other records": settled.evidence | {"ciphertext_root": "0x" + "11" * 32},
        "a partial less": settled.evidence | {"partials": settled.evidence["partials"][:1]},
    }
    for evidence in cases.values():
        with pytest.raises(EvidenceMissing) as lacking:
            build_receipt(
                settled.chain, settled.request, ANALYSIS, settled.parameters, evidence=evidence
            )
        assert lacking.value.field == "evidence"


def test_a_record_that_was_erased_since_cannot_be_bundled(settled: Answered) -> None:
    gone = settled.record(NAMES[0]).commitment, settled.record(NAMES[5]).commitment

    def kept(commitments: Any) -> dict[bytes, Kept]:
        found = dict(settled.kept(commitments))
        del found[gone[0]]
        found[gone[1]] = (found[gone[1]][0], None)
        return found

    with pytest.raises(EvidenceMissing) as lacking:
        write_bundle(
            settled.chain,
            settled.request,
            settled.parameters,
            settled.evidence,
            settled.market.world.dictionary,
            kept,
            io.BytesIO(),
        )
    assert lacking.value.facts["missing"] == 2
    assert "2 of the records" in lacking.value.message


def test_noise_that_was_not_kept_cannot_be_bundled(settled: Answered) -> None:
    less = replace(settled, evidence=settled.evidence | {"reveals": []})
    with pytest.raises(EvidenceMissing) as lacking:
        less.bundle()
    assert lacking.value.facts["places"] == [0, 1, 2]


# --- records shown whole


def whole_lines(settled: Answered) -> list[Any]:
    return [json.loads(line) for line in settled.bundle(whole=True).splitlines()]


def test_records_that_are_shown_whole_have_their_proofs_verified(
    settled: Answered, receipt: dict[str, Any], bundle: list[Any]
) -> None:
    raw = settled.bundle(whole=True)
    began = time.perf_counter()
    found = verify(receipt, settled.chain, bundle=io.BytesIO(raw))
    print(f"\n{len(raw)} bytes, {len(PEOPLE)} proofs: {time.perf_counter() - began:.2f} s")
    assert (found.steps, found.not_done) == ((*ALL_STEPS, PROOFS), ())
    lines = whole_lines(settled)
    mixed = [*lines[:3], *bundle[3:]]
    assert verify(receipt, settled.chain, bundle=written(mixed)).not_done == (PROOFS,)


def test_every_value_of_a_whole_record_is_covered(
    settled: Answered, adding: Callable[..., bytes]
) -> None:
    lines = whole_lines(settled)
    assert adding(written(lines).getvalue()) == adding(settled.bundle())
    at_record = next(i for i, line in enumerate(lines) if i and "proof" in (line["tally"] or {}))
    for path in leaves(lines[at_record]):
        changed = with_value(lines, (at_record, *path), nudged(at(lines, (at_record, *path))))
        refusal = refused(partial(adding, written(changed).getvalue()))
        assert refusal.facts["step"] == "members", path
        assert str(refusal.field).startswith(f"line {at_record + 1}"), path


@pytest.fixture
def proving(settled: Answered, receipt: dict[str, Any]) -> Callable[..., Proofs]:
    """Proofs over the receipt's records, as the chain has them or otherwise."""
    read, dictionary = load(receipt), settled.market.world.dictionary
    assert read.tally is not None
    key, records = read.tally.joint_key[:33], records_of(read, settled.chain)
    usable = [each for each in records if each.usable]

    def made(change: Callable[[Stored], Stored] = lambda each: each, **changes: Any) -> Proofs:
        bound = Bound(settled.chain, DatasetId(read.terms.dataset), dictionary)
        return Proofs(replace(bound, **changes), [change(each) for each in usable], key)

    return made


OTHERWISE: dict[str, dict[str, Any]] = {
    "patient": {"change": lambda each: replace(each, bound_to="0x" + "77" * 20)},
    "version": {"change": lambda each: replace(each, version=each.version + 1)},
    "dataset": {"dataset": bytes(32)},
}


@pytest.mark.parametrize("what", sorted(OTHERWISE))
def test_a_proof_of_another_patient_version_or_dataset_does_not_hold(
    settled: Answered, proving: Callable[..., Proofs], what: str
) -> None:
    members = [read_member(line + b"\n", 2) for line in settled.bundle(True).splitlines()[1:]]
    true, false = proving(), proving(**OTHERWISE[what])
    for proofs in (true, false):
        for number, each in enumerate(members, 2):
            proofs.take(number, each.tally)
    true.finish()
    refusal = refused(false.finish)
    first = next(i for i, each in enumerate(members, 2) if isinstance(each.tally, SealedTally))
    assert said(refusal) == (PROOFS, f"line {first}.tally.proof")


def test_a_record_that_a_quorum_let_in_without_a_proof_that_holds_is_found(
    settled: Answered, proving: Callable[..., Proofs]
) -> None:
    """Its commitment is what it is, and so the step of the records has nothing against it."""
    members = [read_member(line + b"\n", 2) for line in settled.bundle(True).splitlines()[1:]]
    bad = next(i for i, each in enumerate(members) if isinstance(each.tally, SealedTally))
    tally = members[bad].tally
    assert isinstance(tally, SealedTally)
    columns = tally.columns[:-COLUMN_BYTES] + tally.columns[:COLUMN_BYTES]
    for changed in (replace(tally, columns=columns), replace(tally, proof=tally.proof[:-32])):
        proofs = proving()
        for number, each in enumerate(members, 2):
            proofs.take(number, changed if number == bad + 2 else each.tally)
        assert said(refused(proofs.finish)) == (PROOFS, f"line {bad + 2}.tally.proof")


# --- the command


def typed(settled: Answered, folder: Folder, *more: str) -> Result:
    settled.chain.manifest.save(folder / "manifest.json")
    given = ["verify-receipt", str(folder / "receipt.json"), "--node", settled.chain.node.url]
    return CliRunner().invoke(main, [*given, "--manifest", str(folder / "manifest.json"), *more])


def test_the_command_says_what_it_did_not_verify_and_how_it_is_done(
    settled: Answered, receipt: dict[str, Any], tmp_path: Folder
) -> None:
    (tmp_path / "receipt.json").write_bytes(canonical(receipt))
    shown = json.loads(typed(settled, tmp_path).stdout)
    assert shown["verified"] is True
    assert shown["steps"] == list(TALLY_STEPS)
    assert shown["steps_not_done"] == [*RECOUNTED, PROOFS]
    lane = LANES[Lane.HOMOMORPHIC]
    assert (shown["lane"], shown["in_words"]) == ("homomorphic", [lane, NOT_RECOMPUTED])
    raw = settled.bundle()
    (tmp_path / "bundle.jsonl").write_bytes(raw)
    added = json.loads(typed(settled, tmp_path, "--bundle", str(tmp_path / "bundle.jsonl")).stdout)
    assert added["steps"] == list(ALL_STEPS)
    assert (added["steps_not_done"], added["in_words"]) == ([PROOFS], [lane, NOT_PROVEN])
    (tmp_path / "whole.jsonl").write_bytes(settled.bundle(whole=True))
    whole = json.loads(typed(settled, tmp_path, "--bundle", str(tmp_path / "whole.jsonl")).stdout)
    assert whole["steps"] == [*ALL_STEPS, PROOFS]
    assert "steps_not_done" not in whole
    assert whole["in_words"] == [lane, ALL_RECOMPUTED]
    (tmp_path / "bundle.jsonl").write_bytes(raw[:-2] + b"\n")
    wrong = typed(settled, tmp_path, "--bundle", str(tmp_path / "bundle.jsonl"))
    assert wrong.exit_code == 1
    assert "(field line 15)" in wrong.output


def test_what_a_receipt_has_no_use_for_is_refused(
    receipt: dict[str, Any], remembering: Chain
) -> None:
    opened = Opened(bytes(32), b"{}", {})
    with pytest.raises(BadParameter) as refusal:
        verify(receipt, remembering, opened)
    assert refusal.value.field == "opened"


def test_no_refusal_repeats_what_was_delivered(receipt: dict[str, Any], remembering: Chain) -> None:
    broken = with_value(receipt, ("tally", "noised"), receipt["tally"]["noised"][:-4])
    with pytest.raises(Refusal) as raised:
        verify(broken, remembering)
    assert receipt["tally"]["noised"][:24] not in str(raised.value) + json.dumps(raised.value.facts)
