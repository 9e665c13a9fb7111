"""Rules of the embedded chain as its clients meet it: a process of its own, reached through web3.

The kill tests send SIGKILL to that process while another one (this) sends transactions.
"""

from __future__ import annotations

import json
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import HTTPProvider, Web3
from web3.contract import Contract
from web3.exceptions import ContractCustomError, ContractLogicError, Web3RPCError

PROBE = json.loads((Path(__file__).parents[1] / "fixtures/chain_probe/Probe.json").read_text())
MNEMONIC = "test test test test test test test test test test test junk"
KILLS = 8
ACKNOWLEDGED = 3  # transactions before each of them
SOMEBODY = Web3.to_checksum_address("0x" + "22" * 20)


@dataclass
class NodeProcess:
    """A running node, and what its ready line said."""

    folder: Path
    process: subprocess.Popen[str]
    ready: dict[str, Any]

    def web3(self) -> Web3:
        return Web3(HTTPProvider(self.ready["url"], request_kwargs={"timeout": 60}))

    def faucet(self) -> LocalAccount:
        account: LocalAccount = Account.from_key((self.folder / "faucet.key").read_text().strip())
        return account

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.finish()

    def finish(self) -> int:
        code = self.process.wait(timeout=20)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code


def launch(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "marketplace.chain.node", "--data", str(folder)]
    return subprocess.Popen(
        [*command, "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start(folder: Path, *options: str) -> NodeProcess:
    process = launch(folder, *options)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        assert process.stderr is not None
        pytest.fail(f"the node did not start: {process.stderr.read()}")
    return NodeProcess(folder, process, json.loads(line))


def refusal(folder: Path, *options: str) -> str:
    """What a node that must not start says."""
    process = launch(folder, *options)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    return err


Starter = Callable[..., NodeProcess]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Starter]:
    """Start nodes on one folder; whatever still runs at the end is killed."""
    running: list[NodeProcess] = []

    def starter(*options: str) -> NodeProcess:
        running.append(start(tmp_path / "chain", *options))
        return running[-1]

    yield starter
    for node in running:
        if node.process.poll() is None:
            node.stop(signal.SIGKILL)


def send(w3: Web3, account: LocalAccount, **fields: Any) -> Any:
    """Sign, send, and return the receipt."""
    transaction = {
        "chainId": w3.eth.chain_id, "nonce": w3.eth.get_transaction_count(account.address),
        "gas": 3_000_000, "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9, "value": 0,
    } | fields  # fmt: skip
    signed = account.sign_transaction(transaction)
    return w3.eth.wait_for_transaction_receipt(w3.eth.send_raw_transaction(signed.raw_transaction))


def deploy(w3: Web3, account: LocalAccount) -> Contract:
    receipt = send(w3, account, data=PROBE["bytecode"])
    return w3.eth.contract(receipt["contractAddress"], abi=PROBE["abi"])


def note(w3: Web3, account: LocalAccount, probe: Contract, number: int) -> Any:
    data = probe.encode_abi("note", [number, f"note {number}"])
    return send(w3, account, to=probe.address, data=data)


COMPILE = """
    const input = {language: 'Solidity', sources: {'Probe.sol': {content: SOURCE}}, settings: {
        evmVersion: 'cancun', optimizer: {enabled: true, runs: 200},
        metadata: {bytecodeHash: 'none', appendCBOR: false},
        outputSelection: {'*': {'*': ['abi', 'evm.bytecode.object']}}}};
    const output = JSON.parse(require('solc').compile(JSON.stringify(input)));
    const probe = output.contracts['Probe.sol'].Probe;
    console.log(JSON.stringify({abi: probe.abi, bytecode: '0x' + probe.evm.bytecode.object}));
"""


def test_the_committed_probe_is_what_its_source_compiles_to() -> None:
    root = Path(__file__).parents[2]
    source = (root / "tests/fixtures/chain_probe/Probe.sol").read_text()
    compiled = subprocess.run(
        ["node", "-e", COMPILE.replace("SOURCE", json.dumps(source))],
        cwd=root / "contracts",
        capture_output=True,
        check=True,
    )
    assert json.loads(compiled.stdout) == PROBE


# As clients meet it


def test_web3_deploys_reads_events_and_decodes_custom_errors(run: Starter) -> None:
    node = run()
    w3, faucet = node.web3(), node.faucet()
    assert (w3.eth.chain_id, w3.net.version) == (31337, "31337")
    assert node.ready["faucet"] == faucet.address
    probe = deploy(w3, faucet)
    receipt = note(w3, faucet, probe, 7)
    (event,) = probe.events.Noted().get_logs(from_block=0)
    assert (event.args.who, event.args.number, event.args.text) == (faucet.address, 7, "note 7")
    assert event.transactionHash == receipt.transactionHash
    assert list(probe.events.Noted().process_receipt(receipt)) == [event]
    with pytest.raises(ContractCustomError) as refused:
        probe.functions.take(9).call()
    selector = Web3.keccak(text="TooMuch(address,uint256,uint256)")[:4]
    assert str(refused.value.data).startswith(selector.to_0x_hex())
    with pytest.raises(ContractLogicError, match="not today"):
        probe.functions.refuse().call()
    failed = send(w3, faucet, to=probe.address, data=probe.encode_abi("take", [9]))
    assert failed.status == 0


def test_web3_fills_in_fees_nonce_and_gas_by_itself(run: Starter) -> None:
    from web3.middleware import SignAndSendRawMiddlewareBuilder

    node = run()
    w3, faucet = node.web3(), node.faucet()
    w3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(faucet), layer=0)
    digest = w3.eth.send_transaction({"from": faucet.address, "to": SOMEBODY, "value": 5})
    assert w3.eth.wait_for_transaction_receipt(digest)["status"] == 1
    assert w3.eth.get_balance(SOMEBODY) == 5
    assert w3.eth.get_transaction(digest)["value"] == 5
    assert w3.eth.fee_history(1, "latest")["oldestBlock"] == 1


