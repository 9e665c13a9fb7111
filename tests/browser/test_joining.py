"""From a FHIR bundle to an attested record, and back out: in two browsers, with real custodians."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from marketplace.fhir.extract import explained
from marketplace.sealing.row import to_row
from marketplace.wire.browser_keys import new_root
from marketplace.wire.dictionary import encode_row, from_json
from marketplace.wire.http import to_hex
from marketplace.wire.opening import code_hash, code_text, new_code, read_code
from tests.support import bundles
from tests.support.browser_keys import PASSPHRASE
from tests.support.chain_world import account
from tests.support.daily import daily
from tests.support.joining_world import (
    CLINIC_NAME,
    JoiningWorld,
    enter_as_issuer,
    invitation,
    joining_world,
    make_keys,
    root_of,
)
from tests.support.left_drafts import Browser as Sealer
from tests.support.left_drafts import Clinic
from tests.support.looking import COLOURS, NARROW, WIDE, Looked
from tests.support.overheard import Overheard, overhearing
from tools.browser import PATIENCE_MILLISECONDS, chromium

NUMBER = "MRN-7741-canary"
LEFT_OUT = "triglycerides"
MOST = 5 * 1024 * 1024
SCRIPT = "<img src=x onerror='window.ran = 1'>"
TURNED = "\u202e\u2066"
WHO = "() => fetch('/session', {headers: {Accept: 'application/json'}}).then(a => a.json())"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JoiningWorld]:
    with joining_world(tmp_path_factory.mktemp("joining")) as made:
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
def faults() -> Iterator[list[str]]:
    found: list[str] = []
    yield found
    assert found == []


def context_of(
    browser: Browser, world: JoiningWorld, heard: Overheard, faults: list[str]
) -> BrowserContext:
    opened = browser.new_context(base_url=world.web.url, proxy=heard.proxy, reduced_motion="reduce")
    opened.set_default_timeout(PATIENCE_MILLISECONDS)
    opened.on("weberror", lambda error: faults.append(str(error.error)))
    return opened


@pytest.fixture(scope="module")
def clinic(
    browser: Browser,
    world: JoiningWorld,
    heard: Overheard,
    faults: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Page]:
    """The issuer's page, its desk open."""
    context = context_of(browser, world, heard, faults)
    page = enter_as_issuer(context, world, tmp_path_factory.mktemp("clinic"))
    require_sound(page)
    page.get_by_role("button", name="Open the desk").click()
    expect(page.get_by_role("button", name="Renew the desk")).to_be_visible()
    yield page
    context.close()


@pytest.fixture(scope="module")
def patient(
    browser: Browser, world: JoiningWorld, heard: Overheard, faults: list[str]
) -> Iterator[Page]:
    """A newcomer, on the page that asks for a bundle."""
    context = context_of(browser, world, heard, faults)
    page = context.new_page()
    page.goto(world.join)
    make_keys(page)
    page.wait_for_url(f"**{world.join}")
    yield page
    context.close()


# --- what people see and do


def require_sound(page: Page) -> None:
    """axe finds nothing, light and dark, and nothing sticks out where the page is narrow; it is left wide."""
    looked = Looked(page)
    looked.dress(NARROW)
    assert looked.violations() == []
    assert looked.beyond() == []
    looked.dress(NARROW, "dark")
    assert looked.violations(COLOURS) == []
    looked.dress(WIDE)


def drop(page: Page, bundle: bytes, name: str = "bundle.json") -> None:
    """As a mouse does: onto the field, not through its button."""
    expect(page.locator("#sealing")).to_be_visible()
    page.evaluate(
        """([name, text]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([text], name, {type: "application/json"}));
            document.querySelector(".file-drop").dispatchEvent(
                new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true}));
        }""",
        [name, bundle.decode()],
    )


def choose(page: Page, folder: Path, content: bytes, name: str = "bundle.json") -> None:
    expect(page.locator("#sealing")).to_be_visible()
    (folder / name).write_bytes(content)
    page.set_input_files("#bundle", folder / name)


