"""A whole market, set up as the README says, then used in browsers: processes of their own on a real node."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from eth_account import Account
from playwright.sync_api import Browser, BrowserContext, Page, expect

from marketplace.chain.adapter import Chain, Manifest
from marketplace.fhir.demo import demo_bundles
from marketplace.vocabulary import DatasetId
from marketplace.wire import keyfiles
from marketplace.wire.browser_keys import Place
from marketplace.wire.terms import class_id
from tests.support import readme
from tests.support.browser_keys import PASSPHRASE, bring_key
from tests.support.joining_world import invitation, make_keys, root_of
from tests.support.readme_market import (
    CUSTODIANS,
    PATIENTS,
    PRICE,
    SETTING_UP,
    Typed,
    readme_market,
)
from tools.browser import PATIENCE_MILLISECONDS, chromium

# A market's life in one set-up, on slow machines too. Each day the demo's story is such a life, in processes
# of their own (`tests/integration/test_demo.py`), and each page is used in a browser over one in threads.
pytestmark = [pytest.mark.timeout(1800), pytest.mark.long]
PATIENCE = 3 * PATIENCE_MILLISECONDS
"""A step may be several transactions, each in a block of its own, and their finality."""
READY_TO_STOP = """async () => {
  const worker = await navigator.serviceWorker.getRegistration("/stop/");
  const opened = indexedDB.open("usufruct", 1);
  await new Promise((done) => { opened.onsuccess = done; });
  const asked = opened.result.transaction("kept").objectStore("kept").getAllKeys();
  await new Promise((done) => { asked.onsuccess = done; });
  opened.result.close();
  return worker?.active?.state === "activated" && asked.result.some((key) => key.startsWith("stop "));
}"""
"""Whether this browser has what it needs on the day the operator is down."""


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typed]:
    with readme_market(tmp_path_factory.mktemp("readme")) as made:
        yield made


# --- what was typed


def test_a_question_is_answered_in_a_market_that_was_set_up_by_the_readme(typed: Typed) -> None:
    (estimate,) = typed.answers["request"]["result"]
    low, high = estimate["interval"]
    # All three are clamped to the clip: so few patients of 50 and older may well give its lower end.
    assert 80 <= float(low) <= float(estimate["value"]) <= float(high) <= 200
    assert typed.answers["request"]["cohort_size"] == PATIENTS
    assert typed.answers["request"]["cost_nano_rho"] == 30_000_000


def test_an_answer_is_fetched_again_whenever_its_researcher_wants_it(typed: Typed) -> None:
    answered = typed.answers["request"]
    assert answered == typed.answers["result"]


def test_who_deployed_it_holds_no_role_any_more(typed: Typed) -> None:
    given = typed.answers["hand-over-roles"]
    assert given["to"] == typed.reader.facts["ADMIN"]
    assert (given["from"], given["kept"]) == (typed.reader.facts["DEPLOYER"], [])


def test_its_receipt_verifies_where_only_node_and_manifest_are_known(typed: Typed) -> None:
    verified = typed.answers["verify-receipt"]
    assert verified["verified"] is True
    assert verified["request"] == typed.reader.facts["REQUEST"]
    assert verified["cohort_size"] == PATIENTS


def test_a_patient_is_paid_and_leaves(typed: Typed) -> None:
    paid = typed.answers["withdraw"]
    assert (paid["paid"], paid["balance"]) == (str(PRICE), str(PRICE))
    assert paid["to"] == typed.reader.facts["ELSEWHERE"]
    left = typed.answers["revoke"]
    assert (left["outcome"], left["state"]) == ("revoked", "none")


# --- in browsers


@dataclass
class Visit:
    """Somebody's browser at the operator's pages; what goes wrong in any of them is kept in `faults`."""

    typed: Typed
    context: BrowserContext
    faults: list[str]

    @property
    def dataset(self) -> str:
        return self.typed.reader.facts["DATASET"]

    def arrive(self) -> Page:
        """From the first page to the dataset's, by its links."""
        page = self.context.new_page()
        page.goto("/")
        page.get_by_role("navigation").get_by_role("link", name="Datasets").first.click()
        page.get_by_role("link", name="pressure", exact=True).click()
        page.wait_for_url(f"**/datasets/{self.dataset}")
        return page

    def enter_as(self, party: str, path: str) -> Page:
        """With fresh keys, and the key that this party made on the command line."""
        page = self.context.new_page()
        page.goto("/sign-in")
        make_keys(page)
        expect(page.locator("#choose-part")).to_be_visible()
        home = self.typed.reader.home(party)
        key = Account.from_key(keyfiles.read(home / f"{party}.key"))
        bring_key(page, key, home, label=party)
        page.goto(f"/sign-in?next={quote(path, safe='')}")
        page.fill("#passphrase", PASSPHRASE)
        page.get_by_role("button", name="Unlock").click()
        page.get_by_label(party).check()
        page.locator("#choose button").click()
        page.wait_for_url(f"**{path}")
        return page


