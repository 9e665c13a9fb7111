"""A patient's pages, in process over a real chain: what is told, what is offered, what is carried."""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace import words
from marketplace.chain.views import ConsentState
from marketplace.client.messages import Messages
from marketplace.timelines import Entry, Kind
from marketplace.vocabulary import Lane
from marketplace.wire.class_page import ClassPage
from marketplace.wire.http import to_hex
from marketplace.wire.structs import Grant
from tests.support.api_world import ApiWorld, api_world
from tests.support.chain_world import CAP, MAX_COST, PAGE, TERMS, account
from tests.support.web_browser import HTML, Browser
from tests.support.web_world import WebWorld, web_world
from web import budgets, consents, entries
from web.lanes import WORDS
from web.pages.consenting import LASTS
from web.pages.me import DAY
from web.pages.uses import out_of_reach

ADDRESSES = count(1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    with api_world(tmp_path_factory.mktemp("me")) as api, web_world(api) as made:
        yield made


@pytest.fixture
def patient(world: WebWorld) -> LocalAccount:
    return world.api.patients[0]


@pytest.fixture
def browser(world: WebWorld, patient: LocalAccount) -> Browser:
    return signed_in(world, patient)


def signed_in(world: WebWorld, who: LocalAccount) -> Browser:
    """At a network address of its own, so that no test limits another's."""
    return Browser(world, address=f"192.0.2.{next(ADDRESSES)}").sign_in(who)


def read(browser: Browser, path: str) -> str:
    answer = browser.look(path)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return html.unescape(answer.get_data(as_text=True))


# --- what an address has


def test_the_first_page_lists_what_this_address_has_and_nobody_elses(
    browser: Browser, world: WebWorld, patient: LocalAccount
) -> None:
    page = read(browser, "/me")
    assert f"/me/{world.api.dataset}" in page
    assert patient.address in page
    for other in world.api.patients[1:]:
        assert other.address not in page


def test_an_address_without_a_record_is_told_so(world: WebWorld) -> None:
    stranger = signed_in(world, account("nothing here"))
    assert "No record yet" in read(stranger, "/me")
    assert stranger.get(f"/me/{world.api.dataset}", HTML).status_code == 404


def test_whoever_has_no_record_is_led_to_where_one_begins(
    browser: Browser, world: WebWorld
) -> None:
    path = f"/me/{world.api.dataset}"
    assert browser.get(f"{path}/enter", HTML).headers["Location"] == path
    stranger = signed_in(world, account("enters"))
    assert stranger.get(f"{path}/enter", HTML).headers["Location"] == f"{path}/join"


def test_the_consent_page_offers_stop_first_and_says_where_the_cut_off_is(
    browser: Browser, world: WebWorld
) -> None:
    page = read(browser, f"/me/{world.api.dataset}")
    assert page.index('id="stop"') < page.index("What you consented to") < page.index("Earnings")
    assert "sealed before the chain has your revocation still counts you" in page
    assert 'id="rest"' in page
    assert 'id="wake"' not in page
    odds = words.right_at_most(CAP, 4)
    assert f"At most {odds} right guesses in 100" in page


def test_facts_for_stopping_are_public_and_those_of_the_chain(
    browser: Browser, world: WebWorld, patient: LocalAccount
) -> None:
    facts = browser.facts(f"/me/{world.api.dataset}")
    assert facts["account"] == patient.address
    assert facts["sequence"] == consent(world, patient)["sequence"]
    assert set(facts) == {"dataset", "name", "account", "state", "sequence", "expiry"}


def consent(world: WebWorld, patient: LocalAccount) -> dict[str, Any]:
    return world.api.operator.reads.consent(world.api.custody.dataset, patient.address)


# --- guardians


def carry(world: WebWorld, message: dict[str, Any]) -> None:
    [outcome] = world.api.operator.relay.carry_uploaded([message])
    assert outcome.refusal is None, outcome.refusal


def appointed(world: WebWorld, patient: LocalAccount, guardian: str, expiry: int) -> str:
    """The path of the guardian's page for this patient."""
    dataset = world.api.custody.dataset
    carry(world, Signing(world.api).guardianship_message(patient, dataset, guardian, expiry, False))
    return f"/guardian/{world.api.dataset}/{patient.address}"


def test_a_guardian_sees_who_appointed_it_and_stops_with_its_own_signature(world: WebWorld) -> None:
    patient, guardian = world.api.patients[3], account("guardian of test_me")
    path = appointed(world, patient, guardian.address, 2**39)
    browser = signed_in(world, guardian)
    assert path in read(browser, "/guardian")
    page = read(browser, path)
    assert 'id="stop"' in page
    facts = browser.facts(path)
    assert (facts["account"], facts["guardian"]) == (patient.address, guardian.address)
    before = consent(world, patient)
    assert before["state"] == "live"
    message = Signing(world.api).revocation_message(
        guardian, world.api.custody.dataset, before["sequence"], patient.address
    )
    answer = browser.post(f"/me/{world.api.dataset}/messages", {"message": message})
    assert answer.status_code == 200, answer.get_json()
    after = consent(world, patient)
    assert (after["state"], after["sequence"]) == ("none", before["sequence"] + 1)
    assert "Nothing to stop" in read(browser, path)
    carry(world, world.api.grant_message(patient, sequence=after["sequence"] + 1))


def test_whoever_is_not_the_guardian_or_not_any_more_gets_no_stop(world: WebWorld) -> None:
    patient, former = world.api.patients[3], account("former guardian")
    path = appointed(world, patient, former.address, 2**39)
    appointed(world, patient, account("next guardian").address, 2**39)
    for who in (former, patient, account("passes by")):
        browser = signed_in(world, who)
        page = read(browser, path)
        assert "has not appointed you" in page
        assert 'id="stop"' not in page
        assert path not in read(browser, "/guardian")


def test_a_wallet_without_a_record_fills_nobodys_list(world: WebWorld) -> None:
    """Anybody may name anybody as guardian, straight at the contract."""
    guardian = account("named by strangers").address
    sender = world.api.custody.sender
    sent = sender.send(
        "ConsentRegistry", "appointGuardian", world.api.custody.dataset, guardian, 2**39, False
    )
    assert sent.event("GuardianAppointed").args["guardian"] == guardian
    browser = signed_in(world, account("named by strangers"))
    assert "Nobody yet" in read(browser, "/guardian")


# --- states


def document(**changes: Any) -> dict[str, Any]:
    record = {"version": 1, "pending_version": 0, "suspended": False, "erased": False}
    return {"state": "live", "expiry": 100, "record": record | changes.pop("record", {}), **changes}


def test_every_state_of_a_consent_and_of_a_record_has_its_words() -> None:
    assert set(consents.STATES) == {each.name.lower() for each in ConsentState}
    for record, state in (
        ({}, "stored"),
        ({"version": 0}, "none"),
        ({"version": 0, "pending_version": 1}, "pending"),
        ({"suspended": True}, "suspended"),
        ({"erased": True, "suspended": True}, "erased"),
    ):
        assert consents.record_state(document(record=record)) == state
    assert len(consents.RECORDS) == 5


def test_a_consent_whose_time_is_over_counts_no_more_and_can_still_be_stopped() -> None:
    over = document()
    assert consents.counts(over, 99)
    assert not consents.counts(over, 100)
    assert consents.wording_of(over, 100) is consents.EXPIRED
    assert consents.stands(over)
    assert not consents.may_wake(document(state="rested_by_patient"), 100)
    assert consents.may_wake(document(state="rested_by_patient"), 99)


def test_what_is_gone_or_moved_can_be_neither_stopped_nor_rested_nor_woken() -> None:
    for state in ("none", "moved"):
        gone = document(state=state)
        assert not consents.stands(gone)
        assert not consents.may_rest(gone)
        assert not consents.may_wake(gone, 1)
        assert consents.wording_of(gone, 1_000) is consents.STATES[state]


# --- the class, and what it may give away


def class_path(world: WebWorld, index: int = 1) -> str:
    return f"/me/{world.api.dataset}/classes/{index}"


def test_the_class_is_read_in_its_order_and_pay_comes_last_and_nothing_is_chosen(
    browser: Browser, world: WebWorld
) -> None:
    page = read(browser, class_path(world))
    places = [page.index(f">{text}</p>") for _, text in PAGE.paragraphs]
    assert places == sorted(places)
    assert "checked" not in page.split('id="grant"')[1].split("</form>")[0]
    assert "selected" not in page


def test_no_two_limits_read_alike_and_the_example_is_of_this_dataset(
    browser: Browser, world: WebWorld
) -> None:
    grant = read(browser, class_path(world)).split('id="grant"')[1].split("</form>")[0]
    enough = re.findall(r"Enough for ([0-9,]+) small studies, or for [0-9,]+ stud", grant)
    assert enough[0] == "10"
    assert len(enough) == len(set(enough)) >= 2
    label = world.api.custody.dictionary.variables[0].label
    assert f"which of two values of “{label}” you have" in grant


def test_resting_tells_of_the_guardian_who_may_wake(browser: Browser, world: WebWorld) -> None:
    page = read(browser, f"/me/{world.api.dataset}")
    assert "nobody else can, unless you appoint a guardian for that." in page


def test_stop_is_on_the_page_of_the_consent_that_it_ends(browser: Browser, world: WebWorld) -> None:
    page = read(browser, class_path(world))
    assert page.count('id="stop"') == 1
    assert "Change your consent" in page


def test_the_page_hands_over_what_the_browser_checks_before_it_signs(
    browser: Browser, world: WebWorld
) -> None:
    facts = browser.facts(class_path(world))
    assert facts["page"] == PAGE.to_json()
    assert facts["terms"] == TERMS.to_json()
    class_ = world.api.custody.classes[0]
    assert facts["definition"] == to_hex(TERMS.definition_hash(class_))


def test_without_its_document_nobody_can_consent(browser: Browser, world: WebWorld) -> None:
    unread = replace(PAGE, title="Nobody handed this over")
    send_class(world, unread)
    index = len(world.api.operator.reads.dataset(world.api.custody.dataset)["classes"])
    page = read(browser, class_path(world, index))
    assert "Nobody can consent to this class here" in page
    assert 'id="grant"' not in page
    world.api.operator.class_pages.keep(unread.to_bytes())
    assert 'id="grant"' in read(browser, class_path(world, index))


def send_class(world: WebWorld, page: ClassPage) -> None:
    custody = world.api.custody
    terms = replace(TERMS, terms_hash=page.hash())
    custody.sender.send("DatasetRegistry", "publishClass", custody.dataset, terms)


def test_a_class_that_is_not_there_is_not_there(browser: Browser, world: WebWorld) -> None:
    assert browser.get(class_path(world, 99), HTML).status_code == 404


def test_without_a_record_there_is_nothing_to_consent_with(world: WebWorld) -> None:
    page = read(signed_in(world, account("no record")), class_path(world))
    assert "First you need a record here" in page
    assert f"/me/{world.api.dataset}/join" in page
    assert 'id="grant"' not in page
    assert 'id="stop"' not in page


def test_every_time_on_offer_is_one_that_the_contract_takes(
    browser: Browser, world: WebWorld
) -> None:
    chain = world.api.operator.chain
    earliest = chain.now() + chain.call("ConsentRegistry", "MINIMUM_HORIZON")
    grant = read(browser, class_path(world)).split('id="grant"')[1].split("</form>")[0]
    offered = [
        int(each.split('value="')[1].split('"')[0])
        for each in grant.split("<input")
        if 'name="expiry"' in each
    ]
    assert len(offered) == len([1 for _, days in LASTS if days * DAY > 8 * DAY])
    assert min(offered) >= earliest


# --- odds


def test_the_largest_limit_is_the_contracts(world: WebWorld) -> None:
    assert world.api.operator.chain.call("ConsentRegistry", "LARGEST_CAP") == budgets.LARGEST_CAP


@settings(max_examples=40)
@given(st.integers(0, 10**9), st.integers(1, 10**9), st.sampled_from([1, 20, 10**6, 10**9]))
def test_limits_rise_from_the_smallest_that_the_class_takes_and_never_pass_their_odds(
    spent: int, dearest: int, members: int
) -> None:
    found = budgets.steps(spent, dearest, members)
    caps = [each.cap for each in found]
    assert caps == sorted(set(caps))
    assert caps[0] == spent + dearest
    assert len(found) <= 1 + len(budgets.RIGHT)
    for each in found:
        assert each.right == words.right_at_most(each.cap, members)
        assert each.requests == (each.cap - spent) // dearest >= 1
    for each in found[1:]:
        beyond = words.right_at_most(each.cap + 1, members)
        assert Decimal(each.right) <= 90 < Decimal(beyond) or Decimal(beyond) > Decimal(each.right)


@given(st.integers(1, budgets.LARGEST_CAP), st.integers(1, 2**32 - 1))
def test_odds_on_a_page_are_those_of_the_one_formula(spent: int, members: int) -> None:
    found = budgets.odds(spent, members)
    assert found["right_at_most"] == words.right_at_most(spent, members)
    assert "once the whole budget is spent" in found["in_words"]


def test_anybody_may_ask_for_odds(world: WebWorld) -> None:
    found = Browser(world).get("/odds?spent=1000000&members=4").get_json()
    assert found == {"spent": 1_000_000, **budgets.odds(1_000_000, 4)}
    alone = Browser(world).get("/odds?spent=1000000").get_json()
    assert alone == {"spent": 1_000_000, **budgets.odds(1_000_000, 1)}


def test_odds_are_given_the_other_way_round_too(world: WebWorld) -> None:
    found = Browser(world).get("/odds?right=62.5&members=4").get_json()
    assert found == {"spent": found["spent"], **budgets.odds(found["spent"], 4)}
    assert float(found["right_at_most"]) <= 62.5
    assert float(words.right_at_most(found["spent"] + found["spent"] // 100, 4)) > 62.5


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ("", "spent"),
        ("?spent=", "spent"),
        ("?spent=0", "spent"),
        ("?spent=-1", "spent"),
        ("?spent=1e3", "spent"),
        (f"?spent={budgets.LARGEST_CAP + 1}", "spent"),
        ("?spent=%D9%A1", "spent"),
        ("?spent=1&members=0", "members"),
        ("?spent=1&members=x", "members"),
        *(
            (f"?right={each}", "right")
            for each in ("", "50", "49.9", "62,5", "100", "62.505", "6e1")
        ),
    ],
)
def test_odds_of_nonsense_are_refused_at_the_field(world: WebWorld, asked: str, field: str) -> None:
    answer = Browser(world).get(f"/odds{asked}")
    assert (answer.status_code, answer.get_json()["field"]) == (400, field)


# --- messages


@dataclass
class Signing(Messages):
    """Signs as the Python client does, for this market."""

    world: ApiWorld

    @property
    def manifest(self) -> Any:
        return self.world.operator.chain.manifest


def post(browser: Browser, world: WebWorld, message: Any, dataset: str | None = None) -> Any:
    return browser.post(f"/me/{dataset or world.api.dataset}/messages", {"message": message})


def rests(world: WebWorld, patient: LocalAccount) -> dict[str, Any]:
    sequence = consent(world, patient)["sequence"]
    return Signing(world.api).rest_message(patient, world.api.custody.dataset, sequence)


def test_a_signed_message_is_carried_and_told_with_its_transaction(world: WebWorld) -> None:
    patient = world.api.patients[3]
    browser = signed_in(world, patient)
    answer = post(browser, world, rests(world, patient))
    assert answer.status_code == 200, answer.get_json()
    told = answer.get_json()
    assert told["kind"] == "rest"
    assert world.api.custody.chain.node.receipt(bytes.fromhex(told["transaction"][2:])) is not None
    assert consent(world, patient)["state"] == "rested_by_patient"
    page = read(browser, f"/me/{world.api.dataset}")
    assert 'id="wake"' in page
    assert 'id="rest"' not in page
    assert 'id="stop"' in page


def test_a_message_of_somebody_else_is_refused_although_it_is_well_signed(
    browser: Browser, world: WebWorld
) -> None:
    other = world.api.patients[1]
    before = consent(world, other)
    answer = post(browser, world, rests(world, other))
    assert (answer.status_code, answer.get_json()["code"]) == (403, "not_allowed")
    assert consent(world, other) == before


def test_a_guardian_may_hand_in_what_the_guardian_signed(world: WebWorld) -> None:
    signing, patient, guardian = Signing(world.api), world.api.patients[1], account("my guardian")
    until = world.api.custody.later()
    dataset = world.api.custody.dataset
    appointed = signing.guardianship_message(patient, dataset, guardian.address, until, False)
    assert post(signed_in(world, patient), world, appointed).status_code == 200
    page = read(signed_in(world, patient), f"/me/{world.api.dataset}")
    assert guardian.address in page
    assert 'id="dismiss"' in page
    sequence = consent(world, patient)["sequence"]
    rest = signing.rest_message(guardian, dataset, sequence, patient.address)
    assert post(signed_in(world, guardian), world, rest).status_code == 200
    assert consent(world, patient)["state"] == "rested_by_patient"


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"cap": 1}, "budget_too_small", "cap"),
        ({"expiry": 1}, "expiry_too_soon", "expiry"),
        ({"definition": bytes(32)}, "wrong_definition", "definition"),
        ({"sequence": 9}, "wrong_sequence", "sequence"),
    ],
)
def test_what_the_contract_refuses_is_told_at_its_field(
    browser: Browser,
    world: WebWorld,
    patient: LocalAccount,
    changes: dict[str, Any],
    code: str,
    field: str,
) -> None:
    before = consent(world, patient)
    good = {"sequence": before["sequence"] + 1}
    answer = post(browser, world, world.api.grant_message(patient, **{**good, **changes}))
    told = answer.get_json()
    assert (answer.status_code, told["code"]) == (422, code), told
    assert told["field"].split(".")[-1] == field
    assert consent(world, patient) == before