def test_web3_batches_are_answered_in_order(run: Starter) -> None:
    node = run()
    w3, faucet = node.web3(), node.faucet()
    with w3.batch_requests() as batch:
        batch.add(w3.eth.get_block("latest"))
        batch.add(w3.eth.get_balance(faucet.address))
        block, balance = batch.execute()
    assert (block["number"], balance) == (0, 10**27)


def test_blocks_are_stamped_by_the_wall_and_mined_on_demand(run: Starter) -> None:
    w3 = run().web3()
    time.sleep(2.1)
    before = int(time.time())
    w3.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
    head = w3.eth.get_block("latest")
    assert head["number"] == 1
    assert before <= head["timestamp"] <= time.time()


def test_only_a_test_clock_can_be_moved(run: Starter, tmp_path: Path) -> None:
    node = run()
    for method in ("evm_increaseTime", "evm_setNextBlockTimestamp"):
        answer = node.web3().provider.make_request(method, [2**40])  # type: ignore[arg-type]
        assert "--test-clock" in answer["error"]["message"]
    node.stop()
    shifted = run("--test-clock")
    w3 = shifted.web3()
    w3.provider.make_request("evm_setNextBlockTimestamp", [2**40])  # type: ignore[arg-type]
    w3.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
    assert w3.eth.get_block("latest")["timestamp"] == 2**40


