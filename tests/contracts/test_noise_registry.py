"""The noise of a request on ciphertext: committed by all before any is shown, then fixed for ever."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.contracts.market_books import FROZEN, SEALED, SETTLED
from tests.contracts.market_terms import CUSTODIANS, POLICY, SIGNED
from tests.contracts.market_world import World
from tests.contracts.noise_acts import (
    ALL,
    TWO,
    after_gate_window,
    commit_noise,
    fix_noise,
    noise_hash,
    noise_set,
    noised,
    record_joint_key,
    sealed_ciphertext,
    signed_commitment,
)
from tests.contracts.support import ZERO, Sent, address, member, refusing, word

Act = Callable[..., Sent]
COMMITMENTS = [word(f"noise of {place}") for place in range(3)]


def committed(world: World, request: bytes) -> list[Any]:
    return list(world.read(world.parts.noises, "commitmentsOf", request))


def fixed(world: World, request: bytes) -> list[Any]:
    return list(world.read(world.parts.noises, "noiseOf", request))


def send_commitments(world: World, request: bytes, signed: list[dict[str, Any]]) -> Sent:
    return world.send("operator", world.parts.noises, "commitNoise", request, signed)


def ready_to_fix(world: World) -> bytes:
    request = sealed_ciphertext(world)
    commit_noise(world, request)
    return request


# Each act, and a request on which the operator can do it.
STEPS: dict[str, tuple[Act, Callable[[World], bytes]]] = {
    "commit": (commit_noise, sealed_ciphertext),
    "fix": (fix_noise, ready_to_fix),
}
EACH_STEP = pytest.mark.parametrize("step", STEPS)


# ---- Both steps: when, and whose ----


@EACH_STEP
def test_only_a_sealed_request_has_noise(crowd: World, step: str) -> None:
    act, _ = STEPS[step]
    record_joint_key(crowd)
    frozen = crowd.frozen(lane=2)
    with refusing("WrongStage", frozen, SEALED, FROZEN):
        act(crowd, frozen)
    with refusing("WrongStage", word("nothing"), SEALED, 0):
        act(crowd, word("nothing"))


@EACH_STEP
def test_a_settled_request_takes_no_more_noise(crowd: World, step: str) -> None:
    act, _ = STEPS[step]
    request = noised(crowd)
    crowd.settle(request)
    with refusing("WrongStage", request, SEALED, SETTLED):
        act(crowd, request)


@EACH_STEP
def test_a_request_of_the_vault_lane_has_no_noise_of_custodians(crowd: World, step: str) -> None:
    act, _ = STEPS[step]
    request = crowd.keyed()
    with refusing("WrongLane", request, 1):
        act(crowd, request)


@EACH_STEP
def test_noise_comes_up_to_the_settle_deadline_and_not_after(crowd: World, step: str) -> None:
    act, prepare = STEPS[step]
    request = prepare(crowd)
    deadline = crowd.request(request)["settleDeadline"]
    # The act is mined a second after the last block.
    crowd.chain.warp(deadline - 1 - crowd.chain.now)
    before = crowd.chain.tester.take_snapshot()
    act(crowd, request)
    crowd.chain.tester.revert_to_snapshot(before)
    crowd.chain.warp(1)
    with refusing("SettleDeadlinePassed", deadline):
        act(crowd, request)


@EACH_STEP
def test_until_the_window_has_passed_only_the_operator_brings_noise_in(
    crowd: World, step: str
) -> None:
    act, prepare = STEPS[step]
    request = prepare(crowd)
    until = crowd.request(request)["gateDrawnAt"] + POLICY["gateWindow"]
    crowd.chain.warp(until - 1 - crowd.chain.now)
    for who in ("stranger", "researcher", CUSTODIANS[0], "second operator"):
        before = crowd.chain.tester.take_snapshot()
        with refusing("OnlyOperatorUntil", address(who), until):
            act(crowd, request, by=who)
        crowd.chain.tester.revert_to_snapshot(before)
    act(crowd, request, by="operator")


@EACH_STEP
def test_after_the_window_anybody_brings_noise_in(crowd: World, step: str) -> None:
    act, prepare = STEPS[step]
    request = prepare(crowd)
    after_gate_window(crowd, request)
    act(crowd, request, by="stranger")


# ---- Commitments ----


def test_commitments_are_told_and_kept_in_ascending_places(crowd: World) -> None:
    request = sealed_ciphertext(crowd)
    assert committed(crowd, request) == [0, []]
    told = commit_noise(crowd, request).facts("NoiseCommitted")
    assert dict(told) == {"request": request, "places": ALL, "commitments": COMMITMENTS}
    assert committed(crowd, request) == [ALL, COMMITMENTS]
    assert fixed(crowd, request) == [0, ZERO]


def test_a_quorum_may_commit_without_the_rest(crowd: World) -> None:
    request = sealed_ciphertext(crowd)
    commit_noise(crowd, request, (0, 2))
    assert committed(crowd, request) == [TWO, [COMMITMENTS[0], COMMITMENTS[2]]]


def test_noise_is_committed_once(crowd: World) -> None:
    request = sealed_ciphertext(crowd)
    commit_noise(crowd, request, (0, 1))
    for places in ((0, 1), (0, 1, 2)):
        with refusing("NoiseAlreadyCommitted", request):
            commit_noise(crowd, request, places)
    assert committed(crowd, request) == [0b011, COMMITMENTS[:2]]


@pytest.mark.parametrize("places", [(), (0,), (2,)])
def test_fewer_than_a_quorum_commit_nothing(crowd: World, places: tuple[int, ...]) -> None:
    request = sealed_ciphertext(crowd)
    with refusing("QuorumMissing", 2, len(places)):
        commit_noise(crowd, request, places)


@pytest.mark.parametrize("places", [(0, 0), (1, 0), (0, 2, 1), (0, 1, 1)])
def test_a_custodian_commits_once_and_in_its_place(crowd: World, places: tuple[int, ...]) -> None:
    request = sealed_ciphertext(crowd)
    with refusing("SignaturesOutOfOrder", places[-1]):
        commit_noise(crowd, request, places)


@pytest.mark.parametrize("place", [3, 15, 16, 255])
def test_only_members_of_the_epoch_commit(crowd: World, place: int) -> None:
    request = sealed_ciphertext(crowd)
    signed = [signed_commitment(crowd, request, 0), signed_commitment(crowd, request, 1)]
    stray = signed_commitment(crowd, request, place, signer="stranger")
    with refusing("UnknownPlace", 1, place):
        send_commitments(crowd, request, [*signed, stray])


def test_a_commitment_is_not_empty(crowd: World) -> None:
    request = sealed_ciphertext(crowd)
    empty = signed_commitment(crowd, request, 1, lie={"commitment": ZERO}) | {"commitment": ZERO}
    with refusing("NoiseCommitmentEmpty", 1):
        send_commitments(crowd, request, [signed_commitment(crowd, request, 0), empty])


def test_a_commitment_is_signed_by_the_custodian_at_its_place(crowd: World) -> None:
    request = sealed_ciphertext(crowd)
    signed = [
        signed_commitment(crowd, request, 0),
        signed_commitment(crowd, request, 1, signer=CUSTODIANS[2]),
    ]
    with refusing("BadCustodianSignature", 1):
        send_commitments(crowd, request, signed)


FIELDS = {kind: [each.split(" ") for each in SIGNED[kind].split(",")] for kind in SIGNED}


@pytest.mark.parametrize(("type_", "name"), FIELDS["NoiseCommitment"])
def test_custodians_sign_every_field_of_a_commitment(crowd: World, type_: str, name: str) -> None:
    request = sealed_ciphertext(crowd)
    lie = {name: word("another") if type_ == "bytes32" else 9}
    signed = [signed_commitment(crowd, request, 0), signed_commitment(crowd, request, 1, lie=lie)]
    with refusing("BadCustodianSignature", 1):
        send_commitments(crowd, request, signed)


def test_the_committee_of_the_freeze_commits_whatever_epoch_has_come(crowd: World) -> None:
    request = sealed_ciphertext(crowd)
    others = [member(name) for name in ("relayer", "stranger", "guardian")]
    crowd.send("admin", crowd.parts.committee, "openEpoch", others, 3, [address("gate")])
    commit_noise(crowd, request, (0, 1))
    fix_noise(crowd, request, 0b011)
    crowd.settle(request)


# ---- The set that counts ----


def test_the_set_is_told_and_kept_with_the_hash_of_what_was_committed(crowd: World) -> None:
    request = ready_to_fix(crowd)
    told = fix_noise(crowd, request).facts("NoiseFixed")
    noise = noise_hash(crowd, request, ALL)
    assert told == {"request": request, "places": ALL, "noise": noise}
    assert fixed(crowd, request) == [ALL, noise]
    assert committed(crowd, request) == [ALL, COMMITMENTS]


@pytest.mark.parametrize("bitmap", [0b011, 0b101, 0b110, 0b111])
def test_any_quorum_of_those_that_committed_may_be_the_set(crowd: World, bitmap: int) -> None:
    request = ready_to_fix(crowd)
    fix_noise(crowd, request, bitmap)
    assert fixed(crowd, request) == [bitmap, noise_hash(crowd, request, bitmap)]


def test_a_set_of_those_that_committed_without_the_first_is_found_by_place(crowd: World) -> None:
    request = sealed_ciphertext(crowd)
    commit_noise(crowd, request, (1, 2))
    fix_noise(crowd, request, 0b110)
    assert fixed(crowd, request) == [0b110, noise_hash(crowd, request, 0b110)]


def test_noise_is_fixed_once(crowd: World) -> None:
    request = ready_to_fix(crowd)
    fix_noise(crowd, request, TWO)
    for bitmap in (TWO, ALL):
        with refusing("NoiseAlreadyFixed", request):
            fix_noise(crowd, request, bitmap)
    with refusing("NoiseAlreadyCommitted", request):
        commit_noise(crowd, request)
    assert fixed(crowd, request) == [TWO, noise_hash(crowd, request, TWO)]


def test_nothing_is_fixed_before_it_was_committed(crowd: World) -> None:
    request = sealed_ciphertext(crowd)
    with refusing("NoiseNotCommitted", request):
        fix_noise(crowd, request)


@pytest.mark.parametrize("bitmap", [0, 0b001, 0b100])
def test_a_set_is_at_least_a_quorum(crowd: World, bitmap: int) -> None:
    request = ready_to_fix(crowd)
    with refusing("NoiseSetTooSmall", 2, bitmap.bit_count()):
        fix_noise(crowd, request, bitmap)


@pytest.mark.parametrize("bitmap", [0b111, 0b110, 0b010, 0b1011, 0x8003, 0xFFFF])
def test_a_set_is_some_of_those_that_committed(crowd: World, bitmap: int) -> None:
    request = sealed_ciphertext(crowd)
    commit_noise(crowd, request, (0, 2))
    with refusing("PlacesNotCommitted", bitmap, TWO):
        fix_noise(crowd, request, bitmap)


@pytest.mark.parametrize(("type_", "name"), FIELDS["NoiseSet"])
def test_custodians_sign_every_field_of_a_set(crowd: World, type_: str, name: str) -> None:
    request = ready_to_fix(crowd)
    lie = {name: word("another") if type_ == "bytes32" else 9}
    with refusing("BadCustodianSignature", 0):
        fix_noise(crowd, request, lie=lie)


def test_signatures_on_another_set_do_not_fix_this_one(crowd: World) -> None:
    request = ready_to_fix(crowd)
    other = noise_set(crowd, request, TWO)
    with refusing("BadCustodianSignature", 0):
        fix_noise(crowd, request, ALL, lie=other)


@pytest.mark.parametrize(
    ("places", "refusal"),
    [((), "QuorumMissing"), ((2,), "QuorumMissing"), ((1, 0), "SignaturesOutOfOrder")],
)
def test_k_minus_one_custodians_fix_nothing(
    crowd: World, places: tuple[int, ...], refusal: str
) -> None:
    request = ready_to_fix(crowd)
    with refusing(refusal):
        fix_noise(crowd, request, signers=places)


def test_requests_have_noise_of_their_own(crowd: World) -> None:
    first = noised(crowd)
    crowd.thaw()
    second = sealed_ciphertext(crowd, salt=word("another"))
    stolen = [signed_commitment(crowd, first, place) for place in (0, 1)]
    with refusing("BadCustodianSignature", 0):
        send_commitments(crowd, second, stolen)
    assert (committed(crowd, second), fixed(crowd, second)) == ([0, []], [0, ZERO])


def test_a_registry_of_another_market_knows_no_request_of_this_one(crowd: World) -> None:
    """Bound to whatever contract, it asks that one."""
    request = ready_to_fix(crowd)
    twin = crowd.chain.deploy("NoiseRegistry", address("admin"), crowd.parts.committee.address)
    crowd.send("admin", twin, "bindMarket", crowd.market.address)
    foreign = [signed_commitment(crowd, request, place) for place in (0, 1)]
    with refusing("BadCustodianSignature", 0):
        crowd.send("operator", twin, "commitNoise", request, foreign)


def test_the_market_is_named_once_by_the_admin(crowd: World) -> None:
    twin = crowd.chain.deploy("NoiseRegistry", address("admin"), crowd.parts.committee.address)
    with refusing("AccessControlUnauthorizedAccount", address("deployer"), ZERO):
        crowd.send("deployer", twin, "bindMarket", crowd.market.address)
    crowd.send("admin", twin, "bindMarket", crowd.market.address)
    with refusing("AlreadyBound", crowd.market.address):
        crowd.send("admin", twin, "bindMarket", crowd.market.address)
    assert crowd.read(twin, "market") == crowd.market.address
