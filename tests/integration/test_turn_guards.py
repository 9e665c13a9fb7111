"""Each guard of a custodian: what it refuses, by which code, and that nothing was given or noted."""

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from marketplace.custodian import keys as custodian_keys
from marketplace.custodian.service import Custodian
from marketplace.vocabulary import CustodianIndex, RequestId
from marketplace.wire import feldman, hpke
from marketplace.wire.feldman import Share
from marketplace.wire.http import to_hex
from marketplace.wire.http_client import post
from marketplace.wire.turn import TurnContext, open_turn
from tests.support.chain_world import account
from tests.support.custody_world import (
    CustodyWorld,
    back_up,
    custody_world,
    served_custodian,
    served_gate,
)
from tests.support.daily import daily
from tests.support.lies import After, no_logs, other_block, other_policy, other_request
from tests.support.nodes import LyingProxy, any_node, honest
from tests.support.refusals import refused

VALUES: list[dict[str, Any]] = [{"systolic": Decimal(100 + i), "smoker": "no"} for i in range(3)]
NAMES = [f"patient {i}" for i in range(len(VALUES))]
AFTER_THE_COHORT = ("ConsentRegistry", "patientsAt")
"""The last view that is read of a cohort."""


@dataclass(frozen=True)
class Hosts:
    """A market, its custodians by place, its gate, and a node that can lie."""

    world: CustodyWorld
    urls: list[str]
    gate: str
    proxy: LyingProxy

    def keyed(self, salt: str) -> bytes:
        return self.world.keyed_request(salt, self.gate)

    def misled(self, place: int) -> Custodian:
        """A custodian whose node is the one that can lie."""
        return self.world.custodian(place, node_url=self.proxy.url)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("guards")
    with any_node(folder) as node, ExitStack() as stack:
        world = custody_world(node, folder)
        urls = [stack.enter_context(served_custodian(world.custodian(i))) for i in range(3)]
        world.enrol_sealed(urls, NAMES, VALUES)
        gate = stack.enter_context(served_gate(world.gate(urls)))
        proxy = LyingProxy(node.url)
        stack.callback(proxy.close)
        yield Hosts(world, urls, gate, proxy)


@pytest.fixture
def hosts(running: Hosts) -> Iterator[Hosts]:
    yield running
    running.proxy.lie = honest


def refused_turn(code: str, custodian: Custodian, request: bytes) -> None:
    """And nothing was turned, and nothing noted."""
    before = custodian.journal.head()
    refused(code, custodian.turn, request)
    assert custodian.journal.turn(request) is None
    assert custodian.journal.head() == before


# --- when, and for what


def test_a_turn_is_given_until_the_settle_deadline_and_not_a_second_later(hosts: Hosts) -> None:
    world, request = hosts.world, hosts.keyed("deadline")
    deadline = world.chain.request(request).settle_deadline
    early, late = world.custodian(0), world.custodian(1)
    pass_to(world, deadline)
    assert early.turn(request)["place"] == 0
    pass_to(world, deadline + 1)
    refused_turn("deadline_passed", late, request)
    refused("deadline_passed", early.turn, request)


def pass_to(world: CustodyWorld, moment: int) -> None:
    world.chain.node.request("evm_setNextBlockTimestamp", [moment])
    world.chain.node.mine()
    assert world.chain.now() == moment


def test_no_turn_for_a_request_of_another_lane(hosts: Hosts) -> None:
    """Today's market takes the vault lane only; a custodian does not lean on that."""
    request, custodian = hosts.keyed("lane"), hosts.misled(0)
    hosts.proxy.lie = other_request(lane=2)
    refused_turn("wrong_lane", custodian, request)
    hosts.proxy.lie = honest
    assert custodian.turn(request)["place"] == 0


def test_no_turn_for_a_cohort_under_the_markets_minimum_whatever_the_custodians_own_is(
    hosts: Hosts,
) -> None:
    request, custodian = hosts.keyed("minimum"), hosts.misled(1)
    members = hosts.world.chain.request(request).members
    assert custodian.rules.minimum_cohort < members
    hosts.proxy.lie = other_policy(minimum_cohort=members + 1)
    refused_turn("cohort_too_small", custodian, request)
    hosts.proxy.lie = other_policy(minimum_cohort=members)
    assert custodian.turn(request)["place"] == 1


@pytest.mark.parametrize(
    "field", daily(["root", "epoch", "members", "seal_block"], ["root", "seal_block"])
)
def test_no_turn_for_a_request_that_is_not_of_the_seal_whose_cohort_was_read(
    hosts: Hosts, field: str
) -> None:
    """Another seal took its place between two reads."""
    request, custodian = hosts.keyed(f"other {field}"), hosts.misled(2)
    hosts.proxy.lie = After(*AFTER_THE_COHORT, other_request(**{field: 7}))
    refused_turn("reorganised", custodian, request)


