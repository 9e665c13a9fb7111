"""Asking in the homomorphic lane in a real browser: quote, key, and the answer that it makes of sums."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from marketplace.analyses.tallies import TALLIES
from marketplace.analyses.variables import variables_of
from marketplace.client.logarithms import Logarithms
from marketplace.client.results import open_answer
from marketplace.conditions import together
from marketplace.receipts.checks import noise_of
from marketplace.receipts.format import load
from marketplace.receipts.parts import CommitteePart
from marketplace.vocabulary import Address, Epoch, Lane
from marketplace.wire import hpke
from marketplace.wire.analysis import parameters_hash
from marketplace.wire.canonical import canonical
from marketplace.wire.delivery import Opened
from marketplace.wire.dictionary import from_json
from marketplace.wire.http import to_hex
from marketplace.wire.structs import HOMOMORPHIC, market_domain, sign
from marketplace.wire.tally_delivery import TallyKey
from tests.support.asking_world import PEOPLE, REGRESSION, asking_world
from tests.support.chain_world import MAX_COST, account
from tests.support.daily import daily, daily_rows
from tests.support.overheard import Overheard, overhearing
from tests.support.researcher_browser import (
    Researcher,
    drop,
    fill_parameters,
    listened_to,
    signed_in,
    telling,
    without_complaints,
)
from tests.support.web_world import WebWorld
from web.lanes import WORDS

STALLED = "self.addEventListener('message', () => self.postMessage({ progress: 0.25 }));"
"""A worker that stays at a quarter for ever."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    with asking_world(tmp_path_factory.mktemp("asking")) as made:
        yield made


@pytest.fixture(scope="module")
def heard() -> Iterator[Overheard]:
    with overhearing() as found:
        yield found


@pytest.fixture(scope="module")
def context(world: WebWorld, heard: Overheard) -> Iterator[BrowserContext]:
    with listened_to(world, heard) as made:
        yield made


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def newcomer(
    world: WebWorld,
    context: BrowserContext,
    complaints: list[str],
    heard: Overheard,
    tmp_path_factory: pytest.TempPathFactory,
) -> Researcher:
    return signed_in(world, context, complaints, heard, tmp_path_factory.mktemp("keys"))


@pytest.fixture
def researcher(newcomer: Researcher, complaints: list[str]) -> Iterator[Researcher]:
    with without_complaints(newcomer, complaints) as found:
        yield found


def delivery_of(researcher: Researcher, request: str) -> hpke.SecretKey:
    chain = researcher.api.operator.chain
    terms = chain.request_terms(bytes.fromhex(request[2:]))
    return researcher.keyring.root.delivery_key(chain.chain_id, chain.market, terms.salt)


def opened(researcher: Researcher, request: str, delivery: hpke.SecretKey | None = None) -> Opened:
    """As the command line opens it."""
    receipt = researcher.api.operator.reads.receipt(request).receipt
    key = delivery or delivery_of(researcher, request)
    dictionary = researcher.api.custody.dictionary
    folder = researcher.folder / "logarithms"
    return open_answer(
        receipt, key, load(receipt).request, lambda _: dictionary, Logarithms(folder)
    )


def asked(researcher: Researcher, analysis: str) -> str:
    """Asked and paid in the homomorphic lane, through the page; its id."""
    researcher.api.custody.tick()
    page = question(researcher, analysis)
    expect(page.locator("#ceiling")).to_be_visible()
    page.locator("#ceiling input").check()
    page.get_by_role("button", name="Ask and pay").click()
    page.wait_for_url("**/my/requests/0x*")
    return researcher.request


def question(researcher: Researcher, analysis: str) -> Page:
    page = researcher.build()
    page.get_by_label("Homomorphic lane").check()
    page.select_option("#analysis", analysis)
    if analysis == "count.v1":
        page.select_option("#filter1_variable", "smoker")
        page.select_option("#filter1_op", "==")
        page.fill("#filter1_value", "yes")
    elif analysis == "cross_table.v1":
        fill_parameters(page, analysis)
    else:
        page.select_option("#variable", "systolic")
    if analysis == "histogram.v1":
        page.fill("#edges", "60, 120, 160, 260")
    page.get_by_label("Biomedical research").check()
    page.locator("#classes input").first.check()
    page.fill("#cost", str(MAX_COST))
    return page


