"""A web world with the demonstration's dictionary: what a clinic and its patients meet in their browsers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect

from marketplace.custodian.service import Custodian
from marketplace.fhir.demo import demo_dictionary
from marketplace.vocabulary import DatasetId
from marketplace.wire.browser_keyfile import unlock
from marketplace.wire.browser_keys import Place, Root
from tests.support.api_world import ApiWorld, api_world
from tests.support.browser_keys import PASSPHRASE, bring_key
from tests.support.chain_world import TERMS
from tests.support.custody_world import CustodyWorld
from tests.support.web_world import WebWorld, web_world

CLINIC_NAME = "Clinic by the canary pond"
"""On the paper alone."""
KEY_FILE = """() => new Promise((resolve, reject) => {
    const opened = indexedDB.open("usufruct", 1);
    opened.onerror = () => reject(opened.error);
    opened.onsuccess = () => {
        const asked = opened.result.transaction("kept").objectStore("kept").get("key file");
        asked.onsuccess = () => resolve(new TextDecoder().decode(asked.result));
    };
})"""


@dataclass
class JoiningWorld:
    """`web` serves the pages; the dataset is that of `custody`, whose issuer is the clinic."""

    web: WebWorld

    @property
    def api(self) -> ApiWorld:
        return self.web.api

    @property
    def custody(self) -> CustodyWorld:
        return self.api.custody

    @property
    def custodians(self) -> list[Custodian]:
        return self.api.custodians

    @property
    def join(self) -> str:
        return f"/me/{self.api.dataset}/join"

    @property
    def clinic(self) -> str:
        return f"/clinic/{self.api.dataset}"

    @property
    def place(self) -> Place:
        chain = self.custody.chain
        registry = chain.manifest.address("DatasetRegistry")
        return Place(chain.chain_id, registry, DatasetId(self.custody.dataset))


def publish_demo(custody: CustodyWorld) -> None:
    """Puts a dataset with the demonstration's dictionary in the place of the world's own."""
    custody.dictionary = demo_dictionary()
    sent = custody.sender.send(
        "DatasetRegistry", "publishDataset", custody.dictionary.hash(), bytes(32), "file:///demo"
    )
    custody.dataset = sent.event("DatasetPublished").args["dataset"]
    published = custody.sender.send("DatasetRegistry", "publishClass", custody.dataset, TERMS)
    custody.classes = (published.event("ClassPublished").args["class"],)
    custody.sender.send("DatasetRegistry", "addIssuer", custody.dataset, custody.issuer.address)


@contextmanager
def joining_world(folder: Path) -> Iterator[JoiningWorld]:
    """Pages, operator, chain and custodians, with its pulse."""
    with api_world(folder) as api:
        publish_demo(api.custody)
        api.operator.dictionaries.keep(api.custody.dictionary.to_bytes())
        with web_world(api) as web:
            api.operator.pulse.start()
            try:
                yield JoiningWorld(web)
            finally:
                api.operator.pulse.stop()


# --- what people do in their browsers


def make_keys(page: Page) -> None:
    """As a newcomer does, on the page that signs in; the copy is left for later."""
    page.fill("#new", PASSPHRASE)
    page.fill("#again", PASSPHRASE)
    page.get_by_role("button", name="Make keys").click()
    page.get_by_role("button", name="I shall do that later").click()
    # Until the page has gone on: whoever left it meanwhile would keep it from signing in, or from its market.
    expect(page.locator("#save-part")).to_be_hidden()


def root_of(page: Page) -> Root:
    """What Python reads in the key file of this browser."""
    return unlock(page.evaluate(KEY_FILE).encode(), PASSPHRASE).root


def enter_as_issuer(context: BrowserContext, world: JoiningWorld, folder: Path) -> Page:
    """The clinic's page, with fresh keys and the issuer's key of the command line."""
    page = context.new_page()
    page.goto("/sign-in")
    make_keys(page)
    expect(page.locator("#choose-part")).to_be_visible()
    bring_key(page, world.custody.issuer, folder, "clinic")
    page.goto(world.clinic)
    page.fill("#passphrase", PASSPHRASE)
    page.get_by_role("button", name="Unlock").click()
    page.get_by_label("clinic").check()
    page.locator("#choose button").click()
    page.wait_for_url(f"**{world.clinic}")
    return page


def invitation(page: Page) -> str:
    """Makes one on the clinic's page, whose desk is open, and reads it off the paper."""
    page.fill("#clinic_name", CLINIC_NAME)
    page.get_by_role("button", name="Make invitations").click()
    return page.locator(".slip-code").inner_text()
