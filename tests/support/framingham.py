"""People like those of the Framingham Heart Study, none of whom ever lived, and models fitted to them.

There are no records of that study in this repository: they are given out under agreements with each
researcher. Drawn here are people with the published marginals of its 8,491 participants (R. B. D'Agostino
Sr et al., Circulation 2008, 117:743, table 1), each variable by itself, and ten-year outcomes by its
published risk function (ibid., table 2). So models have weights of the usual size, and AUCs somewhat like
the published ones; medicine cannot be learned from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from ml.ckks import layout, models
from ml.ckks.documents import decimal_text
from ml.ckks.sigmoid import fitted

Floats = npt.NDArray[np.float64]
WOMEN = 4522 / 8491
BOUNDS = {
    "age": ("30", "74"),
    "sex": ("0", "1"),
    "cholesterol": ("100", "405"),
    "hdl": ("10", "100"),
    "pressure": ("90", "200"),
    "treated": ("0", "1"),
    "smoker": ("0", "1"),
    "diabetes": ("0", "1"),
}
NAMES = tuple(BOUNDS)
UNITS = {  # what models standardise with: about the centre and the standard deviation of everybody
    "age": (49.0, 11.0),
    "sex": (0.5, 0.5),
    "cholesterol": (214.0, 42.0),
    "hdl": (52.0, 15.0),
    "pressure": (128.0, 19.0),
    "treated": (0.11, 0.31),
    "smoker": (0.35, 0.48),
    "diabetes": (0.05, 0.22),
}
MISSING = {  # other than the centre, so that it counts
    "age": "55",
    "sex": "0",
    "cholesterol": "200.5",
    "hdl": "40",
    "pressure": "121.75",
    "treated": "0",
    "smoker": "0.25",
    "diabetes": "0",
}
MARGINALS = {  # mean and standard deviation, or share: women, men
    "age": ((49.1, 11.1), (48.5, 10.8)),
    "cholesterol": ((215.1, 44.1), (212.5, 39.3)),
    "hdl": ((57.6, 15.3), (44.9, 12.2)),
    "pressure": ((125.8, 20.0), (129.7, 17.6)),
    "treated": (0.1176, 0.1013),
    "smoker": (0.3423, 0.3522),
    "diabetes": (0.0376, 0.0650),
}
RISK = {  # log age, cholesterol, HDL, pressure untreated, treated; smoker, diabetes; mean; baseline survival
    0: (2.32888, 1.20904, -0.70833, 2.76157, 2.82263, 0.52873, 0.69154, 26.1931, 0.95012),
    1: (3.06117, 1.12370, -0.93263, 1.93303, 1.99881, 0.65451, 0.57367, 23.9802, 0.88936),
}


@dataclass(frozen=True)
class People:
    """Drawn people: (n, 8) values in the order of NAMES, and whether each fell ill within ten years."""

    values: Floats
    ill: Floats

    def record(self, i: int) -> dict[str, float]:
        return dict(zip(NAMES, map(float, self.values[i]), strict=True))

    def balanced(self, count: int) -> People:
        """The first ones, half of them ill."""
        halves = [np.flatnonzero(self.ill == ill)[: count // 2] for ill in (1, 0)]
        rows = np.concatenate(halves)
        return People(self.values[rows], self.ill[rows])


def draw(count: int, seed: int) -> People:
    """Whole numbers, as they are measured."""
    random = np.random.default_rng(seed)
    sex = (random.random(count) >= WOMEN).astype(np.int64)
    columns: dict[str, Floats] = {"sex": sex.astype(np.float64)}
    for name, (women, men) in MARGINALS.items():
        if isinstance(women, float):
            share = np.where(sex == 0, women, men)
            columns[name] = (random.random(count) < share).astype(np.float64)
        else:
            mean, deviation = np.where(sex[:, None] == 0, women, men).T
            low, high = map(float, BOUNDS[name])
            columns[name] = np.clip(np.round(random.normal(mean, deviation)), low, high)
    values = np.column_stack([columns[name] for name in NAMES])
    return People(values, (random.random(count) < risk(values)).astype(np.float64))


def risk(values: Floats) -> Floats:
    """The published chance of a cardiovascular event within ten years."""
    age, sex, cholesterol, hdl, pressure, treated, smoker, diabetes = values.T
    beta = np.array([RISK[0], RISK[1]])[sex.astype(np.int64)].T
    total = (
        beta[0] * np.log(age)
        + beta[1] * np.log(cholesterol)
        + beta[2] * np.log(hdl)
        + np.where(treated == 1, beta[4], beta[3]) * np.log(pressure)
        + beta[5] * smoker
        + beta[6] * diabetes
    )
    return 1.0 - beta[8] ** np.exp(total - beta[7])


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
    title = "Cardiovascular event within ten years"
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