# --- before anything is paid


@pytest.mark.long
def test_each_lane_is_explained_and_asks_what_it_can_answer(researcher: Researcher) -> None:
    page = researcher.build()
    lanes = page.locator("#lane")
    for words in WORDS.values():
        expect(lanes).to_contain_text(words.means)
    assert page.locator("#lane input:checked").count() == 0
    page.select_option("#analysis", "quantile.v1")
    expect(page.locator("#level")).to_be_visible()
    expect(page.locator("#means")).to_contain_text("Below which value")
    expect(page.locator('[data-lane="2"]')).to_be_hidden()
    page.get_by_label("Homomorphic lane").check()
    expect(page.locator("#analysis")).to_have_value("")  # no sum tells a quantile
    expect(page.locator("#level")).to_be_hidden()
    expect(page.locator('[data-lane="2"]')).to_contain_text("Systolic blood pressure at 120, 160")
    expect(page.locator('[data-lane="2"]')).to_contain_text("Linear regression")
    page.select_option("#analysis", "mean.v1")
    expect(page.locator("#clip_lower")).to_be_hidden()
    expect(page.locator("#means")).to_contain_text("What is the average of one number?")
    page.get_by_text("What can be said of it").click()
    expect(page.locator("#means details")).to_contain_text(
        "only be cut where the dataset's encoding"
    )
    page.fill("#cost", "1")
    expect(page.locator("#means details")).to_have_attribute("open", "")  # it stays unfolded
    assert researcher.violations() == []


def test_a_quote_tells_the_noise_of_the_lane_and_follows_it(researcher: Researcher) -> None:
    page = question(researcher, "count.v1")
    quote = page.locator("#quote")
    expect(quote).to_contain_text("1.50 times the variance of the vault lane's")
    expect(quote).to_contain_text("1 noised sum, by any 2 of 3 custodians")
    expect(quote).to_contain_text("If only 2 of the 3 custodians take part")
    expect(quote).to_contain_text("With fewer custodians")
    in_sums = page.input_value("#target_error")
    page.get_by_label("Vault lane").check()
    expect(quote).not_to_contain_text("times the variance")
    expect(page.locator("#target_error")).not_to_have_value(in_sums)
    assert float(page.input_value("#target_error")) < float(in_sums)
    page.get_by_label("Homomorphic lane").check()
    expect(page.locator("#target_error")).to_have_value(in_sums)
    page.select_option("#analysis", "histogram.v1")
    page.select_option("#variable", "systolic")
    page.fill("#edges", "60, 130, 260")
    expect(page.locator("#edges-error")).to_contain_text("encoding does not")
    expect(page.locator("#ceiling")).to_be_hidden()


def test_a_quote_of_another_lane_than_was_asked_is_never_paid(researcher: Researcher) -> None:
    """An operator whose quote is of the vault lane would have the records opened."""
    page = researcher.page
    telling(page, "**/ask/quote", lambda told: told.update(lane=1))
    page = question(researcher, "count.v1")
    expect(page.locator("form.ask")).to_contain_text("names another lane than follows")
    expect(page.locator("#ceiling")).to_be_hidden()
    page.unroute("**/ask/quote")


