"""A steward publishes a dataset and a class, the authority vouches, the operator looks: in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from eth_utils.crypto import keccak
from playwright.sync_api import Browser, Page, expect

from marketplace.chain.deploy import grant_role
from marketplace.chain.funding import fund
from marketplace.wire.http import to_hex
from marketplace.wire.keyfiles import create
from tests.support.api_world import api_world
from tests.support.chain_world import account
from tests.support.custody_world import DICTIONARY
from tests.support.joining_world import PASSPHRASE, make_keys
from tests.support.looking import COLOURS, HALF, NARROW, WIDE, Looked, looking
from tests.support.nodes import EMBEDDED_KEY
from tests.support.web_world import WebWorld, web_world
from tools.browser import PATIENCE_MILLISECONDS, chromium

STEWARD = account("steward at a browser")
AUTHORITY = account("authority at a browser")
RESEARCHER = account("whom the authority vouches for")
CLINIC = account("clinic whom the steward trusts")
PARAGRAPHS = {
    "what": "Your blood pressure, and whether you smoke.",
    "who": "Researchers at universities & hospitals.",
    "why": "To learn what keeps hearts <healthy>.",
    "how_long": "Until you stop, or until the date that you choose.",
    "how_protected": "Sealed; several custodians have to agree before anything opens.",
    "how_to_stop": "Press Stop. You need give no reason.",
    "pay": "A little for each study that counts you.",
}


@dataclass
class Person:
    """Somebody whose key of the command line is in the keys of this browser."""

    world: WebWorld
    looked: Looked

    @property
    def page(self) -> Page:
        return self.looked.page

    def require_sound(self) -> None:
        """For everybody, on any screen, in both schemes; and without a complaint of the browser's."""
        for width in (NARROW, HALF, WIDE):
            self.looked.dress(width)
            assert self.looked.beyond() == [], (width, self.page.url)
        assert self.looked.violations() == [], self.page.url
        self.looked.dress(NARROW, "dark")
        assert self.looked.violations() == [], (self.page.url, "dark")
        self.looked.dress(WIDE, "dark")
        assert self.looked.violations(COLOURS) == [], (self.page.url, "dark")
        self.looked.dress(WIDE)

    def enter(self, label: str, path: str) -> None:
        """Signs in with one of the keys, on the way to a page."""
        self.page.goto(path)
        # Both stand there hidden from the start: a module shows one once it has looked for keys.
        shown = self.page.locator("#unlock-part:visible, #choose-part:visible")
        expect(shown).to_have_count(1)
        if shown.get_attribute("id") == "unlock-part":
            self.page.fill("#passphrase", PASSPHRASE)
            self.page.get_by_role("button", name="Unlock").click()
        self.page.get_by_label(label).check()
        self.page.locator("#choose button").click()
        self.page.wait_for_url(lambda url: urlsplit(url).path == path)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    with api_world(tmp_path_factory.mktemp("stewards")) as api, web_world(api) as made:
        send = api.custody.sender
        fund(api.custody.chain.node, EMBEDDED_KEY, [STEWARD.address, AUTHORITY.address], 10**18)
        grant_role(send, "DatasetRegistry", "STEWARD", STEWARD.address)
        grant_role(send, "ResearcherRegistry", "AUTHORITY", AUTHORITY.address)
        yield made


@pytest.fixture(scope="module")
def browser(world: WebWorld) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with chromium() as opened:
        yield opened


@pytest.fixture
def looked(browser: Browser, world: WebWorld) -> Iterator[Looked]:
    with looking(browser, world.url) as opened:
        yield opened
        # Chromium itself says on the console that an answer had an error status.
        assert [each for each in opened.complaints if "status of" not in each] == []


