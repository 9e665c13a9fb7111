"""What a patient does in a real browser with a key of its own: consent, stop, rest, withdraw, look back."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from marketplace import words
from marketplace.chain.funding import fund
from marketplace.wire.amounts import Token
from marketplace.wire.browser_keyfile import unlock
from marketplace.wire.http import to_hex
from tests.support.api_world import api_world
from tests.support.browser_keys import PASSPHRASE, make_keys
from tests.support.chain_world import MAX_COST, account
from tests.support.keyboard import Keyboard
from tests.support.nodes import EMBEDDED_KEY
from tests.support.patient_browser import (
    DESK,
    PHONE,
    Patient,
    choose,
    grant,
    is_accessible,
    is_fault,
    is_sound,
    key_in,
    opened,
    with_nothing_typed,
)
from tests.support.web_world import WebWorld, web_world
from tools.browser import PATIENCE_MILLISECONDS, chromium

ETHER = 10**18
LISTED = 60.0
"""Seconds until a guardian's list shows an appointment at the latest."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    with api_world(tmp_path_factory.mktemp("patients")) as api, web_world(api) as made:
        payers = [str(each.keys.relay.address) for each in api.custodians]
        fund(api.operator.chain.node, EMBEDDED_KEY, payers, ETHER)
        yield made


@pytest.fixture(scope="module")
def context(world: WebWorld) -> Iterator[BrowserContext]:
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with chromium() as browser:
        yield opened(browser, world)


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def newcomer(
    world: WebWorld,
    context: BrowserContext,
    complaints: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Patient:
    """Somebody who made keys here and whose clinic has attested a record of that very address."""
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if is_fault(said) else None)
    page.goto(f"/sign-in?next=/me/{world.api.dataset}/classes/1")
    keyring = make_keys(page, tmp_path_factory.mktemp("keys"))
    page.wait_for_url(f"{world.url}/me/*/classes/1")  # the page that signs in ends so, too
    expect(page.locator("main")).to_contain_text("First you need a record here")
    patient = Patient(world, page, keyring, key_in(keyring, world))
    stored = world.api.post("/records", {"entries": [world.api.upload_entry(patient.key)]})
    assert [each["outcome"] for each in stored.get_json()["outcomes"]] == ["stored"]
    return patient


@pytest.fixture
def patient(newcomer: Patient, complaints: list[str]) -> Iterator[Patient]:
    complaints.clear()
    yield newcomer
    assert complaints == []


# --- consenting


def test_a_patient_reads_a_class_and_consents_with_the_odds_and_the_time_that_were_chosen(
    patient: Patient,
) -> None:
    patient.without_consent()
    before, page = patient.live, patient.go("/classes/1")
    choose(page, "cap", 1)
    label = page.locator('label[for="cap-2"] > span').first.text_content() or ""
    odds = label.split()[2]
    expect(page.locator("#odds-part figcaption")).to_contain_text(f"at most {odds}")
    choose(page, "expiry", 2)
    cap, expiry = (
        int(page.locator(f'input[name="{group}"]:checked').input_value())
        for group in ("cap", "expiry")
    )
    page.locator("#grant button").click()
    page.wait_for_url(f"**{patient.path}")
    patient.said("Consented. The chain shows it.")
    found = patient.consent
    assert (found["state"], found["cap"], found["expiry"]) == ("live", cap, expiry)
    assert patient.live == before + 1


