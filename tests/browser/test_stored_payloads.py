"""Hostile text in every field that anybody can store, shown on every page that shows it: it stays text."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import markupsafe
import pytest
from playwright.sync_api import FilePayload, Page, Route, expect

from marketplace.wire.class_page import PARAGRAPHS
from marketplace.wire.plain import plain
from tests.support.api_world import problem
from tests.support.browser_keys import PASSPHRASE, bring_key, make_keys
from tests.support.flooding import ZIP
from tests.support.hostile_market import (
    ALL,
    ALL_WHOLE,
    Hostile,
    ask,
    hostile_dictionary,
    hostile_market,
)
from tests.support.payloads import PAYLOADS, UNSHOWN, WHOLE, require_plain, sweeping
from tools.browser import PATIENCE_MILLISECONDS

STOP_IS_KEPT = """async () => {
    const database = await new Promise((resolve) => {
        const asked = indexedDB.open("usufruct", 1);
        asked.onsuccess = () => resolve(asked.result);
    });
    const keys = () => new Promise((resolve) => {
        const asked = database.transaction("kept").objectStore("kept").getAllKeys();
        asked.onsuccess = () => resolve(asked.result);
    });
    while (!(await keys()).some((key) => key.startsWith("stop "))) {
        await new Promise((again) => setTimeout(again, 100));
    }
    database.close();
}"""
"""What `/stop/` needs is kept by a page of one's own, behind everything else that it does."""

FIRST_FOUR = list(PAYLOADS.values())[:4]
NAMED = '"><img src=x onerror=ran=1>'
"""For a key's name, which has at most 60 characters."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with hostile_market(tmp_path_factory.mktemp("payloads")) as made:
        yield made


# --- every page that shows any of it


@dataclass(frozen=True)
class Shown:
    """A page, who looks, and how often it shows each of which texts."""

    who: str
    path: str
    texts: Iterable[str] = ()
    times: int = 1


EVERY = tuple(PAYLOADS.values())
READ = tuple(WHOLE.values())
"""What a class page may hold."""
PARAGRAPHED = len(PARAGRAPHS)
PAGES = {
    "datasets": Shown("anybody", "/datasets", FIRST_FOUR),
    # label, system, code and unit of a number; a category
    "a dataset": Shown("anybody", "/datasets/{dataset}", EVERY, 5),
    "a linked dataset": Shown("anybody", "/datasets/{linked}", EVERY),
    "a named dataset": Shown("anybody", "/datasets/{named}", EVERY),
    "whom to ask": Shown("anybody", "/ask"),
    "a question": Shown("anybody", "/ask?dataset={dataset}", EVERY),
    "requests": Shown("anybody", "/requests"),
    "a request that waits": Shown("anybody", "/requests/{asked}", EVERY),
    "a request that was declined": Shown("anybody", "/requests/{declined}", EVERY),
    "wallets": Shown("anybody", "/sign-in", EVERY),
    "my data": Shown("patient", "/me"),
    "my consent": Shown("patient", "/me/{dataset}"),
    "join": Shown("newcomer", "/me/{dataset}/join", EVERY, 3),
    "studies": Shown("patient", "/me/{dataset}/studies"),
    "timeline": Shown("patient", "/me/{dataset}/timeline"),
    "export": Shown("patient", "/me/{dataset}/export"),
    "erase": Shown("patient", "/me/{dataset}/erase"),
    "clinic": Shown("clinic", "/clinic/{dataset}"),
    "steward": Shown("office", "/steward"),
    "own dataset": Shown("office", "/steward/{dataset}", READ),
    "new class": Shown("office", "/steward/{dataset}/classes/new"),
    "new dataset": Shown("office", "/steward/new"),
    "credentials": Shown("office", "/authority"),
    "a credential": Shown("office", "/authority/{account}"),
    "operator": Shown("office", "/operator", [text[:20] for text in READ][:6]),
    "my requests": Shown("office", "/my"),
    "my request": Shown("office", "/my/requests/{asked}", EVERY),
    "my declined request": Shown("office", "/my/requests/{declined}", EVERY),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_what_others_wrote_as_text_and_lets_none_of_it_act(
    hostile: Hostile, name: str
) -> None:
    shown = PAGES[name]
    seat = hostile.seat(shown.who).go(hostile.path(shown.path))
    seat.require_shown(shown.texts, shown.times)
    seat.require_harmless()


def test_every_class_is_read_as_it_was_written(hostile: Hostile) -> None:
    looks = [
        ("anybody", "/datasets/{dataset}", index) for index in range(1, len(hostile.pages) + 1)
    ]
    for who, path, index in [*looks, ("patient", "/me/{dataset}", 1)]:
        seat = hostile.seat(who).go(hostile.path(f"{path}/classes/{index}"))
        page, title = seat.looked.page, hostile.pages[index - 1].title
        seat.require_shown(READ, PARAGRAPHED)
        expect(page.locator("h1")).to_have_text(title)
        assert page.title() == f"{title} \u00b7 Usufruct"
        seat.require_harmless()


def test_the_sweep_sees_unescaped_text_and_even_that_does_not_run(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault that templates must not have, planted: `said` gives markup. The policy is the second wall."""
    monkeypatch.setitem(hostile.world.pages.jinja_env.filters, "said", markupsafe.Markup)
    with sweeping(hostile.browser, hostile.world.url) as seat:
        # What leads elsewhere leads nowhere: no policy forbids a page to be left (<meta> refresh).
        seat.looked.page.route("**evil.invalid/**", lambda route: route.fulfill(status=204))
        for path in ("/datasets/{dataset}", "/datasets/{dataset}/classes/1"):
            seat.forget().go(hostile.path(path))
            # What a policy refuses is reported in the browser's own time.
            seat.looked.page.wait_for_function("() => window.reports.length > 0")
            found = seat.found()
            assert [each for each in found if each.startswith(("<img", "<svg", "<script"))]
            assert [each for each in found if "Content Security Policy" in each]
            assert [each for each in found if "evil.invalid" in each]
            assert "the canary" not in found
            assert seat.done == []


