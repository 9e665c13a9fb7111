"""A patient at a real browser, whose consent a test can put as it was; and how pages have to look there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    ViewportSize,
    expect,
)

from marketplace.client.messages import Messages
from marketplace.wire.browser_keys import Place
from marketplace.wire.keyring import Keyring
from tests.support.api_world import ApiWorld
from tests.support.chain_world import account
from tests.support.looking import AXE, COLOURS, EVERYTHING, Scheme
from tests.support.web_world import WebWorld
from tools.browser import PATIENCE_MILLISECONDS

LOST = "Failed to load resource"
"""What the browser notes of an answer that a test spoiled; no fault of the page."""
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
    keyring: Keyring
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


def opened(browser: Browser, world: WebWorld) -> BrowserContext:
    made = browser.new_context(base_url=world.url, reduced_motion="reduce")
    made.set_default_timeout(PATIENCE_MILLISECONDS)
    made.add_init_script(PRESSES)
    return made


def is_fault(said: ConsoleMessage) -> bool:
    return said.type == "error" and not said.text.startswith(LOST)


def key_in(keyring: Keyring, world: WebWorld, index: int = 0) -> LocalAccount:
    """That of the dataset, as Python derives it from the file that the browser saved."""
    context = world.api.custody.record_context(account("anybody").address)
    place = Place(context.chain_id, context.registry, context.dataset)
    key: LocalAccount = Account.from_key(keyring.root.patient_key(place, index))
    return key


# --- on pages


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


def is_accessible(page: Page, path: str) -> None:
    for size in (PHONE, DESK):
        page.set_viewport_size(size)
        page.goto(path)
        is_sound(page, path)


def is_sound(page: Page, path: str) -> None:
    """As it stands, with everything unfolded; on a phone in the dark, too."""
    assert page.viewport_size is not None
    # A module may have said something before the page has loaded.
    page.wait_for_load_state("load")
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    page.evaluate(AXE.read_text())
    for scheme, rules in SCHEMES if page.viewport_size["width"] == PHONE["width"] else SCHEMES[:1]:
        page.emulate_media(color_scheme=scheme)
        found = page.evaluate(f"axe.run(document, {rules})")["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == [], path
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), path
    page.emulate_media(color_scheme="light")