@pytest.mark.long
def test_an_exact_limit_is_refused_at_its_field_and_what_was_typed_stays(patient: Patient) -> None:
    patient.with_consent()
    before, page = patient.consent, patient.go("/classes/1")
    page.locator('input[value="exact"]').check()
    choose(page, "expiry", 0)
    for typed in ("12", "30,000,00", "9" * 23):
        page.fill("#exact", typed)
        page.locator("#grant button").click()
        refused = page.locator("#exact-error")
        expect(refused).to_contain_text("no limit that this class takes")
        expect(refused).to_contain_text(f" to {2**48 - 1:,}.")
        expect(page.locator("#exact")).to_be_focused()
        assert page.input_value("#exact") == typed
    page.reload()
    expect(page.locator("#exact")).to_have_value(typed)
    assert patient.consent == before
    page.fill("#exact", f"{3 * MAX_COST:,}")
    expect(page.locator("#odds-part figcaption")).to_contain_text("times in 100")
    page.locator("#grant button").click()
    patient.said("Consented.")
    assert patient.consent["cap"] == 3 * MAX_COST


def test_nothing_is_chosen_before_somebody_chose_and_nothing_is_signed_without(
    patient: Patient,
) -> None:
    patient.go("/classes/1")
    before, page = patient.consent, with_nothing_typed(patient)
    assert page.locator("#grant input:checked").count() == 0
    page.locator("#grant button").click()
    expect(page.locator("#grant .error")).to_contain_text(["No limit is", "No time is"])
    expect(page.locator("#cap-1")).to_be_focused()
    assert patient.consent == before


@pytest.mark.long
def test_a_limit_can_be_written_in_right_guesses(patient: Patient) -> None:
    page = patient.go("/classes/1")
    page.locator('input[value="exact"]').check()
    page.fill("#right", "49")
    expect(page.locator("#right-error")).to_contain_text("“At most so many right guesses in 100”")
    page.fill("#right", "93.5")
    expect(page.locator("#odds-part figcaption")).to_contain_text("at most 93.5")
    expect(page.locator("#right-error")).to_have_count(0)
    limit = page.input_value("#exact")
    assert float(words.right_at_most(int(limit), max(1, patient.live))) <= 93.5
    page.fill("#exact", limit + "0")
    expect(page.locator("#right")).to_have_value("")


def test_whoever_consents_with_an_older_copy_of_the_keys_is_led_to_a_newer_one(
    patient: Patient,
) -> None:
    patient.without_consent()
    page = patient.go("/classes/1")
    page.evaluate("localStorage.setItem('saved key file', '0x12')")
    grant(patient)
    patient.said("the older copy does not know this dataset")
    page.locator("#said a").click()
    with page.expect_download():
        page.get_by_role("button", name="Save the key file").click()
    patient.without_consent()
    patient.go("/classes/1")
    grant(patient)
    patient.said("Consented.")
    expect(page.locator("#said a")).to_have_count(0)


def test_words_that_are_not_those_of_the_class_are_never_signed(patient: Patient) -> None:
    """An operator that shows other words, or another class's, gets no signature for them."""
    patient.with_consent()
    before, page = patient.consent, patient.go("/classes/1")
    page.evaluate("document.querySelector('[data-paragraph=how_long]').textContent = 'A day.'")
    grant(patient)
    expect(page.locator("#grant [data-refusal]")).to_contain_text("not show what the class's hash")
    for spoil in (
        lambda told: told.replace('"how_long":"', '"how_long":"A day, not '),
        lambda told: re.sub(r'"maxCost":"?\d+', lambda found: found[0] + "0", told),
        lambda told: told.replace('"index":1', '"index":2'),
    ):
        told = page.evaluate("document.querySelector('#facts').dataset.facts")
        assert_spoils(patient, told.replace(": ", ":"), spoil)
    assert patient.consent == before


def assert_spoils(patient: Patient, told: str, spoil: Any) -> None:
    """A page with other facts than the class's own refuses to sign."""
    page, spoiled = patient.page, spoil(told)
    assert spoiled != told

    def answer(route: Any) -> None:
        response = route.fetch()
        quoted = spoiled.replace("&", "&amp;").replace('"', "&#34;").replace("'", "&#39;")
        body = re.sub(r'data-facts="[^"]*"', lambda _: f'data-facts="{quoted}"', response.text())
        route.fulfill(response=response, body=body)

    page.route("**/classes/1", answer)
    page.goto(f"{patient.path}/classes/1")
    page.unroute("**/classes/1")
    assert page.evaluate("document.querySelector('#facts').dataset.facts") == spoiled
    grant(patient)
    expect(page.locator("#grant [data-refusal]")).to_contain_text("not show what the class's hash")


