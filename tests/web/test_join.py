"""Leaving a sealed record, following it, taking it along, erasing it: what pages take and refuse."""

import itertools
import json
import re
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from werkzeug.test import TestResponse

from marketplace.store import DraftState
from marketplace.wire import record
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.opening import IssuerDesk, code_hash, new_code
from marketplace.wire.record import open_box
from marketplace.wire.structs import Erasure, Rotation, require_signed, sign
from marketplace.wire.voucher import Voucher
from tests.support.api_world import ApiWorld, api_world
from tests.support.chain_world import account
from tests.support.left_drafts import Browser as Sealer
from tests.support.left_drafts import Clinic, Left
from tests.support.web_browser import HTML, Browser
from tests.support.web_world import WebWorld, web_world
from web import streams
from web.rules import DRAFT, RULES

ADDRESSES = itertools.count(1)
VALUES = {"systolic": Decimal(131), "smoker": "yes"}
TABLES = ("drafts", "draft_log", "records", "confirmations")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    with api_world(tmp_path_factory.mktemp("join")) as api, web_world(api) as made:
        yield made


@pytest.fixture(scope="module")
def api(world: WebWorld) -> ApiWorld:
    return world.api


@pytest.fixture(scope="module")
def clinic(api: ApiWorld) -> Clinic:
    made = Clinic(api.custody, api.operator.drafts, api.custody.issuer)
    made.opens_desk()
    return made


@pytest.fixture
def sealer(api: ApiWorld) -> Sealer:
    """Somebody new."""
    return Sealer(api.custody)


@pytest.fixture
def browser(world: WebWorld, sealer: Sealer) -> Browser:
    return visitor(world).sign_in(sealer.account)


def visitor(world: WebWorld) -> Browser:
    """At a network address of its own, so that nobody is limited by another."""
    return Browser(world, address=f"198.51.100.{next(ADDRESSES)}")


def path(api: ApiWorld, what: str) -> str:
    return f"/me/{api.dataset}/{what}"


def left(sealer: Sealer, clinic: Clinic, **changes: Any) -> Left:
    """Sealed under a fresh invitation, not sent yet."""
    (code,) = clinic.invites()
    return sealer.seals(VALUES, code, clinic.desk_key, **changes)


def body(made: Left, **changes: Any) -> dict[str, Any]:
    given = {
        "record": made.document,
        "opening": to_base64(made.opening),
        "code": to_hex(code_hash(made.code)),
    }
    return {**given, **changes}


def rows(api: ApiWorld) -> dict[str, list[Any]]:
    with api.operator.database.engine.connect() as connection:
        return {
            table: list(connection.exec_driver_sql(f"SELECT * FROM {table}").fetchall())
            for table in TABLES
        }


def refusal(answer: TestResponse) -> tuple[str, str | None]:
    document = answer.get_json()
    assert answer.mimetype == "application/problem+json", document
    assert document["remedy"]
    return document["code"], document.get("field")


def attest(api: ApiWorld, clinic: Clinic, made: Left, number: str) -> None:
    commitment, issuer = made.record.commitment, clinic.issuer.address
    api.operator.drafts.opened(api.custody.dataset, issuer, commitment)
    word = clinic.attestation(made.record, number)
    api.operator.drafts.attest(api.custody.dataset, issuer, commitment, *word)


# --- leaving


def test_the_page_says_what_is_asked_and_what_a_browser_needs_to_seal_it(
    api: ApiWorld, browser: Browser, sealer: Sealer
) -> None:
    page = browser.look(path(api, "join")).get_data(as_text=True)
    assert "Systolic blood pressure" in page
    assert "nobody opens your record" not in page  # this dataset has the vault lane alone
    facts = browser.facts(path(api, "join"))
    assert facts["account"] == sealer.account.address
    assert facts["dictionary"]["schema"] == "usufruct-dictionary/1"
    assert facts["dictionary_hash"] == to_hex(api.custody.dictionary.hash())
    assert facts["issuers"] == [api.custody.issuer.address]
    assert (facts["version"], facts["progress"], facts["has_record"]) == (1, None, False)