@pytest.fixture
def person(looked: Looked, world: WebWorld, tmp_path: Path) -> Person:
    """With keys of its own, and both keys of the command line."""
    page = looked.page
    page.goto("/sign-in")
    make_keys(page)
    page.goto("/keys")
    for label, key in (("steward", STEWARD), ("authority", AUTHORITY)):
        path = tmp_path / f"{label}.key"
        create(path, bytes(key.key))
        page.set_input_files("#file", path)
        page.fill("#label", label)
        page.fill("#passphrase", PASSPHRASE)
        page.get_by_role("button", name="Add the key").click()
        expect(page.locator("#imported")).to_contain_text(key.address)
    return Person(world, looked)


# --- the steward


@pytest.mark.long
def test_a_steward_publishes_a_dataset_and_a_class_that_reads_as_it_was_previewed(
    person: Person, world: WebWorld, tmp_path: Path
) -> None:
    person.enter("steward", "/steward")
    person.require_sound()
    dataset = publish_dataset(person, tmp_path)
    change_issuers(person, dataset)
    write_class(person, dataset)
    parts = ("h1", "#page", "#consequences")
    previewed = [outer(person.page, each) for each in parts]
    person.require_sound()
    require_no_other_words(person, dataset)
    person.page.get_by_role("button", name="Publish this class, for ever").click()
    person.page.wait_for_url(f"**/steward/{dataset}")
    expect(person.page.locator("#said")).to_contain_text("Published: Hearts & lungs")
    person.page.goto(f"/me/{dataset}/classes/1")
    assert [outer(person.page, each) for each in parts] == previewed
    chain = world.api.operator.chain
    (class_,) = chain.class_ids(bytes.fromhex(dataset[2:]))
    assert chain.class_terms(class_).floor_per_record == 500_000
    person.page.goto(f"/steward/{dataset}/classes/new")
    expect(person.page.locator("#title")).to_have_value("")  # what was published is typed no more
    retire(person, dataset)


def require_no_other_words(person: Person, dataset: str) -> None:
    """A page that shows anything else than what its hash stands for is not published."""
    page, chain = person.page, person.world.api.operator.chain
    shown = page.locator("[data-paragraph='pay']")
    shown.evaluate("each => { each.textContent = 'A fortune.'; }")
    page.get_by_role("button", name="Publish this class, for ever").click()
    expect(page.locator("#publish-class [data-refusal]")).to_contain_text("nothing was signed")
    assert chain.class_ids(bytes.fromhex(dataset[2:])) == ()
    shown.evaluate("(each, text) => { each.textContent = text; }", PARAGRAPHS["pay"])


def outer(page: Page, selector: str) -> str:
    # Of a page that still comes in, an element may have its first half alone.
    page.wait_for_load_state("load")
    found: str = page.locator(selector).evaluate("each => each.outerHTML")
    return found


def publish_dataset(person: Person, folder: Path) -> str:
    """From a file with a fault, which is said and mended, to the chain. The dataset's id."""
    page = person.page
    page.get_by_role("link", name="New dataset").click()
    page.wait_for_url("**/steward/new")
    path = folder / "dictionary.json"
    path.write_text(json.dumps({**DICTIONARY, "version": 0}))
    page.set_input_files("#file", path)
    expect(page.locator("#dictionary")).to_have_value(path.read_text())
    page.get_by_role("button", name="Check it").click()
    expect(page.locator("#dictionary-error")).to_contain_text("version is not a positive integer")
    expect(page.locator("#dictionary")).to_have_value(path.read_text())
    person.require_sound()
    page.fill("#dictionary", json.dumps({**DICTIONARY, "version": 2}))
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_role("table", name="Data dictionary")).to_contain_text("60 to 260")
    person.require_sound()
    page.fill("#uri", "javascript:alert(1)")
    page.get_by_role("button", name="Publish the dataset").click()
    expect(page.locator("#uri-error")).to_contain_text("https://")
    page.fill("#uri", "https://example.org/pressure")
    page.get_by_role("button", name="Publish the dataset").click()
    expect(page.locator("#said")).to_contain_text("Published.")
    dataset = urlsplit(page.url).path.rpartition("/")[2]
    operator = person.world.api.operator
    view = operator.chain.dataset(bytes.fromhex(dataset[2:]))
    assert (view.steward, view.uri) == (STEWARD.address, "https://example.org/pressure")
    assert operator.dictionaries.of(view.dataset).version == 2
    return dataset