# --- stopping

LIE_ONCE = """document.addEventListener("readystatechange", () => {
  const lie = JSON.parse(sessionStorage.getItem("lie"));
  if (lie === null) return;
  sessionStorage.removeItem("lie");
  const { dataset } = document.querySelector("#facts");
  dataset.facts = dataset.facts.replaceAll(...lie);
});"""
"""Other facts of one page, before its modules read them; as answers of a test, it could ask no custodian."""


def test_on_a_phone_stopping_takes_one_press_and_the_next_cohort_is_smaller_by_one(
    patient: Patient,
) -> None:
    patient.with_consent()
    before, page = patient.live, patient.go(size=PHONE)
    assert patient.presses(since=True) == 0
    page.get_by_role("button", name="Stop now").click()
    patient.said("Stopped. The chain shows it, say this site and the custodian at")
    patient.said("each from a view of its own")
    assert patient.presses() == 1
    assert patient.consent["state"] == "none"
    assert patient.live == before - 1
    assert page.locator("#stop").count() == 0
    expect(page.locator("main")).to_contain_text("No consent")


@pytest.mark.long
def test_stopping_takes_no_more_presses_than_consenting_and_is_on_the_same_page(
    patient: Patient,
) -> None:
    patient.without_consent()
    patient.go("/classes/1", PHONE)
    page = with_nothing_typed(patient)
    patient.presses(since=True)
    grant(patient)
    page.wait_for_url(f"**{patient.path}")
    patient.said("Consented.")
    to_consent = patient.presses()
    patient.go("/classes/1", PHONE)
    patient.presses(since=True)
    page.get_by_role("button", name="Stop now").click()
    patient.said("Stopped.")
    assert (patient.presses(), to_consent) == (1, 3)
    assert patient.consent["state"] == "none"


def test_an_operator_that_says_yes_and_carries_nothing_stops_nobody_from_stopping(
    patient: Patient,
) -> None:
    """The custodians whom the page asks carry it, each seeing that the chain lacks it."""
    patient.with_consent()
    page = patient.go()
    page.route("**/messages", lambda route: route.fulfill(json={"kind": "revocation"}))
    page.get_by_role("button", name="Stop now").click()
    patient.said("Stopped. The chain shows it, say this site and the custodian at")
    page.unroute("**/messages")
    assert patient.consent["state"] == "none"


def test_an_operator_that_refuses_stops_nobody_from_stopping(patient: Patient) -> None:
    patient.with_consent()
    page = patient.go()
    page.route("**/messages", lambda route: route.fulfill(status=503, body="gone"))
    page.get_by_role("button", name="Stop now").click()
    patient.said("Stopped. The chain shows it")
    page.unroute("**/messages")
    assert patient.consent["state"] == "none"


def test_a_page_that_shows_another_address_says_whose_consent_ends_and_costs_one_more_press(
    patient: Patient,
) -> None:
    patient.with_consent()
    page, shown = patient.page, account("somebody else").address

    page.add_init_script(LIE_ONCE)
    page.evaluate(
        "([mine, shown]) => sessionStorage.setItem('lie', JSON.stringify([mine, shown]))",
        [patient.key.address, shown],
    )
    page.set_viewport_size(DESK)
    page.goto(patient.path)
    page.get_by_role("button", name="Stop now").click()
    refusal = page.locator("#stop [data-refusal]")
    expect(refusal).to_contain_text(f"shows the consent of {shown}")
    expect(refusal).to_contain_text(f"would end the consent of {patient.key.address}")
    page.set_viewport_size(PHONE)
    is_sound(page, "a page that shows another address")
    assert patient.consent["state"] == "live"
    page.get_by_role("button", name="Stop now").click()
    patient.said("Stopped. The chain shows it")
    patient.said(f"what ended is the consent of {patient.key.address}")
    assert patient.consent["state"] == "none"


