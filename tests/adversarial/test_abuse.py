"""What strangers and researchers cannot make the operator, a custodian or a gate pay for."""

import contextlib
import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPResponse
from typing import Any

import flask
import httpx
import pytest
from eth_account.signers.local import LocalAccount

from marketplace.analyses import CATALOGUE
from marketplace.analyses.variables import variables_of
from marketplace.chain.funding import fund
from marketplace.client.messages import REVOCATION_REACH
from marketplace.custodian.server import create_app as custodian_app
from marketplace.errors import Refusal
from marketplace.gate.server import create_app as gate_app
from marketplace.gate.service import Gate
from marketplace.wire.analysis import parameters_hash
from marketplace.wire.canonical import canonical
from marketplace.wire.http import bind, to_hex
from marketplace.wire.http_client import post
from marketplace.wire.structs import Revocation, sign
from tests.support.api_world import ApiWorld, api_world, problem
from tests.support.chain_world import account
from tests.support.custody_world import asked_body
from tests.support.flooding import FLOODS, MEGABYTE, Flooded, crowd, flooded_operator, thrown
from tests.support.nodes import EMBEDDED_KEY
from tests.support.serving import in_a_thread
from web.rules import RULES


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("abuse")) as made:
        yield made


def sent_by(world: ApiWorld, address: str) -> int:
    """How many transactions an account ever sent."""
    node = world.operator.chain.node
    return int(node.request("eth_getTransactionCount", [address, "latest"]), 16)


def revocation(world: ApiWorld, patient: LocalAccount) -> dict[str, Any]:
    chain = world.operator.chain
    current = chain.consent_of(world.custody.dataset, patient.address).sequence
    struct = Revocation(patient.address, world.custody.dataset, current + REVOCATION_REACH)
    return {
        "kind": "revocation",
        "message": struct.to_json(),
        "signer": patient.address,
        "signature": to_hex(sign(struct, chain.domain("ConsentRegistry"), patient)),
    }


def test_messages_that_the_chain_would_refuse_cost_the_operator_nothing(world: ApiWorld) -> None:
    nobody, patient = account("nobody of this dataset"), world.patients[0]
    forged = {**world.grant_message(patient), "signature": "0x" + "11" * 65}
    messages = [forged] * 30 + [world.grant_message(nobody), revocation(world, nobody)]
    before, state = sent_by(world, world.operator.sender.address), world.state()
    outcomes = world.post("/messages", {"messages": messages}).get_json()["outcomes"]
    assert {each["outcome"] for each in outcomes} == {"refused"}
    assert [each["code"] for each in outcomes[-2:]] == ["record_not_stored", "nothing_to_revoke"]
    assert all(each["remedy"] for each in outcomes)
    assert sent_by(world, world.operator.sender.address) == before
    assert world.state() == state


def test_what_the_chain_takes_is_carried_beside_what_it_refuses(world: ApiWorld) -> None:
    """Also a revocation without a consent: it ends grants that somebody may still hold back."""
    patient = world.patients[-1]
    for _ in range(2):
        forged = {**revocation(world, patient), "signature": "0x" + "11" * 65}
        true = revocation(world, patient)
        messages = [forged, true, forged, world.grant_message(account("nobody"))]
        outcomes = world.post("/messages", {"messages": messages}).get_json()["outcomes"]
        # Forged ones under the same name neither keep the true one back nor ride on it.
        assert [each["outcome"] for each in outcomes] == [
            "refused",
            "relayed",
            "refused",
            "refused",
        ]


def test_revocations_of_addresses_made_up_cost_a_custodian_nothing(world: ApiWorld) -> None:
    nobody, patient = account("made up"), world.patients[-2]
    relay, url = world.custodians[0].keys.relay.address, world.custodian_urls[0]
    fund(world.operator.chain.node, EMBEDDED_KEY, [relay], 10**18)
    before = sent_by(world, relay)

    def carry(by: LocalAccount) -> dict[str, Any]:
        said = revocation(world, by)
        body = {"revocation": said["message"], "signer": by.address, "signature": said["signature"]}
        return post(url, "/revocations", body, timeout=60)

    with pytest.raises(Refusal) as refused:
        carry(nobody)
    assert refused.value.code == "nothing_to_revoke"
    assert sent_by(world, relay) == before
    assert carry(patient)["transaction"]
    assert sent_by(world, relay) == before + 1


def test_a_request_that_could_never_be_answered_is_refused_before_the_bond_is_at_stake(
    world: ApiWorld,
) -> None:
    quantile, asked = CATALOGUE["quantile.v1"], {"variable": "systolic", "level": "0.5"}
    written = quantile.canonical(quantile.parse(asked, variables_of(world.custody.dictionary)))
    terms = replace(
        world.terms("dear"),
        analysis=quantile.analysis_hash(),
        release_kind=int(quantile.release_kind),
        parameters=parameters_hash(written),
        cost=19,  # nano-rho; the mechanism cannot spend less than 20
    )
    before = world.state()
    found = problem(world.post_signed({"terms": terms.to_json(), "parameters": asked}))
    assert (found["code"], found["field"]) == ("bad_parameter", "terms.cost")
    assert world.state() == before


