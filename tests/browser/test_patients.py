"""What a patient does in a real browser with a key of its own: consent, stop, rest, withdraw, look back."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from marketplace.client.messages import Messages
from marketplace.wire.browser_keyfile import unlock
from marketplace.wire.browser_keys import Place
from marketplace.wire.http import to_hex
from tests.support.api_world import ApiWorld, api_world
from tests.support.chain_world import MAX_COST, account
from tests.support.looking import AXE, COLOURS, EVERYTHING, Scheme
from tests.support.web_world import WebWorld, web_world
from tools.browser import PATIENCE_MILLISECONDS, chromium

PASSPHRASE = "orbit canvas lemon tractor quiet"
PHONE: ViewportSize = {"width": 320, "height": 700}
DESK: ViewportSize = {"width": 1280, "height": 900}
SCHEMES: tuple[tuple[Scheme, str], ...] = (("light", EVERYTHING), ("dark", COLOURS))
"""What axe looks for in each."""
PRESSES = """
  const count = () => sessionStorage.setItem("presses", 1 + Number(sessionStorage.getItem("presses")));
  addEventListener("pointerdown", count);
  addEventListener("keydown", ({ key }) => ["Enter", " "].includes(key) && count());
"""
"""Every press of a pointer or of a key that presses, from page to page."""


@dataclass
class Patient(Messages):
    """A person at a browser; the test knows the key only to put things as they were."""

    world: WebWorld
    page: Page
    key: LocalAccount

    @property
    def manifest(self) -> Any:
        return self.api.operator.chain.manifest

    @property
    def api(self) -> ApiWorld:
        return self.world.api

    @property
    def path(self) -> str:
        return f"/me/{self.api.dataset}"

    @property
    def consent(self) -> dict[str, Any]:
        """As the chain has it."""
        return self.api.operator.reads.consent(self.api.custody.dataset, self.key.address)

    @property
    def live(self) -> int:
        """How many the class's next cohort would count."""
        return self.api.operator.chain.shard(self.api.custody.classes[0], 0).live

    def go(self, below: str = "", size: ViewportSize | None = None) -> Page:
        self.page.set_viewport_size(size or DESK)
        self.page.goto(self.path + below)
        return self.page

    def said(self, text: str) -> None:
        expect(self.page.locator("#said")).to_contain_text(text)

    def presses(self, since: bool = False) -> int:
        if since:
            self.page.evaluate("sessionStorage.setItem('presses', 0)")
        return int(self.page.evaluate("Number(sessionStorage.getItem('presses'))"))

    def with_consent(self) -> None:
        """Live, whatever a test before has left."""
        self.api.custody.tick()
        found = self.consent
        if found["state"] == "live":
            return
        carry = [self.api.grant_message(self.key, sequence=found["sequence"] + 1)]
        [outcome] = self.api.operator.relay.carry_uploaded(carry)
        assert outcome.refusal is None, outcome.refusal

    def without_consent(self) -> None:
        found = self.consent
        if found["state"] == "none":
            return
        dataset = self.api.custody.dataset
        carry = [self.revocation_message(self.key, dataset, found["sequence"])]
        [outcome] = self.api.operator.relay.carry_uploaded(carry)
        assert outcome.refusal is None, outcome.refusal


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    with api_world(tmp_path_factory.mktemp("patients")) as api, web_world(api) as made:
        yield made


@pytest.fixture(scope="module")
def context(world: WebWorld) -> Iterator[BrowserContext]:
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with chromium() as browser:
        yield opened(browser, world)


