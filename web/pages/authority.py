"""The credential authority's desk: who may ask, as what kind of organisation, until when.

Nothing is given here: the authority's own browser signs and sends.
"""

from __future__ import annotations

from typing import Any, Final

import flask

from marketplace.errors import BadParameter
from marketplace.vocabulary import address
from marketplace.wire import countries
from marketplace.wire.data_use import KINDS
from marketplace.wire.http import to_hex
from marketplace.wire.terms import Credential
from web.site import site
from web.wording import Wording

MOST_SHOWN: Final = 100
"""Of the credentials ever given, the newest; any other account is found by its address."""
DAY: Final = 86_400
LASTS: Final = (("6 months", 182), ("1 year", 365), ("2 years", 730))
"""What a credential may last, in days."""
LABEL: Final = "Address of the researcher"
"""Of the field that finds an account."""

routes = flask.Blueprint("authority", __name__)


@routes.get("/authority")
def home() -> flask.typing.ResponseReturnValue:
    """Credentials given so far, and the way to any account (`?account=`)."""
    given = flask.request.args.get("account")
    if given is None:
        return _home("")
    try:
        return flask.redirect(f"/authority/{address(given.strip(), 'account')}", 303)
    except BadParameter as refusal:
        return _home(given, _at_label(refusal)), 400


@routes.get("/authority/<account>")
def show(account: str) -> str:
    """One account's credential, and what can be done about it."""
    who, reads = address(account, "account"), site().operator.reads
    credential, now = reads.credential(who), reads.now()
    return flask.render_template(
        "authority/show.html",
        account=who,
        credential=_shown(credential, now),
        kinds=list(KINDS.items()),
        countries=countries.by_name(),
        lasts=[{"value": str(now + days * DAY), "label": label} for label, days in LASTS],
        facts={"account": who},
    )


def _home(typed: str, error: str = "") -> str:
    return flask.render_template(
        "authority/home.html", given=_given(), label=LABEL, typed=typed, error=error
    )


def _at_label(refusal: BadParameter) -> str:
    return f"{refusal.message.replace('account', f'“{LABEL}”', 1)} {refusal.remedy}"


def _given() -> list[dict[str, Any]]:
    """Who ever got a credential, the newest first, each as it stands now."""
    reads = site().operator.reads
    found, now = reads.credentials(MOST_SHOWN), reads.now()
    return [{"account": who, "credential": _shown(each, now)} for who, each in found]


def _shown(credential: Credential, now: int) -> dict[str, Any] | None:
    """A credential as pages show it; None for who never had one."""
    if credential.kind == 0:
        return None
    return {
        "kind": KINDS.get(credential.kind, "a kind that this version has no word for"),
        "country": countries.named(credential.country.decode("latin-1")),
        "expiry": credential.expiry,
        "user": to_hex(credential.user),
        "institution": to_hex(credential.institution),
        "evidence": to_hex(credential.evidence),
        "wording": _wording(credential, now),
        "may_withdraw": not credential.withdrawn,
    }


def _wording(credential: Credential, now: int) -> Wording:
    if credential.withdrawn:
        return Wording("Withdrawn", "It opens no request and is matched by no class.", "bad")
    if credential.expiry <= now:
        return Wording("Expired", "Its time is over; it opens no request.", "care")
    return Wording("Valid", "It opens requests that a class permits to it.", "good")
