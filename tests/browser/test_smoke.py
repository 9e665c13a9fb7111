"""The pages in a real Chromium: that the tools work, and that it refuses what it is told to refuse."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.support.api_world import ApiWorld
from tests.support.overheard import overhearing
from tests.support.web_world import WebWorld, web_world
from tools.browser import PATIENCE_MILLISECONDS, chromium

VENDORED = {
    path["path"]
    for path in json.loads(
        (Path(__file__).parents[2] / "web/static/vendor/vendor.json").read_text()
    )["files"]
}


@pytest.fixture(scope="module")
def world(shared_api: ApiWorld) -> Iterator[WebWorld]:
    with web_world(shared_api) as made:
        yield made


@pytest.fixture(scope="module")
def browser(world: WebWorld) -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, world: WebWorld) -> Iterator[Page]:
    context = browser.new_context(base_url=world.url)
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    opened = context.new_page()
    opened.goto("/no-such-page")
    yield opened
    context.close()


def test_chromium_draws_a_page_of_the_running_server(page: Page) -> None:
    assert page.get_by_role("heading", level=1).inner_text()
    assert page.evaluate("getComputedStyle(document.body).marginTop") == "0px"


def test_every_vendored_module_loads_under_the_policy(page: Page, world: WebWorld) -> None:
    for path in sorted(VENDORED):
        url = world.site.assets.url(f"vendor/{path}")
        assert page.evaluate("url => import(url).then(m => Object.keys(m).length)", url) > 0


@pytest.mark.parametrize(
    "attempt",
    [
        "document.body.innerHTML = '<img src=x onerror=alert(1)>'",
        "const s = document.createElement('script'); s.text = 'window.ran = 1'; document.body.append(s)",
        "window.ran = new Function('return 1')()",
        "document.body.setAttribute('onclick', 'window.ran = 1'); document.body.click()",
    ],
)
def test_the_browser_refuses_text_as_script(page: Page, attempt: str) -> None:
    # Later, on its own: what the debugger evaluates is excepted from the policy.
    page.evaluate(f"""new Promise(done => setTimeout(() => {{
        try {{ {attempt} }} catch (error) {{ window.refused = error.name }} finally {{ done() }}
    }}))""")
    assert page.evaluate("window.ran") is None
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.refused") in ("TypeError", "EvalError", None)


def test_the_browser_refuses_to_ask_an_origin_that_the_policy_does_not_name(page: Page) -> None:
    asked = "url => fetch(url, {mode: 'no-cors'}).then(() => 'answered', e => e.name)"
    assert page.evaluate(asked, "http://127.0.0.1:9/") == "TypeError"


def test_cookies_with_the_host_prefix_hold_on_loopback(page: Page) -> None:
    kept = "document.cookie = '__Host-x=1; Secure; Path=/; SameSite=Lax'; document.cookie"
    assert "__Host-x=1" in page.evaluate(kept)


def test_what_a_page_sends_is_overheard_bodies_included(browser: Browser, world: WebWorld) -> None:
    wanted = {
        "a canary in a blob": "POST /x",
        "a canary in a beacon": "POST /y",
        "a canary in a header": "GET /z",
        "for-quite-long": "GET /no-such-page?looked=for-quite-long",
    }
    with overhearing() as heard:
        context = browser.new_context(base_url=world.url, proxy=heard.proxy)
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        opened = context.new_page()
        opened.goto("/no-such-page?looked=for-quite-long")
        opened.evaluate("fetch('/x', {method: 'POST', body: new Blob(['a canary in a blob'])})")
        opened.evaluate("navigator.sendBeacon('/y', 'a canary in a beacon')")
        opened.evaluate("fetch('/z', {headers: {'X-Note': 'a canary in a header'}})")
        deadline = time.monotonic() + PATIENCE_MILLISECONDS / 1_000
        while not all(heard.carrying(each) for each in wanted) and time.monotonic() < deadline:
            opened.wait_for_timeout(50)
        context.close()
    for needle, path in wanted.items():
        method, _, rest = path.partition(" ")
        assert f"{method} {world.url}{rest}" in heard.carrying(needle)
    assert heard.carrying("never sent at all") == []