def opened(browser: Browser, world: WebWorld) -> BrowserContext:
    made = browser.new_context(base_url=world.url, reduced_motion="reduce")
    made.set_default_timeout(PATIENCE_MILLISECONDS)
    made.add_init_script(PRESSES)
    return made


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
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    page.goto(f"/sign-in?next=/me/{world.api.dataset}/classes/1")
    page.fill("#new", PASSPHRASE)
    page.fill("#again", PASSPHRASE)
    page.get_by_role("button", name="Make keys").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save the key file").click()
    saved.value.save_as(keys)
    page.wait_for_url("**/me/*/classes/1")
    expect(page.locator("main")).to_contain_text("First you need a record here")
    patient = Patient(world, page, key_in(keys, world))
    stored = world.api.post("/records", {"entries": [world.api.upload_entry(patient.key)]})
    assert [each["outcome"] for each in stored.get_json()["outcomes"]] == ["stored"]
    return patient


def key_in(keys: Path, world: WebWorld) -> LocalAccount:
    """That of the dataset, as Python derives it from the file that the browser saved."""
    context = world.api.custody.record_context(account("anybody").address)
    place = Place(context.chain_id, context.registry, context.dataset)
    key: LocalAccount = Account.from_key(
        unlock(keys.read_bytes(), PASSPHRASE).root.patient_key(place)
    )
    return key


@pytest.fixture
def patient(newcomer: Patient, complaints: list[str]) -> Iterator[Patient]:
    complaints.clear()
    yield newcomer
    assert complaints == []


def choose(page: Page, group: str, place: int) -> None:
    page.locator(f'input[name="{group}"]').nth(place).check()


def grant(patient: Patient) -> None:
    choose(patient.page, "cap", 1)
    choose(patient.page, "expiry", 2)
    patient.page.locator("#grant button").click()


def with_nothing_typed(patient: Patient) -> Page:
    """The page at hand as it is for whoever comes for the first time."""
    patient.page.evaluate("sessionStorage.removeItem(`form ${location.pathname} grant`)")
    patient.page.reload()
    return patient.page


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


def test_an_exact_limit_is_refused_at_its_field_and_what_was_typed_stays(patient: Patient) -> None:
    patient.with_consent()
    before, page = patient.consent, patient.go("/classes/1")
    page.locator('input[value="exact"]').check()
    choose(page, "expiry", 0)
    page.fill("#exact", "12")
    page.locator("#grant button").click()
    expect(page.locator("#exact-error")).to_contain_text("no limit that this class takes")
    expect(page.locator("#exact")).to_be_focused()
    assert page.input_value("#exact") == "12"
    page.reload()
    assert page.input_value("#exact") == "12"
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
    expect(page.locator("#grant .error")).to_contain_text("No limit is chosen")
    assert patient.consent == before


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


def test_on_a_phone_stopping_takes_one_press_and_the_next_cohort_is_smaller_by_one(
    patient: Patient,
) -> None:
    patient.with_consent()
    before, page = patient.live, patient.go(size=PHONE)
    assert patient.presses(since=True) == 0
    page.get_by_role("button", name="Stop now").click()
    patient.said("Revoked. The chain shows it.")
    assert patient.presses() == 1
    assert patient.consent["state"] == "none"
    assert patient.live == before - 1
    assert page.locator("#stop").count() == 0
    expect(page.locator("main")).to_contain_text("No consent")


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
    patient.said("Revoked.")
    assert (patient.presses(), to_consent) == (1, 3)
    assert patient.consent["state"] == "none"


def test_revoked_is_said_only_once_the_chain_shows_it(patient: Patient) -> None:
    """An operator that says yes and carries nothing gets no thanks."""
    patient.with_consent()
    page = patient.go()
    page.route("**/messages", lambda route: route.fulfill(json={"kind": "revocation"}))
    page.get_by_role("button", name="Stop now").click()
    expect(page.locator("#stop")).to_have_attribute("aria-busy", "true")
    page.wait_for_timeout(
        2_000
    )  # long enough for four looks at the chain; whatever is said is said wrongly
    assert page.locator("#said").text_content() == ""
    page.unroute("**/messages")
    dataset, sequence = patient.api.custody.dataset, patient.consent["sequence"]
    carry = [patient.revocation_message(patient.key, dataset, sequence)]
    patient.api.operator.relay.carry_uploaded(carry)
    patient.said("Revoked.")


