"""The operator's page, in process: what waits and why, what failed and what helps, and all without a node."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from marketplace.chain.adapter import Chain
from marketplace.errors import Refusal
from marketplace.stages import Stage
from marketplace.standing import Standing
from marketplace.vocabulary import Address
from marketplace.wire.http import to_hex
from tests.support.api_world import ApiWorld
from tests.support.chain_world import account
from tests.support.web_browser import HTML, Browser
from tests.support.web_world import WebWorld, web_world
from web import desks
from web.pages.operating import age
from web.site import EXTENSION

WAITS = Refusal(
    code="gate_slow",
    message="The gate is at work.",
    remedy="Wait for it.",
    facts={"until": 4_000_000_000},
)
DECLINED: dict[str, Any] = {
    "code": "too_few",
    "message": "Too few <patients> consent.",
    "remedy": "Ask again later.",
    "field": None,
}


@dataclass
class Desk:
    world: WebWorld
    browser: Browser
    waiting: str
    declined: str

    def page(self) -> str:
        answer = self.browser.get("/operator", HTML)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return answer.get_data(as_text=True)


@pytest.fixture(scope="module")
def desk(shared_api: ApiWorld) -> Iterator[Desk]:
    waiting, declined = (submit(shared_api, salt) for salt in ("operating one", "operating two"))
    database = shared_api.operator.database
    database.move(declined, Stage.REFUSED, "a test", DECLINED)
    with web_world(shared_api) as world:
        yield Desk(world, Browser(world).sign_in(shared_api.researcher), waiting, declined)


def submit(api: ApiWorld, salt: str) -> str:
    submitted = api.post_signed(api.submission(salt))
    request: str = submitted.get_json()["request"]
    return request


def row(page: str, request: str) -> str:
    """Of a table."""
    found = [
        each for each in page.split('<tr role="row">') if f'href="/requests/{request}"' in each
    ]
    assert len(found) == 1
    return html.unescape(found[0])


def test_what_is_at_work_says_what_it_waits_for_and_what_to_do(desk: Desk) -> None:
    assert "has not paid yet" in row(desk.page(), desk.waiting)
    waits = desk.world.api.operator.pipeline.waits
    waits.note(desk.waiting, WAITS)
    try:
        shown = row(desk.page(), desk.waiting)
    finally:
        waits.clear(desk.waiting)
    for said in (
        "Submitted",
        "The gate is at work. Wait for it.",
        "gate_slow",
        "until",
        f'data-nudge="{desk.waiting}"',
    ):
        assert said in shown


def test_what_was_declined_says_why_and_with_what_remedy(desk: Desk) -> None:
    page = desk.page()
    assert "Too few &lt;patients&gt; consent." in page
    shown = row(page, desk.declined)
    assert "too_few" in shown
    assert "Ask again later." in shown
    assert "data-nudge" not in shown


def test_custodians_gates_chain_and_account_are_shown_as_they_are(desk: Desk) -> None:
    operator = desk.world.api.operator
    page = html.unescape(desk.page())
    dataset = desk.browser.get(f"/datasets/{desk.world.api.dataset}", HTML).get_data(as_text=True)
    for number in range(1, len(operator.config.custodians) + 1):
        assert f"Custodian {number}</dt>" in page
        assert f"Custodian {number}: " in dataset
    assert "Custodian 0" not in page + dataset
    # Who is said to be waited for is who the page shows under that name.
    named = [each.name for each in operator.pipeline.custodians]
    assert named == [f"custodian {each.place + 1}" for each in operator.config.custodians]
    assert "not_asked_yet" in page
    for gate in operator.config.gates:
        assert f"<code>{gate.address.lower()[:8]}" in page
    assert operator.sender.address in page
    assert f"{operator.chain.head().number:,}</span>, made" in page
    assert "set <code>metrics_port</code>" in page


def test_policy_is_shown_where_it_stands_and_nothing_changes_it(desk: Desk) -> None:
    page = desk.page()
    assert 'href="/contracts#policy"' in page
    assert "<form" not in page


def test_it_is_there_when_the_node_is_not(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the database knows is shown; what the node would say is missed by name."""
    site = desk.world.site
    gone = Chain("http://127.0.0.1:9", site.operator.chain.manifest)
    operator = replace(site.operator, chain=gone, reads=replace(site.operator.reads, chain=gone))
    monkeypatch.setitem(desk.world.pages.extensions, EXTENSION, replace(site, operator=operator))
    page = desk.page()
    assert "The chain cannot be read" in page
    assert "The account cannot be read" in page
    assert desk.waiting in page
    assert "too_few" in page


def test_a_nudge_wakes_the_worker(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, nudged = desk.world.site.worker, []
    monkeypatch.setattr(type(worker), "nudge", lambda each: nudged.append(each))
    answer = desk.browser.post(f"/operator/requests/{desk.waiting}/nudge")
    assert answer.get_json() == {"request": desk.waiting, "stage": "submitted"}
    assert nudged == [worker]
    unknown = desk.browser.post(f"/operator/requests/{to_hex(bytes(32))}/nudge")
    assert unknown.get_json()["code"] == "unknown_request"
    assert desk.browser.post("/operator/requests/0x12/nudge").status_code == 400
    assert nudged == [worker]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "less than a second"),
        (1, "1 second"),
        (119, "1 minute"),
        (3_600, "1 hour"),
        (172_800, "2 days"),
    ],
)
def test_an_age_is_in_the_largest_unit_rounded_down(seconds: float, said: str) -> None:
    assert age(seconds) == said


# --- the way to it


def standing(**roles: Any) -> Standing:
    nothing = {"is_operator": False, "is_steward": False, "is_authority": False}
    given: dict[str, Any] = {**nothing, "is_researcher": False, "steward_of": (), "issuer_of": ()}
    return Standing(account=Address("0x" + "11" * 20), **{**given, **roles})


def test_every_role_leads_to_its_page_and_to_no_other() -> None:
    dataset = bytes(range(30)) + bytes(2)
    ways: dict[str, tuple[dict[str, Any], list[str]]] = {
        "nothing": ({}, []),
        "operator": ({"is_operator": True}, ["/operator"]),
        "steward": ({"is_steward": True}, ["/steward"]),
        "its own": ({"steward_of": (dataset,)}, [f"/steward/{to_hex(dataset)}"]),
        "issuer": ({"issuer_of": (dataset,)}, [f"/clinic/{to_hex(dataset)}"]),
        "authority": ({"is_authority": True}, ["/authority"]),
        "researcher": ({"is_researcher": True}, ["/my", "/ask"]),
    }
    for name, (roles, urls) in ways.items():
        found = desks.of(standing(**roles), lambda _: "heart")
        assert [each.url for each in found] == urls, name


def test_a_desk_is_called_by_the_name_of_its_dataset() -> None:
    both = standing(steward_of=(bytes(32),), issuer_of=(bytes(32),))
    found = [each.label for each in desks.of(both, lambda _: "cardiometabolic")]
    assert found == ["Steward's desk: cardiometabolic", "Clinic's desk: cardiometabolic"]


def test_whoever_has_a_role_finds_its_page_from_the_first_one(desk: Desk) -> None:
    own = desk.browser.get("/me", HTML).get_data(as_text=True)
    assert own.index('href="/operator"') < own.index("Under this address")
    stranger = Browser(desk.world, address="192.0.2.77").sign_in(account("nobody in particular"))
    page = stranger.get("/me", HTML).get_data(as_text=True)
    assert "Your desks" not in page
