"""Erasing in a real browser, where the operator lies: what it says alone is called its word, never done."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import cycle
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from marketplace.chain.funding import fund
from tests.support.api_world import api_world
from tests.support.browser_keys import PASSPHRASE, make_keys
from tests.support.nodes import EMBEDDED_KEY
from tests.support.patient_browser import (
    DESK,
    PHONE,
    Patient,
    is_fault,
    is_sound,
    key_in,
    opened,
)
from tests.support.web_world import web_world
from tools.browser import PATIENCE_MILLISECONDS, chromium

ETHER = 10**18
BEHIND = {
    "code": "nothing_to_erase",
    "detail": "This address has neither record nor consent in this dataset.",
    "remedy": "Check dataset and address.",
}
"""What a custodian says whose node has not seen the record yet."""
DONE = "#gone li[data-state=done] .stage-name"


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Patient]:
    """With a record and a consent, signed in."""
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    faults: list[str] = []
    with (
        api_world(tmp_path_factory.mktemp("erasing")) as api,
        web_world(api) as world,
        chromium() as browser,
    ):
        payers = [str(each.keys.relay.address) for each in api.custodians]
        fund(api.operator.chain.node, EMBEDDED_KEY, payers, ETHER)
        page = opened(browser, world).new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if is_fault(said) else None)
        page.goto(f"/sign-in?next=/me/{api.dataset}/classes/1")
        keyring = make_keys(page, tmp_path_factory.mktemp("keys"))
        page.wait_for_url(f"{world.url}/me/*/classes/1")  # the page that signs in ends so, too
        made = Patient(world, page, keyring, key_in(keyring, world))
        stored = api.post("/records", {"entries": [api.upload_entry(made.key)]})
        assert [each["outcome"] for each in stored.get_json()["outcomes"]] == ["stored"]
        made.with_consent()
        yield made
        assert faults == []


def test_what_the_site_alone_says_is_erased_is_not_called_so_and_pressed_again_it_is(
    patient: Patient,
) -> None:
    """Custodians who have not seen the record yet have nothing to erase: that is no yes."""
    page = patient.go("/erase")
    page.route("**/messages", lambda route: route.fulfill(json={"kind": "erasure"}))
    page.route("**/erasure?*", lies)
    page.route("**/erasures", are_behind)
    erase(patient, page)
    said = page.locator("#gone")
    expect(said).to_contain_text("So says this site. Not confirmed by two custodians.")
    expect(said).not_to_contain_text("share is destroyed")
    expect(page.locator(DONE)).to_have_text(["The operator's ciphertext"])
    expect(page.locator("#said")).to_have_text(
        "0 of 3 custodians say that their share is destroyed."
    )
    page.set_viewport_size(PHONE)
    is_sound(page, "an erasure that nobody confirms")
    page.set_viewport_size(DESK)
    assert patient.consent["state"] == "live"

    # The page that stands asks custodians every few seconds: not while they change what they say.
    page.goto("about:blank")
    for path in ("**/messages", "**/erasures"):
        page.unroute(path)
    page.route("**/messages", lambda route: route.abort())
    first = only_one_sees_it(page)
    patient.go("/erase")
    expect(page.locator("#after")).to_be_hidden()
    erase(patient, page)
    expect(said).to_contain_text("So says this site and ")
    expect(said).to_contain_text(f"{first[0]}. Not confirmed by two custodians.")
    expect(page.locator("#after")).to_be_visible()
    page.unroute("**/erasures")
    expect(page.locator("#said")).to_contain_text("3 of 3 custodians")
    expect(said).to_contain_text("Each looked for itself.")
    expect(page.locator("#again")).to_be_hidden()
    assert patient.consent["state"] == "none"
    for path in ("**/messages", "**/erasure?*"):
        page.unroute(path)


@pytest.mark.long
def test_another_tab_has_the_sites_word_alone_until_it_has_asked_custodians_itself(
    patient: Patient,
) -> None:
    """They say so although none of them carries it any more; an odd answer of the site's stops nothing."""
    page = patient.go("/erase")
    if page.locator("#asking").is_visible():
        erase(patient, page)
    expect(page.locator("#said")).to_contain_text("3 of 3 custodians")
    tab = page.context.new_page()
    tab.goto(f"{patient.path}/erase")
    expect(tab.locator("#gone")).to_contain_text("Not confirmed by two custodians.")
    expect(tab.locator("#gone")).to_contain_text("takes your signature")
    expect(tab.locator(DONE).filter(has_text="Erased")).to_have_count(0)
    odd = cycle(["null", '{"erased": 1, "final": "yes", "deleted": []}', '"x"'])
    tab.route(
        re.compile(r"/erasure(\?|$)"),
        lambda route: route.fulfill(content_type="application/json", body=next(odd)),
    )
    tab.get_by_role("button", name="Sign it again").click()
    erase(patient, tab, PASSPHRASE)
    expect(tab.locator("#said")).to_contain_text("3 of 3 custodians")
    expect(tab.locator("#gone")).to_contain_text("Each looked for itself.")
    expect(tab.locator("#gone")).not_to_contain_text("this site")
    tab.close()


def erase(patient: Patient, page: Page, passphrase: str | None = None) -> None:
    page.fill("#confirmation", patient.api.custody.dictionary.name)
    page.get_by_role("button", name="Erase my record for ever").click()
    if passphrase is not None:
        page.fill("#unlock-passphrase", passphrase)
        page.get_by_role("button", name="Unlock").click()


def lies(route: Route) -> None:
    route.fulfill(json={"erased": True, "final": True, "deleted": True})


def only_one_sees_it(page: Page) -> list[str]:
    """Whoever is asked first, by host; the others are behind."""
    first: list[str] = []

    def answers(route: Route) -> None:
        host = urlsplit(route.request.url).netloc
        if not first:
            first.append(host)
        if host == first[0]:
            route.continue_()
        else:
            are_behind(route)

    page.route("**/erasures", answers)
    return first


def are_behind(route: Route) -> None:
    headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "content-type"}
    preflight = route.request.method == "OPTIONS"
    status = 204 if preflight else 422
    body = "" if preflight else json.dumps(BEHIND)
    route.fulfill(status=status, headers=headers, content_type="application/json", body=body)
