"""What a researcher does in a real browser: quote, ask, pay, follow, open the answer, take a request back."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, ViewportSize, expect

from marketplace.client.results import open_answer
from marketplace.receipts.format import load
from marketplace.wire.canonical import canonical
from marketplace.wire.delivery import Opened
from marketplace.wire.keyring import Keyring
from tests.support.api_world import ApiWorld, api_world
from tests.support.browser_keys import PASSPHRASE, bring_key, make_keys
from tests.support.chain_world import MAX_COST
from tests.support.looking import AXE, COLOURS, EVERYTHING, Scheme
from tests.support.overheard import Overheard, overhearing
from tests.support.web_world import WebWorld, web_world
from tools.browser import PATIENCE_MILLISECONDS, chromium

DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 320, "height": 700}
PROJECT = "Blood pressure in winter"


@dataclass
class Researcher:
    """A person at a browser; the keyring is what Python reads in the key file that the browser saved."""

    world: WebWorld
    page: Page
    keyring: Keyring
    folder: Path
    heard: Overheard

    @property
    def api(self) -> ApiWorld:
        return self.world.api

    @property
    def request(self) -> str:
        return urlsplit(self.page.url).path.rsplit("/", 1)[1]

    @property
    def credit(self) -> int:
        return self.api.operator.chain.credit_of(self.api.researcher.address)

    def build(self) -> Page:
        self.page.set_viewport_size(DESK)
        self.page.goto("/datasets")
        self.page.evaluate(
            "for (const key of Object.keys(sessionStorage)) "
            "if (key.startsWith('form ')) sessionStorage.removeItem(key)"
        )
        self.page.goto(f"/ask?dataset={self.api.dataset}")
        return self.page

    def question(self, analysis: str = "mean.v1", cost: int = 10_000) -> Page:
        """The builder with a whole question in it."""
        page = self.build()
        page.select_option("#analysis", analysis)
        fill_parameters(page, analysis)
        page.get_by_label("Biomedical research").check()
        page.fill("#project", PROJECT)
        page.locator("#classes input").first.check()
        page.fill("#cost", str(cost))
        return page

    def ask(self, analysis: str = "mean.v1", cost: int = 10_000) -> str:
        """The whole way to a paid request; its id."""
        self.api.custody.tick()
        page = self.question(analysis, cost)
        expect(page.locator("#ceiling")).to_be_visible()
        page.locator("#ceiling input").check()
        page.get_by_role("button", name="Ask and pay").click()
        page.wait_for_url("**/my/requests/0x*")
        return self.request

    def settled(self) -> str:
        """A request of this account that was answered; one more where there is none."""
        mine = self.api.operator.reads.requests_of(self.api.researcher.address)
        for each in mine:
            if each["stage"] == "settled":
                return str(each["request"])
        request = self.ask()
        self.api.settle(request)
        return request

    def saved(self, button: str) -> bytes:
        with self.page.expect_download() as saved:
            self.page.get_by_role("button", name=button).click()
        path = self.folder / saved.value.suggested_filename
        saved.value.save_as(path)
        return path.read_bytes()

    def opened(self, request: str) -> tuple[Opened, dict[str, Any]]:
        """As Python opens it, with the key of the saved key file."""
        receipt = self.api.operator.reads.receipt(request).receipt
        read = load(receipt)
        key = self.keyring.root.delivery_key(
            read.deployment.chain_id, read.deployment.market, read.terms.salt
        )
        return open_answer(receipt, key, read.request), receipt

    def violations(self) -> list[str]:
        """What axe finds, in light and dark, and what sticks out on the narrowest screen."""
        page, found = self.page, []
        if not page.evaluate("() => 'axe' in window"):
            page.evaluate(AXE.read_text())
        schemes: tuple[tuple[Scheme, str], ...] = (("light", EVERYTHING), ("dark", COLOURS))
        for scheme, rules in schemes:
            page.emulate_media(color_scheme=scheme)
            told = page.evaluate(f"axe.run(document, {rules})")["violations"]
            found += [f"{each['id']}: {each['nodes'][0]['target']}" for each in told]
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(PHONE)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append("the page scrolls sideways")
        page.set_viewport_size(DESK)
        return found


def fill_parameters(page: Page, analysis: str) -> None:
    if analysis == "cross_table.v1":
        page.select_option("#axis1", "smoker")
        page.select_option("#axis2", "systolic")
        page.fill("#axis2_edges", "60, 120, 260")
        return
    page.select_option("#variable", "systolic")
    if analysis == "histogram.v1":
        page.fill("#edges", "60, 100, 140, 260")
    else:
        page.fill("#clip_lower", "80")
        page.fill("#clip_upper", "200")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    with api_world(tmp_path_factory.mktemp("researchers")) as api, web_world(api) as made:
        yield made


@pytest.fixture(scope="module")
def heard() -> Iterator[Overheard]:
    with overhearing() as found:
        yield found


@pytest.fixture(scope="module")
def context(world: WebWorld, heard: Overheard) -> Iterator[BrowserContext]:
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with chromium() as browser:
        made = browser.new_context(base_url=world.url, proxy=heard.proxy, reduced_motion="reduce")
        made.set_default_timeout(PATIENCE_MILLISECONDS)
        yield made


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def newcomer(
    world: WebWorld,
    context: BrowserContext,
    complaints: list[str],
    heard: Overheard,
    tmp_path_factory: pytest.TempPathFactory,
) -> Researcher:
    """Somebody who made keys here, brought the command line's key and signed in with it."""
    folder, page = tmp_path_factory.mktemp("keys"), context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/sign-in")
    keyring = make_keys(page, folder)
    bring_key(page, world.api.researcher, folder)
    page.goto(f"/sign-in?next=/ask%3Fdataset%3D{world.api.dataset}")
    page.fill("#passphrase", PASSPHRASE)
    page.get_by_role("button", name="Unlock").click()
    page.get_by_label("research account").check()
    page.locator("#choose button").click()
    page.wait_for_url("**/ask?dataset=*")
    return Researcher(world, page, keyring, folder, heard)


