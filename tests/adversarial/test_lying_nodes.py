"""A node that lies to one party: nothing is released meanwhile, the reason is named, and it passes.

Operator, gate and one custodian each see the chain through a proxy of their own, which lies on demand.
"""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
import requests
from eth_utils.crypto import keccak

from marketplace.chain.adapter import RequestStage
from marketplace.custodian.checks import sealed_request
from marketplace.custodian.service import Custodian
from marketplace.errors import Refusal
from marketplace.gate.checks import open_request
from marketplace.gate.service import Gate
from marketplace.pipeline import Pipeline
from marketplace.stages import LIVE, Stage
from tests.support.custody_world import COST, DICTIONARY, PARAMETERS
from tests.support.daily import daily
from tests.support.nodes import LyingProxy, Unmoved, honest
from tests.support.pipeline_world import (
    GATE,
    OPERATOR,
    PipelineWorld,
    history,
    pipeline_world,
    stage_of,
)

LIAR = 0
"""The custodian whose node lies: the first that is asked."""
IMPATIENT = 0.3
"""Seconds that a party waits for a node that hangs for longer."""


class Liar(LyingProxy):
    """Also drops connections, and can keep transactions to itself while it claims that they counted."""

    server = Unmoved

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.reset = self.swallows = False

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        """Sends head and body at once: apart, each answer waits 40 ms for the other's acknowledgement."""
        handler = super()._handler()
        handler.wbufsize = -1
        handler.disable_nagle_algorithm = True
        return handler

    def answer(self, body: bytes) -> bytes:
        if self.reset:
            raise ConnectionResetError
        call = json.loads(body)
        if self.swallows and call["method"] == "eth_sendRawTransaction":
            return self._result(call, "0x" + _hash_of(call["params"][0]))
        if self.swallows and call["method"] == "eth_getTransactionReceipt":
            return self._result(call, self._forged_receipt(call["params"][0]))
        return super().answer(body)

    def ask(self, method: str, *parameters: Any) -> Any:
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        return requests.post(self.target, json=call, timeout=30).json()["result"]

    def truthful(self) -> None:
        self.lie, self.hang_seconds, self.raw = honest, 0.0, None
        self.reset = self.swallows = False

    def _result(self, call: dict[str, Any], result: Any) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}).encode()

    def _forged_receipt(self, transaction: str) -> dict[str, Any]:
        """Success, in the block that is the head: all but the effect."""
        head = self.ask("eth_getBlockByNumber", "latest", False)
        zero = "0x" + "00" * 20
        return {
            "transactionHash": transaction,
            "transactionIndex": "0x0",
            "blockHash": head["hash"],
            "blockNumber": head["number"],
            "from": zero,
            "to": zero,
            "cumulativeGasUsed": "0x5208",
            "gasUsed": "0x5208",
            "effectiveGasPrice": "0x1",
            "contractAddress": None,
            "logs": [],
            "logsBloom": "0x" + "00" * 256,
            "status": "0x1",
            "type": "0x2",
        }


def _hash_of(raw: str) -> str:
    return keccak(bytes.fromhex(raw[2:])).hex()


# --- the lies


def stale_head(liar: Liar) -> None:
    def lie(method: str, _: list[Any], result: Any) -> Any:
        if method == "eth_getBlockByNumber" and result:
            return result | {"timestamp": hex(int(result["timestamp"], 16) - 1_000_000)}
        return result

    liar.lie = lie


def old_block(liar: Liar) -> None:
    """State and head as they were before this request was opened: fresh to look at, and long past."""
    old = hex(BEFORE[0])

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        if method == "eth_call" and parameters[-1] in ("latest", "finalized"):
            return liar.ask("eth_call", parameters[0], old)
        return old if method == "eth_blockNumber" else result

    liar.lie = lie


def wrong_chain(liar: Liar) -> None:
    liar.lie = lambda method, _, result: hex(1) if method == "eth_chainId" else result


def wrong_code(liar: Liar) -> None:
    liar.lie = lambda method, _, result: "0x6001" if method == "eth_getCode" else result


def partial_logs(liar: Liar) -> None:
    liar.lie = lambda method, _, result: [] if method == "eth_getLogs" else result


