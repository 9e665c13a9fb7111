"""Model documents: one form, one hash, and everything that would make a score wrong is refused."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from fractions import Fraction
from math import exp
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.wire.canonical import canonical as market_canonical
from ml.ckks import documents, models, sigmoid
from ml.ckks.context import DEPTH
from ml.ckks.documents import MOST_BYTES, BadDocument
from ml.ckks.layout import Layout, NotInLayout, layout_of, parse_layout
from ml.ckks.models import Model, model_of, parse_model
from tests.support import framingham
from tests.support.framingham import People

KINDS = ("linear", "logistic", "network")
Edit = Callable[[dict[str, Any]], object]


def document_of(model: Model) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(model.canonical)
    return document


def put(*path: str | int, to: object) -> Edit:
    """An edit: the value at a path becomes another, or goes (`...`)."""

    def edit(document: dict[str, Any]) -> None:
        at: Any = document
        for step in path[:-1]:
            at = at[step]
        if to is ...:
            del at[path[-1]]
        else:
            at[path[-1]] = to

    return edit


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_read_back_from_its_bytes(kind: str, fitted: dict[str, Model]) -> None:
    model = fitted[kind]
    again = parse_model(model.canonical)
    assert again == model
    assert again.canonical == market_canonical(document_of(model))
    assert len({each.hash for each in fitted.values()}) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_every_leaf_of_a_document_counts_in_the_hash(kind: str, fitted: dict[str, Model]) -> None:
    """Each text is changed in turn: another hash, or a refusal."""
    document, seen = document_of(fitted[kind]), 0
    for path in leaves(document):
        other = copy.deepcopy(document)
        put(*path, to="0.125")(other)
        if other == document:
            continue
        with contextlib.suppress(BadDocument):
            assert model_of(other).hash != fitted[kind].hash, path
        seen += 1
    assert seen > 40


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        return [leaf for key, each in value.items() for leaf in leaves(each, (*path, key))]
    if isinstance(value, list):
        return [leaf for i, each in enumerate(value) for leaf in leaves(each, (*path, i))]
    return [path]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b'{"a":1, "b":2}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":0.5}',
        b'{"a":"\xff"}',
        b"[" * 100_000,
        b"[" * 9 + b"]" * 9,
        b'"' + b"a" * MOST_BYTES + b'"',
        b'{"a":1}\n',
    ],
)
def test_bytes_that_are_not_the_canonical_form_are_refused(data: bytes) -> None:
    for read in (parse_model, parse_layout):
        with pytest.raises(BadDocument) as refused:
            read(data)
        assert refused.value.field == "document"


def test_a_right_model_in_another_spelling_is_refused(fitted: dict[str, Model]) -> None:
    """One model has one hash: white space, another order, a key twice."""
    right = fitted["linear"].canonical
    document = document_of(fitted["linear"])
    spaced = json.dumps(document, sort_keys=True).encode()
    turned = json.dumps(dict(reversed(document.items())), separators=(",", ":")).encode()
    twice = right[:-1] + b',"unit":"1"}'
    for other in (spaced, turned, twice, right + b" "):
        assert json.loads(other) == document
        with pytest.raises(BadDocument, match="canonical"):
            parse_model(other)


@pytest.mark.parametrize(
    "number",
    [
        1,
        0.5,
        None,
        "",
        "+1",
        "1.",
        ".5",
        "01",
        "-0",
        "1.0",
        "1e3",
        "NaN",
        "inf",
        " 1",
        "1_0",
        "\u0661",  # a digit one, but not ASCII
        "1234567890",
        "0.1234567890123",
        True,
        "0x1",
        "1\n",
    ],
)
def test_a_number_has_one_spelling(number: object, fitted: dict[str, Model]) -> None:
    document = document_of(fitted["linear"])
    document["intercept"] = number
    with pytest.raises(BadDocument) as refused:
        model_of(document)
    assert refused.value.field == "intercept"
    assert refused.value.remedy


@given(st.fractions(-100, 100))
def test_what_decimal_text_writes_is_read(value: Fraction) -> None:
    text = documents.decimal_text(float(value))
    assert abs(documents.decimal(text, "it") - value) <= Fraction(6, 10**10)


REFUSED: dict[str, list[tuple[Edit, str]]] = {
    "linear": [
        (put("kind", to="cubic"), "kind"),
        (put("kind", to=["linear"]), "kind"),
        (put("format", to="usufruct-model/2"), "format"),
        (put("title", to=""), "title"),
        (put("title", to="a\nb"), "title"),
        (put("unit", to=...), "model"),
        (put("extra", to="1"), "model"),
        (put("inputs", to=[]), "inputs"),
        (put("inputs", 0, "name", to="1age"), "inputs[0].name"),
        (put("inputs", 1, "name", to="age"), "inputs[1].name"),
        (put("inputs", 0, "lower", to="74"), "inputs[0].upper"),
        (put("inputs", 0, "scale", to="0"), "inputs[0].scale"),
        (put("inputs", 0, "scale", to="-1"), "inputs[0].scale"),
        (put("inputs", 0, "missing", to="75"), "inputs[0].missing"),
        (put("inputs", 0, "mean", to=...), "inputs[0]"),
        (put("weights", to=["1"]), "weights"),
        (put("weights", 0, to="100"), "weights"),
        (put("weights", to=["0"] * 8), "weights"),
        (put("intercept", to="3000"), "weights"),
    ],
    "logistic": [
        (put("sigmoid", "degree", to=5), "sigmoid.degree"),
        (put("sigmoid", "degree", to=31), "sigmoid.degree"),
        (put("sigmoid", "degree", to="15"), "sigmoid.degree"),
        (put("sigmoid", "degree", to=7), "sigmoid.coefficients"),
        (put("sigmoid", "interval", to=["5", "-7"]), "sigmoid.interval"),
        (put("sigmoid", "interval", to=["-40", "40"]), "sigmoid.interval"),
        (put("sigmoid", "coefficients", 1, to="5"), "sigmoid.coefficients"),
        (put("sigmoid", "coefficients", 15, to="0"), "sigmoid.coefficients"),
        (put("sigmoid", "error", to="0.0003"), "sigmoid.error"),
        (put("sigmoid", "error", to="-1"), "sigmoid.error"),
        (put("weights", 0, to="2"), "sigmoid.interval"),
        (put("intercept", to="3"), "sigmoid.interval"),
    ],
    "network": [
        (put("hidden", to=[]), "hidden"),
        (put("hidden", 0, "weights", 0, to="60"), "hidden[0].weights"),
        (put("hidden", 0, "intercept", to="33"), "hidden[0].weights"),
        (put("hidden", 0, "intercept", to="25"), "hidden"),
        (put("hidden", 0, "bias", to="0"), "hidden[0]"),
        (put("output", "weights", to=["1"]), "output.weights"),
        (put("output", "weights", to=["0"] * 8), "output.weights"),
        (put("output", "weights", 4, to="3"), "output.weights"),
        (put("output", "intercept", to="5000"), "hidden"),
    ],
}


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, i) for kind in KINDS for i in range(len(REFUSED[kind]))]
)
def test_a_wrong_document_is_refused_by_its_field(
    kind: str, number: int, fitted: dict[str, Model]
) -> None:
    edit, field = REFUSED[kind][number]
    document = document_of(fitted[kind])
    edit(document)
    with pytest.raises(BadDocument) as refused:
        model_of(document)
    assert refused.value.field == field
    assert refused.value.problem
    assert refused.value.remedy


def test_an_interval_that_is_one_short_is_refused_and_the_remedy_works(people: People) -> None:
    model = framingham.logistic(people)
    document = document_of(model)
    low, high = (Fraction(end) for end in document["sigmoid"]["interval"])
    document["sigmoid"] = sigmoid.fitted(low + 1, high, 15)
    with pytest.raises(BadDocument) as refused:
        model_of(document)
    ends = [Fraction(each) for each in refused.value.remedy.removeprefix("Use ")[:-1].split(" to ")]
    document["sigmoid"] = sigmoid.fitted(ends[0], ends[1], 15)
    assert model_of(document).kind == "logistic"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_within_the_depth_of_the_parameters(
    kind: str, fitted: dict[str, Model]
) -> None:
    assert fitted[kind].depth == {"linear": 1, "logistic": 5, "network": 3}[kind] <= DEPTH


def test_a_model_that_is_too_deep_is_refused(
    fitted: dict[str, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "DEPTH", 4)
    with pytest.raises(BadDocument, match="too deep"):
        model_of(document_of(fitted["logistic"]))


# ---- In the clear ----


def test_scores_in_the_clear_are_what_the_formulas_say(
    fitted: dict[str, Model], people: People
) -> None:
    """By hand, from the documents' own numbers."""
    for i in range(20):
        record = people.record(i)
        for model in fitted.values():
            document = document_of(model)
            x = [
                (record[each["name"]] - float(each["mean"])) / float(each["scale"])
                for each in document["inputs"]
            ]
            assert model.plain(record) == pytest.approx(by_hand(document, x), abs=1e-9)