def change_issuers(person: Person, dataset: str) -> None:
    page, chain = person.page, person.world.api.operator.chain
    page.fill("#issuer", CLINIC.address[:-1])
    page.get_by_role("button", name="Trust this issuer").click()
    expect(page.locator("#issuer-error")).to_contain_text("no address of this chain")
    page.fill("#issuer", CLINIC.address)
    page.get_by_role("button", name="Trust this issuer").click()
    expect(page.locator("#said")).to_contain_text("Trusted")
    expect(page.locator("[data-withdraw]")).to_have_count(1)
    assert chain.issuers(bytes.fromhex(dataset[2:])) == [CLINIC.address]
    person.require_sound()
    page.locator("[data-withdraw]").click()
    expect(page.locator("#said")).to_contain_text("Withdrawn")
    expect(page.locator("[data-withdraw]")).to_have_count(0)
    assert chain.issuers(bytes.fromhex(dataset[2:])) == []


def write_class(person: Person, dataset: str) -> None:
    """Half of it, away and back, then the rest; each fault is said, and nothing has to be typed twice."""
    page = person.page
    page.get_by_role("link", name="New class").click()
    # Loaded, so that there is something to look at, and a module that keeps what is typed.
    page.wait_for_url(f"**/steward/{dataset}/classes/new")
    expect(page.locator("#title")).to_be_visible()
    person.require_sound()
    page.fill("#title", "Hearts & lungs")
    page.get_by_label("Not for commercial ends", exact=True).check()
    page.goto("/datasets")
    page.goto(f"/steward/{dataset}/classes/new")
    expect(page.locator("#title")).to_have_value("Hearts & lungs")
    page.get_by_label("Health, medical or biomedical research").check()
    for name, text in PARAGRAPHS.items():
        page.fill(f"#{name}", text)
    expect(page.locator("#countries")).to_be_hidden()
    page.get_by_label("Only by researchers in some countries").check()
    page.fill("#countries", "nl")
    page.fill("#max_cost", "a lot")
    page.fill("#floor_per_record", "0.50")
    page.fill("#floor_per_milli_rho", "0.02")
    page.get_by_role("button", name="See it as patients will").click()
    expect(page.locator("#max_cost-error")).to_contain_text("no whole number")
    expect(page.locator("#release_kinds-error")).to_be_visible()
    expect(page.get_by_label("Not for commercial ends", exact=True)).to_be_checked()
    person.require_sound()
    page.fill("#max_cost", "30,000,000")
    page.get_by_label("Numbers", exact=True).check()
    page.fill("#countries", "NL, DE")
    page.get_by_role("button", name="See it as patients will").click()
    expect(page.locator("#consequences")).to_contain_text("0.50 EUR")
    expect(page.locator("#consequences")).to_contain_text(
        "researchers in NL (Netherlands) and DE (Germany)"
    )
    page.get_by_role("button", name="Change something").click()
    expect(page.locator("#pay")).to_have_value(PARAGRAPHS["pay"])
    page.get_by_role("button", name="See it as patients will").click()
    expect(page.locator("h1")).to_have_text("Hearts & lungs")


def retire(person: Person, dataset: str) -> None:
    page, chain = person.page, person.world.api.operator.chain
    page.goto(f"/steward/{dataset}")
    page.fill("#word", "no")
    page.get_by_role("button", name="Retire the dataset").click()
    expect(page.locator("#word-error")).to_be_visible()
    assert not chain.dataset(bytes.fromhex(dataset[2:])).retired
    page.fill("#word", "retire")
    page.get_by_role("button", name="Retire the dataset").click()
    expect(page.locator("#said")).to_contain_text("Retired.")
    assert chain.dataset(bytes.fromhex(dataset[2:])).retired
    person.require_sound()