def test_no_turn_where_the_seals_block_was_replaced_while_it_was_read(hosts: Hosts) -> None:
    request, custodian = hosts.keyed("replaced"), hosts.misled(2)
    seal = hosts.world.chain.request(request).seal_block
    hosts.proxy.lie = After("DatasetRegistry", "commitmentsOf", other_block(seal))
    refused_turn("reorganised", custodian, request)
    hosts.proxy.lie = honest
    assert custodian.turn(request)["place"] == 2


# --- records that must not be opened


def turned(hosts: Hosts, custodian: Custodian, request: bytes) -> dict[str, Share | None]:
    """By patient, what the drawn gate finds in this custodian's turn."""
    chain, answer = hosts.world.chain, custodian.turn(request)
    cohort, view = chain.sealed_cohort(request), chain.request(request)
    secret = hosts.world.gate([]).keys.for_request(request, view.root)
    context = TurnContext(
        chain_id=chain.chain_id,
        market=chain.manifest.market,
        request=RequestId(request),
        root=cohort.root,
        epoch=cohort.epoch,
        index=CustodianIndex(answer["place"] + 1),
        gate_key=view.gate_key,
    )
    envelope = base64.b64decode(answer["envelope"])
    shares = open_turn(envelope, secret, context, len(cohort.members))
    return dict(zip(map(str, cohort.patients), shares, strict=True))


def require_all_but(hosts: Hosts, found: dict[str, Share | None], patient: LocalAccount) -> None:
    """This patient's share is not in the turn; everybody else's is, and is the true one."""
    assert found.pop(patient.address) is None
    assert len(found) == len(NAMES)
    for other, share in found.items():
        assert share is not None
        feldman.verify_share(share, hosts.world.records[other].key_commitments)


def sealed_with(hosts: Hosts, name: str) -> tuple[LocalAccount, bytes]:
    """A patient more, in the cohort of a request that is sealed and has its gate's key."""
    patient = hosts.world.enrol_sealed(hosts.urls, [name], [VALUES[0]])[0]
    return patient, hosts.keyed(name)


def test_a_record_erased_after_the_seal_is_not_turned_and_every_other_is(hosts: Hosts) -> None:
    world = hosts.world
    patient, request = sealed_with(hosts, "erased")
    world.erase(patient)
    custodian = world.custodian(0)
    require_all_but(hosts, turned(hosts, custodian, request), patient)
    assert custodian.journal.is_erased(world.records.pop(patient.address).commitment)


def test_a_record_whose_erasure_is_not_final_is_not_turned_though_its_share_is_still_there(
    hosts: Hosts,
) -> None:
    world = hosts.world
    patient, request = sealed_with(hosts, "erasing")
    for _ in range(3):
        world.tick()
    world.erase(patient)
    custodian = world.custodian(1, confirmations=3)
    require_all_but(hosts, turned(hosts, custodian, request), patient)
    assert custodian.journal.share(world.records.pop(patient.address).commitment) is not None


def test_an_erasure_that_a_node_kept_to_itself_is_made_up_for_when_it_tells_the_truth(
    hosts: Hosts,
) -> None:
    """Its event is passed over for ever; what the registry stores is not. A suspended record stays."""
    world, custodian = hosts.world, hosts.misled(2)
    erased, suspended = world.enrol_sealed(hosts.urls, ["hidden", "kept"], VALUES[:2])
    suspend(world, suspended)
    world.erase(erased)
    gone = world.records.pop(erased.address).commitment
    hosts.proxy.lie = no_logs
    custodian.watch.catch_up()
    hosts.proxy.lie = honest
    custodian.watch.catch_up()
    before = custodian.journal.holders()[world.dataset]
    assert custodian.journal.share(gone) is not None
    assert custodian.watch.sweep() == 1
    assert custodian.journal.share(gone) is None
    assert custodian.journal.is_erased(gone)
    assert {*before} - {*custodian.journal.holders()[world.dataset]} == {erased.address}
    assert custodian.watch.sweep() == 0
    leave(world, suspended)


def test_a_custodian_that_starts_looks_at_every_share_that_it_holds(hosts: Hosts) -> None:
    world = hosts.world
    patient = world.enrol_sealed(hosts.urls, ["hidden before"], VALUES[:1])[0]
    world.erase(patient)
    gone = world.records.pop(patient.address).commitment
    hosts.proxy.lie = no_logs
    hosts.misled(2).watch.catch_up()
    hosts.proxy.lie = honest
    restarted = world.custodian(2)
    thread = restarted.watch.run(3_600.0)
    wait_until(lambda: restarted.journal.is_erased(gone))
    restarted.watch.stop()
    thread.join(60)
    assert not thread.is_alive()


