"""What custodians and the operator do for a request that is computed on ciphertext, each as one call."""

from collections.abc import Sequence
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from tests.contracts.market_terms import CUSTODIANS, POLICY
from tests.contracts.market_world import World
from tests.contracts.support import Sent, word

QUORUM = 2
ALL, TWO = 0b111, 0b101  # bit i is the custodian at place i
NOISE_TYPES = [
    "string",
    "uint256",
    "address",
    "bytes32",
    "bytes32",
    "uint32",
    "uint16",
    "bytes32[]",
]


# ---- The joint key ----


def joint_key(epoch: int = 1, **changes: Any) -> dict[str, Any]:
    commitments = b"\x02" + word("A_0") + b"\x03" + word("A_1")
    return {"epoch": epoch, "commitments": commitments, "transcript": word("transcript")} | changes


def record_joint_key(
    world: World, said: dict[str, Any] | None = None, places: Sequence[int] = (0, 1, 2)
) -> Sent:
    told = said or joint_key()
    signatures = world.quorum(world.parts.committee, "JointKey", told, *places)
    return world.send(
        "relayer", world.parts.committee, "recordJointKey", *told.values(), signatures
    )


# ---- The noise ----


def sealed_ciphertext(world: World, **changes: Any) -> bytes:
    """A sealed request of the homomorphic lane, under a joint key that it records first; its id."""
    commitments, _ = world.read(world.parts.committee, "jointKeyOf", 1)
    if not commitments:
        record_joint_key(world)
    return world.sealed(lane=2, **changes)


def after_gate_window(world: World, request: bytes) -> None:
    sealed_at = world.request(request)["gateDrawnAt"]
    world.chain.warp(sealed_at + POLICY["gateWindow"] + 1 - world.chain.now)


def signed_commitment(
    world: World, request: bytes, place: int, signer: str = "", lie: dict[str, Any] | None = None
) -> dict[str, Any]:
    """As `commitNoise` takes it; what was signed differs in the `lie`."""
    r = world.request(request)
    said: dict[str, Any] = {"request": request, "root": r["root"], "epoch": r["epoch"]}
    said |= {"place": place, "commitment": word(f"noise of {place}")}
    who = signer or CUSTODIANS[place]
    signature = world.sign(who, world.parts.noises, "NoiseCommitment", said | (lie or {}))
    return {"place": place, "commitment": said["commitment"], "signature": signature}


def commit_noise(
    world: World, request: bytes, places: Sequence[int] = (0, 1, 2), by: str = "operator"
) -> Sent:
    signed = [signed_commitment(world, request, place) for place in places]
    return world.send(by, world.parts.noises, "commitNoise", request, signed)


def noise_hash(world: World, request: bytes, bitmap: int) -> bytes:
    """The hash of what these places committed, written out a second time."""
    r, chain, market = world.request(request), world.chain.id, world.market.address
    chosen = [word(f"noise of {place}") for place in range(16) if bitmap >> place & 1]
    head = ["usufruct/noise/1", chain, market, request, r["root"], r["epoch"]]
    return keccak(encode(NOISE_TYPES, [*head, bitmap, chosen]))


def noise_set(world: World, request: bytes, bitmap: int = ALL) -> dict[str, Any]:
    r = world.request(request)
    said = {"request": request, "root": r["root"], "epoch": r["epoch"], "places": bitmap}
    return said | {"noise": noise_hash(world, request, bitmap)}


def fix_noise(
    world: World,
    request: bytes,
    bitmap: int = ALL,
    signers: Sequence[int] = (0, 1),
    by: str = "operator",
    lie: dict[str, Any] | None = None,
) -> Sent:
    """What was signed differs in the `lie`."""
    said = noise_set(world, request, bitmap) | (lie or {})
    signatures = world.quorum(world.parts.noises, "NoiseSet", said, *signers)
    return world.send(by, world.parts.noises, "fixNoise", request, bitmap, signatures)


def noised(world: World, **changes: Any) -> bytes:
    """Sealed on ciphertext, and its noise fixed: ready to settle."""
    request = sealed_ciphertext(world, **changes)
    commit_noise(world, request)
    fix_noise(world, request)
    return request