@dataclass
class Member(Visit):
    """A patient with a record and a live consent; `page`, the one of that consent, stays open."""

    page: Page
    address: str


@dataclass
class Researcher(Visit):
    """Signed in, at `page`."""

    page: Page

    def cohort(self) -> int:
        """Asks for a mean, follows it until it is answered, and looks at the plot: how many were counted."""
        page = self.page
        page.goto(f"/ask?dataset={self.dataset}")
        page.select_option("#analysis", "mean.v1")
        page.select_option("#variable", "systolic")
        page.fill("#clip_lower", "80")
        page.fill("#clip_upper", "200")
        page.get_by_label("Biomedical research").check()
        page.get_by_label("publish").check()
        page.locator("#classes input").first.check()
        page.fill("#cost", "30000000")
        page.locator("#ceiling input").check()
        page.get_by_role("button", name="Ask and pay").click()
        page.wait_for_url("**/my/requests/0x*")
        expect(page.locator("#state")).to_contain_text("Settled")
        expect(page.locator("#plot svg.strip")).to_have_count(1)
        expect(page.locator("#checks .badge")).to_have_text(["Holds"] * 11)
        request = bytes.fromhex(urlsplit(page.url).path.rsplit("/", 1)[1][2:])
        members = chain_of(self.typed).request(request).members
        expect(page.locator("#cohort")).to_have_text(str(members))
        return members


def chain_of(typed: Typed) -> Chain:
    """As somebody sees it who has a node and the manifest, and asks nobody else."""
    manifest = Manifest.load(typed.reader.home("anybody") / "manifest.json")
    return Chain(typed.reader.node.url, manifest)


@pytest.fixture(scope="module")
def browser(typed: Typed) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def faults() -> list[str]:
    return []


def context_of(browser: Browser, typed: Typed, faults: list[str]) -> BrowserContext:
    url = typed.reader.url("operator")
    opened = browser.new_context(base_url=url, reduced_motion="reduce")
    opened.set_default_timeout(PATIENCE)
    opened.on("weberror", lambda error: faults.append(str(error.error)))
    return opened


@pytest.fixture(scope="module")
def clinic(browser: Browser, typed: Typed, faults: list[str]) -> Page:
    """The issuer's desk, open."""
    visit = Visit(typed, context_of(browser, typed, faults), faults)
    page = visit.enter_as("issuer", f"/clinic/{visit.dataset}")
    page.get_by_role("button", name="Open the desk").click()
    expect(page.get_by_role("button", name="Renew the desk")).to_be_visible()
    return page


@pytest.fixture(scope="module")
def researcher(browser: Browser, typed: Typed, faults: list[str]) -> Researcher:
    visit = Visit(typed, context_of(browser, typed, faults), faults)
    visit.arrive().get_by_role("link", name="Ask it a question").click()
    page = visit.enter_as("researcher", f"/ask?dataset={visit.dataset}")
    return Researcher(typed, visit.context, faults, page)


