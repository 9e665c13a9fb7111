"""A researcher at a real browser: signed in with the command line's key, with a question to build and pay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, FilePayload, Page, ViewportSize, expect

from marketplace.client.results import open_answer
from marketplace.receipts.format import load
from marketplace.wire.delivery import Opened
from marketplace.wire.keyring import Keyring
from tests.support.api_world import ApiWorld
from tests.support.browser_keys import PASSPHRASE, bring_key, make_keys
from tests.support.looking import AXE, COLOURS, EVERYTHING, Scheme
from tests.support.overheard import Overheard
from tests.support.web_world import WebWorld
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
        page.wait_for_load_state("load")
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


def telling(page: Page, path: str, change: Callable[[Any], object]) -> None:
    """Has the server's answer be another, from now on."""

    def answer(route: Any) -> None:
        response = route.fetch()
        told = response.json()
        change(told)
        route.fulfill(response=response, json=told)

    page.route(path, answer)


def drop(page: Page, content: bytes) -> None:
    file = {"name": "receipt-12ab.json", "mimeType": "application/json", "buffer": content}
    page.set_input_files("#receipt", files=[cast(FilePayload, file)])


# --- what fixtures are made of


@contextmanager
def listened_to(world: WebWorld, heard: Overheard) -> Iterator[BrowserContext]:
    """A browser of whose traffic `heard` hears all."""
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with chromium() as browser:
        made = browser.new_context(base_url=world.url, proxy=heard.proxy, reduced_motion="reduce")
        made.set_default_timeout(PATIENCE_MILLISECONDS)
        yield made


def signed_in(
    world: WebWorld, context: BrowserContext, complaints: list[str], heard: Overheard, folder: Path
) -> Researcher:
    """Somebody who made keys here, brought the command line's key and signed in with it."""
    page = context.new_page()
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


@contextmanager
def without_complaints(newcomer: Researcher, complaints: list[str]) -> Iterator[Researcher]:
    """Of the pages' modules, from here to the end."""
    complaints.clear()
    yield newcomer
    assert complaints == []