def test_many_clients_at_once_get_a_block_each(run: Starter, tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text(MNEMONIC)
    words.chmod(0o600)
    node = run("--accounts-from-mnemonic", str(words), "--accounts", "4")
    Account.enable_unaudited_hdwallet_features()
    accounts = [
        Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{place}")
        for place in range(4)
    ]

    def work(account: LocalAccount) -> list[int]:
        w3 = node.web3()
        return [send(w3, account, to=SOMEBODY, value=1)["blockNumber"] for _ in range(8)]

    with ThreadPoolExecutor(4) as pool:
        blocks = [number for numbers in pool.map(work, accounts) for number in numbers]
    assert sorted(blocks) == list(range(1, 33))
    assert node.web3().eth.get_balance(SOMEBODY) == 32


# Reopening


def summary(w3: Web3, probe: Contract, account: LocalAccount) -> dict[str, Any]:
    """Everything that must be the same after a restart."""
    head = w3.eth.block_number
    blocks = [w3.eth.get_block(number, full_transactions=True) for number in range(head + 1)]
    digests = [item["hash"] for block in blocks for item in block["transactions"]]
    return {
        "blocks": blocks,
        "receipts": [w3.eth.get_transaction_receipt(digest) for digest in digests],
        "logs": w3.eth.get_logs({"fromBlock": 0, "toBlock": "latest"}),
        "balance": w3.eth.get_balance(account.address),
        "nonce": w3.eth.get_transaction_count(account.address, "pending"),
        "history": [probe.functions.total().call(block_identifier=n) for n in range(1, head + 1)],
        "tags": [w3.eth.get_block(tag)["number"] for tag in ("earliest", "finalized", "safe")],
    }


def test_a_reopened_chain_is_the_same_chain_and_goes_on(run: Starter) -> None:
    node = run()
    w3, faucet = node.web3(), node.faucet()
    probe = deploy(w3, faucet)
    for number in range(1, 6):
        note(w3, faucet, probe, number)
    before = summary(w3, probe, faucet)
    assert before["history"] == [0, 1, 3, 6, 10, 15]
    assert node.stop() == 0
    again = run().web3()
    probe = again.eth.contract(probe.address, abi=PROBE["abi"])
    assert summary(again, probe, faucet) == before
    assert note(again, faucet, probe, 6)["blockNumber"] == 7
    assert probe.functions.total().call() == 21


def test_a_store_serves_one_chain_id_and_one_process(run: Starter) -> None:
    node = run("--chain-id", "77")
    assert "another process already serves" in refusal(node.folder)
    node.stop()
    assert "holds chain 77, chain 31337 was asked for" in refusal(node.folder)
    assert run("--chain-id", "77").web3().eth.chain_id == 77


def test_a_given_faucet_key_is_used_and_checked(run: Starter, tmp_path: Path) -> None:
    keys = [tmp_path / name for name in ("one", "two")]
    for place, key in enumerate(keys, start=1):
        key.write_text(f"0x{place:064x}")
        key.chmod(0o600)
    node = run("--faucet-key-file", str(keys[0]))
    payer = Account.from_key(keys[0].read_text())
    assert node.web3().eth.get_balance(payer.address) == 10**27
    node.stop()
    assert "does not fund" in refusal(node.folder, "--faucet-key-file", str(keys[1]))


# SIGKILL


@pytest.mark.long
def test_a_node_killed_at_random_moments_keeps_what_it_acknowledged(run: Starter) -> None:
    node = run()
    w3, faucet = node.web3(), node.faucet()
    probe = deploy(w3, faucet)
    survived = 1  # blocks: the deployment
    for round_number in range(KILLS):
        acknowledged, sent = _send_until_killed(node, w3, faucet, probe)
        assert len(acknowledged) >= ACKNOWLEDGED
        node.finish()
        node = run()
        w3 = node.web3()
        probe = w3.eth.contract(probe.address, abi=PROBE["abi"])
        head = w3.eth.block_number
        assert survived + len(acknowledged) <= head <= sent
        for digest in acknowledged:
            assert w3.eth.get_transaction_receipt(digest)["status"] == 1
        _require_whole_blocks(w3, probe, faucet, survived, head)
        _require_sound_file(node.folder, round_number)
        survived = head


def _send_until_killed(
    node: NodeProcess, w3: Web3, faucet: LocalAccount, probe: Contract
) -> tuple[list[bytes], int]:
    """Send one note after another; once some are acknowledged, kill the node in the next two or so.

    Returns what was acknowledged, and how many the account has ever sent, the last one unanswered.
    """
    nonce = w3.eth.get_transaction_count(faucet.address)
    acknowledged: list[bytes] = []
    while True:
        data = probe.encode_abi("note", [1, "x" * 600])
        signed = faucet.sign_transaction(
            {"chainId": 31337, "nonce": nonce, "gas": 200_000, "to": probe.address, "data": data,
             "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9, "value": 0}
        )  # fmt: skip
        nonce += 1
        began = time.monotonic()
        try:
            acknowledged.append(w3.eth.send_raw_transaction(signed.raw_transaction))
        except OSError:  # requests' ConnectionError: the node is gone
            return acknowledged, nonce
        if len(acknowledged) == ACKNOWLEDGED:
            # As long as this machine takes, so that any moment of a transaction may be the last.
            moment = random.uniform(0, 2 * (time.monotonic() - began))
            threading.Timer(moment, node.process.kill).start()


def _require_whole_blocks(
    w3: Web3, probe: Contract, faucet: LocalAccount, first: int, head: int
) -> None:
    """One note a block, the state counts them all, and index, receipts and headers agree."""
    assert w3.eth.get_transaction_count(faucet.address) == head
    assert probe.functions.total().call() == head - 1
    blocks = [w3.eth.get_block(number) for number in range(first, head + 1)]
    assert all(child["parentHash"] == parent["hash"] for parent, child in pairwise(blocks))
    receipts = [w3.eth.get_transaction_receipt(block["transactions"][0]) for block in blocks]
    logs = w3.eth.get_logs({"fromBlock": first, "toBlock": "latest"})
    assert [log for receipt in receipts for log in receipt["logs"]] == logs
    assert len(logs) == head - first + (first > 1)  # block 1 deploys, and tells nothing


def _require_sound_file(folder: Path, round_number: int) -> None:
    reader = sqlite3.connect(f"file:{folder / 'chain.sqlite3'}?mode=ro", uri=True)
    assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",), round_number
    reader.close()


DYING_NODE = """
    import os, signal, sys
    from marketplace.chain.node import storage
    from marketplace.chain.node.__main__ import main

    flush = storage.ChainStore._flush

    def flush_and_die(self, buffer):
        flush(self, buffer)
        if self._logs:  # the first block with an event: all its rows are written, none committed
            os.kill(os.getpid(), signal.SIGKILL)

    storage.ChainStore._flush = flush_and_die
    sys.argv[0] = "node"
    main()
"""


def test_a_node_killed_between_the_last_row_and_the_commit_shows_nothing_of_the_block(
    run: Starter, tmp_path: Path
) -> None:
    folder = tmp_path / "chain"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DYING_NODE), "--data", str(folder), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    dying = NodeProcess(folder, process, json.loads(process.stdout.readline()))
    w3, faucet = dying.web3(), dying.faucet()
    probe = deploy(w3, faucet)
    with pytest.raises(OSError, match=r"(?i)connection|remote"):
        note(w3, faucet, probe, 5)
    assert dying.finish() == -signal.SIGKILL
    w3 = run().web3()
    probe = w3.eth.contract(probe.address, abi=PROBE["abi"])
    assert w3.eth.block_number == 1
    assert w3.eth.get_logs({"fromBlock": 0}) == []
    assert (probe.functions.total().call(), w3.eth.get_transaction_count(faucet.address)) == (0, 1)
    assert note(w3, faucet, probe, 5)["blockNumber"] == 2


# Limits


def test_a_full_store_refuses_to_write_and_goes_on_reading(run: Starter) -> None:
    node = run("--max-pages", "120")
    w3, faucet = node.web3(), node.faucet()
    probe = deploy(w3, faucet)
    what_and_remedy = r"the chain store is full.*Free disk space \(or raise --max-pages\)"
    with pytest.raises(Web3RPCError, match=what_and_remedy):
        _fill_until_refused(w3, faucet, probe)
    head = w3.eth.get_block("latest")
    assert w3.eth.get_transaction_count(faucet.address) == head["number"] > 1
    assert probe.functions.written(0).call() == 1
    node.stop()
    larger = run("--max-pages", "4000")
    assert larger.web3().eth.get_block("latest") == head
    assert note(larger.web3(), faucet, probe, 1)["status"] == 1


def _fill_until_refused(w3: Web3, faucet: LocalAccount, probe: Contract) -> None:
    for slot in range(0, 10_000, 100):
        send(w3, faucet, to=probe.address, data=probe.encode_abi("fill", [slot, 100]))


def test_the_port_answers_this_machine_only_and_limits_bodies(run: Starter) -> None:
    url = run().ready["url"]
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    assert httpx.post(url, json=call).json()["result"] == "0x7a69"
    assert httpx.post(url, json=call, headers={"Host": "evil.example"}).status_code == 403
    assert httpx.post(url, content="{}", headers={"Content-Type": "text/plain"}).status_code == 415
    json_type = {"Content-Type": "application/json"}
    oversized = b" " * (6 * 1024 * 1024)
    assert httpx.post(url, content=oversized, headers=json_type).status_code == 413
    assert httpx.post(url, json=call).status_code == 200


@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
def test_a_body_nested_without_end_is_refused_and_the_node_goes_on(
    run: Starter, bracket: bytes
) -> None:
    node = run()
    headers = {"content-type": "application/json"}
    answer = httpx.post(
        node.ready["url"], content=bracket * 200_000, headers=headers, timeout=60
    ).json()
    assert answer["error"]["code"] == -32700
    assert node.web3().eth.chain_id == node.ready["chain_id"]


def test_150_idle_sockets_keep_nobody_out(run: Starter) -> None:
    node = run()
    address = ("127.0.0.1", int(node.ready["url"].rsplit(":", 1)[1]))
    idle = [socket.create_connection(address) for _ in range(150)]
    for each in idle:
        each.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{")
    assert node.web3().eth.chain_id == node.ready["chain_id"]
    for each in idle:
        each.close()


def test_a_search_among_thousands_of_blocks_of_events_walks_an_index(tmp_path: Path) -> None:
    """3,000 blocks with 6,000 events. SQLite itself says how it searches: never by reading them all."""
    from marketplace.chain.node.storage import ChainStore, LogQuery, LogRow

    store = ChainStore(tmp_path)
    addresses = [bytes([place]) * 20 for place in (1, 2)]
    with store.write():
        for block in range(3_000):
            for place, address in enumerate(addresses):
                topic = block.to_bytes(32, "big")
                store.add_log(LogRow(block, place, b"h" * 32, 0, b"t" * 32, address, (topic,), b""))
    query = LogQuery(0, 3_000, (addresses[1],), ((b"\0" * 31 + b"\7",),))
    statements: list[str] = []
    store._db.set_trace_callback(statements.append)
    found = store.find_logs(query, 10)
    store._db.set_trace_callback(None)
    assert [(log.block, log.address) for log in found] == [(7, addresses[1])]
    plan = [row[3] for row in store._db.execute(f"EXPLAIN QUERY PLAN {statements[0]}")]
    assert plan[0].startswith(
        "SEARCH log USING INDEX log_by_address (address=? AND block>? AND block<?)"
    )
    assert not any("SCAN" in step or "TEMP" in step for step in plan)
    store.close()


def test_sigterm_ends_the_node_cleanly(run: Starter) -> None:
    node = run()
    assert node.stop(signal.SIGTERM) == 0
    assert not (node.folder / "chain.sqlite3-wal").exists()  # the log was folded into the file
    assert (node.folder / "chain.sqlite3").exists()