def test_a_condition_that_the_lane_cannot_look_at_is_refused_and_never_left_out(
    researcher: Researcher,
) -> None:
    """Without it the same cost would buy another answer, about everybody."""
    page = researcher.page

    def unencoded(route: Any) -> None:
        response = route.fetch()
        body, smoker = response.text(), "{&#34;name&#34;: &#34;smoker&#34;}"
        assert f", {smoker}" in body
        route.fulfill(response=response, body=body.replace(f", {smoker}", ""))

    page.route("**/ask?dataset=*", unencoded)
    page = researcher.build()
    page.select_option("#analysis", "count.v1")
    page.select_option("#filter1_variable", "smoker")
    page.select_option("#filter1_op", "==")
    page.fill("#filter1_value", "yes")
    page.get_by_label("Biomedical research").check()
    page.locator("#classes input").first.check()
    page.fill("#cost", str(MAX_COST))
    page.get_by_label("Homomorphic lane").check()
    refused = page.locator("#filter1_variable-error")
    expect(refused).to_contain_text("the dataset's encoding does not have it")
    expect(page.locator("#filter1_variable")).to_have_value("smoker")
    expect(page.locator("#ceiling")).to_be_hidden()
    page.get_by_label("Vault lane").check()
    expect(refused).to_have_count(0)
    expect(page.locator("#filter1_variable")).to_have_value("smoker")
    page.unroute("**/ask?dataset=*")


@pytest.mark.long
def test_which_conditions_go_with_a_variable_is_said_and_what_has_no_field_is_said_at_the_quote(
    researcher: Researcher,
) -> None:
    sentences = together(researcher.api.custody.dictionary)
    assert "Smoker yes" in sentences["mean.v1"]["systolic"]
    page = question(researcher, "mean.v1")
    told = page.locator("#together")
    expect(told).to_have_text(sentences["mean.v1"]["systolic"])
    page.get_by_label("Vault lane").check()
    expect(told).to_be_hidden()
    page.get_by_label("Homomorphic lane").check()
    expect(told).to_have_text(sentences["mean.v1"]["systolic"])
    page.select_option("#analysis", "histogram.v1")
    expect(told).to_have_text(sentences["histogram.v1"]["systolic"])
    page.select_option("#analysis", "count.v1")
    expect(told).to_be_hidden()
    page.select_option("#analysis", "mean.v1")
    expect(page.locator("#quote .facts")).to_be_visible()
    refused = {
        "code": "bad_parameter",
        "detail": "There is no column.",
        "remedy": "Ask elsewhere.",
        "field": "encoding",
    }
    page.route("**/ask/quote", lambda route: route.fulfill(status=400, json=refused))
    page.fill("#cost", str(MAX_COST - 1))
    expect(page.locator("#quote")).to_contain_text("No quote")
    expect(page.locator("#quote")).to_contain_text("There is no column. Ask elsewhere.")
    expect(page.locator("form.ask [data-refusal]")).to_have_count(0)
    refused["field"] = "parameters.filters[3].value"  # of a row that nobody sees
    page.fill("#cost", str(MAX_COST - 2))
    expect(page.locator("#quote")).to_contain_text("There is no column. Ask elsewhere.")
    refused["field"] = "cost"
    page.fill("#cost", str(MAX_COST - 3))
    expect(page.locator("#cost-error")).to_contain_text("There is no column.")
    expect(page.locator("#quote")).to_contain_text("is said at its field")
    page.unroute("**/ask/quote")
    assert researcher.violations() == []


# --- the answer


OPENED = ["mean.v1", "variance.v1", "count.v1", "sum.v1", "histogram.v1", "cross_table.v1"]
"""The analyses that a page opens; vectors hold all of them to what Python makes, each day."""
CHECKED = [*["Holds"] * 9, *["Not checked here"] * 3, *["Holds"] * 4]
"""Of an answer of sums: what pages leave to the command line, and nothing else."""