def forged_logs(liar: Liar) -> None:
    def lie(method: str, _: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        return [log | {"data": log["data"][:-64] + "ff" * 32} for log in result]

    liar.lie = lie


def hang(liar: Liar) -> None:
    liar.hang_seconds = 4 * IMPATIENT


def reset(liar: Liar) -> None:
    liar.reset = True


def nonsense(liar: Liar) -> None:
    liar.raw = b"<html>503</html>"


LIES: dict[str, tuple[Callable[[Liar], None], set[str]]] = {
    "stale head": (stale_head, {"stale_head"}),
    "old block": (old_block, {"not_sealed", "reorganised", "gate_key_missing"}),
    "wrong chain": (wrong_chain, {"wrong_chain"}),
    "wrong code": (wrong_code, {"wrong_code"}),
    "partial logs": (partial_logs, {"partial_logs"}),
    "forged logs": (forged_logs, {"forged_logs", "partial_logs"}),
    "hang": (hang, {"node_unreachable"}),
    "reset": (reset, {"node_unreachable"}),
    "nonsense": (nonsense, {"node_fault", "node_unreachable"}),
}
BEFORE: list[int] = [0]
"""The block before the request at hand."""

EVERY_LIE = pytest.mark.parametrize("name", sorted(LIES))


# --- the market


@pytest.fixture(scope="module")
def liars() -> Iterator[dict[str, Liar]]:
    made: dict[str, Liar] = {}
    yield made
    for liar in made.values():
        liar.close()


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, liars: dict[str, Liar]
) -> Iterator[PipelineWorld]:
    def urls(node: str) -> dict[str, str]:
        liars.update({who: Liar(node) for who in (OPERATOR, GATE, f"custodian {LIAR}")})
        return {who: liar.url for who, liar in liars.items()}

    with pipeline_world(tmp_path_factory.mktemp("lies"), slots=1, nodes=urls) as world:
        yield world


@pytest.fixture(autouse=True)
def the_truth_afterwards(liars: dict[str, Liar]) -> Iterator[None]:
    yield
    for liar in liars.values():
        liar.truthful()


@pytest.fixture(scope="module")
def pipeline(made: PipelineWorld) -> Pipeline:
    return made.pipeline()


@pytest.fixture(scope="module")
def keyed(made: PipelineWorld, pipeline: Pipeline) -> str:
    """Sealed, with the gate's key in a final block: every party could act for it now."""
    return opened(made, pipeline, "keyed", Stage.KEYED)


def opened(made: PipelineWorld, pipeline: Pipeline, salt: str, wanted: Stage) -> str:
    BEFORE[0] = made.chain.head().number
    request, _ = made.submit(pipeline, salt)
    made.reach(pipeline, request, wanted)
    made.finalise()
    return request


def code_of(act: Callable[[], Any]) -> str:
    with pytest.raises(Refusal) as caught:
        act()
    return caught.value.code


def _id(request: str) -> bytes:
    return bytes.fromhex(request[2:])


# --- one party at a time


@EVERY_LIE
def test_a_custodian_whose_node_lies_does_not_turn(
    made: PipelineWorld, keyed: str, liars: dict[str, Liar], name: str
) -> None:
    tell, codes = LIES[name]
    liar = liars[f"custodian {LIAR}"]
    asked: Custodian = made.world.custodian(LIAR, node_url=liar.url, **patience(name))
    tell(liar)
    assert code_of(lambda: asked.turn(_id(keyed))) in codes
    assert made.released(keyed) == []
    liar.truthful()
    honest_again = made.custodians[LIAR]
    assert honest_again.reasons() == []
    assert sealed_request(honest_again.chain, _id(keyed), honest_again.rules).cohort.members


@EVERY_LIE
def test_a_gate_whose_node_lies_opens_nothing_and_asks_nobody(
    made: PipelineWorld, keyed: str, liars: dict[str, Liar], name: str
) -> None:
    tell, codes = LIES[name]
    liar = liars[GATE]
    asked: Gate = made.world.gate(made.urls, node_url=liar.url, **patience(name))
    tell(liar)
    me = made.world.voice.address
    assert code_of(lambda: asked.key(_id(keyed), PARAMETERS, DICTIONARY)) in codes
    assert code_of(lambda: asked.compute(_id(keyed), me, PARAMETERS, DICTIONARY, {})) in codes
    assert made.released(keyed) == []
    liar.truthful()
    assert made.gate.reasons() == []
    me = made.gate.keys.signer.address
    key = made.chain.request(_id(keyed)).gate_key
    assert open_request(made.gate.chain, _id(keyed), me, key, 2).cohort.members


