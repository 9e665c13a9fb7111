"""Rules of a record in two lanes: one act seals it, one commitment covers it, no part can be another's."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from eth_hash.auto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.chain.adapter import Stored
from marketplace.errors import BadParameter, RecordUnreadable
from marketplace.gate.opening import Ciphertext, Opener
from marketplace.gate.quorum import Turn
from marketplace.sealing.row import Value
from marketplace.sealing.seal import CustodianKey, seal_row
from marketplace.vocabulary import CustodianIndex, DatasetId, Epoch, Lane, address, patient_address
from marketplace.wire import dictionary, hpke, record, tally
from marketplace.wire.header import RecordHeader, read_header
from marketplace.wire.tally import SealedTally
from ml.homomorphic.curve import Point, times_base
from ml.homomorphic.elgamal import COLUMN_BYTES

CODE = {"system": "http://loinc.org", "code": "1"}
AGE = {
    "name": "age", "kind": "number", "label": "Age", "unit": "a", "code": CODE,
    "lower": "18", "upper": "110", "decimals": 0,
}  # fmt: skip
WEIGHT = {**AGE, "name": "weight", "unit": "kg", "lower": "30.0", "upper": "150.0", "decimals": 1}
SEX = {
    "name": "sex", "kind": "category", "label": "Sex", "code": CODE, "categories": ["f", "m"],
}  # fmt: skip
ENCODING = {
    "variables": [
        {"name": "age", "step": "1", "edges": ["40", "65"]},
        {"name": "weight", "step": "0.5", "edges": []},
        {"name": "sex"},
    ],
    "products": [["weight", "weight"], ["sex=0", "weight"]],
}
DICTIONARY = dictionary.from_json(
    {
        "schema": dictionary.ENCODED, "name": "two", "version": 1,
        "variables": [AGE, WEIGHT, SEX], "encoding": ENCODING,
    }
)  # fmt: skip
SECRET = 0x5EC2E7
JOINT = times_base(SECRET).to_bytes()
KEYS = tuple(hpke.generate() for _ in range(3))
SEATS = [CustodianKey(CustodianIndex(i + 1), key.public) for i, key in enumerate(KEYS)]
REGISTRY = address("0x" + "11" * 20)
DATASET = DatasetId(b"d" * 32)
VALUES: dict[str, Value] = {"age": Decimal(52), "weight": Decimal("71.3"), "sex": "m"}


def context(patient: int = 0x22, version: int = 1) -> record.RecordContext:
    who = patient_address(f"0x{patient:040x}")
    return record.RecordContext(7, REGISTRY, DATASET, who, DICTIONARY.hash(), version)


def seal(patient: int = 0x22) -> record.SealedRecord:
    return seal_row(DICTIONARY, VALUES, context(patient), SEATS, Epoch(1), 2, JOINT)


@cache
def sealed(patient: int = 0x22) -> record.SealedRecord:
    return seal(patient)


def tally_of(made: record.SealedRecord) -> SealedTally:
    assert made.tally is not None
    return made.tally


def refusals(*pairs: tuple[SealedTally, record.RecordContext]) -> list[str | None]:
    found = tally.require_valid(
        [(each, where.in_lane(Lane.HOMOMORPHIC).aad()) for each, where in pairs],
        tally.encoding_of(DICTIONARY),
        JOINT,
    )
    return [None if refusal is None else refusal.field for refusal in found]


# --- one act, one commitment


def test_sealing_once_seals_for_both_lanes_with_the_very_values() -> None:
    encoding = tally.encoding_of(DICTIONARY)
    held = tally_of(sealed()).columns
    row = (52, 713, 1)
    for at, value in enumerate(encoding.values(row)):
        column = held[at * COLUMN_BYTES : (at + 1) * COLUMN_BYTES]
        opened = Point.from_bytes(column[33:]) - Point.from_bytes(column[:33]) * SECRET
        assert opened == times_base(value), encoding.columns[at].name


def test_a_record_in_two_lanes_comes_back_from_its_bytes() -> None:
    assert record.load(record.dump(sealed()), context()) == sealed()


def test_a_record_without_a_tally_is_written_as_it_always_was() -> None:
    plain = replace(sealed(), tally=None)
    assert json.loads(record.dump(plain))["schema"] == record.SCHEMA
    assert record.load(record.dump(plain)) == plain


def test_the_commitment_covers_every_part_of_the_tally() -> None:
    whole, part = sealed(), tally_of(sealed())
    bent = [
        replace(part, public_key=times_base(SECRET + 1).to_bytes()),
        replace(part, columns=part.columns[COLUMN_BYTES:] + part.columns[:COLUMN_BYTES]),
        replace(part, columns=part.columns[:-COLUMN_BYTES]),
        replace(part, proof=part.proof[:-1] + bytes([part.proof[-1] ^ 1])),
        None,
    ]
    commitments = {replace(whole, tally=each).commitment for each in bent}
    assert len(commitments) == len(bent)
    assert whole.commitment not in commitments


def test_the_header_of_a_record_in_two_lanes_leads_to_its_commitment() -> None:
    document = RecordHeader.of(sealed()).to_json()
    leaves = record.record_leaves(
        context(), sealed().box, sealed().key_commitments, tally_of(sealed())
    )
    assert RecordHeader.of(sealed()).leaves() == leaves
    assert RecordHeader.of(replace(sealed(), tally=None)).leaves() == leaves[:1]
    assert leaves[0] == record.record_leaf_of_hash(
        context(), keccak(sealed().box), sealed().key_commitments
    )
    assert read_header(document).commitment == sealed().commitment
    assert len(json.dumps(document)) < 2_000
    for field in ("public_key", "column_root", "proof_hash"):
        other = document["tally"] | {field: RecordHeader.of(sealed(0x23)).to_json()["commitment"]}
        with pytest.raises(RecordUnreadable) as refused:
            read_header(document | {"tally": other})
        assert refused.value.field in ("commitment", "tally.public_key")


def test_a_committee_without_a_joint_key_refuses_what_would_be_null_in_this_lane() -> None:
    with pytest.raises(BadParameter) as refused:
        seal_row(DICTIONARY, VALUES, context(), SEATS, Epoch(1), 2)
    assert refused.value.field == "joint_key"
    with pytest.raises(BadParameter) as refused:
        seal_row(DICTIONARY, VALUES, context(), SEATS, Epoch(1), 2, b"\x02" + b"\xff" * 32)
    assert refused.value.field == "joint_key"


def test_a_gate_opens_the_vault_part_only_beside_the_leaf_of_the_other_lane() -> None:
    made, who = sealed(), str(context().patient)
    opener = Opener(7, REGISTRY, DATASET, DICTIONARY, 2)
    stored = [Stored(who, made.commitment, who, 1)]
    turns = [
        Turn(place, (record.open_share(made, place + 1, KEYS[place]),), {}) for place in range(2)
    ]
    beside = RecordHeader.of(made).leaves()[1:]
    whole = Ciphertext(made.box, made.key_commitments, tuple(beside))
    assert opener.open_all(stored, {who: whole}, turns).rows == ((52, 713, 1),)
    for others in ((), (beside[0], beside[0]), (bytes(32),)):
        other = Ciphertext(made.box, made.key_commitments, others)
        assert opener.open_all(stored, {who: other}, turns).rows == (None,)


# --- validity


def test_honest_tallies_pass_together() -> None:
    pairs = [(tally_of(sealed(patient)), context(patient)) for patient in (0x22, 0x23, 0x24)]
    assert refusals(*pairs) == [None, None, None]


def test_each_bad_tally_of_an_upload_is_named_and_none_of_the_others() -> None:
    good, other = (tally_of(sealed(0x22)), context(0x22)), tally_of(sealed(0x23))
    flipped = other.proof[:-1] + bytes([other.proof[-1] ^ 1])
    assert (
        refusals(
            (other, context(0x22)),  # replayed under another patient
            good,
            (other, context(0x23, version=2)),
            (replace(other, public_key=times_base(9).to_bytes()), context(0x23)),
            (replace(other, columns=other.columns[COLUMN_BYTES:]), context(0x23)),
            (replace(other, proof=other.proof[32:]), context(0x23)),
            (replace(other, proof=flipped), context(0x23)),
            (replace(other, columns=good[0].columns), context(0x23)),
            (other, context(0x23)),
        )
        == [
            "tally.proof",
            None,
            "tally.proof",
            "tally.public_key",
            "tally.columns",
            "tally.proof",
            "tally.proof",
            "tally.proof",
            None,
        ]
    )


# --- the tree of columns


@settings(deadline=None)
@given(st.integers(1, 70), st.data())
def test_the_columns_that_are_shown_lead_to_the_root_and_no_others_do(
    count: int, data: st.DataObject
) -> None:
    columns = data.draw(st.binary(min_size=66 * count, max_size=66 * count))
    used = data.draw(st.sets(st.integers(0, count - 1)))
    shown = {at: columns[66 * at : 66 * (at + 1)] for at in used}
    proof = tally.prove_columns(columns, sorted(used))
    root = tally.column_root(columns)
    assert tally.root_of_columns(shown, count, proof) == root
    with pytest.raises(ValueError, match="nothing needs"):
        tally.root_of_columns(shown, count, [*proof, bytes(32)])
    if proof:
        with pytest.raises(ValueError, match="lacks"):
            tally.root_of_columns(shown, count, proof[1:])
    for at in used:
        bent = bytes([shown[at][0] ^ 1]) + shown[at][1:]
        assert tally.root_of_columns(shown | {at: bent}, count, proof) != root


def test_a_tree_of_one_column_is_not_a_column_that_looks_like_a_tree() -> None:
    one, two = bytes(66), bytes(65) + b"\x01"
    inner = tally.column_root(one + two)
    assert inner != tally.column_root(inner + bytes(34))


@pytest.mark.parametrize("columns", [b"", bytes(65), bytes(67)])
def test_what_is_not_whole_columns_has_no_root(columns: bytes) -> None:
    with pytest.raises(ValueError, match="66 bytes"):
        tally.column_root(columns)


# --- hostile bytes


def good() -> dict[str, Any]:
    return dict(tally_of(sealed()).to_json())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"extra": 1}, "tally"),
        ({"public_key": 5}, "tally.public_key"),
        ({"public_key": "0xzz"}, "tally.public_key"),
        ({"public_key": "0x02"}, "tally.public_key"),
        ({"columns": 5}, "tally.columns"),
        ({"columns": "!"}, "tally.columns"),
        ({"columns": ""}, "tally.columns"),
        ({"columns": base64.b64encode(bytes(65)).decode()}, "tally.columns"),
        ({"columns": base64.b64encode(bytes(66 * 4_000)).decode()}, "tally.columns"),
        ({"proof": None}, "tally.proof"),
        ({"proof": "A"}, "tally.proof"),
    ],
)
def test_a_malformed_tally_is_refused_by_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(RecordUnreadable) as refused:
        tally.require_tally(good() | change)
    assert refused.value.field == field


@pytest.mark.parametrize("text", [5, None, "!", "QQ", "QQ==\n", "Q Q="])
def test_what_is_not_base64_is_refused_in_the_words_of_its_reader(text: Any) -> None:
    document = json.loads(record.dump(sealed()))
    for bent, field, remedy in (
        ({"box": text}, "box", "Seal the record again and send it unchanged."),
        ({"tally": good() | {"proof": text}}, "tally.proof", "joint key and send it unchanged."),
    ):
        with pytest.raises(RecordUnreadable, match=f"{field} is not base64") as refused:
            record.load(json.dumps(document | bent, separators=(",", ":"), sort_keys=True).encode())
        assert (refused.value.field, refused.value.remedy.endswith(remedy)) == (field, True)


def test_a_public_key_that_is_no_point_is_refused_before_any_proof_is_read() -> None:
    bad = replace(tally_of(sealed()), public_key=b"\x02" + b"\xff" * 32)
    with pytest.raises(RecordUnreadable) as refused:
        tally.statement(bad, tally.encoding_of(DICTIONARY), bytes(32))
    assert refused.value.field == "tally.public_key"


def test_a_dictionary_without_an_encoding_has_no_tallies() -> None:
    plain = replace(DICTIONARY, encoding=None)
    with pytest.raises(RecordUnreadable) as refused:
        tally.encoding_of(plain)
    assert refused.value.field == "tally"


@pytest.mark.parametrize(
    "change",
    [{"schema": record.SCHEMA}, {"tally": None}, {"schema": "usufruct-record/3"}],
)
def test_a_record_that_says_one_lane_and_holds_two_is_refused(change: dict[str, Any]) -> None:
    document = json.loads(record.dump(sealed())) | change
    with pytest.raises(RecordUnreadable):
        record.load(json.dumps(document, separators=(",", ":"), sort_keys=True).encode())
