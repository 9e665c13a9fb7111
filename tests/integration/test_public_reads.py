"""What anybody may see of requests and contracts, which consents match a purpose, and what metrics tell."""

import gc
import re
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_utils.crypto import keccak
from jsonschema import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families

from marketplace.api.openapi import DOCUMENT
from marketplace.attendance import Attendance
from marketplace.chain.adapter import Chain, ForgedLogs
from marketplace.chain.deploy import CommitteeSeat, open_epoch
from marketplace.chain.manifest import Deployed
from marketplace.chain.sentences import DATA_USE_REASONS
from marketplace.dictionaries import Dictionaries
from marketplace.errors import BadParameter, Refusal
from marketplace.matches import CODES, NOBODY, Decision, live
from marketplace.metrics import MOST_CODES, MetricsServer, Watched, serve_metrics
from marketplace.peers import Peer
from marketplace.public import MOST_ROWS
from marketplace.reads import Reads
from marketplace.stages import Stage
from marketplace.vocabulary import Address
from marketplace.waits import AtWork
from marketplace.wire.http import to_hex
from marketplace.wire.terms import Credential, Purpose
from marketplace.words import epsilon_of
from tests.support.chain_world import MAX_COST, PURPOSE, TERMS, account
from tests.support.nodes import LyingProxy
from tests.support.page_world import PageWorld, page_world
from web.streams import StageNews

