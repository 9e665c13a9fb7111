"""Every public page in a real Chromium, over a real chain: on any screen, by keyboard, with hostile text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

import web
from marketplace.config import load_config
from marketplace.fhir.demo import demo_dictionary
from marketplace.operator import Worker, build_operator
from marketplace.wire.class_page import ClassPage
from marketplace.wire.dictionary import Dictionary, from_json
from marketplace.wire.http import to_hex
from marketplace.wire.plain import REPLACED
from tests.support.api_world import api_world
from tests.support.custody_world import TERMS
from tests.support.daily import daily
from tests.support.gallery import add_gallery
from tests.support.looking import COLOURS, HALF, MIDDLE, NARROW, WIDE, Looked, looking
from tests.support.web_browser import HTML
from tests.support.web_world import WebWorld, web_world
from tools.browser import PATIENCE_MILLISECONDS, chromium
from tools.screenshots import ANYONE as ANYBODY
from tools.screenshots import SHOTS
from web.rules import ANYONE, RULES, Rule, Who
from web.site import Site

SCRIPT = '<img src=x onerror="window.ran=1"><script>window.ran=1</script>'
TURNED = "abc\u202edef\u0007"
LONG = "W" * 180
"""Nothing in it may be broken by the language's rules."""
GALLERY = "gallery"
LINK = "javascript:window.ran=1"
PAGES = {
    "home.show": "/",
    "datasets.index": "/datasets",
    "datasets.show": "/datasets/{dataset}",
    "datasets.show_class": "/datasets/{hostile}/classes/1",
    "requests.index": "/requests",
    "requests.show": "/requests/{settled}",
    "contracts.show": "/contracts",
    "verify.show": "/verify",
    "trust.show": "/trust",
    "licences.show": "/licences",
    "signing_in.page": "/sign-in",
    "keys.show": "/keys",
    "ask.show": "/ask?dataset={dataset}",
    "stop.show": "/stop/",
}
"""Every page that anybody may see."""
MORE = {
    "a request that waits": "/requests/{waiting}",
    "a dataset with hostile words": "/datasets/{hostile}",
    "nothing here": "/no-such-page",
    "an id that is none": "/datasets/0x12",
    "every part of the design": "/gallery",
    "questions to hostile words": "/ask?dataset={hostile}",
    "whom to ask": "/ask",
    "a dataset that is not there": "/datasets/0x" + "12" * 32,
}


@dataclass
class Shown:
    """A market with something on every page; ids in hexadecimal."""

    world: WebWorld
    dataset: str
    hostile: str
    settled: str
    waiting: str

    def path(self, template: str) -> str:
        return template.format(**vars(self))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    with (
        api_world(tmp_path_factory.mktemp("pages")) as api,
        web_world(api) as world,
        pytest.MonkeyPatch.context() as patch,
    ):
        add_gallery(world.pages)
        patch.setitem(RULES, GALLERY, Rule(ANYONE))
        yield Shown(
            world,
            dataset=api.dataset,
            hostile=_publish_hostile(world),
            settled=_request(world, "settled", settle=True),
            waiting=_request(world, "waiting", settle=False),
        )


@pytest.fixture(scope="module")
def browser(shown: Shown) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with chromium() as opened:
        yield opened


@pytest.fixture
def looked(browser: Browser, shown: Shown) -> Iterator[Looked]:
    with looking(browser, shown.world.url) as opened:
        yield opened


def _request(world: WebWorld, salt: str, *, settle: bool) -> str:
    api = world.api
    submitted = api.post_signed(api.submission(salt))
    request: str = submitted.get_json()["request"]
    api.custody.open(api.terms(salt))
    api.custody.tick()
    if settle:
        api.settle(request)
    return request


def _publish_hostile(world: WebWorld) -> str:
    """A dataset and a class whose every word is an attack, or does not fit."""
    api, dictionary, page = world.api, _hostile_dictionary(), _hostile_page()
    send = api.custody.sender.send
    published = send(
        "DatasetRegistry", "publishDataset", dictionary.hash(), bytes(31) + b"\x02", LINK
    )
    dataset: bytes = published.event("DatasetPublished").args["dataset"]
    send("DatasetRegistry", "publishClass", dataset, replace(TERMS, terms_hash=page.hash()))
    api.operator.dictionaries.keep(dictionary.to_bytes())
    api.operator.class_pages.keep(page.to_bytes())
    return to_hex(dataset)


