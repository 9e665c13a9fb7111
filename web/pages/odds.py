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

routes = flask.Blueprint("odds", __name__)


@routes.get("/odds")
def show() -> flask.Response:
    """`?spent=` nano-rho, `&members=` or 1 -> `by_chance`, `right_at_most`, `delta`, `in_words`."""
    spent = _number("spent", budgets.LARGEST_CAP)
    members = _number("members", MOST_MEMBERS) if "members" in flask.request.args else 1
    return answer(budgets.odds(spent, members))


def _number(name: str, most: int) -> int:
    given = flask.request.args.get(name, "")
    if _NUMBER.fullmatch(given) and int(given) <= most:
        return int(given)
    raise BadParameter(
        message=f"{name} is not a whole number from 1 to {most:,}.",
        remedy="Write it in digits alone.",
        field=name,
    )
