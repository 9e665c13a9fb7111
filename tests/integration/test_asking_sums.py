"""Opening an answer of the homomorphic lane: with its operator, past it, and without it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from eth_account.signers.local import LocalAccount

from marketplace.analyses.tallies import TALLIES
from marketplace.analyses.variables import variables_of
from marketplace.chain.funding import fund
from marketplace.cli.main import main
from marketplace.client.answers import answer_words
from marketplace.client.logarithms import Logarithms
from marketplace.client.results import Known, noised_of, open_answer, open_on_chain, open_proved
from marketplace.client.summing import have_summed
from marketplace.client.tallied import open_tally
from marketplace.client.turning import Asked, Hosts, have_turned
from marketplace.custodian.models import DictionaryRow
from marketplace.custodian.service import Custodian
from marketplace.errors import BadParameter, EnvelopeUnreadable, Refusal
from marketplace.prices import figures
from marketplace.receipts.build import build_receipt
from marketplace.tallying import Decrypted, settlement_body
from marketplace.vocabulary import Lane
from marketplace.wire import dictionary as wire
from marketplace.wire import hpke, keyfiles
from marketplace.wire.delivery import SCHEMA
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.http_client import post
from marketplace.wire.tally_delivery import TallyKey, delivery_key
from marketplace.wire.tallying import decode_sealed
from ml.homomorphic.threshold import open_sums
from tests.integration.test_tally_lane import MEAN, NAMES, answered, settle, unreachable
from tests.support.chain_world import account
from tests.support.nodes import EMBEDDED_KEY
from tests.support.refusals import refused
from tests.support.tally_world import COST, ENCODED, PEOPLE, TABLE, TallyWorld, tally_world

pytestmark = pytest.mark.timeout(900)
DELIVERY = hpke.SecretKey(bytes(range(32)))
WHOLE = '{"clip":["60","260"],"filters":[],"variable":"systolic"}'
MUCH = 10**8
"""Nano-rho at which a mean over so few patients says something."""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TallyWorld]:
    with tally_world(tmp_path_factory.mktemp("asking-sums")) as made:
        made.enrol(dict(zip(NAMES, PEOPLE, strict=True)))
        yield made


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Logarithms:
    return Logarithms(tmp_path_factory.mktemp("tables"))


def sealed(market: TallyWorld, salt: str) -> bytes:
    """Asked with the researcher's own key file, as `Ask.terms` names it."""
    return market.sealed(
        salt, "mean.v1", MEAN, delivery_key=delivery_key(DELIVERY, Lane.HOMOMORPHIC)
    )


def known(market: TallyWorld) -> Known:
    return Known(market.world.dictionary, MEAN)


@pytest.fixture(scope="module")
def settled(market: TallyWorld) -> tuple[bytes, Decrypted]:
    request = sealed(market, "settled")
    found = answered(market, request)
    settle(market, found)
    return request, found


def receipt_of(market: TallyWorld, request: bytes, found: Decrypted) -> dict[str, Any]:
    evidence = {
        "ciphertext_root": to_hex(found.settlement.ciphertext_root),
        "noised": to_base64(found.parts[0].noised),
        "partials": [
            {"place": part.place, "partial": to_base64(part.partial)} for part in found.parts
        ],
        "reveals": [
            {"place": place, "reveal": each.to_json()} for place, each in found.reveals.items()
        ],
    }
    return build_receipt(market.world.chain, request, "mean.v1", WHOLE.encode(), evidence)


def expected(market: TallyWorld, request: bytes, found: Decrypted) -> Mapping[str, Any]:
    """From the sums as the world's own table finds them, with the noise of those who took part."""
    dictionary = market.world.dictionary
    assert dictionary.encoding is not None
    tally = TALLIES["mean.v1"]
    tallied = tally.tallied(tally.parse(MEAN, variables_of(dictionary)), dictionary.encoding)
    points = open_sums(decode_sealed(found.sealed_result), TallyKey.of(DELIVERY).secret)
    far = 10**6
    values = TABLE.find(points, -far, far)
    contributors = len(market.world.chain.noise_set(request)[0])
    noise = tallied.noise(COST, contributors, tallied.shares(COST, 2))
    noised = tallied.finish(values, noise, len(PEOPLE), COST)
    return dict(json.loads(noised.to_json()))


