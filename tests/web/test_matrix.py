"""Who may what: every route for everybody, by a table written by hand, against a real chain."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import flask
import pytest
import structlog
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from werkzeug.test import TestResponse

from marketplace.chain.adapter import Chain
from marketplace.chain.funding import fund
from marketplace.chain.sender import Sender
from marketplace.errors import Refusal
from marketplace.standing import FRESH_SECONDS, MOST_ANSWERS, Standing, Standings
from marketplace.vocabulary import Address
from marketplace.wire.http import to_hex
from tests.support.api_world import api_world
from tests.support.chain_world import account
from tests.support.nodes import EMBEDDED_KEY
from tests.support.web_browser import HTML, Browser
from tests.support.web_people import NOBODY, SUBJECTS, people
from tests.support.web_world import WebWorld, web_world
from web import access, sessions
from web.rules import ANYONE, RULES, SIGNED_IN, Rule, Who

#                          anyone
#                          | patient
#                          | | stranger
#                          | | | researcher
#                          | | | | lapsed
#                          | | | | | withdrawn
#                          | | | | | | steward
#                          | | | | | | | other steward
#                          | | | | | | | | issuer
#                          | | | | | | | | | authority
#                          | | | | | | | | | | operator
EVERYBODY = "              y y y y y y y y y y y"
WHOEVER_SIGNED_IN = "      s y y y y y y y y y y"
STEWARDS = "               s n n n n n y y n n n"
OF_ITS_STEWARD = "         s n n n n n y n n n n"
OF_THE_AUTHORITY = "       s n n n n n n n n y n"
OF_THE_OPERATOR = "        s n n n n n n n n n y"
OF_THE_ISSUER = "          s n n n n n n n y n n"
OF_ITS_OWNER = "           s y h h h h h h h h h"
OF_WHO_ASKED = "           s h h h h h h h h h y"  # the operator's account asked
EXPECTED = {
    "static.show": EVERYBODY,
    "home.show": EVERYBODY,
    "datasets.index": EVERYBODY,
    "datasets.show": EVERYBODY,
    "datasets.show_class": EVERYBODY,
    "requests.index": EVERYBODY,
    "requests.show": EVERYBODY,
    "contracts.show": EVERYBODY,
    "verify.show": EVERYBODY,
    "verify.anchors": EVERYBODY,
    "trust.show": EVERYBODY,
    "licences.show": EVERYBODY,
    "signing_in.page": EVERYBODY,
    "signing_in.challenge": EVERYBODY,
    "signing_in.sign_in": EVERYBODY,
    "signing_in.sign_out": EVERYBODY,
    "signing_in.session": WHOEVER_SIGNED_IN,
    "signing_in.half": WHOEVER_SIGNED_IN,
    "deployment.show": EVERYBODY,
    "join.show": WHOEVER_SIGNED_IN,
    "join.invitation": WHOEVER_SIGNED_IN,
    "join.leave": WHOEVER_SIGNED_IN,
    "join.take_back": WHOEVER_SIGNED_IN,
    "join.progress": WHOEVER_SIGNED_IN,
    "join.progress_now": WHOEVER_SIGNED_IN,
    "clinic.show": OF_THE_ISSUER,
    "clinic.post_desk": OF_THE_ISSUER,
    "clinic.invite": OF_THE_ISSUER,
    "clinic.open_draft": OF_THE_ISSUER,
    "clinic.attest": OF_THE_ISSUER,
    "clinic.decline": OF_THE_ISSUER,
    "export.show": OF_ITS_OWNER,
    "export.record": OF_ITS_OWNER,
    "export.history": OF_ITS_OWNER,
    "export.erase": OF_ITS_OWNER,
    "export.erasure": OF_ITS_OWNER,
    "keys.show": EVERYBODY,
    "transactions.way": WHOEVER_SIGNED_IN,
    "transactions.carry": WHOEVER_SIGNED_IN,
    "transactions.fate": WHOEVER_SIGNED_IN,
    "me.home": WHOEVER_SIGNED_IN,
    "me.show": OF_ITS_OWNER,
    "me.enter": WHOEVER_SIGNED_IN,
    "me.carry": WHOEVER_SIGNED_IN,
    "rotating.show": WHOEVER_SIGNED_IN,
    "guardian.home": WHOEVER_SIGNED_IN,
    "guardian.show": WHOEVER_SIGNED_IN,
    "consenting.show": WHOEVER_SIGNED_IN,
    "uses.studies": OF_ITS_OWNER,
    "uses.timeline": OF_ITS_OWNER,
    "odds.show": EVERYBODY,
    "ask.show": EVERYBODY,
    "ask.quote": EVERYBODY,
    "ask.decisions": EVERYBODY,
    "ask.opening": WHOEVER_SIGNED_IN,
    "ask.submit": "            s n n y n n n n n n n",
    "my.home": WHOEVER_SIGNED_IN,
    "my.show": OF_WHO_ASKED,
    "my.now": OF_WHO_ASKED,
    "my.events": OF_WHO_ASKED,
    "my.carry": WHOEVER_SIGNED_IN,
    "stop.show": EVERYBODY,
    "stop.worker": EVERYBODY,
    "steward.home": STEWARDS,
    "steward.new": STEWARDS,
    "steward.check_dictionary": STEWARDS,
    "steward.show": OF_ITS_STEWARD,
    "steward.new_class": OF_ITS_STEWARD,
    "steward.check_class": OF_ITS_STEWARD,
    "steward.hold_page": OF_ITS_STEWARD,
    "authority.home": OF_THE_AUTHORITY,
    "authority.show": OF_THE_AUTHORITY,
    "operating.show": OF_THE_OPERATOR,
    "operating.nudge": OF_THE_OPERATOR,
}
"""y let through; s asked to sign in (a person is led there); n refused, naming who may; h as if not there."""

OF_TESTS = {
    "test_anyone": EVERYBODY,
    "test_signed_in": WHOEVER_SIGNED_IN,
    "test_owner": "        s y h h h h h h h h h",
    "test_researcher": "   s n n y n n n n n n n",
    "test_steward": "      s n n n n n y y n n n",
    "test_steward_of": "   s n n n n n y n n n n",
    "test_issuer_of": "    s n n n n n n n y n n",
    "test_authority": "    s n n n n n n n n y n",
    "test_operator": "     s n n n n n n n n n y",
    "test_either": "       s n n n n n y n y n y",
    "test_ruleless": "     n n n n n n n n n n n",
}
"""Of routes that only this file has: every kind of rule, whether or not a page has it yet."""

RULES_OF_TESTS = {
    "test_anyone": Rule(ANYONE),
    "test_signed_in": Rule(SIGNED_IN),
    "test_owner": Rule((Who.OWNER,)),
    "test_researcher": Rule((Who.RESEARCHER,)),
    "test_steward": Rule((Who.STEWARD,)),
    "test_steward_of": Rule((Who.STEWARD_OF,)),
    "test_issuer_of": Rule((Who.ISSUER_OF,)),
    "test_authority": Rule((Who.AUTHORITY,)),
    "test_operator": Rule((Who.OPERATOR,)),
    "test_either": Rule((Who.STEWARD_OF, Who.ISSUER_OF, Who.OPERATOR)),
}


@dataclass
class Matrix:
    """Everybody's browser, and what paths are made of."""

    world: WebWorld
    people: Mapping[str, LocalAccount]
    request: str
    browsers: dict[str, Browser] = field(default_factory=dict)

    def browser(self, subject: str) -> Browser:
        """At a network address of its own, so that nobody is limited by another."""
        if subject not in self.browsers:
            self.browsers[subject] = self.newcomer(subject)
        return self.browsers[subject]

    def newcomer(self, subject: str) -> Browser:
        browser = Browser(self.world, address=f"192.0.2.{1 + SUBJECTS.index(subject)}")
        if subject == NOBODY:
            browser.look()
            return browser
        return browser.sign_in(self.people[subject])

    @property
    def arguments(self) -> dict[str, str]:
        """Something that is there, for every name that a path has."""
        assets = self.world.site.assets
        return {
            "version": assets.version,
            "path": "css/base.css",
            "dataset": self.world.api.dataset,
            "index": "1",
            "request_id": self.request,
            "transaction": "0x" + "ab" * 32,
            "commitment": "0x" + "cd" * 32,
            "account": self.people["researcher"].address,
        }

    def paths(self) -> Iterator[tuple[str, str, str]]:
        """Endpoint, method and path of every route."""
        adapter = self.world.pages.url_map.bind("")
        for rule in self.world.pages.url_map.iter_rules():
            given = {name: self.arguments[name] for name in rule.arguments}
            path = adapter.build(rule.endpoint, given)
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule.endpoint, method, path


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    with (
        api_world(tmp_path_factory.mktemp("matrix")) as api,  # its own: people take roles away
        web_world(api) as world,
        pytest.MonkeyPatch.context() as patch,
    ):
        add_routes(world.pages, patch)
        submitted = api.post_signed(api.submission("matrix")).get_json()
        yield Matrix(world, people(api), submitted["request"])


