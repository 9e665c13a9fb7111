"""What patients and guardians do by command: through the operator, through a custodian, or by themselves.

Past the operator, every command is given an operator's address at which nobody answers.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import flask
import pytest
from click.testing import CliRunner, Result
from eth_account.signers.local import LocalAccount

from marketplace.chain.adapter import ConsentState
from marketplace.chain.funding import fund
from marketplace.cli import carrying
from marketplace.cli.carrying import OPERATORS_WORD
from marketplace.cli.consent import _is_erased
from marketplace.cli.main import main
from marketplace.client import Ask, Marketplace
from marketplace.client.messages import HIGHEST_PLAUSIBLE, HIGHEST_TOLD, REVOCATION_REACH
from marketplace.errors import Refusal
from marketplace.wire import hpke, keyfiles
from marketplace.wire.amounts import Token
from marketplace.wire.http import to_hex
from marketplace.wire.terms import Purpose
from marketplace.words import right_at_most
from tests.support.api_world import ApiWorld, api_world
from tests.support.chain_world import CAP, MAX_COST, PURPOSE, account
from tests.support.custody_world import served
from tests.support.daily import daily
from tests.support.nodes import EMBEDDED_KEY

NOBODY = "http://127.0.0.1:1"
ETHER = 10**18
WAYS = ["operator", "oneself"]
POOL = 32


@dataclass(frozen=True)
class Person:
    """One patient or guardian and the key file."""

    account: LocalAccount
    key_file: Path

    @property
    def address(self) -> str:
        return str(self.account.address)


@dataclass
class People:
    """The commands of people over one market."""

    world: ApiWorld
    folder: Path
    number: int = 0
    waiting: list[Person] = field(default_factory=list)

    def person(self, name: str) -> Person:
        self.number += 1
        made = account(f"{name} {self.number}")
        path = self.folder / f"{self.number}.key"
        keyfiles.create(path, bytes(made.key))
        return Person(made, path)

    def patient(self) -> Person:
        """Stored and consenting. They are enrolled many at a time."""
        if not self.waiting:
            self._enrol(POOL)
        person = self.waiting.pop()
        assert self.state(person) is ConsentState.LIVE
        return person

    def _enrol(self, count: int) -> None:
        people, world = [self.person("patient") for _ in range(count)], self.world
        world.custody.tick()
        entries = [world.upload_entry(each.account) for each in people]
        stored = world.post("/records", {"entries": entries}).get_json()["outcomes"]
        messages = [world.grant_message(each.account) for each in people]
        relayed = world.post("/messages", {"messages": messages}).get_json()["outcomes"]
        assert {each["outcome"] for each in stored + relayed} == {"stored", "relayed"}
        self.waiting += people

    @property
    def market(self) -> Marketplace:
        return Marketplace(self.world.url, self.world.custody.node_url)

    def way(self, name: str) -> list[str]:
        folder = self.world.config_path.parent
        past = ["--url", NOBODY, "--node", self.world.custody.node_url]
        past += ["--manifest", str(folder / "manifest.json")]
        return {
            "operator": ["--url", self.world.url],
            "oneself": [*past, "--gas-key-file", str(folder / "faucet.key")],
            "custodian": [*past, "--custodian", self.world.custodian_urls[1]],
            "past": past,
        }[name]

    def call(self, command: str, person: Person, *more: str, way: str = "operator") -> Result:
        given = [command, *self.way(way), "--key-file", str(person.key_file)]
        return CliRunner().invoke(main, [*given, "--dataset", self.world.dataset, *more])

    def done(self, command: str, person: Person, *more: str, way: str = "operator") -> Any:
        result = self.call(command, person, *more, way=way)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def refused(self, command: str, person: Person, *more: str, way: str = "operator") -> str:
        result = self.call(command, person, *more, way=way)
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit), result.exception
        return result.output

    def status(self, person: Person, way: str = "operator") -> Any:
        return self.done("status", person, way=way)

    def consent(self, person: Person) -> Any:
        return self.world.operator.chain.consent_of(self.world.custody.dataset, person.address)

    def state(self, person: Person) -> ConsentState:
        return ConsentState(self.consent(person).state)

    def live(self) -> int:
        return self.world.operator.chain.shard(self.world.custody.classes[0], 0).live

    def pay(self) -> None:
        """One sealed request, which pays everybody who consents."""
        self.number += 1
        self.world.custody.seal_request(f"pay {self.number}")
        self.world.custody.tick()


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    folder = tmp_path_factory.mktemp("people")
    with api_world(folder) as made:
        relays = [custodian.keys.relay.address for custodian in made.custodians]
        fund(made.operator.chain.node, EMBEDDED_KEY, relays, ETHER)
        yield People(made, folder / "people")


# --- stopping and pausing, by every way


@pytest.mark.parametrize("way", [*WAYS, "custodian"])
def test_a_patient_revokes_and_is_in_no_cohort_by_every_way(people: People, way: str) -> None:
    patient = people.patient()
    before = people.live()
    done = people.done("revoke", patient, way=way)
    assert (done["state"], done["outcome"]) == ("none", "revoked")
    assert done["in_words"][0].startswith("Revoked.")
    assert (people.state(patient), people.live()) == (ConsentState.NONE, before - 1)
    receipt = people.world.operator.chain.node.receipt(bytes.fromhex(done["transaction"][2:]))
    assert receipt is not None
    again = people.done("revoke", patient, way=way)
    assert again["in_words"][0].startswith("Nothing changed: no consent was in force.")


def test_a_patient_with_ether_revokes_without_anybody(people: People) -> None:
    patient = people.patient()
    fund(people.world.operator.chain.node, EMBEDDED_KEY, [patient.address], ETHER)
    assert people.done("revoke", patient, way="past")["state"] == "none"


def test_a_patient_without_ether_is_told_what_is_missing(people: People) -> None:
    patient = people.patient()
    said = people.refused("revoke", patient, way="past")
    assert "[insufficient_funds]" in said
    assert patient.address in said
    for option in ("--gas-key-file", "--custodian", "--node"):
        assert option in said, "each is another way to stop now"
    assert people.state(patient) is ConsentState.LIVE
    said = people.refused("rest", patient, way="past")
    assert "--gas-key-file" in said
    assert "--custodian" not in said, "custodians carry no rest"


@pytest.mark.parametrize("way", daily(WAYS, ["operator"]))
def test_a_patient_rests_and_wakes(people: People, way: str) -> None:
    patient = people.patient()
    before = people.live()
    rested = people.done("rest", patient, way=way)
    assert rested["state"] == "rested_by_patient"
    assert rested["in_words"][0].startswith("Paused.")
    assert people.live() == before - 1
    woken = people.done("wake", patient, way=way)
    assert woken["state"] == "live"
    assert woken["in_words"][0].startswith("Woken. The consent to class 1 is live until")
    assert people.live() == before
    assert "[nothing_to_wake]" in people.refused("wake", patient, way=way)


def test_a_custodian_carries_what_ends_consent_and_nothing_else(people: People) -> None:
    patient = people.patient()
    assert "No such option" in people.call("rest", patient, way="custodian").output
    assert people.state(patient) is ConsentState.LIVE


@pytest.mark.parametrize("way", WAYS)
def test_earnings_are_paid_to_another_address(people: People, way: str) -> None:
    patient, elsewhere = people.patient(), people.person("elsewhere")
    people.pay()
    owed = people.consent(patient).owed
    assert owed > 0
    done = people.done("withdraw", patient, "--to", elsewhere.address, way=way)
    assert (done["paid"], done["balance"], done["to"]) == (str(owed), str(owed), elsewhere.address)
    assert f"{Token().amount(owed)} paid to" in done["in_words"][0]
    receipt = people.world.operator.chain.node.receipt(bytes.fromhex(done["transaction"][2:]))
    assert receipt is not None
    assert people.consent(patient).owed == 0
    again = people.refused("withdraw", patient, "--to", elsewhere.address, way=way)
    assert "[nothing_owed]" in again


@pytest.mark.parametrize("way", daily(WAYS, ["operator"]))
def test_a_patient_grants_again_and_the_lifetime_budget_is_not_reset(
    people: People, way: str
) -> None:
    patient = people.patient()
    people.pay()
    spent = people.consent(patient).spent
    assert spent > 0
    people.done("revoke", patient)
    granted = people.done("grant", patient, "--cap", str(CAP), way=way)
    assert (granted["state"], granted["spent"], granted["cap"]) == ("live", spent, CAP)
    assert granted["left"] == CAP - spent
    assert f"{spent:,} are spent and {CAP - spent:,} left" in granted["in_words"][0]
    low = people.refused("grant", patient, "--cap", str(spent + 1), way=way)
    assert f"of {spent + 1:,} nano-rho, {spent:,} are spent. 1 nano-rho" in low
    assert "[budget_too_small] (field cap)" in low


def test_a_class_that_the_dataset_has_not_is_named(people: People) -> None:
    patient = people.person("nobody")
    for way in WAYS:
        output = people.refused("grant", patient, "--cap", "1", "--class", "9", way=way)
        assert "[unknown_class]" in output


# --- guardians


@pytest.mark.parametrize("way", daily(WAYS, ["operator"]))
def test_a_guardian_rests_and_revokes_and_neither_grants_nor_wakes(
    people: People, way: str
) -> None:
    patient, guardian = people.patient(), people.person("guardian")
    done = people.done("appoint-guardian", patient, "--guardian", guardian.address, way=way)
    assert done["guardian"]["address"] == guardian.address
    assert done["guardian"]["may_grant"] is False
    assert f"{guardian.address} is guardian until" in done["in_words"][0]
    acting = ("--patient", patient.address)
    assert people.done("rest", guardian, *acting, way=way)["state"] == "rested_by_patient"
    assert "[not_authorised]" in people.refused("wake", guardian, *acting, way=way)
    assert people.done("revoke", guardian, *acting, way=way)["state"] == "none"
    output = people.refused("grant", guardian, *acting, "--cap", str(CAP), way=way)
    assert "[not_authorised]" in output
    assert people.state(patient) is ConsentState.NONE


def test_a_guardian_who_may_grant_grants_and_wakes_for_the_patient(people: People) -> None:
    patient, guardian = people.patient(), people.person("guardian")
    people.done("appoint-guardian", patient, "--guardian", guardian.address, "--may-grant")
    acting = ("--patient", patient.address)
    people.done("rest", patient)
    assert people.done("wake", guardian, *acting)["state"] == "live"
    people.done("revoke", patient)
    assert people.done("grant", guardian, *acting, "--cap", str(CAP))["state"] == "live"
    assert people.state(guardian) is ConsentState.NONE


def test_a_guardian_revokes_through_a_custodian(people: People) -> None:
    patient, guardian = people.patient(), people.person("guardian")
    people.done("appoint-guardian", patient, "--guardian", guardian.address)
    acting = ("--patient", patient.address)
    assert people.done("revoke", guardian, *acting, way="custodian")["state"] == "none"


@pytest.mark.parametrize("way", daily(WAYS, ["operator"]))
def test_a_dismissed_guardian_can_do_nothing(people: People, way: str) -> None:
    patient, guardian = people.patient(), people.person("guardian")
    people.done("appoint-guardian", patient, "--guardian", guardian.address, "--may-grant")
    dismissed = people.done("dismiss-guardian", patient, way=way)
    assert dismissed["guardian"] is None
    assert dismissed["in_words"][0] == "No guardian acts for you any more."
    assert (OPERATORS_WORD in dismissed["in_words"]) is (way == "operator")
    for command in ("rest", "revoke"):
        output = people.refused(command, guardian, "--patient", patient.address)
        assert "[not_authorised]" in output
    assert people.state(patient) is ConsentState.LIVE


def test_a_stranger_acts_for_nobody(people: People) -> None:
    patient, stranger = people.patient(), people.person("stranger")
    for way in (*WAYS, "custodian"):
        output = people.refused("revoke", stranger, "--patient", patient.address, way=way)
        assert "[not_authorised]" in output
    assert people.state(patient) is ConsentState.LIVE


# --- another address, and erasure


@pytest.mark.parametrize("way", WAYS)
def test_an_address_is_left_for_a_fresh_one_with_everything(people: People, way: str) -> None:
    patient, fresh = people.patient(), people.person("fresh")
    people.pay()
    before = people.consent(patient)
    people.done("appoint-guardian", patient, "--guardian", people.person("guardian").address)
    people.world.custody.tick()
    moved = people.done("rotate", patient, "--new-key-file", str(fresh.key_file), way=way)
    assert (moved["address"], moved["state"]) == (fresh.address, "live")
    assert (moved["spent"], moved["owed"]) == (before.spent, str(before.owed))
    assert moved["guardian"] is None
    assert f"Moved from {patient.address} to {fresh.address}" in moved["in_words"][0]
    assert people.state(patient) is ConsentState.MOVED
    assert people.done("revoke", fresh)["state"] == "none"


def test_an_address_in_use_is_not_moved_to(people: People) -> None:
    patient, other = people.patient(), people.patient()
    output = people.refused("rotate", patient, "--new-key-file", str(other.key_file))
    assert "[address_in_use]" in output
    assert people.state(patient) is ConsentState.LIVE


@pytest.mark.parametrize("way", [*WAYS, "custodian"])
def test_an_erasure_ends_consent_and_destroys_the_shares(people: People, way: str) -> None:
    patient = people.patient()
    commitment = people.world.custody.records[patient.address].commitment
    done = people.done("erase", patient, "--yes", way=way)
    assert (done["state"], done["record"]["erased"]) == ("none", True)
    assert done["in_words"][0].startswith("Erased. Your consent has ended")
    for custodian in people.world.custodians:
        custodian.watch.catch_up()
        assert custodian.journal.is_erased(commitment)


def test_nothing_is_erased_that_nobody_agreed_to_and_a_revocation_asks_nobody(
    people: People,
) -> None:
    patient = people.patient()
    for way in (*WAYS, "custodian"):
        output = people.refused("erase", patient, way=way)
        assert "[not_agreed] (field yes)" in output
        assert "usufruct revoke" in output
    assert people.state(patient) is ConsentState.LIVE
    assert not people.status(patient)["record"]["erased"]
    assert people.done("revoke", patient)["state"] == "none"


def test_who_has_no_record_has_nothing_to_erase(people: People) -> None:
    assert "[no_record]" in people.refused("erase", people.person("nobody"))


# --- who says that it is done, and did nothing


@pytest.mark.parametrize("command", ["revoke", "erase"])
def test_a_custodian_that_carries_nothing_is_not_believed(
    people: People, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "SEEN_SECONDS", 1.0)
    patient, app = people.patient(), flask.Flask("liar")
    for path in ("/revocations", "/erasures"):
        app.add_url_rule(
            path, path, lambda: {"transaction": "0x" + "11" * 32, "block": 1}, methods=["POST"]
        )
    given = [*people.way("past"), "--key-file", str(patient.key_file)]
    given += ["--dataset", people.world.dataset, *(["--yes"] if command == "erase" else [])]
    with served(app) as url:
        result = CliRunner().invoke(main, [command, *given, "--custodian", url])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "[not_done]" in result.stderr
    assert "another --custodian" in result.stderr
    assert people.state(patient) is ConsentState.LIVE
    assert people.done("revoke", patient, way="custodian")["state"] == "none"


def test_an_erasure_of_a_record_that_came_back_is_not_taken_for_done() -> None:
    """It was erased before, and says so until the new one is stored."""
    seen = {"commitment": "0x" + "00" * 32, "pending": "0x" + "22" * 32, "erased": True}
    assert not _is_erased({"record": seen})
    assert _is_erased({"record": {**seen, "pending": "0x" + "00" * 32}})
    assert not _is_erased({"record": {**seen, "pending": "0x" + "00" * 32, "erased": False}})


def test_an_address_that_was_left_has_nothing_to_revoke(people: People) -> None:
    patient, fresh = people.patient(), people.person("fresh")
    people.done("rotate", patient, "--new-key-file", str(fresh.key_file))
    done = people.done("revoke", patient, way="oneself")
    assert done["in_words"][0].startswith("Nothing changed")
    assert people.done("revoke", fresh)["state"] == "none"


def test_an_operator_that_shows_a_consent_after_its_revocation_is_not_believed(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "SEEN_SECONDS", 1.0)
    patient, app = people.patient(), flask.Flask("liar")
    prefix = "/api/v1"
    app.add_url_rule(f"{prefix}/market", "m", lambda: people.world.get("/market").get_json())
    app.add_url_rule(
        f"{prefix}/messages",
        "s",
        lambda: {"outcomes": [{"kind": "revocation", "outcome": "relayed"}]},
        methods=["POST"],
    )
    app.add_url_rule(
        f"{prefix}/datasets/<dataset>/consents/<who>",
        "c",
        lambda dataset, who: people.world.get(f"/datasets/{dataset}/consents/{who}").get_json(),
    )
    given = ["--key-file", str(patient.key_file), "--dataset", people.world.dataset]
    with served(app) as url:
        result = CliRunner().invoke(main, ["revoke", "--url", url, *given])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "[not_done]" in result.stderr


def test_a_grant_that_an_operator_held_back_for_a_made_up_sequence_dies_with_the_revocation(
    people: People,
) -> None:
    """It was told the sequence at which the shortest revocation would leave the consent."""
    patient, market = people.patient(), people.market
    current = people.consent(patient).sequence
    (class_,) = people.world.get(f"/datasets/{people.world.dataset}").get_json()["classes"]
    key = bytes(patient.account.key)
    held = [
        market.grant_message(
            key, class_, CAP, people.world.custody.later(365 * 86_400), current + jump
        )
        for jump in range(REVOCATION_REACH, REVOCATION_REACH + 4)
    ]
    assert people.done("revoke", patient, way="custodian")["state"] == "none"
    outcomes = people.market.relay(held)
    assert [each["outcome"] for each in outcomes] == ["refused"] * 4
    assert {each["code"] for each in outcomes} == {"wrong_sequence"}
    assert people.state(patient) is ConsentState.NONE


# --- a lying operator


def test_a_lie_about_the_sequence_neither_stops_a_revocation_nor_ends_all_grants(
    people: People,
) -> None:
    patient, seen = people.patient(), list[Any]()
    app = flask.Flask("liar")
    prefix = "/api/v1"

    @app.get(f"{prefix}/market")
    def market() -> Any:
        return people.world.get("/market").get_json()

    @app.get(f"{prefix}/datasets/<dataset>/consents/<who>")
    def consent(dataset: str, who: str) -> Any:
        true = people.world.get(f"/datasets/{dataset}/consents/{who}").get_json()
        state = "none" if seen else true["state"]
        return {**true, "state": state, "sequence": HIGHEST_TOLD + 2 * len(seen)}

    @app.post(f"{prefix}/messages")
    def messages() -> Any:
        seen.append(flask.request.get_json())
        return {"outcomes": [{"kind": "revocation", "outcome": "relayed"}]}

    given = ["--key-file", str(patient.key_file), "--dataset", people.world.dataset]
    with served(app) as url:
        result = CliRunner().invoke(main, ["revoke", "--url", url, *given])
    assert result.exit_code == 0, result.output
    (message,) = seen[0]["messages"]
    assert message["message"]["sequence"] == HIGHEST_TOLD + 1 < HIGHEST_PLAUSIBLE


@pytest.mark.parametrize("way", ["oneself", "custodian", "operator"])
def test_a_revocation_goes_whatever_the_sequence_is(people: People, way: str) -> None:
    """Somebody had the patient sign such a number before; only the last one of all ends grants for ever."""
    patient, world = people.patient(), people.world
    chain, dataset, market = world.operator.chain, world.custody.dataset, people.market
    high = HIGHEST_PLAUSIBLE + 1
    signed = market.revocation_message(bytes(patient.account.key), dataset, high, own_node=True)
    assert market.relay([signed])[0]["outcome"] == "relayed"
    reached = chain.consent_of(dataset, patient.address).sequence
    assert reached > HIGHEST_PLAUSIBLE
    assert "[implausible_sequence]" in people.refused("grant", patient, "--cap", str(CAP))
    assert people.done("grant", patient, "--cap", str(CAP), way="oneself")["state"] == "live"
    assert people.done("revoke", patient, way=way)["state"] == "none"
    assert chain.consent_of(dataset, patient.address).sequence > reached


@pytest.mark.parametrize("told", ["7", -1, True, None, 2**32])
def test_a_sequence_that_is_no_number_is_refused_in_words(people: People, told: Any) -> None:
    patient = people.person("nobody")
    app = flask.Flask("liar")

    @app.get("/api/v1/market")
    def market() -> Any:
        return people.world.get("/market").get_json()

    @app.get("/api/v1/datasets/<dataset>/consents/<who>")
    def consent(dataset: str, who: str) -> Any:
        return {"sequence": told, "state": "live"}

    given = ["--key-file", str(patient.key_file), "--dataset", people.world.dataset]
    with served(app) as url:
        result = CliRunner().invoke(main, ["revoke", "--url", url, *given])
    assert result.exit_code == 1
    assert "sequence" in result.output
    assert isinstance(result.exception, SystemExit), result.exception


# --- how it stands


def test_the_status_is_the_same_from_the_operator_and_from_an_own_node(people: People) -> None:
    patient = people.patient()
    people.pay()
    told = people.status(patient)
    assert told == people.status(patient, way="past")
    words = " ".join(told["in_words"])
    assert "class 1 is live until" in words
    consent = people.consent(patient)
    left = CAP - consent.spent
    assert 0 < consent.spent < CAP
    assert f"{CAP:,} nano-rho, {consent.spent:,} are spent and {left:,} are left" in words
    assert f"{left // MAX_COST} requests" in words
    assert f"at most {right_at_most(consent.spent)} times" in words
    assert f"at most {right_at_most(CAP)} times" in words
    assert f"Earned and not withdrawn: {Token().amount(consent.owed)}." in words


def test_the_status_of_a_paused_and_of_an_ended_consent_says_so(people: People) -> None:
    patient = people.patient()
    people.done("rest", patient)
    assert "paused" in people.status(patient)["in_words"][0]
    people.done("erase", patient, "--yes")
    words = people.status(patient)["in_words"]
    assert "no cohort counts this patient" in words[0]
    assert any("erased" in each for each in words)


def test_the_status_of_somebody_unknown_says_that_there_is_nothing(people: People) -> None:
    nobody = people.person("nobody")
    for way in ("operator", "past"):
        words = " ".join(people.status(nobody, way=way)["in_words"])
        assert "No consent is in force" in words
        assert "No record is stored" in words


def test_the_status_in_a_dataset_that_nobody_published_is_refused(people: People) -> None:
    patient = people.person("mistyped")
    for way in ("operator", "past"):
        given = ["status", *people.way(way), "--dataset", "0x" + "11" * 32]
        result = CliRunner().invoke(main, [*given, "--patient", patient.address])
        assert result.exit_code == 1, result.output
        assert "[unknown_dataset]" in result.output


def status_of(people: People, request: str, way: str) -> str:
    given = ["status", *people.way(way), "--request", request]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 0, result.output
    return " ".join(json.loads(result.stdout)["in_words"])


def asked(
    people: People,
    folder: Path,
    *more: str,
    purpose: Purpose = PURPOSE,
    key_file: Path | None = None,
) -> Result:
    """`usufruct request` for a mean, by the world's one researcher unless told otherwise."""
    world, written = people.world, folder / "purpose.json"
    written.write_text(json.dumps(purpose.to_json()))
    command = ["request", "--url", world.url, "--node", world.custody.node_url]
    command += ["--key-file", str(key_file or world.config_path.parent / "faucet.key")]
    command += ["--delivery-key-file", str(folder / "delivery.key"), "--dataset", world.dataset]
    command += ["--analysis", "mean.v1", "--parameters", '{"variable": "systolic"}']
    command += ["--cost", "10000", "--purpose", str(written)]
    return CliRunner().invoke(main, [*command, *more])