@pytest.mark.parametrize(
    "message",
    [None, 1, [], {}, {"kind": "grant"}, {"kind": "rest", "message": {}, "signature": "0x"}],
)
def test_what_is_no_message_is_refused_as_such(
    browser: Browser, world: WebWorld, message: Any
) -> None:
    answer = post(browser, world, message)
    assert answer.status_code in (400, 422)
    assert answer.get_json()["code"] == "malformed_message"


def test_a_message_of_another_dataset_is_refused(
    browser: Browser, world: WebWorld, patient: LocalAccount
) -> None:
    answer = post(browser, world, rests(world, patient), dataset="0x" + "12" * 32)
    assert (answer.status_code, answer.get_json()["field"]) == (400, "message.dataset")
    credit = Signing(world.api).credit_message(patient, patient.address)
    answer = post(browser, world, credit)
    assert (answer.status_code, answer.get_json()["field"]) == (400, "message.dataset")


def test_a_message_needs_the_token_of_a_page(
    browser: Browser, world: WebWorld, patient: LocalAccount
) -> None:
    body = {"message": rests(world, patient)}
    answer = browser.post(f"/me/{world.api.dataset}/messages", body, X_CSRF_Token=None)
    assert answer.get_json()["code"] == "not_from_here"
    assert consent(world, patient)["state"] == "live"