# --- with the operator, and past it


def test_an_answer_opens_to_the_same_document_as_in_the_vault_lane(
    market: TallyWorld, tables: Logarithms, settled: tuple[bytes, Decrypted]
) -> None:
    request, found = settled
    opened = open_on_chain(market.world.chain, request, DELIVERY, known(market), tables)
    assert opened.document == {
        "schema": SCHEMA,
        "request": to_hex(request),
        "analysis": "mean.v1",
        "parameters": json.loads(WHOLE),
        "cohort_size": len(PEOPLE),
        "noised": expected(market, request, found),
    }
    assert answer_words(opened.document)[-2] == f"Counted: {len(PEOPLE)} patients."


def test_a_receipt_opens_alike_and_is_held_against_the_chain(
    market: TallyWorld, tables: Logarithms, settled: tuple[bytes, Decrypted]
) -> None:
    request, found = settled
    receipt, chain = receipt_of(market, request, found), market.world.chain
    about = {market.world.dataset: market.world.dictionary}
    given = (DELIVERY, request, about.__getitem__, tables)
    opened = open_answer(receipt, *given)
    assert opened == open_proved(chain, receipt, *given)
    assert opened == open_on_chain(chain, request, DELIVERY, known(market), tables)
    other = to_base64(found.sealed_result[:-1] + bytes([found.sealed_result[-1] ^ 1]))
    bent = {**receipt, "sealed_result": other}
    refused("receipt_invalid", open_answer, bent, *given)
    refused("result_mismatch", open_proved, chain, bent, *given)
    refused("question_needed", open_answer, receipt, DELIVERY, request)


def test_what_the_researcher_brings_is_held_against_the_chain(
    market: TallyWorld, tables: Logarithms, settled: tuple[bytes, Decrypted]
) -> None:
    request, chain = settled[0], market.world.chain
    with pytest.raises(EnvelopeUnreadable):
        open_on_chain(chain, request, hpke.generate(), known(market), tables)
    smokers = MEAN | {"filters": [{"variable": "smoker", "op": "==", "value": "yes"}]}
    other = Known(market.world.dictionary, smokers)
    refused("wrong_parameters", open_on_chain, chain, request, DELIVERY, other, tables)
    newer = Known(wire.from_json(ENCODED | {"version": 2}), MEAN)
    refused("wrong_dictionary", open_on_chain, chain, request, DELIVERY, newer, tables)
    refused("question_needed", open_on_chain, chain, request, DELIVERY)
    early = sealed(market, "early")
    refused("not_settled", open_on_chain, chain, early, DELIVERY, known(market), tables)


@pytest.mark.long
def test_less_noise_is_said_of_fewer_contributors_than_of_all(
    market: TallyWorld, tables: Logarithms
) -> None:
    """Of three with a quorum of two: 3/2 of one party's variance; of two alone, twice."""
    request = sealed(market, "two")
    silent = [*market.peers[:1], unreachable(1), *market.peers[2:]]
    found = answered(market, request, silent)
    settle_with(market, found, (0, 2))
    opened = open_on_chain(market.world.chain, request, DELIVERY, known(market), tables)
    assert opened.document["noised"] == expected(market, request, found)
    assert len(market.world.chain.noise_set(request)[0]) == 2


def settle_with(market: TallyWorld, found: Decrypted, places: tuple[int, ...]) -> None:
    said = [
        post(market.urls[place], "/tally-settlements", settlement_body(found), timeout=60)
        for place in places
    ]
    signatures = [(each["place"], bytes.fromhex(each["signature"][2:])) for each in said]
    args = (found.settlement.abi_tuple(), found.sealed_result, signatures)
    market.world.sender.send("ResearchMarket", "settle", *args)