# --- what is typed and given back


@pytest.mark.long
def test_what_a_url_says_is_never_more_than_text(hostile: Hostile) -> None:
    said = quote(ALL, safe="")
    for who, path in (
        ("anybody", f"/{said}"),
        ("anybody", f"/datasets/{said}"),
        ("anybody", f"/requests/{said}"),
        ("anybody", f"/requests?before={said}"),
        ("anybody", f"/ask?dataset={said}"),
        ("anybody", f"/sign-in?next={said}"),
        ("anybody", f"/keys?next={quote('javascript:ran=1//')}"),
        ("office", f"/authority?account={said}"),
        ("office", f"/authority/{said}"),
        ("office", f"/my/requests/{said}"),
        ("patient", f"/me/{hostile.api.dataset}/erasure?commitment={said}"),
        ("patient", f"/me/{said}/join"),
    ):
        hostile.seat(who).go(path).require_harmless()


@pytest.mark.long
def test_a_stewards_forms_give_back_what_was_typed_and_say_what_is_wrong(hostile: Hostile) -> None:
    seat = hostile.seat("office").go("/steward/new")
    page = seat.looked.page
    page.fill("#dictionary", ALL)
    page.get_by_role("button", name="Check it").click()
    expect(page.locator("#dictionary-error")).to_be_visible()
    seat.require_harmless()
    page.fill("#dictionary", hostile_dictionary().to_bytes().decode())
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_role("table", name="Data dictionary")).to_be_visible()
    seat.looked.whole()  # what is read at once below may still be coming in
    assert page.locator("#dictionary").input_value().count(PAYLOADS["facts"][5:]) >= 5
    table = page.get_by_role("table", name="Data dictionary").inner_text()
    assert all(table.count(plain(text)) >= 5 for text in PAYLOADS.values())
    require_plain(table)
    seat.require_harmless()
    page.fill("#uri", "javascript:ran=1")
    seat.go(hostile.path("/steward/{dataset}/classes/new"))
    fill_class(page, ALL)
    page.get_by_role("button", name="See it as patients will").click()
    for name in PARAGRAPHS:
        expect(page.locator(f"#{name}-error")).to_contain_text("not shown as itself")
        typed = re.compile("^" + re.escape(PAYLOADS["script"]))
        expect(page.locator(f"#{name}")).to_have_value(typed)
    seat.require_harmless()
    fill_class(page, ALL_WHOLE, "1", hostile.pages[0].title)
    page.get_by_role("button", name="See it as patients will").click()
    expect(page.locator("h1")).to_have_text(hostile.pages[0].title)
    seat.require_shown(READ, PARAGRAPHED)
    seat.require_harmless()


def fill_class(page: Page, text: str, number: str | None = None, title: str | None = None) -> None:
    page.get_by_label("Health, medical or biomedical research").check()
    page.get_by_label("Numbers", exact=True).check()
    for name in PARAGRAPHS:
        page.fill(f"#{name}", text)
    page.fill("#title", title or text)
    for name in ("max_cost", "floor_per_record", "floor_per_milli_rho"):
        page.fill(f"#{name}", number or text)
    page.fill("#language", text if number is None else "en")