@pytest.fixture
def researcher(newcomer: Researcher, complaints: list[str]) -> Iterator[Researcher]:
    complaints.clear()
    yield newcomer
    assert complaints == []


# --- before anything is paid


def test_a_quote_follows_the_cost_and_the_error_in_both_directions(researcher: Researcher) -> None:
    page = researcher.build()
    page.select_option("#analysis", "mean.v1")
    fill_parameters(page, "mean.v1")
    page.locator("#classes input").first.check()
    page.fill("#cost", "10000")
    expect(page.locator("#target_error")).not_to_have_value("")
    asked: dict[str, Any] = {
        "analysis": "mean.v1",
        "dataset": researcher.api.dataset,
        "classes": [1],
    }
    asked["parameters"] = {"variable": "systolic", "clip": ["80", "200"]}
    wide = researcher.api.operator.reads.quote({**asked, "cost": 10_000})
    assert page.input_value("#target_error") == wide["expected_error"]["half_width"]
    expect(page.locator("#quote")).to_contain_text("Such a result tells nothing")
    expect(page.locator("#quote")).to_contain_text(wide["odds"]["right_at_most"])
    page.fill("#target_error", "50")
    expect(page.locator("#target_error-error")).to_contain_text("No privacy cost makes the error")
    page.fill("#target_error", "100")
    narrow = researcher.api.operator.reads.quote({**asked, "target_error": "100"})
    expect(page.locator("#cost")).to_have_value(str(narrow["cost_nano_rho"]))
    assert narrow["cost_nano_rho"] > MAX_COST
    expect(page.locator("#quote")).to_contain_text("It cannot be bought like this")
    expect(page.locator("#ceiling")).to_be_hidden()
    page.fill("#cost", "10000")
    page.select_option("#filter1_variable", "smoker")
    page.select_option("#filter1_op", "==")
    page.fill("#filter1_value", "no")
    expect(page.locator("#quote")).to_contain_text("If only a tenth of them")


