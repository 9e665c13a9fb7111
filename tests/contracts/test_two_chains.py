"""Two chains, two deployments: what was signed for the other is nobody's word here.

Patients' messages, attestations, settlements, withdrawals and journals have this test beside their
others; here are the rest. Each is first shown as signed for elsewhere, and refused, and then as signed for
here, and counts.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.contracts import market_world
from tests.contracts.market_world import World
from tests.contracts.noise_acts import (
    commit_noise,
    fix_noise,
    record_joint_key,
    sealed_ciphertext,
)
from tests.contracts.support import CONTRACT_NAMES, NOBODY, Sent, address, refusing, sign_typed

Act = Callable[[], Sent]  # signs anew, and shows it


def rotation(world: World) -> Act:
    said: dict[str, Any] = {"dataset": world.dataset, "deadline": world.later()}
    said |= {"from": address("ada"), "to": address("new ada")}

    def act() -> Sent:
        both = [world.sign(who, world.consents, "Rotation", said) for who in ("ada", "new ada")]
        return world.consent("relayer", "rotate", said, *both)

    return act


def storage(world: World) -> Act:
    world.attest("ada", version=2)
    datasets, said = world.parts.datasets, world.receipt("ada", 2)
    return lambda: world.send(
        "relayer",
        datasets,
        "confirmStorage",
        said,
        world.quorum(datasets, "StorageReceipt", said, 0, 1),
    )


def gate_key(world: World) -> Act:
    request = world.sealed()
    world.draw(request)
    return lambda: world.record_key(request)


def turn_certificate(world: World) -> Act:
    request = world.sealed()
    r = world.request(request)
    world.chain.warp(r["settleDeadline"] - world.chain.now + 1)
    said = {"request": request, "root": r["root"], "epoch": r["epoch"]}
    return lambda: world.trade(
        "relayer",
        "defaultCertified",
        request,
        world.quorum(world.market, "TurnCertificate", said, 0, 1),
    )


def joint_key(world: World) -> Act:
    return lambda: record_joint_key(world)


def noise_commitments(world: World) -> Act:
    request = sealed_ciphertext(world)
    return lambda: commit_noise(world, request)


def noise_set(world: World) -> Act:
    request = sealed_ciphertext(world)
    commit_noise(world, request)
    return lambda: fix_noise(world, request)


KINDS: dict[str, tuple[Callable[[World], Act], str]] = {
    "Rotation": (rotation, "BadSignature"),
    "StorageReceipt": (storage, "BadCustodianSignature"),
    "GateKey": (gate_key, "BadSignature"),
    "TurnCertificate": (turn_certificate, "BadCustodianSignature"),
    "JointKey": (joint_key, "BadCustodianSignature"),
    "NoiseCommitment": (noise_commitments, "BadCustodianSignature"),
    "NoiseSet": (noise_set, "BadCustodianSignature"),
}


def on_another_chain(
    signer: str, contract: Any, kind: str, fields: Any, said: Any, chain_id: int
) -> bytes:
    return sign_typed(signer, contract, kind, fields, said, chain_id + 1)


class Twin:
    """A contract, as far as a signature names one."""

    address = NOBODY


def for_another_deployment(
    signer: str, contract: Any, kind: str, fields: Any, said: Any, chain_id: int
) -> bytes:
    """Of the same contract, by the same name, at another address."""
    twin: Any = Twin()
    CONTRACT_NAMES[twin] = CONTRACT_NAMES[contract]
    return sign_typed(signer, twin, kind, fields, said, chain_id)


@pytest.mark.parametrize("elsewhere", [on_another_chain, for_another_deployment])
@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_for_elsewhere_counts_nowhere_else(
    crowd: World, monkeypatch: pytest.MonkeyPatch, kind: str, elsewhere: Callable[..., bytes]
) -> None:
    prepare, refusal = KINDS[kind]
    act = prepare(crowd)
    with monkeypatch.context() as patched, refusing(refusal):
        patched.setattr(market_world, "sign_typed", elsewhere)
        act()
    assert act().events
