"""A request on ciphertext through the adapter: joint key, noise and settlement, signed by our own structs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from marketplace.chain.adapter import Chain, ContractRefusal, NodeFault, RequestStage
from marketplace.wire.solidity import ZERO_ADDRESS, ZERO_HASH
from marketplace.wire.structs import (
    HOMOMORPHIC,
    SETTLEMENT_SCHEMA,
    JointKey,
    NoiseCommitment,
    NoiseSet,
    Settlement,
    SignedStruct,
    sign,
)
from tests.support.chain_world import World, world_on
from tests.support.nodes import embedded_node

POINTS = b"\x02" + keccak(text="A_0") + b"\x03" + keccak(text="A_1")
TRANSCRIPT = keccak(text="transcript")
RESULT = b"sealed result"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with embedded_node(tmp_path_factory.mktemp("chain")) as node:
        made = world_on(node)
        made.enrol([f"patient {number}" for number in range(4)])
        yield made


def signed(
    world: World, contract: str, struct: SignedStruct, places: tuple[int, ...] = (0, 2)
) -> list[tuple[int, bytes]]:
    """By a quorum, custodians 0 and 2, unless more are named."""
    domain = world.chain.domain(contract)
    return [(place, sign(struct, domain, world.custodians[place])) for place in places]


@pytest.fixture(scope="module")
def request_id(world: World) -> bytes:
    """Sealed on ciphertext; the joint key is recorded first, and told."""
    assert world.chain.joint_key(world.epoch) == (b"", ZERO_HASH)
    key = JointKey(world.epoch, POINTS, TRANSCRIPT)
    signatures = signed(world, "CustodianCommittee", key, (0, 1, 2))
    arguments = (world.epoch, POINTS, TRANSCRIPT, signatures)
    world.sender.send("CustodianCommittee", "recordJointKey", *arguments)
    terms = replace(world.terms("ciphertext"), lane=HOMOMORPHIC)
    request = world.open(terms)
    world.freeze(terms)
    world.sender.send("ResearchMarket", "sealAll", request)
    return request


def commitments(world: World, request: bytes) -> dict[int, NoiseCommitment]:
    view = world.chain.request(request)
    return {
        place: NoiseCommitment(request, view.root, view.epoch, place, keccak(text=f"noise {place}"))
        for place in range(3)
    }


def test_a_request_on_ciphertext_settles_with_the_noise_that_was_fixed(
    world: World, request_id: bytes
) -> None:
    chain, send = world.chain, world.sender.send
    assert chain.joint_key(world.epoch) == (POINTS, TRANSCRIPT)
    assert chain.noise_commitments(request_id) == {}
    assert chain.noise_set(request_id) == ((), ZERO_HASH)

    told, domain = commitments(world, request_id), chain.domain("NoiseRegistry")
    given = [
        (place, each.commitment, sign(each, domain, world.custodians[place]))
        for place, each in told.items()
    ]
    send("NoiseRegistry", "commitNoise", request_id, given)
    assert chain.noise_commitments(request_id) == {p: c.commitment for p, c in told.items()}

    chosen = {place: told[place].commitment for place in (0, 2)}
    fixed = NoiseSet.of(chain.domain("ResearchMarket"), told[0], chosen)
    send("NoiseRegistry", "fixNoise", request_id, 0b101, signed(world, "NoiseRegistry", fixed))
    assert chain.noise_set(request_id) == ((0, 2), fixed.noise)

    said = settlement(world, request_id)
    assert (said.lane, said.noise, said.gate) == (HOMOMORPHIC, fixed.noise, ZERO_ADDRESS)
    quorum = signed(world, "ResearchMarket", said)
    send("ResearchMarket", "settle", said, RESULT, quorum)
    assert chain.request(request_id).stage is RequestStage.SETTLED


def settlement(world: World, request: bytes) -> Settlement:
    view, (_, noise) = world.chain.request(request), world.chain.noise_set(request)
    return Settlement(
        request=request,
        root=view.root,
        epoch=view.epoch,
        lane=view.lane,
        schema=SETTLEMENT_SCHEMA,
        ciphertext_root=keccak(text="ciphertexts"),
        noise=noise,
        result_hash=keccak(text="result"),
        delivery_hash=keccak(RESULT),
        gate=view.gate,
    )


def test_an_epoch_that_was_not_opened_has_no_joint_key(world: World) -> None:
    with pytest.raises(ContractRefusal) as refused:
        world.chain.joint_key(world.epoch + 1)
    assert refused.value.code == "unknown_epoch"


def test_a_freeze_without_a_joint_key_says_what_to_do(tmp_path: Path) -> None:
    with embedded_node(tmp_path) as node:
        bare = world_on(node)
        bare.enrol(["one", "two"])
        terms = replace(bare.terms("no key"), lane=HOMOMORPHIC)
        bare.open(terms)
        with pytest.raises(ContractRefusal) as refused:
            bare.freeze(terms)
    assert (refused.value.code, refused.value.facts) == ("no_joint_key", {"epoch": 1})


def test_commitments_that_belong_to_nobody_are_a_fault_of_the_node(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lie(*_: Any, **__: Any) -> tuple[int, tuple[bytes, ...]]:
        return 0b111, (bytes(32),) * 2

    monkeypatch.setattr(Chain, "call", lie)
    with pytest.raises(NodeFault):
        world.chain.noise_commitments(bytes(32))
