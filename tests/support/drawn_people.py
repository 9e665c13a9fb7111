"""People who never lived, for measures that need more of them than the study's records.

Drawn with the published marginals of the Framingham Heart Study's 8,491 participants (R. B. D'Agostino Sr et
al., Circulation 2008, 117:743, table 1), each variable by itself, and ten-year outcomes by its published risk
function (ibid., table 2). Medicine cannot be learned from them. Real ones are in `framingham`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.support.framingham import Floats

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
class Drawn:
    """(n, 8) values in the order of NAMES, and whether each fell ill within ten years."""

    values: Floats
    ill: Floats

    @property
    def standardised(self) -> Floats:
        centre, unit = np.array([UNITS[name] for name in NAMES]).T
        standard: Floats = (self.values - centre) / unit
        return standard


def draw(count: int, seed: int) -> Drawn:
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
    return Drawn(values, (random.random(count) < risk(values)).astype(np.float64))


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