def add_routes(app: flask.Flask, patch: pytest.MonkeyPatch) -> None:
    for name in OF_TESTS:
        app.add_url_rule(
            f"/test/{name}/<dataset>", name, lambda dataset: "through", methods=["GET", "POST"]
        )
        if name in RULES_OF_TESTS:
            patch.setitem(RULES, name, RULES_OF_TESTS[name])


# --- the table


def row(endpoint: str) -> dict[str, str]:
    cells = {**EXPECTED, **OF_TESTS}[endpoint].split()
    return dict(zip(SUBJECTS, cells, strict=True))


def test_every_route_has_a_rule_and_a_row_and_every_row_and_rule_a_route(matrix: Matrix) -> None:
    routes = {rule.endpoint for rule in matrix.world.pages.url_map.iter_rules()}
    assert routes == set(EXPECTED) | set(OF_TESTS)
    assert set(RULES) == set(EXPECTED) | set(RULES_OF_TESTS)
    for endpoint in routes:
        assert set(row(endpoint).values()) <= set("ysnh"), endpoint


def test_every_kind_of_rule_is_tried() -> None:
    assert {who for rule in RULES_OF_TESTS.values() for who in rule.who} == set(Who)
    assert {*access.ROLES, *access.DATASET, Who.ANYONE, Who.SIGNED_IN} == set(Who)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_everybody_reaches_just_what_the_table_says(matrix: Matrix, subject: str) -> None:
    wrong = []
    for endpoint, method, path in matrix.paths():
        fresh = endpoint == "signing_in.sign_out"
        browser = matrix.newcomer(subject) if fresh else matrix.browser(subject)
        found = outcome(browser, method, path)
        if found != row(endpoint)[subject]:
            wrong.append((endpoint, method, row(endpoint)[subject], found))
    assert not wrong


