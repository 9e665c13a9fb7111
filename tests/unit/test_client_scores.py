"""A patient's folder and scores: what is made once, what is refused, and what never leaves."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.cli.scores import _opened
from marketplace.client.http import Told
from marketplace.client.marketplace import Marketplace
from marketplace.client.score_keys import MATERIAL, SECRET, ScoreFolder
from marketplace.client.score_words import forbidding_class
from marketplace.client.scores import (
    MODEL_SYSTEM,
    Opened,
    OwnScores,
    score_bundle,
)
from marketplace.errors import Refusal
from marketplace.fhir.extract import explained
from marketplace.sealing.row import to_row
from marketplace.wire.dictionary import ENCODED, SCHEMA, Dictionary, from_json
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.score_layout import layout_of_dictionary, values_in_layout
from ml.ckks import packing
from ml.ckks.keys import EncryptedRecord, Material, NeverLeaves
from ml.ckks.models import FORMAT, Model, model_of
from ml.ckks.opening import NotCompared, OwnScore
from ml.ckks.packing import Kind, frame
from ml.ckks.score import EncryptedScore, PreparedModel
from tests.support.tallied_study import category, number

STUDY = from_json(
    {
        "schema": SCHEMA,
        "name": "pressure",
        "version": 1,
        "variables": [
            number("systolic", "60", "260", unit="mm[Hg]"),
            category("smoker", "no", "yes"),
        ],
    }
)
VALUES: Mapping[str, Decimal | str | None] = {"systolic": Decimal(150), "smoker": "yes"}
REQUEST = "0x" + "7a" * 32
DATASET = bytes(31) + b"\x01"
KEY = b"\x01" * 32


def model(title: str = "Strain", intercept: str = "0.5", unit: str = "1") -> Model:
    """2 (systolic - 120) / 40 + smoker + 0.5: 3 for VALUES."""
    each = {"mean": "120", "scale": "40", "missing": "120"}
    inputs = [
        {"name": "systolic", "lower": "60", "upper": "260", **each},
        {"name": "smoker=1", "lower": "0", "upper": "1", "mean": "0", "scale": "1", "missing": "0"},
    ]
    head = {"format": FORMAT, "kind": "linear", "title": title, "unit": unit, "inputs": inputs}
    return model_of({**head, "weights": ["2", "1"], "intercept": intercept})


MODEL = model()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ScoreFolder:
    made = ScoreFolder(tmp_path_factory.mktemp("scores") / "mine")
    assert made.make()
    return made


class Operator:
    """What an operator answers; `asked` is every byte that it was sent."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.models = {to_hex(MODEL.hash): json.loads(MODEL.canonical)}
        self.score: EncryptedScore | None = None
        self.material: Material | None = None
        self.record: EncryptedRecord | None = None

    def post_signed(self, path: str, body: Mapping[str, Any], _: object) -> dict[str, Any]:
        self.asked.append((path, json.loads(json.dumps(body))))
        if path.endswith("/score"):
            assert self.score is not None
            name = to_hex(self.score.model)
            told = {"score": to_base64(self.score.data), "model": name, "record": None}
            return Told({**told, "request": REQUEST})
        return Told({"record": "0x" + "00" * 32})

    def get(self, path: str) -> dict[str, Any]:
        self.asked.append((path, None))
        return Told({"document": self.models[path.rpartition("/")[2]]})


@pytest.fixture
def operator() -> Operator:
    return Operator()


@pytest.fixture
def own(operator: Operator, folder: ScoreFolder, monkeypatch: pytest.MonkeyPatch) -> OwnScores:
    market = Marketplace("http://127.0.0.1:9")
    monkeypatch.setattr(market, "api", operator)

    class Domain:
        api_domain = None

    monkeypatch.setattr(market, "_pinned", Domain())
    monkeypatch.setattr("marketplace.client.scores.Voice", lambda *_: None)
    return OwnScores(market, DATASET, KEY, folder)


def scored(
    own: OwnScores, operator: Operator, of: Model = MODEL, values: Any = None
) -> EncryptedScore:
    """As an operator that keeps to the rules scores what was handed in."""
    own.hand_in(STUDY, VALUES if values is None else values)
    sent = next(body for path, body in reversed(operator.asked) if path.endswith("score-records"))
    material = Material.from_bytes(base64.b64decode(sent["material"]))
    record = EncryptedRecord.from_bytes(base64.b64decode(sent["record"]))
    operator.score = PreparedModel(of, layout_of_dictionary(STUDY)).score(material, record)
    operator.asked.clear()
    return operator.score


