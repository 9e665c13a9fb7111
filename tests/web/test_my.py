"""A researcher's own requests, in process over a real chain: theirs alone, and as the chain has them."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from marketplace.chain.adapter import NodeFault, NodeUnreachable
from marketplace.chain.manifest import Manifest
from marketplace.chain.rpc import Node
from marketplace.client.messages import Messages
from marketplace.stages import Stage
from marketplace.store import RequestRow
from marketplace.vocabulary import Lane
from marketplace.waits import AtWork
from marketplace.wire.amounts import Token
from marketplace.wire.http import to_hex
from tests.support.api_world import ApiWorld, api_world
from tests.support.chain_world import account
from tests.support.web_browser import HTML, Browser
from tests.support.web_world import WebWorld, web_world
from web.lanes import WORDS
from web.pages import my

ADDRESSES = count(1)


class Signing(Messages):
    """Signs for one world's contracts, as the client does."""

    def __init__(self, api: ApiWorld) -> None:
        self.api = api

    @property
    def manifest(self) -> Manifest:
        return self.api.operator.chain.manifest


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    with api_world(tmp_path_factory.mktemp("my")) as api, web_world(api) as made:
        yield made


@pytest.fixture(scope="module")
def submitted(world: WebWorld) -> str:
    found: str = world.api.post_signed(world.api.submission("mine")).get_json()["request"]
    return found


@pytest.fixture
def researcher(world: WebWorld) -> Browser:
    return signed_in(world, world.api.researcher)


@pytest.fixture
def stranger(world: WebWorld) -> Browser:
    return signed_in(world, account("another researcher"))


def signed_in(world: WebWorld, who: LocalAccount) -> Browser:
    return Browser(world, address=f"192.0.2.{next(ADDRESSES)}").sign_in(who)


def settled_request(api: ApiWorld) -> str:
    """One that was answered; made where no test has made one yet."""
    mine = api.operator.reads.requests_of(api.researcher.address)
    found = next((each["request"] for each in mine if each["stage"] == "settled"), None)
    if found is not None:
        return str(found)
    terms = api.terms("settled")
    body = {"terms": terms.to_json(), "parameters": {"variable": "systolic"}}
    made: str = api.post_signed(body).get_json()["request"]
    api.custody.open(terms)
    api.custody.tick()
    api.settle(made)
    return made


def money(units: int) -> str:
    return f'<span class="money">{Token().amount(units)}</span>'


def read(browser: Browser, path: str) -> str:
    answer = browser.look(path)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return html.unescape(answer.get_data(as_text=True))


def test_the_list_holds_own_requests_and_nobody_elses(
    submitted: str, researcher: Browser, stranger: Browser
) -> None:
    listed = read(researcher, "/my").partition(f'href="/my/requests/{submitted}"')[2]
    assert listed.startswith(">Mean: Systolic blood pressure</a>")
    page = read(stranger, "/my")
    assert submitted not in page
    assert "Nothing asked yet" in page
    assert "No valid credential" in page


def test_somebody_elses_request_is_as_if_it_were_not_there(
    submitted: str, stranger: Browser
) -> None:
    nowhere = to_hex(bytes(range(32)))
    for end in ("", "/now", "/events"):
        seen = {
            (answer.status_code, answer.get_data())
            for request in (submitted, nowhere, "0x12")
            for answer in [stranger.get(f"/my/requests/{request}{end}", HTML)]
        }
        assert [status for status, _ in seen] == [404], end


def test_a_request_is_shown_with_what_it_is_about_and_where_it_stands(
    world: WebWorld, submitted: str, researcher: Browser
) -> None:
    page = read(researcher, f"/my/requests/{submitted}")
    for words in (
        "Mean: Systolic blood pressure",
        "biomedical research",
        "Submitted",
        "not sealed yet",
    ):
        assert words in page
    now = researcher.get(f"/my/requests/{submitted}/now").get_json()
    assert (now["stage"], now["ended"], now["back"]) == ("submitted", False, None)
    assert now["result_hash"] is None


def test_a_request_says_what_is_done_for_it_at_the_moment_and_since_when(
    world: WebWorld, submitted: str, researcher: Browser
) -> None:
    waits, paths = world.api.operator.reads.waits, (f"/my/requests/{submitted}", "/requests/")
    asked = "Custodian 1 and custodian 2 are asked for noise; custodian 2 has not answered yet."
    own, public = paths[0], paths[1] + submitted
    assert researcher.get(f"{own}/now").get_json()["at_work"] is None
    assert "At work" not in read(researcher, own) + read(researcher, public)
    since = time.time() - 12
    waits.work(submitted, AtWork(asked, since))
    try:
        words = f"At work since {time.strftime('%H:%M:%S', time.gmtime(int(since)))} UTC. {asked}"
        assert researcher.get(f"{own}/now").get_json()["at_work"] == words
        assert f'id="at-work">{words}</p>' in read(researcher, own)
        assert f'<p class="note">{words}</p>' in read(researcher, public)
        found = world.api.get(f"/requests/{submitted}").get_json()["at_work"]
        assert (found["message"], found["since"]) == (asked, int(since))
        assert 12 <= found["seconds"] < 60
    finally:
        waits.work(submitted, None)