# --- hostile uploads, over sockets, to the servers that every process runs

TEN_GIGABYTES = 10 * 2**30
PATIENT_SECONDS = 60.0
DEEP = 100_000
BOMB = gzip.compress(bytes(2**24))  # a thousand times as large as itself


@dataclass
class Target:
    """One kind of server: where it takes a body, and what it would keep of one that it took."""

    url: str
    path: str
    good: bytes
    kept: Callable[[], Any]
    world: ApiWorld

    @property
    def address(self) -> tuple[str, int]:
        where = httpx.URL(self.url)
        return where.host, int(where.port or 0)

    def headers(self, body: bytes) -> dict[str, str]:
        """Signed by the operator, whom alone a gate answers; the others do not look."""
        return self.world.custody.voice.header("POST", self.path, body)

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        url, signed = self.url + self.path, self.headers(body)
        return httpx.post(url, content=body, headers=signed | headers, timeout=PATIENT_SECONDS)

    def require_well(self, before: Any) -> None:
        """It kept nothing and goes on."""
        assert self.kept() == before
        assert httpx.get(self.url + "/health", timeout=PATIENT_SECONDS).json()["ready"]


@contextmanager
def running(app: flask.Flask) -> Iterator[str]:
    """The application behind the very server that a process would run."""
    with in_a_thread(
        bind(app, "127.0.0.1", 0, most_body=app.config["MAX_CONTENT_LENGTH"])
    ) as server:
        yield f"http://127.0.0.1:{server.effective_port}"


def kept_by_gate(gate: Gate, request: bytes) -> list[object]:
    return [gate.staging.requests(), gate.journal.find(request)]


@pytest.fixture(scope="module")
def targets(world: ApiWorld) -> Iterator[dict[str, Target]]:
    request, custodian = b"\x11" * 32, world.custodians[0]
    gate = world.custody.gate(world.custodian_urls)
    quote, turn = canonical(world.quote()), canonical({"request": to_hex(request)})
    asked = canonical(asked_body(request))
    with ExitStack() as stack:
        urls = [
            stack.enter_context(running(app))
            for app in (world.client.application, custodian_app(custodian), gate_app(gate))
        ]
        yield {
            "operator": Target(urls[0], "/api/v1/quotes", quote, world.state, world),
            "custodian": Target(urls[1], "/turns", turn, custodian.journal.head, world),
            "gate": Target(urls[2], "/keys", asked, lambda: kept_by_gate(gate, request), world),
        }


SERVERS = pytest.mark.parametrize("name", ["operator", "custodian", "gate"])


