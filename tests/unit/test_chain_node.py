"""Rules of the embedded chain, inside one process: store, clock, genesis, admission, answers."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import rlp
from eth_abi import abi
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import function_signature_to_4byte_selector as selector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.chain.node import params, server
from marketplace.chain.node.backend import PersistentBackend
from marketplace.chain.node.clock import ShiftableClock, WallClock
from marketplace.chain.node.errors import (
    InternalError,
    InvalidParams,
    MethodNotFound,
    Reverted,
    StartRefused,
)
from marketplace.chain.node.genesis import (
    BLOCK_GAS_LIMIT,
    FORK,
    Genesis,
    faucet_address,
    mnemonic_addresses,
)
from marketplace.chain.node.methods import Methods
from marketplace.chain.node.server import MOST_BODY_BYTES, MOST_CALLS, RpcServer
from marketplace.chain.node.storage import FILE_NAME, ChainStore, LogQuery, LogRow

PROBE = json.loads((Path(__file__).parents[1] / "fixtures/chain_probe/Probe.json").read_text())
CHAIN_ID = 31337
GAS_CAP = 16_777_216
STRANGER = "0x" + "77" * 20
HALF_CURVE_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def call_data(signature: str, *values: object) -> str:
    types = signature[signature.index("(") + 1 : -1]
    return (
        "0x" + (selector(signature) + abi.encode(types.split(",") if types else [], values)).hex()
    )


@dataclass
class Node:
    """An embedded chain without its HTTP port."""

    folder: Path
    store: ChainStore
    server: RpcServer
    backend: PersistentBackend
    payer: LocalAccount
    probe: str = ""
    _ids: Iterator[int] = field(default_factory=lambda: iter(range(1, 10**9)))

    def answer(self, method: str, *arguments: object) -> dict[str, Any]:
        call = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": arguments}
        answer = self.server.answer(json.dumps(call).encode())
        assert isinstance(answer, dict)
        assert answer["id"] == call["id"]
        return answer

    def result(self, method: str, *arguments: object) -> Any:
        answer = self.answer(method, *arguments)
        assert "error" not in answer, answer
        return answer["result"]

    def error(self, method: str, *arguments: object) -> dict[str, Any]:
        return dict(self.answer(method, *arguments)["error"])

    def signed(self, **changes: object) -> str:
        nonce = int(self.result("eth_getTransactionCount", self.payer.address), 16)
        fields: dict[str, object] = {
            "chainId": CHAIN_ID, "nonce": nonce, "gas": 3_000_000, "value": 0, "to": STRANGER,
            "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9,
        }  # fmt: skip
        wanted = {name: value for name, value in (fields | changes).items() if value is not None}
        return str(self.payer.sign_transaction(wanted).raw_transaction.to_0x_hex())

    def send(self, **changes: object) -> dict[str, Any]:
        digest = self.result("eth_sendRawTransaction", self.signed(**changes))
        return dict(self.result("eth_getTransactionReceipt", digest))

    def head(self) -> int:
        return int(self.result("eth_blockNumber"), 16)


def open_node(folder: Path, payer: LocalAccount) -> Node:
    store = ChainStore(folder)
    funded = {payer.address: 10**30}
    backend = PersistentBackend(
        store, Genesis(CHAIN_ID, FORK, BLOCK_GAS_LIMIT, int(time.time()), funded)
    )
    return Node(folder, store, RpcServer(Methods(backend)), backend, payer)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    opened = open_node(tmp_path, Account.create())
    yield opened
    opened.store.close()


@pytest.fixture
def probed(node: Node) -> Node:
    node.probe = node.send(to="", data=PROBE["bytecode"])["contractAddress"]
    return node


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChainStore]:
    opened = ChainStore(tmp_path)
    yield opened
    opened.close()


# The store

PAIRS = st.dictionaries(st.binary(max_size=4), st.none() | st.binary(max_size=4), max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(PAIRS, st.booleans()), max_size=6))
def test_the_store_holds_exactly_the_writes_that_ended_well(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[dict[bytes, Any], bool]]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store, model = ChainStore(folder), dict[bytes, bytes]()
    for pairs, ends_well in writes:
        intended = dict(model)
        with suppress(RuntimeError), store.write():
            for key, value in pairs.items():
                if value is None:
                    store.delete(key)
                    intended.pop(key, None)
                else:
                    store[key] = value
                    intended[key] = value
            assert all(store[key] == value for key, value in intended.items())
            if not ends_well:
                raise RuntimeError
            model = intended
    store.close()
    reopened = ChainStore(folder)
    seen = {key for pairs, _ in writes for key in pairs}
    assert {key: reopened[key] for key in seen if key in reopened} == model
    reopened.close()


def test_a_read_can_not_write(store: ChainStore) -> None:
    with pytest.raises(InternalError, match="nothing was written"):
        store[b"key"] = b"value"
    assert b"key" not in store


def test_a_write_that_sqlite_refuses_is_undone_and_the_next_one_succeeds(
    store: ChainStore,
) -> None:
    log = LogRow(1, 0, b"h", 0, b"t", b"a", (), b"")
    with pytest.raises(InternalError, match="could not be written"):
        _write_a_log_twice(store, log)  # the same place twice: SQLite refuses it
    assert b"key" not in store
    with store.write():
        store.add_log(log)
    assert store.find_logs(LogQuery(0, 9), limit=9) == [log]


def _write_a_log_twice(store: ChainStore, log: LogRow) -> None:
    with store.write():
        store[b"key"] = b"half"
        store.add_log(log)
        store.add_log(log)


def test_a_store_is_open_in_one_process_only(store: ChainStore, tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="another process already serves"):
        ChainStore(tmp_path)


def test_a_store_of_another_format_is_refused(tmp_path: Path) -> None:
    ChainStore(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as file:
        file.execute("PRAGMA user_version=99")
    file.close()
    with pytest.raises(StartRefused, match="format 99"):
        ChainStore(tmp_path)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, but long enough to be read as one" * 40)
    with pytest.raises(StartRefused, match="can not be opened"):
        ChainStore(tmp_path)


BYTE = st.sampled_from([b"\x01", b"\x02"])
LOGS = st.lists(
    st.builds(
        LogRow,
        block=st.integers(0, 3), position=st.just(0), block_hash=st.just(b"h"),
        transaction_index=st.just(0), transaction_hash=st.just(b"t"), address=BYTE,
        topics=st.lists(BYTE, max_size=4).map(tuple), data=st.binary(max_size=2),
    ),
    max_size=12,
)  # fmt: skip
QUERIES = st.builds(
    LogQuery,
    first=st.integers(0, 3),
    last=st.integers(0, 3),
    addresses=st.lists(BYTE, max_size=2).map(tuple),
    topics=st.lists(st.lists(BYTE, max_size=2).map(tuple), max_size=4).map(tuple),
)


def matches(query: LogQuery, log: LogRow) -> bool:
    """The filter rules of EIP-1474, written a second time."""
    if not query.first <= log.block <= query.last or len(log.topics) < len(query.topics):
        return False
    if query.addresses and log.address not in query.addresses:
        return False
    pairs = zip(query.topics, log.topics, strict=False)
    return all(not wanted or topic in wanted for wanted, topic in pairs)


@settings(max_examples=100)
@given(LOGS, QUERIES)
def test_a_log_is_found_exactly_when_the_filter_matches(
    tmp_path_factory: pytest.TempPathFactory, logs: list[LogRow], query: LogQuery
) -> None:
    store = ChainStore(tmp_path_factory.mktemp("logs"))
    rows = [LogRow(log.block, place, *log.columns()[2:6], log.topics, log.data)  # type: ignore[arg-type]
            for place, log in enumerate(logs)]  # fmt: skip
    with store.write():
        for row in rows:
            store.add_log(row)
    wanted = sorted((r for r in rows if matches(query, r)), key=lambda r: (r.block, r.position))
    assert store.find_logs(query, limit=99) == wanted
    store.close()


# The clock


@given(st.integers(0, 2**40))
def test_a_block_is_stamped_after_its_parent_and_not_before_the_wall(parent: int) -> None:
    before = int(time.time())
    stamp = WallClock().stamp(parent)
    assert stamp == parent + 1 or before <= stamp <= time.time()
    assert stamp >= max(parent + 1, before)


def test_wall_clock_time_can_not_be_moved() -> None:
    with pytest.raises(MethodNotFound, match="--test-clock"):
        WallClock().increase(5)
    with pytest.raises(MethodNotFound, match="--test-clock"):
        WallClock().set_next(2**40, parent=0)


def test_a_shiftable_clock_moves_forward_only() -> None:
    now = int(time.time())
    clock = ShiftableClock(head_timestamp=now + 500)
    assert clock.now() in (now + 500, now + 501)  # a reopened chain goes on from its head
    assert clock.increase(100) >= 599
    with pytest.raises(InvalidParams, match="only moves forward"):
        clock.increase(-1)
    with pytest.raises(InvalidParams, match="after the head"):
        clock.set_next(now, parent=now)


def test_a_pinned_stamp_is_used_once_and_time_goes_on_from_it() -> None:
    clock = ShiftableClock(head_timestamp=0)
    clock.set_next(2**40, parent=5)
    assert clock.stamp(5) == 2**40
    clock.block_mined()
    assert 2**40 < clock.stamp(2**40) <= 2**40 + 5


# Block 0 and its keys


def test_a_store_answers_for_one_chain_id_only() -> None:
    genesis = Genesis(1, FORK, BLOCK_GAS_LIMIT, 0, {})
    with pytest.raises(StartRefused, match="holds chain 1, chain 2 was asked for"):
        genesis.require_reopens_as(2, [])


def test_a_store_refuses_other_rules_and_accounts_it_never_funded() -> None:
    with pytest.raises(StartRefused, match="runs the berlin rules"):
        Genesis(1, "berlin", BLOCK_GAS_LIMIT, 0, {}).require_reopens_as(1, [])
    with pytest.raises(StartRefused, match=f"does not fund {STRANGER}"):
        Genesis(1, FORK, BLOCK_GAS_LIMIT, 0, {}).require_reopens_as(1, [STRANGER])


def test_a_node_killed_while_it_made_its_key_makes_another(tmp_path: Path) -> None:
    (tmp_path / "faucet.draft").write_text("0x12")
    assert faucet_address(tmp_path, None, create=True) is not None
    assert [path.name for path in tmp_path.iterdir()] == ["faucet.key"]


def test_a_new_faucet_key_is_its_owners_only_and_is_found_again(tmp_path: Path) -> None:
    address = faucet_address(tmp_path, None, create=True)
    key = tmp_path / "faucet.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert Account.from_key(key.read_text().strip()).address == address
    assert faucet_address(tmp_path, None, create=True) == address


def test_no_key_is_made_for_a_chain_that_exists(tmp_path: Path) -> None:
    assert faucet_address(tmp_path, None, create=False) is None
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("11" * 32)
    key.chmod(0o644)
    with pytest.raises(StartRefused, match="chmod 600"):
        faucet_address(tmp_path, key, create=False)


def test_a_refused_key_file_is_not_quoted(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("canary-91")
    key.chmod(0o600)
    with pytest.raises(StartRefused) as refusal:
        faucet_address(tmp_path, key, create=False)
    assert "canary" not in f"{refusal.value} {refusal.value.__cause__}"
    with pytest.raises(StartRefused) as refusal:
        mnemonic_addresses(key, 1)
    assert "canary" not in f"{refusal.value} {refusal.value.__cause__}"


def test_a_missing_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="does not exist"):
        faucet_address(tmp_path, tmp_path / "absent", create=True)
    with pytest.raises(StartRefused, match="is not a file"):
        mnemonic_addresses(tmp_path / "absent", 1)


def test_mnemonic_accounts_are_those_that_wallets_derive(tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text("test test test test test test test test test test test junk\n")
    words.chmod(0o600)
    assert mnemonic_addresses(words, 2) == [
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    ]


# Parameters

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.sampled_from(["to", "gas"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.integers(0, 2**256 - 1))
def test_a_quantity_reads_back(value: int) -> None:
    assert params.quantity(hex(value), "value") == value


@pytest.mark.parametrize("value", ["", "0x", "12", "0xg", "-0x1", -1, True, 2**256, None, 1.5])
def test_what_is_no_quantity_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidParams, match="gas must be a quantity"):
        params.quantity(value, "gas")


@pytest.mark.parametrize("value", ["", "0x1", "11", "0xzz", 17, None])
def test_what_is_no_data_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidParams, match="input must be bytes"):
        params.data(value, "input")


# Which transactions are admitted

REFUSALS: list[tuple[dict[str, object], str]] = [
    ({"chainId": 1}, "invalid chain id for signer: transaction for chain 1"),
    ({"gas": GAS_CAP + 1}, r"gas limit too high: 16777217, cap 16777216 \(EIP-7825\)"),
    ({"gas": 20_999}, "intrinsic gas too low: have 20999, want 21000"),
    ({"gas": 25_000, "data": "0x" + "ff" * 200}, "intrinsic gas too low: have 25000, want 29000"),
    ({"nonce": 5}, "nonce too high: .* tx: 5 state: 0"),
    ({"value": 10**31}, "insufficient funds .* have 10{30} want"),
    ({"maxFeePerGas": 2, "maxPriorityFeePerGas": 1}, "less than block base fee"),
    ({"maxPriorityFeePerGas": 10**11}, "priority fee per gas higher than max fee"),
    ({"data": "0x" + "ff" * 140_000, "gas": GAS_CAP}, "oversized data"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSALS, ids=[m[:24] for _, m in REFUSALS])
def test_a_transaction_that_can_not_be_mined_is_refused_and_changes_nothing(
    node: Node, changes: dict[str, object], message: str
) -> None:
    error = node.error("eth_sendRawTransaction", node.signed(**changes))
    assert error["code"] == -32000
    assert re.search(message, error["message"]), error["message"]
    assert node.head() == 0
    assert node.result("eth_getTransactionCount", node.payer.address, "pending") == "0x0"


def test_a_transaction_at_the_gas_cap_is_mined(node: Node) -> None:
    assert node.send(gas=GAS_CAP)["status"] == "0x1"


def test_a_transaction_counts_once(node: Node) -> None:
    raw = node.signed()
    node.result("eth_sendRawTransaction", raw)
    assert "nonce too low" in node.error("eth_sendRawTransaction", raw)["message"]
    assert node.head() == 1


def test_a_transaction_without_replay_protection_is_refused(node: Node) -> None:
    raw = node.signed(chainId=None, maxFeePerGas=None, maxPriorityFeePerGas=None, gasPrice=10**10)
    assert "replay-protected" in node.error("eth_sendRawTransaction", raw)["message"]


def test_a_legacy_transaction_with_replay_protection_is_mined(node: Node) -> None:
    receipt = node.send(maxFeePerGas=None, maxPriorityFeePerGas=None, gasPrice=10**10)
    assert (receipt["type"], receipt["status"]) == ("0x0", "0x1")


LISTS_FOR_NUMBERS = "0x02d8" + "c101" * 12


@pytest.mark.parametrize(
    "raw",
    ["0x", "0x00", "0x02", "0x02c0", "0xc0", "0x7f" + "00" * 40, LISTS_FOR_NUMBERS],
)
def test_bytes_that_are_no_transaction_are_refused(node: Node, raw: str) -> None:
    assert node.error("eth_sendRawTransaction", raw)["code"] == -32000
    assert node.head() == 0


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_transaction_with_one_byte_changed_is_refused(node: Node, data: st.DataObject) -> None:
    raw = bytearray.fromhex(node.signed()[2:])
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    assert node.error("eth_sendRawTransaction", "0x" + raw.hex())["code"] == -32000
    assert node.head() == 0


def test_the_malleated_twin_of_a_transaction_is_refused(node: Node) -> None:
    raw = bytes.fromhex(node.signed()[2:])
    *fields, parity, r, s = rlp.decode(raw[1:])
    twin_s = CURVE_ORDER - int.from_bytes(s, "big")
    assert twin_s > HALF_CURVE_ORDER
    flipped = b"" if parity else b"\x01"
    twin = raw[:1] + rlp.encode([*fields, flipped, r, twin_s.to_bytes(32, "big")])
    assert node.error("eth_sendRawTransaction", "0x" + twin.hex())["code"] == -32000
    assert node.head() == 0


def test_an_access_list_reads_back(node: Node) -> None:
    listed = [{"address": node.payer.address, "storageKeys": ["0x" + "00" * 31 + "05"]}]
    receipt = node.send(accessList=listed)
    transaction = node.result("eth_getTransactionByHash", receipt["transactionHash"])
    assert (transaction["type"], transaction["accessList"]) == ("0x2", listed)


def test_a_delegation_to_code_is_mined_and_reads_back(probed: Node) -> None:
    nonce = int(probed.result("eth_getTransactionCount", probed.payer.address), 16)
    signed = probed.payer.sign_authorization(
        {"chainId": CHAIN_ID, "address": probed.probe, "nonce": nonce + 1}
    )
    receipt = probed.send(authorizationList=[signed])
    assert (receipt["type"], receipt["status"]) == ("0x4", "0x1")
    code = probed.result("eth_getCode", probed.payer.address)
    assert code == "0xef0100" + probed.probe[2:].lower()  # EIP-7702
    transaction = probed.result("eth_getTransactionByHash", receipt["transactionHash"])
    (authorization,) = transaction["authorizationList"]
    assert authorization["address"] == probed.probe
    assert authorization["nonce"] == hex(nonce + 1)


def test_a_blob_transaction_is_refused(node: Node) -> None:
    raw = node.signed(
        maxFeePerBlobGas=10**10, blobVersionedHashes=[b"\x01" + bytes(31)], gas=100_000
    )
    assert "no blobs" in node.error("eth_sendRawTransaction", raw)["message"]


# Blocks, history, events


def test_old_blocks_answer_for_their_own_time(probed: Node) -> None:
    for number in (5, 6):
        probed.send(to=probed.probe, data=call_data("note(uint256,string)", number, "text"))
    total = {"to": probed.probe, "data": call_data("total()")}
    answers = [int(probed.result("eth_call", total, hex(block)), 16) for block in (1, 2, 3)]
    assert answers == [0, 5, 11]
    block = probed.result("eth_getBlockByNumber", "0x2", False)
    assert int(probed.result("eth_call", total, {"blockHash": block["hash"]}), 16) == 5
    slot = probed.result("eth_getStorageAt", probed.probe, "0x2", "0x2")
    assert int(slot, 16) == 5
    assert probed.result("eth_getCode", probed.probe, "0x0") == "0x"
    assert probed.result("eth_getTransactionCount", probed.payer.address, "earliest") == "0x0"
    assert probed.result("eth_getBalance", probed.payer.address, "0x0") == hex(10**30)


def test_every_tag_names_a_block(node: Node) -> None:
    node.send()
    for tag in ("latest", "safe", "finalized", "pending"):
        assert node.result("eth_getBlockByNumber", tag, False)["number"] == "0x1"
    assert node.result("eth_getBlockByNumber", "earliest", True)["number"] == "0x0"
    assert node.result("eth_getBlockByNumber", "0x2", False) is None
    assert node.result("eth_getBlockByHash", "0x" + "00" * 32, False) is None
    assert node.error("eth_getBalance", STRANGER, "0x9")["message"].startswith("header not found")


def test_an_unknown_transaction_is_null(node: Node) -> None:
    for method in ("eth_getTransactionByHash", "eth_getTransactionReceipt"):
        assert node.result(method, "0x" + "12" * 32) is None


def test_a_call_sees_its_blocks_clock_and_pending_sees_the_next(probed: Node) -> None:
    probed.backend.clock = ShiftableClock(0)
    probed.result("evm_increaseTime", 5_000)
    time_call = {"to": probed.probe, "data": call_data("time()")}
    head = probed.result("eth_getBlockByNumber", "latest", False)
    at_head = probed.result("eth_call", time_call, "latest")
    assert int(at_head[2:66], 16) == int(head["timestamp"], 16)
    pending = probed.result("eth_call", time_call, "pending")
    assert int(pending[2:66], 16) >= int(head["timestamp"], 16) + 4_990
    assert int(pending[66:], 16) == int(head["number"], 16) + 1


def test_events_are_found_by_topic_and_match_the_receipt(probed: Node) -> None:
    receipts = [
        probed.send(to=probed.probe, data=call_data("note(uint256,string)", number, "text"))
        for number in (1, 2, 1)
    ]
    wanted = "0x" + (1).to_bytes(32, "big").hex()
    found = probed.result(
        "eth_getLogs",
        {"fromBlock": "earliest", "address": probed.probe, "topics": [None, None, wanted]},
    )
    assert found == receipts[0]["logs"] + receipts[2]["logs"]
    one = probed.result("eth_getLogs", {"blockHash": receipts[1]["blockHash"]})
    assert one == receipts[1]["logs"]
    assert probed.result("eth_getLogs", {"fromBlock": "0x9999", "toBlock": "0xffff"}) == []


def test_an_answer_that_would_be_too_long_is_refused_and_never_cut(
    probed: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        probed.send(to=probed.probe, data=call_data("note(uint256,string)", 1, "text"))
    monkeypatch.setattr("marketplace.chain.node.methods.MOST_LOGS", 2)
    assert probed.error("eth_getLogs", {"fromBlock": "0x0"})["code"] == -32005
    assert len(probed.result("eth_getLogs", {"fromBlock": "0x3"})) == 2


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("eth_call", [{"to": STRANGER, "data": "0x01", "input": "0x02"}], "differ"),
        ("eth_call", ["0x"], "transaction must be an object"),
        ("eth_getBalance", [STRANGER, {}], "EIP-1898"),
        ("eth_getBalance", ["0x1234"], "even number of digits|must be 20 bytes"),
        ("eth_getBalance", [], "array of 1 to 2 values"),
        ("eth_getBlockByNumber", ["0x0", "yes"], "must be true or false"),
        ("eth_getLogs", [{"topics": ["0x12"]}], "topic must be 32 bytes"),
        ("eth_getLogs", [{"topics": [None] * 5}], "at most 4 places"),
        ("eth_getLogs", [{"blockHash": "0x" + "1" * 64, "toBlock": "0x1"}], "EIP-234"),
        ("eth_feeHistory", ["0x1", "latest", [101]], "from 0 to 100"),
        ("evm_mine", [5], "array of 0 values"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(
    node: Node, method: str, arguments: list[object], message: str
) -> None:
    error = node.error(method, *arguments)
    assert error["code"] == -32602
    assert re.search(message, error["message"]), error["message"]


def test_a_misspelt_log_filter_is_refused(node: Node) -> None:
    error = node.error("eth_getLogs", {"fromblock": "0x0"})
    assert (error["code"], error["message"]) == (-32602, "filter has no field fromblock")
    assert node.error("eth_getLogs", {"fromBlock": "0x2", "toBlock": "0x1"})["code"] == -32602


def test_fee_history_covers_the_asked_blocks_and_the_next(node: Node) -> None:
    for _ in range(3):
        node.result("evm_mine")
    history = node.result("eth_feeHistory", "0x2", "latest", [10, 90])
    assert history["oldestBlock"] == "0x2"
    assert len(history["baseFeePerGas"]) == 3
    assert [len(row) for row in history["reward"]] == [2, 2]
    assert node.error("eth_feeHistory", "0x2", "latest", [90, 10])["code"] == -32602


# Trying out


def test_a_revert_carries_its_bytes_and_code_3(probed: Node) -> None:
    error = probed.error("eth_call", {"to": probed.probe, "data": call_data("take(uint256)", 9)})
    assert error["code"] == 3
    payload = bytes.fromhex(error["data"][2:])
    assert payload[:4] == selector("TooMuch(address,uint256,uint256)")
    _, asked, left = abi.decode(["address", "uint256", "uint256"], payload[4:])
    assert (asked, left) == (9, 0)
    told = probed.error("eth_estimateGas", {"to": probed.probe, "data": call_data("refuse()")})
    assert (told["code"], told["message"]) == (3, "execution reverted: not today")


def test_a_reason_that_does_not_decode_is_left_out() -> None:
    broken = selector("Error(string)") + b"\xff" * 40
    refusal = Reverted(broken)
    assert (str(refusal), refusal.data) == ("execution reverted", "0x" + broken.hex())


def test_an_endless_call_fails_for_gas_and_the_node_goes_on(probed: Node) -> None:
    request = {"to": probed.probe, "data": call_data("spin()"), "gas": hex(200_000)}
    error = probed.error("eth_call", request)
    assert error["code"] == -32000
    assert "OutOfGas" in error["message"]
    assert probed.head() == 1


def test_no_call_is_given_more_gas_than_a_transaction_may_have(probed: Node) -> None:
    code = "0x5a60005260206000f3"  # returns the gas that is left
    for asked in ({}, {"gas": hex(2**60)}):
        left = int(probed.result("eth_call", {"data": code, **asked}), 16)
        assert GAS_CAP - 100_000 < left < GAS_CAP


def test_an_estimate_gives_up_precision_before_it_burns_gas_without_end(probed: Node) -> None:
    # Stops where more than 15M gas is left, else burns it all: what a search tries, it mostly burns.
    burns_unless_rich = "0x5a62e4e1c010600a57fe5b00"
    estimate = int(probed.result("eth_estimateGas", {"data": burns_unless_rich}), 16)
    assert estimate == GAS_CAP


def test_calls_nested_as_deep_as_gas_allows_end_and_the_node_goes_on(probed: Node) -> None:
    error = probed.error("eth_call", {"to": probed.probe, "data": call_data("dive(uint256)", 9999)})
    assert error["code"] in (3, -32000)
    assert probed.head() == 1


@pytest.mark.parametrize(
    "data",
    [
        call_data("fill(uint256,uint256)", 0, 30),
        call_data("dive(uint256)", 12),  # inner calls: 1/64 of the gas is kept back at each
        call_data("note(uint256,string)", 3, "x" * 2_000),  # the floor of EIP-7623
    ],
    ids=["storage", "nested", "calldata"],
)
def test_an_estimate_is_enough_and_not_much_more(probed: Node, data: str) -> None:
    request = {"from": probed.payer.address, "to": probed.probe, "data": data}
    estimate = int(probed.result("eth_estimateGas", request), 16)
    receipt = probed.send(to=probed.probe, data=data, gas=estimate)
    assert receipt["status"] == "0x1"
    assert estimate <= int(receipt["gasUsed"], 16) * 1.05 + 3_000


def test_an_estimate_is_searched_for_where_gas_must_be_left_over(probed: Node) -> None:
    data = call_data("hungry()")
    request = {"from": probed.payer.address, "to": probed.probe, "data": data}
    estimate = int(probed.result("eth_estimateGas", request), 16)
    assert 521_000 < estimate < 521_300 * 1.016
    assert probed.send(to=probed.probe, data=data, gas=estimate)["status"] == "0x1"


def test_a_call_that_sends_more_than_it_has_is_refused(node: Node) -> None:
    request = {"from": STRANGER, "to": node.payer.address, "value": "0x1"}
    error = node.error("eth_call", request)
    assert (error["code"], "enough balance" in error["message"]) == (-32000, True)


def test_a_plain_transfer_is_estimated_exactly(node: Node) -> None:
    request = {"from": node.payer.address, "to": STRANGER, "value": "0x1"}
    assert node.result("eth_estimateGas", request) == hex(21_000)


def test_work_beyond_the_gas_cap_is_refused_when_estimated(probed: Node) -> None:
    request = {"to": probed.probe, "data": call_data("fill(uint256,uint256)", 0, 1_000)}
    error = probed.error("eth_estimateGas", request)
    assert "within 16777216 gas" in error["message"]


def test_a_call_leaves_no_trace(probed: Node) -> None:
    before = probed.result("eth_getBlockByNumber", "latest", False)["stateRoot"]
    data = call_data("note(uint256,string)", 5, "x")
    probed.result("eth_call", {"to": probed.probe, "data": data})
    probed.result("evm_mine")
    assert probed.result("eth_getBlockByNumber", "latest", False)["stateRoot"] == before


# Full disk, and faults


def test_on_a_full_disk_the_head_stays_and_reads_go_on(probed: Node) -> None:
    used = probed.store._db.execute("PRAGMA page_count").fetchone()[0]
    probed.store._db.execute(f"PRAGMA max_page_count={used}")
    head = probed.result("eth_getBlockByNumber", "latest", False)
    raw = probed.signed(to=probed.probe, data=call_data("fill(uint256,uint256)", 0, 100))
    said = probed.error("eth_sendRawTransaction", raw)["message"]
    assert "the chain store is full" in said
    assert "Free disk space (or raise --max-pages) and send again" in said
    assert probed.result("eth_getBlockByNumber", "latest", False) == head
    assert probed.result("eth_getCode", probed.probe) != "0x"
    probed.store._db.execute(f"PRAGMA max_page_count={used * 10}")
    probed.result("eth_sendRawTransaction", raw)
    assert probed.head() == int(head["number"], 16) + 1


def test_a_fault_in_the_middle_of_a_block_leaves_the_former_head(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    raw = node.signed()
    with monkeypatch.context() as planted:
        planted.setattr(node.backend, "_index_logs", lambda *_: 1 / 0)
        assert node.error("eth_sendRawTransaction", raw)["code"] == -32603
    assert "ZeroDivisionError" in caplog.text
    assert node.head() == 0
    node.result("eth_sendRawTransaction", raw)
    assert node.head() == 1


# The protocol


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=30) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_gets_an_answer(node: Node, body: bytes) -> None:
    answer = node.server.answer(body)
    for one in answer if isinstance(answer, list) else [answer]:
        assert one["jsonrpc"] == "2.0"  # type: ignore[index]


METHODS = st.sampled_from(
    ["eth_call", "eth_getLogs", "eth_getBalance", "eth_getBlockByNumber", "eth_feeHistory",
     "eth_estimateGas", "eth_getStorageAt", "eth_sendRawTransaction", "evm_setNextBlockTimestamp"]
)  # fmt: skip


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(METHODS, JSON | st.lists(JSON, max_size=3))
def test_any_parameters_get_an_answer_and_never_a_fault(
    node: Node, method: str, arguments: object
) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": arguments}
    answer = node.server.answer(json.dumps(call).encode())
    assert isinstance(answer, dict)
    assert answer.get("error", {}).get("code") != -32603, answer


def test_a_batch_is_answered_call_by_call(node: Node) -> None:
    calls = [
        {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []},
        {"jsonrpc": "2.0", "id": "two", "method": "nonsense", "params": []},
        {"jsonrpc": "2.0", "id": 3, "method": "net_version"},
        {"id": 4},
    ]
    answers = node.server.answer(json.dumps(calls).encode())
    assert isinstance(answers, list)
    outcomes = [(a["id"], a.get("result", a.get("error", {}).get("code"))) for a in answers]
    assert outcomes == [(1, "0x7a69"), ("two", -32601), (3, "31337"), (4, -32600)]


def test_a_batch_that_takes_too_long_is_answered_as_far_as_it_came(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 1_000, 4))  # seconds: every look at the clock takes four
    monkeypatch.setattr(server.time, "monotonic", lambda: next(now))
    calls = [{"jsonrpc": "2.0", "id": i, "method": "eth_chainId", "params": []} for i in range(5)]
    answers = node.server.answer(json.dumps(calls).encode())
    assert isinstance(answers, list)
    outcomes = [a.get("result", a.get("error", {}).get("code")) for a in answers]
    assert outcomes == ["0x7a69", "0x7a69", -32005, -32005, -32005]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        # An encoding in which brackets could hide from the guard.
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}).encode("utf-16"),
    ],
)
def test_a_body_that_is_too_deep_or_not_utf_8_is_not_decoded(node: Node, body: bytes) -> None:
    answer = node.server.answer(body)
    assert isinstance(answer, dict)
    assert answer["error"]["code"] == -32700


@pytest.mark.parametrize("size", [0, MOST_CALLS + 1])
def test_a_batch_of_a_size_out_of_range_is_refused(node: Node, size: int) -> None:
    answer = node.server.answer(json.dumps([{}] * size).encode())
    assert isinstance(answer, dict)
    assert answer["error"]["code"] == -32600


def test_the_node_signs_for_nobody(node: Node) -> None:
    assert node.result("eth_accounts") == []
    error = node.error("eth_sendTransaction", {"from": node.payer.address})
    assert error["code"] == -32601


GOOD_HTTP = {
    "HTTP_HOST": "127.0.0.1:8545",
    "REQUEST_METHOD": "POST",
    "CONTENT_TYPE": "application/json; charset=utf-8",
    "CONTENT_LENGTH": "2",
}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "200"),
        ({"HTTP_HOST": "localhost"}, "200"),
        ({"HTTP_HOST": "evil.example"}, "403"),
        ({"HTTP_HOST": "127.0.0.1.evil.example:8545"}, "403"),
        ({"HTTP_HOST": "127.0.0.1:evil"}, "403"),
        ({"HTTP_HOST": ""}, "403"),
        ({"REQUEST_METHOD": "GET"}, "405"),
        ({"REQUEST_METHOD": "OPTIONS"}, "405"),
        ({"CONTENT_TYPE": "text/plain"}, "415"),
        ({"CONTENT_LENGTH": str(MOST_BODY_BYTES + 1)}, "413"),
    ],
)
def test_only_json_from_this_machine_is_answered(
    node: Node, changes: dict[str, str], status: str
) -> None:
    seen: list[str] = []
    environ = {**GOOD_HTTP, "wsgi.input": io.BytesIO(b"{}"), **changes}
    node.server(environ, lambda line, _headers: seen.append(line))
    assert [line[:3] for line in seen] == [status]
