"""One sealing for both lanes: from a bundle to columns that custodians add up, in two browsers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from playwright.sync_api import Browser, Page, Route, expect

from marketplace.fhir.extract import explained
from marketplace.sealing.row import to_row
from marketplace.vocabulary import Lane
from marketplace.wire import record as records
from marketplace.wire.dictionary import Dictionary, encode_row
from marketplace.wire.encoding import Encoding
from marketplace.wire.http import to_hex
from marketplace.wire.opening import code_hash, code_text
from marketplace.wire.tally import require_valid
from ml.homomorphic.curve import Point, times_base, total
from ml.homomorphic.threshold import lagrange
from tests.browser.test_joining import (
    choose_anything,
    desk_of,
    lie,
    present,
    require_sound,
    saved,
    shown_values,
    texts,
)
from tests.support import bundles
from tests.support.joining_world import (
    JoiningWorld,
    encoded_demo,
    enter_as_issuer,
    joining_world,
    make_keys,
    root_of,
)
from tests.support.left_drafts import Browser as Sealer
from tests.support.overheard import Overheard, overhearing
from tools.browser import PATIENCE_MILLISECONDS, chromium

SEAL = "Seal and leave it for the clinic"
TWO_WAYS = "nobody opens your record at all"
OTHER_KEY = to_hex(times_base(0x5EC2E7).to_bytes())
"""Of an operator that would like to read."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JoiningWorld]:
    with joining_world(tmp_path_factory.mktemp("tallied"), encoded_demo()) as made:
        yield made


@pytest.fixture(scope="module")
def browser(world: JoiningWorld) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def heard() -> Iterator[Overheard]:
    with overhearing() as found:
        yield found