def answer_of(people: People, request: str, folder: Path, way: str, *more: str) -> Result:
    given = ["result", *people.way(way), "--request", request]
    given += ["--delivery-key-file", str(folder / "delivery.key")]
    return CliRunner().invoke(main, [*given, *more])


def test_a_quote_makes_no_key(people: People, tmp_path: Path) -> None:
    quoted = asked(people, tmp_path, "--quote-only")
    assert quoted.exit_code == 0, quoted.output
    assert json.loads(quoted.stdout)["cost_nano_rho"] == 10_000
    assert not (tmp_path / "delivery.key").exists()


@pytest.mark.parametrize("quote_only", [True, False])
def test_a_purpose_that_no_patient_permits_is_said_with_the_price_and_not_after_it(
    people: People, tmp_path: Path, quote_only: bool
) -> None:
    more = ["--quote-only"] if quote_only else ["--yes"]
    result = asked(people, tmp_path, *more, purpose=replace(PURPOSE, clinical_care=True))
    if quote_only:
        refusal = json.loads(result.stdout)["refusal"]
        assert "It cannot be bought like this" in json.loads(result.stdout)["in_words"][0]
    else:
        assert (result.exit_code, result.stdout) == (1, "")
        refusal = {"code": "purpose_not_permitted", "message": result.stderr}
        assert "(field terms.purpose)" in result.stderr
        assert "submitted" not in result.stderr
    assert refusal["code"] == "purpose_not_permitted"
    assert "The patients of class 1 do not permit this purpose" in refusal["message"]
    assert not (tmp_path / "delivery.key").exists()


