"""Who may call a route, decided before the route runs; what has no rule, or cannot be decided, is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode

import flask
import structlog

from marketplace.errors import BadParameter, Refusal
from marketplace.standing import Standing, Standings
from marketplace.vocabulary import Address
from marketplace.wire.http import hash_field
from web import sessions
from web.refusals import wants_json
from web.rules import RULES, Rule, Who, rule_of

__all__ = ["RULES", "Rule", "Who", "install", "standing"]

SIGN_IN: Final = "/sign-in"
DATASET: Final[Mapping[Who, Callable[[Standings, Address, bytes], bool]]] = {
    Who.OWNER: Standings.has_record,
    Who.STEWARD_OF: Standings.is_steward_of,
    Who.ISSUER_OF: Standings.is_issuer_of,
}
"""What an account is to the dataset that the path names."""
ROLES: Final[Mapping[Who, Callable[[Standings, Address], bool]]] = {
    Who.OPERATOR: Standings.is_operator,
    Who.STEWARD: Standings.is_steward,
    Who.AUTHORITY: Standings.is_authority,
    Who.RESEARCHER: Standings.is_researcher,
}

log = structlog.get_logger()


class NotAllowed(Refusal):
    """Something that this account may not do, and another may."""

    CODE = "not_allowed"


def install(app: flask.Flask) -> None:
    """Judges every request that reaches a route, by who is signed in."""
    sessions.install(app)
    app.before_request(_require_allowed)


def standing() -> Standing | None:
    """What whoever is signed in is, for a page that shows it; None where nobody is, or none can tell.

    It decides nothing: a node that does not answer only makes a menu shorter.
    """
    try:
        current = sessions.current()
        return None if current is None else sessions.standings().of(current.account)
    except Refusal:
        return None


def _require_allowed() -> flask.typing.ResponseReturnValue | None:
    endpoint = flask.request.endpoint
    if endpoint is None:
        return None  # no route: Flask says 404 or 405
    rule = rule_of(endpoint)
    if rule is None:
        log.error("route_without_rule", endpoint=endpoint)
        raise _forgotten()
    if Who.ANYONE in rule.who:
        _note_in_use(rule)
        return None
    current = sessions.current()
    if current is None:
        return _to_sign_in()
    if Who.SIGNED_IN in rule.who or _is_any(rule, current.account):
        return None
    if Who.OWNER in rule.who:
        flask.abort(404)  # as if there were nothing: whether there is is its owner's to know
    raise _not_allowed(rule.who)


def _note_in_use(rule: Rule) -> None:
    """Whoever looks at what is everybody's is not idle; and a database that fails hides none of it."""
    if not rule.by_itself:
        with contextlib.suppress(Refusal):
            sessions.current()


def _is_any(rule: Rule, account: Address) -> bool:
    known = sessions.standings()
    if any(ROLES[who](known, account) for who in rule.who if who in ROLES):
        return True
    wanted = [DATASET[who] for who in rule.who if who in DATASET]
    if not wanted:
        return False
    dataset = _dataset(rule)
    return any(holds(known, account, dataset) for holds in wanted)


def _dataset(rule: Rule) -> bytes:
    given = (flask.request.view_args or {}).get(rule.dataset)
    try:
        return hash_field(given, rule.dataset)
    except BadParameter:
        flask.abort(404)


def _to_sign_in() -> flask.typing.ResponseReturnValue:
    if flask.request.method != "GET" or wants_json():
        sessions.required()  # raises: nobody is signed in
    here = flask.request.full_path.rstrip("?")
    return flask.redirect(f"{SIGN_IN}?{urlencode({'next': here})}", 303)


def _not_allowed(who: tuple[Who, ...]) -> NotAllowed:
    named = " or ".join(f"the {each}" for each in who)
    return NotAllowed(
        message=f"This is for {named}, as the chain shows it now.",
        remedy="Sign in with an account that has this role, or ask whoever gives it.",
    )


def _forgotten() -> NotAllowed:
    return NotAllowed(
        message="Nobody may call this route: it has no rule.",
        remedy="Tell the operator which page led here.",
    )
