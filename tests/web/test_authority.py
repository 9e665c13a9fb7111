"""The credential authority's pages, in process over a real chain."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from marketplace.chain.deploy import grant_role
from marketplace.chain.funding import fund
from marketplace.chain.sender import Sender
from marketplace.wire.http import to_hex
from tests.support.api_world import ApiWorld
from tests.support.chain_world import account
from tests.support.nodes import EMBEDDED_KEY
from tests.support.web_browser import HTML, Browser
from tests.support.web_world import WebWorld, web_world

AUTHORITY = account("authority of the pages")
RESEARCHER = account("researcher of the authority's pages")
NOBODY = account("nobody vouches for")


@dataclass
class Desk:
    world: WebWorld
    browser: Browser

    def send(self, function: str, *arguments: object) -> None:
        sender = Sender(self.world.api.custody.chain, bytes(AUTHORITY.key))
        sender.send("ResearcherRegistry", function, RESEARCHER.address, *arguments)

    def page(self, path: str, status: int = 200) -> str:
        answer = self.browser.get(path, HTML)
        assert answer.status_code == status, answer.get_data(as_text=True)
        return html.unescape(answer.get_data(as_text=True))


@pytest.fixture(scope="module")
def desk(shared_api: ApiWorld) -> Iterator[Desk]:
    custody = shared_api.custody
    fund(custody.chain.node, EMBEDDED_KEY, [AUTHORITY.address], 10**18)
    grant_role(custody.sender, "ResearcherRegistry", "AUTHORITY", AUTHORITY.address)
    with web_world(shared_api) as world:
        yield Desk(world, Browser(world).sign_in(AUTHORITY))


def test_an_account_without_a_credential_can_be_given_one(desk: Desk) -> None:
    page = desk.page(f"/authority/{NOBODY.address}")
    assert "No credential" in page
    assert 'id="give"' in page
    assert 'id="withdraw"' not in page
    assert " checked>" not in page
    assert " selected>" not in page
    assert '<option value="NE">Niger (NE)</option>' in page
    assert desk.browser.facts(f"/authority/{NOBODY.address}") == {"account": NOBODY.address}


def test_a_credential_shows_what_it_says_and_then_that_it_was_withdrawn(desk: Desk) -> None:
    credential = desk.world.api.custody.credential()
    desk.send("give", credential)
    path = f"/authority/{RESEARCHER.address}"
    page = desk.page(path)
    assert "Valid" in page
    assert 'id="withdraw"' in page
    for raw in (credential.user, credential.institution, credential.evidence):
        assert to_hex(raw) in page
    desk.send("withdraw")
    page = desk.page(path)
    assert "Withdrawn" in page
    assert 'id="withdraw"' not in page
    assert "Give another one" in page
    listed = desk.page("/authority")
    assert path in listed
    assert f"/authority/{NOBODY.address}" not in listed


def test_any_account_is_found_by_its_address_however_it_is_written(desk: Desk) -> None:
    answer = desk.browser.get(f"/authority?account=+{RESEARCHER.address.lower()}+", HTML)
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        f"/authority/{RESEARCHER.address}",
    )


@pytest.mark.parametrize("given", ["", "0x12", "<script>", RESEARCHER.address[:-1] + "g"])
def test_what_is_no_address_is_refused_at_its_field_and_given_back(desk: Desk, given: str) -> None:
    answer = desk.browser.client.get("/authority", query_string={"account": given}, headers=HTML)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 400
    assert 'id="account-error"' in page
    assert f'name="account" value="{html.escape(given)}"' in page
    assert "“Address of the researcher” is" in page
    assert desk.browser.get(f"/authority/{given or 'x'}").status_code == 400
