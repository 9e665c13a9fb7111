"""What each analysis asks and tells and what its parameters mean, in words that are read before asking: by
researchers, and by patients whose records it would use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from marketplace.analyses.analysis import ReleaseKind
from marketplace.vocabulary import Lane

MEANS: Final[Mapping[str, str]] = {
    "variable": "The name of a variable of the data dictionary. A number, except in a histogram or an axis, "
    "where a category does too.",
    "clip": "[lower, upper] in the variable's unit; values beyond count as the nearer end. The dictionary's "
    "bounds where it is left out. Narrower means less noise.",
    "filters": "Who is counted: at most 8 conditions {variable, op, value}, of which all must hold. op is "
    "one of < <= > >= == in for numbers, == or in for categories; value is a number as text or a category, "
    'a list of them for "in". Everybody where it is left out, but a count needs one.',
    "edges": "For a number: 2 or more rising values in its unit. Cells are [e0, e1), [e1, e2), ..., the last "
    "one closed. Whoever lies beyond the edges is in no cell. Left out for a category: a cell each.",
    "axes": "Two or three {variable, edges}, each variable once: a cell for each combination, 1,024 at most. "
    "edges as in a histogram.",
    "level": 'Which quantile, as a share of one: "0.5" is the median. From 0.01 to 0.99, in steps of 0.001.',
}
"""By name of the parameter, in the vault lane."""

_ENCODED_FILTERS: Final = (
    "Who is counted: at most 8 conditions {variable, op, value}, of which all must hold. A number can "
    "only be cut where the dataset's encoding cuts it, and the encoding must list the products that the "
    "conditions need. Everybody where it is left out, but a count needs one."
)
_ENCODED_EDGES: Final = (
    "For a number: rising values in its unit, of those where the dataset's encoding cuts it, the range of "
    "the dictionary among them where nobody shall be left out. Left out for a category: a cell each."
)

ENCODED_MEANS: Final[Mapping[str, str]] = {
    "variable": MEANS["variable"],
    "filters": _ENCODED_FILTERS,
    "edges": _ENCODED_EDGES,
    "axes": "Two or three {variable, edges}, each variable once: a cell for each combination, 1,024 at most; "
    "two, and 256 cells at most, for a chi-square test. edges as in a histogram.",
    "variables": "2 to 8 numbers of the data dictionary, by name. For personal scores: what the model reads, "
    "by name and in the model's own order; name=0, name=1, ... for the categories of a variable.",
    "model": "The hash of a published model, as `usufruct models` lists it.",
    "cases": '"complete" (if left out): only patients who have every value that is asked for. '
    '"pairwise" (covariances, correlations): for each pair, patients who have both. "middle" (regressions): '
    "patients who have the outcome; a predictor that is missing counts as the middle of its range, which "
    "draws its coefficient towards 0.",
    "outcome": "What is explained: {variable} for a number, {variable, category} for whether somebody is in "
    "that category (logistic regression). A number that counts something, from 0 up, in Poisson regression.",
    "predictors": "What it is explained by: 1 to 7, each {variable} for a number, or {variable, category} "
    "for whether somebody is in that category. With c categories of a variable, name c - 1.",
    "penalty": "How strongly coefficients are drawn towards 0: so many times the square of each, of half "
    "ranges of the outcome per half range of the predictor, is added to the squared residuals. 0 is none.",
    "time": "A number that the dataset's encoding has intervals of: how long until somebody left.",
    "event": "{variable, category}: who left with the event. Who is in another category of that variable "
    "left without it (was censored); who is in none is left out.",
    "group": "The category variable whose groups are compared.",
    "compare": "Two categories of group: the first is compared with the second.",
}
"""By name of the parameter, in the homomorphic lane: values stay encrypted, so that only what the dataset's
encoding cuts and multiplies can be said of them. None for `clip`, which no catalogue offers there: an
encrypted value counts as it is, and the dictionary's bounds, written out, are all that is taken.
"""

MEANS_IN: Final[Mapping[Lane, Mapping[str, str]]] = {
    Lane.VAULT: MEANS,
    Lane.HOMOMORPHIC: ENCODED_MEANS,
}

ASKS: Final[Mapping[str, str]] = {
    "count.v1": "How many patients of the group meet all conditions?",
    "sum.v1": "What do the values of one number add up to, over everybody who is counted?",
    "mean.v1": "What is the average of one number?",
    "variance.v1": "How far do the values of one number spread about their average?",
    "histogram.v1": "How many patients are in each category, or in each interval of a number?",
    "quantile.v1": "Below which value is a given share of patients (for half of them, the median)?",
    "cross_table.v1": "How many patients are in each combination of two or three variables?",
    "covariance.v1": "How do several numbers vary, and how do they vary together?",
    "correlation.v1": "How closely do several numbers go together, pair by pair?",
    "linear_regression.v1": "How much higher is an outcome, on average, for each unit of its predictors?",
    "ridge.v1": "How much higher is an outcome, on average, for each unit of its predictors, with "
    "coefficients drawn towards 0, which is steadier where predictors are many or alike?",
    "logistic.v1": "How do the odds of being in a category rise with its predictors?",
    "poisson.v1": "By what factor does a count (of visits, say) rise with its predictors?",
    "kaplan_meier.v1": "Which share of patients has had no event by the end of each interval of time?",
    "log_rank.v1": "Does the event come sooner in one group than in another?",
    "chi_square.v1": "Are two variables related at all, or independent?",
    "score.v1": "What does a published model say of each patient, for that patient alone to know; and how "
    "many have each value that it reads?",
}
"""By id, in both lanes: the question, for somebody who is no statistician."""

_INTERVAL: Final = "with its 95% interval"
_OF_NOISE: Final = "The interval is for the noise: it says nothing about people outside the group."
_OF_PEOPLE: Final = (
    "The interval is for the noise and for chance in who takes part, if that is a fair sample."
)

TELLS: Final[Mapping[str, str]] = {
    "count.v1": f"One number of patients {_INTERVAL}. {_OF_NOISE}",
    "sum.v1": f"One number in the variable's unit {_INTERVAL}. {_OF_NOISE}",
    "mean.v1": f"One number in the variable's unit {_INTERVAL}. {_OF_NOISE}",
    "variance.v1": f"One number in the square of the variable's unit {_INTERVAL}. {_OF_NOISE}",
    "histogram.v1": f"A number of patients for each cell {_INTERVAL}. {_OF_NOISE}",
    "quantile.v1": f"One number in the variable's unit {_INTERVAL}. {_OF_NOISE}",
    "cross_table.v1": f"A number of patients for each cell {_INTERVAL}. {_OF_NOISE}",
    "covariance.v1": "For each pair of numbers, and each number with itself, one number in the product of "
    f"both units {_INTERVAL}. {_OF_NOISE}",
    "correlation.v1": "For each pair of numbers, one from -1 (one falls as the other rises) over 0 (no "
    f"straight line) to 1 (both rise together) {_INTERVAL}. {_OF_NOISE}",
    "linear_regression.v1": "An intercept, and for each predictor a coefficient: how much higher the "
    f"outcome is for one unit more of it, the others being equal; {_INTERVAL} and standard error. "
    f"{_OF_PEOPLE}",
    "ridge.v1": "An intercept and a coefficient for each predictor, drawn towards 0 by the penalty, "
    f"{_INTERVAL} and standard error of the penalised coefficient. {_OF_PEOPLE}",
    "logistic.v1": "An intercept, and for each predictor a coefficient: by how much the log of the odds "
    f"is higher for one unit more of it, the others being equal; {_INTERVAL} and standard error. "
    f"{_OF_PEOPLE} Computed from sums alone: within about 4% of the usual estimate (maximum likelihood) "
    "for predictors that are evenly spread about their average, within a quarter for lopsided ones. No "
    "interval covers that.",
    "poisson.v1": "An intercept, and for each predictor a coefficient: by how much the log of the "
    f"expected count is higher for one unit more of it, the others being equal; {_INTERVAL} and standard "
    f"error. {_OF_PEOPLE} Computed from sums alone: within about 4% of the usual estimate (maximum "
    "likelihood) for predictors that are evenly spread about their average and effects that are not "
    "large. No interval covers that.",
    "kaplan_meier.v1": "For each interval of time, the share of patients without the event by its end, "
    f"{_INTERVAL}. {_OF_PEOPLE}",
    "log_rank.v1": "How many more events the first group had than it would have with equal risk, and the "
    f"log of how many times the second group's risk it has, each {_INTERVAL}; and a chi-square and "
    f"p-value that take the noise into account. {_OF_PEOPLE}",
    "chi_square.v1": "A chi-square, its degrees of freedom, and a p-value that takes the noise into "
    "account: how often independent variables would look as related. No interval.",
    "score.v1": "To each patient who handed in a record for it, an encrypted score that only that patient's "
    "key opens: researchers get none, noised or not. To the researcher, for each variable that the model "
    f"reads, a number of patients who have it {_INTERVAL}. {_OF_NOISE}",
}
"""By id, in both lanes: what leaves, in words, and what its interval covers. Noise is in all of it."""

RELEASES: Final[Mapping[ReleaseKind, str]] = {
    ReleaseKind.NUMBER: "a number: for classes whose releaseKinds hold 1",
    ReleaseKind.TABLE: "a table: for classes whose releaseKinds hold 2",
    ReleaseKind.PERSONAL_SCORE: "to each patient a score that nobody else can open, and to the researcher "
    "how many have each value: for classes whose releaseKinds hold 4",
}
"""What leaves, and the flag of a class's `releaseKinds` (1 << kind) that allows it."""