@EVERY_LIE
def test_an_operator_whose_node_lies_releases_nothing_and_gives_no_request_up(
    made: PipelineWorld, pipeline: Pipeline, keyed: str, liars: dict[str, Liar], name: str
) -> None:
    tell, codes = LIES[name]
    misled = made.pipeline(timeout=timeout(name))
    before = made.chain.head().number
    tell(liars[OPERATOR])
    refusal = made.step(misled, keyed)
    assert refusal is not None
    assert refusal.code in codes
    assert misled.advance(keyed) in LIVE  # waits; refused, it would be over for ever
    assert made.released(keyed) == []
    assert made.chain.head().number == before  # and nothing was sent
    liars[OPERATOR].truthful()
    made.reach(pipeline, keyed, Stage.KEYED)


def patience(name: str) -> dict[str, float]:
    return {"node_timeout": IMPATIENT} if name == "hang" else {}


def timeout(name: str) -> float:
    return IMPATIENT if name == "hang" else 20.0


def test_after_all_lies_the_request_is_answered_and_settled_once(
    made: PipelineWorld, pipeline: Pipeline, keyed: str
) -> None:
    assert made.released(keyed) == []
    made.finish(pipeline, keyed)
    made.require_settled_once(pipeline, keyed)


@pytest.mark.parametrize("name", daily(sorted(LIES), ["forged logs"]))
def test_an_operator_that_is_lied_to_before_the_freeze_goes_on_when_it_ends(
    made: PipelineWorld, pipeline: Pipeline, liars: dict[str, Liar], name: str
) -> None:
    """It freezes nothing that it cannot see, and gives nothing up; afterwards the request is answered."""
    request = opened(made, pipeline, f"waiting {name}", Stage.FUNDED)
    spent, tell = made.spent(), LIES[name][0]
    misled = made.pipeline(timeout=timeout(name))
    tell(liars[OPERATOR])
    assert misled.advance(request) in (Stage.SUBMITTED, Stage.FUNDED)
    liars[OPERATOR].truthful()
    assert made.chain.request(_id(request)).stage is RequestStage.OPENED
    assert (made.spent(), made.released(request)) == (spent, [])
    made.finish(pipeline, request)
    made.require_settled_once(pipeline, request)
    assert made.spent() == spent + COST


# --- receipts


@pytest.mark.parametrize(
    "stage", daily([Stage.FUNDED, Stage.FROZEN, Stage.CLEARED], [Stage.FROZEN])
)
def test_a_forged_receipt_moves_nothing_on(
    made: PipelineWorld, pipeline: Pipeline, liars: dict[str, Liar], stage: Stage
) -> None:
    """The transaction was swallowed and called a success: what counts is what the chain shows."""
    request = opened(made, pipeline, f"receipt {stage}", stage)
    kept = pipeline.database.computed(request)
    shown = made.chain.request(_id(request)).stage
    liars[OPERATOR].swallows = True
    assert pipeline.advance(request) is stage
    assert made.chain.request(_id(request)).stage is shown
    assert pipeline.database.receipt(request) is None
    liars[OPERATOR].truthful()
    made.finish(pipeline, request)
    made.require_settled_once(pipeline, request)
    after = pipeline.database.computed(request)
    assert kept is None or (after is not None and after.sealed_result == kept.sealed_result)


# --- a computed answer and a node that goes back in time


def test_an_operator_that_is_shown_an_older_chain_keeps_its_one_answer(
    made: PipelineWorld, pipeline: Pipeline, liars: dict[str, Liar]
) -> None:
    request = opened(made, pipeline, "older", Stage.COMPUTED)
    kept, spent = pipeline.database.computed(request), made.spent()
    old_block(liars[OPERATOR])
    pipeline.advance(request)
    assert history(pipeline, request)[-1] == "computed -> submitted: NONE on chain"
    liars[OPERATOR].truthful()
    made.finish(pipeline, request)
    after = pipeline.database.computed(request)
    assert kept is not None
    assert after is not None
    assert (after.settlement, after.sealed_result) == (kept.settlement, kept.sealed_result)
    assert made.spent() == spent
    made.require_settled_once(pipeline, request)


# --- one of three


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(LIES))
def test_one_custodian_whose_node_lies_does_not_stop_the_other_two(
    made: PipelineWorld, pipeline: Pipeline, liars: dict[str, Liar], name: str
) -> None:
    tell, _ = LIES[name]
    spent = made.spent()
    request = opened(made, pipeline, f"two of three {name}", Stage.KEYED)
    tell(liars[f"custodian {LIAR}"])
    made.finish(pipeline, request)
    assert made.released(request) == ["custodian 1", "custodian 2", GATE]
    assert made.spent() == spent + COST
    made.require_settled_once(pipeline, request)
    liars[f"custodian {LIAR}"].truthful()
    assert stage_of(pipeline, request) is Stage.SETTLED
    assert made.custodians[LIAR].reasons() == []
