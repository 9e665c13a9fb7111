"""The formats of the homomorphic lane's receipts and bundles, and what they prove without a node."""

from __future__ import annotations

import gc
import io
import json
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any, cast

import pytest
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.chain.adapter import Chain
from marketplace.client.results import open_answer
from marketplace.errors import BadParameter, EnvelopeUnreadable
from marketplace.receipts import checks, recount, tally_checks
from marketplace.receipts.bundle import Lines, Member, Shown, read_header, read_member
from marketplace.receipts.format import Receipt, ReceiptInvalid, load
from marketplace.receipts.parts import CommitteePart
from marketplace.receipts.recount import Wanted, added, verified_noise
from marketplace.receipts.verify import verify
from marketplace.wire import hpke
from marketplace.wire.canonical import canonical
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.http import to_hex
from marketplace.wire.record import record_commitment
from marketplace.wire.structs import market_domain, sign
from marketplace.wire.tally import SealedTally, TallyHeader, column_root, prove_columns
from marketplace.wire.tallying import Question, Reveal, noised, recipient
from ml.homomorphic.curve import G, Point, times_base
from ml.homomorphic.elgamal import COLUMN_BYTES
from ml.homomorphic.noise import Contribution
from ml.homomorphic.threshold import Sum, decrypt_partially, sums_from_bytes, sums_to_bytes
from tests.support.mutations import Path, at, leaves, nudged, with_value
from tests.unit.test_receipts import CUSTODIANS, sample
from tests.vectors.generate_tally_receipt import (
    DICTIONARY,
    FILE,
    KEY,
    OTHER_KEY,
    forms,
    share,
    shown,
    tallied,
    untallied,
)

VECTOR = json.loads(FILE.read_text())
DOCUMENT = VECTOR["receipt"]
LINES = [canonical(line) + b"\n" for line in VECTOR["bundle"]]
assert DICTIONARY.encoding is not None
COLUMNS = len(DICTIONARY.encoding.columns)
WANTED = Wanted(forms(), COLUMNS, KEY.to_bytes(), DICTIONARY.hash())
ONLY_A_CHAIN_KNOWS = (
    *("genesis_hash", "deployed_block", "contracts", "blocks", "block_hashes", "transactions"),
)


def check_alone(document: dict[str, Any] | bytes) -> Receipt:
    receipt = load(document)
    for check in (*checks.ALONE, *tally_checks.ALONE):
        check(receipt)
    return receipt


def refused(act: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ReceiptInvalid) as raised:
        act()
    return str(raised.value.facts["step"]), str(raised.value.field)


def add(members: Iterable[Member], wanted: Wanted = WANTED) -> list[Sum]:
    """What these records' lines add up to, each at its own commitment."""
    given = list(members)
    lines = Lines(io.BytesIO(b"".join(each.to_bytes() for each in given)))
    return added(lines, [each.commitment for each in given], wanted)


# --- the formats


def test_the_vector_is_the_format_for_ever() -> None:
    receipt = check_alone(canonical(DOCUMENT))
    assert receipt.to_json() == DOCUMENT
    assert to_hex(keccak(receipt.to_bytes())) == VECTOR["receipt_keccak"]
    assert to_hex(keccak(b"".join(LINES))) == VECTOR["bundle_keccak"]
    assert read_header(Lines(io.BytesIO(LINES[0]))).to_bytes() == LINES[0]
    for number, line in enumerate(LINES[1:], 2):
        assert read_member(line, number).to_bytes() == line


def test_the_vectors_records_and_noise_add_up_to_what_was_decrypted() -> None:
    tally, lines = load(DOCUMENT).tally, Lines(io.BytesIO(b"".join(LINES)))
    assert tally is not None
    header, key, commitments = read_header(lines), tally.joint_key[:33], dict(tally.commitments)
    noise = verified_noise(header, question(), commitments, tally.places, key)
    records = [bytes.fromhex(each["commitment"][2:]) for each in VECTOR["bundle"][1:]]
    sums = added(lines, records, WANTED)
    assert sums_to_bytes(noised(sums, noise)) == tally.noised
    assert any(Sum.zero() != each for each in sums)