def test_a_researcher_without_a_credential_learns_it_with_the_price(
    people: People, tmp_path: Path
) -> None:
    result = asked(people, tmp_path, "--quote-only", key_file=people.person("nobody").key_file)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["refusal"]["code"] == "credential_missing"


def test_a_client_that_ends_early_has_the_id_and_fetches_its_answer_with_or_without_the_operator(
    people: People, tmp_path: Path
) -> None:
    world = people.world
    left = asked(people, tmp_path, "--wait", "0", "--yes")
    assert left.exit_code == 1, left.output
    assert "[still_running]" in left.stderr
    # A permit takes the place of the allowance that other tests pay from.
    world.custody.sender.send("TestEuro", "approve", world.custody.manifest.market, 10**12)
    request = next(line for line in left.stderr.splitlines() if line.startswith("submitted "))[10:]
    command = f"usufruct result --request {request} --delivery-key-file"
    assert f"{command} {tmp_path / 'delivery.key'}" in left.stderr
    assert "Paid into escrow" in status_of(people, request, "past")
    for way in ("operator", "past"):
        assert "[still_running]" in answer_of(people, request, tmp_path, way, "--wait", "0").output
    world.custody.tick()
    world.settle(request)
    world.custody.tick()
    shown = {}
    for way in ("operator", "past"):
        assert f"Answered, for a cohort of {people.live()}" in status_of(people, request, way)
        receipt = tmp_path / f"{way}.json"
        fetched = answer_of(people, request, tmp_path, way, "--receipt", str(receipt))
        assert fetched.exit_code == 0, fetched.output
        shown[way] = json.loads(fetched.stdout)
        assert list(shown[way])[:3] == ["in_words", "result", "unit"]
        assert shown[way].pop("receipt") == str(receipt)
        assert json.loads(receipt.read_bytes())["request"] == request
    assert (tmp_path / "operator.json").read_bytes() == (tmp_path / "past.json").read_bytes()
    assert shown["operator"] == shown["past"]
    assert shown["past"]["cohort_size"] == people.live()
    low, high = map(float, shown["past"]["result"][0]["interval"])
    assert low <= float(shown["past"]["result"][0]["value"]) <= high
    verify = ["verify-receipt", str(receipt), *people.way("past")[2:]]
    assert CliRunner().invoke(main, verify).exit_code == 0