@pytest.mark.parametrize("analysis", daily(OPENED, ["mean.v1"]))
def test_an_answer_is_asked_in_sums_and_made_of_them_in_the_browser_as_python_makes_it(
    researcher: Researcher, analysis: str
) -> None:
    page, api = researcher.page, researcher.api
    request = asked(researcher, analysis)
    terms = api.operator.chain.request_terms(bytes.fromhex(request[2:]))
    assert terms.lane == Lane.HOMOMORPHIC
    assert terms.delivery_key == TallyKey.of(delivery_of(researcher, request)).public
    api.settle(request)
    expect(page.locator("#opened")).to_be_visible()
    expect(page.locator("#under-way")).to_be_hidden()
    python = opened(researcher, request)
    assert researcher.saved("Save as JSON") == python.result
    estimates: Any = dict(python.document)["noised"]["estimates"]
    cells = page.locator("#numbers tbody tr")
    shown = [row.locator("td").all_text_contents() for row in cells.all()]
    assert [[text.strip() for text in row] for row in shown] == [
        [each["value"], each["low"], each["high"]] for each in estimates
    ]
    expect(page.locator("#answer")).to_contain_text(str(len(PEOPLE)))
    assert page.locator("#checks .badge").all_text_contents() == CHECKED
    of_numbers = analysis != "count.v1"
    assert ("to whole mmHg" in page.locator("#answer").inner_text()) == of_numbers
    receipt = api.operator.reads.receipt(request).receipt
    assert researcher.saved("Save the receipt") == canonical(receipt)
    page.get_by_text("Prove these numbers to others").click()
    key, opening = f"delivery-{request[2:10]}.key", f"opening-{request[2:10]}.json"
    expect(page.locator("#publish-command")).to_have_text(
        f"chmod 600 {key}\nusufruct result --request {request} --url {researcher.world.url} "
        f"--delivery-key-file {key} --opening-out {opening}"
    )
    saved = bytes.fromhex(researcher.saved("Save its delivery key").decode().strip())
    assert saved == delivery_of(researcher, request).raw
    assert researcher.violations() == []
    # Neither the delivery secret nor what it opened leaves the browser.
    assert researcher.heard.carrying(delivery_of(researcher, request).raw) == []
    secret = TallyKey.of(delivery_of(researcher, request)).secret.to_bytes(32, "big")
    assert researcher.heard.carrying(secret) == []


def settled(researcher: Researcher) -> str:
    """A mean in sums that was answered already; one more where there is none."""
    reads = researcher.api.operator.reads
    for each in reads.requests_of(researcher.api.researcher.address):
        found = reads.request(each["request"])
        if (found["stage"], found["analysis"], int(found["terms"]["lane"])) == SETTLED:
            return str(each["request"])
    request = asked(researcher, "mean.v1")
    researcher.api.settle(request)
    return request


SETTLED = ("settled", "mean.v1", int(Lane.HOMOMORPHIC))


@pytest.mark.long
def test_opening_shows_how_far_it_is_and_can_be_cancelled_and_begun_again(
    researcher: Researcher,
) -> None:
    page, request = researcher.page, settled(researcher)
    stalled = {"content_type": "text/javascript", "body": STALLED}
    page.route("**/tally/openworker.js", lambda route: route.fulfill(**stalled))
    asked_for = list[str]()
    page.on("request", lambda each: asked_for.append(urlsplit(each.url).path))
    page.goto(f"/my/requests/{request}")
    bar = page.get_by_role("progressbar", name="Opening in this browser")
    expect(bar).to_have_js_property("value", 0.25)
    expect(page.locator("#how-it-goes")).to_have_text("Opening the sums.")
    assert researcher.violations() == []
    page.get_by_role("button", name="Open the answer").click()
    expect(page.locator("#open")).to_have_attribute("aria-busy", "true")
    assert len([path for path in asked_for if path.endswith("/receipt")]) == 1  # one opening
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.locator("#how-it-goes")).to_contain_text("Opening was cancelled.")
    expect(page.locator("#under-way")).to_be_hidden()
    expect(page.locator("#opened")).to_be_hidden()
    expect(page.get_by_role("button", name="Open the answer")).to_be_focused()
    page.unroute("**/tally/openworker.js")
    page.get_by_role("button", name="Open the answer").click()
    expect(page.locator("#opened")).to_be_visible()
    expect(page.locator("#result-title")).to_be_focused()


@pytest.mark.long
def test_where_no_worker_starts_it_says_so(researcher: Researcher) -> None:
    page, request = researcher.page, settled(researcher)
    page.route("**/tally/openworker.js", lambda route: route.abort())
    page.goto(f"/my/requests/{request}")
    expect(page.locator("#open [data-refusal]")).to_contain_text("work beside itself")
    expect(page.locator("#opened")).to_be_hidden()
    page.unroute("**/tally/openworker.js")