def question() -> Question:
    """What the vector's request asks."""
    receipt = load(DOCUMENT)
    shares = tallied()[0].shares(receipt.cost, receipt.committee.quorum)
    to, holders = recipient(receipt.terms.delivery_key), len(receipt.committee.signers)
    return Question(tally_checks.session_of(receipt), shares, to, holders)


def assert_noise_refused(
    place: int, reveal: Reveal, why: str, committed_to: Reveal | None = None
) -> None:
    """Whatever it is, it is what that place committed to, unless that is given."""
    header, asked = read_header(Lines(io.BytesIO(LINES[0]))), question()
    given = dict(header.reveals) | {place: reveal}
    commitments = {
        each: one.commitment(asked.session.contributor(each), asked.shares.quorum)
        for each, one in (given | {place: committed_to or reveal}).items()
    }
    changed = replace(header, reveals=tuple(given.items()))
    with pytest.raises(ReceiptInvalid) as refusal:
        verified_noise(changed, asked, commitments, tuple(given), KEY.to_bytes())
    assert refusal.value.facts["step"] == "reveals"
    assert refusal.value.field == f"line 1.reveals[{place}]"
    assert why in refusal.value.message


def committed(reveal: Reveal, contribution: Contribution) -> Reveal:
    """As if its maker had committed to this contribution."""
    digests = (*reveal.digests[:-1], contribution.digest)
    return replace(reveal, contribution=contribution, digests=digests)


def test_noise_that_was_committed_to_still_has_to_prove_its_range_and_maker() -> None:
    reveals = dict(read_header(Lines(io.BytesIO(LINES[0]))).reveals)
    own, others = reveals[1], reveals[2].contribution
    made, columns = own.contribution, own.contribution.columns
    bent = made.proof[:-1] + bytes([made.proof[-1] ^ 1])
    swapped = columns[COLUMN_BYTES:] + columns[:COLUMN_BYTES]
    of_range = "does not prove its range"
    assert_noise_refused(1, committed(own, replace(made, proof=bent)), of_range)
    assert_noise_refused(1, committed(own, replace(made, columns=swapped)), of_range)
    assert_noise_refused(1, committed(own, others), of_range)
    assert_noise_refused(1, replace(own, contribution=others), "not among the digests", own)
    assert_noise_refused(1, committed(own, replace(made, columns=columns[66:])), "of sums")
    smaller = replace(own, size=2, digests=(made.digest, own.digests[1]))
    assert_noise_refused(1, smaller, "of another size")


def covered(path: Path) -> bool:
    """Whether something inside the receipt covers this value."""
    twice = (("blocks", "sealed"), ("block_hashes", "sealed"))
    market = ("contracts", "ResearchMarket", "address")
    seat_that_did_not_sign = ("committee", "signers", 1)
    if path in (*twice, market):
        return True
    if path[:2] in (("tally", "committed"), ("tally", "fixed")):
        return False
    return path[0] not in ONLY_A_CHAIN_KNOWS and path != seat_that_did_not_sign


@pytest.mark.parametrize("path", [path for path in leaves(DOCUMENT) if covered(path)])
def test_a_value_that_the_receipt_itself_covers_cannot_be_changed(path: Path) -> None:
    step, field = refused(
        lambda: check_alone(with_value(DOCUMENT, path, nudged(at(DOCUMENT, path))))
    )
    assert step
    assert field