def test_what_cannot_be_asked_is_said_at_its_field_and_what_was_typed_stays(
    researcher: Researcher,
) -> None:
    page = researcher.build()
    page.select_option("#analysis", "mean.v1")
    page.select_option("#variable", "systolic")
    page.locator("#classes input").first.check()
    page.fill("#cost", "10000")
    page.fill("#clip_lower", "80")
    page.fill("#clip_upper", "900")
    expect(page.locator("#clip_upper-error")).to_contain_text("outside the bounds")
    expect(page.locator("#clip_upper")).to_be_focused()  # nobody is led away while typing
    page.fill("#clip_upper", "200")
    expect(page.locator("#quote .facts")).to_be_visible()
    assert page.locator("#clip_upper-error").count() == 0
    page.select_option("#filter1_variable", "smoker")
    page.select_option("#filter1_op", "==")
    page.fill("#filter1_value", "perhaps")
    expect(page.locator("#filter1_value-error")).to_contain_text("not a category")
    page.reload()
    assert page.input_value("#filter1_value") == "perhaps"
    assert page.input_value("#clip_lower") == "80"
    page.fill("#filter1_value", "no")
    page.fill("#months", "soon")
    expect(page.locator("#months-error")).to_contain_text("no number of months")


def test_the_panel_tells_every_class_and_a_ceiling_is_agreed_to_anew_when_it_changes(
    researcher: Researcher,
) -> None:
    page = researcher.build()
    expect(page.locator("#decisions")).to_contain_text("Permitted")
    expect(page.locator("#decisions")).to_contain_text("general research use")
    page.get_by_label("Biomedical research").check()
    expect(page.locator("#decisions")).to_contain_text("For biomedical research")
    page.select_option("#analysis", "mean.v1")
    page.select_option("#variable", "systolic")
    page.locator("#classes input").first.check()
    page.fill("#cost", "10000")
    expect(page.locator("#ceiling")).to_be_visible()
    assert page.locator("#ceiling input:checked").count() == 0
    page.get_by_role("button", name="Ask and pay").click()
    expect(page.locator("form.ask")).to_contain_text("You have not agreed")
    page.locator("#ceiling input").check()
    page.fill("#cost", "900000")
    expect(page.locator("#quote")).to_contain_text("900,000 nano-rho")
    expect(page.locator("#ceiling")).to_be_visible()
    assert page.locator("#ceiling input:checked").count() == 0
    assert researcher.violations() == []


def test_a_quote_that_does_not_follow_from_the_question_is_never_paid(
    researcher: Researcher,
) -> None:
    """An operator that asks for more than the classes' floor, or takes the question in as another's."""
    page, api = researcher.page, researcher.api
    for name in ("price_per_member", "fee", "parameters_hash"):
        lying(page, "**/ask/quote", name)
        page = researcher.question()
        expect(page.locator("form.ask")).to_contain_text("The operator's quote names another")
        expect(page.locator("#ceiling")).to_be_hidden()
        page.unroute("**/ask/quote")
    page = researcher.question()
    expect(page.locator("#ceiling")).to_be_visible()
    held = api.operator.chain.balance_of(api.researcher.address)
    lying(page, "**/ask/requests", "request")
    page.locator("#ceiling input").check()
    page.get_by_role("button", name="Ask and pay").click()
    expect(page.locator("form.ask")).to_contain_text("not the hash of its terms")
    page.unroute("**/ask/requests")
    assert api.operator.chain.balance_of(api.researcher.address) == held
    assert page.locator("#ceiling input:checked").count() == 1  # nothing that was said is lost


def lying(page: Page, path: str, name: str) -> None:
    """Has the server's answer name something else."""

    def answer(route: Any) -> None:
        response = route.fetch()
        told = response.json()
        value = told[name]
        told[name] = f"0x{'ab' * 32}" if isinstance(value, str) else value + 1
        route.fulfill(response=response, json=told)

    page.route(path, answer)


# --- asking


