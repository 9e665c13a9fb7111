"""A clinic's desk: what its pages take from an issuer, and what they refuse."""

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from werkzeug.test import TestResponse

from marketplace.drafts import LONGEST_INVITATION_DAYS, MOST_CODES
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.opening import code_hash, code_text, new_code
from tests.support.api_world import ApiWorld, api_world
from tests.support.chain_world import account
from tests.support.left_drafts import Browser as Sealer
from tests.support.left_drafts import Clinic, Left
from tests.support.web_browser import Browser
from tests.support.web_world import WebWorld, web_world

ADDRESSES = itertools.count(1)
VALUES = {"systolic": Decimal(142), "smoker": "no"}
OTHER = account("another clinic")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    with api_world(tmp_path_factory.mktemp("clinic")) as api, web_world(api) as made:
        api.custody.sender.send("DatasetRegistry", "addIssuer", api.custody.dataset, OTHER.address)
        yield made


@pytest.fixture(scope="module")
def api(world: WebWorld) -> ApiWorld:
    return world.api


@pytest.fixture(scope="module")
def clinic(world: WebWorld, api: ApiWorld) -> Clinic:
    """Its desk is open, by its own page."""
    made = Clinic(api.custody, api.operator.drafts, api.custody.issuer)
    posted = visitor(world).sign_in(made.issuer).post(path(api, "desk"), made.desk())
    assert posted.status_code == 200, posted.get_json()
    return made


@pytest.fixture(scope="module")
def browser(world: WebWorld, clinic: Clinic) -> Browser:
    return visitor(world).sign_in(clinic.issuer)


def visitor(world: WebWorld) -> Browser:
    """At a network address of its own, so that nobody is limited by another."""
    return Browser(world, address=f"198.51.100.{next(ADDRESSES)}")


def path(api: ApiWorld, what: str = "") -> str:
    return f"/clinic/{api.dataset}" + (f"/{what}" if what else "")


def of(made: Left, what: str) -> str:
    return f"drafts/{to_hex(made.record.commitment)}/{what}"


def refusal(answer: TestResponse) -> tuple[str, str | None]:
    document = answer.get_json()
    assert answer.mimetype == "application/problem+json", document
    assert document["remedy"]
    return document["code"], document.get("field")


def invitations(clinic: Clinic, codes: list[bytes], **changes: Any) -> dict[str, Any]:
    """As the clinic's page leaves them."""
    return {
        "codes": [to_hex(code_hash(code)) for code in codes],
        "macs": [to_hex(each.mac) for each in clinic.vouches(*codes)],
        "custodians": list(clinic.custodians),
        "epoch": 1,
        "days": 7,
        **changes,
    }


def draft(world: WebWorld, clinic: Clinic, browser: Browser) -> tuple[Sealer, Left]:
    """Of somebody new, left through the page, under an invitation that the clinic's page made."""
    code = new_code()
    made = browser.post(path(world.api, "invitations"), invitations(clinic, [code]))
    assert made.status_code == 200, made.get_json()
    sealer = Sealer(world.api.custody)
    left = sealer.seals(VALUES, code, clinic.desk_key)
    body = {
        "record": left.document,
        "opening": to_base64(left.opening),
        "code": to_hex(code_hash(code)),
    }
    patient = visitor(world).sign_in(sealer.account)
    answer = patient.post(f"/me/{world.api.dataset}/drafts", body)
    assert answer.status_code == 200, answer.get_json()
    return sealer, left


def state_of(world: WebWorld, sealer: Sealer) -> Any:
    shown = visitor(world).sign_in(sealer.account).get(f"/me/{world.api.dataset}/progress/now")
    return shown.get_json()["progress"]


# --- desk and invitations