@pytest.mark.parametrize("name", UNSHOWN)
def test_what_turns_or_hides_text_is_refused_in_what_patients_agree_to(
    hostile: Hostile, name: str
) -> None:
    for at in ("title", *PARAGRAPHS):
        document = {**hostile.pages[0].to_json(), at: UNSHOWN[name]}
        assert problem(hostile.api.post("/class-pages", {"page": document}))["field"] == at


def test_no_text_is_taken_that_cannot_be_written(hostile: Hostile) -> None:
    """A lone surrogate in a dictionary or a page: it has no UTF-8, so no hash."""
    for path, key in (("/dictionaries", "dictionary"), ("/class-pages", "page")):
        found = problem(hostile.api.post(path, {key: {"name": "\ud800", "title": "\ud800"}}))
        assert found["code"] in ("malformed_json", "bad_dictionary", "bad_class_page")


def test_a_bundle_may_say_what_it_likes(hostile: Hostile) -> None:
    """Values are looked for by hostile codes, in hostile units, and found; what is no bundle is refused."""
    seat = hostile.seat("newcomer").go(hostile.path("/me/{dataset}/join"))
    page = seat.looked.page
    expect(page.locator("#sealing")).to_be_visible()
    bring(page, hostile_bundle())
    expect(page.locator("#preview")).to_be_visible()
    preview = page.locator("#found").inner_text()
    assert all(preview.count(plain(text)) >= 2 for text in PAYLOADS.values())
    require_plain(preview)
    seat.require_harmless()
    for document in ({"resourceType": ALL}, {**hostile_bundle(), "entry": [{"resource": ALL}]}):
        bring(page, document)
        expect(page.locator("#bundle-error")).to_be_visible()
        seat.require_harmless()


def bring(page: Page, document: Any) -> None:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    file: FilePayload = {"name": NAMED, "mimeType": "application/json", "buffer": content}
    page.set_input_files("#bundle", file)


def hostile_bundle() -> dict[str, Any]:
    patient = {"resourceType": "Patient", "id": "a", "name": [{"family": ALL}], "gender": ALL}
    observations = [
        {
            "resourceType": "Observation",
            "status": "final",
            "subject": {"reference": "Patient/a", "display": text},
            "effectiveDateTime": "2026-01-01",
            "note": [{"text": text}],
            "code": {"text": text, "coding": [{"system": text, "code": text, "display": text}]},
            "valueQuantity": {
                "value": 120,
                "unit": text,
                "code": text,
                "system": "http://unitsofmeasure.org",
            },
        }
        for text in PAYLOADS.values()
    ]
    entries = [{"resource": each} for each in (patient, *observations)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


# --- files that are no files for people


def test_ten_gigabytes_are_refused_by_their_size_and_the_page_goes_on(
    hostile: Hostile, tmp_path: Path
) -> None:
    """A sparse file: whoever read it would wait for minutes, and for memory that there is not."""
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)
    said = {"bundle": "10,737,418,240 bytes", "receipt": "10,737,418,240 bytes"}
    for at, where in (("bundle", "/me/{dataset}/join"), ("receipt", "/verify")):
        page = hostile.seat("newcomer").go(hostile.path(where)).looked.page
        page.set_input_files(f"#{at}", path)
        expect(page.locator(f"#{at}-error")).to_contain_text(said[at])
    page = hostile.seat("office").go("/steward/new").looked.page
    page.set_input_files("#file", path)
    expect(page.locator("#read")).to_contain_text("too large")


@pytest.mark.long
def test_bombs_in_a_bundle_are_refused_at_its_field_and_the_page_goes_on(hostile: Hostile) -> None:
    seat = hostile.seat("newcomer").go(hostile.path("/me/{dataset}/join"))
    page = seat.looked.page
    bundle = json.dumps(hostile_bundle())
    for said, content in (
        ("nested more than", b'{"a":' * 100_000),
        ("nested more than", b'{"resourceType":"Bundle","entry":' + b"[" * 1_000_000),
        ("no JSON", gzip.compress(bytes(2**24))),
        ("no JSON", ZIP),
        ("not JSON that this format allows", bundle.replace("120", "9" * 4_000_000, 1).encode()),
        ("not JSON that this format allows", b'{"entry": ' + b"9" * 4_000_000 + b"}"),
    ):
        bring(page, content)
        expect(page.locator("#bundle-error")).to_contain_text(said)
        expect(page.locator("#preview")).to_be_hidden()
    for number in ("1e999999999", "-1e-999999999", "0.1" + "0" * 4_000, "1e400"):
        bring(page, bundle.replace("120", number).encode())
        expect(page.locator("#bundle-error, #preview .error").first).to_be_visible()
    seat.require_harmless()


# --- what others answer to a browser