@pytest.fixture(scope="module")
def member(
    browser: Browser,
    typed: Typed,
    clinic: Page,
    faults: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Member:
    """From the first visit to a consent that the chain shows, with a clinic in another browser."""
    visit = Visit(typed, context_of(browser, typed, faults), faults)
    page = visit.arrive()
    page.get_by_role("link", name="Take part").click()
    make_keys(page)
    page.wait_for_url(f"**/me/{visit.dataset}/join")
    bring_record(page, clinic, tmp_path_factory.mktemp("member"))
    page.get_by_role("link", name="See what you may permit").click()
    page.get_by_role("link", name="Blood pressure in ordinary people").click()
    page.locator('input[name="cap"]').nth(1).check()
    page.locator('input[name="expiry"]').nth(2).check()
    page.get_by_role("button", name="Consent", exact=True).click()
    expect(page.locator("#said")).to_contain_text("Consented. The chain shows it.")
    chain = chain_of(typed)
    place = Place(
        chain.chain_id,
        chain.manifest.address("DatasetRegistry"),
        DatasetId(bytes.fromhex(visit.dataset[2:])),
    )
    address = str(Account.from_key(root_of(page).patient_key(place)).address)
    assert state_of(typed, address) == "LIVE"
    return Member(typed, visit.context, faults, page, address)


def bring_record(page: Page, clinic: Page, folder: Path) -> None:
    """Sealed in the patient's browser, attested in the clinic's, stored by every custodian."""
    bundle = folder / "bundle.json"
    bundle.write_bytes(demo_bundles(1, 7)[0])
    page.set_input_files("#bundle", bundle)
    expect(page.locator("#counted")).to_contain_text("3 of 3 values will be sealed")
    page.fill("#code", invitation(clinic))
    page.get_by_role("button", name="Look up the clinic").click()
    page.get_by_role("button", name="Seal and leave it for the clinic").click()
    expect(page.locator("#news")).to_contain_text("waits for the clinic")
    clinic.reload()
    clinic.get_by_role("button", name="Open", exact=True).click()
    clinic.fill("#number", "MRN-1")
    clinic.get_by_role("button", name="Attest it").click()
    expect(clinic.locator("#done")).to_contain_text("Attested")
    expect(page.locator("#news")).to_contain_text("Registered.")


def state_of(typed: Typed, patient: str) -> str:
    dataset = bytes.fromhex(typed.reader.facts["DATASET"][2:])
    return chain_of(typed).consent_of(dataset, patient).state.name


def live(typed: Typed) -> int:
    """How many the next cohort would count."""
    dataset = bytes.fromhex(typed.reader.facts["DATASET"][2:])
    return sum(shard.live for shard in chain_of(typed).shards(class_id(dataset, 1)))


@contextmanager
def operator_killed(typed: Typed) -> Iterator[None]:
    """In the middle of whatever it did; started again afterwards, as the README says."""
    typed.reader.kill("operator")
    try:
        yield
    finally:
        typed.reader.start("operator", readme.only(readme.commands(SETTING_UP), "serve"))
        typed.reader.await_health(["operator"])


def test_who_joined_and_consented_in_a_browser_is_counted_by_a_researcher_in_another(
    member: Member, researcher: Researcher
) -> None:
    assert live(member.typed) == PATIENTS, "those who are left, and this one"
    assert researcher.cohort() == PATIENTS
    assert member.faults == []


def test_a_patient_leaves_past_an_operator_that_was_killed_and_the_next_cohort_is_smaller_by_one(
    member: Member, researcher: Researcher
) -> None:
    """Through custodians, by the page that the open browser kept; nothing is said before the chain has it."""
    typed, page, before = member.typed, member.page, live(member.typed)
    page.wait_for_function(READY_TO_STOP, polling=500)
    with operator_killed(typed):
        assert state_of(typed, member.address) == "LIVE"
        page.get_by_role("link", name="If this site is down").click()
        stop_through_custodians(member)
    page.goto(f"/me/{member.dataset}")
    expect(page.locator("main")).to_contain_text("You consent to nothing at the moment.")
    assert live(typed) == before - 1
    assert researcher.cohort() == before - 1
    assert member.faults == []


def stop_through_custodians(member: Member) -> None:
    """On the page that opens whatever is down; it says so once the chain has it."""
    page = member.page
    expect(page.locator("#kept")).to_contain_text("opens here whatever is down")
    expect(page.locator("section.stop")).to_contain_text(member.address)
    page.fill("#passphrase-0", PASSPHRASE)
    page.get_by_role("button", name="Stop now").click()
    expect(page.locator(".said")).to_contain_text("Stopped.")
    assert state_of(member.typed, member.address) == "NONE"
    words = page.locator("section.stop li").all_text_contents()[: len(CUSTODIANS)]
    assert "carried, in block" in words[0]
    assert all("carried, in block" in each or "the chain has it" in each for each in words)


# --- afterwards


def test_a_committee_changes_as_the_readme_says_and_answers_without_who_left(typed: Typed) -> None:
    """With the third custodian stopped, too, the answer needs the shares that were handed over."""
    reader = typed.reader
    typed.succeed()
    reader.stop("custodian-0", "custodian-2")
    typed.move_to("new")
    asked = readme.only(readme.commands(SETTING_UP), "request")
    answer = reader.run("researcher", asked.put("receipt.json", "another.json"))
    assert answer["cohort_size"] == PATIENTS - 1