def forged(score: EncryptedScore, of: Model | None = None, bent: bool = False) -> EncryptedScore:
    """Framed as it should be: another model's passed off as that of `of`, or with another content."""
    content = bytearray(score.data[packing.HEAD_BYTES : -32])
    content[100] ^= bent
    bound = (score.model if of is None else of.hash) + score.record
    return EncryptedScore.from_bytes(frame(Kind.SCORE, bound, bytes(content)))


def opening(own: OwnScores, values: Any) -> Opened:
    return own.opened(own.fetch(REQUEST, STUDY), STUDY, values)


# --- the folder


def test_a_key_is_made_once_and_only_its_owner_reads_it(folder: ScoreFolder) -> None:
    secret = folder.path / SECRET
    before = {path: path.read_bytes() for path in folder.path.iterdir()}
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert folder.make() is False
    assert {path: path.read_bytes() for path in before} == before
    assert folder.material().hash == folder.key().material


def test_what_others_can_read_or_is_damaged_is_no_key(folder: ScoreFolder, tmp_path: Path) -> None:
    other = ScoreFolder(tmp_path)
    breaks: list[tuple[Callable[[], object], str]] = [
        (lambda: None, "is missing"),
        (lambda: (tmp_path / SECRET).write_bytes(b"x"), "can be read by others"),
        (lambda: (tmp_path / SECRET).chmod(0o600), "is no such key"),
        (lambda: (tmp_path / SECRET).write_bytes((folder.path / MATERIAL).read_bytes()), "no such"),
    ]
    for break_it, problem in breaks:
        break_it()
        with pytest.raises(Refusal, match=problem) as refused:
            other.key()
        assert refused.value.code == "score_key"


def test_another_keys_material_is_refused_before_anything_is_encrypted(
    folder: ScoreFolder, tmp_path: Path
) -> None:
    other = ScoreFolder(tmp_path / "other")
    other.make()
    (other.path / MATERIAL).write_bytes((folder.path / MATERIAL).read_bytes())
    with pytest.raises(Refusal, match="another key"):
        other.material()


