"""What a budget lets others guess, for pages that show it while somebody chooses."""

from __future__ import annotations

import re
from typing import Final

import flask

from marketplace.errors import BadParameter
from marketplace.wire.http import answer
from web import budgets

MOST_MEMBERS: Final = 2**32 - 1
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,14}")
_RIGHT: Final = re.compile(r"[5-9][0-9](?:\.[0-9]{1,2})?")

routes = flask.Blueprint("odds", __name__)


@routes.get("/odds")
def show() -> flask.Response:
    """`?spent=` nano-rho, `&members=` or 1 -> `spent`, `by_chance`, `right_at_most`, `delta`, `in_words`.

    With `?right=` in place of `spent`: of the largest limit with which so many guesses in 100 are right
    at most.
    """
    members = _number("members", MOST_MEMBERS) if "members" in flask.request.args else 1
    spent = (
        _within(members) if "right" in flask.request.args else _number("spent", budgets.LARGEST_CAP)
    )
    return answer({"spent": spent, **budgets.odds(spent, members)})


def _within(members: int) -> int:
    given = flask.request.args["right"]
    found = budgets.cap_within(given, members) if _RIGHT.fullmatch(given) else 0
    if found > 0:
        return found
    raise BadParameter(
        message="right is no number of more than 50 and less than 100.",
        remedy="Write it with a point and at most two digits behind it, such as 62.5.",
        field="right",
    )


def _number(name: str, most: int) -> int:
    given = flask.request.args.get(name, "")
    if _NUMBER.fullmatch(given) and int(given) <= most:
        return int(given)
    raise BadParameter(
        message=f"{name} is not a whole number from 1 to {most:,}.",
        remedy="Write it in digits alone.",
        field=name,
    )