@pytest.fixture(scope="module")
def clinic(
    browser: Browser, world: JoiningWorld, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    context = browser.new_context(base_url=world.web.url, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    page = enter_as_issuer(context, world, tmp_path_factory.mktemp("clinic"))
    page.get_by_role("button", name="Open the desk").click()
    expect(page.get_by_role("button", name="Renew the desk")).to_be_visible()
    yield page
    context.close()


@pytest.fixture(scope="module")
def patient(browser: Browser, world: JoiningWorld, heard: Overheard) -> Iterator[Page]:
    context = browser.new_context(
        base_url=world.web.url, proxy=heard.proxy, reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    page = context.new_page()
    page.goto(world.join)
    make_keys(page)
    page.wait_for_url(f"**{world.join}")
    yield page
    context.close()


def encoding_of(read: Dictionary) -> Encoding:
    assert read.encoding is not None
    return read.encoding


def joint_key(world: JoiningWorld) -> bytes:
    chain = world.custody.chain
    return chain.joint_key(int(chain.current_epoch()))[0][:33]


def on_the_way(patient: Page, clinic: Page, world: JoiningWorld) -> None:
    """A file is chosen, and the paper is read."""
    (code,) = desk_of(clinic, world).invites()
    patient.reload()
    choose_anything(patient)
    present(patient, code_text(code))


# --- whose key


def lies(told: Any) -> Any:
    """The same committee, with another joint key."""

    def change(text: str) -> str:
        document = json.loads(text)
        document["committee"]["joint_key"] = told
        return json.dumps(document)

    return lambda route: lie(route, change)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (OTHER_KEY, "names another common key than this site does"),
        pytest.param(
            OTHER_KEY[:-2], "as the custodians' common key is none", marks=pytest.mark.long
        ),
        pytest.param(None, "have not made their common key yet", marks=pytest.mark.long),
    ],
    ids=["the operator's own key", "no point", "none"],
)
def test_a_page_encrypts_under_no_key_that_custodians_do_not_confirm(
    patient: Page, clinic: Page, world: JoiningWorld, told: Any, said: str
) -> None:
    patient.route("**/deployment", lies(told))
    on_the_way(patient, clinic, world)
    expect(patient.locator("#invitation [data-refusal]")).to_contain_text(said)
    expect(patient.locator("#invitation [data-refusal]")).to_contain_text("Nothing was sealed.")
    expect(patient.locator("#last")).to_be_hidden()
    require_sound(patient)
    patient.unroute("**/deployment")
    patient.reload()


def test_custodians_that_do_not_know_the_key_yet_confirm_none(
    patient: Page, clinic: Page, world: JoiningWorld
) -> None:
    """One alone that does, is no quorum."""

    def silent(route: Route) -> None:
        answer = route.fetch()
        said = json.loads(answer.text())
        route.fulfill(response=answer, body=json.dumps({**said, "joint_key": None}))

    behind = [f"{url}/health" for url in world.web.site.custodians[1:]]
    for url in behind:
        patient.route(url, silent)
    on_the_way(patient, clinic, world)
    expect(patient.locator("#invitation [data-refusal]")).to_contain_text(
        "Only 1 of the custodians"
    )
    expect(patient.locator("#last")).to_be_hidden()
    for url in behind:
        patient.unroute(url)


# --- beside the page


def number_left(world: JoiningWorld) -> int:
    return world.api.operator.database.number_of_drafts()


@pytest.mark.long
def test_where_workers_are_refused_it_says_so_and_nothing_is_left(
    patient: Page, clinic: Page, world: JoiningWorld
) -> None:
    patient.route("**/tally/worker.js", lambda route: route.abort())
    on_the_way(patient, clinic, world)
    patient.get_by_role("button", name=SEAL).click()
    expect(patient.locator("#seal [data-refusal]")).to_contain_text("work beside itself")
    expect(patient.locator("#seal [data-refusal]")).to_contain_text("Nothing was sealed.")
    expect(patient.locator("#under-way")).to_be_hidden()
    assert number_left(world) == 0
    patient.unroute("**/tally/worker.js")


STALLED = "self.addEventListener('message', () => self.postMessage({ progress: 0.25 }));"
"""A worker that stays at a quarter for ever."""


@pytest.mark.long
def test_sealing_shows_how_far_it_is_and_can_be_cancelled_and_begun_again(
    patient: Page, clinic: Page, world: JoiningWorld
) -> None:
    stalled = {"content_type": "text/javascript", "body": STALLED}
    patient.route("**/tally/worker.js", lambda route: route.fulfill(**stalled))
    on_the_way(patient, clinic, world)
    patient.get_by_role("button", name=SEAL).click()
    bar = patient.get_by_role("progressbar", name="Sealing in this browser.")
    expect(bar).to_have_js_property("value", 0.25)
    expect(patient.locator("#how-it-goes")).to_have_text("Encrypting your values.")
    assert len(patient.workers) == 1
    require_sound(patient)
    patient.get_by_role("button", name="Cancel").click()
    expect(patient.locator("#how-it-goes")).to_contain_text("Sealing was cancelled.")
    expect(patient.get_by_role("button", name=SEAL)).to_be_focused()
    expect(patient.locator("#under-way")).to_be_hidden()
    require_no_worker(patient)
    assert number_left(world) == 0
    patient.unroute("**/tally/worker.js")
    patient.get_by_role("button", name=SEAL).click()
    expect(patient.locator("#news")).to_contain_text("waits for the clinic")
    patient.get_by_role("button", name="Take it back").click()
    expect(patient.locator("#said")).to_contain_text("Taken back")
    assert number_left(world) == 0


def require_no_worker(page: Page) -> None:
    """Its memory is the browser's again."""
    until = time.monotonic() + PATIENCE_MILLISECONDS / 1_000
    while page.workers and time.monotonic() < until:
        page.wait_for_timeout(50)
    assert page.workers == []


# --- what a clinic signs


def test_a_clinic_signs_for_no_columns_that_are_not_those_of_the_values_it_sees(
    clinic: Page, world: JoiningWorld
) -> None:
    """Both rows are within all bounds, and the proof holds: only the secret of the box shows it."""
    desk, liar = desk_of(clinic, world), Sealer(world.custody)
    (code,) = desk.invites()
    seen, summed = ({"systolic": Decimal(each)} for each in (120, 220))
    made = liar.seals(seen, code, desk.desk_key, encrypted=summed)
    drafts, whose = world.api.operator.drafts, (world.custody.dataset, liar.account.address)
    drafts.leave(*whose, code_hash(code), made.document, made.opening)
    clinic.goto(world.clinic)
    clinic.get_by_role("button", name="Open", exact=True).click()
    expect(clinic.locator("#opening")).to_contain_text("are others than those that this record")
    expect(clinic.locator("#attest")).to_be_hidden()
    clinic.get_by_text("Decline it instead").click()
    clinic.select_option("#why", "wrong_secret")
    clinic.get_by_role("button", name="Decline it", exact=True).click()
    expect(clinic.locator("#done")).to_contain_text("Declined")


# --- the whole way


def test_one_sealing_becomes_a_record_that_both_lanes_have(
    patient: Page, clinic: Page, world: JoiningWorld, heard: Overheard, tmp_path: Path
) -> None:
    bundle, read = bundles.marked_bundle(), world.custody.dictionary
    row = to_row(read, explained(bundle, read).values)
    on_the_way(patient, clinic, world)
    expect(patient.locator("#last")).to_contain_text(TWO_WAYS)
    require_sound(patient)
    with patient.expect_response("**/drafts") as left:
        patient.get_by_role("button", name=SEAL).click()
    expect(patient.locator("#news")).to_contain_text("waits for the clinic")
    require_no_worker(patient)
    sent: Any = left.value.request.post_data_json
    require_whole(sent["record"], world)

    attest(clinic, world, texts(explained(bundle, read).values), tmp_path)
    expect(patient.locator("#news")).to_contain_text("Registered.")
    account = Account.from_key(root_of(patient).patient_key(world.place))
    found = world.custody.chain.record_of(world.custody.dataset, account.address)
    assert any(found.commitment)
    values = encoding_of(read).values(row)
    assert opened(world, found.commitment) == [times_base(value) for value in values]
    take_along(patient, world, texts(explained(bundle, read).values))

    plain = encode_row(read, row)
    needles: list[str | bytes] = [
        *bundles.CANARIES,
        root_of(patient).raw,
        plain[1:19],
        plain[10:28],
    ]
    for needle in needles:
        assert heard.carrying(needle) == []
    assert heard.carrying("usufruct-record/2")  # what may be sent is heard: the ear works


def require_whole(document: dict[str, Any], world: JoiningWorld) -> None:
    """What was left is a record that the servers read, with a tally that they find valid."""
    sealed = records.load(json.dumps(document, separators=(",", ":"), sort_keys=True).encode())
    assert document["schema"] == "usufruct-record/2"
    assert sealed.tally is not None
    context = sealed.context.in_lane(Lane.HOMOMORPHIC).aad()
    encoding = encoding_of(world.custody.dictionary)
    assert require_valid([(sealed.tally, context)], encoding, joint_key(world)) == [None]


def attest(page: Page, world: JoiningWorld, values: dict[str, str], folder: Path) -> None:
    page.goto(world.clinic)
    page.get_by_role("button", name="Open", exact=True).click()
    expect(page.locator("#attest")).to_be_visible()
    assert shown_values(page) == values
    page.get_by_text("Attest it on the command line").click()
    assert json.loads(saved(page, "Save it, sealed", folder))["record"]["tally"]
    page.fill("#number", "7")
    page.get_by_role("button", name="Attest it").click()
    expect(page.locator("#done")).to_contain_text("Attested; the custodians hold it.")


def opened(world: JoiningWorld, commitment: bytes) -> list[Point]:
    """v G of every column of this record alone, by a custodian's copy and two others' shares of the key."""
    columns, key = len(encoding_of(world.custody.dictionary).columns), joint_key(world)
    forms = [{at: 1} for at in range(columns)]
    sums = world.custodians[0].tallies.sums(world.custody.dataset, key, [commitment], forms)
    epoch = int(world.custody.chain.current_epoch())
    shares = [each.joint_shares.of(epoch) for each in world.custodians[1:]]
    factors = lagrange([share.index for share in shares])
    scalars = [share.value * factors[share.index] for share in shares]
    return [each.value - total([each.key * scalar for scalar in scalars]) for each in sums]


def take_along(page: Page, world: JoiningWorld, values: dict[str, str]) -> None:
    page.goto(f"/me/{world.api.dataset}/export")
    page.get_by_role("button", name="Open it in this browser").click()
    expect(page.locator("#values-title")).to_be_focused()
    assert shown_values(page) == values