def unreachable(*_: Any) -> Any:
    raise NodeUnreachable(message="Nothing answers.", remedy="Ask again later.")


def broken(*_: Any) -> Any:
    raise NodeFault(message="It answered with an error.", remedy="Ask again later.")


@pytest.mark.parametrize("fault", [unreachable, broken])
def test_a_node_that_gives_no_old_transaction_takes_no_page_down(
    world: WebWorld, researcher: Browser, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    api = world.api
    terms = api.terms(f"of sums, {fault.__name__}", lane=int(Lane.HOMOMORPHIC))
    row = RequestRow(
        id=to_hex(api.custody.open(terms)),
        researcher=api.researcher.address,
        analysis="mean.v1",
        terms=terms.to_json(),
        parameters={"variable": "systolic"},
        stage=Stage.SUBMITTED,
        submitted_at=datetime.now(UTC),
    )
    assert api.operator.database.submit(row, "handed in")
    page = read(researcher, f"/my/requests/{row.id}")
    assert f'"steward":"{api.custody.chain.dataset(terms.dataset).steward}"' in page.replace(
        " ", ""
    )
    monkeypatch.setattr(Node, "transaction_input", fault)
    page = read(researcher, f"/my/requests/{row.id}")
    assert '"published":null' in page.replace(" ", "")


def test_it_can_be_cancelled_while_the_chain_has_it_open_and_no_longer(
    world: WebWorld, researcher: Browser
) -> None:
    api, path = world.api, "/my/requests/{}/now"
    terms = api.terms("open")
    body = {"terms": terms.to_json(), "parameters": {"variable": "systolic"}}
    request = api.post_signed(body).get_json()["request"]
    api.custody.open(terms)
    back = researcher.get(path.format(request)).get_json()["back"]
    assert back["call"] == "cancel"
    assert Token().amount(terms.escrow) in back["words"][0]
    assert "Held at most" in read(researcher, path.format(request).removesuffix("/now"))
    api.custody.tick()
    api.settle(request)
    now = researcher.get(path.format(request)).get_json()
    assert (now["back"], now["ended"], now["stage"]) == (None, True, "settled")
    view = api.operator.chain.request(bytes.fromhex(request[2:]))
    assert now["result_hash"] == to_hex(view.result_hash)
    assert now["cohort"] == view.members
    assert now["paid"] == {
        "cost": Token().amount(view.members * terms.price + terms.fee),
        "credit": Token().amount(terms.escrow - view.members * terms.price - terms.fee),
    }
    page = read(researcher, f"/my/requests/{request}")
    cost = view.members * terms.price + terms.fee
    paid = page.partition("Paid in all")[2].partition("</dd>")[0]
    assert Token().amount(cost) in paid
    assert f'<a href="/my">{money(terms.escrow - cost)} became credit</a>' in paid
    assert "Held at most" not in page
    listed = read(researcher, "/requests").partition(f'href="/requests/{request}"')[2]
    assert listed.startswith(">Mean: Systolic blood pressure</a>")
    assert "times in 100 (50 by chance)" in listed
    assert [each["state"] for each in now["steps"]] == ["done"] * len(now["steps"])
    assert all(each["when"] for each in now["steps"][1:])


def test_the_public_list_says_of_whom_it_was_asked_by_whom_at_what_cost_and_until_when(
    world: WebWorld, researcher: Browser
) -> None:
    api = world.api
    terms = api.terms("listed")
    request = to_hex(api.custody.open(terms))
    name = api.custody.dictionary.name
    listed = next(
        row
        for row in read(researcher, "/requests").split('<tr role="row">')
        if f'href="/requests/{request}"' in row
    )
    for shown in (listed, read(researcher, f"/requests/{request}")):
        assert f'<a href="/datasets/{api.dataset}">{name}</a>' in shown
        for words in ("biomedical research", api.researcher.address, "nano-rho", "otice until"):
            assert words in shown
    document = api.get("/market/requests").get_json()
    row = next(each for each in document["requests"] if each["request"] == request)
    assert row["researcher"] == api.researcher.address
    assert (row["cost_nano_rho"], row["chain_stage"]) == (terms.cost, "opened")
    older = api.get(f"/market/requests/before/{row['place']}").get_json()
    assert request not in [each["request"] for each in older["requests"]]
    assert api.get("/market/requests/before/x").status_code == 400


def test_every_list_and_page_of_a_request_says_in_which_lane_it_is_and_whether_records_are_opened(
    world: WebWorld, submitted: str, researcher: Browser
) -> None:
    api = world.api
    told = {
        lane: to_hex(api.custody.open(api.terms(f"in lane {lane}", lane=int(lane))))
        for lane in Lane
    }
    rows = read(researcher, "/requests").split('<tr role="row">')
    by_api = {each["request"]: each for each in api.get("/market/requests").get_json()["requests"]}
    assert all(by_api[request]["lane"] == lane for lane, request in told.items())
    for lane, request in told.items():
        listed = next(row for row in rows if f'href="/requests/{request}"' in row)
        for shown in (listed, read(researcher, f"/requests/{request}")):
            assert WORDS[lane].in_words in shown
            assert all(WORDS[other].in_words not in shown for other in Lane if other is not lane)
    own = read(researcher, "/my").partition(f'href="/my/requests/{submitted}"')[2]
    for shown in (own.partition("</tr>")[0], read(researcher, f"/my/requests/{submitted}")):
        assert WORDS[Lane.VAULT].in_words in shown
        assert WORDS[Lane.HOMOMORPHIC].in_words not in shown


def test_the_list_of_own_requests_names_the_lane_of_each_row() -> None:
    row = {
        "request": "0x12",
        "analysis": "mean.v1",
        "variable": None,
        "purpose": "research",
        "stage": "noised",
        "submitted_at": "2026-01-01T00:00:00Z",
    }
    for lane in Lane:
        assert my._row({**row, "lane": int(lane)}, {}, {})["lane"] is WORDS[lane]


# --- what a receipt is held against


def test_of_any_request_is_told_what_the_chain_keeps_as_its_receipt_says(
    world: WebWorld, researcher: Browser
) -> None:
    api = world.api
    visitor = Browser(world, address=f"192.0.2.{next(ADDRESSES)}")
    settled = settled_request(api)
    told = visitor.get(f"/verify/{settled}").get_json()
    receipt = api.operator.reads.receipt(settled).receipt
    cohort = {name: part for name, part in receipt["cohort"].items() if name != "shards"}
    proved = {"schema", "terms", "analysis", "parameters", "sealed_result"}  # by hashes inside
    rest = {name: part for name, part in receipt.items() if name not in proved}
    assert told["receipt"] == rest | {"cohort": cohort}
    assert (told["request"], told["stage"], told["final"]) == (settled, "settled", True)
    another = to_hex(api.custody.open(api.terms("not handed in here")))
    assert visitor.get(f"/verify/{another}").get_json()["stage"] == "opened"
    nothing = visitor.get(f"/verify/{to_hex(bytes(32))}").get_json()
    assert (nothing["stage"], nothing["receipt"]) == ("none", None)
    assert visitor.get("/verify/0x12").status_code == 400


# --- credit


def carried(browser: Browser, message: Any) -> Any:
    return browser.post("/my/messages", {"message": message})


def test_credit_is_paid_out_to_whom_its_account_names(world: WebWorld, researcher: Browser) -> None:
    api, chain = world.api, world.api.operator.chain
    request = api.custody.open(api.terms("for credit"))
    api.custody.sender.send("ResearchMarket", "cancel", request)
    me, to = api.researcher, account("till").address
    credit = chain.credit_of(me.address)
    assert credit > 0
    assert "Withdraw" in read(researcher, "/my")
    answer = carried(researcher, Signing(api).credit_message(me, to))
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert (chain.credit_of(me.address), chain.balance_of(to)) == (0, credit)


def test_nobody_elses_credit_and_nothing_else_is_carried(
    world: WebWorld, researcher: Browser, stranger: Browser
) -> None:
    api = world.api
    own = Signing(api).credit_message(api.researcher, account("thief").address)
    answer = carried(stranger, own)
    assert (answer.status_code, answer.get_json()["field"]) == (403, "message.account")
    answer = carried(researcher, api.grant_message(api.patients[0]))
    assert (answer.status_code, answer.get_json()["field"]) == (400, "message.kind")
    forged = {**own, "signature": "0x" + "11" * 65}
    answer = carried(researcher, forged)
    assert answer.status_code in (400, 422), answer.get_data(as_text=True)
    assert carried(researcher, "no message").get_json()["field"].startswith("message")
