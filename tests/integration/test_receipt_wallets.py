"""Receipts where contract wallets sit in the committee, and where one settles as the operator."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from marketplace import release
from marketplace import settlement as settling
from marketplace.chain.adapter import Finality
from marketplace.chain.deploy import CommitteeSeat, open_epoch
from marketplace.chain.sender import Sender, call_data
from marketplace.chain.transactor import Receipt
from marketplace.chain.wallets import accepts_signature
from marketplace.peers import Peer
from marketplace.receipts import checks
from marketplace.receipts.checks import NeedsNode
from marketplace.receipts.format import load
from marketplace.receipts.verify import STEPS, ReceiptInvalid, StateUnavailable, verify
from marketplace.stages import Computed, Sealed
from marketplace.wire.http import to_hex
from marketplace.wire.stated import Stated
from marketplace.wire.structs import sign
from tests.contracts.hostile_code import (
    MAGIC,
    WALLET_BOMB,
    WALLET_DIRTY,
    WALLET_SHORT,
    assemble,
)
from tests.support import receipt_world
from tests.support.chain_world import World, account, world_on
from tests.support.daily import daily
from tests.support.mutations import with_value
from tests.support.nodes import RunningNode, anvil_node, embedded_node
from tests.support.receipt_world import Settled, settle_one

OWNER = 7
"""The storage slot of a wallet's owner."""
# Signs by its owner's key, as the ecrecover precompile judges it. Any other call names the owner.
WALLET = assemble(
    f"""
    0 CALLDATALOAD 224 SHR {MAGIC} EQ @judge JUMPI
    0 CALLDATALOAD {OWNER} SSTORE 0 0 RETURN
    :judge
    4 CALLDATALOAD 0 MSTORE
    164 CALLDATALOAD 248 SHR 32 MSTORE
    100 CALLDATALOAD 64 MSTORE
    132 CALLDATALOAD 96 MSTORE
    32 0 128 0 0 1 GAS CALL POP
    0 MLOAD {OWNER} SLOAD EQ @yes JUMPI
    0 0 MSTORE 32 0 RETURN
    :yes
    {MAGIC << 224} 0 MSTORE 32 0 RETURN
    """
)
# Calls the address in its first word with all that follows, and reverts where that does.
FORWARDER = bytes.fromhex("602036038060206000376000600082600060006000355af115601d57005b60006000fd")
EVERYBODY = ["one", "two", "three", "four"]


def deployed(world: World, runtime: bytes) -> str:
    """Its address: the code in front copies what lies behind itself."""
    head = bytes.fromhex(f"61{len(runtime):04x}80600c6000396000f3")
    made = world.sender._transactor.transact(None, head + runtime, None)
    assert made.created is not None
    return made.created


def word(address: str) -> bytes:
    return bytes.fromhex(address[2:]).rjust(32, b"\0")


def own(world: World, wallet: str, owner: str) -> None:
    world.sender._transactor.transact(wallet, word(owner), 200_000)


def with_wallets(world: World) -> list[str]:
    """Opens an epoch of wallets, each owned by one custodian's key; records are stored under it."""
    wallets = [deployed(world, WALLET) for _ in world.custodians]
    for wallet, custodian in zip(wallets, world.custodians, strict=True):
        own(world, wallet, custodian.address)
    seats = [CommitteeSeat(each, keccak(text=each)) for each in wallets]
    world.epoch = open_epoch(world.sender, seats, 2, [account("gate").address])
    world.enrol(EVERYBODY)
    world.enrol(["in the other class"], 1)
    return wallets


@pytest.fixture(scope="module", params=daily(["embedded", "anvil"], ["anvil"]))
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningNode]:
    folder = tmp_path_factory.mktemp("chain")
    with embedded_node(folder) if request.param == "embedded" else anvil_node() as running:
        yield running


@pytest.fixture(scope="module")
def settled(node: RunningNode) -> Settled:
    world = world_on(node, finality=Finality(use_tag=False))
    with_wallets(world)
    return settle_one(world, "wallets", (0, 2))


def test_signatures_of_contract_wallets_pass_every_step(settled: Settled) -> None:
    assert verify(settled.receipt(), settled.chain).steps == STEPS