def test_an_invitation_leads_to_the_signed_desk_of_whoever_made_it(
    api: ApiWorld, browser: Browser, clinic: Clinic
) -> None:
    (code,) = clinic.invites()
    found = browser.post(path(api, "invitations"), {"code": to_hex(code_hash(code))}).get_json()
    statement = IssuerDesk.from_json(found["desk"], "desk.")
    domain = api.operator.chain.domain("DatasetRegistry")
    require_signed(statement, domain, bytes.fromhex(found["signature"][2:]), clinic.issuer.address)
    assert (found["issuer"], statement.key) == (clinic.issuer.address, clinic.desk_key)
    voucher = Voucher.from_json(found["voucher"])
    assert [voucher] == clinic.vouches(code)
    assert statement.until > time.time()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"code": to_hex(code_hash(new_code()))}, ("code_unusable", "code")),
        ({"code": "0x12"}, ("bad_parameter", "code")),
        ({"code": 7}, ("bad_parameter", "code")),
        ({}, ("bad_parameter", "body.code")),
        ([], ("bad_parameter", "body")),
    ],
)
def test_what_is_no_invitation_leads_nowhere(
    api: ApiWorld, browser: Browser, given: Any, expected: tuple[str, str]
) -> None:
    assert refusal(browser.post(path(api, "invitations"), given)) == expected


def test_an_invitation_that_somebody_else_used_is_refused_before_anything_is_sealed(
    world: WebWorld, api: ApiWorld, browser: Browser, sealer: Sealer, clinic: Clinic
) -> None:
    made = left(sealer, clinic)
    looked_up = {"code": to_hex(code_hash(made.code))}
    assert browser.post(path(api, "drafts"), body(made)).status_code == 200
    assert browser.post(path(api, "invitations"), looked_up).status_code == 200
    other = visitor(world).sign_in(account("another person with the same paper"))
    assert refusal(other.post(path(api, "invitations"), looked_up)) == ("code_unusable", "code")
    browser.post(path(api, "drafts/taken-back"), {})
    assert refusal(browser.post(path(api, "invitations"), looked_up)) == ("code_unusable", "code")


def test_a_record_is_left_attested_and_followed_to_the_custodians(
    api: ApiWorld, browser: Browser, sealer: Sealer, clinic: Clinic
) -> None:
    made = left(sealer, clinic)
    answer = browser.post(path(api, "drafts"), body(made))
    assert answer.status_code == 200, answer.get_json()
    waiting = browser.get(path(api, "progress/now")).get_json()
    assert waiting["progress"] == answer.get_json()
    assert (waiting["progress"]["state"], waiting["progress"]["places"]) == ("waiting", [])
    assert first_event(browser.get(path(api, "progress"))) == waiting
    attest(api, clinic, made, "P-1")
    stored = browser.get(path(api, "progress/now")).get_json()
    assert (stored["progress"]["state"], stored["progress"]["places"]) == ("stored", [0, 1, 2])
    assert (stored["version"], stored["has_record"]) == (2, True)


def first_event(stream: TestResponse) -> Any:
    """Read off the wire; the stream is closed then."""
    read = ""
    for chunk in stream.iter_encoded():
        read += chunk.decode()
        found = re.search(r"^event: draft\ndata: (.*)\n\n", read, re.MULTILINE)
        if found:
            stream.close()
            return json.loads(found[1])
    raise AssertionError(read)


def test_a_stream_of_progress_holds_one_of_the_places_of_all_pages_until_it_ends(
    world: WebWorld, api: ApiWorld, browser: Browser
) -> None:
    with world.pages.app_context():
        places = streams.streams().places
    stream = browser.get(path(api, "progress"))
    assert next(iter(stream.iter_encoded())) == b"retry: 1000\n\n"
    assert places.taken() == 1
    stream.close()
    assert places.taken() == 0


def test_the_same_record_left_twice_is_one_draft(
    api: ApiWorld, browser: Browser, sealer: Sealer, clinic: Clinic
) -> None:
    made = left(sealer, clinic)
    first = browser.post(path(api, "drafts"), body(made))
    before = rows(api)
    assert browser.post(path(api, "drafts"), body(made)).get_json() == first.get_json()
    assert rows(api) == before


@pytest.mark.parametrize("is_opened", [False, True])
def test_a_draft_is_taken_back_and_the_next_needs_another_invitation(
    api: ApiWorld, browser: Browser, sealer: Sealer, clinic: Clinic, is_opened: bool
) -> None:
    made = left(sealer, clinic)
    browser.post(path(api, "drafts"), body(made))
    if is_opened:
        commitment, issuer = made.record.commitment, clinic.issuer.address
        api.operator.drafts.opened(api.custody.dataset, issuer, commitment)
    taken = browser.post(path(api, "drafts/taken-back"), {})
    assert taken.get_json() == {"progress": None, "version": 1, "has_record": False}
    assert browser.post(path(api, "drafts/taken-back"), {}).get_json() == taken.get_json()
    assert api.operator.database.draft(to_hex(made.record.commitment)) is None
    again = sealer.seals(VALUES, made.code, clinic.desk_key)
    assert refusal(browser.post(path(api, "drafts"), body(again)))[0] == "code_unusable"
    assert browser.post(path(api, "drafts"), body(left(sealer, clinic))).status_code == 200


