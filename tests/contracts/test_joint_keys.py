"""The joint key of an epoch: signed by all its members, of the right form, once and for ever."""

from typing import Any

import pytest

from tests.contracts.market_terms import CUSTODIANS
from tests.contracts.market_world import World
from tests.contracts.noise_acts import joint_key, record_joint_key
from tests.contracts.support import ZERO, address, member, refusing, word

NOT_TWO_POINTS = {
    "nothing": b"",
    "one point": b"\x02" + bytes(32),
    "three points": (b"\x02" + bytes(32)) * 3,
    "a byte too few": (b"\x02" + bytes(32)) + b"\x02" + bytes(31),
    "a byte too many": (b"\x02" + bytes(32)) * 2 + b"\x02",
    "infinity": b"\x02" + bytes(32) + bytes(33),
    "uncompressed": b"\x04" + bytes(32) + b"\x03" + bytes(32),
    "the second uncompressed": b"\x02" + bytes(32) + b"\x04" + bytes(32),
}


def key_of(world: World, epoch: int = 1) -> list[Any]:
    return list(world.read(world.parts.committee, "jointKeyOf", epoch))


def test_a_joint_key_is_recorded_and_told(world: World) -> None:
    said = joint_key()
    assert key_of(world) == [b"", ZERO]
    assert record_joint_key(world).facts("JointKeyRecorded") == said
    assert key_of(world) == [said["commitments"], said["transcript"]]
    world.read(world.parts.committee, "requireJointKey", 1)


def test_an_epoch_without_a_joint_key_says_so(world: World) -> None:
    with refusing("NoJointKey", 1):
        world.read(world.parts.committee, "requireJointKey", 1)


def test_an_epoch_has_one_joint_key_for_ever(world: World) -> None:
    record_joint_key(world)
    for said in (joint_key(), joint_key(transcript=word("another"))):
        with refusing("JointKeyExists", 1):
            record_joint_key(world, said)
    assert key_of(world) == [joint_key()["commitments"], joint_key()["transcript"]]


def test_an_epoch_that_is_not_open_has_no_joint_key(world: World) -> None:
    for act in (
        lambda: record_joint_key(world, joint_key(2)),
        lambda: key_of(world, 2),
        lambda: world.read(world.parts.committee, "requireJointKey", 2),
    ):
        with refusing("UnknownEpoch", 2):
            act()


@pytest.mark.parametrize("form", sorted(NOT_TWO_POINTS))
def test_a_joint_key_is_a_compressed_point_for_each_of_the_quorum(world: World, form: str) -> None:
    with refusing("JointKeyInvalid", 1):
        record_joint_key(world, joint_key(commitments=NOT_TWO_POINTS[form]))


def test_each_epoch_has_a_joint_key_of_its_own_quorum(world: World) -> None:
    record_joint_key(world)
    members = [member(name) for name in CUSTODIANS]
    world.send("admin", world.parts.committee, "openEpoch", members, 3, [address("gate")])
    with refusing("NoJointKey", 2):
        world.read(world.parts.committee, "requireJointKey", 2)
    with refusing("JointKeyInvalid", 2):
        record_joint_key(world, joint_key(2))
    three = joint_key(2, commitments=joint_key()["commitments"] + b"\x02" + word("A_2"))
    record_joint_key(world, three)
    assert key_of(world, 2) == [three["commitments"], three["transcript"]]
    assert key_of(world, 1)[0] == joint_key()["commitments"]


@pytest.mark.parametrize(
    "lie",
    [
        {"epoch": 2},
        {"commitments": joint_key()["commitments"][:-1] + b"\x00"},
        {"transcript": word("another")},
    ],
)
def test_custodians_sign_every_field_of_a_joint_key(world: World, lie: dict[str, Any]) -> None:
    said = joint_key()
    signatures = world.quorum(world.parts.committee, "JointKey", said | lie, 0, 1, 2)
    with refusing("BadCustodianSignature", 0):
        world.send("relayer", world.parts.committee, "recordJointKey", *said.values(), signatures)


@pytest.mark.parametrize(
    ("places", "refusal"),
    [
        ((), "QuorumMissing"),
        ((0,), "QuorumMissing"),
        ((0, 2), "QuorumMissing"),
        ((0, 1, 1), "SignaturesOutOfOrder"),
    ],
)
def test_less_than_all_custodians_record_no_joint_key(
    world: World, places: tuple[int, ...], refusal: str
) -> None:
    with refusing(refusal):
        record_joint_key(world, places=places)
    assert key_of(world) == [b"", ZERO]
