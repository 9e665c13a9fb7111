"""A web world with the demonstration's dictionary: what a clinic and its patients meet in their browsers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect

from marketplace.custodian.service import Custodian
from marketplace.fhir.demo import demo_dictionary
from marketplace.keygen import generate, new_session
from marketplace.peers import Peer
from marketplace.vocabulary import DatasetId
from marketplace.wire.browser_keyfile import unlock
from marketplace.wire.browser_keys import Place, Root
from marketplace.wire.dictionary import ENCODED, Dictionary, from_json
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


VARIABLES = 64
"""As many as a dictionary may have."""
STEPS = {"bmi": "0.5", "hba1c": "0.1", "triglycerides": "10", "cholesterol": "5"}
"""Of the demonstration's numbers, where it is not 1."""


def encoded_demo() -> Dictionary:
    """The demonstration's dictionary for both lanes: every variable, all squares, two products."""
    document = json.loads(demo_dictionary().to_bytes())
    numbers = [each["name"] for each in document["variables"] if each["kind"] == "number"]
    edges = {"age": ["40", "65"]}
    grids = [
        {"name": name, "step": STEPS.get(name, "1"), "edges": edges.get(name, [])}
        for name in numbers
    ]
    products = [*([name, name] for name in numbers), ["sex=0", "systolic"], ["age=1", "sex=0"]]
    encoding = {"variables": [*grids, {"name": "sex"}], "products": products}
    return from_json({**document, "schema": ENCODED, "encoding": encoding})


def widest() -> Dictionary:
    """64 numbers, each with its presence, its value and its square: 192 columns of 768 entries."""
    code = {"system": "http://loinc.org", "code": "8480-6"}
    shared = {"kind": "number", "label": "a number", "unit": "1", "code": code}
    bounds = {"lower": "0", "upper": "1000", "decimals": 0}
    names = [f"v{i}" for i in range(VARIABLES)]
    grids = [{"name": name, "step": "1", "edges": []} for name in names]
    encoding = {"variables": grids, "products": [[name, name] for name in names]}
    variables = [{"name": name, **shared, **bounds} for name in names]
    head = {"schema": ENCODED, "name": "widest", "version": 1}
    return from_json({**head, "variables": variables, "encoding": encoding})


def publish(custody: CustodyWorld, dictionary: Dictionary) -> None:
    """Puts a dataset with this dictionary in the place of the world's own."""
    custody.dictionary = dictionary
    sent = custody.sender.send(
        "DatasetRegistry", "publishDataset", custody.dictionary.hash(), bytes(32), "file:///demo"
    )
    custody.dataset = sent.event("DatasetPublished").args["dataset"]
    published = custody.sender.send("DatasetRegistry", "publishClass", custody.dataset, TERMS)
    custody.classes = (published.event("ClassPublished").args["class"],)
    custody.sender.send("DatasetRegistry", "addIssuer", custody.dataset, custody.issuer.address)


def make_joint_key(api: ApiWorld) -> bytes:
    """The custodians make it together, as `usufruct generate-key` has them do. 33 bytes."""
    custody, epoch = api.custody, int(api.custody.chain.current_epoch())
    peers = [Peer(f"custodian {place + 1}", url) for place, url in enumerate(api.custodian_urls)]
    session = new_session(custody.chain, epoch)
    made = generate(custody.chain, custody.operator, peers, peers, session)
    arguments = (epoch, made.commitments, made.transcript, list(made.signatures))
    custody.sender.send("CustodianCommittee", "recordJointKey", *arguments)
    return made.commitments[:33]


@contextmanager
def joining_world(folder: Path, dictionary: Dictionary | None = None) -> Iterator[JoiningWorld]:
    """Pages, operator, chain and custodians, with its pulse. Without another dictionary, the demonstration's;
    with one that has an encoding, the custodians have a joint key.
    """
    dictionary = dictionary or demo_dictionary()
    with api_world(folder) as api:
        publish(api.custody, dictionary)
        if dictionary.encoding is not None:
            make_joint_key(api)
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