def test_a_grant_is_carried_as_it_was_signed(world: WebWorld) -> None:
    patient = world.api.patients[2]
    sequence = consent(world, patient)["sequence"] + 1
    message = world.api.grant_message(patient, sequence=sequence, cap=2 * MAX_COST)
    assert isinstance(Grant.from_json(message["message"], ""), Grant)
    answer = post(signed_in(world, patient), world, message)
    assert answer.status_code == 200, answer.get_json()
    now = consent(world, patient)
    assert (now["cap"], now["sequence"]) == (2 * MAX_COST, sequence)


# --- studies and timeline


def test_an_announced_study_is_shown_with_purpose_price_odds_and_the_end_of_its_notice(
    browser: Browser, world: WebWorld
) -> None:
    terms = world.api.terms("announced")
    request = to_hex(world.api.custody.open(terms))
    page = read(browser, f"/me/{world.api.dataset}/studies")
    assert request in page
    assert "biomedical research" in page
    assert "a non-profit organisation in DE (Germany)" in page
    assert words.right_at_most(terms.cost) in page
    assert "Notice ends" in page
    assert "Rest for this one" in page
    assert "until you wake it yourself" in page


def test_a_study_that_the_budget_or_the_time_does_not_reach_says_so() -> None:
    study = type("Study", (), {"cost": 10, "seal_deadline": 50})()
    assert out_of_reach(study, {"cap": 10, "spent": 0, "expiry": 50}) == ""
    assert "budget" in out_of_reach(study, {"cap": 10, "spent": 1, "expiry": 50})
    assert "ends before" in out_of_reach(study, {"cap": 10, "spent": 0, "expiry": 49})