PATIENTS = 3
HMB, NCU, IRB, GS = 3, 1 << 5, 1 << 12, 1 << 7
GIVE_UP = 60.0
STRICT = replace(TERMS, permission=HMB, modifiers=NCU | IRB | GS, countries=(b"FR",))
"""Biomedical, non-commercial, with an ethics approval, from France."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageWorld]:
    """Classes 1 and 2 permit any research, the third is STRICT; three consents in class 1, one in 2."""
    with page_world(tmp_path_factory.mktemp("public")) as world:
        w = world.world
        sent = w.sender.send("DatasetRegistry", "publishClass", w.dataset, STRICT)
        w.classes = (*w.classes, sent.event("ClassPublished").args["class"])
        w.enrol([f"patient {number}" for number in range(PATIENTS)], 0)
        w.enrol(["of class 2"], 1)
        yield world


# --- requests


def test_a_request_is_shown_with_purpose_requester_cost_and_cohort(made: PageWorld) -> None:
    terms = made.world.terms("shown")
    name = made.submit(terms)
    request = made.world.sealed("shown")
    shown = made.public.one(request)
    view = made.chain.request(request)
    assert to_hex(shown.request) == name
    assert (shown.stage, shown.here, shown.analysis) == ("sealed", "submitted", "mean.v1")
    assert (shown.cohort, shown.cost, shown.price) == (PATIENTS, MAX_COST, 5)
    assert (shown.epsilon, shown.delta) == epsilon_of(MAX_COST, PATIENTS)
    assert shown.purpose == PURPOSE
    assert (shown.credential.kind, shown.credential.country) == (1, b"DE")
    assert (shown.dataset, shown.classes) == (made.world.dataset, (1,))
    assert (shown.opened_at, shown.notice_ends) == (view.opened_at, view.opened_at)
    assert shown.place == (shown.block, shown.log_index)


def test_a_request_of_another_operator_is_shown_too(made: PageWorld) -> None:
    request = made.world.open(made.world.terms("another operator's"))
    shown = made.public.one(request)
    assert (shown.stage, shown.here, shown.analysis, shown.cohort) == ("opened", None, None, None)
    assert shown.epsilon == epsilon_of(MAX_COST)[0]


def test_every_request_is_on_exactly_one_page_the_newest_first(made: PageWorld) -> None:
    asked = [made.world.open(made.world.terms(f"page {number}")) for number in range(5)]
    found: list[bytes] = []
    before = None
    while rows := made.public.page(before, limit=2):
        found += [row.request for row in rows]
        before = rows[-1].place
    assert found[:5] == asked[::-1]
    assert len(found) == len(set(found)) == made.public.number()
    assert len(made.public.page(limit=10**9)) <= MOST_ROWS
    assert made.public.page(limit=0) == made.public.page((0, 0)) == []


def test_as_json_every_request_is_reached_by_what_each_page_names_for_the_next(
    made: PageWorld,
) -> None:
    asked = [to_hex(made.world.open(made.world.terms(f"json {number}"))) for number in range(3)]
    schema = Draft202012Validator(
        {"$ref": "#/components/schemas/PublicRequests", "components": DOCUMENT["components"]}
    )
    found: list[str] = []
    before = None
    for _ in range(made.public.number()):
        page = made.public.document(before, limit=2)
        schema.validate(page)
        found += [each["request"] for each in page["requests"]]
        before = page["before"]
        if before is None:
            break
    assert found[:3] == asked[::-1]
    assert len(found) == len(set(found)) == made.public.number()
    for spelling in ("", "1", "1.", "-1.0", "1.0 ", "\u0661.0", "1" * 16 + ".0"):
        with pytest.raises(BadParameter):
            made.public.document(spelling)


def test_a_request_that_goes_on_is_shown_as_it_stands_then(made: PageWorld) -> None:
    terms = made.world.terms("goes on")
    request = made.world.open(terms)
    stages = [made.public.one(request).stage]
    made.world.freeze(terms)
    stages.append(made.public.one(request).stage)
    made.world.sender.send("ResearchMarket", "sealAll", request)
    stages.append(made.public.one(request).stage)
    gone = made.world.open(made.world.terms("is cancelled"))
    made.world.sender.send("ResearchMarket", "cancel", gone)
    stages += [made.public.one(gone).stage, made.public.one(gone).stage]
    assert stages == ["opened", "frozen", "sealed", "cancelled", "cancelled"]


def test_an_id_that_nobody_opened_is_unknown(made: PageWorld) -> None:
    with pytest.raises(Refusal) as refused:
        made.public.one(keccak(text="nothing"))
    assert refused.value.code == "unknown_request"


def test_a_node_that_alters_what_was_asked_is_refused(made: PageWorld) -> None:
    made.world.open(made.world.terms("altered"))
    liar = LyingProxy(made.chain.node.url)

    def cheaper(method: str, _: list[Any], result: Any) -> Any:
        for log in result if method == "eth_getLogs" else []:
            log["data"] = log["data"].replace(f"{MAX_COST:064x}", f"{1:064x}")
        return result

    liar.lie = cheaper
    made.read_through(Chain(liar.url, made.world.manifest))
    try:
        with pytest.raises(ForgedLogs):
            made.public.page()
    finally:
        made.read_through(made.chain)
        liar.close()


def test_contracts_are_held_against_the_manifest(made: PageWorld) -> None:
    found = made.public.contracts()
    assert found.is_as_deployed
    assert {each.name for each in found.contracts} == set(made.world.manifest.contracts)
    assert (found.chain_id, found.policy) == (made.chain.chain_id, made.chain.policy())
    manifest = made.world.manifest
    other = Deployed(manifest.address("TestEuro"), keccak(text="other code"))
    contracts = {**manifest.contracts, "TestEuro": other}
    made.read_through(Chain(made.chain.node.url, replace(manifest, contracts=contracts)))
    try:
        found = made.public.contracts()
    finally:
        made.read_through(made.chain)
    assert [each.name for each in found.contracts if not each.is_same] == ["TestEuro"]
    assert not found.is_as_deployed


# --- which consents match a purpose


def decided(made: PageWorld, requester: Any, purpose: Purpose = PURPOSE) -> list[Decision]:
    return made.matches.decisions(made.world.dataset, purpose, requester)


def codes(decision: Decision) -> set[str]:
    return {reason.code for reason in decision.reasons}


def me(made: PageWorld) -> Address:
    return Address(made.world.sender.address)


def reads_of(made: PageWorld, dictionaries: Dictionaries) -> Reads:
    return Reads(
        chain=made.chain,
        database=made.database,
        dictionaries=dictionaries,
        operator=me(made),
        fee=0,
    )


def test_a_purpose_is_matched_class_by_class_with_every_reason(made: PageWorld) -> None:
    first, second, strict = decided(made, me(made))
    assert (first.permitted, first.live, first.index) == (True, PATIENTS, 1)
    assert (second.permitted, second.live) == (True, 1)
    assert codes(strict) == {"country_not_listed", "ethics_approval_required"}
    assert live([first, second, strict]) == PATIENTS + 1
    for reason in strict.reasons:
        assert reason.sentence.endswith(".")
        assert reason.remedy.endswith(".")
    commercial = replace(PURPOSE, commercial=True, uses=0)
    assert codes(decided(made, me(made), commercial)[2]) == {
        *("country_not_listed", "ethics_approval_required", "non_commercial_only"),
        "biomedical_only",
    }


def test_a_decision_is_what_the_market_does(made: PageWorld) -> None:
    """The very terms, opened: by the class that is permitted, and not by the one that is not."""
    for decision in decided(made, me(made)):
        terms = made.world.terms(f"decided {decision.index}", (decision.index,))
        if decision.permitted:
            made.world.open(terms)
            continue
        with pytest.raises(Refusal) as refused:
            made.world.open(terms)
        assert refused.value.code == "purpose_not_permitted"


def test_who_has_no_credential_matches_nothing(made: PageWorld) -> None:
    for nobody in (None, Address(account("without a credential").address)):
        found = decided(made, nobody)
        assert live(found) == 0
        assert all("credential_missing" in codes(each) for each in found)
        assert all("organisation_unknown" in codes(each) for each in found)


def test_a_credential_that_ended_is_a_reason_beside_the_others(made: PageWorld) -> None:
    w, researcher = made.world, Address(account("whose credential ends").address)
    w.sender.send("ResearcherRegistry", "give", researcher, w.credential())
    assert decided(made, researcher)[0].permitted
    w.sender.send("ResearcherRegistry", "withdraw", researcher)
    first, _, strict = decided(made, researcher)
    assert codes(first) == {"credential_is_withdrawn"}
    assert codes(strict) == {
        *("credential_is_withdrawn", "country_not_listed", "ethics_approval_required"),
    }


def test_a_credential_that_one_thinks_of_is_matched_as_if_one_had_it(made: PageWorld) -> None:
    french = Credential(3, b"FR", 0, False, bytes(32), bytes(32), bytes(32))
    approved = replace(PURPOSE, ethics_approval=keccak(text="approved"))
    assert [each.permitted for each in decided(made, french, approved)] == [True, True, True]
    assert codes(decided(made, NOBODY)[0]) == {"organisation_unknown"}


def test_a_retired_or_unknown_dataset_matches_nothing(made: PageWorld) -> None:
    w = made.world
    sent = w.sender.send("DatasetRegistry", "publishDataset", b"\7" * 32, b"\7" * 32, "")
    dataset = sent.event("DatasetPublished").args["dataset"]
    w.sender.send("DatasetRegistry", "publishClass", dataset, TERMS)
    assert made.matches.decisions(dataset, PURPOSE, me(made))[0].permitted
    w.sender.send("DatasetRegistry", "retire", dataset)
    (retired,) = made.matches.decisions(dataset, PURPOSE, me(made))
    assert codes(retired) == {"dataset_is_retired"}
    with pytest.raises(Refusal) as refused:
        made.matches.decisions(b"\x08" * 30 + bytes(2), PURPOSE, me(made))
    assert refused.value.code == "unknown_dataset"


def test_too_many_diseases_are_refused_before_the_chain_is_asked(made: PageWorld) -> None:
    with pytest.raises(Refusal) as refused:
        decided(made, me(made), replace(PURPOSE, diseases=tuple(range(33))))
    assert (refused.value.code, refused.value.field) == ("malformed_message", "purpose.diseases")


def test_every_reason_of_the_contract_has_a_code_of_its_own() -> None:
    assert set(CODES) == set(DATA_USE_REASONS)
    assert len({code for code, _ in CODES.values()}) == len(CODES)
    assert all(re.fullmatch(r"[a-z_]+", code) for code, _ in CODES.values())


# --- what a class's terms cost to read


def test_terms_are_searched_for_once_and_proved_each_time(
    made: PageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(made.chain.node.url, made.world.manifest)
    class_ = made.world.classes[0]
    assert chain.class_terms(class_) == TERMS
    searched: list[object] = []
    monkeypatch.setattr(chain, "page", lambda *given: searched.append(given))
    assert chain.class_terms(class_) == TERMS
    assert searched == []
    monkeypatch.undo()
    assert chain.class_terms(made.world.classes[1]) == replace(TERMS, floor_per_record=2)


# --- streams


def test_a_stream_tells_each_stage_and_what_the_newest_waits_for(
    made: PageWorld, tmp_path: Path
) -> None:
    reads = reads_of(made, Dictionaries(tmp_path, made.chain))
    name = made.submit(made.world.terms("streamed"))
    made.database.move(name, Stage.FUNDED, "paid")
    news = StageNews(reads, name)
    first, second = news(0)
    assert (first.data["stage"], second.data["stage"]) == ("submitted", "funded")
    newest = made.database.log(name)[-1].id
    assert second.id == newest
    assert news(newest) == []
    late = Refusal(code="notice_still_running", message="Not yet.", remedy="Wait.")
    reads.waits.note(name, late)
    (told,) = news(newest)
    assert (told.id, told.data["stage"]) == (None, "funded")
    assert told.data["waiting"]["code"] == "notice_still_running"
    assert news(newest) == []
    reads.waits.work(name, AtWork("Custodian 1 is asked.", time.time() - 12))
    (told,) = news(newest)
    assert (told.id, told.data["waiting"]["code"]) == (None, "notice_still_running")
    assert news(newest) == []
    reads.waits.work(name, None)
    assert len(news(newest)) == 1
    made.database.move(name, Stage.FROZEN, "froze")
    reads.waits.clear(name)
    (told,) = news(newest)
    assert (told.data["stage"], told.data["waiting"]) == ("frozen", None)
    assert StageNews(reads, "0x" + "00" * 32)(0) == []


# --- metrics


@pytest.fixture
def metrics(made: PageWorld, tmp_path: Path) -> Iterator[MetricsServer]:
    dictionaries = Dictionaries(tmp_path, made.chain)
    reads = reads_of(made, dictionaries)
    peers = [Peer("custodian 0", "http://127.0.0.1:9"), Peer("custodian 1", "http://127.0.0.1:9")]
    attendance = Attendance(peers, {"0xgate": Peer("gate", "http://127.0.0.1:9")})
    served = serve_metrics(Watched(reads, attendance, lambda: 3, lambda: (2, 5)), 0)
    yield served
    served.stop()


def told(metrics: MetricsServer, **options: Any) -> httpx.Response:
    url = f"http://127.0.0.1:{metrics.port}/metrics"
    return httpx.get(url, timeout=GIVE_UP, **options)


def samples(metrics: MetricsServer) -> dict[tuple[str, ...], float]:
    answer = told(metrics)
    assert answer.status_code == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics_tell_counts_ages_lags_and_balances(
    made: PageWorld, metrics: MetricsServer
) -> None:
    terms = made.world.terms("measured")
    name = made.submit(terms)
    made.database.move(name, Stage.FUNDED, "paid")
    found = samples(metrics)
    counts = made.database.stage_counts()
    for stage in Stage:
        assert found["usufruct_requests", stage] == counts[stage]
    assert counts[Stage.FUNDED] == 1
    assert found["usufruct_unfinished_age_seconds",] > 0
    assert found["usufruct_head_block",] == made.chain.head().number
    assert found["usufruct_finality_lag_blocks",] == found["usufruct_finality_lag_seconds",] == 0
    assert found["usufruct_operator_bond_free_token_units",] == made.chain.bond_of(me(made))
    assert found["usufruct_operator_gas_wei",] == float(made.chain.node.balance(me(made))) > 0
    assert found["usufruct_custodian_ready", "1"] == found["usufruct_gate_ready", "0"] == 0
    assert (found["usufruct_streams",], found["usufruct_streams_refused_total",]) == (2, 5)
    assert found["usufruct_worker_faults_total",] == 3
    assert found["process_resident_memory_bytes",] > 0
    unread = [value for (name, *_), value in found.items() if name == "usufruct_unread"]
    assert unread == [0] * 6


def test_refused_requests_are_counted_by_code(made: PageWorld, metrics: MetricsServer) -> None:
    for number in range(2):
        name = made.submit(made.world.terms(f"refused {number}"))
        made.database.move(name, Stage.REFUSED, "no", {"code": "cohort_too_small"})
    assert samples(metrics)["usufruct_requests_refused", "cohort_too_small"] == 2


def test_no_address_of_a_patient_and_no_id_is_told_and_series_are_bounded(
    made: PageWorld, metrics: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {f"code_{number}": 1 for number in range(200)} | {'evil"} 1\n': 7, "0x" + "ab" * 20: 1}
    monkeypatch.setattr(type(made.database), "refusal_codes", lambda _: many)
    text = told(metrics).text
    assert re.search(r"0x[0-9a-f]{8}", text, re.IGNORECASE) is None
    found = [key for key in samples(metrics) if key[0] == "usufruct_requests_refused"]
    assert len(found) == MOST_CODES  # `other` among them
    assert samples(metrics)["usufruct_requests_refused", "other"] == 208 - (MOST_CODES - 1)


def test_a_part_that_cannot_be_read_is_said_and_hides_no_other(
    made: PageWorld, metrics: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> int:
        raise Refusal(code="node_unreachable", message="no", remedy="no")

    monkeypatch.setattr(Chain, "head", broken)
    found = samples(metrics)
    assert found["usufruct_unread", "chain"] == 1
    assert found["usufruct_unread", "requests"] == 0
    assert ("usufruct_head_block",) not in found
    assert ("usufruct_worker_faults_total",) in found


def test_metrics_answer_this_machine_alone_and_at_their_own_path(metrics: MetricsServer) -> None:
    assert told(metrics, headers={"Host": "evil.example"}).status_code == 421
    assert told(metrics, headers={"Host": f"localhost:{metrics.port}"}).status_code == 200
    base = f"http://127.0.0.1:{metrics.port}"
    assert httpx.get(base, timeout=GIVE_UP).status_code == 404
    assert httpx.request("DELETE", f"{base}/metrics", timeout=GIVE_UP).status_code == 404


def test_a_port_that_is_taken_is_refused(metrics: MetricsServer) -> None:
    reads: Any = None
    watched = Watched(reads, Attendance([], {}), int, lambda: (0, 0))
    with warnings.catch_warnings():
        # waitress leaves the socket unclosed that it could not bind; the process ends with that.
        warnings.simplefilter("ignore", ResourceWarning)
        said = refusal_of(watched, metrics.port)
        gc.collect()
    assert said == ("cannot_listen", "metrics_port")


def refusal_of(watched: Watched, port: int) -> tuple[str, str | None]:
    """Code and field; nothing holds on to the traceback afterwards."""
    try:
        serve_metrics(watched, port).stop()
    except Refusal as refusal:
        return refusal.code, refusal.field
    raise AssertionError("it listens on a port that is taken")


# --- the committee


def test_the_committee_is_read_once_a_block_and_a_new_epoch_shows_at_once(
    made: PageWorld, tmp_path: Path
) -> None:
    reads, w = reads_of(made, Dictionaries(tmp_path, made.chain)), made.world
    first = reads.committee()
    assert reads.committee() is first
    seats = [CommitteeSeat(each.address, keccak(text=each.address)) for each in w.custodians]
    w.epoch = open_epoch(w.sender, seats, 2, [account("another gate").address])
    assert reads.committee()["epoch"] == w.epoch == first["epoch"] + 1
    assert reads.committee()["gates"] == [account("another gate").address]