TALLY = DOCUMENT["tally"]
SPELLINGS: list[tuple[Path, Any, str]] = [
    (("tally",), None, "tally"),
    (("tally", "places"), [1, 0, 2], "tally.places"),
    (("tally", "places"), [0, 0, 1, 2], "tally.places"),
    (("tally", "places"), [0, 1, 16], "tally.places[2]"),
    (("tally", "places"), [0, True, 2], "tally.places[1]"),
    (("tally", "commitments"), TALLY["commitments"][::-1], "tally.commitments"),
    (("tally", "commitments", 1), TALLY["commitments"][1][:1], "tally.commitments[1]"),
    (("tally", "commitments", 1, 1), TALLY["commitments"][1][1][:-2], "tally.commitments[1]"),
    (
        ("tally", "commitments", 1, 1),
        "0x" + TALLY["commitments"][1][1][2:].upper(),
        "tally.commitments",
    ),
    (("tally", "fixed"), TALLY["fixed"] | {"more": 1}, "tally.fixed.more"),
    (("tally", "joint_key"), "0x" + TALLY["joint_key"][2:].upper(), "tally.joint_key"),
    (("tally", "joint_key"), "0x" + "00" * 33 * 17, "tally.joint_key"),
    (("tally", "noised"), TALLY["noised"] + "\n", "tally.noised"),
    (("tally", "partials"), TALLY["partials"][::-1], "tally.partials"),
    (("tally", "partials", 0, "place"), "0", "tally.partials[0].place"),
    (("schema",), "usufruct-receipt/1", "schema"),
    (("schema",), "usufruct-receipt/3", "schema"),
]


@pytest.mark.parametrize(("path", "value", "field"), SPELLINGS)
def test_every_value_has_one_spelling(path: Path, value: Any, field: str) -> None:
    assert refused(lambda: load(with_value(DOCUMENT, path, value))) == ("format", field)


PROVED: list[tuple[str, dict[str, Any], str, str]] = [
    ("no sum", {"noised": b"\x05" * 66}, "aggregate", "tally.noised[0]"),
    ("half a sum", {"noised": bytes(33)}, "aggregate", "tally.noised[0]"),
    ("no sums", {"noised": b""}, "aggregate", "tally.noised"),
    ("a key of another degree", {"joint_key": KEY.to_bytes()}, "partials", "tally.joint_key"),
    ("a key of no points", {"joint_key": b"\x05" * 66}, "partials", "tally.joint_key"),
    ("too few", {"partials": ()}, "partials", "tally.partials"),
]


@pytest.mark.parametrize(("what", "changes", "step", "field"), PROVED)
def test_what_was_decrypted_is_held_against_key_and_sums(
    what: str, changes: dict[str, Any], step: str, field: str
) -> None:
    receipt = load(DOCUMENT)
    assert receipt.tally is not None
    changed = replace(receipt, tally=replace(receipt.tally, **changes))
    assert refused(lambda: [check(changed) for check in tally_checks.ALONE]) == (step, field)


def test_other_sums_than_were_settled_are_named_before_their_decryption() -> None:
    receipt = load(DOCUMENT)
    assert receipt.tally is not None
    raw = receipt.tally.noised
    swapped = replace(receipt.tally, noised=raw[COLUMN_BYTES:] + raw[:COLUMN_BYTES])
    changed = replace(receipt, tally=swapped).to_json()
    assert refused(lambda: check_alone(changed)) == ("aggregate", "tally.noised")


def test_another_quorum_than_was_combined_is_refused() -> None:
    receipt = load(DOCUMENT)
    tally, session = receipt.tally, tally_checks.session_of(receipt)
    assert tally is not None
    sums, settled = sums_from_bytes(tally.noised), receipt.settlement
    aggregate = session.aggregate(settled.ciphertext_root, settled.noise, sums)
    context = session.partial(1, aggregate)
    made = decrypt_partially(share(1), sums, recipient(receipt.terms.delivery_key), context)
    quorum = (tally.partials[0], (1, made.to_bytes()))
    other = replace(receipt, tally=replace(tally, partials=quorum))
    tally_checks.partials(other)
    assert refused(lambda: tally_checks.result(other)) == ("result", "sealed_result")