def by_hand(document: dict[str, Any], x: list[float]) -> float:
    def affine(part: dict[str, Any]) -> float:
        products = [float(w) * each for w, each in zip(part["weights"], x, strict=True)]
        return float(part["intercept"]) + sum(products)

    if document["kind"] == "network":
        output = document["output"]
        units = zip(output["weights"], document["hidden"], strict=True)
        return float(output["intercept"]) + sum(float(v) * affine(unit) ** 2 for v, unit in units)
    if document["kind"] == "linear":
        return affine(document)
    low, high = map(float, document["sigmoid"]["interval"])
    t = (affine(document) - (low + high) / 2) / ((high - low) / 2)
    terms = [
        float(c) * np.cos(k * np.arccos(t))
        for k, c in enumerate(document["sigmoid"]["coefficients"])
    ]
    return float(sum(terms))


@pytest.mark.parametrize("value", [29.999, 74.001, float("nan"), float("inf"), -1e300])
def test_a_value_outside_its_bounds_is_refused_without_being_told(
    value: float, fitted: dict[str, Model], layout: Layout
) -> None:
    for use in (fitted["linear"].plain, layout.place):
        with pytest.raises(NotInLayout, match="age") as refused:
            use({"age": value})
        assert str(value) not in str(refused.value)


# ---- Sigmoids ----