_ADULTS: Final = [{"variable": "age", "op": ">=", "value": "50"}]
_PRESSURE: Final = {"variable": "systolic", "clip": ["80", "200"], "filters": _ADULTS}

EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "count.v1": {
        "filters": [*_ADULTS, {"variable": "sex", "op": "in", "value": ["female", "other"]}]
    },
    "sum.v1": _PRESSURE,
    "mean.v1": _PRESSURE,
    "variance.v1": _PRESSURE,
    "histogram.v1": {
        "variable": "systolic",
        "edges": ["80", "120", "140", "200"],
        "filters": _ADULTS,
    },
    "quantile.v1": {**_PRESSURE, "level": "0.5"},
    "cross_table.v1": {
        "axes": [{"variable": "sex"}, {"variable": "age", "edges": ["18", "50", "110"]}],
        "filters": [],
    },
}
"""Parameters that would do for a dictionary with age (years), systolic (mm[Hg]) and sex."""

_OVER_40: Final = [{"variable": "age", "op": ">=", "value": "40"}]
_ON_AGE: Final = [{"variable": "age"}, {"variable": "sex", "category": "female"}]
_SMOKES: Final = {"variable": "smoking", "category": "current"}
_NUMBERS: Final = {"variables": ["age", "systolic"], "cases": "complete", "filters": []}
_MODEL: Final = {"predictors": _ON_AGE, "cases": "complete", "filters": []}
_LINE: Final = {**_MODEL, "predictors": _ON_AGE[:1]}
_ENCODED_NUMBER: Final = {"variable": "systolic", "filters": _OVER_40}
_LEFT: Final = {
    "time": "months",
    "event": {"variable": "status", "category": "dead"},
    "filters": _OVER_40,
}

