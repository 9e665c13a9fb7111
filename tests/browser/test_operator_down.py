"""Stopping with the operator down: by the page that the browser kept, through custodians or by a wallet.

The operator's server is closed in each test; chain and custodians go on. The chain tells what is stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import flask
import httpx
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from playwright.sync_api import Browser, BrowserContext, Page, expect

from marketplace.chain.funding import fund
from marketplace.client.messages import Messages
from marketplace.wire.browser_keyfile import unlock
from marketplace.wire.browser_keys import Place
from tests.support.api_world import ApiWorld, api_world
from tests.support.browser_keys import PASSPHRASE, make_keys
from tests.support.chain_world import account
from tests.support.custody_world import served
from tests.support.daily import daily
from tests.support.looking import AXE, COLOURS, EVERYTHING
from tests.support.nodes import EMBEDDED_KEY
from tests.support.web_world import WebWorld, web_world
from tools.browser import PATIENCE_MILLISECONDS, chromium
from tools.screenshots import sign_in

PATIENCE_SECONDS = 60.0
ETHER = 10**18
HONEST, REFUSES, LIES, MUTE = "honest", "refuses", "lies", "mute"
KIND = "application/problem+json"
NO_GAS = {
    "code": "insufficient_funds",
    "detail": "The account cannot pay.",
    "remedy": "Ask another one.",
    "status": 422,
}
READY = """async ([keystore, patience]) => {
  const { stopFacts } = await import(keystore);
  for (const end = Date.now() + patience; Date.now() < end; ) {
    const found = await navigator.serviceWorker.getRegistration('/stop/');
    if (found?.active?.state === 'activated' && (await stopFacts()).length > 0) return true;
    await new Promise((done) => setTimeout(done, 100));
  }
  return false;
}"""
"""The page and what it is to know: each is kept in its own time, and that page looks for it once."""
FAILED = """async ([kit, patience]) => {
  await (await import(kit)).beReady();
  for (const end = Date.now() + patience; Date.now() < end; ) {
    if ((await navigator.serviceWorker.getRegistration('/stop/')) === undefined) return caches.keys();
    await new Promise((done) => setTimeout(done, 100));
  }
  return ['it is still there'];
}"""
"""What a worker leaves behind that could not keep everything."""
OLDER = "Promise.all([caches.open('stop 0123456789abcdef'), caches.open('of others')])"
CACHED = """async () => {
  const found = [];
  for (const name of await caches.keys()) {
    const cache = await caches.open(name);
    for (const request of await cache.keys()) {
      const answer = await cache.match(request);
      found.push([new URL(request.url).pathname, answer.status, await answer.text()]);
    }
  }
  return found;
}"""


@dataclass
class StandIn:
    """Stands before a custodian, and may take its place."""

    behind: str
    acts: str = HONEST
    asked: list[Any] = field(default_factory=list)

    def app(self) -> flask.Flask:
        made = flask.Flask("stand-in")
        made.add_url_rule("/revocations", "revoke", self.answer, methods=["POST", "OPTIONS"])
        return made

    def answer(self) -> flask.Response:
        if flask.request.method == "POST":
            self.asked.append(flask.request.get_json())
            if self.acts == LIES:
                return readable({"transaction": "0x" + "ab" * 32, "block": 5}, 200)
            if self.acts == REFUSES:
                return readable(NO_GAS, 422, KIND)
        told = httpx.request(
            flask.request.method,
            f"{self.behind}/revocations",
            content=flask.request.get_data(),
            headers={"Content-Type": flask.request.content_type or ""},
            timeout=PATIENCE_SECONDS,
        )
        kept = {name: each for name, each in told.headers.items() if name.startswith("access-")}
        kind = told.headers.get("content-type")
        return flask.Response(told.content, told.status_code, kept, content_type=kind)


def readable(body: Any, status: int, kind: str = "application/json") -> flask.Response:
    answer = flask.Response(flask.json.dumps(body), status, content_type=kind)
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer


@dataclass
class Market(Messages):
    """An operator that can be stopped, before custodians that need not be honest."""

    api: ApiWorld
    custodians: list[StandIn]
    world: WebWorld
    stop_operator: Callable[[], None]

    @property
    def manifest(self) -> Any:
        return self.api.operator.chain.manifest

    def consent(self, patient: str) -> dict[str, Any]:
        """As the chain has it."""
        return self.api.operator.reads.consent(self.api.custody.dataset, patient)

    def grant(self, key: LocalAccount) -> None:
        """Live, whatever a test before has left."""
        self.api.custody.tick()
        found = self.consent(key.address)
        if found["state"] != "live":
            message = self.api.grant_message(key, sequence=found["sequence"] + 1)
            [outcome] = self.api.operator.relay.carry_uploaded([message])
            assert outcome.refusal is None, outcome.refusal
        assert self.consent(key.address)["state"] == "live"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("down")) as made:
        payers = [str(each.keys.relay.address) for each in made.custodians]
        fund(made.operator.chain.node, EMBEDDED_KEY, payers, ETHER)
        yield made


@pytest.fixture(scope="module")
def browser(api: ApiWorld) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with chromium() as opened:
        yield opened


@pytest.fixture
def market(api: ApiWorld) -> Iterator[Market]:
    """The operator's server of its own for each test: it is stopped."""
    with ExitStack() as stack, ExitStack() as operator:
        custodians = [StandIn(url) for url in api.custodian_urls]
        urls = [stack.enter_context(served(each.app())) for each in custodians]
        config = api.operator.config
        named = tuple(
            entry.model_copy(update={"public_url": url})
            for entry, url in zip(config.custodians, urls, strict=True)
        )
        told = replace(api.operator, config=config.model_copy(update={"custodians": named}))
        world = operator.enter_context(web_world(replace(api, operator=told)))
        yield Market(api, custodians, world, operator.close)


