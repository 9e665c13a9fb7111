"""Whoever may upload messages empties no gas account with them, and holds back nobody's revocation."""

import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from marketplace.chain import allowance
from marketplace.chain.adapter import Chain, ConsentState, Finality
from marketplace.chain.allowance import MESSAGES, REVOCATIONS_WITHOUT_CONSENT, UnderWay
from marketplace.chain.funding import fund
from marketplace.chain.patience import MOST_REFUSED, Patience
from marketplace.chain.rpc import Node
from marketplace.chain.sender import BatchOutcome, Sender
from marketplace.chain.wallets import Signers
from marketplace.client.messages import REVOCATION_REACH
from marketplace.config import load_config
from marketplace.custodian.failures import Failures
from marketplace.custodian.relaying import Relaying
from marketplace.errors import Refusal
from marketplace.operator import build_operator
from marketplace.relay.worth import OTHER, Today
from marketplace.store import Database
from marketplace.wire.http import to_hex
from marketplace.wire.http_client import post
from marketplace.wire.messages import Message, parse_message
from marketplace.wire.record import SealedRecord, dump
from marketplace.wire.structs import (
    EarningsWithdrawal,
    Erasure,
    Grant,
    Guardianship,
    RecordAttestation,
    Revocation,
    Rotation,
    sign,
)
from tests.contracts.hostile_code import MAGIC, assemble
from tests.support.api_world import ApiWorld, api_world
from tests.support.chain_world import account
from tests.support.nodes import EMBEDDED_KEY

T = TypeVar("T")
YES = assemble(f"{MAGIC << 224} 0 MSTORE 32 0 RETURN")
"""A wallet that takes every signature."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with relaying_world(tmp_path_factory.mktemp("relay")) as made:
        yield made


@contextmanager
def relaying_world(folder: Path) -> Iterator[ApiWorld]:
    """Whose custodians can pay for what they relay, and where it stays the day on which this began, so that
    what is counted by the day begins anew at no midnight.
    """
    began = time.time()
    with pytest.MonkeyPatch.context() as patched, api_world(folder) as made:
        patched.setattr(allowance, "time", SimpleNamespace(time=lambda: began))
        relays = [each.keys.relay.address for each in made.custodians]
        fund(made.operator.chain.node, EMBEDDED_KEY, relays, 10**18)
        yield made


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every question to a node, by name."""
    asked: list[str] = []
    ask: Callable[..., Any] = Node.ask

    def counted(self: Node, what: str, call: Callable[[], T]) -> T:
        asked.append(what)
        found: T = ask(self, what, call)
        return found

    monkeypatch.setattr(Node, "ask", counted)
    return asked


def new_patient(world: ApiWorld, name: str) -> LocalAccount:
    """With a record and a live consent."""
    patient = account(name)
    entry = world.upload_entry(patient, world.sealed(patient, 120))
    (stored,) = world.post("/records", {"entries": [entry]}).get_json()["outcomes"]
    assert stored["outcome"] == "stored", stored
    assert codes(upload(world, [world.grant_message(patient)])) == ["relayed"]
    return patient


def signed(world: ApiWorld, kind: str, struct: Any, key: LocalAccount) -> dict[str, Any]:
    contract = "ResearchMarket" if kind.endswith("withdrawal") else "ConsentRegistry"
    signature = to_hex(sign(struct, world.operator.chain.domain(contract), key))
    said = {"kind": kind, "message": struct.to_json(), "signature": signature}
    return said | ({"signer": key.address} if kind in ("grant", "revocation", "rest") else {})


def revocation(
    world: ApiWorld, patient: LocalAccount, above: int = REVOCATION_REACH
) -> dict[str, Any]:
    current = consent(world, patient).sequence
    struct = Revocation(patient.address, world.custody.dataset, current + above)
    return signed(world, "revocation", struct, patient)


def erasure(world: ApiWorld, patient: LocalAccount) -> dict[str, Any]:
    return signed(world, "erasure", Erasure(patient.address, world.custody.dataset, 1), patient)


def consent(world: ApiWorld, patient: LocalAccount) -> Any:
    return world.operator.chain.consent_of(world.custody.dataset, patient.address)


