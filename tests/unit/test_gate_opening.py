"""Rules of opening a cohort: k good turns, faults named by place, and null for what does not open."""

from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.analyses.variables import variables_of
from marketplace.chain.adapter import Stored
from marketplace.errors import BadParameter, Refusal
from marketplace.gate import keys
from marketplace.gate.journal import Journal
from marketplace.gate.models import ComputationRow
from marketplace.gate.opening import Ciphertext, Opened, Opener, table_of
from marketplace.gate.quorum import Turn
from marketplace.gate.staging import Staging, read_records
from marketplace.sealing.seal import CustodianKey, seal_row
from marketplace.vocabulary import (
    CustodianIndex,
    DatasetId,
    Epoch,
    address,
    patient_address,
)
from marketplace.wire import dictionary as wire
from marketplace.wire import hpke
from marketplace.wire.feldman import Share
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.record import RecordContext, SealedRecord, open_share
from tests.support.custody_world import DICTIONARY
from tests.support.modified_client import ABSENT, cell, row_of, seal_bytes

DICT = wire.from_json(DICTIONARY)
REGISTRY = address("0x" + "0b" * 20)
DATASET = DatasetId(b"\x11" * 30 + b"\0\0")
SECRETS = [hpke.generate() for _ in range(3)]
SEATS = [CustodianKey(CustodianIndex(i + 1), s.public) for i, s in enumerate(SECRETS)]
OPENER = Opener(31337, REGISTRY, DATASET, DICT, 2)


@dataclass
class Cohort:
    stored: list[Stored]
    records: dict[str, Ciphertext]
    turns: list[Turn]


def seal(number: int, value: int) -> SealedRecord:
    context = RecordContext(
        31337, REGISTRY, DATASET, patient_address(f"0x{number + 1:040x}"), DICT.hash(), 1
    )
    values: dict[str, Any] = {"systolic": Decimal(value), "smoker": "yes"}
    return seal_row(DICT, values, context, SEATS, Epoch(1), 2)


def cohort(sealed: list[SealedRecord]) -> Cohort:
    patients = [each.context.patient for each in sealed]
    stored = [
        Stored(str(p), each.commitment, str(p), 1) for p, each in zip(patients, sealed, strict=True)
    ]
    records = {
        str(p): Ciphertext(each.box, each.key_commitments)
        for p, each in zip(patients, sealed, strict=True)
    }
    turns = [
        Turn(place, tuple(open_share(each, place + 1, SECRETS[place]) for each in sealed), {})
        for place in range(3)
    ]
    return Cohort(stored, records, turns)


SEALED = [seal(i, 100 + i) for i in range(4)]


@pytest.fixture
def four() -> Cohort:
    return cohort(SEALED)


def with_share(turn: Turn, member: int, share: Share | None) -> Turn:
    shares = list(turn.shares)
    shares[member] = share
    return replace(turn, shares=tuple(shares))


