"""A session in a real Chromium: which cookies it keeps and sends, and what another origin cannot do."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.support.api_world import ApiWorld
from tests.support.chain_world import account
from tests.support.daily import daily
from tests.support.web_browser import Browser as Thief
from tests.support.web_browser import signed
from tests.support.web_world import WebWorld, web_world
from tools.browser import PATIENCE_MILLISECONDS, chromium

PATIENT, OTHER = account("patient"), account("somebody else")
POST = """([path, body]) => fetch(path, {
    method: 'POST',
    headers: {
        'Accept': 'application/json', 'Content-Type': 'application/json',
        'X-CSRF-Token': document.querySelector('meta[name="csrf-token"]').content,
    },
    body: JSON.stringify(body),
}).then(answer => answer.json())"""
WHO = "() => fetch('/session', {headers: {Accept: 'application/json'}}).then(a => a.json())"
HOSTILE = b"""<!doctype html><title>Hostile</title>
<form method="post" enctype="text/plain"><input name="a" value="b"></form>"""


@pytest.fixture(scope="module")
def world(shared_api: ApiWorld) -> Iterator[WebWorld]:
    with web_world(shared_api) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context()
    opened.set_default_timeout(PATIENCE_MILLISECONDS)
    yield opened
    opened.close()


def sign_in(page: Page, world: WebWorld, key: Any) -> dict[str, Any]:
    page.goto(f"{world.url}/sign-in")
    challenge = page.evaluate(POST, ["/challenge", {"address": key.address}])
    signature = signed(challenge["text"], key)
    done: dict[str, Any] = page.evaluate(
        POST, ["/sign-in", {"nonce": challenge["nonce"], "signature": signature}]
    )
    assert done.get("account") == key.address, done
    page.goto(f"{world.url}/sign-in")
    return done


def test_the_session_lives_in_a_cookie_that_only_its_server_sees(
    context: BrowserContext, world: WebWorld
) -> None:
    page = context.new_page()
    sign_in(page, world, PATIENT)
    assert page.evaluate(WHO)["account"] == PATIENT.address
    assert "session" not in page.evaluate("document.cookie")
    port = world.url.rsplit(":", 1)[1]
    kept = {each["name"]: each for each in context.cookies()}
    session = kept[f"__Host-session-{port}"]
    assert (session["httpOnly"], session["secure"], session["sameSite"]) == (True, True, "Lax")
    assert session["path"] == "/"


def test_signing_out_leaves_neither_cookie_nor_session(
    context: BrowserContext, world: WebWorld
) -> None:
    page = context.new_page()
    sign_in(page, world, PATIENT)
    (kept,) = [each["value"] for each in context.cookies() if "session" in each["name"]]
    assert page.evaluate(POST, ["/sign-out", {}]) == {"next": "/"}
    assert not [each for each in context.cookies() if "session" in each["name"]]
    thief = Thief(world)
    thief.set_cookie("session", kept)
    assert thief.get("/session").get_json()["code"] == "not_signed_in"


def test_signing_out_in_one_tab_leaves_nothing_of_it_in_another(
    context: BrowserContext, world: WebWorld
) -> None:
    here, there = context.new_page(), context.new_page()
    sign_in(here, world, PATIENT)
    for page in (here, there):
        page.goto(f"{world.url}/me")
        page.evaluate("sessionStorage.setItem('form /me #some', 'typed')")
    here.locator("[data-sign-out]").click()
    here.wait_for_url(f"{world.url}/")
    there.wait_for_url(f"{world.url}/sign-in?**")
    for page in (here, there):
        assert page.evaluate("sessionStorage.length") == 0
        assert PATIENT.address not in page.content()
    here.go_back()
    assert PATIENT.address not in here.content()


def test_a_tab_that_is_older_than_the_session_signs_out_all_the_same(
    context: BrowserContext, world: WebWorld
) -> None:
    older, newer = context.new_page(), context.new_page()
    sign_in(older, world, PATIENT)
    sign_in(newer, world, OTHER)
    assert older.evaluate(POST, ["/sign-out", {}])["code"] == "not_from_here"
    older.locator("[data-sign-out]").click()
    older.wait_for_url(f"{world.url}/")
    assert older.evaluate(WHO)["code"] == "not_signed_in"


@pytest.mark.long
def test_two_markets_on_one_machine_keep_their_own_sessions(
    context: BrowserContext, shared_api: ApiWorld, world: WebWorld
) -> None:
    with web_world(shared_api) as second:
        here, there = context.new_page(), context.new_page()
        sign_in(here, world, PATIENT)
        sign_in(there, second, OTHER)
        assert here.evaluate(WHO)["account"] == PATIENT.address
        assert there.evaluate(WHO)["account"] == OTHER.address


BAD_WORKER = b"""self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => event.respondWith(
    new Response("<h1>taken over</h1>", {headers: {"content-type": "text/html"}})));"""
REGISTER = """async () => {
    const policy = trustedTypes.createPolicy("sw", {createScriptURL: (url) => url});
    await navigator.serviceWorker.register(policy.createScriptURL("/evil.js"), {scope: "/"});
    await navigator.serviceWorker.ready;
}"""


def test_a_worker_of_a_dishonest_moment_is_gone_once_the_server_is_honest(
    context: BrowserContext, world: WebWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, page = world.pages.wsgi_app, context.new_page()

    def dishonest(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] != "/evil.js":
            return honest(environ, start_response)
        start_response("200 OK", [("Content-Type", "text/javascript")])
        return [BAD_WORKER]

    page.goto(f"{world.url}/datasets")
    with monkeypatch.context() as patch:
        patch.setattr(world.pages, "wsgi_app", dishonest)
        page.evaluate(REGISTER)
        page.goto(f"{world.url}/datasets")
        assert page.locator("h1").inner_text() == "taken over"
    ends = time.monotonic() + PATIENCE_MILLISECONDS / 1_000
    while page.locator("h1").inner_text() == "taken over":
        assert time.monotonic() < ends
        # A browser looks for a newer worker a moment after a visit, and puts it off at each further one.
        page.wait_for_timeout(3_000)
        page.goto(f"{world.url}/datasets")


# --- a page of another origin, to which the browser sends our cookies all the same (same site, other port)


@contextmanager
def hostile_origin() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(HOSTILE)))
            self.end_headers()
            self.wfile.write(HOSTILE)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "referrer", daily(["", "no-referrer"], [""]), ids=["its own origin", "origin null"]
)
def test_a_form_of_another_origin_changes_nothing(
    context: BrowserContext, world: WebWorld, referrer: str
) -> None:
    page = context.new_page()
    sign_in(page, world, PATIENT)
    with hostile_origin() as hostile:
        theirs = context.new_page()
        theirs.goto(hostile)
        with theirs.expect_navigation() as led:
            theirs.evaluate(
                """([action, referrer]) => {
                    const meta = document.createElement('meta');
                    [meta.name, meta.content] = ['referrer', referrer];
                    if (referrer) document.head.append(meta);
                    document.forms[0].action = action;
                    document.forms[0].submit();
                }""",
                [f"{world.url}/sign-out", referrer],
            )
        assert led.value is not None
        assert led.value.status == 403
    assert page.evaluate(WHO)["account"] == PATIENT.address


def test_a_script_of_another_origin_neither_reads_nor_changes_anything(
    context: BrowserContext, world: WebWorld
) -> None:
    page = context.new_page()
    sign_in(page, world, PATIENT)
    ask = """([url, options]) => fetch(url, {credentials: 'include', ...options})
        .then(answer => answer.text(), fault => fault.name)"""
    with hostile_origin() as hostile:
        theirs = context.new_page()
        theirs.goto(hostile)
        for path in ("/session", "/session/half", "/sign-in"):
            assert theirs.evaluate(ask, [world.url + path, {}]) == "TypeError"
        sent = {"method": "POST", "mode": "no-cors", "body": "{}"}
        assert theirs.evaluate(ask, [f"{world.url}/sign-out", sent]) == "TypeError"
        with_headers = {"method": "POST", "headers": {"Content-Type": "application/json"}}
        assert theirs.evaluate(ask, [f"{world.url}/sign-out", with_headers]) == "TypeError"
    assert page.evaluate(WHO)["account"] == PATIENT.address