def test_the_operators_word_alone_is_called_just_that_and_the_way_past_it_stands_beside(
    patient: Patient,
) -> None:
    """An operator that carries nothing and lies of the chain, where no custodian can be reached."""
    patient.with_consent()
    page, taken = patient.go(), list[bool]()

    def take(route: Route) -> None:
        taken.append(True)
        route.fulfill(json={"kind": "revocation"})

    def lie(route: Route) -> None:
        told = route.fetch().json()
        route.fulfill(json={**told, "state": "none", "sequence": 2**29} if taken else told)

    page.route("**/messages", take)
    page.route("**/consents/*", lie)
    page.route("**/revocations", lambda route: route.abort())
    page.get_by_role("button", name="Stop now").click()
    patient.said("says this site. Not yet confirmed by two custodians.")
    patient.said("does not answer")
    expect(page.locator("#said")).not_to_contain_text("each from a view of its own")
    expect(page.locator("#said a")).to_have_attribute("href", "/stop/")
    page.set_viewport_size(PHONE)
    is_sound(page, "what the operator alone says")
    assert patient.consent["state"] == "live"
    for path in ("**/messages", "**/consents/*", "**/revocations"):
        page.unroute(path)


def test_what_nobody_confirms_is_not_confirmed_yet_and_is_pressed_again(patient: Patient) -> None:
    patient.with_consent()
    page, refusal = patient.go(), patient.page.locator("#stop [data-refusal]")
    page.route("**/messages", lambda route: route.fulfill(status=503, body="gone"))
    page.route("**/revocations", lambda route: route.abort())
    page.get_by_role("button", name="Stop now").click()
    expect(refusal).to_contain_text("Nobody says yet that the chain has your revocation.")
    expect(page.get_by_role("link", name="If this site is down")).to_be_visible()
    assert page.locator("#said").text_content() == ""
    for path in ("**/messages", "**/revocations"):
        page.unroute(path)
    page.get_by_role("button", name="Stop now").click()
    patient.said("Stopped. The chain shows it, say this site and")
    assert patient.consent["state"] == "none"


@pytest.mark.long
def test_a_site_that_answers_nothing_but_its_pages_stops_nobody_from_stopping(
    patient: Patient,
) -> None:
    """Neither who is signed in nor the half of the unlocked keys: the passphrase is typed instead."""
    patient.with_consent()
    page = patient.go()
    unanswered = ("**/session", "**/session/half", "**/messages", "**/api/v1/**")
    for path in unanswered:
        page.route(path, lambda route: route.abort())
    page.get_by_role("button", name="Stop now").click()
    page.fill("#unlock-passphrase", PASSPHRASE)
    page.get_by_role("button", name="Unlock").click()
    patient.said("Stopped. The chain shows it, say the custodian at")
    patient.said("This site does not show it yet.")
    assert patient.consent["state"] == "none"
    for path in unanswered:
        page.unroute(path)


def test_what_stopping_needs_without_the_operator_is_kept_in_the_browser(patient: Patient) -> None:
    patient.with_consent()
    page = patient.go()
    expect(page.locator("#stop")).to_be_visible()
    url = keeps_what_stopping_needs(page, patient.world)
    kept = page.evaluate(f"import('{url}').then(m => m.stopFacts())")
    manifest = patient.manifest
    assert [each["address"] for each in kept] == [patient.key.address]
    assert kept[0]["dataset"] == patient.api.dataset
    assert kept[0]["contracts"]["ConsentRegistry"] == manifest.address("ConsentRegistry")
    assert kept[0]["custodians"] == patient.api.custodian_urls
    assert kept[0]["chain_id"] == patient.api.operator.chain.chain_id


