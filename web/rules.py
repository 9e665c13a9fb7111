"""Who may call each route, how often, and what it takes: one line a route. `access` and the others obey.

A route without a line is refused to everybody, and `tests/web/test_matrix.py` is red.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Who(StrEnum):
    """Who may. Everybody but ANYONE has signed in; a dataset is the one that the path names."""

    ANYONE = "anyone"
    SIGNED_IN = "signed in"
    OWNER = "owner of a record in this dataset"
    RESEARCHER = "researcher with a valid credential"
    STEWARD = "steward"
    STEWARD_OF = "steward of this dataset"
    ISSUER_OF = "issuer of this dataset"
    AUTHORITY = "credential authority"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Kind:
    """How often: `number` in `seconds`, of one account, of one browser, or of one network address.

    Args:
        by_account: of whoever is signed in, so that nobody pays for others behind the same address.
        by_browser: of a browser that was greeted (see `Rule.greets`), for the same reason.
        together: in the same time, of all accounts or browsers of one address: both cost nothing to make.
        at_once: of one account, so many being answered: it has no more of the threads.
    """

    name: str
    number: int
    seconds: int
    by_account: bool = False
    by_browser: bool = False
    together: int | None = None
    at_once: int | None = None

    def of_all(self) -> Kind | None:
        """What the calls of all accounts or browsers of one address count as besides, if as anything."""
        if self.together is None:
            return None
        return Kind(f"{self.name}, together", self.together, self.seconds)

    def of_network(self) -> Kind:
        """What the calls of all households of one IPv6 network count as besides."""
        return Kind(f"{self.name}, network", HOUSEHOLDS * self.number, self.seconds)


HOUSEHOLDS: Final = 10
"""As often as so many may all of an IPv6 network ask, which has 65,536 (`limits.NETWORK_BITS`): whoever owns
them all is bounded, and none alone uses up what strangers beside it have, on a carrier's network say."""
MINUTE: Final = 60
DAY: Final = 86_400
ABUNDANT: Final = 60_000
"""A minute: more than a process answers in Python, so that nobody can use it up for a neighbour."""

READ: Final = Kind("read", 600, MINUTE, by_account=True, together=3_000)
OWN: Final = Kind("own", 600, MINUTE, by_account=True, at_once=6)
"""What somebody signed in needs to stop, take earnings or erase, of one's own alone: counted for that account
only, whatever neighbours ask with however many. A browser has six connections."""
STOP: Final = Kind("stop", ABUNDANT, MINUTE)
"""Of its own: whatever else an address asks for, its page for stopping is there."""
FILE: Final = Kind("file", ABUNDANT, MINUTE)
"""From memory. A page fetches some twenty of them once, and keeps them."""
WAY_IN: Final = Kind("way-in", 600, MINUTE, by_account=True, by_browser=True, together=ABUNDANT)
"""What somebody needs to sign in, whatever strangers behind the same address read."""
CHALLENGE: Final = Kind("challenge", 10, MINUTE, by_browser=True, together=600)
SIGN_IN: Final = Kind("sign-in", 10, MINUTE, by_browser=True, together=300)
"""Of all: what `store.web` has room for, and a hospital's morning behind one address."""
QUOTE: Final = Kind("quote", 60, MINUTE)
MESSAGE: Final = Kind("message", 30, MINUTE, by_account=True, at_once=4)
INVITATION: Final = Kind("invitation", 30, MINUTE, by_account=True, at_once=4)
"""Of its own and of one account: a patient in the clinic's room is not refused for what others there ask. Its
code is 128 bits, which nobody guesses however often."""
DRAFT: Final = Kind("draft", 5, DAY, by_account=True)
DESK: Final = Kind("desk", 120, MINUTE, by_account=True)
"""A clinic's day with many patients; each of its acts is bounded by its invitations."""
TRANSACTION: Final = Kind("transaction", 10, MINUTE, by_account=True)
TRANSACTION_WAY: Final = Kind("transaction-way", 30, MINUTE, by_account=True)


@dataclass(frozen=True)
class Rule:
    """One route's.

    Args:
        who: any of them may.
        kind: what its calls count as.
        form: whether a form may be posted to it; else only JSON.
        changes: whether a POST changes anything; one that only asks needs no token.
        greets: whether its page may sign somebody in: its browser gets a secret of its own.
        by_itself: whether pages call it without anybody looking; it keeps no session alive.
        crowded: whether it reads much for anybody who asks: only so many are served at once (`wire.crowd`).
        dataset: the path's argument that names the dataset.
    """

    who: tuple[Who, ...]
    kind: Kind = READ
    form: bool = False
    changes: bool = True
    greets: bool = False
    by_itself: bool = False
    crowded: bool = False
    dataset: str = "dataset"


ANYONE: Final = (Who.ANYONE,)
SIGNED_IN: Final = (Who.SIGNED_IN,)
OWNER: Final = (Who.OWNER,)
ISSUER_OF: Final = (Who.ISSUER_OF,)
STEWARD: Final = (Who.STEWARD,)
STEWARD_OF: Final = (Who.STEWARD_OF,)
AUTHORITY: Final = (Who.AUTHORITY,)
OPERATOR: Final = (Who.OPERATOR,)