# --- the command line


def typed(market: TallyWorld, folder: Path, request: bytes, *more: str) -> Result:
    key = folder / "delivery.key"
    if not key.exists():
        keyfiles.create(key, DELIVERY.raw)
    manifest = market.world.folder / "manifest.json"
    given = [
        "--node",
        market.world.node_url,
        "--manifest",
        str(manifest),
        "--request",
        to_hex(request),
    ]
    return CliRunner().invoke(main, ["result", *given, "--delivery-key-file", str(key), *more])


def test_result_shows_the_answer_past_the_operator_from_question_and_dictionary(
    market: TallyWorld,
    settled: tuple[bytes, Decrypted],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    request, found = settled
    dictionary = tmp_path / "dictionary.json"
    dictionary.write_text(json.dumps(ENCODED))
    bare = typed(market, tmp_path, request)
    assert bare.exit_code == 1
    assert "[question_needed]" in bare.stderr
    given = ["--parameters", json.dumps(MEAN), "--dictionary", str(dictionary)]
    assert typed(market, tmp_path, request, *given[:2]).exit_code == 2
    done = typed(market, tmp_path, request, *given)
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert shown["answer"]["noised"] == expected(market, request, found)
    assert shown["receipt"] is None
    assert [each.name for each in (tmp_path / "cache" / "usufruct").iterdir()]


# --- without the operator


def outsider(market: TallyWorld) -> LocalAccount:
    """Somebody with gas, and no role."""
    made = account("outsider")
    fund(market.world.chain.node, EMBEDDED_KEY, [made.address], 10**18)
    return made


def forget_dictionary(custodian: Custodian, dictionary: Dictionary) -> None:
    """As if its operator had never brought it."""
    with custodian.journal.writing() as session:
        session.delete(session.get_one(DictionaryRow, dictionary.hash()))


def pass_the_window(market: TallyWorld, request: bytes) -> None:
    chain = market.world.chain
    until = chain.request(request).gate_drawn_at + chain.policy().gate_window + 1
    chain.node.request("evm_setNextBlockTimestamp", [until])
    chain.node.mine()


def test_where_the_operator_is_silent_the_researcher_gets_certificates_and_the_answer(
    market: TallyWorld, tables: Logarithms
) -> None:
    chain, request, who = market.world.chain, sealed(market, "silent"), outsider(market)
    urls = list(reversed(market.urls))
    given = (market.world.dictionary, MEAN)
    refused("only_operator_until", have_summed, chain, who, request, urls, *given, 0.0)
    pass_the_window(market, request)
    for custodian in market.custodians.values():
        forget_dictionary(custodian, market.world.dictionary)
    found = have_summed(chain, who, request, urls, *given, 60.0)
    assert [place for place, _ in found.certificates.signatures] == [0, 1, 2]
    opened = open_tally(found.delivered, *given, DELIVERY, tables)
    assert opened.document["noised"] == expected(market, request, found.decrypted)
    noised_of(opened.document)
    # Repeated, and by the door of the vault lane: nothing is done twice, and the sums stay the same.
    hosts = Hosts([], market.urls[:2])
    again = have_turned(chain, who, request, hosts, Asked(MEAN, ENCODED), 30.0)
    assert [place for place, _ in again.signatures] == [0, 1]
    settle(market, found.decrypted)
    last = open_on_chain(chain, request, DELIVERY, known(market), tables)
    assert last.document == opened.document
    refused("nothing_to_turn", have_summed, chain, who, request, urls, *given)


def test_the_command_for_a_silent_operator_shows_the_answer_to_whoever_has_its_key(
    market: TallyWorld, tables: Logarithms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    request = sealed(market, "typed")
    pass_the_window(market, request)
    gas, delivery, dictionary = (tmp_path / name for name in ("gas.key", "d.key", "dictionary"))
    keyfiles.create(gas, bytes(outsider(market).key))
    keyfiles.create(delivery, DELIVERY.raw)
    dictionary.write_text(json.dumps(ENCODED))
    given = ["--node", market.world.node_url, "--request", to_hex(request)]
    given += ["--manifest", str(market.world.folder / "manifest.json"), "--key-file", str(gas)]
    given += ["--parameters", json.dumps(MEAN), "--dictionary", str(dictionary)]
    given += [part for url in market.urls for part in ("--custodian", url)]
    done = CliRunner().invoke(main, ["record-key", *given, "--delivery-key-file", str(delivery)])
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert (shown["certificates"], shown["faults"]) == ([0, 1, 2], {})
    assert shown["answer"]["request"] == to_hex(request)
    assert shown["in_words"] == answer_words(shown["answer"])


def test_without_a_quorum_of_custodians_nothing_is_had_and_each_is_named(
    market: TallyWorld,
) -> None:
    chain, request, who = market.world.chain, sealed(market, "one"), outsider(market)
    pass_the_window(market, request)
    given = (chain, who, request, market.urls[2:], market.world.dictionary)
    missing = refused("quorum_missing", have_summed, *given, MEAN, 0.0)
    faults = missing.facts["faults"]
    assert isinstance(faults, dict)
    assert set(faults) == {"0", "1"}
    smokers = MEAN | {"filters": [{"variable": "smoker", "op": "==", "value": "yes"}]}
    with pytest.raises(BadParameter) as wrong:
        have_summed(*given, smokers, 0.0)
    assert wrong.value.code == "wrong_parameters"


# --- what is told before


def question(market: TallyWorld, **changes: Any) -> dict[str, Any]:
    asked = {
        "dataset": to_hex(market.world.dataset),
        "classes": [1],
        "analysis": "mean.v1",
        "parameters": MEAN,
        "lane": 2,
        "cost": COST,
    }
    return {name: each for name, each in {**asked, **changes}.items() if each is not None}


def quoted(market: TallyWorld, **changes: Any) -> dict[str, Any]:
    chain = market.world.chain
    return figures(chain, lambda _: market.world.dictionary, question(market, **changes))


def test_a_quote_says_whose_noise_it_has_and_what_a_quorum_alone_would_bring(
    market: TallyWorld,
) -> None:
    told = quoted(market, cost=MUCH)
    tally = told["tally"]
    assert (told["lane"], tally["sums"], tally["custodians"], tally["quorum"]) == (2, 2, 3, 2)
    assert (tally["inflation"], tally["inflation_of_quorum"]) == ("1.50", "2.00")
    half = float(told["expected_error"]["half_width"])
    assert float(tally["expected_error_of_quorum"]["half_width"]) > half


def test_an_error_becomes_the_cost_that_all_custodians_noise_needs(market: TallyWorld) -> None:
    half = quoted(market, cost=MUCH)["expected_error"]["half_width"]
    again = quoted(market, cost=None, target_error=half)
    assert again["cost_nano_rho"] <= MUCH
    assert again["expected_error"]["half_width"] == half
    dearer = quoted(market, cost=None, target_error=str(float(half) / 2))
    assert dearer["cost_nano_rho"] > MUCH


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lane": 3}, "lane"),
        ({"lane": "2"}, "lane"),
        ({"lane": True}, "lane"),
        ({"analysis": "quantile.v1"}, "analysis"),
        ({"parameters": {"variable": "systolic", "clip": ["80", "200"]}}, "clip"),
        ({"parameters": {"variable": "smoker"}}, "variable"),
        ({"cost": 0}, "cost"),
    ],
)
def test_what_could_not_be_answered_is_refused_with_its_field(
    market: TallyWorld, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(Refusal) as declined:
        quoted(market, **changes)
    assert declined.value.field == field