def keeps_what_stopping_needs(page: Page, world: WebWorld) -> str:
    """Waits until it does; the module that has it, by its URL."""
    url = world.site.assets.url("js/keystore.js")
    page.wait_for_function(f"import('{url}').then(m => m.stopFacts()).then(f => f.length > 0)")
    return url


def other_contract(route: Route) -> None:
    """What an operator answers that would have everything signed for a contract of its own."""
    answer = route.fetch()
    told = answer.json()
    told["contracts"]["ConsentRegistry"] = account("somebody else").address
    told["custodians"] = ["https://custodian.example"]
    route.fulfill(response=answer, json=told)


def test_a_market_that_changes_under_the_keys_is_signed_for_no_more_and_stopped_all_the_same(
    patient: Patient,
) -> None:
    patient.with_consent()
    page = patient.page
    page.route("**/deployment", other_contract)
    patient.go()
    expect(page.locator("#said")).to_contain_text("names another market than the one that this")
    page.get_by_role("button", name="Rest", exact=True).click()
    expect(page.locator("#rest")).to_contain_text("the contract ConsentRegistry (before:")
    assert patient.consent["state"] == "live"
    page.get_by_role("button", name="Stop now").click()
    patient.said("Stopped. The chain shows it, say this site and the custodian at")
    patient.said("Stop still goes to the market that this browser knows.")  # all is answered
    assert patient.consent["state"] == "none"
    page.unroute("**/deployment")


def test_the_market_that_is_known_is_shown_with_the_keys_and_forgotten_there(
    patient: Patient,
) -> None:
    page = patient.page
    page.goto("/keys")
    expect(page.locator("#market-facts")).to_contain_text(
        patient.manifest.address("ConsentRegistry")
    )
    is_sound(page, "/keys")
    page.get_by_role("button", name="Forget this market").click()
    expect(page.locator("#sure-error")).to_contain_text("not “forget”")
    page.fill("#sure", "forget")
    page.get_by_role("button", name="Forget this market").click()
    # On the page that is loaded anew both are hidden at first; the second is shown once it has looked.
    expect(page.locator("#market")).to_be_hidden()
    expect(page.locator("#here")).to_be_visible()
    expect(page.locator("#market")).to_be_hidden()
    patient.go()


# --- rest and wake


def test_a_patient_rests_for_one_announced_study_and_wakes_afterwards(patient: Patient) -> None:
    patient.with_consent()
    request = to_hex(patient.api.custody.open(patient.api.terms("rest for this one")))
    page, before = patient.go("/studies"), patient.live
    study = page.locator("article", has=page.locator(f'a[href="/requests/{request}"]'))
    expect(study).to_contain_text("Would count you")
    expect(study).to_contain_text("until you wake it yourself")
    study.get_by_role("button", name="Rest for this one").click()
    patient.said("Resting. The chain shows it")
    assert patient.consent["state"] == "rested_by_patient"
    assert patient.live == before - 1
    patient.go()
    expect(page.locator("#rested-for")).to_contain_text("You rested for one study")
    page.get_by_role("button", name="Wake").click()
    patient.said("Woken. The chain shows it.")
    assert patient.consent["state"] == "live"
    assert patient.live == before
    left = page.evaluate("Object.keys(localStorage)")
    assert [each for each in left if each.startswith("rested")] == []


@pytest.mark.long
def test_rest_and_wake_are_on_the_page_of_the_consent(patient: Patient) -> None:
    patient.with_consent()
    page = patient.go(size=PHONE)
    page.get_by_role("button", name="Rest", exact=True).click()
    patient.said("Resting.")
    assert patient.consent["state"] == "rested_by_patient"
    page.get_by_role("button", name="Wake").click()
    patient.said("Woken.")
    assert patient.consent["state"] == "live"


# --- uses, earnings, guardian


