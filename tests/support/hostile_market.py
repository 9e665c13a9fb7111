"""A market whose every word is an attack, and somebody of every kind who looks at it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from playwright.sync_api import Browser

from marketplace.analyses import CATALOGUE
from marketplace.analyses.variables import variables_of
from marketplace.errors import Refusal
from marketplace.stages import Stage
from marketplace.wire.analysis import parameters_hash
from marketplace.wire.class_page import PARAGRAPHS, ClassPage
from marketplace.wire.dictionary import Dictionary, from_json
from marketplace.wire.http import to_hex
from marketplace.wire.plain import plain
from tests.support.api_world import ApiWorld, api_world
from tests.support.chain_world import TERMS, account
from tests.support.custody_world import DICTIONARY
from tests.support.payloads import PAYLOADS, WHOLE, Swept, sweeping
from tests.support.web_world import WebWorld, web_world
from tools.browser import chromium

ALL = " \u00b7 ".join(PAYLOADS.values())
ALL_WHOLE = " \u00b7 ".join(WHOLE.values())
"""For a paragraph of a class page, which takes 2,000 characters."""
LONGEST_TITLE = 200
HTTPS = "https://steward.invalid/" + ALL
WALLET = """([text, account, chain]) => {
  const answers = {
    eth_requestAccounts: [account], eth_chainId: chain, eth_signTypedData_v4: `0x${"11".repeat(66)}`,
  };
  const provider = { request: async ({ method }) => answers[method] };
  const info = { name: text, icon: "javascript:ran=1", rdns: text, uuid: text };
  const announce = () => dispatchEvent(
    new CustomEvent("eip6963:announceProvider", { detail: { info, provider } }));
  addEventListener("eip6963:requestProvider", announce);
}"""
"""A wallet that any extension of the browser may be (EIP-6963); what it signs is for a contract to judge."""


def hostile_dictionary() -> Dictionary:
    """Every payload as label, unit, system and code of a number, and as a category."""
    document = json.loads(json.dumps(DICTIONARY))
    number, category = document["variables"]
    category["categories"] += list(PAYLOADS.values())
    hostile = [
        {**number, "name": f"v{place}", "label": text, "unit": text}
        | {"code": {"system": text, "code": text}}
        for place, text in enumerate(PAYLOADS.values())
    ]
    return from_json({**document, "variables": [*hostile, number, category]})


def hostile_pages() -> list[ClassPage]:
    """Every payload in every paragraph, and in the title of one of them."""
    titles = [""]
    for text in WHOLE.values():
        longer = f"{titles[-1]} {text}".strip()
        titles[-1:] = [longer] if len(longer) <= LONGEST_TITLE else [titles[-1], text]
    return [ClassPage("en", title, *[ALL_WHOLE] * len(PARAGRAPHS)) for title in titles]


@dataclass
class Hostile:
    """A market whose every word is an attack. `seats` are open browsers, by who is signed in."""

    world: WebWorld
    browser: Browser
    stack: ExitStack
    pages: list[ClassPage]
    linked: str
    """A dataset whose address on the web is an attack, and begins with https."""
    named: str
    """One whose address is no address."""
    asked: str
    """A request for patients of hostile categories, which waits for a reason that is hostile, too."""
    declined: str
    seats: dict[str, Swept] = field(default_factory=dict)

    @property
    def api(self) -> ApiWorld:
        return self.world.api

    def path(self, template: str) -> str:
        facts = {"dataset": self.api.dataset, "account": self.api.researcher.address}
        return template.format(**facts, **vars(self))

    def seat(self, who: str) -> Swept:
        """Somebody's browser, nothing in it noticed yet."""
        if who not in self.seats:
            self.seats[who] = self.stack.enter_context(sweeping(self.browser, self.world.url))
            self._prepare(who, self.seats[who])
        return self.seats[who].forget()

    def _prepare(self, who: str, seat: Swept) -> None:
        patient = self.api.patients[0]
        accounts: dict[str, LocalAccount] = {
            "patient": patient,
            "clinic": self.api.custody.issuer,
            "office": self.api.researcher,
            "newcomer": account("whose record is not here yet"),
        }
        told = json.dumps([ALL, patient.address, hex(self.api.operator.chain.chain_id)])
        seat.looked.page.add_init_script(f"({WALLET})({told})")
        if who in accounts:
            seat.looked.sign_in(accounts[who])


