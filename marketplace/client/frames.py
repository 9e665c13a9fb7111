"""Answers and lists as pandas tables. Nothing else here needs pandas, and nothing else imports it.

from marketplace.client.frames import frame

frame(answer)  # one row a cell: estimate, lower, upper, unit, level
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from marketplace.client.answers import Answer
from marketplace.client.documents import ListedRequest
from marketplace.client.http import reading
from marketplace.errors import Refusal

if TYPE_CHECKING:
    import pandas

_COEFFICIENTS: Final = ("predictor", "number")
LABELLED: Final[Mapping[str, tuple[str, ...]]] = {
    "covariance.v1": ("variable", "other"),
    "correlation.v1": ("variable", "other"),
    "linear_regression.v1": _COEFFICIENTS,
    "ridge.v1": _COEFFICIENTS,
    "logistic.v1": _COEFFICIENTS,
    "poisson.v1": _COEFFICIENTS,
    "log_rank.v1": ("number",),
    "chi_square.v1": ("number",),
    "score.v1": ("variable",),
}
"""What the parts of a label name, where the question's variables do not say it."""
INSTALL: Final = 'pip install "usufruct[pandas]"'


def frame(answer: Answer) -> pandas.DataFrame:
    """One row a cell: `estimate`, `lower`, `upper` (float64), `unit`, `level` of the interval (0.95).

    The index names the cell by the variables that were cut, outermost first; a single number has row 0.
    The intervals are those of the noise for this very cohort: sampling is not in them.

    Raises:
        Refusal: `pandas_missing`, `malformed_answer`.
    """
    _require_pandas()
    import pandas

    cells = answer.cells
    rows = {
        "estimate": [float(each.estimate) for each in cells],
        "lower": [float(each.lower) for each in cells],
        "upper": [float(each.upper) for each in cells],
        "unit": answer.unit,
        "level": float(answer.level),
    }
    names = _cut_by(answer.result)
    if not names:
        return pandas.DataFrame(rows, index=range(len(cells)))
    labels = [each.label for each in cells]
    return pandas.DataFrame(rows, index=pandas.MultiIndex.from_tuples(labels, names=names))


def frame_of_requests(requests: Sequence[ListedRequest]) -> pandas.DataFrame:
    """One row a request, in their order, by its id. Times are UTC; `notice_until` is NaT where none runs,
    `lane` is "vault" or "homomorphic".

    Raises:
        Refusal: `pandas_missing`.
    """
    _require_pandas()
    import pandas

    names = [name for name in ListedRequest.__dataclass_fields__ if name != "request"]
    rows = pandas.DataFrame([asdict(each) for each in requests], columns=["request", *names])
    for name in ("notice_until", "submitted_at"):
        rows[name] = pandas.to_datetime(rows[name], utc=True)
    rows["lane"] = [each.lane.name.lower() for each in requests]
    return rows.set_index("request")


def _cut_by(result: Mapping[str, Any]) -> list[str]:
    """What the parts of cells' labels name; none for a single number."""
    with reading("result"):
        parameters, analysis = result["parameters"], str(result["analysis"])
        if analysis == "cross_table.v1":
            return [str(axis["variable"]) for axis in parameters["axes"]]
        if analysis == "histogram.v1":
            return [str(parameters["variable"])]
        if analysis == "kaplan_meier.v1":
            return [str(parameters["time"])]
        return list(LABELLED.get(analysis, ()))


def _require_pandas() -> None:
    """Raises Refusal (`pandas_missing`). Only whoever wants a table needs it, and its import takes long."""
    try:
        import pandas  # noqa: F401  # whether it is there
    except ImportError:
        raise Refusal(
            code="pandas_missing",
            message="pandas is not installed here.",
            remedy=f"Install it: {INSTALL}. Without it, `Answer.cells` has the same numbers.",
        ) from None