def settled_request(patient: Patient, salt: str) -> str:
    api = patient.api
    request: str = api.post_signed(api.submission(salt)).get_json()["request"]
    api.custody.open(api.terms(salt))
    api.custody.tick()
    api.settle(request)
    api.custody.tick()
    return request


@pytest.mark.long
def test_a_use_is_on_the_timeline_and_pays_and_what_it_paid_is_withdrawn(
    patient: Patient, tmp_path: Path
) -> None:
    patient.with_consent()
    request = settled_request(patient, "used")
    owed, chain = int(patient.consent["owed"]), patient.api.operator.chain
    assert owed > 0
    page = patient.go("/timeline")
    use = page.get_by_role("row").filter(has_text="You were counted").first
    study = use.locator(f'a[href="/requests/{request}"]')
    expect(study).to_have_text(f"Mean, {request[:8]}…{request[-6:]}")
    expect(use).to_contain_text("10,000")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save it as a table").click()
    saved.value.save_as(tmp_path / "timeline.csv")
    with (tmp_path / "timeline.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    counted = [row for row in rows if row["what"] == "You were counted"]
    assert [row["request"] for row in counted] == [request]
    assert sum(int(row["paid to you (token units)"]) for row in counted) == owed

    page, wallet = patient.go(), account("wallet of a patient").address
    page.fill("#to", "abc")
    page.get_by_role("button", name="Withdraw").click()
    expect(page.locator("#to-error")).to_contain_text(
        "“Pay all of it to” is no address of this chain. It begins with 0x and has 40 more letters and "
        "digits; copy it whole. A bank account cannot be used here."
    )
    page.fill("#to", wallet)
    page.get_by_role("button", name="Withdraw").click()
    patient.said(f"This site says that {Token().amount(owed)} were paid to {wallet}.")
    assert chain.balance_of(wallet) == owed
    assert patient.consent["owed"] == "0"


def appoint(patient: Patient, guardian: str) -> Page:
    page = patient.go()
    page.get_by_text("Appoint one").click()
    page.fill("#guardian", guardian)
    page.get_by_role("button", name="Appoint").click()
    expect(page.locator("#appoint .error")).to_contain_text("No end is chosen")
    choose(page, "expiry", 0)
    page.get_by_role("button", name="Appoint").click()
    patient.said("appointed")
    return page


@pytest.mark.long
def test_a_guardian_stops_in_a_browser_of_its_own_also_past_the_operator(
    patient: Patient, context: BrowserContext, complaints: list[str], tmp_path: Path
) -> None:
    """With keys made on the spot, for an address that is in no dataset."""
    patient.with_consent()
    assert context.browser is not None
    theirs = opened(context.browser, patient.world)
    page = theirs.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/sign-in?next=/guardian")
    make_keys(page, tmp_path)
    page.wait_for_url(f"{patient.world.url}/guardian")  # the page that signs in ends so, too
    expect(page.locator("main")).to_contain_text("Nobody yet")
    link = appoint(patient, page.locator("main code.whole").inner_text())
    page.goto(link.locator("code.whole").inner_text())
    page.get_by_role("button", name="Stop now").click()
    expect(page.locator("#said")).to_contain_text("Stopped. The chain shows it, say this site and")
    expect(page.locator("main")).to_contain_text("Nothing to stop")
    assert patient.consent["state"] == "none"

    patient.with_consent()
    page.goto("/guardian")
    listed, end = page.get_by_role("link", name="Look, or stop it"), time.monotonic() + LISTED
    while listed.count() == 0:  # the list may be five seconds old
        assert time.monotonic() < end
        page.reload()
    listed.click()
    expect(page.get_by_role("button", name="Stop now")).to_be_visible()
    for path in ("/guardian", page.url):
        is_accessible(page, path)
    keeps_what_stopping_needs(page, patient.world)  # that page looks for it once
    page.goto("/stop/")
    expect(page.locator("section.stop")).to_contain_text("You are its guardian")
    page.fill("#passphrase-0", PASSPHRASE)
    page.get_by_role("button", name="Stop now").click()
    expect(page.locator(".said")).to_contain_text("Stopped.")
    assert patient.consent["state"] == "none"
    theirs.close()
    patient.go().get_by_role("button", name="Dismiss").click()
    patient.said("Dismissed.")


def test_a_guardian_is_appointed_and_dismissed(patient: Patient) -> None:
    patient.with_consent()
    guardian = account("guardian of a browser").address
    page = appoint(patient, guardian)
    found = patient.consent["guardian"]
    assert (found["address"], found["may_grant"]) == (guardian, False)
    page.get_by_role("button", name="Dismiss").click()
    patient.said("Dismissed.")
    assert patient.consent["guardian"] is None


# --- another key


def test_everything_moves_to_the_next_address_of_the_same_keys_which_then_stops(
    patient: Patient,
) -> None:
    patient.with_consent()
    before, live, old = patient.consent, patient.live, patient.key
    page = patient.go()
    page.get_by_role("link", name="Change the key").click()
    page.fill("#passphrase", "some other passphrase")
    page.get_by_role("button", name="Move everything").click()
    expect(page.locator("#passphrase-error")).to_be_visible()
    page.fill("#passphrase", PASSPHRASE)
    page.get_by_role("button", name="Move everything").click()
    page.wait_for_url(f"**{patient.path}")
    patient.said("Moved to")
    patient.key = key_in(patient.keyring, patient.world, 1)
    patient.said(patient.key.address)
    kept = ("state", "class", "cap", "expiry", "spent", "owed", "sequence", "record")
    after = patient.consent
    assert [after[each] for each in kept] == [before[each] for each in kept]
    assert patient.live == live
    left = patient.api.operator.reads.consent(patient.api.custody.dataset, old.address)
    assert left["state"] == "moved"

    bring_back_the_old_copy(patient)
    page.goto(f"/sign-in?next={patient.path}/enter")
    page.locator("#choose button").click()  # as another account than the one that is signed in
    page.wait_for_url(f"**{patient.path}/key")
    expect(page.locator("main")).to_contain_text("This address was left")
    is_accessible(page, f"{patient.path}/key")
    page.fill("#passphrase", PASSPHRASE)
    page.get_by_role("button", name="Let my keys follow").click()
    page.wait_for_url(f"**{patient.path}")
    patient.said("Moved to")
    page.get_by_role("button", name="Stop now").click()
    patient.said("Stopped. The chain shows it, say this site and")
    assert patient.consent["state"] == "none"


def bring_back_the_old_copy(patient: Patient) -> None:
    """The key file as it was saved before the move, unlocked in this tab."""
    url = patient.world.site.assets.url("js/session.js")
    patient.page.evaluate(
        """([url, passphrase]) => import(url).then(async (m) => m.stayUnlocked(await m.changeKeys(
              (k) => ({...k, datasets: k.datasets.map((each) => ({...each, index: 0}))}), passphrase)))""",
        [url, PASSPHRASE],
    )


# --- by keyboard alone


@pytest.mark.long
def test_from_the_first_visit_to_consent_to_stop_by_keyboard_alone(
    world: WebWorld, context: BrowserContext, complaints: list[str], tmp_path: Path
) -> None:
    assert context.browser is not None
    theirs = opened(context.browser, world)
    page = theirs.new_page()
    page.set_viewport_size(DESK)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"/sign-in?next=/me/{world.api.dataset}/classes/1")
    keys = Keyboard(page)
    make = page.get_by_role("button", name="Make keys")
    keys.type(page.locator("#new"), PASSPHRASE[:5])
    keys.press(make, "Enter")
    keys.is_at(page.locator("#new"))  # where the refusal is
    expect(page.locator("#new-error")).to_be_visible()
    page.keyboard.type(PASSPHRASE[5:])
    keys.type(page.locator("#again"), PASSPHRASE)
    keys.press(make, "Enter")
    keys.is_at(page.locator("#save-title"))
    with page.expect_download() as saved:
        keys.press(page.get_by_role("button", name="Save the key file"), "Space")
    saved.value.save_as(tmp_path / "keys.json")
    expect(page.locator("main")).to_contain_text("First you need a record here")
    key = key_in(unlock((tmp_path / "keys.json").read_bytes(), PASSPHRASE), world)
    stored = world.api.post("/records", {"entries": [world.api.upload_entry(key)]})
    assert [each["outcome"] for each in stored.get_json()["outcomes"]] == ["stored"]

    page.reload()
    caps, ends = (page.locator(f'input[name="{group}"]') for group in ("cap", "expiry"))
    consent = page.get_by_role("button", name="Consent", exact=True)
    keys.press(caps.first, "Space")
    expect(page.locator("#odds-part")).to_be_visible()
    keys.press(consent, "Enter")
    keys.is_at(ends.first)
    expect(page.locator("#grant .error")).to_contain_text("No time is chosen")
    page.keyboard.press("Space")
    keys.back_to(caps.first)
    keys.press(consent, "Enter")
    page.wait_for_url(f"**/me/{world.api.dataset}")
    keys.is_at(page.locator("#said"))
    expect(page.locator("#said")).to_contain_text("Consented.")
    keys.press(page.get_by_role("button", name="Stop now"), "Enter")
    expect(page.locator("#said")).to_contain_text("Stopped. The chain shows it, say this site and")
    keys.is_at(page.locator("#said"))
    keys.leaves()
    dataset = world.api.custody.dataset
    assert world.api.operator.reads.consent(dataset, key.address)["state"] == "none"
    theirs.close()