RULES: Final[dict[str, Rule]] = {
    "static.show": Rule(ANYONE, FILE, by_itself=True),
    "home.show": Rule(ANYONE, crowded=True),
    "datasets.index": Rule(ANYONE, crowded=True),
    "datasets.show": Rule(ANYONE, crowded=True),
    "datasets.show_class": Rule(ANYONE, crowded=True),
    "requests.index": Rule(ANYONE, crowded=True),
    "requests.show": Rule(ANYONE, crowded=True),
    "contracts.show": Rule(ANYONE, crowded=True),
    "verify.show": Rule(ANYONE),
    "verify.anchors": Rule(ANYONE, QUOTE, crowded=True),
    "trust.show": Rule(ANYONE, crowded=True),
    "licences.show": Rule(ANYONE),
    "signing_in.page": Rule(ANYONE, WAY_IN, greets=True),
    "signing_in.challenge": Rule(ANYONE, CHALLENGE),
    "signing_in.sign_in": Rule(ANYONE, SIGN_IN),
    "signing_in.sign_out": Rule(ANYONE, WAY_IN),
    "signing_in.session": Rule(SIGNED_IN, OWN, by_itself=True),
    "signing_in.half": Rule(SIGNED_IN, OWN),
    "deployment.show": Rule(ANYONE, WAY_IN),
    "keys.show": Rule(ANYONE, WAY_IN, greets=True),
    "transactions.way": Rule(SIGNED_IN, TRANSACTION_WAY, changes=False),
    "transactions.carry": Rule(SIGNED_IN, TRANSACTION),
    "transactions.fate": Rule(SIGNED_IN, by_itself=True),
    "join.show": Rule(SIGNED_IN),
    "join.invitation": Rule(SIGNED_IN, INVITATION, changes=False),
    "join.leave": Rule(SIGNED_IN, DRAFT),
    "join.take_back": Rule(SIGNED_IN, MESSAGE),
    "join.progress": Rule(SIGNED_IN, by_itself=True),
    "join.progress_now": Rule(SIGNED_IN, by_itself=True),
    "clinic.show": Rule(ISSUER_OF),
    "clinic.post_desk": Rule(ISSUER_OF, DESK),
    "clinic.invite": Rule(ISSUER_OF, DESK),
    "clinic.open_draft": Rule(ISSUER_OF, DESK),
    "clinic.attest": Rule(ISSUER_OF, DESK),
    "clinic.decline": Rule(ISSUER_OF, DESK),
    "export.show": Rule(OWNER),
    "export.record": Rule(OWNER),
    "export.history": Rule(OWNER),
    "export.erase": Rule(OWNER, OWN),
    "export.erasure": Rule(OWNER, OWN, by_itself=True),
    "me.home": Rule(SIGNED_IN, OWN),
    "me.show": Rule(OWNER, OWN),
    "me.enter": Rule(SIGNED_IN, OWN),
    "me.carry": Rule(SIGNED_IN, MESSAGE),
    "consenting.show": Rule(SIGNED_IN),
    "uses.studies": Rule(OWNER),
    "uses.timeline": Rule(OWNER),
    "odds.show": Rule(ANYONE, by_itself=True),
    "ask.show": Rule(ANYONE, crowded=True),
    "ask.quote": Rule(ANYONE, QUOTE, changes=False, crowded=True),
    "ask.decisions": Rule(ANYONE, QUOTE, changes=False, crowded=True),
    "ask.opening": Rule(SIGNED_IN, TRANSACTION_WAY),
    "ask.submit": Rule((Who.RESEARCHER,), MESSAGE),
    "my.home": Rule(SIGNED_IN),
    "my.show": Rule(SIGNED_IN),
    "my.now": Rule(SIGNED_IN, by_itself=True),
    "my.events": Rule(SIGNED_IN, by_itself=True),
    "my.carry": Rule(SIGNED_IN, MESSAGE),
    "rotating.show": Rule(SIGNED_IN, OWN),
    "guardian.home": Rule(SIGNED_IN, OWN),
    "guardian.show": Rule(SIGNED_IN, OWN),
    "stop.show": Rule(ANYONE, STOP),
    "stop.worker": Rule(ANYONE, STOP, by_itself=True),
    "steward.home": Rule(STEWARD),
    "steward.new": Rule(STEWARD),
    "steward.check_dictionary": Rule(STEWARD, QUOTE, form=True, changes=False),
    "steward.show": Rule(STEWARD_OF),
    "steward.new_class": Rule(STEWARD_OF),
    "steward.check_class": Rule(STEWARD_OF, QUOTE, form=True, changes=False),
    "steward.hold_page": Rule(STEWARD_OF, MESSAGE),
    "authority.home": Rule(AUTHORITY),
    "authority.show": Rule(AUTHORITY),
    "operating.show": Rule(OPERATOR),
    "operating.nudge": Rule(OPERATOR, MESSAGE),
}
"""By endpoint: blueprint and function."""


def rule_of(endpoint: str | None) -> Rule | None:
    """The rule of a route; None for what is no route, and for a route that was forgotten."""
    return None if endpoint is None else RULES.get(endpoint)
