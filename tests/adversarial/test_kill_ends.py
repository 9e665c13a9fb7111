"""SIGKILL to the operator around every end of a request but its settlement: refused, cancelled, reclaimed,
defaulted. After the restart: the right final stage, one refund, no second payment.

The operator sees the chain through a node that stops answering at a chosen call, so that each kill comes
at a known point: before the operator's transaction left it, or when it is on chain and the operator has not
heard so. `test_kill_matrix` kills on the way to settlement.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes

from marketplace.chain import artifacts
from marketplace.chain.adapter import RequestStage, RequestView
from marketplace.chain.sender import Sender
from marketplace.local import POLICY, await_health
from marketplace.stages import TERMINAL, Stage
from tests.support.killing import await_stage, kill, log, stage_of, start, stopped
from tests.support.lies import calldata
from tests.support.market_world import (
    PATIENTS,
    Books,
    World,
    code_of,
    require_linear,
    running_market,
)
from tests.support.nodes import LyingProxy, Unmoved

WINDOWS = replace(
    POLICY, freeze_window=120, gate_window=300, turn_window=600, certificate_window=60
)
"""Short enough that tests can let chain time pass them."""
SOON = 240
"""Seconds to a seal deadline: about as near as the operator takes one, on a slow machine too."""
SECONDS = 240.0
ASKS, SENDS = ("eth_call", "eth_estimateGas"), ("eth_sendRawTransaction",)
ENDED = ("RequestCancelled", "RequestReclaimed", "RequestDefaulted", "RequestSettled")


def called(call: dict[str, Any]) -> str:
    """What a question to a node calls a contract with, in hexadecimal."""
    given = call["params"][0]
    if call["method"] not in SENDS:
        return calldata(given)
    return TypedTransaction.from_bytes(HexBytes(given)).as_dict()["data"].hex()


class Silent(LyingProxy):
    """Does not answer a chosen call, which it has passed on or has not; every other call it answers."""

    server = Unmoved

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.methods_held: tuple[str, ...] = ()
        self.selector, self.passes_on = "", False
        self.reached, self.over = threading.Event(), threading.Event()

    def answer(self, body: bytes) -> bytes:
        call = json.loads(body)
        chosen = call["method"] in self.methods_held and called(call).startswith(self.selector)
        said = super().answer(body) if not chosen or self.passes_on else b""
        if chosen:
            self.reached.set()
            assert self.over.wait(SECONDS)
        return said

    @contextmanager
    def silent_at(
        self, function: str, methods: tuple[str, ...], *, passed_on: bool = False
    ) -> Iterator[None]:
        """Within, a call of this function of the market is not answered."""
        selector = artifacts.load("ResearchMarket").functions[function].selector.hex()
        self.reached, self.over = threading.Event(), threading.Event()
        self.selector, self.passes_on, self.methods_held = selector, passed_on, methods
        yield
        self.methods_held = ()
        self.over.set()


@dataclass
class Ending:
    """One request on its way to an end, and the operator that is killed around it."""

    world: World
    node: Silent
    before: Books = field(init=False)
    request: str = ""
    opened: RequestView = field(init=False)

    def open(self, **changed: int) -> None:
        self.before = self.world.books()
        self.request = self.world.open(**changed)
        self.opened = self.view()

    def view(self) -> RequestView:
        return self.world.chain.request(bytes.fromhex(self.request[2:]))

    def kill_at(
        self,
        stage: Stage,
        function: str,
        methods: tuple[str, ...],
        begin: Callable[[], None],
        *,
        passed_on: bool = False,
    ) -> None:
        """SIGKILL at this stage, while this call of the operator's waits for its answer."""
        with self.node.silent_at(function, methods, passed_on=passed_on):
            begin()
            assert self.node.reached.wait(SECONDS), stage_of(self.world, self.request)
            with stopped(self.world.local.processes["operator"]):
                assert stage_of(self.world, self.request) is stage
                kill(self.world, "operator")
        assert stage_of(self.world, self.request) is stage

    def start(self) -> None:
        start(self.world, "operator")

    def kill_once_ended(self, end: Stage) -> None:
        """Started, it notes the end; killed, and started again, it changes nothing more."""
        self.start()
        await_stage(self.world, self.request, end)
        books = self.world.books()
        kill(self.world, "operator")
        self.start()
        await_health([self.world.local.url])
        assert self.world.market.api.get(f"/api/v1/requests/{self.request}")["stage"] == end
        assert self.world.books() == books

    def require_ended_once(self, event: str, **changed: int) -> None:
        """One end on chain; `changed` is all that is new of what the chain keeps; no more can be had."""
        require_linear(log(self.world, self.request))
        assert self.ends() == [event]
        held = changed["researcher_credit"] + changed.get("earnings", 0) + changed["operator_bond"]
        expected = {name: getattr(self.before, name) + more for name, more in changed.items()}
        after = replace(
            self.before, **expected, held=self.before.held + held, owed=self.before.owed + held
        )
        assert self.world.books() == after
        for function in ("cancel", "reclaim", "defaultUncertified"):
            assert code_of(partial(self.send, "researcher", function)) == "wrong_stage"
        assert self.world.books() == after
        assert self.world.drawn_noise(self.request) == []

    def ends(self) -> list[str]:
        first, topic = self.world.chain.manifest.deployed_block, bytes.fromhex(self.request[2:])
        found = self.world.chain.events(
            first, contracts=["ResearchMarket"], names=list(ENDED), topics=[topic]
        )
        return [each.name for each in found]

    def send(self, role: str, function: str) -> None:
        """To the market, about this request."""
        key = self.world.local.key(role)
        request = bytes.fromhex(self.request[2:])
        Sender(self.world.chain, key).send("ResearchMarket", function, request)

    def pass_time(self, seconds: int) -> None:
        node = self.world.chain.node
        node.request("evm_setNextBlockTimestamp", [self.world.chain.now() + seconds])
        node.request("evm_mine", [])


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Silent]]:
    folder = tmp_path_factory.mktemp("ends")
    with running_market(folder, policy=WINDOWS, chain_options=("--test-clock",)) as world:
        node = Silent(world.local.node_url)
        path = world.local.config_path
        path.write_text(json.dumps({**json.loads(path.read_text()), "node_url": node.url}))
        kill(world, "operator")
        start(world, "operator")
        yield world, node
        node.close()