LIES: list[tuple[str, str]] = [
    ("hash", "not the one that custodians signed"),
    ("sealed", "sealed_result does not have the hash"),
    ("order", "places must ascend"),
    ("places", "settlement.noise differs"),
    ("quorum", "signatures are fewer than the quorum"),
    ("committee", "names other custodians than those of epoch"),
    ("epoch", "tally.noised does not have the hash that was agreed on"),
    ("nobody", "is not by the key of the custodian's address"),
    ("terms", "request is not the hash of the terms"),
    ("dictionary", "dictionary that this server shows is not the one on chain"),
    ("both", "not the one that the request's dataset was published with"),
]


TOLD = ("hash", "committee", "terms", "dictionary")
"""Each day a lie about the chain, one about who signed, one about the question, one about the words;
receipts that were bent in any other way are refused by `tests/browser/js/receipt.mjs`, each day."""


@pytest.mark.parametrize(("change", "why"), daily_rows(LIES, TOLD))
def test_an_answer_that_does_not_belong_together_is_never_shown(
    researcher: Researcher, change: str, why: str
) -> None:
    page, request = researcher.page, settled(researcher)
    receipt = lying_receipt(researcher, request, change)

    def lie(route: Any) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=lying_page(researcher, request, change, response))

    page.route("**/my/requests/*", lie)
    page.route("**/receipt", lambda route: route.fulfill(json=receipt))
    page.goto(f"/my/requests/{request}")
    expect(page.locator("#result")).to_contain_text(why)
    assert researcher.saved("Save the receipt as given") == canonical(receipt)
    if change == "terms":
        page.get_by_role("button", name="Save the delivery key").click()
        expect(page.locator("#open [data-refusal]")).to_have_count(2)
    page.unroute_all(behavior="wait")
    expect(page.locator("#opened")).to_be_hidden()


def lying_receipt(researcher: Researcher, request: str, change: str) -> dict[str, Any]:
    true = researcher.api.operator.reads.receipt(request).receipt
    receipt: dict[str, Any] = json.loads(canonical(true))
    if change == "sealed":
        receipt["sealed_result"] = "AQAB" + receipt["sealed_result"][4:-4] + "AAAA"
    if change == "order":
        receipt["tally"]["places"] = receipt["tally"]["places"][::-1]
    if change == "places":
        receipt["tally"]["places"] = receipt["tally"]["places"][:2]
    if change == "quorum":
        receipt["committee"]["quorum"] = 3
    if change == "terms":  # as of another request, with the key that this researcher has for it
        chain, salt = researcher.api.operator.chain, b"\xab" * 32
        own = researcher.keyring.root.delivery_key(chain.chain_id, chain.market, salt)
        key = to_hex(TallyKey.of(own).public)
        receipt["terms"] |= {"salt": to_hex(salt), "deliveryKey": key}
    if change == "nobody":
        receipt["signatures"][0]["signature"] = "0x" + "11" * 65
    if change == "epoch":  # in which nobody was seated yet
        return signed_by_others(receipt, epoch=Epoch(receipt["epoch"] + 1))
    return signed_by_others(receipt) if change == "committee" else receipt