def shown_values(page: Page) -> dict[str, str]:
    """Number or category by variable, without its unit."""
    found: dict[str, str] = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll("[data-value]")]
            .map(each => [each.dataset.value, each.textContent.split(" ")[0]]))"""
    )
    return found


def shown_missing(page: Page) -> set[str]:
    found: list[str] = page.evaluate(
        "() => [...document.querySelectorAll('[data-missing]')].map(each => each.dataset.missing)"
    )
    return set(found)


def texts(values: dict[str, Any]) -> dict[str, str]:
    """As Python extracted them."""
    return {name: str(value) for name, value in values.items() if value is not None}


def refused_at_the_file(page: Page, said: str) -> None:
    expect(page.locator("#bundle-error")).to_contain_text(said)
    expect(page.locator("#preview")).to_be_hidden()


# --- before anything is sealed


def test_what_is_no_bundle_is_refused_at_the_file(
    patient: Page, heard: Overheard, tmp_path: Path
) -> None:
    require_sound(patient)
    choose(patient, tmp_path, b"{" + b" " * MOST, "large.json")
    refused_at_the_file(patient, "5,242,881 bytes")
    choose(patient, tmp_path, b"PK\x03\x04 canary of an archive", "bundle.zip")
    refused_at_the_file(patient, "is no JSON")
    choose(patient, tmp_path, b'{"resourceType": "Patient"}', "patient.json")
    refused_at_the_file(patient, "$.resourceType is not Bundle")
    choose(patient, tmp_path, b'{"box": "0x12", "schema": "usufruct-keys/1"}', "keys.json")
    refused_at_the_file(patient, "a file of keys, and no health results")
    choose(patient, tmp_path, bundles.two_patients(), "ward.json")
    refused_at_the_file(patient, "holds 2 patients")
    assert heard.carrying("canary of an archive") == []


def test_a_value_out_of_bounds_or_in_another_unit_is_refused_at_its_variable(
    patient: Page, tmp_path: Path
) -> None:
    choose(patient, tmp_path, bundles.spoiled_bundle(), "spoiled.json")
    expect(patient.locator('.error[data-variable="cholesterol"]')).to_contain_text(
        "outside 50 to 500"
    )
    expect(patient.locator('.error[data-variable="ldl"]')).to_contain_text("'mmol/L'")
    expect(patient.locator("#counted")).to_contain_text("8 of 10 values will be sealed, 2 refused.")
    assert {"cholesterol", "ldl"}.isdisjoint(shown_values(patient))


def test_an_invitation_that_nobody_made_leads_to_no_clinic(patient: Page) -> None:
    patient.fill("#code", "0000000-0000000")
    patient.get_by_role("button", name="Look up the clinic").click()
    expect(patient.locator("#code-error")).to_contain_text("28 letters and digits")
    expect(patient.locator("#last")).to_be_hidden()


def present(patient: Page, code: str) -> None:
    """What the paper shows."""
    patient.fill("#code", code)
    patient.get_by_role("button", name="Look up the clinic").click()


@pytest.mark.long
def test_a_patient_is_led_to_the_clinic_of_the_paper_alone(
    patient: Page, clinic: Page, world: JoiningWorld
) -> None:
    """The operator has an issuer of its own, with a desk; but not the code."""
    made, other = desk_of(clinic, world), account("the operator's own clinic")
    world.custody.sender.send("DatasetRegistry", "addIssuer", world.custody.dataset, other.address)
    (code,) = made.invites()
    own = replace(made, issuer=other, root=new_root()).desk()
    others = made.vouches(new_code())[0].to_json()
    patient.reload()
    choose_anything(patient)
    for shown, lies in ((other, own), (made.issuer, {"voucher": others})):
        patient.route("**/invitations", lying(lies))
        present(patient, code_text(code))
        expect(patient.locator("#code-error")).to_contain_text("is not what your clinic saw")
        expect(patient.locator("#code-error")).to_contain_text(shown.address)
        expect(patient.locator("#last")).to_be_hidden()
        patient.unroute("**/invitations")
        require_sound(patient)
    patient.reload()


def lying(lies: dict[str, Any]) -> Callable[[Route], None]:
    return lambda route: lie(route, lambda told: json.dumps({**json.loads(told), **lies}))


# --- when somebody lies


def desk_of(clinic: Page, world: JoiningWorld) -> Clinic:
    """The clinic in Python, with the keys of its browser."""
    custody = world.custody
    custodians = world.web.site.custodians
    return Clinic(custody, world.api.operator.drafts, custody.issuer, root_of(clinic), custodians)


def lie(route: Route, change: Callable[[str], str]) -> None:
    answer = route.fetch()
    told = change(answer.text())
    assert told != answer.text()
    route.fulfill(response=answer, body=told)


LIES: dict[str, tuple[str, Callable[[str], str], str]] = {
    "another key for the desk": (
        "**/invitations",
        lambda told: re.sub(r'("key": ?"0x)..', r"\g<1>5e", told),
        "The signature is not that of",
    ),
    "one custodian is enough": (
        "**/deployment",
        lambda told: re.sub(r'("quorum": ?)[0-9]+', r"\g<1>1", told),
        "its places or its quorum are wrong",
    ),
    "keys of the operator's for the custodians'": (
        "**/deployment",
        lambda told: re.sub(r'("key": ?"0x)..', r"\g<1>5e", told),
        "is not what your clinic saw",
    ),
    "one custodian more than that": (
        "**/deployment",
        lambda told: re.sub(r'("quorum": ?)[0-9]+', r"\g<1>3", told),
        "is not what your clinic saw",
    ),
    "an earlier committee than the clinic's": (
        "**/invitations",
        lambda told: re.sub(r'("epoch": ?)[0-9]+', r"\g<1>7", told),
        "The custodians are others than when the clinic made this invitation",
    ),
    "an invitation for which nobody vouches": (
        "**/invitations",
        lambda told: told.replace('"voucher"', '"other"'),
        "is not what your clinic saw",
    ),
    "other bounds": (
        "**/join",
        lambda told: told.replace("260&#34;", "999&#34;"),
        "is not the one on chain",
    ),
}


@pytest.mark.parametrize(
    "told",
    daily(
        LIES,
        [
            "keys of the operator's for the custodians'",
            "one custodian is enough",
            "an invitation for which nobody vouches",
        ],
    ),
)
def test_what_an_operator_makes_up_is_refused_before_anything_is_sealed(
    patient: Page, clinic: Page, world: JoiningWorld, told: str
) -> None:
    where, change, said = LIES[told]
    (code,) = desk_of(clinic, world).invites()
    patient.route(where, lambda route: lie(route, change))
    patient.reload()
    if told != "other bounds":
        choose_anything(patient)
        present(patient, code_text(code))
    expect(patient.locator("main")).to_contain_text(said)
    expect(patient.locator("#last")).to_be_hidden()
    patient.unroute(where)
    patient.reload()


def test_a_record_is_bound_to_no_address_but_the_one_that_signed_in(
    patient: Page, clinic: Page, world: JoiningWorld
) -> None:
    """Whose address it is bound to has the record, its consent and its earnings."""
    (code,) = desk_of(clinic, world).invites()
    facts = re.compile(r"(account&#34;: ?&#34;)0x[0-9a-fA-F]{40}")
    other = world.custody.issuer.address
    patient.route(
        "**/join", lambda route: lie(route, lambda told: facts.sub(rf"\g<1>{other}", told))
    )
    patient.reload()
    choose_anything(patient)
    present(patient, code_text(code))
    patient.get_by_role("button", name="Seal and leave it for the clinic").click()
    expect(patient.locator("main")).to_contain_text("about another consent than its address")
    assert world.api.operator.database.number_of_drafts() == 0
    patient.unroute("**/join")
    patient.reload()


def choose_anything(page: Page) -> None:
    drop(page, bundles.marked_bundle())
    expect(page.locator("#preview")).to_be_visible()


def test_a_draft_whose_secret_is_another_does_not_open_and_is_declined(
    clinic: Page, world: JoiningWorld
) -> None:
    desk, liar = desk_of(clinic, world), Sealer(world.custody)
    (code,) = desk.invites()
    values = {"systolic": Decimal(121)}
    left = liar.seals(values, code, desk.desk_key, shown=77)
    drafts, whose = world.api.operator.drafts, (world.custody.dataset, liar.account.address)
    drafts.leave(*whose, code_hash(code), left.document, left.opening)
    clinic.reload()
    clinic.get_by_role("button", name="Open", exact=True).click()
    expect(clinic.locator("#opening")).to_contain_text("custodians hold parts of another secret")
    expect(clinic.locator("#attest")).to_be_hidden()
    clinic.get_by_text("Decline it instead").click()
    clinic.get_by_role("button", name="Decline it", exact=True).click()
    expect(clinic.locator("#why-error")).to_contain_text("not chosen")
    clinic.select_option("#why", "wrong_secret")
    clinic.get_by_role("button", name="Decline it", exact=True).click()
    expect(clinic.locator("#done")).to_contain_text("Declined")
    progress = drafts.progress(*whose)
    assert progress is not None
    assert progress.state == "declined"


def test_all_that_is_wrong_with_invitations_is_said_at_once(clinic: Page) -> None:
    clinic.fill("#number_of_codes", "0")
    clinic.fill("#days", "31")
    clinic.get_by_role("button", name="Make invitations").click()
    expect(clinic.locator("#invite .error")).to_have_count(2)
    expect(clinic.locator("#days-error")).to_contain_text("from 1 to 30")
    expect(clinic.locator("#number_of_codes")).to_be_focused()
    clinic.fill("#number_of_codes", "1")
    clinic.fill("#days", "14")


# --- the whole way

HELD = """() => {
  const [decrypt, ask] = [crypto.subtle.decrypt.bind(crypto.subtle), window.fetch];
  const held = new Promise((done) => (window.letGo = done));
  window.fetch = async (url, ...more) => {
    const answer = await ask(url, ...more);
    const later = (...given) => held.then(() => decrypt(...given));
    if (String(url).endsWith("/open")) crypto.subtle.decrypt = later;
    return answer;
  };
}"""
"""A browser that takes its time to decrypt what it got."""


def test_a_draft_is_taken_back_before_the_clinic_attests_it(
    patient: Page, clinic: Page, world: JoiningWorld
) -> None:
    """Also by somebody who left it, closed the page, and came back."""
    (code,) = desk_of(clinic, world).invites()
    choose_anything(patient)
    present(patient, code_text(code))
    patient.get_by_role("button", name="Seal and leave it for the clinic").click()
    expect(patient.locator("#news")).to_contain_text("waits for the clinic")
    expect(patient.locator("#said a[href='/keys']")).to_contain_text("knows of no copy")
    patient.goto("/")
    patient.goto(world.join)
    expect(patient.locator("#news")).to_contain_text("waits for the clinic")
    expect(patient.locator("#sealing")).to_be_hidden()
    patient.get_by_role("button", name="Take it back").click()
    expect(patient.locator("#said")).to_contain_text("Taken back")
    expect(patient.locator("#said")).to_be_focused()
    expect(patient.locator("#way")).to_be_hidden()
    who = Account.from_key(root_of(patient).patient_key(world.place)).address
    assert world.api.operator.drafts.progress(world.custody.dataset, who) is None


def test_a_bundle_becomes_an_attested_record_and_leaves_again(
    patient: Page, clinic: Page, world: JoiningWorld, heard: Overheard, tmp_path: Path
) -> None:
    bundle = bundles.marked_bundle()
    found = explained(bundle, world.custody.dictionary)
    drop(patient, bundle)
    expect(patient.locator("#counted")).to_contain_text("9 of 10 values will be sealed, 1 missing.")
    assert shown_values(patient) == texts(found.values)
    assert shown_missing(patient) == set(found.missing) == {"ldl"}
    assert {"bmi", "hba1c"} == set(found.rounded)
    assert patient.get_by_text("Rounded to 1 decimal.").count() == len(found.rounded)
    require_sound(patient)

    patient.locator(f"#leave-{LEFT_OUT}").check()
    expect(patient.locator("#counted")).to_contain_text("8 of 10 values will be sealed")
    sealed = {**found.values, LEFT_OUT: None}
    code = invitation(clinic)
    require_sound(clinic)
    require_prints_alone(clinic)
    present(patient, code.lower())
    expect(patient.locator("#desk")).to_contain_text(world.custody.issuer.address)
    # An earlier test's draft may have left the same news.
    with patient.expect_response("**/drafts"):
        patient.get_by_role("button", name="Seal and leave it for the clinic").click()
    expect(patient.locator("#news")).to_contain_text("waits for the clinic")
    require_sound(patient)

    attest(clinic, code, texts(sealed), tmp_path)
    expect(patient.locator("#news")).to_contain_text("Registered.")
    expect(patient.locator(".stages li[data-state=done]")).to_have_count(3 + 3)
    require_stored(patient, world)
    take_along(patient, world, texts(sealed), tmp_path)
    erase(patient, world)

    row = encode_row(world.custody.dictionary, to_row(world.custody.dictionary, sealed))
    texts_of_it = (*bundles.CANARIES, NUMBER, CLINIC_NAME, PASSPHRASE, code, code.replace("-", ""))
    keys = (read_code(code), root_of(patient).raw, root_of(clinic).raw)
    needles: list[str | bytes] = [*texts_of_it, *keys, row[1:19], row[10:28]]
    for needle in needles:
        assert heard.carrying(needle) == []
    assert heard.carrying("usufruct-record/1")  # what may be sent is heard: the ear works


def require_prints_alone(page: Page) -> None:
    """Nothing but invitations comes out of the printer."""
    page.emulate_media(media="print")
    expect(page.locator(".slip")).to_be_visible()
    expect(page.locator(".slip")).to_contain_text(f"From {CLINIC_NAME}")
    expect(page.locator(".slip")).to_contain_text("/datasets, choose “")
    expect(page.locator(".slip")).to_contain_text("ask us for them as “FHIR, as JSON”")
    for other in ("h1", ".site-header", "#invite", "#desk", "#print"):
        expect(page.locator(other)).to_be_hidden()
    page.emulate_media(media="screen")


def attest(page: Page, code: str, values: dict[str, str], folder: Path) -> None:
    """As somebody at the clinic does: open, compare, sign."""
    page.reload()
    with page.expect_response("**/open"):
        page.evaluate(HELD)
        page.get_by_role("button", name="Open", exact=True).click()
    expect(page.locator("#draft")).to_be_visible()
    expect(page.locator("#attest")).to_be_hidden()  # nothing to attest before it is seen
    page.evaluate("letGo()")
    expect(page.locator("#draft-code")).to_contain_text(code)
    assert shown_values(page) == values
    assert shown_missing(page) == {"ldl", LEFT_OUT}
    require_sound(page)
    page.get_by_text("Attest it on the command line").click()
    left = json.loads(saved(page, "Save it, sealed", folder))
    assert left["record"]["schema"] == "usufruct-record/1"
    assert set(left) == {"record", "opening"}
    page.get_by_role("button", name="Attest it").click()
    expect(page.locator("#number-error")).to_contain_text("“Your number of this patient” is empty")
    page.fill("#number", NUMBER)
    page.get_by_role("button", name="Attest it").click()
    expect(page.locator("#done")).to_contain_text("Attested")
    expect(page.get_by_role("table", name="Waiting records")).to_have_count(
        0
    )  # no head over nothing
    expect(page.get_by_role("link", name="Look whether more wait")).to_be_visible()


def require_stored(page: Page, world: JoiningWorld) -> None:
    """On chain, at every custodian, bound to the address that Python derives from the same root; and a grant
    of that address is taken."""
    account = Account.from_key(root_of(page).patient_key(world.place))
    record = world.custody.chain.record_of(world.custody.dataset, account.address)
    assert any(record.commitment)
    for custodian in world.custodians:
        assert custodian.journal.share(record.commitment) is not None
    world.custody.tick()
    granted = world.api.post("/messages", {"messages": [world.api.grant_message(account)]})
    assert granted.get_json()["outcomes"][0]["outcome"] == "relayed", granted.get_json()


def take_along(page: Page, world: JoiningWorld, values: dict[str, str], folder: Path) -> None:
    page.goto(f"/me/{world.api.dataset}/export")
    page.get_by_role("button", name="Open it in this browser").click()
    expect(page.locator("#values-title")).to_be_focused()
    assert shown_values(page) == values
    require_sound(page)
    document = json.loads(saved(page, "Save all of it (JSON)", folder))
    assert document["schema"] == "usufruct-export/1"
    taken = {each["name"]: each["value"] for each in document["values"]}
    assert {name: value for name, value in taken.items() if value is not None} == values
    assert document["record"]["header"]["patient"] == document["address"]
    assert document["consent"]["state"] == "live"
    assert {"attested", "stored", "granted"} <= {each["kind"] for each in document["timeline"]}
    rows = saved(page, "Save the values (CSV)", folder).decode().splitlines()
    assert "systolic,Systolic blood pressure,128,mmHg" in rows
    assert saved(page, "Save the timeline (CSV)", folder).startswith(b"kind,")


def saved(page: Page, button: str, folder: Path) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    download.value.save_as(folder / "saved")
    return (folder / "saved").read_bytes()


def erase(page: Page, world: JoiningWorld) -> None:
    """Only with the dataset's name; then no custodian has a share."""
    account = Account.from_key(root_of(page).patient_key(world.place))
    record = world.custody.chain.record_of(world.custody.dataset, account.address)
    page.goto(f"/me/{world.api.dataset}/erase")
    require_sound(page)
    page.fill("#confirmation", "my record")
    page.get_by_role("button", name="Erase my record for ever").click()
    expect(page.locator("#confirmation-error")).to_contain_text("not the name of the dataset")
    assert any(world.custody.chain.record_of(world.custody.dataset, account.address).commitment)
    page.fill("#confirmation", world.custody.dictionary.name)
    page.get_by_role("button", name="Erase my record for ever").click()
    expect(page.locator("#said")).to_contain_text("3 of 3 custodians")
    expect(page.locator("#gone")).to_contain_text("So says this site, the custodian at 127.0.0.1:")
    expect(page.locator("#gone")).to_contain_text("Each looked for itself.")
    for custodian in world.custodians:
        assert custodian.journal.share(record.commitment) is None
        assert custodian.journal.is_erased(record.commitment)
    world.api.operator.erasures.catch_up()
    expect(page.locator("#gone")).to_contain_text("Deleted, as the operator says.")
    require_sound(page)
    page.reload()  # by now the chain names no record to ask after
    expect(page.locator("#gone")).to_contain_text("Deleted, as the operator says.")
    consent = world.api.operator.reads.consent(world.custody.dataset, account.address)
    assert consent["state"] == "none"