def _hostile_dictionary() -> Dictionary:
    document = json.loads(demo_dictionary().to_bytes())
    labels, (first, second, third, *_) = (SCRIPT, TURNED, LONG), document["variables"]
    for variable, label in zip((first, second, third), labels, strict=True):
        variable |= {"label": label, "unit": label, "code": {"system": label, "code": label}}
    document["variables"][-1]["categories"] = [SCRIPT, TURNED, LONG]
    return from_json(document)


def _hostile_page() -> ClassPage:
    return ClassPage("en", SCRIPT, LONG, SCRIPT, LINK, SCRIPT, SCRIPT, LONG, SCRIPT)


# --- the list of pages


def test_every_page_that_anybody_may_see_is_looked_at_here(shown: Shown) -> None:
    given = {"dataset": shown.dataset, "index": "1", "request_id": shown.settled}
    given |= {"version": "0" * 16, "path": "css/base.css"}
    adapter = shown.world.pages.url_map.bind("")
    client, found = shown.world.client, set()
    for rule in shown.world.pages.url_map.iter_rules():
        known = RULES[rule.endpoint]
        if "GET" not in (rule.methods or set()) or known.by_itself or Who.ANYONE not in known.who:
            continue
        path = adapter.build(rule.endpoint, {name: given[name] for name in rule.arguments})
        answer = client.get(path, headers=HTML)
        if (answer.status_code, answer.mimetype) == (200, "text/html"):
            found.add(rule.endpoint)
    assert found - {GALLERY} == set(PAGES)


ALL = sorted({**PAGES, **MORE}.items())


def test_every_photograph_is_of_a_page_that_is_there(shown: Shown) -> None:
    adapter = shown.world.pages.url_map.bind("")
    for shot in SHOTS:
        path = shot.path.format(dataset=shown.dataset, request=shown.settled).partition("?")[0]
        endpoint, _ = adapter.match(path)
        assert (Who.ANYONE in RULES[endpoint].who) == (shot.who == ANYBODY), shot.path
    assert len({shot.name for shot in SHOTS}) == len(SHOTS) >= 10


DAILY = (
    *("datasets.show_class", "keys.show", "requests.show", "stop.show"),
    *("a dataset with hostile words", "nothing here"),
)
"""Pages to read, to fill in and to act on; `tests/web` looks at the text of every one."""


@pytest.mark.parametrize(
    "path",
    daily([path for _, path in ALL], [dict(ALL)[name] for name in DAILY]),
    ids=[name for name, _ in ALL],
)
def test_a_page_is_for_everybody_on_any_screen_and_asks_nobody_else(
    looked: Looked, shown: Shown, path: str
) -> None:
    status = looked.go(shown.path(path))
    for width in (NARROW, WIDE):
        looked.dress(width)
        assert looked.violations() == [], width
    looked.dress(WIDE, "dark")
    assert looked.violations(COLOURS) == [], "dark"
    for width in (NARROW, HALF, MIDDLE, WIDE):
        looked.dress(width)
        assert looked.beyond() == [], width
    assert {url for url in looked.asked if not url.startswith(shown.world.url + "/")} == set()
    # Chromium itself says on the console that a page came with an error status.
    said = [each for each in looked.complaints if status < 400 or "status of" not in each]
    assert said == []


# --- by keyboard


@pytest.mark.parametrize(
    "path",
    daily([*sorted(PAGES.values()), "/gallery"], [PAGES["ask.show"], PAGES["stop.show"]]),
)
def test_every_stop_of_the_tab_key_is_seen(looked: Looked, shown: Shown, path: str) -> None:
    looked.dress(NARROW)
    looked.go(shown.path(path))
    if path == PAGES["signing_in.page"]:
        # Its module leads to a heading once it has looked for keys: that would break into the walk.
        expect(looked.page.locator("#make-title")).to_be_focused()
    stops = looked.stops()
    assert "API" in stops[-1]["what"]  # the foot's last link, on every page
    assert [each["what"] for each in stops if not (each["seen"] and each["inside"])] == []


def test_the_first_stop_leads_past_the_navigation(looked: Looked) -> None:
    looked.go("/trust")
    looked.page.keyboard.press("Tab")
    skip = looked.page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    looked.page.keyboard.press("Enter")
    expect(looked.page.get_by_role("main")).to_be_focused()