# --- the credential authority


def test_the_authority_gives_a_credential_and_takes_it_back(
    person: Person, world: WebWorld
) -> None:
    page, chain = person.page, world.api.operator.chain
    person.enter("authority", "/authority")
    person.require_sound()
    page.fill("#account", RESEARCHER.address)
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_text("No credential")).to_be_visible()
    page.select_option("#kind", "2")
    page.fill("#user", "0000-0002-1825-0097")
    page.fill("#institution", to_hex(keccak(text="a university")))
    page.get_by_role("button", name="Give it").click()
    expect(page.locator("#country-error")).to_contain_text("Choose a country.")
    page.select_option("#country", label="Netherlands (NL)")
    page.get_by_role("button", name="Give it").click()
    expect(page.locator("#expiry-error")).to_be_visible()
    page.get_by_label("1 year").check()
    expect(page.locator("#given-as")).to_have_text(
        "You give: a public body, Netherlands (NL), for 1 year."
    )
    page.get_by_role("button", name="Give it").click()
    expect(page.locator("#evidence-error")).to_be_visible()
    page.fill("#evidence", "file 4711")
    page.get_by_role("button", name="Give it").click()
    expect(page.locator("#said")).to_contain_text("Given.")
    person.require_sound()
    given = chain.credential_of(RESEARCHER.address)
    assert (given.kind, given.country, given.withdrawn) == (2, b"NL", False)
    assert given.user == keccak(text="0000-0002-1825-0097")
    assert given.institution == keccak(text="a university")
    assert given.evidence == keccak(text="file 4711")
    page.get_by_role("button", name="Withdraw it").click()
    expect(page.locator("#said")).to_contain_text("Withdrawn.")
    assert chain.credential_of(RESEARCHER.address).withdrawn
    page.goto("/authority")
    expect(page.get_by_role("table", name="Credentials")).to_contain_text("Withdrawn")
    person.require_sound()


# --- the operator


def test_the_operator_sees_what_waits_and_has_it_looked_at(looked: Looked, world: WebWorld) -> None:
    api, page = world.api, looked.page
    submitted = api.post_signed(api.submission("in the queue")).get_json()["request"]
    looked.sign_in(api.researcher)
    looked.go("/operator")
    queue = page.get_by_role("table", name="Unfinished requests")
    expect(queue).to_contain_text("has not paid yet")
    Person(world, looked).require_sound()
    page.locator(f"[data-nudge='{submitted}']").click()
    expect(page.locator("#said")).to_contain_text("told to look now")


# --- what nobody vouches for any more. The market's own clinic is withdrawn here: this comes last.


@pytest.mark.long
def test_a_steward_suspends_a_record_whose_issuer_is_withdrawn_and_no_other(
    person: Person, world: WebWorld
) -> None:
    page, api = person.page, world.api
    chain, dataset = api.operator.chain, bytes.fromhex(api.dataset[2:])
    patient, other = (each.address for each in api.patients[:2])
    api.custody.sender.send("DatasetRegistry", "handOver", dataset, STEWARD.address)
    person.enter("steward", f"/steward/{api.dataset}")
    person.require_sound()
    page.fill("#patient", patient)
    page.get_by_role("button", name="Suspend this record").click()
    expect(page.locator("#suspend")).to_contain_text("still trusted")
    page.locator("[data-withdraw]").click()
    expect(page.locator("#said")).to_contain_text("Withdrawn")
    for wrong, why in (
        ("0x12", "address"),
        (STEWARD.address, "This address has no record in this dataset."),
    ):
        page.fill("#patient", wrong)
        page.get_by_role("button", name="Suspend this record").click()
        expect(page.locator("#patient-error")).to_contain_text(why)
    page.fill("#patient", patient)
    page.get_by_role("button", name="Suspend this record").click()
    expect(page.locator("#said")).to_contain_text("Suspended")
    assert chain.record_of(dataset, patient).suspended
    assert not chain.record_of(dataset, other).suspended