@pytest.fixture
def context(browser: Browser, market: Market) -> Iterator[BrowserContext]:
    made = browser.new_context(base_url=market.world.url, reduced_motion="reduce")
    made.set_default_timeout(PATIENCE_MILLISECONDS)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    faults: list[str] = []
    made = context.new_page()
    made.on("pageerror", lambda error: faults.append(str(error)))
    yield made
    assert faults == []


# --- what a patient did while the operator was there


def newcomer(page: Page, market: Market, folder: Path) -> LocalAccount:
    """Keys made in this browser, a record that a clinic attested, a consent; then a look at it."""
    page.goto(f"/sign-in?next=/me/{market.api.dataset}/classes/1")
    page.evaluate(f"{OLDER}.then(() => null)")
    make_keys(page, folder)
    expect(page.locator("main")).to_contain_text("First you need a record here")
    key = key_in(folder / "keys.json", market)
    stored = market.api.post("/records", {"entries": [market.api.upload_entry(key)]})
    assert [each["outcome"] for each in stored.get_json()["outcomes"]] == ["stored"]
    market.grant(key)
    look(page, market)
    return key


def key_in(keys: Path, market: Market) -> LocalAccount:
    """That of the dataset, as Python derives it from the file that the browser saved."""
    context = market.api.custody.record_context(account("anybody").address)
    root = unlock(keys.read_bytes(), PASSPHRASE).root
    key: LocalAccount = Account.from_key(
        root.patient_key(Place(context.chain_id, context.registry, context.dataset))
    )
    return key


def look(page: Page, market: Market) -> None:
    """At the consent, until this browser has what it needs."""
    page.goto(f"/me/{market.api.dataset}")
    expect(page.get_by_role("link", name="If this site is down")).to_have_attribute(
        "href", "/stop/"
    )
    keystore = market.world.site.assets.url("js/keystore.js")
    assert page.evaluate(READY, [keystore, PATIENCE_MILLISECONDS])


def open_stop_page(page: Page, market: Market) -> None:
    """With the operator gone, past the browser's own cache of it."""
    market.stop_operator()
    with pytest.raises(httpx.ConnectError):
        httpx.get(market.world.url)
    page.goto("/stop/")
    expect(page.locator("#kept")).to_contain_text("opens here whatever is down")