def test_what_stopping_needs_without_the_operator_is_kept_in_the_browser(patient: Patient) -> None:
    patient.with_consent()
    page = patient.go()
    expect(page.locator("#stop")).to_be_visible()
    url = patient.world.site.assets.url("js/keystore.js")
    page.wait_for_function(f"import('{url}').then(m => m.stopFacts()).then(f => f.length > 0)")
    kept = page.evaluate(f"import('{url}').then(m => m.stopFacts())")
    manifest = patient.manifest
    assert [each["address"] for each in kept] == [patient.key.address]
    assert kept[0]["dataset"] == patient.api.dataset
    assert kept[0]["contracts"]["ConsentRegistry"] == manifest.address("ConsentRegistry")
    assert kept[0]["custodians"] == patient.api.custodian_urls
    assert kept[0]["chain_id"] == patient.api.operator.chain.chain_id


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
    assert page.evaluate("localStorage.length") == 0


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


def test_a_use_is_on_the_timeline_and_pays_and_what_it_paid_is_withdrawn(
    patient: Patient, tmp_path: Path
) -> None:
    patient.with_consent()
    request = settled_request(patient, "used")
    owed, chain = int(patient.consent["owed"]), patient.api.operator.chain
    assert owed > 0
    page = patient.go("/timeline")
    use = page.get_by_role("row").filter(has_text="You were counted").first
    expect(use.locator(f'a[href="/requests/{request}"]')).to_be_visible()
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
    page.fill("#to", "0x12")
    page.get_by_role("button", name="Withdraw").click()
    expect(page.locator("#to-error")).to_be_visible()
    page.fill("#to", wallet)
    page.get_by_role("button", name="Withdraw").click()
    patient.said("Paid out. The chain shows it.")
    assert chain.balance_of(wallet) == owed
    assert patient.consent["owed"] == "0"


def test_a_guardian_is_appointed_and_dismissed(patient: Patient) -> None:
    patient.with_consent()
    page, guardian = patient.go(), account("guardian of a browser").address
    page.get_by_text("Appoint one").click()
    page.fill("#guardian", guardian)
    page.get_by_role("button", name="Appoint").click()
    expect(page.locator("#appoint .error")).to_contain_text("No end is chosen")
    choose(page, "expiry", 0)
    page.get_by_role("button", name="Appoint").click()
    patient.said("appointed")
    found = patient.consent["guardian"]
    assert (found["address"], found["may_grant"]) == (guardian, False)
    page.get_by_role("button", name="Dismiss").click()
    patient.said("Dismissed.")
    assert patient.consent["guardian"] is None


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


LOOKED_AT = ("/me", "", "/classes/1", "/studies", "/timeline")
"""The first page, and what lies below a dataset's."""


def look_at(patient: Patient, below: str) -> None:
    """By axe on a phone and at a desk, in both schemes, with everything unfolded."""
    page = patient.page
    for size in (PHONE, DESK):
        page.set_viewport_size(size)
        page.goto(below if below == "/me" else patient.path + below)
        page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        page.evaluate(AXE.read_text())
        for scheme, rules in SCHEMES if size is PHONE else SCHEMES[:1]:
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate(f"axe.run(document, {rules})")["violations"]
            assert [(each["id"], each["nodes"][0]["html"]) for each in found] == [], below
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), below
        page.emulate_media(color_scheme="light")


def test_every_page_is_for_everybody_on_any_screen(patient: Patient) -> None:
    patient.with_consent()
    patient.api.custody.open(patient.api.terms("looked at"))
    for below in LOOKED_AT:
        look_at(patient, below)


def test_so_are_the_pages_of_somebody_who_rests(patient: Patient) -> None:
    patient.with_consent()
    dataset, sequence = patient.api.custody.dataset, patient.consent["sequence"]
    rest = patient.rest_message(patient.key, dataset, sequence)
    patient.api.operator.relay.carry_uploaded([rest])
    for below in ("", "/studies"):
        look_at(patient, below)
    patient.without_consent()
    look_at(patient, "")