def test_what_a_clinic_attested_is_not_taken_back_and_nobody_takes_back_anothers(
    world: WebWorld, api: ApiWorld, browser: Browser, sealer: Sealer, clinic: Clinic
) -> None:
    made = left(sealer, clinic)
    browser.post(path(api, "drafts"), body(made))
    other = visitor(world).sign_in(Sealer(api.custody).account)
    assert other.post(path(api, "drafts/taken-back"), {}).status_code == 200
    name, database = to_hex(made.record.commitment), api.operator.database
    for state in (DraftState.OPENED, DraftState.ATTESTED):
        assert database.move_draft(name, state, because="as it would be")
    before = rows(api)
    assert refusal(browser.post(path(api, "drafts/taken-back"), {}))[0] == "draft_attested"
    assert rows(api) == before


def test_custodians_confirmations_are_told_one_by_one(
    api: ApiWorld, browser: Browser, sealer: Sealer, clinic: Clinic
) -> None:
    made, database = left(sealer, clinic), api.operator.database
    browser.post(path(api, "drafts"), body(made))
    epoch, name = api.operator.chain.current_epoch(), to_hex(made.record.commitment)
    for place in range(2):
        database.confirm_part(name, epoch, place, 1)
        told = browser.get(path(api, "progress/now")).get_json()["progress"]
        assert told["places"] == list(range(place + 1))


BROKEN: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "no record": ({"record": 7}, ("record_unreadable", "record.schema")),
    "short opening": ({"opening": to_base64(b"short")}, ("opening_unreadable", "opening")),
    "opening of nonsense": ({"opening": "no base64!"}, ("bad_parameter", "opening")),
    "opening too long": ({"opening": to_base64(bytes(5_000))}, ("bad_parameter", "opening")),
    "no hash": ({"code": "0x00"}, ("bad_parameter", "code")),
    "nobody's code": ({"code": "0x" + "5e" * 32}, ("code_unusable", "code")),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_draft_that_is_broken_is_refused_at_its_field_and_nothing_is_kept(
    api: ApiWorld, browser: Browser, sealer: Sealer, clinic: Clinic, broken: str
) -> None:
    changes, expected = BROKEN[broken]
    made, before = left(sealer, clinic), rows(api)
    code, field = refusal(browser.post(path(api, "drafts"), body(made, **changes)))
    assert code == expected[0]
    assert str(field).split(".")[0] == expected[1].split(".")[0]
    assert rows(api) == before


def test_a_record_of_somebody_else_cannot_be_left(
    world: WebWorld, api: ApiWorld, sealer: Sealer, clinic: Clinic
) -> None:
    thief, made, before = Sealer(api.custody), left(sealer, clinic), rows(api)
    stolen = visitor(world).sign_in(thief.account).post(path(api, "drafts"), body(made))
    assert refusal(stolen) == ("draft_mismatch", "record.patient")
    assert rows(api) == before


def test_more_than_any_record_needs_is_not_read(api: ApiWorld, browser: Browser) -> None:
    padded = {"record": "x" * 600_000, "opening": "", "code": ""}
    assert refusal(browser.post(path(api, "drafts"), padded))[0] == "body_too_large"


def test_an_account_leaves_five_a_day_and_is_told_when_again(
    world: WebWorld, api: ApiWorld, browser: Browser
) -> None:
    assert RULES["join.leave"].kind is DRAFT
    answers = [browser.post(path(api, "drafts"), {}) for _ in range(DRAFT.number + 1)]
    assert {each.status_code for each in answers[:-1]} == {400}
    assert refusal(answers[-1])[0] == "too_often"
    assert int(answers[-1].headers["Retry-After"]) > 0
    # Somebody else is not kept out by it.
    other = visitor(world).sign_in(Sealer(api.custody).account)
    assert other.post(path(api, "drafts"), {}).status_code == 400


def test_whoever_is_not_signed_in_is_led_there_and_back(world: WebWorld, api: ApiWorld) -> None:
    answer = visitor(world).get(path(api, "join"), HTML)
    assert answer.headers["Location"] == f"/sign-in?next=%2Fme%2F{api.dataset}%2Fjoin"


# --- taking along, erasing


def test_what_is_taken_along_is_ciphertext_that_its_owner_opens(
    api: ApiWorld, browser: Browser, sealer: Sealer, clinic: Clinic
) -> None:
    made = left(sealer, clinic)
    browser.post(path(api, "drafts"), body(made))
    attest(api, clinic, made, "P-2")
    held = browser.get(path(api, "record")).get_json()
    assert held["header"]["commitment"] == to_hex(made.record.commitment)
    assert held["box"] == to_base64(made.record.box)
    secret = sealer.root.record_secret(made.record.context, made.record.box[: record.NONCE_BYTES])
    assert open_box(secret, made.record.context, made.record.box)
    history = browser.get(path(api, "history")).get_json()
    assert {each["kind"] for each in history["timeline"]} == {"attested", "stored"}
    assert history["consent"]["record"]["commitment"] == held["header"]["commitment"]