def outcome(browser: Browser, method: str, path: str) -> str:
    """The same for a script and for a person, but for where a person is led."""
    if method == "POST":
        return judged(browser.post(path))
    by_script, by_person = browser.get(path), browser.get(path, HTML)
    found = judged(by_script)
    if found == "s":
        assert by_person.status_code == 303
        assert by_person.headers["Location"].startswith("/sign-in?next=%2F")
    else:
        assert judged(by_person) == found
    return found


def judged(answer: TestResponse) -> str:
    assert answer.status_code < 500, answer.get_data(as_text=True)
    code = answer.get_json()["code"] if answer.mimetype == "application/problem+json" else ""
    assert code not in ("not_from_here", "too_often", "wrong_content_type"), code
    return {401: "s", 403: "n", 404: "h"}.get(answer.status_code, "y")


# --- how it refuses


def test_a_refusal_names_who_may(matrix: Matrix) -> None:
    path = f"/test/test_either/{matrix.world.api.dataset}"
    answer = matrix.browser("patient").get(path).get_json()
    assert answer["code"] == "not_allowed"
    for who in ("steward of this dataset", "issuer of this dataset", "operator"):
        assert who in answer["detail"]


def test_whoever_signs_in_comes_back_to_the_page_they_wanted(matrix: Matrix) -> None:
    path = f"/test/test_signed_in/{matrix.world.api.dataset}?page=2"
    led = matrix.browser(NOBODY).get(path, HTML).headers["Location"]
    assert matrix.browser(NOBODY).facts(led)["next"] == path


def test_what_is_somebodys_own_is_for_others_as_if_it_were_not_there(matrix: Matrix) -> None:
    """The same bytes for a dataset without a record of one's own, one that is not there, and no dataset."""
    there, nowhere = matrix.world.api.dataset, to_hex(keccak(text="no dataset"))
    seen = {
        (answer.status_code, answer.get_data())
        for answer in (
            matrix.browser("stranger").get(f"/test/test_owner/{there}"),
            matrix.browser("stranger").get(f"/test/test_owner/{nowhere}"),
            matrix.browser("patient").get(f"/test/test_owner/{nowhere}"),
            matrix.browser("patient").get("/test/test_owner/none"),
            matrix.browser("patient").get("/no-such-route"),
        )
    }
    assert len(seen) == 1