def test_a_hash_opens_by_keyboard_shows_its_whole_and_can_be_copied(
    looked: Looked, shown: Shown
) -> None:
    looked.go(f"/requests/{shown.settled}")
    summary = looked.page.locator("summary", has_text="Id of the request")
    summary.focus()
    looked.page.keyboard.press("Enter")
    expect(looked.page.get_by_text(shown.settled, exact=True)).to_be_visible()
    looked.page.keyboard.press("Tab")
    expect(looked.page.locator(":focus")).to_have_text("Copy")
    looked.page.keyboard.press("Enter")
    expect(looked.page.locator("details[open] [role=status]")).not_to_be_empty()


def test_whoever_is_signed_in_can_sign_out_on_any_page(looked: Looked, shown: Shown) -> None:
    looked.sign_in(shown.world.api.patients[0])
    looked.go("/trust")
    for width in (NARROW, WIDE):
        looked.dress(width)
        assert (looked.violations(), looked.beyond()) == ([], []), width
    looked.page.get_by_role("button", name="Sign out").click()
    expect(looked.page.get_by_role("link", name="Sign in")).to_be_visible()
    asked = {"headers": {"Accept": "application/json"}}
    assert (
        looked.page.evaluate("asked => fetch('/session', asked).then(a => a.status)", asked) == 401
    )


# --- what the pages say


def test_a_narrow_table_is_still_a_table_to_a_screen_reader(looked: Looked, shown: Shown) -> None:
    looked.dress(NARROW)
    looked.go(f"/datasets/{shown.dataset}")
    table = looked.page.get_by_role("table", name="Data dictionary")
    expect(table.get_by_role("columnheader")).to_have_text(["Variable", "Code", "Unit", "Values"])
    expect(table.get_by_role("row")).to_have_count(1 + 2)
    expect(table.get_by_role("rowheader")).to_have_count(2)


def test_words_of_a_hostile_steward_are_shown_and_never_run(looked: Looked, shown: Shown) -> None:
    for path in ("/datasets", f"/datasets/{shown.hostile}", f"/datasets/{shown.hostile}/classes/1"):
        looked.go(path)
        assert looked.page.evaluate("() => window.ran") is None
        assert looked.page.locator("main img, main script, a[href^='javascript:']").count() == 0
        text = looked.page.locator("main").inner_text()
        assert "onerror" in text
        assert not set(text) & set(TURNED[3] + TURNED[-1])
    looked.go(f"/datasets/{shown.hostile}")
    expect(looked.page.get_by_text(f"abc{REPLACED}def{REPLACED}").first).to_be_visible()
    expect(looked.page.get_by_text(LINK)).to_be_visible()


def test_a_settled_request_shows_its_whole_way_and_a_waiting_one_where_it_is(
    looked: Looked, shown: Shown
) -> None:
    looked.go(f"/requests/{shown.settled}")
    way = looked.page.get_by_role("list", name="Stages of this request")
    expect(way.locator("[data-state=done]")).to_have_count(8)
    looked.go(f"/requests/{shown.waiting}")
    expect(way.locator("[aria-current=step]")).to_have_count(1)
    expect(way.locator("[data-state=ahead]").last).to_contain_text("Settled")


def test_the_list_of_requests_goes_on_where_a_page_ends(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.pages.requests.PER_PAGE", 1)
    client = shown.world.client
    first = client.get("/requests", headers=HTML).get_data(as_text=True)
    assert shown.waiting in first
    assert shown.settled not in first
    older = first.partition('href="/requests?before=')[2].partition('"')[0]
    second = client.get(f"/requests?before={older}", headers=HTML).get_data(as_text=True)
    assert shown.settled in second
    assert "Older requests" not in second
    for before in ("x", "1", "1.2.3", "-1.0", "\u0661.0", "9" * 40 + ".1"):
        assert client.get("/requests", query_string={"before": before}).status_code == 400


def test_the_first_page_stands_where_the_node_does_not_answer(shown: Shown, tmp_path: Path) -> None:
    kept = json.loads(shown.world.api.config_path.read_text())
    beside = shown.world.api.config_path.with_name("unreachable.json")
    beside.write_text(json.dumps({**kept, "data": str(tmp_path), "node_url": "http://127.0.0.1:9"}))
    operator = build_operator(load_config(beside))
    pages = web.create_app(Site(operator, Worker(operator), shown.world.url))
    client = pages.test_client()
    first, contracts = (
        client.get(path, headers=HTML, base_url=shown.world.url) for path in ("/", "/contracts")
    )
    operator.database.engine.dispose()
    assert first.status_code == 200
    assert "The figures cannot be read just now" in first.get_data(as_text=True)
    assert contracts.status_code == 503
    assert "node_unreachable" in contracts.get_data(as_text=True)