def test_without_a_desk_nobody_can_be_invited(world: WebWorld, api: ApiWorld) -> None:
    other = visitor(world).sign_in(OTHER)
    made = invitations(Clinic(api.custody, api.operator.drafts, OTHER), [new_code()])
    assert refusal(other.post(path(api, "invitations"), made)) == ("no_desk", "issuer")
    assert "Open your desk first" in other.look(path(api)).get_data(as_text=True)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"issuer": OTHER.address}, ("bad_parameter", "desk.issuer")),
        ({"dataset": "0x" + "11" * 32}, ("bad_parameter", "desk.dataset")),
        ({"until": 1}, ("bad_signature", "signature")),
        ({"key": "0x12"}, ("malformed_message", "key")),
    ],
)
def test_a_desk_that_is_not_this_clinics_own_is_refused_at_its_field(
    api: ApiWorld, clinic: Clinic, browser: Browser, changed: dict[str, Any], expected: Any
) -> None:
    made = clinic.desk()
    spoiled = {**made, "desk": {**made["desk"], **changed}}
    assert refusal(browser.post(path(api, "desk"), spoiled)) == expected
    facts = browser.facts(path(api))
    assert facts["desk"]["desk"]["key"] == to_hex(clinic.desk_key)


@pytest.mark.parametrize(
    ("codes", "days", "field"),
    [
        ([], 7, "codes"),
        ([new_code() for _ in range(MOST_CODES + 1)], 7, "codes"),
        ([new_code()] * 2, 7, "codes"),
        ([new_code()], LONGEST_INVITATION_DAYS + 1, "days"),
        ([new_code()], 0, "days"),
        ([new_code()], "7", "days"),
    ],
)
def test_invitations_out_of_bounds_are_refused_at_their_field(
    api: ApiWorld, browser: Browser, clinic: Clinic, codes: list[bytes], days: Any, field: str
) -> None:
    before = made_so_far(api)
    asked = invitations(clinic, codes, days=days)
    assert refusal(browser.post(path(api, "invitations"), asked)) == ("bad_parameter", field)
    assert made_so_far(api) == before


def made_so_far(api: ApiWorld) -> int:
    desks, issuer = api.operator.drafts.desks, api.custody.issuer
    return len(desks.invitations(api.custody.dataset, issuer.address))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"codes": ["0x1234"]}, "codes[0]"),
        ({"macs": []}, "macs"),
        ({"macs": None}, "macs"),
        ({"macs": ["0x12"]}, "macs[0]"),
        ({"macs": ["0x" + "ab" * 32] * 2}, "macs"),
        ({"custodians": []}, "body.custodians"),
        ({"custodians": ["//evil.example"]}, "body.custodians"),
        ({"epoch": "1"}, "body.epoch"),
    ],
)
def test_an_invitation_for_which_the_clinic_does_not_vouch_is_not_kept(
    api: ApiWorld, browser: Browser, clinic: Clinic, changes: dict[str, Any], field: str
) -> None:
    before = made_so_far(api)
    asked = invitations(clinic, [new_code()]) | changes
    assert refusal(browser.post(path(api, "invitations"), asked)) == ("bad_parameter", field)
    for missing in ("macs", "custodians", "epoch"):
        without = {name: value for name, value in asked.items() if name != missing}
        told = refusal(browser.post(path(api, "invitations"), without))
        assert told == ("bad_parameter", f"body.{missing}")
    assert made_so_far(api) == before


def test_as_many_invitations_as_may_be_made_at_once_fit_with_what_vouches_for_them(
    world: WebWorld, api: ApiWorld, clinic: Clinic
) -> None:
    urls = [f"https://custodian-{place}.hospital.example:8443" for place in range(16)]
    issuer = visitor(world).sign_in(clinic.issuer)
    asked = invitations(clinic, [new_code() for _ in range(MOST_CODES)], custodians=urls)
    made = issuer.post(path(api, "invitations"), asked)
    assert made.status_code == 200, made.get_json()
    kept = made.get_json()["invitations"][-1]["voucher"]
    assert kept == {"custodians": urls, "epoch": 1, "mac": asked["macs"][-1]}


def test_a_page_never_shows_a_code_again(
    world: WebWorld, api: ApiWorld, clinic: Clinic, browser: Browser
) -> None:
    _, left = draft(world, clinic, browser)
    page = browser.look(path(api)).get_data(as_text=True)
    assert to_hex(left.record.commitment) in page
    assert code_text(left.code) not in page
    assert left.code.hex() not in page