def test_a_crash_between_material_and_key_leaves_nothing_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ScoreFolder(tmp_path / "half")
    with monkeypatch.context() as broken:
        broken.setattr("marketplace.client.score_keys.os.link", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            made.make()
    assert not (made.path / SECRET).exists()
    assert made.make()
    assert made.material()


def test_a_folder_serves_one_dataset_and_nothing_is_sent_to_another(
    own: OwnScores, operator: Operator, tmp_path: Path
) -> None:
    """One material under two addresses would show that they are one person's."""
    mine = ScoreFolder(tmp_path / "mine")
    mine.make()
    here = replace(own, folder=mine)
    for _ in range(2):
        here.hand_in(STUDY, VALUES)
    assert len(operator.asked) == 2
    kept = sorted(path.name for path in mine.path.iterdir())
    with pytest.raises(Refusal) as refused:
        replace(here, dataset=bytes(31) + b"\x02").hand_in(STUDY, VALUES)
    assert refused.value.code == "score_key_of_another_dataset"
    assert len(operator.asked) == 2
    assert sorted(path.name for path in mine.path.iterdir()) == kept


# --- opening


def test_a_score_is_opened_by_its_owner_and_is_the_models(
    own: OwnScores, operator: Operator
) -> None:
    scored(own, operator)
    opened = opening(own, VALUES)
    assert opened.score.for_the_owner() == Decimal("3.000")
    assert opened.model.title == "Strain"


def test_nothing_that_was_opened_is_sent_or_printed_or_pickled(
    own: OwnScores, operator: Operator
) -> None:
    scored(own, operator)
    opened = opening(own, VALUES)
    assert [(path, body) for path, body in operator.asked] == [
        (f"/api/v1/requests/{REQUEST}/score", {}),
        (f"/api/v1/models/{to_hex(MODEL.hash)}", None),
    ]
    assert "3.0" not in repr(opened) + str(opened.score)
    with pytest.raises(NeverLeaves):
        pickle.dumps(opened.score)
    with pytest.raises(NeverLeaves):
        copy.deepcopy(opened.score)
    with pytest.raises(NeverLeaves):
        pickle.dumps(own.folder.key())


def test_what_is_handed_in_holds_no_value_and_no_secret(own: OwnScores, operator: Operator) -> None:
    own.hand_in(STUDY, VALUES)
    ((path, body),) = operator.asked
    assert path.endswith("/score-records")
    assert set(body) == {"material", "record"}
    assert body["material"] == to_base64((own.folder.path / MATERIAL).read_bytes())
    secret = own.folder.key().to_bytes()
    sent = base64.b64decode(body["material"]) + base64.b64decode(body["record"])
    assert secret[200:232] not in sent


@pytest.mark.parametrize(
    "values", [{"systolic": Decimal(151), "smoker": "yes"}, {"systolic": Decimal(150)}, {}]
)
def test_a_score_that_is_not_the_models_on_ones_own_values_is_not_shown(
    own: OwnScores, operator: Operator, values: Any
) -> None:
    scored(own, operator)
    with pytest.raises(Refusal) as refused:
        opening(own, values)
    assert refused.value.code == "score_differs"
    assert "3" not in refused.value.message


def test_a_ciphertext_of_the_operators_own_choice_is_not_shown(
    own: OwnScores, operator: Operator
) -> None:
    """An opening would say something of the key."""
    operator.score = forged(scored(own, operator), bent=True)
    with pytest.raises(Refusal) as refused:
        opening(own, VALUES)
    assert refused.value.code == "score_differs"


def test_another_models_score_passed_off_as_this_ones_is_refused(
    own: OwnScores, operator: Operator
) -> None:
    operator.score = forged(scored(own, operator, model(intercept="0.75")), MODEL)
    with pytest.raises(Refusal) as refused:
        opening(own, VALUES)
    assert refused.value.code == "score_differs"


def test_a_model_that_is_not_what_its_hash_says_is_no_answer(
    own: OwnScores, operator: Operator
) -> None:
    scored(own, operator)
    operator.models[to_hex(MODEL.hash)] = json.loads(model(title="Health").canonical)
    with pytest.raises(Refusal) as refused:
        opening(own, VALUES)
    assert refused.value.code == "malformed_answer"


def test_a_score_of_a_record_that_one_never_handed_in_is_refused(
    own: OwnScores, operator: Operator
) -> None:
    key, layout = own.folder.key(), layout_of_dictionary(STUDY)
    record = key.encrypt(values_in_layout(STUDY, VALUES), layout)  # never kept in the folder
    operator.score = PreparedModel(MODEL, layout).score(own.folder.material(), record)
    with pytest.raises(Refusal) as refused:
        opening(own, VALUES)
    assert refused.value.code == "no_score_record"


def test_a_model_that_asks_for_narrower_values_is_refused_before_any_value_is_looked_at(
    own: OwnScores, operator: Operator
) -> None:
    """Whether it fits would say on which side of its bounds a value lies."""
    score, narrow = scored(own, operator), json.loads(MODEL.canonical)
    for each in narrow["inputs"]:
        if each["name"] == "systolic":
            each["upper"] = "151"
    asked = model_of(narrow)
    operator.score = forged(score, asked)
    operator.models[to_hex(asked.hash)] = narrow
    with pytest.raises(Refusal) as refused:
        own.fetch(REQUEST, STUDY)
    assert refused.value.code == "not_this_score"


@pytest.mark.parametrize("first", [True, False])
def test_nobody_sees_which_of_several_scores_opened(
    own: OwnScores, operator: Operator, first: bool
) -> None:
    right = scored(own, operator)
    fetched = own.fetch(REQUEST, STUDY)
    wrong = replace(fetched, score=forged(right, bent=True))
    before = list(operator.asked)
    listed = [wrong, fetched, fetched] if first else [fetched, fetched, wrong]
    opened, refused = _opened(own, listed, STUDY, VALUES)
    assert operator.asked == before
    assert [each.score.for_the_owner() for each in opened] == [Decimal("3.000")] * 2
    assert [(request, each.code) for request, each in refused] == [(REQUEST, "score_differs")]


def test_what_is_shown_is_the_models_own_number_and_no_bit_of_it_the_operators(
    own: OwnScores, operator: Operator
) -> None:
    """A ciphertext that is off by less than the bound could carry a bit of the key in its last digit."""
    operator.score = forged(scored(own, operator, model(intercept="0.5009")), MODEL)
    assert opening(own, VALUES).score.for_the_owner() == Decimal("3.000")


def test_after_another_record_the_scores_of_the_first_still_open(
    own: OwnScores, operator: Operator
) -> None:
    first = scored(own, operator)
    later: dict[str, Decimal | str | None] = {"systolic": Decimal(200), "smoker": "no"}
    second = scored(own, operator, values=later)
    assert first.record != second.record
    assert opening(own, later).score.for_the_owner() == Decimal("4.500")
    operator.score = first
    assert opening(own, VALUES).score.for_the_owner() == Decimal("3.000")


# --- onwards


def score_dataset(
    lower: str = "-4", upper: str = "12", decimals: int = 1, step: str | None = None, **changes: Any
) -> Dictionary:
    code = {"system": MODEL_SYSTEM, "code": to_hex(MODEL.hash)}
    only = number("score", lower, upper, decimals) | {"code": code, **changes}
    head: dict[str, Any] = {"name": "strain", "version": 1, "variables": [only]}
    if step is None:
        return from_json({"schema": SCHEMA, **head})
    encoding = {"variables": [{"name": only["name"], "step": step, "edges": []}], "products": []}
    return from_json({"schema": ENCODED, **head, "encoding": encoding})


def opened(score: str) -> Opened:
    return Opened(REQUEST, MODEL, OwnScore(Decimal(score), compared=True))


@given(
    score=st.integers(-20_000, 20_000).map(lambda n: str(Decimal(n) / 1000)),
    step=st.sampled_from([None, "0.1", "0.5", "4", "16"]),
)
def test_the_bundle_holds_the_score_on_the_grid_and_the_sealer_takes_it(
    score: str, step: str | None
) -> None:
    dictionary = score_dataset(step=step)
    found = explained(score_bundle(opened(score), dictionary), dictionary)
    assert found.rounded == ()
    (stored,) = to_row(dictionary, found.values)
    assert stored is not None
    width = Fraction(step or "0.1")
    inside = min(max(Fraction(score), Fraction(-4)), Fraction(12))
    placed = Fraction(stored, 10)
    assert abs(placed - inside) <= width / 2
    assert (placed + 4) % width == 0
    if dictionary.encoding is not None:
        assert sum(dictionary.encoding.values((stored,))) == 1 + (placed + 4) / width


@pytest.mark.parametrize("decimals", range(8))
def test_any_decimals_of_a_dictionary_are_written_exactly(decimals: int) -> None:
    dictionary = score_dataset("-30", "30", decimals)
    found = explained(score_bundle(opened("-0.001"), dictionary), dictionary).values["score"]
    assert found == Decimal("-0.001").quantize(Decimal(1).scaleb(-min(decimals, 3)))


@pytest.mark.parametrize(
    ("dictionary", "problem"),
    [
        (score_dataset(name="points"), "no number called score"),
        (score_dataset(unit="%"), "another unit"),
        (score_dataset(code={"system": MODEL_SYSTEM, "code": "0x" + "00" * 32}), "another model"),
        (score_dataset(code={"system": "urn:other", "code": to_hex(MODEL.hash)}), "another model"),
        (STUDY, "other variables"),
        (score_dataset("-30", "30", 8), "too fine a grid"),
    ],
)
def test_a_dataset_of_something_else_gets_no_score(dictionary: Dictionary, problem: str) -> None:
    with pytest.raises(Refusal, match=problem) as refused:
        score_bundle(opened("1"), dictionary)
    assert refused.value.code == "not_a_score_dataset"


def test_a_score_that_was_not_compared_goes_nowhere() -> None:
    unsure = Opened(REQUEST, MODEL, OwnScore(Decimal(1), compared=False))
    with pytest.raises(NotCompared):
        score_bundle(unsure, score_dataset())


# --- a class that lets out no scores


def consenting(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, index: int, *kinds: int
) -> None:
    """To the class of this index, of classes with these `releaseKinds`, by the operator's word."""
    classes = [Told({"terms": Told({"releaseKinds": each})}) for each in kinds]

    def get(path: str) -> dict[str, Any]:
        if "/consents/" in path:
            return Told({"class_index": index})
        return Told({"classes": classes})

    monkeypatch.setattr(operator, "get", get)


@pytest.mark.parametrize(
    ("index", "kinds", "forbids"),
    [
        (1, (0b011,), 1),
        (1, (0b100,), None),
        (2, (0b100, 0b011), 2),
        (2, (0b011, 0b111), None),
        (0, (0b011,), None),
    ],
)
def test_a_class_that_lets_out_no_scores_is_named_to_who_consents_to_it(
    own: OwnScores,
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
    index: int,
    kinds: tuple[int, ...],
    forbids: int | None,
) -> None:
    consenting(operator, monkeypatch, index, *kinds)
    assert forbidding_class(own) == forbids


@pytest.mark.parametrize(("index", "kinds"), [(3, (1,)), (1, ("many",)), ("one", (1,))])
def test_a_class_that_cannot_be_read_is_a_malformed_answer(
    own: OwnScores,
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
    index: Any,
    kinds: tuple[Any, ...],
) -> None:
    consenting(operator, monkeypatch, index, *kinds)
    with pytest.raises(Refusal) as refused:
        forbidding_class(own)
    assert refused.value.code == "malformed_answer"


def test_a_folder_knows_whether_a_record_was_made_in_it(
    own: OwnScores, operator: Operator, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    assert not ScoreFolder(tmp_path / "new").handed_in
    scored(own, operator)
    assert own.folder.handed_in