@pytest.mark.parametrize("degree", sigmoid.DEGREES)
@pytest.mark.parametrize("interval", [(-4, 4), (-7, 5), (-10, 6), (-16, 16)])
def test_a_stated_error_holds_everywhere_and_is_tight(
    degree: int, interval: tuple[int, int]
) -> None:
    low, high = map(Fraction, interval)
    curve = sigmoid.sigmoid_of(sigmoid.fitted(low, high, degree), "sigmoid")
    points = np.random.default_rng(degree).uniform(float(low), float(high), 5000)
    seen = max(abs(curve.of(float(z)) - 1 / (1 + exp(-z))) for z in points)
    assert seen <= curve.error <= 1.1 * seen + 2e-4
    print(f"degree {degree} on {interval}: error {float(curve.error):.2g}")


@given(st.lists(st.fractions(-1, 1), min_size=16, max_size=16), st.floats(-1, 1))
def test_a_polynomial_is_the_sum_of_its_halves(coefficients: list[Fraction], t: float) -> None:
    low, high = sigmoid.split(coefficients)
    value = np.polynomial.chebyshev.chebval
    whole = value(t, [float(each) for each in coefficients])
    middle = np.cos(8 * np.arccos(t))
    parts = [value(t, [float(each) for each in half]) for half in (low, high)]
    assert parts[0] + middle * parts[1] == pytest.approx(whole, abs=1e-9)


# ---- Layouts ----


def test_a_layout_is_read_back_from_its_bytes(layout: Layout) -> None:
    assert parse_layout(layout.canonical) == layout


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (put("format", to="other"), "format"),
        (put("variables", to=[]), "variables"),
        (put("variables", 1, "name", to="age"), "variables[1].name"),
        (put("variables", 0, "upper", to="30"), "variables[0].upper"),
        (put("variables", 0, "unit", to="a"), "variables[0]"),
        (
            put("variables", to=[{"name": f"v{i}", "lower": "0", "upper": "1"} for i in range(33)]),
            "variables",
        ),
    ],
)
def test_a_wrong_layout_is_refused_by_its_field(edit: Edit, field: str) -> None:
    document = copy.deepcopy(framingham.layout_document())
    edit(document)
    with pytest.raises(BadDocument) as refused:
        layout_of(document)
    assert refused.value.field == field


def test_slots_hold_shares_and_presence_in_every_copy(layout: Layout) -> None:
    slots = layout.place({"age": 52, "sex": 1, "glucose": None})
    assert (slots == slots[:, :1]).all()
    assert slots[0, 0] == 0.5
    assert slots[1, 0] == 1
    assert slots[32:40, 0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert slots.sum(axis=0)[0] == 3.5


def test_a_value_of_no_variable_is_refused(layout: Layout) -> None:
    with pytest.raises(NotInLayout, match="weight"):
        layout.place({"weight": 70})
