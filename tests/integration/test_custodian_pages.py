"""What a page in a browser may ask a custodian: to revoke, to erase, whether it is there. Nothing else."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from marketplace.chain.adapter import CommitteeView
from marketplace.chain.deploy import CommitteeSeat, open_epoch
from marketplace.chain.faults import NodeUnreachable
from marketplace.custodian.server import AT_ONCE, FOR_PAGES, create_app
from marketplace.custodian.service import Custodian
from marketplace.wire.http import to_hex
from marketplace.wire.voucher import committee_hash
from tests.support.chain_world import account
from tests.support.custody_world import CustodyWorld, custody_world, served_custodian
from tests.support.nodes import any_node

ORIGIN = "https://market.example"
CORS = "access-control-"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CustodyWorld]:
    folder: Path = tmp_path_factory.mktemp("pages")
    with any_node(folder) as node:
        yield custody_world(node, folder)


@pytest.fixture(scope="module")
def custodian(world: CustodyWorld) -> Custodian:
    return world.custodian(0)


@pytest.fixture(scope="module")
def url(custodian: Custodian) -> Iterator[str]:
    with served_custodian(custodian) as served:
        yield served


def ask(
    url: str, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """A request as a browser sends it, its headers in small letters as they came back."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    sent = {"Origin": ORIGIN, **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request(method, path, body or None, sent)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content


def cors(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith(CORS)}


def preflight(url: str, path: str, method: str) -> tuple[int, dict[str, str], bytes]:
    return ask(
        url,
        "OPTIONS",
        path,
        Access_Control_Request_Method=method,
        Access_Control_Request_Headers="content-type",
    )


@pytest.mark.parametrize(("path", "method"), FOR_PAGES.items())
def test_a_page_of_any_origin_may_ask_this_and_no_more(url: str, path: str, method: str) -> None:
    status, headers, content = preflight(url, path, method)
    assert (status, content) == (204, b"")
    assert cors(headers) == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": method,
        "access-control-allow-headers": "content-type",
        "access-control-max-age": "600",
    }


def test_exactly_three_routes_are_open_to_pages() -> None:
    assert dict(FOR_PAGES) == {"/revocations": "POST", "/erasures": "POST", "/health": "GET"}


def test_every_other_route_stays_closed_to_pages(custodian: Custodian, url: str) -> None:
    routes = {
        rule.rule.replace("<request>", "0x" + "11" * 32)
        for rule in create_app(custodian).url_map.iter_rules()
    }
    assert set(FOR_PAGES) < routes
    others = [
        *sorted(routes - set(FOR_PAGES)),
        "/revocations/",
        "/Health",
        "/health/x",
        "/",
    ]
    for path in others:
        for method in ("OPTIONS", "GET", "POST"):
            status, headers, _ = ask(
                url,
                method,
                path,
                Content_Type="application/json",
                Access_Control_Request_Method="POST",
            )
            assert cors(headers) == {}, (method, path, status)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/revocations"),
        ("PUT", "/erasures"),
        ("POST", "/health"),
        ("DELETE", "/revocations"),
    ],
)
def test_another_method_is_not_shown_to_pages(url: str, method: str, path: str) -> None:
    status, headers, _ = ask(url, method, path)
    assert status == 405
    assert cors(headers) == {}


def test_a_page_reads_health_and_the_refusal_of_what_it_sent(url: str) -> None:
    status, headers, content = ask(url, "GET", "/health")
    assert (status, cors(headers)) == (200, {"access-control-allow-origin": "*"})
    assert "ready" in json.loads(content)
    for path in ("/revocations", "/erasures"):
        for body in (b"{}", b"not json", b"[]"):
            status, headers, content = ask(url, "POST", path, body, Content_Type="application/json")
            assert status in (400, 422)
            assert json.loads(content)["remedy"]
            assert cors(headers) == {"access-control-allow-origin": "*"}


def test_no_answer_lets_a_page_send_cookies(url: str) -> None:
    for path, method in FOR_PAGES.items():
        for answered in (preflight(url, path, method), ask(url, method, path, Cookie="a=b")):
            assert "access-control-allow-credentials" not in answered[1]
            assert "set-cookie" not in answered[1]


def test_a_preflight_is_answered_while_every_place_is_taken(
    custodian: Custodian, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The places of `/health` are held by questions that take long; a preflight needs none."""
    inside, go_on = threading.Semaphore(0), threading.Event()

    def slowly() -> list[str]:
        inside.release()
        assert go_on.wait(120)
        return []

    monkeypatch.setattr(custodian, "reasons", slowly)
    app = create_app(custodian)
    askers = [
        threading.Thread(target=app.test_client().get, args=("/health",)) for _ in range(AT_ONCE)
    ]
    for each in askers:
        each.start()
    try:
        assert all(inside.acquire(timeout=60) for _ in askers)
        client = app.test_client()
        for path, method in FOR_PAGES.items():
            asked = client.options(path, headers={"Access-Control-Request-Method": method})
            assert asked.status_code == 204
        refused = client.get("/health")
        assert (refused.status_code, refused.get_json()["code"]) == (503, "busy")
        assert refused.headers["Access-Control-Allow-Origin"] == "*"
    finally:
        go_on.set()
        for each in askers:
            each.join()


def test_a_page_reads_the_seat_and_the_key_that_records_are_sealed_to(
    custodian: Custodian, url: str
) -> None:
    """What a browser compares with its operator's word before it seals."""
    _, _, content = ask(url, "GET", "/health")
    said, seat = json.loads(content), custodian.vault.seat()
    assert (said["place"], said["epoch"]) == (custodian.rules.place, seat.epoch)
    assert said["key"] == "0x" + seat.secret.public.hex()
    committee = custodian.chain.committee(seat.epoch)
    assert bytes.fromhex(said["key"][2:]) == committee.members[said["place"]].keys[1]
    assert said["seated"] is True
    assert said["quorum"] == committee.quorum
    assert said["committee"] == named(committee)


def named(committee: CommitteeView) -> str:
    keys = [each.keys[1] for each in committee.members]
    signers = [each.signer for each in committee.members]
    return to_hex(committee_hash(committee.epoch, committee.quorum, signers, keys))


def test_who_left_says_so_and_speaks_for_the_committee_that_came_after(
    world: CustodyWorld, custodian: Custodian, url: str
) -> None:
    """By its word, and that of others, a browser follows where the committee goes."""
    before = world.chain.committee()
    heir = CommitteeSeat(account("heir").address, b"\x07" * 32)
    stay = [CommitteeSeat(each.signer, each.keys[1]) for each in before.members[1:]]
    open_epoch(world.sender, [heir, *stay], before.quorum, before.gates)
    said = json.loads(ask(url, "GET", "/health")[2])
    after = world.chain.committee()
    assert (said["seated"], said["epoch"], said["quorum"]) == (False, after.epoch, after.quorum)
    assert said["committee"] == named(after) != named(before)
    assert not {"place", "key"} & set(said)


def test_what_cannot_ask_its_node_names_no_committee(
    custodian: Custodian, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent() -> CommitteeView:
        raise NodeUnreachable(message="The node does not answer.", remedy="Start it.")

    monkeypatch.setattr(custodian.chain, "committee", silent)
    said = json.loads(ask(url, "GET", "/health")[2])
    assert not {"seated", "epoch", "quorum", "committee", "place", "key"} & set(said)