def erase(api: ApiWorld, browser: Browser, who: LocalAccount) -> None:
    """Signed, carried, final, and carried out by the operator."""
    erasure = Erasure(who.address, api.custody.dataset, 1)
    signature = sign(erasure, api.operator.chain.domain("ConsentRegistry"), who)
    message = {"kind": "erasure", "message": erasure.to_json(), "signature": to_hex(signature)}
    carried = browser.post(path(api, "messages"), {"message": message})
    assert carried.status_code == 200, carried.get_json()
    api.operator.erasures.catch_up()


def test_after_an_erasure_nothing_opens_and_one_can_begin_again(
    api: ApiWorld, browser: Browser, sealer: Sealer, clinic: Clinic
) -> None:
    made = left(sealer, clinic)
    browser.post(path(api, "drafts"), body(made))
    attest(api, clinic, made, "P-3")
    asked = path(api, f"erasure?commitment={to_hex(made.record.commitment)}")
    assert browser.get(asked).get_json() == {"erased": False, "final": False, "deleted": False}
    told = browser.facts(path(api, "erase"))
    assert (told["version"], told["commitment"]) == (1, to_hex(made.record.commitment))
    erase(api, browser, sealer.account)
    assert browser.get(asked).get_json() == {"erased": True, "final": True, "deleted": True}
    assert refusal(browser.get(path(api, "record")))[0] == "no_record"
    assert "What is gone" in browser.look(path(api, "erase")).get_data(as_text=True)
    now = browser.get(path(api, "progress/now")).get_json()
    assert now == {"progress": None, "version": 2, "has_record": False}


def test_nobody_is_told_whether_another_s_ciphertext_is_held(
    api: ApiWorld, world: WebWorld, browser: Browser, sealer: Sealer, clinic: Clinic
) -> None:
    """Held, deleted or never here: word for word the same to another owner of a record."""
    made = left(sealer, clinic)
    browser.post(path(api, "drafts"), body(made))
    attest(api, clinic, made, "P-4")
    other = visitor(world).sign_in(api.patients[0])
    unknown, theirs = (
        path(api, f"erasure?commitment={each}")
        for each in ("0x" + "5e" * 32, to_hex(made.record.commitment))
    )
    said = other.get(unknown)
    assert refusal(said) == ("unknown_record", "commitment")
    assert other.get(theirs).get_json() == said.get_json()
    erase(api, browser, sealer.account)
    assert other.get(theirs).get_json() == said.get_json()
    assert browser.get(theirs).get_json()["deleted"] is True
    without = other.get(path(api, "erasure")).get_json()
    assert without == {"erased": False, "final": False, "deleted": None}


def test_a_record_stays_its_owner_s_own_under_another_address(
    api: ApiWorld, world: WebWorld, browser: Browser, sealer: Sealer, clinic: Clinic
) -> None:
    made = left(sealer, clinic)
    browser.post(path(api, "drafts"), body(made))
    attest(api, clinic, made, "P-5")
    after = Sealer(api.custody).account
    move = Rotation(api.custody.dataset, sealer.account.address, after.address, api.custody.later())
    domain = api.operator.chain.domain("ConsentRegistry")
    signed = [sign(move, domain, each) for each in (sealer.account, after)]
    api.custody.sender.send("ConsentRegistry", "rotate", move, *signed)
    moved = visitor(world).sign_in(after)
    asked = path(api, f"erasure?commitment={to_hex(made.record.commitment)}")
    assert moved.get(asked).get_json() == {"erased": False, "final": False, "deleted": False}
    assert moved.facts(path(api, "erase"))["commitment"] == to_hex(made.record.commitment)
    erase(api, moved, after)
    assert moved.get(asked).get_json() == {"erased": True, "final": True, "deleted": True}


def test_a_record_that_came_in_elsewhere_is_not_asked_after(
    api: ApiWorld, browser: Browser, sealer: Sealer, clinic: Clinic
) -> None:
    made = left(sealer, clinic)
    browser.post(path(api, "drafts"), body(made))
    attest(api, clinic, made, "P-6")
    commitment = to_hex(made.record.commitment)
    with api.operator.database.engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM records WHERE commitment = '{commitment}'")
    assert browser.facts(path(api, "erase"))["commitment"] is None
    asked = browser.get(path(api, f"erasure?commitment={commitment}"))
    assert refusal(asked) == ("unknown_record", "commitment")