def test_a_lying_custodian_and_a_lying_wallet_say_nothing_but_text(hostile: Hostile) -> None:
    hostile.seat("patient").go(hostile.path("/me/{dataset}")).looked.page.evaluate(STOP_IS_KEPT)
    seat = hostile.seat("patient").go("/stop/")
    page = seat.looked.page
    allowed, said = {"Access-Control-Allow-Origin": "*"}, [""]

    def answer(route: Route) -> None:
        reason = dict.fromkeys(("code", "detail", "remedy", "field"), said[0]) | {"status": 422}
        route.fulfill(status=422, json=reason, headers=allowed)

    seat.looked.page.context.route("**/revocations", answer)
    page.locator("summary", has_text="With the wallet").first.click()
    seat.require_shown(PAYLOADS.values())
    custodians = {each.for_browsers for each in hostile.api.operator.config.custodians}
    texts = list(PAYLOADS.values())
    for few in (texts[at : at + 4] for at in range(0, len(texts), 4)):  # what is long is cut
        said[0] = " · ".join(few)
        page.get_by_role("button", name="Sign only, a custodian sends it").first.click()
        seat.require_shown(few, 1 + len(custodians))
    expect(page.get_by_text("No custodian took your revocation")).to_be_visible()
    seat.looked.asked[:] = [
        url for url in seat.looked.asked if url.removesuffix("/revocations") not in custodians
    ]
    seat.require_harmless()


@pytest.mark.long
def test_an_answer_about_hostile_categories_is_drawn_saved_and_opened_as_text(
    hostile: Hostile, tmp_path: Path
) -> None:
    """Also under a key that was brought with a hostile name; and no cell of the file is a formula."""
    seat, api = hostile.seat("researcher"), hostile.api
    page = seat.looked.page
    page.goto("/sign-in")
    keyring = make_keys(page, tmp_path)
    bring_key(page, api.researcher, tmp_path, NAMED)
    context, salt = api.custody.record_context(api.patients[0].address), api.terms("answer").salt
    key = keyring.root.delivery_key(context.chain_id, api.custody.manifest.market, salt)
    request = ask(api, "answer", "histogram.v1", delivery_key=key.public)
    api.operator.pipeline.waits.clear(hostile.asked)
    api.custody.tick()
    api.settle(request)
    page.goto(f"/sign-in?next=/my/requests/{request}")
    page.fill("#passphrase", PASSPHRASE)
    page.get_by_role("button", name="Unlock").click()
    expect(page.locator("#choose-part")).to_be_visible()
    seat.require_shown([NAMED])
    page.get_by_label(NAMED).check()
    page.locator("#choose button").click()
    expect(page.locator("#opened")).to_be_visible()
    seat.require_shown(PAYLOADS.values(), 2)  # in the picture, and in the table
    own = seat.looked.asked
    asked = {url for url in own if not url.startswith((hostile.world.url, "blob:"))}
    assert asked == {f"{url}/health" for url in api.custodian_urls}, "whose signatures count"
    own[:] = [url for url in own if url not in asked]
    seat.require_harmless()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as CSV").click()
    saved.value.save_as(tmp_path / "answer.csv")
    require_no_formula((tmp_path / "answer.csv").read_bytes().decode())
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save the receipt").click()
    saved.value.save_as(tmp_path / "receipt.json")
    seat.go("/verify")
    page.set_input_files("#receipt", tmp_path / "receipt.json")
    expect(page.locator("#found")).to_be_visible()
    seat.require_harmless()
    (tmp_path / "hostile.json").write_text(json.dumps({"schema": ALL, ALL: ALL}))
    page.set_input_files("#receipt", tmp_path / "hostile.json")
    expect(page.locator("#receipt-error")).to_be_visible()
    seat.require_harmless()


def test_no_cell_of_a_saved_table_is_a_formula(hostile: Hostile) -> None:
    """The module that all tables are saved by; what is a number stays one."""
    page = hostile.seat("anybody").go("/ask").looked.page
    url = page.locator("script[src$='copy.js']").get_attribute("src") or ""
    formulas = [f"{sign}1+1" for sign in "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"]
    rows = [[*PAYLOADS.values(), *formulas, "-1.5", "12"]]
    written = page.evaluate(
        "async ([at, rows]) => (await import(at)).csv(rows)",
        [url.replace("copy.js", "save.js"), rows],
    )
    require_no_formula(written)
    (read,) = csv.reader(io.StringIO(written, newline=""))
    assert [each.removeprefix("'") for each in read] == [each.removeprefix("'") for each in rows[0]]
    assert read[-2:] == ["-1.5", "12"]


def require_no_formula(text: str) -> None:
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    begun = [each for each in cells if each[:1] in {*"=+@\t\r\n\uff1d\uff0b\uff0d\uff20"} - {""}]
    assert begun == []
    assert [each for each in cells if each[:1] == "-" and not _is_number(each)] == []


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