def test_a_receipts_schema_is_that_of_its_lane() -> None:
    """Whatever a quorum signed."""
    vault, tally = sample(), load(DOCUMENT)
    as_vault = replace(tally, tally=None)
    as_tally = replace(vault, tally=tally.tally)
    gated = resigned(replace(tally, gate=vault.gate), gate=vault.gate)
    keyed = replace(tally, gate_key=vault.gate_key)
    cases = [(as_vault, "settlement.lane"), (as_tally, "settlement.lane")]
    for receipt, field in [*cases, (gated, "gate"), (keyed, "gate_key")]:
        assert refused(partial(checks.settlement, receipt)) == ("settlement", field)


LIES: list[tuple[str, dict[str, Any], str]] = [
    ("more custodians than there are", {"places": (0, 1, 2, 3), "more": True}, "tally.commitments"),
    ("a custodian that committed to nothing", {"places": (0, 1, 2), "fewer": True}, "tally.places"),
    ("fewer than the quorum", {"places": (1,)}, "tally.places"),
    ("nobody", {"places": ()}, "tally.places"),
]


@pytest.mark.parametrize(("what", "lie", "field"), LIES)
def test_whose_noise_counts_cannot_be_made_up(what: str, lie: dict[str, Any], field: str) -> None:
    """Signed by all who have to, with noise that is the hash of it: the interval would be another."""
    lying = lying_receipt(**lie)
    assert refused(partial(checks.settlement, lying)) == ("settlement", field)


def lying_receipt(places: tuple[int, ...], more: bool = False, fewer: bool = False) -> Receipt:
    receipt = load(DOCUMENT)
    assert receipt.tally is not None
    commitments = dict(receipt.tally.commitments) | ({3: keccak(text="more")} if more else {})
    if fewer:
        del commitments[2]
    tally = replace(receipt.tally, places=places, commitments=tuple(commitments.items()))
    lying = replace(receipt, tally=tally)
    return resigned(lying, noise=checks.noise_of(lying))


def test_a_receipt_that_lies_about_its_noise_is_not_opened_for_the_command_line_either() -> None:
    """Before its key is looked at, and before anybody is asked for a dictionary."""
    key, receipt = hpke.SecretKey(bytes(range(32))), load(DOCUMENT)
    assert receipt.tally is not None
    nobody = ((receipt.signatures[0][0], b"\x11" * 65), *receipt.signatures[1:])
    none, alone = CommitteePart(receipt.committee.signers, 0), receipt.signatures[:1]
    tally = replace(receipt.tally, places=(0, 2))
    lies = {
        "settlement.noise": replace(receipt, tally=tally),
        "tally.places": lying_receipt(places=(1,)),
        "committee.quorum": replace(receipt, committee=none, signatures=()),
        "signatures": replace(receipt, signatures=alone),
        "signatures[0].signature": replace(receipt, signatures=nobody),
        "cost": replace(receipt, cost=receipt.cost + 1),
    }

    def unasked(_: bytes) -> Dictionary:
        raise AssertionError("somebody was asked")

    for field, lying in lies.items():
        attempt = partial(open_answer, lying.to_json(), key, lying.request, unasked)
        assert refused(attempt)[1] == field
    with pytest.raises(EnvelopeUnreadable, match="not made for this delivery key"):
        open_answer(DOCUMENT, key, receipt.request, lambda _: DICTIONARY)


def resigned(receipt: Receipt, **changes: Any) -> Receipt:
    settlement = replace(receipt.settlement, **changes)
    domain = market_domain(31_337, receipt.deployment.market)
    signed = tuple((i, sign(settlement, domain, CUSTODIANS[i])) for i in (0, 2))
    return replace(receipt, settlement=settlement, signatures=signed)


def test_a_receipt_of_the_vault_lane_has_no_bundle() -> None:
    nowhere = cast(Chain, None)  # nothing is asked
    with pytest.raises(BadParameter) as refusal:
        verify(sample().to_json(), nowhere, bundle=io.BytesIO())
    assert refusal.value.field == "bundle"
    with pytest.raises(BadParameter) as refusal:
        verify(sample().to_json(), nowhere, dictionary=DICTIONARY)
    assert refusal.value.field == "dictionary"


# --- records that count as null