def upload(world: ApiWorld, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    response = world.post("/messages", {"messages": list(messages)})
    assert response.status_code == 200, response.get_data(as_text=True)
    return list(response.get_json()["outcomes"])


def codes(outcomes: Sequence[Mapping[str, Any]]) -> list[str]:
    """`relayed`, or why not."""
    return [each.get("code", each["outcome"]) for each in outcomes]


def sent_by(world: ApiWorld, address: str) -> int:
    node = world.operator.chain.node
    return int(node.request("eth_getTransactionCount", [address, "latest"]), 16)


def revoke_at_custodian(world: ApiWorld, said: Mapping[str, Any], place: int = 0) -> Any:
    body = {
        "revocation": said["message"],
        "signer": said["signer"],
        "signature": said["signature"],
    }
    return post(world.custodian_urls[place], "/revocations", body, timeout=60)


def erase_at_custodian(world: ApiWorld, said: Mapping[str, Any], place: int = 0) -> Any:
    body = {"erasure": said["message"], "signature": said["signature"]}
    return post(world.custodian_urls[place], "/erasures", body, timeout=60)


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as found:
        act()
    assert found.value.remedy
    return found.value.code


# --- erasures

ALREADY = {"already_erased", "erased_for_good"}
"""A custodian's word that its own chain has an erasure."""


def test_an_erasure_is_carried_once_however_often_it_is_sent(world: ApiWorld) -> None:
    """Its signature stays good until a newer version is attested, and anybody can read it on chain."""
    said, operator = erasure(world, new_patient(world, "erased")), world.operator.sender.address
    before = sent_by(world, operator)
    outcomes = upload(world, [said] * 30)
    assert codes(outcomes) == ["relayed"] * 30
    assert len({each["transaction"] for each in outcomes}) == 1
    assert sent_by(world, operator) == before + 1
    assert set(codes(upload(world, [said] * 30))) == {"nothing_to_erase"}
    assert sent_by(world, operator) == before + 1


def test_a_custodian_carries_an_erasure_once(world: ApiWorld) -> None:
    said, relay = (
        erasure(world, new_patient(world, "erased there")),
        world.custodians[0].keys.relay.address,
    )
    assert erase_at_custodian(world, said)["transaction"]
    before = sent_by(world, relay)
    assert refused(lambda: erase_at_custodian(world, said)) in ALREADY
    forged = {**said, "signature": "0x" + "11" * 65}
    assert refused(lambda: erase_at_custodian(world, forged)) == "bad_signature"
    assert sent_by(world, relay) == before


def test_a_custodian_says_that_a_record_is_erased_only_where_its_own_chain_has_it_so(
    world: ApiWorld,
) -> None:
    """Somebody of whom it has seen nothing yet may have a record that others see."""
    unseen = account("not seen yet")
    assert refused(lambda: erase_at_custodian(world, erasure(world, unseen))) == "nothing_to_erase"
    patient = new_patient(world, "erased by the operator")
    said = erasure(world, patient)
    assert codes(upload(world, [said])) == ["relayed"]
    for place in range(len(world.custodians)):
        assert refused(partial(erase_at_custodian, world, said, place)) in ALREADY
    later = Erasure(patient.address, world.custody.dataset, 2)
    of_none = signed(world, "erasure", later, patient)
    assert refused(lambda: erase_at_custodian(world, of_none)) == "nothing_to_erase"


def test_a_custodian_calls_an_erasure_for_good_once_its_block_is_final(world: ApiWorld) -> None:
    patient, custodian = new_patient(world, "not final yet"), world.custodians[0]
    said = erasure(world, patient)
    struct = Erasure.from_json(said["message"], "erasure.")
    signature = bytes.fromhex(said["signature"][2:])
    chain = Chain(
        world.custody.node_url,
        custodian.chain.manifest,
        finality=Finality(confirmations=3, use_tag=False),
    )
    sender = Sender(chain, EMBEDDED_KEY)
    relaying = Relaying(chain, lambda: sender, Failures(custodian.journal))
    assert relaying.erasure(struct, signature)["transaction"]
    found = []
    for _ in range(4):
        found.append(refused(lambda: relaying.erasure(struct, signature)))
        chain.node.mine()
    assert found == ["already_erased"] * 3 + ["erased_for_good"]


def test_a_record_that_is_only_attested_can_be_erased(world: ApiWorld) -> None:
    patient = account("only attested")
    world.sealed(patient, 120)
    world.custody.attest([patient.address])
    assert codes(upload(world, [erasure(world, patient)])) == ["relayed"]
    assert codes(upload(world, [erasure(world, patient)])) == ["nothing_to_erase"]


# --- revocations


def test_a_custodian_carries_no_revocation_of_an_address_that_was_left_and_says_why(
    world: ApiWorld,
) -> None:
    """The contract would take it and end nothing: "carried" would read like "ended"."""
    old, new = new_patient(world, "leaves"), account("where it went")
    move = Rotation(world.custody.dataset, old.address, new.address, world.custody.later())
    both = signed(world, "rotation", move, old)
    both["signature_to"] = signed(world, "rotation", move, new)["signature"]
    assert codes(upload(world, [both])) == ["relayed"]
    relay = world.custodians[0].keys.relay.address
    before = sent_by(world, relay)
    assert refused(lambda: revoke_at_custodian(world, revocation(world, old))) == "moved"
    assert sent_by(world, relay) == before
    assert consent(world, new).state is ConsentState.LIVE
    assert revoke_at_custodian(world, revocation(world, new))["transaction"]
    assert consent(world, new).state is ConsentState.NONE


def test_what_ends_no_consent_is_carried_a_few_times_a_day_and_what_ends_one_always(
    world: ApiWorld,
) -> None:
    patient, most = new_patient(world, "revokes on"), REVOCATIONS_WITHOUT_CONSENT
    rising = [revocation(world, patient, above) for above in range(30)]
    expected = ["relayed"] * (1 + most) + ["enough_revoked"] * (29 - most)
    assert codes(upload(world, rising)) == expected
    assert consent(world, patient).state is ConsentState.NONE
    before = sent_by(world, world.operator.sender.address)
    assert codes(upload(world, [revocation(world, patient)])) == ["enough_revoked"]
    assert sent_by(world, world.operator.sender.address) == before
    for _ in range(2):
        renewed = world.grant_message(patient, sequence=consent(world, patient).sequence + 1)
        assert codes(upload(world, [renewed])) == ["relayed"]
        assert codes(upload(world, [revocation(world, patient)])) == ["relayed"]
        assert consent(world, patient).state is ConsentState.NONE
    assert codes(upload(world, [revocation(world, patient)])) == ["enough_revoked"]


def test_what_was_carried_today_is_known_after_a_restart(world: ApiWorld) -> None:
    patient = new_patient(world, "waits for a restart")
    upload(world, [revocation(world, patient, above) for above in range(10)])
    restarted = build_operator(load_config(world.config_path))
    try:
        (outcome,) = restarted.relay.carry_uploaded([revocation(world, patient)])
    finally:
        restarted.database.engine.dispose()
    assert outcome.refusal is not None
    assert outcome.refusal.code == "enough_revoked"


@pytest.mark.long
def test_a_custodian_counts_only_what_ends_no_consent(world: ApiWorld) -> None:
    patient, relay = new_patient(world, "at a custodian"), world.custodians[0].keys.relay.address
    for _ in range(1 + REVOCATIONS_WITHOUT_CONSENT):
        assert revoke_at_custodian(world, revocation(world, patient))["transaction"]
    before = sent_by(world, relay)
    assert refused(lambda: revoke_at_custodian(world, revocation(world, patient))) == (
        "enough_revoked"
    )
    assert sent_by(world, relay) == before
    # Each counts for itself, and none of them a consent that stands.
    assert revoke_at_custodian(world, revocation(world, patient), 1)["transaction"]
    renewed = world.grant_message(patient, sequence=consent(world, patient).sequence + 1)
    assert codes(upload(world, [renewed])) == ["relayed"]
    assert revoke_at_custodian(world, revocation(world, patient))["transaction"]
    assert consent(world, patient).state is ConsentState.NONE


def test_nobody_else_uses_up_a_patients_number(world: ApiWorld) -> None:
    patient = new_patient(world, "has an enemy")
    assert revoke_at_custodian(world, revocation(world, patient))["transaction"]
    said = revocation(world, patient)
    forged = {**said, "signature": revocation(world, account("the enemy"))["signature"]}
    old = revocation(world, patient, -1)  # signed by the patient, and superseded
    for _ in range(REVOCATIONS_WITHOUT_CONSENT + 1):
        assert refused(lambda: revoke_at_custodian(world, forged)) == "bad_signature"
        assert refused(lambda: revoke_at_custodian(world, old)) == "superseded_revocation"
    assert codes(upload(world, [forged, old] * 5)) == ["bad_signature", "superseded_revocation"] * 5
    assert revoke_at_custodian(world, said)["transaction"]
    assert codes(upload(world, [revocation(world, patient)])) == ["relayed"]


class Full(Database):
    """A database without room for another row."""

    def count(self, day: int, keys: Collection[Any], decide: Callable[[Any], T]) -> T:
        raise Refusal(code="storage_full", message="Full.", remedy="Free space.")


def test_a_full_database_holds_back_no_revocation_of_a_consent(world: ApiWorld) -> None:
    patient = new_patient(world, "beside a full disk")
    relay = replace(world.operator.relay, database=Full(world.operator.database.engine))
    said = [revocation(world, patient), revocation(world, patient, 1000)]
    outcomes = relay.carry_uploaded(said)
    assert [each.refusal and each.refusal.code for each in outcomes] == [None, "storage_full"]
    assert consent(world, patient).state is ConsentState.NONE


# --- grants and the rest


@pytest.mark.long
def test_a_patient_that_grants_and_revokes_without_end_is_counted(world: ApiWorld) -> None:
    patient = new_patient(world, "to and fro")
    first = consent(world, patient).sequence
    messages = []
    for turn in range(MESSAGES + 4):  # revoked, granted, revoked, granted
        struct = Revocation(patient.address, world.custody.dataset, first + 2 * turn)
        messages.append(signed(world, "revocation", struct, patient))
        messages.append(world.grant_message(patient, sequence=first + 2 * turn + 2))
    found = codes(upload(world, messages))
    grants = Counter(found[1::2])
    assert grants == {"relayed": MESSAGES - 1, "enough_carried": 5}  # one was there at first
    assert Counter(found[::2])["relayed"] <= MESSAGES + REVOCATIONS_WITHOUT_CONSENT
    renewed = world.grant_message(patient, sequence=consent(world, patient).sequence + 1)
    grant = Grant.from_json(renewed["message"], "grant.")
    world.custody.sender.send(  # another one carries it: the operator still ends it
        "ConsentRegistry",
        "grantBySig",
        grant,
        patient.address,
        bytes.fromhex(renewed["signature"][2:]),
    )
    assert codes(upload(world, [renewed])) == ["wrong_sequence"]
    assert codes(upload(world, [revocation(world, patient)])) == ["relayed"]
    assert consent(world, patient).state is ConsentState.NONE


def parsed(world: ApiWorld, kind: str, struct: Any, *keys: LocalAccount) -> Message:
    said = signed(world, kind, struct, keys[0])
    if len(keys) > 1:
        said["signature_to"] = signed(world, kind, struct, keys[1])["signature"]
    return parse_message(said, "messages[0]")


def test_the_count_moves_along_with_a_patient(world: ApiWorld) -> None:
    """Or each new address would have a number of its own."""
    old, new, dataset = account("old address"), account("new address"), world.dataset
    counts: Counter[tuple[str, str, str]] = Counter({(OTHER, dataset, old.address): MESSAGES - 1})
    today = Today({}, set(), counts)
    move = Rotation(world.custody.dataset, old.address, new.address, world.custody.later())
    assert today.refusal(parsed(world, "rotation", move, old, new)) is None
    back = replace(move, from_=new.address, to=account("newest address").address)
    found = today.refusal(parsed(world, "rotation", back, new, account("newest address")))
    assert found is not None
    assert found.code == "enough_carried"


def test_of_two_withdrawals_only_the_first_is_carried(world: ApiWorld) -> None:
    patient, today = world.patients[0], Today({}, set(), Counter())
    to = account("elsewhere").address
    for nonce, expected in ((1, None), (2, "nothing_owed")):
        struct = EarningsWithdrawal(
            patient.address, world.custody.dataset, to, nonce, world.custody.later()
        )
        found = today.refusal(parsed(world, "earnings_withdrawal", struct, patient))
        assert (found and found.code) == expected


def test_guardians_of_addresses_made_up_cost_nothing(world: ApiWorld) -> None:
    """The contract takes an appointment from any account."""
    before, later = sent_by(world, world.operator.sender.address), world.custody.later()
    messages = []
    for number in range(3):
        nobody = account(f"nobody {number}")
        struct = Guardianship(
            nobody.address, world.custody.dataset, nobody.address, later, False, 1, later
        )
        messages.append(signed(world, "guardianship", struct, nobody))
    assert set(codes(upload(world, messages))) == {"nothing_to_guard"}
    assert sent_by(world, world.operator.sender.address) == before


# --- at the same moment


class Twofold(Sender):
    """While the chain judges a batch, somebody sends the same messages again."""

    again: Callable[[], object] | None = None

    def batch(self, contract: str, calls: Sequence[tuple[str, Sequence[Any]]], **more: Any) -> Any:
        act, self.again = self.again, None
        if act is not None:
            act()
        done: BatchOutcome = super().batch(contract, calls, **more)
        return done


def test_what_is_being_carried_is_not_carried_beside_it(world: ApiWorld) -> None:
    """The consent still stands while the first one waits for its block."""
    patient, said = new_patient(world, "in a hurry"), []
    sender = Twofold(world.operator.chain, EMBEDDED_KEY)
    relay = replace(world.operator.relay, sender=sender)
    first = revocation(world, patient)
    others = [first, *(revocation(world, patient, 1000 + i) for i in range(10))]
    sender.again = lambda: said.extend(relay.carry_uploaded(others))
    before = sent_by(world, sender.address)
    (outcome,) = relay.carry_uploaded([first])
    found = [each.refusal and each.refusal.code for each in said]
    most = REVOCATIONS_WITHOUT_CONSENT
    assert found == ["under_way", *[None] * most, *["enough_revoked"] * (10 - most)]
    assert outcome.refusal is not None  # the ones beside it ended the consent first
    assert outcome.refusal.code == "superseded_revocation"
    assert sent_by(world, sender.address) == before + 2
    assert consent(world, patient).state is ConsentState.NONE


def test_a_custodian_carries_one_erasure_at_a_time(world: ApiWorld) -> None:
    patient, said = new_patient(world, "erased at once"), []
    struct = Erasure(patient.address, world.custody.dataset, 1)
    signature = sign(struct, world.operator.chain.domain("ConsentRegistry"), patient)

    class Slow(Sender):
        def send(self, *call: Any, **more: Any) -> Any:
            said.append(refused(lambda: relaying.erasure(struct, signature)))
            return super().send(*call, **more)

    chain = world.custodians[0].chain
    journal = world.custodians[0].journal
    relaying = Relaying(chain, lambda: Slow(chain, EMBEDDED_KEY), Failures(journal))
    assert relaying.erasure(struct, signature)["transaction"]
    assert said == ["under_way"]


def test_nothing_stays_under_way_after_a_failure() -> None:
    under_way = UnderWay()

    def fail() -> None:
        with under_way.entering({"one"}) as mine:
            assert mine == {"one"}
            with under_way.entering({"one", "two"}) as others:
                assert others == {"two"}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with under_way.entering({"one", "two"}) as mine:
        assert mine == {"one", "two"}


# --- what a refusal costs


def forged_by(world: ApiWorld, name: str) -> dict[str, Any]:
    nobody = account(name)
    struct = Revocation(nobody.address, world.custody.dataset, 1)
    return {**signed(world, "revocation", struct, account("forger")), "signer": nobody.address}


def test_bad_signatures_cost_no_questions(world: ApiWorld, calls: list[str]) -> None:
    forged = {**revocation(world, world.patients[0]), "signature": "0x" + "11" * 65}
    messages = [{**forged, "message": {**forged["message"], "sequence": i}} for i in range(99)]
    assert len({str(each) for each in messages}) == 99
    calls.clear()
    assert set(codes(upload(world, messages))) == {"bad_signature"}
    assert calls == ["eth_getCode"]


@pytest.mark.parametrize("kind", ["forged", "made up", "refused"])
def test_an_upload_of_bad_messages_costs_a_bounded_number_of_questions(
    world: ApiWorld, calls: list[str], kind: str
) -> None:
    """And sinks neither what came before them nor what can be judged without a question."""
    makes: dict[str, Callable[[int], dict[str, Any]]] = {
        "forged": lambda i: forged_by(world, f"forged {i}"),
        "made up": lambda i: revocation(world, account(f"made up {i}")),
        "refused": lambda i: world.grant_message(account(f"without a record {i}")),
    }
    bad = [makes[kind](i) for i in range(MOST_REFUSED + 20)]
    good = revocation(world, new_patient(world, f"before what is {kind}"))
    calls.clear()
    outcomes = codes(upload(world, [good, *bad]))
    assert outcomes[0] == "relayed"
    counted = Counter(outcomes[1:])
    assert counted.pop("too_many_refused") == 20
    assert sum(counted.values()) == MOST_REFUSED
    assert len(calls) < 3 * MOST_REFUSED + 40  # of which sending the good one is about half


def test_a_key_of_ones_own_needs_no_question_after_any_number_of_forgeries(
    world: ApiWorld,
) -> None:
    good = revocation(world, new_patient(world, "behind forgeries"))
    bad = [forged_by(world, f"before it {i}") for i in range(MOST_REFUSED + 5)]
    assert codes(upload(world, [*bad, good]))[-1] == "relayed"


def deployed(world: ApiWorld) -> str:
    """A wallet's address: the code in front copies what lies behind itself."""
    head = bytes.fromhex(f"61{len(YES):04x}80600c6000396000f3")
    made = world.custody.sender._transactor.transact(None, head + YES, None)
    assert made.created is not None
    return made.created


def test_an_upload_of_wallets_is_looked_at_to_its_end(world: ApiWorld) -> None:
    wallets = [deployed(world) for _ in range(4)]
    signers = Signers(world.operator.chain.node, Patience(2))
    domain = world.operator.chain.domain("ConsentRegistry")
    for wallet in wallets:
        struct = Revocation(wallet, world.custody.dataset, 1)
        assert signers.forged(struct, domain, b"whatever it takes", wallet) is None
    assert signers.patience == Patience(2)


def attested(world: ApiWorld, patient: str, record: SealedRecord) -> dict[str, Any]:
    issuer, dataset = world.custody.issuer, world.custody.dataset
    person, later = keccak(text=patient), world.custody.later()
    struct = RecordAttestation(
        dataset, patient, person, record.commitment, 1, issuer.address, later
    )
    signature = sign(struct, world.operator.chain.domain("DatasetRegistry"), issuer)
    return {
        "record": json.loads(dump(record)),
        "attestation": struct.to_json(),
        "issuer_signature": to_hex(signature),
    }


def test_a_wallets_message_is_carried_once_under_whatever_signatures(world: ApiWorld) -> None:
    wallet, anybody = deployed(world), world.patients[0]
    record = world.custody.seal_record(wallet, {"systolic": Decimal(120), "smoker": "no"}, 1)
    entry = attested(world, wallet, record)
    (stored,) = world.post("/records", {"entries": [entry]}).get_json()["outcomes"]
    assert stored["outcome"] == "stored", stored
    granted = Grant.from_json(world.grant_message(anybody)["message"], "grant.")
    said = {"kind": "grant", "message": replace(granted, patient=wallet).to_json()}
    before = sent_by(world, world.operator.sender.address)
    signatures = [f"0x{number:04x}" for number in range(20)]
    outcomes = upload(world, [{**said, "signer": wallet, "signature": e} for e in signatures])
    assert codes(outcomes) == ["relayed"] * 20
    assert sent_by(world, world.operator.sender.address) == before + 1
    assert world.operator.chain.consent_of(world.custody.dataset, wallet).state is ConsentState.LIVE