def test_who_rests_is_offered_no_rest_for_a_study(world: WebWorld) -> None:
    page = read(signed_in(world, world.api.patients[3]), f"/me/{world.api.dataset}/studies")
    assert "Rest for this one" not in page
    assert 'id="wake"' in page


def test_the_timeline_tells_what_happened_and_its_file_says_the_same(
    browser: Browser, world: WebWorld
) -> None:
    path = f"/me/{world.api.dataset}/timeline"
    page = read(browser, path)
    for label in ("Record attested", "Record stored", "Consent given"):
        assert label in page
    rows = browser.facts(path)["rows"]
    assert rows[0] == list(entries.COLUMNS)
    assert {"Record attested", "Record stored", "Consent given"} <= {row[1] for row in rows[1:]}
    assert all(len(row) == len(rows[0]) for row in rows)


def test_a_patient_reads_of_each_study_in_which_lane_it_is_and_whether_records_are_opened(
    browser: Browser, world: WebWorld
) -> None:
    for lane in Lane:
        request = to_hex(world.api.custody.open(world.api.terms(f"told {lane}", lane=int(lane))))
        (other,) = set(Lane) - {lane}
        line = read(browser, f"/me/{world.api.dataset}/timeline").partition(
            f'href="/requests/{request}"'
        )[0]
        line = line.rpartition('<tr role="row">')[2]
        study = read(browser, f"/me/{world.api.dataset}/studies").partition(request)[2]
        study = study.partition("</article>")[0]
        for shown in (line, study):
            assert WORDS[lane].in_words in shown
            assert WORDS[other].in_words not in shown
        rows = browser.facts(f"/me/{world.api.dataset}/timeline")["rows"]
        (row,) = [each for each in rows if request in each]
        assert row[rows[0].index("lane")] == WORDS[lane].in_words