# --- drafts


def test_a_draft_is_opened_attested_and_stored(
    world: WebWorld, api: ApiWorld, clinic: Clinic, browser: Browser
) -> None:
    sealer, left = draft(world, clinic, browser)
    opened = browser.post(path(api, of(left, "open"))).get_json()
    assert (opened["record"], opened["opening"]) == (left.document, to_base64(left.opening))
    assert state_of(world, sealer)["state"] == "opened"
    attestation, signature = clinic.attestation(left.record, "P-10")
    word = {"attestation": attestation, "signature": signature}
    done = browser.post(path(api, of(left, "attest")), word)
    assert done.get_json()["state"] == "stored", done.get_json()
    assert state_of(world, sealer)["places"] == [0, 1, 2]
    record = api.custody.chain.record_of(api.custody.dataset, sealer.account.address)
    assert record.commitment == left.record.commitment


def test_a_draft_that_was_declined_is_gone_and_its_patient_is_told_why(
    world: WebWorld, api: ApiWorld, clinic: Clinic, browser: Browser
) -> None:
    sealer, left = draft(world, clinic, browser)
    browser.post(path(api, of(left, "open")))
    for why in ("because I say so", 7, None):
        assert refusal(browser.post(path(api, of(left, "decline")), {"why": why}))[0] == (
            "bad_parameter"
        )
    assert state_of(world, sealer)["state"] == "opened"
    assert browser.post(path(api, of(left, "decline")), {"why": "values_differ"}).status_code == 200
    told = state_of(world, sealer)
    assert (told["state"], told["reason"]["code"]) == ("declined", "values_differ")
    assert refusal(browser.post(path(api, of(left, "open"))))[0] == "draft_declined"


def test_another_clinic_neither_sees_opens_nor_decides(
    world: WebWorld, api: ApiWorld, clinic: Clinic, browser: Browser
) -> None:
    sealer, left = draft(world, clinic, browser)
    other = visitor(world).sign_in(OTHER)
    assert to_hex(left.record.commitment) not in other.look(path(api)).get_data(as_text=True)
    attestation, signature = clinic.attestation(left.record, "P-11")
    for what, body in (
        ("open", {}),
        ("attest", {"attestation": attestation, "signature": signature}),
        ("decline", {"why": "other"}),
    ):
        assert refusal(other.post(path(api, of(left, what)), body))[0] == "unknown_draft"
    assert state_of(world, sealer)["state"] == "waiting"


def test_an_attestation_by_another_key_or_for_another_record_is_refused_and_the_draft_stays(
    world: WebWorld, api: ApiWorld, clinic: Clinic, browser: Browser
) -> None:
    sealer, left = draft(world, clinic, browser)
    browser.post(path(api, of(left, "open")))
    stranger = account("nobody's clinic")
    other = left.record.commitment[::-1]
    for changes, code in (
        ({"signer": stranger}, "bad_signature"),
        ({"commitment": other}, "attestation_mismatch"),
        ({"deadline": 1}, "attestation_expired"),
    ):
        attestation, signature = clinic.attestation(left.record, "P-12", **changes)
        word = {"attestation": attestation, "signature": signature}
        assert refusal(browser.post(path(api, of(left, "attest")), word))[0] == code
    assert state_of(world, sealer)["state"] == "opened"


def test_one_person_is_registered_once_whatever_the_spelling_of_the_number(
    world: WebWorld, api: ApiWorld, clinic: Clinic, browser: Browser
) -> None:
    answers = []
    for number in ("mrn 77", "MRN77"):
        _, left = draft(world, clinic, browser)
        browser.post(path(api, of(left, "open")))
        attestation, signature = clinic.attestation(left.record, number)
        word = {"attestation": attestation, "signature": signature}
        answers.append(browser.post(path(api, of(left, "attest")), word))
    assert answers[0].get_json()["state"] == "stored"
    assert refusal(answers[1])[0] == "person_has_record"