def answer_to(target: Target, head: str, body: Iterable[bytes] = ()) -> dict[str, Any]:
    """The problem that is answered to a mere head, or to as much of a body as is taken."""
    with closing(socket.create_connection(target.address, PATIENT_SECONDS)) as peer:
        peer.sendall(f"POST {target.path} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
        try:
            for part in body:
                peer.sendall(part)
        except ConnectionError:
            pass  # it closed before it had all, and has answered
        with HTTPResponse(peer) as response:
            response.begin()
            assert response.getheader("content-type") == "application/problem+json"
            found: dict[str, Any] = json.loads(response.read())
    return found


def require_too_large(found: dict[str, Any]) -> None:
    assert (found["status"], found["code"], found["field"]) == (413, "body_too_large", "body")
    assert "Send less at a time" in found["remedy"]


@SERVERS
def test_a_body_that_claims_ten_gigabytes_is_refused_on_its_head_alone(
    targets: dict[str, Target], name: str
) -> None:
    target = targets[name]
    before = target.kept()
    require_too_large(answer_to(target, f"Content-Length: {TEN_GIGABYTES}"))
    target.require_well(before)


@SERVERS
def test_a_body_without_a_length_is_cut_off_at_the_limit(
    targets: dict[str, Target], name: str
) -> None:
    """In chunks, each of which claims a megabyte: what is sent beyond the limit is not waited for."""
    target = targets[name]
    before, sent = target.kept(), []

    def chunks() -> Iterator[bytes]:
        for _ in range(64):
            sent.append(1)
            yield b"100000\r\n" + b" " * 2**20 + b"\r\n"
        yield b"0\r\n\r\n"

    require_too_large(answer_to(target, "Transfer-Encoding: chunked", chunks()))
    assert len(sent) < 64
    target.require_well(before)


@SERVERS
def test_a_compressed_body_is_never_unpacked(targets: dict[str, Target], name: str) -> None:
    """Not even a good one: so there is nothing that a bomb could fill."""
    target = targets[name]
    before = target.kept()
    assert target.post(target.good).json().get("code") != "malformed_json"
    packed = {"gzip": [gzip.compress(target.good), BOMB], "deflate": [zlib.compress(target.good)]}
    for encoding, bodies in packed.items():
        for body in bodies:
            response = target.post(body, **{"Content-Encoding": encoding})
            assert response.json()["code"] == "malformed_json"
    target.require_well(before)


@SERVERS
@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"request":['])
def test_json_nested_without_end_is_refused_and_the_server_goes_on(
    targets: dict[str, Target], name: str, opening: bytes
) -> None:
    target = targets[name]
    before = target.kept()
    found = target.post(opening * (DEEP // len(opening))).json()
    assert (found["status"], found["code"]) == (400, "malformed_json")
    target.require_well(before)


# --- floods, at the operator's own process: what it may cost in memory, and who is answered meanwhile

MOST_GROWTH = 64 * MEGABYTE
"""Of resident memory at its peak, above what it was. Eight megabytes of a body may be held twice; the rest
is what the interpreter keeps of pages and calls to the chain that honest visitors caused meanwhile."""
SLOW, STREAMS, MANY_STREAMS = 200, 300, 2_000


@pytest.fixture(scope="module")
def flooded(world: ApiWorld, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flooded]:
    with flooded_operator(world, tmp_path_factory.mktemp("flooded")) as made:
        made.require_well()
        yield made


@contextmanager
def bounded(flooded: Flooded) -> Iterator[None]:
    """Memory stays within the bound meanwhile, and an honest visitor is answered during it and after."""
    before = flooded.forget_peak()
    yield
    flooded.require_well()
    most, now = flooded.memory()
    print(f"resident memory: {before:,} before, {most:,} at most, {now:,} after")
    assert most - before < MOST_GROWTH, (before, most, now)


def routes_of_every_kind(world: ApiWorld) -> dict[str, tuple[str, str]]:
    """By the name of a kind: a route that counts as it, and whose session reaches it."""
    own, clinic = f"/me/{world.dataset}", f"/clinic/{world.dataset}"
    return {
        "read": ("/", "researcher"),
        "own": ("/session", "researcher"),
        "file": ("/stop/sw.js", "researcher"),
        "stop": ("/stop/", "researcher"),
        "way-in": ("/deployment", "researcher"),
        "challenge": ("/challenge", "researcher"),
        "sign-in": ("/sign-in", "researcher"),
        "quote": ("/steward/new", "researcher"),
        "message": ("/my/messages", "researcher"),
        "invitation": (f"{own}/invitations", "researcher"),
        "draft": (f"{own}/drafts", "researcher"),
        "desk": (f"{clinic}/invitations", "issuer"),
        "transaction": ("/transactions", "researcher"),
        "transaction-way": ("/transactions/ways", "researcher"),
    }


def test_every_kind_of_route_is_flooded(world: ApiWorld) -> None:
    assert set(routes_of_every_kind(world)) == {rule.kind.name for rule in RULES.values()}


@pytest.mark.parametrize("name", FLOODS)
def test_no_flood_costs_memory_or_keeps_anybody_waiting(
    world: ApiWorld, flooded: Flooded, name: str
) -> None:
    """At one route of every kind, of which some take no body at all (405) and `quote` takes forms."""
    accounts = {"researcher": world.researcher, "issuer": world.custody.issuer}
    sessions = {who: flooded.sign_in(key) for who, key in accounts.items()}
    source = f"127.0.1.{1 + list(FLOODS).index(name)}"
    with bounded(flooded):
        for kind, (path, who) in routes_of_every_kind(world).items():
            status = thrown(flooded, FLOODS[name], path, sessions[who], source)
            assert status in FLOODS[name].expected | {405}, (kind, status)


def test_two_hundred_slow_bodies_are_kept_on_disk(flooded: Flooded) -> None:
    """Each has sent most of a body that would be taken, and does not go on: their sum would be 80 MB."""
    head = b"POST /challenge HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n"
    with bounded(flooded), crowd(flooded, SLOW, head + b" " * 400_000):
        flooded.require_well()


def test_two_hundred_slow_heads_keep_nobody_waiting(flooded: Flooded) -> None:
    with (
        bounded(flooded),
        crowd(flooded, SLOW, b"GET / HTTP/1.1\r\nX: y") as peers,
    ):
        flooded.require_well()
        for peer in peers:
            with contextlib.suppress(ConnectionError):
                peer.sendall(b"y")
        flooded.require_well()


def test_readers_who_do_not_read_are_kept_on_disk(flooded: Flooded) -> None:
    """Each has asked for a long page ten times over, and takes none of it."""
    asked = f"GET /trust HTTP/1.1\r\nHost: {flooded.url[7:]}\r\n\r\n".encode() * 10
    with bounded(flooded), crowd(flooded, SLOW, asked):
        flooded.require_well()


@pytest.mark.parametrize("number", [STREAMS, pytest.param(MANY_STREAMS, marks=pytest.mark.long)])
def test_streams_that_nobody_reads_leave_room_for_others(
    world: ApiWorld, flooded: Flooded, number: int
) -> None:
    headers = flooded.sign_in(world.researcher)
    asked = (
        f"GET /me/{world.dataset}/progress HTTP/1.1\r\nHost: {flooded.url[7:]}\r\n"
        f"Accept: text/event-stream\r\nCookie: {headers['Cookie']}\r\n\r\n"
    )
    with bounded(flooded), crowd(flooded, number, asked.encode()):
        flooded.require_well()