ENCODED_EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "count.v1": {"filters": _OVER_40},
    "sum.v1": _ENCODED_NUMBER,
    "mean.v1": _ENCODED_NUMBER,
    "variance.v1": _ENCODED_NUMBER,
    "histogram.v1": {
        "variable": "systolic",
        "edges": ["60", "120", "140", "260"],
        "filters": _OVER_40,
    },
    "cross_table.v1": {
        "axes": [{"variable": "sex"}, {"variable": "age", "edges": ["18", "40", "110"]}],
        "filters": [],
    },
    "covariance.v1": _NUMBERS,
    "correlation.v1": _NUMBERS,
    "linear_regression.v1": {"outcome": {"variable": "systolic"}, **_LINE},
    "ridge.v1": {"outcome": {"variable": "systolic"}, **_LINE, "penalty": "10"},
    "logistic.v1": {"outcome": _SMOKES, **_MODEL},
    "poisson.v1": {"outcome": {"variable": "visits"}, **_MODEL},
    "kaplan_meier.v1": _LEFT,
    "log_rank.v1": {**_LEFT, "filters": [], "group": "sex", "compare": ["female", "male"]},
    "chi_square.v1": {"axes": [{"variable": "sex"}, {"variable": "smoking"}], "filters": []},
    "score.v1": {"model": "0x" + 32 * "5c", "variables": ["age", "systolic", "sex=0"]},
}
"""Parameters that would do for a dictionary with age (years, 18 to 110, cut at 40), systolic (mm[Hg], 60 to
260, cut at 120 and 140), visits (a count), months (cut somewhere), and the categories sex, smoking and
status.
"""

EXAMPLES_IN: Final[Mapping[Lane, Mapping[str, Mapping[str, Any]]]] = {
    Lane.VAULT: EXAMPLES,
    Lane.HOMOMORPHIC: ENCODED_EXAMPLES,
}
