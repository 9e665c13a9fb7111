"""The head of every page: where one is, and who is signed in."""

from collections.abc import Iterator

import pytest

from tests.support.api_world import ApiWorld
from tests.support.web_browser import HTML, Browser
from tests.support.web_world import WebWorld, web_world
from web.showing import LINKS, short


@pytest.fixture(scope="module")
def world(shared_api: ApiWorld) -> Iterator[WebWorld]:
    with web_world(shared_api) as made:
        yield made


def head(browser: Browser, path: str) -> str:
    page = browser.get(path, HTML).get_data(as_text=True)
    return page.partition("<header")[2].partition("</header>")[0]


def test_the_head_says_where_one_is(world: WebWorld) -> None:
    browser = Browser(world)
    for url, label in LINKS:
        assert f'<a href="{url}" aria-current="page">{label}</a>' in head(browser, url)
        assert head(browser, url).count("aria-current") == 1
    inside = head(browser, f"/datasets/{world.api.dataset}")
    assert '<a href="/datasets" aria-current="true">Datasets</a>' in inside
    assert "aria-current" not in head(browser, "/datasetsx")


def test_the_head_of_the_page_that_is_kept_for_stopping_claims_nobody_is_signed_in_or_out(
    world: WebWorld,
) -> None:
    browser = Browser(world).sign_in(world.api.patients[0])
    for visitor in (Browser(world), browser):
        assert "Sign" not in head(visitor, "/stop/")


def test_the_head_says_who_is_signed_in_and_offers_to_sign_out(world: WebWorld) -> None:
    browser, account = Browser(world), world.api.patients[0]
    assert "/sign-in" in head(browser, "/")
    assert "Sign out" not in head(browser, "/")
    browser.sign_in(account)
    for path in ("/", "/no-such-page", "/datasets/0x12"):
        assert short(account.address) in head(browser, path)
        assert "data-sign-out" in head(browser, path)
        assert "/sign-in" not in head(browser, path)
        assert '<a href="/me">My data</a>' in head(browser, path)
    browser.post("/sign-out")
    assert account.address[:6] not in head(browser, "/")