# --- other datasets, and how it all looks


def test_other_datasets_are_known_to_the_browser_alone(patient: Patient) -> None:
    page = patient.page
    url = patient.world.site.assets.url("js/session.js")
    other = "0x" + "ab" * 30 + "0000"
    page.goto("/me")
    page.evaluate(
        """([url, dataset, passphrase]) => import(url).then(async (m) => {
            const place = await m.placeOf(dataset);
            await m.stayUnlocked(await m.changeKeys(
              (k) => ({...k, datasets: [...k.datasets, {...place, index: 0}]}), passphrase));
        })""",
        [url, other, PASSPHRASE],
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.url} {request.post_data}"))
    page.goto("/me")
    expect(page.locator("#others li")).to_have_count(1)
    link = page.locator("#others a")
    assert f"%2Fme%2F{other}%2Fenter" in (link.get_attribute("href") or "")
    expect(link).to_have_text(f"Dataset {other[:10]}…")
    assert not any(other[2:] in each for each in asked)


LOOKED_AT = ("/me", "", "/classes/1", "/studies", "/timeline", "/key")
"""The first page, and what lies below a dataset's."""


def look_at(patient: Patient, below: str) -> None:
    """By axe on a phone and at a desk, in both schemes, with everything unfolded."""
    is_accessible(patient.page, below if below == "/me" else patient.path + below)


@pytest.mark.long
def test_every_page_is_for_everybody_on_any_screen(patient: Patient) -> None:
    patient.with_consent()
    patient.api.custody.open(patient.api.terms("looked at"))
    for below in LOOKED_AT:
        look_at(patient, below)


@pytest.mark.long
def test_so_are_the_pages_of_somebody_who_rests(patient: Patient) -> None:
    patient.with_consent()
    dataset, sequence = patient.api.custody.dataset, patient.consent["sequence"]
    rest = patient.rest_message(patient.key, dataset, sequence)
    patient.api.operator.relay.carry_uploaded([rest])
    for below in ("", "/studies"):
        look_at(patient, below)
    patient.without_consent()
    look_at(patient, "")