def test_a_record_without_a_part_in_the_lane_or_under_another_key_adds_nothing() -> None:
    some = [shown("a", (100, 0)), shown("b", (200, 1))]
    nulls = [untallied("c"), shown("d", (120, 0), OTHER_KEY)]
    assert add([nulls[0], some[0], nulls[1], some[1]]) == add(some)
    assert add(nulls) == [Sum.zero() for _ in WANTED.forms]
    assert add([]) == add(nulls)


def test_a_record_under_the_joint_key_cannot_be_passed_as_null() -> None:
    true = shown("a", (100, 0))
    assert isinstance(true.tally, Shown)
    header = true.tally.header(WANTED.used)
    other = TallyHeader(OTHER_KEY.to_bytes(), header.column_root, header.proof_hash)
    assert refused(lambda: add([replace(true, tally=None)])) == ("members", "line 1")
    assert refused(lambda: add([replace(true, tally=other)])) == ("members", "line 1")
    hidden = replace(true, tally=header)
    assert refused(lambda: add([hidden])) == ("members", "line 1.tally")


def test_columns_that_are_no_points_are_named_by_their_line() -> None:
    lines = [shown(f"p{i}", (100 + i, 0)) for i in range(4)]
    for at_byte in (0, 33):  # A, then B
        raw = bytearray(columns_of(lines[2]))
        raw[at_byte : at_byte + 33] = b"\x02" + b"\xff" * 32
        bad = with_columns(lines[2], bytes(raw))
        given = [*lines[:2], bad, lines[3]]
        assert refused(partial(add, given)) == ("members", "line 3.tally.columns")


def columns_of(member: Member) -> bytes:
    assert isinstance(member.tally, Shown)
    return member.tally.columns


def with_columns(member: Member, columns: bytes) -> Member:
    """The record as if it had been attested with these columns."""
    assert isinstance(member.tally, Shown)
    tally = replace(member.tally, columns=columns)
    leaf = tally.header(WANTED.used).leaf(DICTIONARY.hash())
    commitment = record_commitment(member.version, [member.leaf, leaf])
    return replace(member, tally=tally, commitment=commitment)


def test_a_question_without_columns_needs_none_of_a_record() -> None:
    nothing = replace(WANTED, forms=[{}, {}])
    columns = times_base(5).to_bytes() * 2 * COLUMNS
    part = Shown(KEY.to_bytes(), COLUMNS, bytes(32), b"", (column_root(columns),))
    leaf = part.header([]).leaf(DICTIONARY.hash())
    member = Member(record_commitment(1, [bytes(32), leaf]), 1, bytes(32), part)
    assert add([member], nothing) == [Sum.zero(), Sum.zero()]


# --- lines


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=300))
def test_any_bytes_are_refused_as_a_line(raw: bytes) -> None:
    assert refused(lambda: read_member(raw + b"\n", 7))[1].startswith("line 7")
    assert refused(lambda: read_header(Lines(io.BytesIO(raw))))[1].startswith("line 1")


def test_a_line_of_any_length_is_not_read_whole() -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            buffer[:] = b"x" * len(buffer)
            return len(buffer)

    lines = Lines(io.BufferedReader(Endless()))
    assert refused(lambda: lines.next("members", 1 << 16)) == ("members", "line 1")