def test_without_a_node_they_are_refused_as_not_known_and_not_as_false(settled: Settled) -> None:
    with pytest.raises(NeedsNode) as raised:
        checks.signatures(load(settled.receipt()))
    assert raised.value.code == "receipt_needs_node"
    assert raised.value.field == "signatures[0].signature"
    assert "node" in raised.value.remedy


def test_a_signature_that_the_wallet_does_not_take_is_false(settled: Settled) -> None:
    receipt = settled.receipt()
    other = receipt["signatures"][1]["signature"]
    forged = with_value(receipt, ("signatures", 0, "signature"), other)
    with pytest.raises(ReceiptInvalid) as raised:
        verify(forged, settled.chain)
    assert not isinstance(raised.value, NeedsNode)
    assert raised.value.field == "signatures[0].signature"


def test_a_wallet_is_asked_as_it_was_when_it_signed(settled: Settled) -> None:
    receipt, world = settled.receipt(), settled.world
    wallet = settled.chain.committee(world.epoch).members[0].signer
    own(world, wallet, account("bought the wallet").address)
    try:
        assert verify(receipt, settled.chain).steps == STEPS
    finally:
        own(world, wallet, world.custodians[0].address)


def reverting(data: bytes) -> bytes:
    """A wallet that refuses with these very bytes, which lie behind its code."""
    return bytes.fromhex(f"61{len(data):04x}600e60003961{len(data):04x}6000fd") + data


ERROR, PANIC = keccak(text="Error(string)")[:4], keccak(text="Panic(uint256)")[:4]
LOOKUP = keccak(text="OffchainLookup(address,string[],bytes,bytes4,bytes)")[:4]
ODD = {
    "a text that is not UTF-8": ERROR + encode(["bytes"], [b"\xff\xfe"]),
    "a text longer than memory": ERROR + encode(["uint256", "uint256"], [32, 2**255]),
    "a panic that there is none of": PANIC + encode(["uint256"], [0x99]),
    "a stage that there is none of": keccak(text="WrongStage(bytes32,uint8,uint8)")[:4]
    + encode(["bytes32", "uint8", "uint8"], [bytes(32), 200, 3]),
    "a look-up elsewhere, cut off": LOOKUP + encode(["uint256"], [2**255]),
    "a look-up elsewhere": LOOKUP
    + encode(
        ["address", "bytes[]", "bytes", "bytes4", "bytes"],
        ["0x" + "11" * 20, [b"http://\xff"], b"", b"\1" * 4, b""],
    ),
    "one byte": b"\x08",
    "nothing": b"",
}


@pytest.mark.parametrize("said", ODD.values(), ids=ODD)
def test_a_wallet_that_refuses_in_whatever_bytes_did_not_sign(
    settled: Settled, said: bytes
) -> None:
    """Else a custodian's wallet could stop a clearing, or keep a receipt from being judged."""
    wallet = deployed(settled.world, reverting(said))
    assert not accepts_signature(settled.chain.node, wallet, bytes(32), bytes(65))


YES_IN_TIME = f"{MAGIC << 224} 0 MSTORE 32 0 RETURN"
FAILING = {
    "never ends": bytes.fromhex("5b600056"),
    "is no code": bytes.fromhex("fe"),
    "takes what is not there": bytes.fromhex("50"),
    "fills the memory": assemble("16777215 0 RETURN"),
    "says yes after more gas than the contracts give": assemble(f"0 1000000 MSTORE {YES_IN_TIME}"),
    "says yes in four bytes": WALLET_SHORT,
    "says what only begins like yes": WALLET_DIRTY,
    "says what no code may begin with": assemble(f"{0xEF << 248} 0 MSTORE 32 0 RETURN"),
}


@pytest.mark.parametrize("code", FAILING.values(), ids=FAILING)
def test_a_wallet_that_fails_however_it_does_did_not_sign(settled: Settled, code: bytes) -> None:
    """Nodes call some of these faults of their own, and a node's fault would have everybody wait."""
    wallet = deployed(settled.world, code)
    assert not accepts_signature(settled.chain.node, wallet, bytes(32), bytes(65))