def test_nobody_is_anything_in_a_dataset_that_is_not_there(matrix: Matrix) -> None:
    nowhere = to_hex(keccak(text="no dataset"))
    for name in ("test_steward_of", "test_issuer_of"):
        for subject in SUBJECTS[1:]:
            answer = matrix.browser(subject).get(f"/test/{name}/{nowhere}")
            assert answer.status_code == 403
    zero = f"/test/test_steward_of/0x{'00' * 32}"
    assert matrix.browser("steward").get(zero).status_code == 403


@pytest.mark.parametrize("given", ["none", "0x12", "0x" + "zz" * 32, "ab" * 32])
def test_what_is_no_dataset_is_not_there(matrix: Matrix, given: str) -> None:
    for name in ("test_owner", "test_steward_of", "test_issuer_of"):
        assert matrix.browser("steward").get(f"/test/{name}/{given}").status_code == 404


def test_a_route_that_was_forgotten_is_refused_to_all_and_the_operator_reads_of_it(
    matrix: Matrix,
) -> None:
    path = f"/test/test_ruleless/{matrix.world.api.dataset}"
    with structlog.testing.capture_logs() as logs:
        answer = matrix.browser("operator").get(path)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "not_allowed")
    assert {
        "event": "route_without_rule",
        "endpoint": "test_ruleless",
        "log_level": "error",
    } in logs


def test_what_a_route_takes_and_how_long_it_is_is_told_to_nobody_else(matrix: Matrix) -> None:
    for name in set(OF_TESTS) - {"test_anyone"}:
        path = f"/test/{name}/{matrix.world.api.dataset}"
        for ask in (matrix.browser(NOBODY).client.head, matrix.browser(NOBODY).client.options):
            assert ask(path).status_code in (401, 403), name


def test_a_method_that_a_route_has_not_is_refused_as_such(matrix: Matrix) -> None:
    browser = matrix.browser("patient")
    assert browser.post("/session").status_code == 405
    assert browser.post("/no-such-route").status_code == 404


# --- without a chain to ask


@pytest.fixture
def without_node(matrix: Matrix) -> Iterator[Callable[[str], Browser]]:
    """Browsers that are signed in already, at an operator whose node is gone."""
    for subject in SUBJECTS:
        matrix.browser(subject)
    extensions = matrix.world.pages.extensions
    kept = extensions[sessions.STANDINGS]
    chain = Chain("http://127.0.0.1:9", matrix.world.api.operator.chain.manifest)
    extensions[sessions.STANDINGS] = Standings(chain, kept.operator)
    yield matrix.browser
    extensions[sessions.STANDINGS] = kept


def test_without_a_node_nobody_has_a_role_and_what_needs_none_goes_on(
    matrix: Matrix, without_node: Callable[[str], Browser]
) -> None:
    dataset = matrix.world.api.dataset
    for name, subject in (
        ("test_owner", "patient"),
        ("test_researcher", "researcher"),
        ("test_steward", "steward"),
        ("test_steward_of", "steward"),
        ("test_issuer_of", "issuer"),
        ("test_authority", "authority"),
    ):
        answer = without_node(subject).get(f"/test/{name}/{dataset}")
        assert (answer.status_code, answer.get_json()["code"]) == (503, "node_unreachable"), name
    assert without_node("operator").get(f"/test/test_operator/{dataset}").status_code == 200
    assert without_node("patient").get("/session").status_code == 200


# --- standing


@dataclass
class Watch:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def standings(matrix: Matrix, clock: Callable[[], float], **changes: Any) -> Standings:
    operator = matrix.world.api.operator
    given = {"chain": operator.chain, "operator": operator.sender.address, **changes}
    return Standings(clock=clock, **given)


def sender_of(matrix: Matrix, subject: str) -> Sender:
    chain, key = matrix.world.api.custody.chain, matrix.people[subject]
    fund(chain.node, EMBEDDED_KEY, [key.address], 10**18)
    return Sender(chain, bytes(key.key))