def test_another_dataset_gets_another_address_and_its_stewards_words_are_shown_and_never_run(
    patient: Page, world: JoiningWorld, tmp_path: Path
) -> None:
    hostile = publish_hostile(world)
    before = patient.evaluate(WHO)["account"]
    patient.goto(f"/me/{hostile}/join")
    patient.fill("#passphrase", PASSPHRASE)
    patient.get_by_role("button", name="Unlock").click()
    # By the whole URL: that of the page that signs in ends with this path, too.
    patient.wait_for_url(f"{world.web.url}/me/{hostile}/join")
    expect(patient.locator("#sealing")).to_be_visible()
    assert patient.evaluate(WHO)["account"] != before
    choose(patient, tmp_path, bundles.marked_bundle())
    expect(patient.locator("#counted")).to_contain_text("values will be sealed")
    text = patient.locator("main").inner_text()
    assert SCRIPT in text
    assert not set(text) & set(TURNED)
    assert patient.evaluate("() => window.ran") is None
    assert patient.locator("main img").count() == 0
    require_sound(patient)
    require_asked_before_another_account(patient, world, before)


def require_asked_before_another_account(page: Page, world: JoiningWorld, other: str) -> None:
    """The keys are unlocked, so that any link, also of another site, could change who is signed in."""
    now = page.evaluate(WHO)["account"]
    page.goto(f"/sign-in?next={world.join}")
    expect(page.locator("#choose-title")).to_have_text("Sign in as another of your accounts?")
    expect(page.locator("#accounts")).to_contain_text(now)
    expect(page.locator("#accounts")).to_contain_text(other)
    assert page.evaluate(WHO)["account"] == now
    page.locator("#choose button").click()
    page.wait_for_url(f"{world.web.url}{world.join}")
    assert page.evaluate(WHO)["account"] == other
    require_sound(page)


def publish_hostile(world: JoiningWorld) -> str:
    """A dataset with labels that are an attack, turn text around, or do not fit."""
    document = json.loads(world.custody.dictionary.to_bytes())
    labels = (SCRIPT, f"abc{TURNED}def", "W" * 200)
    for variable, label in zip(document["variables"], labels, strict=False):
        variable["label"] = label
    dictionary = from_json(document)
    sent = world.custody.sender.send(
        "DatasetRegistry", "publishDataset", dictionary.hash(), bytes(31) + b"\x02", "file:///h"
    )
    world.api.operator.dictionaries.keep(dictionary.to_bytes())
    return to_hex(sent.event("DatasetPublished").args["dataset"])
