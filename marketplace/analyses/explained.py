"""What the parameters of each analysis mean, in words that a researcher reads before asking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from marketplace.analyses.analysis import ReleaseKind

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
"""By name of the parameter."""

RELEASES: Final[Mapping[ReleaseKind, str]] = {
    ReleaseKind.NUMBER: "a number: for classes whose releaseKinds hold 1",
    ReleaseKind.TABLE: "a table: for classes whose releaseKinds hold 2",
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