def test_a_standing_is_all_that_the_chain_says_of_an_account(matrix: Matrix) -> None:
    known, dataset = standings(matrix, Watch()), matrix.world.api.custody.dataset
    nothing: dict[str, Any] = {
        "is_operator": False,
        "is_steward": False,
        "is_authority": False,
        "is_researcher": False,
        "steward_of": (),
        "issuer_of": (),
    }
    expected: dict[str, dict[str, Any]] = {
        "patient": {},
        "stranger": {},
        "researcher": {"is_researcher": True},
        "lapsed": {},
        "withdrawn": {},
        "steward": {"is_steward": True, "steward_of": (dataset,)},
        "other steward": {"is_steward": True},
        "issuer": {"issuer_of": (dataset,)},
        "authority": {"is_authority": True},
        "operator": {"is_operator": True},
    }
    for subject, own in expected.items():
        who = Address(matrix.people[subject].address)
        assert known.of(who) == Standing(account=who, **{**nothing, **own}), subject


def test_a_role_that_is_given_or_taken_shows_after_five_seconds(matrix: Matrix) -> None:
    watch, custody = Watch(), matrix.world.api.custody
    known, appointed = standings(matrix, watch), account("appointed")
    who = Address(appointed.address)
    steward = sender_of(matrix, "steward")
    assert not known.is_issuer_of(who, custody.dataset)
    assert known.of(who).issuer_of == ()
    steward.send("DatasetRegistry", "addIssuer", custody.dataset, who)
    assert not known.is_issuer_of(who, custody.dataset)
    watch.now += FRESH_SECONDS
    assert known.is_issuer_of(who, custody.dataset)
    assert known.of(who).issuer_of == (custody.dataset,)
    steward.send("DatasetRegistry", "withdrawIssuer", custody.dataset, who)
    watch.now += FRESH_SECONDS
    assert not known.is_issuer_of(who, custody.dataset)
    assert known.of(who).issuer_of == ()


def test_a_record_shows_at_once_also_to_who_asked_before_it_was_there(matrix: Matrix) -> None:
    api, newcomer = matrix.world.api, account("who has just joined")
    known, who = standings(matrix, Watch()), Address(newcomer.address)
    assert not known.has_record(who, api.custody.dataset)
    stored = api.post("/records", {"entries": [api.upload_entry(newcomer)]})
    assert [each["outcome"] for each in stored.get_json()["outcomes"]] == ["stored"]
    assert known.has_record(who, api.custody.dataset)


def test_an_answer_is_asked_for_once_in_five_seconds(matrix: Matrix) -> None:
    watch = Watch()
    known = standings(matrix, watch)
    who = Address(matrix.people["steward"].address)
    assert known.is_steward(who)
    known.chain = Chain("http://127.0.0.1:9", known.chain.manifest)
    assert known.is_steward(who)
    watch.now += FRESH_SECONDS
    with pytest.raises(Refusal, match="node") as refused:
        known.is_steward(who)
    assert refused.value.code == "node_unreachable"


def test_a_stale_node_makes_nobody_anything(matrix: Matrix) -> None:
    operator = matrix.world.api.operator
    stale = Chain(operator.config.node_url, operator.chain.manifest, max_head_age=-(10**9))
    with pytest.raises(Refusal) as refused:
        standings(matrix, Watch(), chain=stale).is_steward(
            Address(matrix.people["steward"].address)
        )
    assert refused.value.code == "stale_head"


def test_answers_are_kept_in_bounded_memory(matrix: Matrix) -> None:
    known = standings(matrix, Watch())
    for number in range(MOST_ANSWERS + 50):
        known._answers.keep(("STEWARD", str(number)), (0.0, True))
    assert known._answers.get(("STEWARD", "49")) is None
    assert known._answers.get(("STEWARD", "50")) == (0.0, True)


def test_a_page_can_show_what_somebody_is_and_does_without_when_nobody_can_tell(
    matrix: Matrix,
) -> None:
    pages, token = matrix.world.pages, matrix.browser("steward").cookie("session")
    cookie = f"{matrix.browser('steward').cookie_name('session')}={token}"
    origin = matrix.world.site.origin
    with pages.test_request_context("/", base_url=origin, headers={"Cookie": cookie}):
        shown = access.standing()
        assert shown is not None
        assert shown.is_steward
    with pages.test_request_context("/", base_url=origin):
        assert access.standing() is None
