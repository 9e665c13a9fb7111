"""Whatever is sent to whatever route by whomever: an answer that says what to do, no fault, no change."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from eth_account.signers.local import LocalAccount
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.support.api_world import ApiWorld
from tests.support.chain_world import account
from tests.support.web_browser import HTML, JSON, Browser
from tests.support.web_world import WebWorld, web_world
from web import limits
from web.limits import Buckets
from web.rules import RULES

EXAMPLES, MANY = 8, 200
"""Of each route: every day, and with --long."""
SUBJECTS = ("nobody", "somebody", "patient", "issuer")

HEX = st.binary(min_size=0, max_size=40).map(lambda raw: "0x" + raw.hex())
IDS = st.sampled_from(["0x" + "00" * 32, "0x" + "ff" * 32, "0x" + "Ab" * 32, "0x" + "00" * 20])
ODD = st.sampled_from(
    ["..", "%00", "%ff", "\u202e", "0", "-1", "1" * 400, "1e9", "NaN", "٣", "'", "<b>"]
)
TEXT = st.one_of(st.text(max_size=40), HEX, IDS, ODD)
SCALARS = st.one_of(HEX, HEX, TEXT, st.none(), st.booleans(), st.integers(), st.floats())
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
KEYS = {
    "signing_in.challenge": ("address",),
    "signing_in.sign_in": ("nonce", "signature"),
    "transactions.way": ("to", "data"),
    "transactions.carry": ("raw",),
    "ask.quote": ("dataset", "classes", "analysis", "parameters", "cost", "lane"),
    "ask.decisions": ("dataset", "purpose", "kind", "country"),
    "ask.submit": ("terms", "parameters"),
    "my.carry": ("message",),
    "join.invitation": ("code",),
    "join.leave": ("record", "opening", "code"),
    "clinic.post_desk": ("desk", "signature"),
    "clinic.invite": ("codes", "macs", "custodians", "epoch", "days"),
    "clinic.attest": ("attestation", "signature"),
    "clinic.decline": ("why",),
    "me.carry": ("message",),
}
"""What a route asks for, so that what stands there is read too."""


def bodies(endpoint: str) -> st.SearchStrategy[bytes]:
    """Bytes, JSON, and mostly JSON of the route's own form."""
    own = st.fixed_dictionaries(dict.fromkeys(KEYS.get(endpoint, ()), SCALARS | DOCUMENTS))
    documents = st.one_of(own, own, DOCUMENTS).map(lambda document: json.dumps(document).encode())
    return st.one_of(documents, documents, st.binary(max_size=200))


@dataclass
class Sender:
    """Everybody's browser at one server."""

    world: WebWorld
    browsers: dict[str, Browser] = field(default_factory=dict)

    @property
    def accounts(self) -> dict[str, LocalAccount]:
        """Whoever signs in; a stranger, and two who have business in the dataset."""
        api = self.world.api
        people = (account("web somebody"), api.patients[0], api.custody.issuer)
        return dict(zip(SUBJECTS[1:], people, strict=True))

    def arguments(self, names: set[str]) -> st.SearchStrategy[dict[str, str]]:
        """Of a path: anything, and often the dataset that there is."""
        there = TEXT | st.just(self.world.api.dataset)
        return st.fixed_dictionaries(
            {name: there if name == "dataset" else TEXT for name in sorted(names)}
        )

    def browser(self, subject: str) -> Browser:
        """Signed in again where the last example signed out; nobody is limited."""
        self.world.pages.extensions[limits.EXTENSION] = Buckets()
        found = self.browsers.setdefault(subject, Browser(self.world))
        if subject in self.accounts and found.get("/session").status_code != 200:
            found.sign_in(self.accounts[subject])
        if found.cookie("hello") is None and found.cookie("session") is None:
            found.look()
        return found

    def send(
        self, subject: str, method: str, path: str, query: dict[str, str], body: bytes, accept: Any
    ) -> TestResponse:
        browser = self.browser(subject)
        headers = {
            **accept,
            "Origin": self.world.site.origin,
            "X-CSRF-Token": browser.token,
            "Content-Type": "application/json",
        }
        given = {"data": body} if method == "POST" else {}
        return browser.client.open(
            path, method=method, query_string=query, headers=headers, **given
        )


@pytest.fixture(scope="module")
def sender(shared_api: ApiWorld) -> Iterator[Sender]:
    with web_world(shared_api) as world:
        yield Sender(world)


def test_every_route_is_sent_something(sender: Sender) -> None:
    routes = {rule.endpoint for rule in sender.world.pages.url_map.iter_rules()}
    assert routes == set(RULES)


@pytest.mark.parametrize("endpoint", sorted(RULES))
@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(MANY, marks=pytest.mark.long)])
def test_no_input_makes_a_fault_or_changes_what_it_may_not(
    sender: Sender, endpoint: str, examples: int
) -> None:
    (rule,) = sender.world.pages.url_map.iter_rules(endpoint)
    methods = sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    before = sender.world.api.state()

    # Not shrunk: that would take minutes, and the input that failed is small already.
    @settings(max_examples=examples, database=None, phases=[Phase.generate])
    @given(
        subject=st.sampled_from(SUBJECTS),
        method=st.sampled_from(methods),
        arguments=sender.arguments(rule.arguments),
        query=st.dictionaries(st.sampled_from(("next", "before", "page", "q")), TEXT, max_size=2),
        body=bodies(endpoint),
        accept=st.sampled_from([HTML, JSON, {}]),
    )
    def send(
        subject: str, method: str, arguments: Any, query: Any, body: bytes, accept: Any
    ) -> None:
        path = path_of(rule.rule, arguments)
        answer = sender.send(subject, method, path, query, body, accept)
        assert answer.status_code < 500 or says_why(answer), answer.get_data(as_text=True)

    send()
    assert sender.world.api.state() == before


def path_of(rule: str, arguments: dict[str, str]) -> str:
    for name, value in arguments.items():
        for form in (f"<{name}>", f"<path:{name}>", f"<int:{name}>"):
            rule = rule.replace(form, quote(value, safe=""))
    return rule


def says_why(answer: TestResponse) -> bool:
    """A refusal of this server's (503: the node or database), never a fault of its own."""
    return answer.status_code == 503 and b"internal_fault" not in answer.get_data()