def wait_until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "in vain"
        time.sleep(0.1)


def test_a_record_suspended_after_the_seal_is_not_turned_and_every_other_is(hosts: Hosts) -> None:
    patient, request = sealed_with(hosts, "suspended")
    suspend(hosts.world, patient)
    for place in range(3):
        found = turned(hosts, hosts.world.custodian(place), request)
        require_all_but(hosts, found, patient)
    leave(hosts.world, patient)


def suspend(world: CustodyWorld, patient: LocalAccount) -> None:
    """As a steward does it: the issuer is withdrawn, the record suspended, another issuer listed."""
    issuer = world.issuer.address
    world.sender.send("DatasetRegistry", "withdrawIssuer", world.dataset, issuer)
    world.sender.send("DatasetRegistry", "suspendRecord", world.dataset, patient.address)
    world.sender.send("DatasetRegistry", "addIssuer", world.dataset, issuer)


def leave(world: CustodyWorld, patient: LocalAccount) -> None:
    world.sender.send("ConsentRegistry", "expel", world.dataset, patient.address)
    del world.records[patient.address]


# --- one turn, for ever


def test_what_was_turned_for_one_gate_key_is_turned_for_no_other(hosts: Hosts) -> None:
    request, custodian = hosts.keyed("two keys"), hosts.misled(0)
    first, head = custodian.turn(request), custodian.journal.head()
    hosts.proxy.lie = other_request(gate_key=hpke.generate().public)
    refused("equivocation", custodian.turn, request)
    assert custodian.journal.head() == head
    hosts.proxy.lie = honest
    assert custodian.turn(request) == first


def test_a_question_may_name_the_request_and_nothing_else(hosts: Hosts) -> None:
    """Whoever asks has no say in the root, the key or the cohort; spelled otherwise, the same bytes."""
    request, custodian = hosts.keyed("bodies"), hosts.world.custodian(1)
    before, url = custodian.journal.head(), hosts.urls[1]
    for more in ("gate_key", "root", "epoch", "cohort"):
        body = {"request": to_hex(request), more: to_hex(bytes(32))}
        caught = refused("bad_parameter", ask, url, body)
        assert caught.field == f"body.{more}"
    assert custodian.journal.head() == before
    first = ask(url, {"request": to_hex(request)})
    assert ask(url, {"request": "0x" + request.hex().upper()}) == first


def ask(url: str, body: dict[str, Any]) -> dict[str, Any]:
    return post(url, "/turns", body, timeout=60)


# --- shares that are not taken


def refused_share(code: str, custodian: Custodian, body: dict[str, Any]) -> None:
    """And nothing was acknowledged or noted."""
    before = custodian.journal.head()
    with served_custodian(custodian) as url:
        refused(code, lambda: post(url, "/shares", body, timeout=60))
    assert custodian.journal.head() == before


@pytest.mark.parametrize("what", ["patient", "version"])
def test_no_share_of_a_record_that_is_bound_to_another_patient_or_version_than_attested(
    hosts: Hosts, what: str
) -> None:
    """An issuer attested for one what was sealed for another: it would never open."""
    world, custodian = hosts.world, hosts.world.custodian(0)
    patient = account(f"bound to another {what}").address
    other = account("another").address if what == "patient" else patient
    sealed = world.seal_record(other, VALUES[0], version=2 if what == "version" else 1)
    del world.records[other]
    world.records[patient] = sealed
    world.attest([patient])
    body = world.deposit_body(patient, 0) | {"holder": patient}
    del world.records[patient]
    refused_share("wrong_binding", custodian, body)
    assert custodian.journal.share(sealed.commitment) is None


def test_no_share_of_a_suspended_record_is_acknowledged_again(hosts: Hosts) -> None:
    world, custodian = hosts.world, hosts.world.custodian(0)
    patient = world.enrol_sealed(hosts.urls, ["suspended early"], [VALUES[0]])[0]
    suspend(world, patient)
    refused_share("record_suspended", custodian, world.deposit_body(patient.address, 0))
    leave(world, patient)


def test_no_share_where_the_key_that_the_committee_lists_is_missing(
    hosts: Hosts, tmp_path: Path
) -> None:
    """Restored without its envelope keys, a custodian would acknowledge what it cannot open."""
    world, data = hosts.world, tmp_path / "restored"
    back_up(world.data("custodian0"), data)
    for key in (data / custodian_keys.FOLDER).glob("hpke-*.key"):
        key.unlink()
    custodian_keys.create(data, 1)
    patient = world.chain.sealed_cohort(hosts.keyed("key")).patients[0]
    refused_share("key_missing", world.custodian(0, data=data), world.deposit_body(patient, 0))
