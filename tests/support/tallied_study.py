"""A study with encrypted columns, in the clear: its dictionary, encodings for what is asked, and answers.

Atoms and sums are computed here from rows directly, so that nothing of the encoding's own is believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from marketplace.analyses.polynomials import Polynomial
from marketplace.analyses.tallied import Tallied
from marketplace.analyses.tallies import TALLIES, products_for
from marketplace.analyses.variables import variables_of
from marketplace.wire import encoding as encodings
from marketplace.wire.dictionary import ENCODED, Dictionary, from_json
from marketplace.wire.encoding import Encoding
from ml.dp.noise import GaussianNoise
from ml.dp.noised import Noised

Row = Sequence[int | None]
COST = 50_000_000
CODE = {"system": "http://loinc.org", "code": "29463-7"}


def number(name: str, lower: str, upper: str, decimals: int = 0, unit: str = "1") -> dict[str, Any]:
    bounds = {"lower": lower, "upper": upper, "decimals": decimals}
    return {"name": name, "kind": "number", "label": name, "code": CODE, "unit": unit, **bounds}


def category(name: str, *categories: str) -> dict[str, Any]:
    listed = list(categories)
    return {"name": name, "kind": "category", "label": name, "code": CODE, "categories": listed}


def grid(name: str, step: str, *edges: str) -> dict[str, Any]:
    return {"name": name, "step": step, "edges": list(edges)}


VARIABLES = [
    number("age", "18", "98", unit="a"),
    number("bmi", "10.0", "60.0", 1, "kg/m2"),
    number("sbp", "60", "260", unit="mm[Hg]"),
    number("visits", "0", "20"),
    number("months", "0", "60", unit="mo"),
    category("sex", "female", "male", "other"),
    category("arm", "treated", "control"),
    category("status", "dead", "alive"),
]
GRIDS = [
    grid("age", "1", "50", "65"),
    grid("bmi", "0.5"),
    grid("sbp", "2", "120", "140"),
    grid("visits", "1"),
    grid("months", "1", "6", "12", "18", "24", "36", "48"),
    {"name": "sex"},
    {"name": "arm"},
    {"name": "status"},
]


def dictionary(
    variables: Sequence[dict[str, Any]] = VARIABLES,
    grids: Sequence[dict[str, Any]] = GRIDS,
    products: Sequence[Sequence[str]] = (),
) -> Dictionary:
    encoding = {"variables": list(grids), "products": [list(pair) for pair in products]}
    head = {"schema": ENCODED, "name": "tallied", "version": 1}
    return from_json({**head, "variables": list(variables), "encoding": encoding})


PLAIN = dictionary()
KNOWN = variables_of(PLAIN)


@dataclass(frozen=True)
class Asked:
    """An analysis with its parameters, in an encoding that lists exactly what it needs."""

    name: str
    parameters: Any
    encoding: Encoding
    tallied: Tallied

    def answer(self, rows: Sequence[Row], scale: float = 0.0, noised: Any = None) -> Noised:
        """What is told of the sums of these rows as they are, or of `noised` ones of that scale."""
        exact = self.exact(rows) if noised is None else list(noised)
        noise = GaussianNoise(COST, self.tallied.squared_sensitivity, scale)
        return self.tallied.finish(exact, noise, len(rows), COST)

    def exact(self, rows: Sequence[Row]) -> list[int]:
        values = atoms(self.encoding, rows)
        return [int(evaluated(w.polynomial, values, len(rows)).sum()) for w in self.tallied.wanted]

    def vectors(self, rows: Sequence[Row]) -> np.ndarray:
        """(rows, sums): what each row alone adds."""
        values = atoms(self.encoding, rows)
        each = [evaluated(w.polynomial, values, len(rows)) for w in self.tallied.wanted]
        return np.stack(each, axis=1)


def asked(
    name: str, parameters: Mapping[str, Any], of: Dictionary = PLAIN, known: Any = KNOWN
) -> Asked:
    """Lists whatever the analysis needs, and nothing else."""
    read = TALLIES[name].parse(parameters, known)
    encoding = needed(of.encoding)
    pairs = products_for(TALLIES[name].tallied(read, encoding), encoding)
    fuller = with_products(of, [*encoding.products, *pairs])
    return Asked(name, read, fuller, TALLIES[name].tallied(read, fuller))


def needed(encoding: Encoding | None) -> Encoding:
    assert encoding is not None
    return encoding


def with_products(of: Dictionary, products: Sequence[Sequence[str]]) -> Encoding:
    document = dict(needed(of.encoding).document)
    return encodings.read({**document, "products": [list(pair) for pair in products]}, of.variables)


def atoms(encoding: Encoding, rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """Every atom of every row, by the definition in `wire/encoding`, and by nothing else."""
    found: dict[str, np.ndarray] = {}
    for each in encoding.variables:
        column = [row[each.position] for row in rows]
        there = np.array([value is not None for value in column], dtype=bool)
        stored = np.array([0 if value is None else value for value in column], dtype=object)
        found[f"{each.name}?"] = there.astype(object)
        if each.categories:
            places, ends = stored, list(range(each.categories + 1))
        else:
            places = (2 * (stored - each.lower) + each.step) // (2 * each.step)
            found[each.name] = np.where(there, places, 0).astype(object)
            ends = [*each.starts, each.steps + 1]
        for i in range(each.indicators):
            inside = there & (places >= ends[i]) & (places < ends[i + 1])
            found[f"{each.name}={i}"] = inside.astype(int).astype(object)
    return found


def evaluated(polynomial: Polynomial, values: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
    whole = np.zeros(rows, dtype=object)
    for monomial, coefficient in polynomial.terms.items():
        product = np.full(rows, coefficient, dtype=object)
        for atom in monomial:
            product = product * values[atom].astype(int).astype(object)
        whole = whole + product
    return whole


def cohort(n: int, seed: int, missing: float = 0.05) -> list[list[int | None]]:
    """Patients whose pressure rises with age and weight, whose death comes sooner untreated."""
    draw = np.random.default_rng(seed)
    age = np.clip(np.round(draw.normal(58, 14, n)), 18, 98)
    bmi = np.clip(np.round(draw.normal(27, 5, n) * 2) * 5, 100, 600)
    male, treated = draw.random(n) < 0.5, draw.random(n) < 0.5
    pressure = 90 + 0.6 * (age - 18) + 0.8 * (bmi / 10 - 10) + 4 * male + draw.normal(0, 12, n)
    sbp = np.clip(np.round(pressure / 2) * 2, 60, 260)
    visits = np.clip(draw.poisson(np.exp(0.3 + 0.01 * (age - 18))), 0, 20)
    death = draw.exponential(np.where(treated, 50, 28), n)
    months = np.clip(np.floor(np.minimum(death, draw.uniform(10, 60, n))), 0, 60)
    dead = death <= months + 1
    columns = [age, bmi, sbp, visits, months, male, ~treated, ~dead]
    table = np.stack([np.asarray(column, dtype=int) for column in columns], axis=1)
    gone = draw.random(table.shape) < missing
    return [
        [None if lost else int(value) for value, lost in zip(row, lack, strict=True)]
        for row, lack in zip(table, gone, strict=True)
    ]


PLACE = {str(each["name"]): at for at, each in enumerate(VARIABLES)}


def column(rows: Sequence[Row], name: str) -> np.ndarray:
    """As floats in the variable's unit (a category's index), NaN where it is absent."""
    decimals = {"bmi": 1}.get(name, 0)
    raw = [np.nan if row[PLACE[name]] is None else float(row[PLACE[name]]) for row in rows]
    return np.array(raw) / 10**decimals


OVER_50 = {"variable": "age", "op": ">=", "value": 50}
MEN = {"variable": "sex", "op": "==", "value": "male"}
PREDICTORS = [{"variable": "age"}, {"variable": "sex", "category": "male"}]
DEATH = {"variable": "status", "category": "dead"}
QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "count": ("count.v1", {"filters": [OVER_50, MEN]}),
    "count of all but": ("count.v1", {"filters": [{"variable": "age", "op": "<", "value": 65}]}),
    "sum": ("sum.v1", {"variable": "sbp", "filters": [MEN]}),
    "mean": ("mean.v1", {"variable": "bmi", "filters": []}),
    "mean of some": ("mean.v1", {"variable": "sbp", "filters": [OVER_50]}),
    "variance": ("variance.v1", {"variable": "bmi", "filters": [MEN]}),
    "histogram": ("histogram.v1", {"variable": "age", "edges": [18, 50, 65, 98]}),
    "cross table": (
        "cross_table.v1",
        {"axes": [{"variable": "sex"}, {"variable": "age", "edges": [18, 65, 98]}]},
    ),
    "covariance": ("covariance.v1", {"variables": ["age", "bmi", "sbp"]}),
    "covariance pairwise": (
        "covariance.v1",
        {"variables": ["age", "bmi", "sbp", "visits", "months"], "cases": "pairwise"},
    ),
    "correlation": ("correlation.v1", {"variables": ["age", "sbp"], "filters": [MEN]}),
    "correlation pairwise": (
        "correlation.v1",
        {"variables": ["sbp", "bmi", "age"], "cases": "pairwise"},
    ),
    "linear": (
        "linear_regression.v1",
        {"outcome": {"variable": "sbp"}, "predictors": PREDICTORS},
    ),
    "linear of the middle": (
        "linear_regression.v1",
        {
            "outcome": {"variable": "sbp"},
            "predictors": [*PREDICTORS, {"variable": "bmi"}, {"variable": "visits"}],
            "cases": "middle",
        },
    ),
    "ridge": (
        "ridge.v1",
        {"outcome": {"variable": "sbp"}, "predictors": PREDICTORS, "penalty": "12.5"},
    ),
    "logistic": ("logistic.v1", {"outcome": DEATH, "predictors": PREDICTORS}),
    "poisson": (
        "poisson.v1",
        {
            "outcome": {"variable": "visits"},
            "predictors": [{"variable": "age"}],
        },
    ),
    "survival": ("kaplan_meier.v1", {"time": "months", "event": DEATH, "filters": [MEN]}),
    "log-rank": (
        "log_rank.v1",
        {"time": "months", "event": DEATH, "group": "arm", "compare": ["control", "treated"]},
    ),
    "chi-square": ("chi_square.v1", {"axes": [{"variable": "arm"}, {"variable": "status"}]}),
    "score": (
        "score.v1",
        {"model": "0x" + "5c" * 32, "variables": ["bmi", "sex=1", "age", "sex=0", "status=0"]},
    ),
}
"""At least one of every analysis."""