def test_a_line_says_its_lane_where_a_study_may_count_or_has_counted_and_nowhere_else() -> None:
    for lane, kind in itertools.product(Lane, Kind):
        line = entries.shown(Entry(kind, 1, members=1), int(lane))
        told = kind in (Kind.ANNOUNCED, Kind.COUNTED)
        assert line["lane"] == (WORDS[lane].in_words if told else "")
    assert entries.shown(Entry(Kind.COUNTED, 1, members=1))["lane"] == ""


def test_every_kind_of_entry_has_words_of_its_own() -> None:
    assert set(entries.LINES) == set(Kind)
    for kind in Kind:
        line = entries.wording(
            Entry(kind, 1, class_index=1, members=1, address="0x1", version=1, cost=1, expiry=1)
        )
        assert line.label
        assert line.means.endswith(".") or kind is Kind.REFUSED
        assert "None" not in line.means or kind is Kind.REFUSED
        assert line.tone in {"good", "active", "care", "bad", "still"}


def test_only_a_use_spends_and_pays() -> None:
    for kind in Kind:
        line = entries.shown(Entry(kind, 1, cost=7, amount=9))
        assert (line["spent"] == 7) == (line["paid"] == 9) == (kind is Kind.COUNTED)
        assert (line["withdrawn"] == 9) == (kind is Kind.WITHDRAWN)


def test_a_cell_of_the_file_is_text() -> None:
    lines = [entries.shown(Entry(Kind.REFUSED, 1, request=b"\1" * 32, because="=1+1"))]
    [_, row] = entries.cells(lines)
    assert all(isinstance(each, str) for each in row)
    assert json.loads(json.dumps(row)) == row