@pytest.mark.parametrize("places", [(0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_any_quorum_opens_every_record_in_cohort_order(
    four: Cohort, places: tuple[int, ...]
) -> None:
    opened = OPENER.open_all(four.stored, four.records, [four.turns[p] for p in places])
    assert opened.rows == ((100, 1), (101, 1), (102, 1), (103, 1))
    assert opened.wrong == frozenset()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_wrong_share_is_named_and_the_others_still_open_the_record(
    four: Cohort, place: int
) -> None:
    lie = Share(place + 1, 12345)
    four.turns[place] = with_share(four.turns[place], 2, lie)
    # With the liar among the first two, the third replaces it; as the third, it is never needed.
    opened = OPENER.open_all(four.stored, four.records, four.turns)
    assert opened.rows[2] == (102, 1)
    assert opened.wrong == (frozenset({place}) if place < 2 else frozenset())


@pytest.mark.parametrize("place", [0, 2])
def test_a_wrong_share_without_a_replacement_is_still_named(four: Cohort, place: int) -> None:
    turns = [four.turns[0], four.turns[2]]
    turns[0 if place == 0 else 1] = with_share(four.turns[place], 1, Share(place + 1, 7))
    opened = OPENER.open_all(four.stored, four.records, turns)
    assert opened.rows[1] is None
    assert opened.wrong == {place}


def defects(four: Cohort) -> dict[str, Cohort]:
    first = four.stored[0].patient
    whole, other = four.records[first], four.records[four.stored[1].patient]
    flipped = bytes([whole.box[-1] ^ 1])
    return {
        "no ciphertext": replace(
            four, records={k: v for k, v in four.records.items() if k != first}
        ),
        "box changed": _with(four, replace(whole, box=whole.box[:-1] + flipped)),
        "box of another": _with(four, other),
        "box empty": _with(four, replace(whole, box=b"")),
        "no commitments": _with(four, replace(whole, key_commitments=())),
        "other commitments": _with(four, replace(whole, key_commitments=other.key_commitments)),
        "no points": _with(four, replace(whole, key_commitments=(b"\x05" * 33,) * 2)),
        "unusable": _stored(four, replace(four.stored[0], commitment=bytes(32))),
        "bound elsewhere": _stored(four, replace(four.stored[0], bound_to=four.stored[1].patient)),
        "other version": _stored(four, replace(four.stored[0], version=2)),
        "erased everywhere": replace(four, turns=[with_share(t, 0, None) for t in four.turns]),
        "held by one": replace(
            four, turns=[four.turns[0], *(with_share(t, 0, None) for t in four.turns[1:])]
        ),
    }


def _with(four: Cohort, ciphertext: Ciphertext) -> Cohort:
    return replace(four, records=four.records | {four.stored[0].patient: ciphertext})


def _stored(four: Cohort, stored: Stored) -> Cohort:
    return replace(four, stored=[stored, *four.stored[1:]])


@pytest.mark.parametrize("name", sorted(defects(cohort(SEALED))))
def test_a_record_that_does_not_open_is_null_and_harms_no_other(four: Cohort, name: str) -> None:
    broken = defects(four)[name]
    opened = OPENER.open_all(broken.stored, broken.records, broken.turns)
    assert opened.rows == (None, (101, 1), (102, 1), (103, 1))
    assert opened.wrong == frozenset()


ROWS: dict[str, bytes] = {
    "above": row_of(cell(261), cell(1)),
    "below": row_of(cell(59), cell(1)),
    "negative": row_of(cell(-(2**63)), cell(1)),
    "category above": row_of(cell(100), cell(2)),
    "category below": row_of(cell(100), cell(-1)),
    "one of two": row_of(ABSENT, cell(2)),
    "presence unknown": row_of(cell(100, presence=2), cell(1)),
    "absent with a value": row_of(cell(100, presence=0), cell(1)),
    "short": row_of(cell(100)),
    "long": row_of(cell(100), cell(1), cell(1)),
    "empty": b"",
    "format unknown": b"\x02" + row_of(cell(100), cell(1))[1:],
}
"""What a client may seal in place of a row, where nothing looks at it."""


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_row_outside_its_domain_is_the_same_to_an_analysis_as_an_honest_null(name: str) -> None:
    """The very input of the mechanism is equal, and so is whatever it answers."""
    outside = table_of(DICT, opened_with(seal_plaintext(ROWS[name])).rows)
    null = table_of(DICT, opened_with(seal_plaintext(row_of(ABSENT, ABSENT))).rows)
    assert outside.n == null.n == len(SEALED) + 1
    for variable in ("systolic", "smoker"):
        assert outside.columns[variable].tolist() == null.columns[variable].tolist()
        assert outside.valid[variable].tolist() == null.valid[variable].tolist()
        assert null.valid[variable].tolist() == [False] + [True] * len(SEALED)


def seal_plaintext(plaintext: bytes) -> SealedRecord:
    context = RecordContext(
        31337, REGISTRY, DATASET, patient_address("0x" + "0c" * 20), DICT.hash(), 1
    )
    return seal_bytes(plaintext, context, SEATS, Epoch(1), 2)


def opened_with(first: SealedRecord) -> Opened:
    """Of this record and four good ones; nobody's share is blamed."""
    among = cohort([first, *SEALED])
    opened = OPENER.open_all(among.stored, among.records, among.turns)
    assert opened.wrong == frozenset()
    return opened


def test_a_null_member_is_counted_and_invalid_in_every_column() -> None:
    table = table_of(DICT, [(120, None), None, (80, 0)])
    assert table.n == 3
    assert table.columns["systolic"].dtype == np.int64
    assert table.valid["systolic"].tolist() == [True, False, True]
    assert table.valid["smoker"].tolist() == [False, False, True]
    assert table.columns["systolic"].tolist() == [120, 0, 80]


def test_the_analyses_read_the_dictionarys_own_bounds() -> None:
    systolic, smoker = variables_of(DICT).values()
    assert (systolic.lower, systolic.upper, systolic.unit) == (60, 260, "mm[Hg]")
    assert smoker.categories == ("no", "yes")


def test_nothing_opened_prints(four: Cohort) -> None:
    opened = OPENER.open_all(four.stored, four.records, four.turns)
    assert "102" not in repr(opened)
    share = four.turns[0].shares[0]
    assert share is not None
    assert str(share.value) not in repr(four.turns[0])


# --- keys, journal, staging


def test_a_gates_key_for_a_request_survives_a_restart_and_differs_by_request_and_root(
    tmp_path: Path,
) -> None:
    keys.create(tmp_path)
    first, second = keys.load(tmp_path), keys.load(tmp_path)
    one = first.for_request(bytes(32), bytes(32))
    assert one == second.for_request(bytes(32), bytes(32))
    others = {
        first.for_request(b"\1" * 32, bytes(32)).public,
        first.for_request(bytes(32), b"\1" * 32).public,
    }
    assert len(others | {one.public}) == 3


def row(result: bytes) -> ComputationRow:
    return ComputationRow(
        request=bytes(32), settlement="{}", sealed_result=result, gate_signature=b"", turns="{}"
    )


@settings(max_examples=15, deadline=None)
@given(st.lists(st.binary(max_size=8), min_size=1, max_size=4))
def test_the_first_answer_is_the_only_one(
    tmp_path_factory: pytest.TempPathFactory, answers: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("g")
    for answer in answers:
        journal = Journal.open(folder)
        assert journal.keep_first(row(answer)).sealed_result == answers[0]
        journal.engine.dispose()


def test_staging_is_bounded_and_counts_what_it_replaces() -> None:
    staging = Staging(most_bytes=3 * 300)
    some = Ciphertext(b"x" * 44, ())
    assert staging.add(b"r", {"a": some, "b": some}) == 2
    assert staging.add(b"r", {"b": some, "c": some}) == 3
    with pytest.raises(Refusal, match="as much ciphertext") as refused:
        staging.add(b"s", {"d": some})
    assert refused.value.code == "staging_full"
    staging.drop(b"r")
    assert staging.add(b"s", {"d": some}) == 1
    assert staging.requests() == (b"s",)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"box": "!"}, "records[0].box"),
        ({"box": "A" * 200_000}, "records[0].box"),
        ({"patient": "nobody"}, "records[0].patient"),
        ({"key_commitments": ["0x" + "00" * 34]}, "records[0].key_commitments[0]"),
        ({"key_commitments": 7}, "records[0].key_commitments[0]"),
        ({"more": 1}, "records[0].more"),
    ],
)
def test_a_malformed_page_is_refused_by_field(change: dict[str, Any], field: str) -> None:
    good = {
        "patient": str(SEALED[0].context.patient),
        "box": to_base64(SEALED[0].box),
        "key_commitments": [to_hex(p) for p in SEALED[0].key_commitments],
    }
    assert len(read_records([good])) == 1
    with pytest.raises(BadParameter) as refused:
        read_records([good | change])
    assert refused.value.field == field