def test_a_question_is_paid_followed_and_opened_and_its_numbers_are_those_that_python_opens(
    researcher: Researcher,
) -> None:
    page, request = researcher.page, researcher.ask()
    chain = researcher.api.operator.chain
    assert chain.request(bytes.fromhex(request[2:])).stage.name == "OPENED"
    expect(page.locator("#result")).to_be_hidden()
    researcher.api.settle(request)
    expect(page.locator("#state")).to_contain_text("Settled")
    expect(page.locator("#plot svg.strip")).to_be_visible()
    opened, receipt = researcher.opened(request)
    noised: Any = opened.document["noised"]
    [estimate] = noised["estimates"]
    for told in (page.locator("#plot figcaption"), page.locator("#numbers")):
        for name in ("value", "low", "high"):
            expect(told).to_contain_text(estimate[name])
    expect(page.locator("#result")).to_contain_text("sampling")
    expect(page.locator("#answer")).to_contain_text("This tells nothing")
    assert page.locator("#checks .badge").all_text_contents() == ["Holds"] * 9
    rows = list(csv.reader(researcher.saved("Save as CSV").decode().splitlines()))
    numbers = [estimate["value"], estimate["low"], estimate["high"], noised["unit"]]
    assert rows == [["estimate", "lower", "upper", "unit"], numbers]
    assert researcher.saved("Save as JSON") == opened.result
    assert researcher.saved("Save the receipt") == canonical(receipt)
    assert researcher.violations() == []
    for secret in (opened.result, opened.salt, estimate["low"], PASSPHRASE, PROJECT):
        assert researcher.heard.carrying(secret) == []
    assert researcher.heard.carrying(request)  # what is public is heard: the ear works


@pytest.mark.parametrize("analysis", ["histogram.v1", "cross_table.v1"])
def test_tables_are_drawn_cell_by_cell_and_open_again_on_another_day(
    researcher: Researcher, analysis: str
) -> None:
    page, request = researcher.page, researcher.ask(analysis, MAX_COST)
    researcher.api.settle(request)
    page.goto(f"/my/requests/{request}")
    opened, _ = researcher.opened(request)
    noised: Any = opened.document["noised"]
    estimates = noised["estimates"]
    expect(page.locator("#plot svg.strip")).to_have_count(len(estimates))
    cells = page.locator("#numbers tbody tr")
    assert [row.locator("td").first.text_content() for row in cells.all()] == [
        each["value"] for each in estimates
    ]
    assert researcher.violations() == []


def test_an_answer_that_is_not_what_the_chain_says_is_never_shown(researcher: Researcher) -> None:
    page, api = researcher.page, researcher.api
    request = researcher.settled()
    found = api.operator.chain.request(bytes.fromhex(request[2:])).result_hash.hex()

    def lie(route: Any) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=response.text().replace(found, "ab" * 32))

    page.route("**/my/requests/*", lie)
    page.goto(f"/my/requests/{request}")
    expect(page.locator("#result")).to_contain_text("not the one that custodians signed")
    page.unroute("**/my/requests/*")
    expect(page.locator("#opened")).to_be_hidden()


# --- taking it back


def test_a_request_is_cancelled_before_the_freeze_and_the_escrow_comes_back_and_is_paid_out(
    researcher: Researcher,
) -> None:
    page, api = researcher.page, researcher.api
    request = researcher.ask()
    before = researcher.credit
    terms = api.operator.chain.request_terms(bytes.fromhex(request[2:]))
    page.reload()
    page.get_by_role("button", name="Cancel this request").click()
    expect(page.locator("#said")).to_contain_text("Cancelled")
    assert researcher.credit == before + terms.escrow
    page.goto("/my")
    expect(page.locator("main")).to_contain_text(request[2:8])
    assert researcher.violations() == []
    assert page.input_value("#to") == api.researcher.address
    balance = api.operator.chain.balance_of(api.researcher.address)
    page.get_by_role("button", name="Withdraw").click()
    expect(page.locator("#said")).to_contain_text("Paid out")
    assert researcher.credit == 0
    paid = api.operator.chain.balance_of(api.researcher.address) - balance
    assert paid == before + terms.escrow


def test_whoever_has_no_keys_for_an_answer_is_told_so(researcher: Researcher) -> None:
    """Another's request, asked on the command line with another delivery key."""
    api, page = researcher.api, researcher.page
    market = api.operator.chain.market
    api.custody.sender.send("TestEuro", "approve", market, 10**12)  # a permit took its place
    terms = api.terms("elsewhere")
    body = {"terms": terms.to_json(), "parameters": {"variable": "systolic"}}
    request = api.post_signed(body).get_json()["request"]
    api.custody.open(terms)
    api.custody.tick()
    api.settle(request)
    page.goto(f"/my/requests/{request}")
    expect(page.locator("#result")).to_contain_text(re.compile("keys in this browser do not make"))
    expect(page.locator("#opened")).to_be_hidden()