LINE: list[tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = [
    (lambda line: line | {"more": 1}, "line 2.more"),
    (lambda line: line | {"leaves": []}, "line 2.leaves"),
    (lambda line: line | {"leaves": line["leaves"] * 2}, "line 2.leaves"),
    (lambda line: line | {"version": -1}, "line 2.version"),
    (lambda line: line | {"commitment": line["commitment"].upper()}, "line 2.commitment"),
    (lambda line: line | {"commitment": "0x" + line["commitment"][2:].upper()}, "line 2"),
    (lambda line: line | {"tally": []}, "line 2.tally"),
    (lambda line: line | {"tally": line["tally"] | {"more": 1}}, "line 2.tally.more"),
    (
        lambda line: line | {"tally": line["tally"] | {"path": ["0x" + "11" * 32] * 513}},
        "line 2.tally.path",
    ),
    (lambda line: line | {"tally": line["tally"] | {"columns": "AA"}}, "line 2.tally.columns"),
]


@pytest.mark.parametrize(("change", "field"), LINE)
def test_a_line_is_read_strictly(
    change: Callable[[dict[str, Any]], dict[str, Any]], field: str
) -> None:
    line = canonical(change(VECTOR["bundle"][1])) + b"\n"
    assert refused(lambda: read_member(line, 2)) == ("members", field)


# --- a thousand records


@cache
def points() -> list[bytes]:
    """One after the other, so that they are quick to make."""
    found, point = [], G
    for _ in range(2 * COLUMNS + 64):
        point = Point.from_bytes((point + G).to_bytes())
        found.append(point.to_bytes())
    return found


def many(count: int) -> list[Member]:
    """Records whose columns are points, whatever they encrypt."""
    known, used, found = points(), WANTED.used, []
    for i in range(count):
        start = i % 64
        columns = b"".join(known[start : start + 2 * COLUMNS])
        parts = b"".join(columns[COLUMN_BYTES * at : COLUMN_BYTES * (at + 1)] for at in used)
        path = tuple(prove_columns(columns, used))
        part = Shown(KEY.to_bytes(), COLUMNS, keccak(text=str(i)), parts, path)
        leaf = keccak(text=f"leaf {i}")
        leaves_ = [leaf, part.header(used).leaf(DICTIONARY.hash())]
        found.append(Member(record_commitment(1, leaves_), 1, leaf, part))
    return found


def test_a_thousand_records_are_added_up_as_one_by_one() -> None:
    given = many(1_000)
    raw = b"".join(each.to_bytes() for each in given)
    commitments = [each.commitment for each in given]
    began = time.perf_counter()
    found = added(Lines(io.BytesIO(raw)), commitments, WANTED)
    seconds = time.perf_counter() - began
    print(f"\n1000 records, {len(raw)} bytes, {len(WANTED.used)} columns: {seconds:.2f} s")
    columns = [sums_from_bytes(columns_of(each)) for each in given]
    for position, form in enumerate(WANTED.forms):
        expected = Sum.zero()
        for column, factor in form.items():
            at_column = WANTED.used.index(column)
            whole = Sum.zero()
            for each in columns:
                whole = whole + each[at_column]
            expected = expected + whole * factor
        assert found[position] == expected


@pytest.mark.parametrize("number", [1, COLUMNS - 1, COLUMNS + 1])
def test_a_whole_record_of_another_number_of_columns_is_not_added(number: int) -> None:
    """Whatever a quorum let in: its commitment is right, and the encoding's columns are not there."""
    columns = b"".join(points()[: 2 * number])
    tally = SealedTally(KEY.to_bytes(), columns, b"proof")
    leaf = keccak(text="leaf")
    root = record_commitment(1, [leaf, tally.header.leaf(DICTIONARY.hash())])
    refusal = refused(lambda: add([Member(root, 1, leaf, tally)]))
    assert refusal == ("members", "line 1.tally.columns")


class Swept(io.BytesIO):
    """Has cycles collected that would wait for it, so that what is held is seen apart from them."""

    def readline(self, size: int | None = -1, /) -> bytes:
        gc.collect()
        return super().readline(-1 if size is None else size)


@pytest.fixture
def frozen() -> Iterator[None]:
    """What was there before is not looked at by the collector."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen")
def test_memory_does_not_grow_with_the_number_of_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recount, "BATCH", 32)
    peaks, size = [], 0
    for count in (64, 64, 640):  # the first run warms caches up
        given = many(count)
        file = Swept(b"".join(each.to_bytes() for each in given))
        commitments, size = [each.commitment for each in given], len(file.getvalue())
        del given
        tracemalloc.start()
        added(Lines(file), commitments, WANTED)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    print(f"\npeaks: {peaks[1]} bytes for 64 records, {peaks[2]} for 640, of {size} bytes")
    assert peaks[2] - peaks[1] < size / 8
