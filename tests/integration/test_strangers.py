"""What anybody can ask of a custodian or a gate: cheap to refuse, and never in a leaving patient's way.

Calls to the node are counted, not seconds: they are what a question costs, and what a cohort multiplies.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import flask
import httpx
import pytest

from marketplace.chain.funding import fund
from marketplace.chain.patience import MOST_REFUSED
from marketplace.custodian import server as custodian_server
from marketplace.custodian.server import (
    AT_ONCE,
    LOOKING,
    NEVER_BEHIND,
    RESERVED,
    SERVING,
    TURNING,
    create_app,
)
from marketplace.custodian.service import Custodian
from marketplace.custodian.vault import Deposit
from marketplace.errors import Refusal
from marketplace.peers import Peer
from marketplace.wire.auth import Voice, to_custodian
from marketplace.wire.http import THREADS, bind, to_hex
from marketplace.wire.http_client import post
from marketplace.wire.keyfiles import Signer
from marketplace.wire.structs import Revocation, Settlement, sign
from tests.support.chain_world import account
from tests.support.custody_world import (
    DICTIONARY,
    PARAMETERS,
    CustodyWorld,
    asked_body,
    custody_world,
    served_custodian,
    served_gate,
)
from tests.support.lies import other_request, reads
from tests.support.nodes import EMBEDDED_KEY, Lie, LyingProxy, any_node, honest
from tests.support.serving import in_a_thread

VALUES: list[Mapping[str, Any]] = [{"systolic": Decimal(100 + i), "smoker": "no"} for i in range(3)]
NAMES = [f"patient {i}" for i in range(len(VALUES))]
GLANCE = 4
"""Calls: the request, the head twice, the newest final block."""
HEALTHY = 40
"""Calls at most, whatever the cohort's size: the node's health, what was final, erasures, the request."""
OF_A_COHORT = (
    ("ConsentRegistry", "patientsAt"),
    ("DatasetRegistry", "commitmentsOf"),
    ("ResearchMarket", "shardsOf"),
)
"""Views that are read once for every shard, or for every 200 members."""
ETHER = 10**18
PATIENCE = 60.0


@dataclass
class Counted:
    """A node that notes what it is asked."""

    proxy: LyingProxy
    seen: list[tuple[str, list[Any]]] = field(default_factory=list)
    lie: Lie = honest

    def __call__(self, method: str, parameters: list[Any], result: Any) -> Any:
        self.seen.append((method, parameters))
        return self.lie(method, parameters, result)

    @property
    def calls(self) -> int:
        return len(self.seen)

    def asked(self, contract: str, view: str) -> int:
        return sum(reads(contract, view, *each) for each in self.seen)

    @property
    def cohort_calls(self) -> int:
        return sum(self.asked(contract, view) for contract, view in OF_A_COHORT)

    def refused(self, code: str, act: Callable[[], Any]) -> None:
        """What an act is refused with; only its calls are counted afterwards."""
        self.seen.clear()
        with pytest.raises(Refusal) as caught:
            act()
        assert caught.value.code == code, caught.value


@dataclass(frozen=True)
class Hosts:
    """A market, its custodians' URLs, its gate's, and a node that counts."""

    world: CustodyWorld
    urls: list[str]
    gate: str
    node: Counted

    @contextmanager
    def custodian(self) -> Iterator[str]:
        """Place 0, through the node that counts."""
        custodian = self.world.custodian(0, node_url=self.node.proxy.url)
        custodian.watch.catch_up()
        with served_custodian(custodian) as url:
            yield url

    @contextmanager
    def own_gate(self) -> Iterator[str]:
        with served_gate(self.world.gate(self.urls, node_url=self.node.proxy.url)) as url:
            yield url


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("strangers")
    with any_node(folder) as node, ExitStack() as stack:
        world = custody_world(node, folder)
        urls = [stack.enter_context(served_custodian(world.custodian(i))) for i in range(3)]
        world.enrol_sealed(urls, NAMES, VALUES)
        gate = stack.enter_context(served_gate(world.gate(urls)))
        proxy = LyingProxy(node.url)
        stack.callback(proxy.close)
        yield Hosts(world, urls, gate, Counted(proxy))


@pytest.fixture
def hosts(running: Hosts) -> Iterator[Hosts]:
    running.node.lie, running.node.proxy.lie = honest, running.node
    yield running
    running.node.proxy.lie = honest


def turn(url: str, request: bytes) -> dict[str, Any]:
    return post(url, "/turns", {"request": to_hex(request)}, timeout=PATIENCE)


# --- a custodian


def test_a_turn_that_is_not_due_is_refused_at_a_glance(hosts: Hosts) -> None:
    """Before the node's health, the journal's anchor, the erasures, and any lock."""
    request = hosts.world.seal_request("no key")
    ended = {"settled": {"stage_number": 4}, "late": {"settle_deadline": 1}}
    codes = {"settled": "request_ended", "late": "deadline_passed"}
    with hosts.custodian() as url:
        hosts.node.refused("not_sealed", lambda: turn(url, b"\x01" * 32))
        assert hosts.node.calls == 1
        hosts.node.refused("gate_key_missing", lambda: turn(url, request))
        assert hosts.node.calls <= GLANCE
        for how, changes in ended.items():
            hosts.node.lie = other_request(**changes)
            hosts.node.refused(codes[how], lambda: turn(url, request))
            assert hosts.node.calls <= GLANCE, how


def test_a_turn_that_was_made_is_answered_again_without_its_cohort(hosts: Hosts) -> None:
    request = hosts.world.keyed_request("again", hosts.gate)
    with hosts.custodian() as url:
        first = turn(url, request)
        assert hosts.node.cohort_calls > 0
        hosts.node.seen.clear()
        assert turn(url, request) == first
        assert hosts.node.cohort_calls == 0
        assert hosts.node.calls <= HEALTHY


def test_an_answer_that_the_gate_did_not_sign_is_refused_at_a_glance(hosts: Hosts) -> None:
    world, request = hosts.world, hosts.world.keyed_request("forged", hosts.gate)
    view = world.chain.request(request)
    forged = Settlement(
        request=request,
        root=view.root,
        epoch=view.epoch,
        lane=1,
        schema=1,
        ciphertext_root=bytes(32),
        noise=bytes(32),
        result_hash=bytes(32),
        delivery_hash=bytes(32),
        gate=view.gate,
    )
    signature = sign(forged, world.chain.domain("ResearchMarket"), account("stranger"))
    body = {"settlement": forged.to_json(), "gate_signature": to_hex(signature)}
    with hosts.custodian() as url:
        hosts.node.refused("not_turned", lambda: post(url, "/answers", body, timeout=PATIENCE))
        assert hosts.node.calls == 0
        turn(url, request)
        hosts.node.refused("bad_signature", lambda: post(url, "/answers", body, timeout=PATIENCE))
        assert hosts.node.calls == 1


def test_one_upload_asks_the_chain_once_for_what_its_records_have_in_common(hosts: Hosts) -> None:
    """Dictionary and operator, of any number of deposits."""
    world, names = hosts.world, [f"uploaded {i}" for i in range(3)]
    patients = [account(name).address for name in names]
    for patient in patients:
        world.seal_record(patient, VALUES[0])
    world.attest(patients)
    body = {"deposits": [world.deposit_body(patient, 0) for patient in patients]}
    with hosts.custodian() as url:
        hosts.node.seen.clear()
        outcomes = post(url, "/deposits", body, timeout=PATIENCE)["outcomes"]
    assert [each["place"] for each in outcomes] == [0, 0, 0]
    assert hosts.node.asked("DatasetRegistry", "dictionaryOf") == 1
    assert hosts.node.asked("ResearchMarket", "hasRole") == 1
    for patient in patients:
        del world.records[patient]


def made_up(world: CustodyWorld, number: int) -> list[dict[str, Any]]:
    """Deposits of a record that nobody attested, for as many patients."""
    nobody = account("never attested").address
    world.seal_record(nobody, VALUES[0])
    body = world.deposit_body(nobody, 0)
    del world.records[nobody]
    return [{**body, "holder": account(f"made up {i}").address} for i in range(number)]


def test_an_upload_of_made_up_deposits_costs_a_bounded_number_of_questions(hosts: Hosts) -> None:
    """And sinks none before them; nor does the same one, over and over, cost more."""
    patient = account("before what is made up").address
    hosts.world.seal_record(patient, VALUES[0])
    hosts.world.attest([patient])
    good = hosts.world.deposit_body(patient, 0)
    with hosts.custodian() as url:
        for others in (made_up(hosts.world, MOST_REFUSED + 9), [good] * (MOST_REFUSED + 9)):
            hosts.node.seen.clear()
            body = {"deposits": [good, *others]}
            outcomes = post(url, "/deposits", body, timeout=PATIENCE)["outcomes"]
            assert outcomes[0]["place"] == 0
            assert [each.get("code") for each in outcomes[-9:]] == ["too_many_refused"] * 9
            assert hosts.node.asked("DatasetRegistry", "recordOf") == 1 + MOST_REFUSED
    del hosts.world.records[patient]


# --- a gate


def test_a_gate_refuses_strangers_at_a_glance_and_parses_no_page_of_theirs(hosts: Hosts) -> None:
    world, request = hosts.world, hosts.world.keyed_request("gate", hosts.gate)
    stranger = account("stranger")
    own = Voice(stranger.key, stranger.address, world.manifest.api_domain)
    body = asked_body(request)
    with hosts.own_gate() as url:

        def ask() -> None:
            post(url, "/computations", body, timeout=PATIENCE, voice=own)

        hosts.node.refused("not_the_operator", ask)
        assert hosts.node.calls == 1
        for name, code in ((request, "not_the_operator"), (b"\x01" * 32, "not_sealed")):
            path, page = f"/computations/{to_hex(name)}/records", b"{" * 1_000_000
            hosts.node.seen.clear()
            header = own.header("POST", path, page)
            said = httpx.post(url + path, content=page, headers=header, timeout=PATIENCE)
            assert said.json()["code"] == code
            assert hosts.node.calls <= GLANCE


def test_a_gate_looks_up_a_cohort_for_its_key_once_and_for_wrong_questions_never(
    hosts: Hosts,
) -> None:
    world, request = hosts.world, hosts.world.seal_request("keys")
    other = {**asked_body(request), "parameters": {**PARAMETERS, "clip": ["100", "110"]}}
    with hosts.own_gate() as url:

        def ask(body: dict[str, Any]) -> dict[str, Any]:
            return post(url, "/keys", body, timeout=PATIENCE)

        hosts.node.refused("not_sealed", lambda: ask(asked_body(b"\x01" * 32)))
        assert hosts.node.calls == 1
        hosts.node.refused("wrong_parameters", lambda: ask(other))
        assert hosts.node.cohort_calls == 0
        first = ask(asked_body(request))
        assert hosts.node.cohort_calls > 0
        hosts.node.seen.clear()
        assert ask(asked_body(request)) == first == world.gate_key(hosts.gate, request)
        assert hosts.node.cohort_calls == 0


def test_a_gate_at_work_on_one_cohort_says_that_it_is_busy_and_gives_its_key_later(
    hosts: Hosts,
) -> None:
    request = hosts.world.seal_request("busy")
    gate = hosts.world.gate(hosts.urls)
    with gate._deriving, pytest.raises(Refusal) as caught:
        gate.key(request, PARAMETERS, DICTIONARY)
    assert caught.value.code == "busy"
    assert gate.key(request, PARAMETERS, DICTIONARY)["key"]


# --- nothing is ever before a revocation


class Stuck(Custodian):
    """Whatever is asked of it but a revocation or an erasure takes until it is let go."""

    def __init__(self, of: Custodian) -> None:
        super().__init__(of.chain, of.journal, of.keys, of.rules, of.data)
        self.let_go = threading.Event()
        self.inside = threading.Semaphore(0)

    def _wait(self) -> None:
        self.inside.release()
        assert self.let_go.wait(10 * PATIENCE)

    def turn(self, request: bytes) -> dict[str, Any]:
        self._wait()
        return super().turn(request)

    def reasons(self) -> list[str]:
        self._wait()
        return []


@contextmanager
def threads_of_a_process(app: flask.Flask) -> Iterator[str]:
    """The application as its own process serves it: so many threads, and a queue."""
    with in_a_thread(
        bind(app, "127.0.0.1", 0, most_body=app.config["MAX_CONTENT_LENGTH"])
    ) as server:
        yield f"http://127.0.0.1:{server.effective_port}"


def test_a_revocation_and_the_next_turn_get_through_a_flood_of_turns_and_questions(
    hosts: Hosts,
) -> None:
    """More strangers than threads, of every kind, and none of them is ever answered."""
    world = hosts.world
    patient = world.enrol_sealed(hosts.urls, ["leaves"], VALUES[:1])[0]
    custodian = world.custodian(1)
    fund(world.chain.node, EMBEDDED_KEY, [custodian.keys.relay.address], ETHER)
    stuck = Stuck(custodian)
    request = world.keyed_request("flood", hosts.gate)
    with threads_of_a_process(create_app(stuck)) as url, ExitStack() as stack:
        stack.callback(stuck.let_go.set)
        for ask in (turn_quietly, health_quietly):
            for _ in range(2 * THREADS):
                threading.Thread(target=ask, args=(url, request), daemon=True).start()
        for _ in range(2 * AT_ONCE):
            assert stuck.inside.acquire(timeout=PATIENCE)
        assert httpx.get(f"{url}/health", timeout=PATIENCE).json()["code"] == "busy"
        body = revocation_body(world, patient)
        assert post(url, "/revocations", body, timeout=PATIENCE)["block"] > 0
        stuck.let_go.set()
        assert turn(url, request)["place"] == 1  # it asks until it is its turn
    assert world.chain.consent_of(world.dataset, patient.address).state_number == 0
    del world.records[patient.address]


def test_an_operator_gets_through_a_flood_of_turns_by_its_signature_and_nobody_else_does(
    hosts: Hosts,
) -> None:
    """Whoever gains by a default must not be able to keep settlement out."""
    world = hosts.world
    stuck = Stuck(world.custodian(1))
    request = world.keyed_request("flooded", hosts.gate)
    own, stranger = Signer.of(world.operator), account("stranger")
    domain = world.manifest.api_domain
    operator = Voice(world.operator, own.address, domain, to_custodian(1))
    replayed = Voice(world.operator, own.address, domain, to_custodian(0))
    other = Voice(bytes(stranger.key), stranger.address, domain)
    body = {"request": to_hex(request)}
    with threads_of_a_process(create_app(stuck)) as url, ExitStack() as stack:
        stack.callback(stuck.let_go.set)
        for _ in range(2 * AT_ONCE):
            threading.Thread(target=turn_quietly, args=(url, request), daemon=True).start()
        for _ in range(AT_ONCE):
            assert stuck.inside.acquire(timeout=PATIENCE)
        for voice in (None, other, replayed):
            with pytest.raises(Refusal) as refused:
                post(url, "/partials", body, timeout=5, voice=voice)
            assert refused.value.code == "busy"
        for _ in range(RESERVED + 1):
            with pytest.raises(Refusal) as refused:
                post(url, "/partials", body, timeout=PATIENCE, voice=operator)
            assert refused.value.code == "wrong_lane"  # it was looked at


class Uploading(Stuck):
    """Only uploads take until they are let go."""

    def take_shares(self, offered: Sequence[Deposit | Refusal]) -> list[dict[str, Any]]:
        self._wait()
        return super().take_shares(offered)

    def reasons(self) -> list[str]:
        return Custodian.reasons(self)


def test_health_and_certificates_get_through_a_flood_of_uploads(hosts: Hosts) -> None:
    """Before a freeze each custodian is asked for its health: uploads need no key, and must not stop it."""
    stuck = Uploading(hosts.world.custodian(1))
    request = hosts.world.seal_request("uploads")
    with threads_of_a_process(create_app(stuck)) as url, ExitStack() as stack:
        stack.callback(stuck.let_go.set)
        for _ in range(2 * THREADS):
            threading.Thread(target=upload_quietly, args=(url,), daemon=True).start()
        for _ in range(AT_ONCE):
            assert stuck.inside.acquire(timeout=PATIENCE)
        assert Peer("custodian 1", url).reasons() == []
        said = httpx.get(f"{url}/certificates/{to_hex(request)}", timeout=PATIENCE).json()
        assert said["code"] == "not_turned"


def upload_quietly(url: str) -> None:
    with contextlib.suppress(httpx.HTTPError):
        httpx.post(f"{url}/deposits", json={"deposits": [{}]}, timeout=10 * PATIENCE)


def turn_quietly(url: str, request: bytes) -> None:
    with contextlib.suppress(Refusal):
        turn(url, request)


def health_quietly(url: str, _request: bytes) -> None:
    with contextlib.suppress(httpx.HTTPError):
        httpx.get(f"{url}/health", timeout=10 * PATIENCE)


def revocation_body(world: CustodyWorld, patient: Any) -> dict[str, Any]:
    revocation = Revocation(patient.address, world.dataset, 1)
    signature = sign(revocation, world.chain.domain("ConsentRegistry"), patient)
    return {
        "revocation": revocation.to_json(),
        "signer": patient.address,
        "signature": to_hex(signature),
    }


def test_threads_are_left_for_what_ends_consent_and_every_route_is_of_a_known_kind(
    hosts: Hosts,
) -> None:
    assert 3 * AT_ONCE < THREADS
    assert 3 * AT_ONCE + RESERVED < SERVING
    app = custodian_server.create_app(hosts.world.custodian(2))
    routes = {rule.rule for rule in app.url_map.iter_rules()}
    assert routes >= NEVER_BEHIND | TURNING | LOOKING