def publish_classes(api: ApiWorld, pages: Iterable[ClassPage]) -> None:
    """On chain, and each page handed in as its steward does."""
    for page in pages:
        if page.hash() != api.custody.chain.class_terms(api.custody.classes[0]).terms_hash:
            terms = replace(TERMS, terms_hash=page.hash())
            api.custody.sender.send("DatasetRegistry", "publishClass", api.custody.dataset, terms)
        assert api.post("/class-pages", {"page": page.to_json()}).status_code == 200
    dictionary = json.loads(api.custody.dictionary.to_bytes())
    assert api.post("/dictionaries", {"dictionary": dictionary}).status_code == 200


def publish_at(api: ApiWorld, salt: int, uri: str) -> str:
    send, salted = api.custody.sender.send, salt.to_bytes(32, "big")
    published = send("DatasetRegistry", "publishDataset", b"\x11" * 32, salted, uri)
    return to_hex(published.event("DatasetPublished").args["dataset"])


def ask(api: ApiWorld, salt: str, analysis: str = "count.v1", **changes: Any) -> str:
    """A paid request about patients of hostile categories."""
    condition = {"variable": "smoker", "op": "in", "value": list(PAYLOADS.values())}
    asked = {"filters": [condition]} if analysis == "count.v1" else {"variable": "smoker"}
    entry = CATALOGUE[analysis]
    written = entry.canonical(entry.parse(asked, variables_of(api.custody.dictionary)))
    terms = replace(
        api.terms(salt),
        analysis=entry.analysis_hash(),
        release_kind=int(entry.release_kind),
        parameters=parameters_hash(written),
        **changes,
    )
    submitted = api.post_signed({"terms": terms.to_json(), "parameters": asked})
    assert submitted.status_code == 200, submitted.get_data(as_text=True)
    api.custody.open(terms)
    request: str = submitted.get_json()["request"]
    return request


def said_by_a_peer() -> Refusal:
    """As it reaches the operator: `wire.http_client.declined` has bounded and mended it."""
    text = plain(ALL)[:800]
    facts = {"until": 4_000_000_000}
    return Refusal(code="gate_slow", message=text, remedy=text, facts=facts)


@contextmanager
def hostile_market(folder: Path) -> Iterator[Hostile]:
    """Everything stored by the ways that people have: chain, API, and what a peer answers."""
    pages = hostile_pages()
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        dictionary = json.loads(hostile_dictionary().to_bytes())
        terms = replace(TERMS, terms_hash=pages[0].hash())
        patch.setattr("tests.support.custody_world.DICTIONARY", dictionary)
        patch.setattr("tests.support.api_world.PAGE", pages[0])
        for module in ("custody_world", "chain_world"):
            patch.setattr(f"tests.support.{module}.TERMS", terms)
        api = stack.enter_context(api_world(folder))
        publish_classes(api, pages)
        linked, named = (publish_at(api, salt, uri) for salt, uri in enumerate((HTTPS, ALL), 2))
        asked, declined = (ask(api, salt) for salt in ("asked", "declined"))
        api.operator.pipeline.waits.note(asked, said_by_a_peer())
        api.operator.database.move(declined, Stage.REFUSED, ALL, said_by_a_peer().reason())
        world = stack.enter_context(web_world(api))
        browser = stack.enter_context(chromium())
        yield Hostile(world, browser, stack, pages, linked, named, asked, declined)