def press_stop(page: Page, passphrase: str = PASSPHRASE) -> None:
    page.fill("#passphrase-0", passphrase)
    page.get_by_role("button", name="Stop now").click()


def is_accessible(page: Page) -> None:
    """As it stands, opened out, on a phone and in the dark."""
    page.set_viewport_size({"width": 320, "height": 700})
    page.wait_for_load_state("load")
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    page.evaluate(AXE.read_text())
    for scheme, rules in (("light", EVERYTHING), ("dark", COLOURS)):
        page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
        found = page.evaluate(f"axe.run(document, {rules})")["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    page.emulate_media(color_scheme="light")


# --- through custodians


def test_a_patient_stops_through_custodians_with_the_operator_down(
    page: Page, market: Market, tmp_path: Path
) -> None:
    key = newcomer(page, market, tmp_path)
    before = market.consent(key.address)
    keeps_nothing_of_anybody(page, key)
    behind_a_proxy(market)
    page.goto("/stop/")
    expect(page.locator("section.stop")).to_contain_text(key.address)
    open_stop_page(page, market)
    press_stop(page, "some other passphrase")
    expect(page.locator("#passphrase-0-error")).to_contain_text("Wrong passphrase")
    assert [each.asked for each in market.custodians] == [[], [], []]
    press_stop(page)
    expect(page.locator(".said")).to_contain_text("Stopped.")
    now = market.consent(key.address)
    assert now["state"] == "none"
    sent = {each["revocation"]["sequence"] for one in market.custodians for each in one.asked}
    assert sent == {now["sequence"] - 1}
    assert now["sequence"] > before["sequence"] + 256
    words = page.locator("section.stop li").all_text_contents()
    assert ["carried, in block" in words[0], "the chain has it" in words[1]] == [True, True]
    is_accessible(page)
    # That it stopped is kept after it is said; a page that is loaded anew looks for it once.
    expect(page.locator("#stop-0")).to_have_attribute("aria-busy", "false")
    page.reload()
    expect(page.locator("section.stop")).to_contain_text("Stopped here")


def keeps_nothing_of_anybody(page: Page, key: LocalAccount) -> None:
    """The page and its files of one version, whole; what an older one kept is gone, and only that."""
    names = page.evaluate("caches.keys()")
    assert sorted(each[:5] for each in names) == ["of ot", "stop "]
    assert "stop 0123456789abcdef" not in names
    kept = page.evaluate(CACHED)
    assert {status for _, status, _ in kept} == {200}
    assert {path for path, _, _ in kept if not path.startswith("/static/")} == {"/stop/"}
    assert not any(key.address in text or PASSPHRASE in text for _, _, text in kept)


def test_one_that_lies_is_not_believed_alone_and_one_that_is_honest_suffices(
    page: Page, market: Market, tmp_path: Path
) -> None:
    key = newcomer(page, market, tmp_path)
    first, second, third = market.custodians
    first.acts, second.acts, third.acts = LIES, REFUSES, REFUSES
    open_stop_page(page, market)
    press_stop(page)
    refused = page.locator("#stop-0 [data-refusal]")
    expect(refused).to_contain_text("Nobody has confirmed it")
    expect(page.locator("section.stop li").nth(1)).to_contain_text("The account cannot pay.")
    assert "Stopped" not in (page.locator("main").text_content() or "").split("What stopping")[0]
    assert market.consent(key.address)["state"] == "live"
    is_accessible(page)
    third.acts = HONEST
    press_stop(page)
    expect(page.locator(".said")).to_contain_text("Stopped.")
    assert market.consent(key.address)["state"] == "none"


@pytest.mark.long
def test_what_this_browser_knew_long_ago_still_stops(
    page: Page, market: Market, tmp_path: Path
) -> None:
    """Meanwhile another browser stopped, far ahead, and consented anew: the first custodian says so."""
    key = newcomer(page, market, tmp_path)
    far = market.consent(key.address)["sequence"] + 3_000_000
    elsewhere = market.revocation_message(key, market.api.custody.dataset, far)
    [outcome] = market.api.operator.relay.carry_uploaded([elsewhere])
    assert outcome.refusal is None, outcome.refusal
    market.grant(key)
    open_stop_page(page, market)
    press_stop(page)
    expect(page.locator(".said")).to_contain_text("Stopped.")
    now = market.consent(key.address)
    assert now["state"] == "none"
    assert now["sequence"] > far + 256


SPOIL = """(junk) => new Promise((done, failed) => {
  const asked = indexedDB.open("usufruct", 1);
  asked.onsuccess = () => {
    const change = asked.result.transaction("kept", "readwrite");
    const store = change.objectStore("kept");
    change.oncomplete = () => (asked.result.close(), done());
    change.onabort = () => failed(change.error);
    store.openCursor(IDBKeyRange.bound("stop ", "stop \uffff")).onsuccess = ({ target: { result } }) => {
      if (result === null) return junk.forEach((each, i) => store.put(each, `stop ${i} of another`));
      const { manifest, custodians, contracts, chain_id, seen_at, ...left } = result.value;
      result.update({ ...left, name: { no: "text" } });
      result.continue();
    };
  };
})"""
"""Takes from each consent that was kept whatever it can do without, and puts others beside it."""


@pytest.mark.long
def test_no_entry_that_is_spoiled_keeps_a_consent_from_being_shown_and_stopped(
    page: Page, market: Market, tmp_path: Path
) -> None:
    key = newcomer(page, market, tmp_path)
    dataset = market.api.dataset
    elsewhere = account("elsewhere").address
    unsigned = {"dataset": dataset, "address": elsewhere, "chain_id": 1}
    page.evaluate(SPOIL, [None, 7, {"dataset": 5}, {"manifest": {}}, unsigned])
    open_stop_page(page, market)
    expect(page.get_by_role("heading", name="A consent that cannot be read")).to_have_count(4)
    unsigned_card = page.locator("section.stop").filter(has_text=elsewhere)
    expect(unsigned_card).to_contain_text("does not know which contracts hold it")
    card = page.locator("section.stop").filter(has_text=key.address)
    expect(card.get_by_role("heading")).to_have_text(f"The dataset {dataset}")
    is_accessible(page)
    card.locator("input[type=password]").fill(PASSPHRASE)
    card.get_by_role("button", name="Stop now").click()
    expect(card.locator(".said")).to_contain_text("Stopped.")
    assert market.consent(key.address)["state"] == "none"


def test_what_is_no_plain_answer_of_this_server_is_never_kept(
    page: Page, context: BrowserContext, market: Market
) -> None:
    """Such as a proxy's page before an operator that is down, when the worker comes for the first time."""
    key = market.api.patients[0]
    sign_in(context, bytes(key.key))
    behind_a_proxy(market)
    page.goto(f"/me/{market.api.dataset}")
    kit = market.world.site.assets.url("js/stopkit.js")
    assert page.evaluate(FAILED, [kit, PATIENCE_MILLISECONDS]) == []


def behind_a_proxy(market: Market) -> None:
    """It answers for an operator that does not."""
    market.world.pages.view_functions["stop.show"] = lambda: ("Bad gateway", 502)


# --- what an operator left in the browser in a dishonest moment

FALSE_WORKER = """
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(clients.claim()));
self.addEventListener("fetch", (event) => {
  if (new URL(event.request.url).pathname === "/datasets") event.respondWith(new Response("FALSE"));
});
"""
REGISTER = """async (path) => {
  await navigator.serviceWorker.register(path, { scope: "/" });
  await navigator.serviceWorker.ready;
}"""
WORKS_AT = """(path) => navigator.serviceWorker.getRegistration(path)
  .then((found) => found !== undefined && new URL(found.scope).pathname === path)"""

UPDATE = """() => navigator.serviceWorker.getRegistration("/")
  .then((found) => found?.update()).then(() => null, (fault) => fault.name)"""


@contextmanager
def lying(market: Market, path: str) -> Iterator[None]:
    """Meanwhile this path is a worker for the whole site, and /lie a page without a policy."""
    pages = market.world.pages
    honest = pages.wsgi_app

    def lie(environ: Any, start_response: Any) -> Any:
        kinds = {path: "text/javascript", "/lie": "text/html"}
        kind = kinds.get(environ["PATH_INFO"])
        if kind is None:
            return honest(environ, start_response)
        headers = {"Service-Worker-Allowed": "/"}
        body = FALSE_WORKER if kind == "text/javascript" else "<!doctype html><title>Lie</title>"
        return flask.Response(body, headers=headers, mimetype=kind)(environ, start_response)

    pages.wsgi_app = lie  # type: ignore[method-assign]  # as Flask says to wrap an application
    try:
        yield
    finally:
        pages.wsgi_app = honest  # type: ignore[method-assign]


@pytest.mark.parametrize("path", daily(["/stop/sw.js", "/static/other.js"], ["/stop/sw.js"]))
def test_a_false_worker_of_the_whole_site_ends_at_whatever_path_and_the_true_one_stays(
    page: Page, market: Market, path: str
) -> None:
    with lying(market, path):
        page.goto("/lie")
        page.evaluate(REGISTER, path)
        page.goto("/datasets")
        assert page.content().count("FALSE") == 1, "it does answer for the site"
    visit_until_honest(page)
    assert not page.evaluate(WORKS_AT, "/")
    page.goto("/stop/")
    page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    assert page.evaluate(WORKS_AT, "/stop/")


def visit_until_honest(page: Page) -> None:
    """A browser looks for a newer worker in its own time: here it is told to, at each visit."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        page.goto("/")
        page.evaluate(UPDATE)
        page.wait_for_timeout(500)
        page.goto("/datasets")
        if "FALSE" not in page.content():
            return
    raise AssertionError("the false worker still answers")


# --- with a wallet


def with_wallet(context: BrowserContext, market: Market, key: LocalAccount) -> list[str]:
    """An EIP-1193 wallet of one account with a node of its own; the methods that it was asked."""
    node, asked = market.api.operator.chain.node, list[str]()
    fund(node, EMBEDDED_KEY, [key.address], ETHER)

    def send(call: dict[str, Any]) -> str:
        made = {
            "to": call["to"],
            "data": call["data"],
            "chainId": market.api.operator.chain.chain_id,
            "nonce": node.transaction_count(key.address),
            "gas": 500_000,
            "maxFeePerGas": 10 * 10**9,
            "maxPriorityFeePerGas": 10**9,
            "value": 0,
        }
        raw = key.sign_transaction(made)
        node.send_raw_transaction(bytes(raw.raw_transaction))
        return "0x" + bytes(raw.hash).hex()

    def answer(method: str, params: list[Any]) -> Any:
        asked.append(method)
        if method == "eth_chainId":
            return hex(market.api.operator.chain.chain_id)
        if method == "eth_requestAccounts":
            return [key.address.lower()]
        if method == "eth_sendTransaction":
            return send(params[0])
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        told = httpx.post(market.api.custody.node_url, json=body, timeout=PATIENCE_SECONDS)
        return told.json().get("result")

    context.expose_function("walletAnswer", answer)
    context.add_init_script(
        "window.ethereum = {request: ({method, params}) => walletAnswer(method, params)}"
    )
    return asked


@pytest.mark.long
def test_a_wallet_stops_straight_at_the_contract_and_asks_nobody_else(
    page: Page, context: BrowserContext, market: Market
) -> None:
    key = market.api.patients[1]
    market.grant(key)
    asked = with_wallet(context, market, key)
    sign_in(context, bytes(key.key))
    look(page, market)
    before = market.consent(key.address)["sequence"]
    open_stop_page(page, market)
    expect(page.locator("section.stop")).to_contain_text("no key file")
    page.get_by_text("With the wallet: Wallet of this browser").click()
    page.get_by_role("button", name="Send it from the wallet").click()
    expect(page.locator(".said")).to_contain_text("Stopped. The wallet's own node shows it")
    now = market.consent(key.address)
    assert (now["state"], now["sequence"]) == ("none", before + 1)
    assert "eth_getTransactionReceipt" in asked
    assert [each.asked for each in market.custodians] == [[], [], []]
    is_accessible(page)