def signed_by_others(receipt: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """By a committee of the operator's own, of whatever it likes."""
    own, read = [account(f"liar {i}") for i in range(3)], load(receipt)
    committee = CommitteePart(tuple(Address(each.address) for each in own), 2)
    lying = replace(read, committee=committee, **changes)
    settlement = replace(read.settlement, epoch=lying.epoch, noise=noise_of(lying))
    domain = market_domain(read.deployment.chain_id, read.deployment.market)
    signed = tuple((i, sign(settlement, domain, own[i].key)) for i in range(2))
    return replace(lying, settlement=settlement, signatures=signed).to_json()


def lying_page(researcher: Researcher, request: str, change: str, response: Any) -> str:
    body = str(response.text())
    if change == "hash":
        found = researcher.api.operator.chain.request(bytes.fromhex(request[2:])).result_hash.hex()
        return body.replace(found, "ab" * 32)
    if change not in ("dictionary", "both"):
        return body
    dictionary = researcher.api.custody.dictionary
    document = json.loads(dictionary.to_bytes())
    document["variables"][0]["lower"] = "59"
    lower = "&#34;lower&#34;: &#34;{}&#34;"
    assert lower.format(60) in body
    body = body.replace(lower.format(60), lower.format(59))
    other = from_json(document).hash() if change == "both" else dictionary.hash()
    return body.replace(to_hex(dictionary.hash()), to_hex(other))


@pytest.mark.long
def test_what_the_page_does_not_open_the_command_line_opens_with_the_saved_key(
    researcher: Researcher,
) -> None:
    page, api, chain = researcher.page, researcher.api, researcher.api.operator.chain
    tally, salted = TALLIES["linear_regression.v1"], api.terms("a regression")
    parsed = tally.parse(REGRESSION, variables_of(api.custody.dictionary))
    own = researcher.keyring.root.delivery_key(chain.chain_id, chain.market, salted.salt)
    terms = replace(
        salted,
        lane=HOMOMORPHIC,
        release_kind=int(tally.release_kind),
        analysis=tally.analysis_hash(),
        parameters=parameters_hash(tally.canonical(parsed)),
        delivery_key=TallyKey.of(own).public,
        cost=MAX_COST,
    )
    api.custody.sender.send("TestEuro", "approve", chain.market, 10**12)
    body = {"terms": terms.to_json(), "parameters": REGRESSION}
    request = api.post_signed(body).get_json()["request"]
    api.custody.open(terms)
    api.custody.tick()
    api.settle(request)
    page.goto(f"/my/requests/{request}")
    expect(page.locator("h1")).to_contain_text("Linear regression")
    expect(page.locator("#open [data-refusal]")).to_contain_text("has not the arithmetic")
    name = f"delivery-{request[2:10]}.key"
    expect(page.locator("#elsewhere-command")).to_have_text(
        f"chmod 600 {name}\nusufruct result --request {request} --url {researcher.world.url} "
        f"--delivery-key-file {name}"
    )
    assert researcher.violations() == []
    saved = bytes.fromhex(researcher.saved("Save the delivery key").decode().strip())
    assert saved == own.raw
    document = opened(researcher, request, hpke.SecretKey(saved)).document
    assert document["analysis"] == "linear_regression.v1"


# --- its receipt


def test_a_receipt_of_sums_is_checked_as_far_as_a_page_can_and_the_rest_is_named(
    researcher: Researcher,
) -> None:
    page, request = researcher.page, settled(researcher)
    receipt: Any = researcher.api.operator.reads.receipt(request).receipt
    page.goto("/verify")
    drop(page, canonical(receipt))
    expect(page.locator("#verdict")).to_have_text("All that a page can check holds")
    badges = page.locator("#alone .badge").all_text_contents()
    assert badges == ["Holds"] * 9 + ["Not checked here"] * 3
    expect(page.locator("#alone")).to_contain_text("usufruct verify-receipt --bundle FILE")
    assert set(page.locator("#anchored .badge").all_text_contents()) == {"Agrees"}
    for checks in ("#alone", "#anchored"):
        expect(page.locator(checks)).not_to_contain_text("gate")
    expect(page.locator("#sums")).to_contain_text(
        f"usufruct bundle --url {researcher.world.url} --node NODE --manifest manifest.json "
        f"--key-file KEY --request {request} --proofs --out bundle.jsonl"
    )
    expect(page.locator("#sums")).to_contain_text(
        f"receipt-12ab.json --request {request} --node NODE --manifest manifest.json --bundle "
        "bundle.jsonl"
    )
    assert researcher.violations() == []
    drop(page, canonical({**receipt, "cost": str(int(receipt["cost"]) + 1)}))
    expect(page.locator("#receipt-error")).to_contain_text("cost differs from its other mention")
    expect(page.locator("#found")).to_be_hidden()