def test_another_delivery_key_opens_nothing(people: People, tmp_path: Path) -> None:
    requests = people.world.get("/requests").get_json()["requests"]
    settled = next(each["request"] for each in requests if each["stage"] == "settled")
    keyfiles.create(tmp_path / "delivery.key", hpke.generate().raw)
    for way in ("operator", "past"):
        output = answer_of(people, settled, tmp_path, way).output
        assert "[envelope_unreadable]" in output
        assert "--delivery-key-file of that very request" in output
    (tmp_path / "delivery.key").unlink()
    output = answer_of(people, settled, tmp_path, "past").output
    assert "[key_file]" in output
    assert "--delivery-key-file of that very request" in output


def test_what_was_never_opened_has_no_answer(people: People, tmp_path: Path) -> None:
    keyfiles.create(tmp_path / "delivery.key", hpke.generate().raw)
    nowhere = "0x" + "11" * 32
    assert "[never_opened]" in answer_of(people, nowhere, tmp_path, "past").output
    assert "[unknown_request]" in answer_of(people, nowhere, tmp_path, "operator").output


def test_a_researcher_who_cannot_pay_gas_is_told_before_anything_is_handed_in(
    people: People,
) -> None:
    world, poor = people.world, account("no ether")
    market = Marketplace(world.url, world.custody.node_url)
    with pytest.raises(Refusal) as refused:
        Ask(market, bytes(poor.key), hpke.generate()).require_gas()
    assert (refused.value.code, refused.value.field) == ("insufficient_funds", "key_file")
    fund(world.operator.chain.node, EMBEDDED_KEY, [poor.address], ETHER)
    Ask(market, bytes(poor.key), hpke.generate()).require_gas()


# --- a researcher's way back


def test_a_request_is_cancelled_and_its_escrow_paid_out(people: People) -> None:
    world, folder = people.world, people.world.config_path.parent
    terms = world.terms("cancelled")
    request = to_hex(world.custody.open(terms))
    chain, before = world.operator.chain, world.operator.chain.credit_of(world.researcher.address)
    own = ["--key-file", str(folder / "faucet.key")]
    pinned = ["--node", world.custody.node_url, "--manifest", str(folder / "manifest.json")]
    ended = ["cancel", "--url", NOBODY, *pinned, *own, "--request", request]
    result = CliRunner().invoke(main, ended)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["stage"] == "cancelled"
    assert "usufruct withdraw-credit" in said["in_words"][0]
    assert chain.credit_of(world.researcher.address) == before + terms.escrow
    elsewhere = people.person("elsewhere").address
    paid = ["withdraw-credit", "--url", NOBODY, *pinned, *own, "--to", elsewhere]
    result = CliRunner().invoke(main, paid)
    assert result.exit_code == 0, result.output
    assert chain.balance_of(elsewhere) == before + terms.escrow