def test_a_wallet_that_says_yes_at_length_signed_and_an_account_without_code_did_not(
    settled: Settled,
) -> None:
    """As the contracts judge it, whatever the length of signature and answer."""
    node = settled.chain.node
    bomb = deployed(settled.world, WALLET_BOMB)
    for length in (0, 65, 4_096):
        assert accepts_signature(node, bomb, bytes(32), bytes(length))
    assert not accepts_signature(node, bomb, bytes(32), bytes(4_097)), "longer, nobody is asked"
    assert not accepts_signature(node, account("nobody").address, bytes(32), bytes(65))


def test_on_a_pruned_node_todays_owner_may_confirm_and_never_condemn() -> None:
    with anvil_node("--prune-history", "8") as running:
        world = world_on(running, finality=Finality(use_tag=False))
        wallets = with_wallets(world)
        settled = settle_one(world, "wallets", (0, 2))
        receipt = settled.receipt()
        world.chain.node.request("anvil_mine", [20])
        assert verify(receipt, settled.chain).steps == STEPS
        own(world, wallets[0], account("bought the wallet").address)
        with pytest.raises(StateUnavailable) as raised:
            verify(receipt, settled.chain)
        assert raised.value.field == "signatures"


# --- settling through a wallet


class Through(Sender):
    """Freezes, seals and settles as a contract that is told what to call."""

    wallet = ""
    TOLD = ("freeze", "seal", "settle", "postBond", "approve")

    def send(
        self, contract: str, function: str, *arguments: Any, gas: int | None = None
    ) -> Receipt:
        if function not in self.TOLD:
            return super().send(contract, function, *arguments, gas=gas)
        manifest = self._chain.manifest
        data = word(manifest.address(contract)) + call_data(contract, function, *arguments)
        return self._transactor.transact(self.wallet, data, 3_000_000, manifest)


def test_a_settlement_that_a_wallet_sent_has_a_receipt_that_passes_every_step(
    node: RunningNode,
) -> None:
    world = world_on(node, finality=Finality(use_tag=False))
    world.enrol(EVERYBODY)
    world.enrol(["in the other class"], 1)
    as_wallet = Through(world.chain, node.funded_key)
    as_wallet.wallet = deployed(world, FORWARDER)
    world.sender.send("TestEuro", "mint", as_wallet.wallet, 10**9)
    operator = keccak(text="OPERATOR")
    world.sender.send("ResearchMarket", "grantRole", operator, as_wallet.wallet)
    world.sender = as_wallet
    world.sender.send("TestEuro", "approve", world.manifest.market, 10**9)
    world.sender.send("ResearchMarket", "postBond", 10**8)
    settled = settle_one(world, "through a wallet", (0, 1))
    assert world.chain.request(settled.request).operator.lower() == as_wallet.wallet.lower()
    receipt = settled.receipt()
    assert verify(receipt, settled.chain).steps == STEPS


# --- gathering wallets' signatures


@contextmanager
def answering(signature: bytes) -> Iterator[Peer]:
    """A custodian's host, as far as settling asks it."""
    body = json.dumps({"signature": to_hex(signature)}).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Peer("custodian", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


def test_an_operator_takes_a_wallets_signature_and_no_other_keys(settled: Settled) -> None:
    world, chain = settled.world, settled.chain
    world.tick()
    request = receipt_world._sealed(world, "gathered")
    answer, sealed_result, _ = receipt_world._answer(world, request, {})
    domain, view = chain.domain("ResearchMarket"), chain.request(request)
    gate = sign(answer, domain, account("gate"))
    sealed = Sealed(request, view.root, view.members, view.epoch, view.gate)
    due = Stated(view.cost, (("sum", "1"),))
    computed = Computed(sealed, answer.to_json(), sealed_result, gate, due.to_json())
    good = [sign(answer, domain, each) for each in world.custodians]
    with ExitStack() as stack:
        stranger = stack.enter_context(answering(sign(answer, domain, account("stranger"))))
        peers = [stack.enter_context(answering(each)) for each in good]
        cleared = release.clear(chain, computed, view, due, [peers[0], stranger, peers[2]])
        assert [place for place, _ in cleared.signatures] == [0, 2]
        with pytest.raises(release.QuorumMissing):
            release.clear(chain, computed, view, due, [peers[0], stranger, stranger])
    settling.settle(world.sender, cleared)
    assert verify(Settled(world, request, settled.opened).receipt(), chain).steps == STEPS