@pytest.fixture
def ending(market: tuple[World, Silent]) -> Ending:
    return Ending(*market)


# --- the ends


def refused(ending: Ending) -> None:
    """By the operator alone, in its database; the researcher then fetches the escrow."""
    too_many = {"max_patients": PATIENTS - 1}
    ending.kill_at(Stage.FUNDED, "freeze", ASKS, lambda: ending.open(**too_many))
    ending.kill_once_ended(Stage.REFUSED)
    assert ending.view().stage is RequestStage.OPENED
    assert ending.world.books().escrows == ending.before.escrows + ending.opened.escrow
    kill(ending.world, "operator")
    ending.send("researcher", "cancel")
    ending.start()
    await_stage(ending.world, ending.request, Stage.CANCELLED)
    ending.require_ended_once(
        "RequestCancelled", researcher_credit=ending.opened.escrow, operator_bond=0
    )


def cancelled(ending: Ending) -> None:
    """By the researcher, while the operator is down on its way to freeze."""
    ending.kill_at(Stage.FUNDED, "freeze", SENDS, ending.open)
    ending.send("researcher", "cancel")
    ending.kill_at(Stage.FUNDED, "requestOf", ASKS, ending.start)
    ending.kill_once_ended(Stage.CANCELLED)
    ending.require_ended_once(
        "RequestCancelled", researcher_credit=ending.opened.escrow, operator_bond=0
    )


def reclaimed(ending: Ending) -> None:
    """By the operator, which finds its freeze lapsed: part of its bond goes to the researcher."""
    ending.kill_at(Stage.FROZEN, "sealAll", SENDS, ending.open)
    frozen = ending.view()
    assert frozen.stage is RequestStage.FROZEN
    fine = frozen.bond * WINDOWS.unused_freeze_bps // 10_000
    assert fine > 0
    ending.pass_time(WINDOWS.freeze_window + 1)
    ending.kill_at(Stage.FROZEN, "reclaim", SENDS, ending.start)
    assert ending.view().stage is RequestStage.FROZEN
    ending.kill_at(Stage.FROZEN, "reclaim", SENDS, ending.start, passed_on=True)
    assert ending.view().stage is RequestStage.RECLAIMED
    ending.kill_once_ended(Stage.RECLAIMED)
    ending.require_ended_once(
        "RequestReclaimed",
        researcher_credit=ending.opened.escrow + fine,
        operator_bond=-fine,
    )


def defaulted(ending: Ending) -> None:
    """By anybody, while the operator is down: the patients' budget was spent, so they keep their pay."""
    now = ending.world.chain.nudge().timestamp
    deadlines = {"seal_deadline": now + SOON, "settle_deadline": now + SOON + WINDOWS.turn_window}
    ending.kill_at(Stage.SEALED, "drawGate", SENDS, lambda: ending.open(**deadlines))
    ending.pass_time(SOON + WINDOWS.turn_window + WINDOWS.certificate_window + 1)
    ending.send("stranger", "defaultUncertified")
    ending.kill_at(Stage.SEALED, "requestOf", ASKS, ending.start)
    ending.kill_once_ended(Stage.DEFAULTED)
    opened, paid = ending.opened, PATIENTS * ending.opened.price
    ending.require_ended_once(
        "RequestDefaulted",
        researcher_credit=opened.escrow - paid,
        operator_bond=0,
        spent=opened.cost,
        earned=opened.price,
        earnings=paid,
    )


ENDS: dict[Stage, Callable[[Ending], None]] = {
    Stage.REFUSED: refused,
    Stage.CANCELLED: cancelled,
    Stage.RECLAIMED: reclaimed,
    Stage.DEFAULTED: defaulted,
}


def test_every_end_but_the_settlement_is_here() -> None:
    assert ENDS.keys() == TERMINAL - {Stage.SETTLED}


@pytest.mark.long
@pytest.mark.parametrize("end", ENDS)
def test_a_kill_around_an_end_leaves_one_refund_and_no_second_payment(
    ending: Ending, end: Stage
) -> None:
    started = time.monotonic()
    ENDS[end](ending)
    print(f"{end} in {time.monotonic() - started:.1f} s")
