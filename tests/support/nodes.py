"""Nodes for tests: our embedded one and anvil, each its own process on a free port; and a liar."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from eth_account import Account

from marketplace.chain.funding import fund
from marketplace.chain.rpc import Node
from tests.support import fork_server

ROOT = Path(__file__).resolve().parents[2]
ANVIL = ROOT / "contracts" / "node_modules" / ".bin" / "anvil"
ANVIL_KEY = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
"""The first account of anvil's public mnemonic: no secret."""
EMBEDDED_KEY = bytes.fromhex("01" * 32)
ETHER = 10**18
DAILY_ON_ANVIL = {
    *("test_bad_input", "test_drafts", "test_relay_abuse"),
    *("test_custodian_processes", "test_custodian_tallies", "test_custody", "test_custody_liars"),
    *("test_drafts_tallied", "test_erasure_watch", "test_erasures", "test_following"),
    *("test_gate_guards", "test_hand_over", "test_intake", "test_joint_key_rotation"),
    *("test_keygen", "test_keygen_erasure", "test_keygen_liars", "test_lying_operator"),
    "test_openings",
    *("test_rotation", "test_score_dataset", "test_scoring", "test_scoring_commands"),
    *("test_scoring_faults", "test_silent_custodians", "test_tally_restoring"),
    *("test_silent_operator", "test_strangers", "test_tallied_records", "test_tallied_rotation"),
    *("test_tally_faults", "test_tally_kills", "test_tally_lane", "test_tally_pipeline"),
    *("test_tally_receipts", "test_turn_guards", "test_turn_rules", "test_withheld"),
}
"""Files that `make test` runs on anvil, which takes a third less processor time; the others stand on the
embedded node. `make test-long` runs both kinds on the other one as well."""
ON_ANVIL = False
"""Set before each test: what its file stands on."""


def choose(file: str, other: bool) -> None:
    """The chain of this file's tests; the other one, if that is wanted."""
    global ON_ANVIL
    ON_ANVIL = (file in DAILY_ON_ANVIL) != other


@dataclass(frozen=True)
class RunningNode:
    url: str
    funded_key: bytes


@contextmanager
def any_node(folder: Path) -> Iterator[RunningNode]:
    """The embedded node or anvil, as `choose` says: what stands on it holds on both.

    Either is final at its head, has a clock that tests may move, and gives gas to EMBEDDED_KEY, which is
    in `folder` as `faucet.key`.
    """
    if not ON_ANVIL:
        with embedded_node(folder) as node:
            yield node
        return
    _keep_faucet_key(folder)
    with anvil_node("--slots-in-an-epoch", "0") as node:
        fund(
            Node(node.url), node.funded_key, [Account.from_key(EMBEDDED_KEY).address], 5_000 * ETHER
        )
        yield RunningNode(node.url, EMBEDDED_KEY)


@contextmanager
def embedded_node(folder: Path) -> Iterator[RunningNode]:
    """Our node, with a clock that tests may move."""
    key_file = _keep_faucet_key(folder)
    options = ["--data", str(folder / "chain"), "--port", "0", "--test-clock"]
    process = fork_server.start(
        "marketplace.chain.node", *options, "--faucet-key-file", str(key_file)
    )
    try:
        yield RunningNode(json.loads(process.stdout.readline())["url"], EMBEDDED_KEY)
    finally:
        process.stop()


def _keep_faucet_key(folder: Path) -> Path:
    path = folder / "faucet.key"
    path.write_text("0x" + EMBEDDED_KEY.hex())
    path.chmod(0o600)
    return path


@contextmanager
def anvil_node(*options: str) -> Iterator[RunningNode]:
    command = [str(ANVIL), "--port", "0", "--enable-tx-gas-limit", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next(each for each in process.stdout if each.startswith("Listening on"))
            # Read on, or a full pipe would stop anvil.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield RunningNode("http://" + line.split()[-1], ANVIL_KEY)
        finally:
            process.terminate()
            process.wait()


@contextmanager
def blocks_come(node: Node) -> Iterator[None]:
    """Meanwhile anvil makes a block a second, as any chain does that is in use.

    Without it, what waits for the block after its own would wait for ever; the embedded node is asked for one
    by the operator.
    """
    if not ON_ANVIL:
        yield
        return
    over = threading.Event()

    def beat() -> None:
        while not over.wait(1):
            node.mine()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


Lie = Callable[[str, list[Any], Any], Any]
"""(method, parameters, true result) -> result."""


class Unmoved(ThreadingHTTPServer):
    """Prints nothing of a connection that is dropped: some tests ask for just that."""

    def handle_error(self, *_: Any) -> None:
        pass


class LyingProxy:
    """Passes JSON-RPC on to a node, and answers with what `lie` makes of the truth."""

    server: type[ThreadingHTTPServer] = ThreadingHTTPServer

    def __init__(self, target: str) -> None:
        self.target = target
        self.lie: Lie = honest
        self.methods: list[str] = []
        self.hang_seconds = 0.0
        self.raw: bytes | None = None
        self._server = self.server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, body: bytes) -> bytes:
        call = json.loads(body)
        self.methods.append(call["method"])
        time.sleep(self.hang_seconds)
        if self.raw is not None:
            return self.raw
        answer = requests.post(self.target, json=call, timeout=30).json()
        if "result" in answer:
            answer["result"] = self.lie(call["method"], call.get("params", []), answer["result"])
        return json.dumps(answer).encode()

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body at once: apart, each answer waits 40 ms for the other's acknowledgement.
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = proxy.answer(body)
                try:
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                    self.wfile.flush()
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler


def honest(_method: str, _parameters: list[Any], result: Any) -> Any:
    return result
