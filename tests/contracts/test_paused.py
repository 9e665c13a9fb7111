"""What goes on while everything that can be paused is paused: whatever ends, takes back or finishes.

Each act is prepared first, then everything is paused, and then it is done: it is that act which stands.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.contracts.market_terms import POLICY
from tests.contracts.market_world import World
from tests.contracts.noise_acts import (
    commit_noise,
    fix_noise,
    noised,
    record_joint_key,
    sealed_ciphertext,
)
from tests.contracts.support import Sent, address

Act = Callable[[], Sent]
Prepare = Callable[[World], Act]


def pause_everything(world: World) -> None:
    parts = world.parts
    for contract in (parts.consents, parts.market, parts.datasets):
        world.send("pauser", contract, "pause")


def signed(kind: str, action: str, name_the_signer: bool = True, **fields: Any) -> Prepare:
    """A message of ada's to the consent registry, shown by a relayer."""

    def prepare(world: World) -> Act:
        said = {"patient": address("ada"), "dataset": world.dataset} | fields
        if kind not in ("Revocation", "Erasure"):
            said["deadline"] = world.later()
        signature = world.sign("ada", world.consents, kind, said)
        signer = [address("ada")] if name_the_signer else []
        return lambda: world.consent("relayer", action, said, *signer, signature)

    return prepare


def rotate(world: World) -> Act:
    said: dict[str, Any] = {"dataset": world.dataset, "deadline": world.later()}
    said |= {"from": address("ada"), "to": address("new ada")}
    signatures = [world.sign(who, world.consents, "Rotation", said) for who in ("ada", "new ada")]
    return lambda: world.consent("relayer", "rotate", said, *signatures)


def expel(world: World) -> Act:
    for action, whom in (("withdrawIssuer", "issuer"), ("suspendRecord", "ada")):
        world.send("steward", world.parts.datasets, action, world.dataset, address(whom))
    return lambda: world.consent("stranger", "expel", world.dataset, address("ada"))


def suspend(world: World) -> Act:
    datasets, issuer = world.parts.datasets, address("issuer")
    world.send("steward", datasets, "withdrawIssuer", world.dataset, issuer)
    return lambda: world.send("steward", datasets, "suspendRecord", world.dataset, address("ada"))


def patient_act(action: str, *arguments: Any) -> Prepare:
    """Ada's own act on the dataset."""
    return lambda world: lambda: world.consent("ada", action, world.dataset, *arguments)


def steward_act(action: str, *arguments: Any) -> Prepare:
    return lambda world: (
        lambda: world.send("steward", world.parts.datasets, action, world.dataset, *arguments)
    )


def cancel(world: World) -> Act:
    terms = world.terms()
    world.open(terms)
    return lambda: world.trade("researcher", "cancel", world.request_id(terms))


def of_frozen(act: Callable[[World, bytes], Sent]) -> Prepare:
    def prepare(world: World) -> Act:
        request = world.frozen()
        return lambda: act(world, request)

    return prepare


def dissolve(world: World) -> Act:
    request = world.frozen()
    for who in ("ada", "ben", "cleo"):
        world.revoke(who)
    return lambda: world.trade("stranger", "dissolve", request)


def redraw(world: World) -> Act:
    request = world.sealed()
    world.draw(request)
    world.chain.warp(POLICY["gateWindow"] + 1)
    return lambda: world.trade("stranger", "redrawGate", request)


def draw(world: World) -> Act:
    request = world.sealed()
    return lambda: world.draw(request)


def record_key(world: World) -> Act:
    request = world.sealed()
    world.draw(request)
    return lambda: world.record_key(request)


def settle(world: World) -> Act:
    request = world.keyed()
    return lambda: world.settle(request)


def joint_key(world: World) -> Act:
    return lambda: record_joint_key(world)


def noise_commitments(world: World) -> Act:
    request = sealed_ciphertext(world)
    return lambda: commit_noise(world, request)


def noise_set(world: World) -> Act:
    request = sealed_ciphertext(world)
    commit_noise(world, request)
    return lambda: fix_noise(world, request)


def settle_ciphertext(world: World) -> Act:
    request = noised(world)
    return lambda: world.settle(request)


def default_certified(world: World) -> Act:
    request = world.sealed()
    r = world.request(request)
    said = {"request": request, "root": r["root"], "epoch": r["epoch"]}
    shown = world.quorum(world.market, "TurnCertificate", said, 0, 1)
    world.chain.warp(r["settleDeadline"] - world.chain.now + 1)
    return lambda: world.trade("stranger", "defaultCertified", request, shown)


def default_uncertified(world: World) -> Act:
    request = world.sealed()
    until = world.request(request)["settleDeadline"] + POLICY["certificateWindow"]
    world.chain.warp(until - world.chain.now + 1)
    return lambda: world.trade("stranger", "defaultUncertified", request)


def reclaim_frozen(world: World) -> Act:
    request = world.frozen()
    world.chain.warp(POLICY["freezeWindow"] + 1)
    return lambda: world.trade("stranger", "reclaim", request)


def reclaim_opened(world: World) -> Act:
    terms = world.terms()
    world.open(terms)
    world.chain.warp(terms["sealDeadline"] - world.chain.now + 1)
    return lambda: world.trade("stranger", "reclaim", world.request_id(terms))


def money_act(who: str, action: str, *arguments: Any) -> Prepare:
    """After a settled request, somebody takes what is owed, to a stranger's address."""

    def prepare(world: World) -> Act:
        world.settled()
        dataset = [world.dataset] if action == "withdrawEarnings" else []
        return lambda: world.trade(who, action, *dataset, address("stranger"), *arguments)

    return prepare


def signed_money(who: str, kind: str, owner: str) -> Prepare:
    def prepare(world: World) -> Act:
        world.settled()
        said: dict[str, Any] = {owner: address(who), "to": address("stranger")}
        said |= {"nonce": 3, "deadline": world.later()}
        if kind == "EarningsWithdrawal":
            said["dataset"] = world.dataset
        signature = world.sign(who, world.market, kind, said)
        action = f"withdraw{kind.removesuffix('Withdrawal')}BySig"
        return lambda: world.trade("relayer", action, said, signature)

    return prepare


# The event that tells that it was done, and how it is prepared.
GOES_ON: dict[str, tuple[str, Prepare]] = {
    "revoke": ("Revoked", lambda world: lambda: world.revoke("ada")),
    "revokeBySig": ("Revoked", signed("Revocation", "revokeBySig", sequence=257)),
    "rest": (
        "Rested",
        lambda world: lambda: world.consent("ada", "rest", address("ada"), world.dataset),
    ),
    "restBySig": ("Rested", signed("Rest", "restBySig", sequence=1, nonce=3)),
    "appointGuardian": (
        "GuardianAppointed",
        patient_act("appointGuardian", address("guardian"), 2**39, True),
    ),
    "appointGuardianBySig": (
        "GuardianAppointed",
        signed(
            "Guardianship",
            "appointGuardianBySig",
            name_the_signer=False,
            guardian=address("guardian"),
            expiry=2**39,
            mayGrant=True,
            nonce=3,
        ),
    ),
    "erase": ("RecordErased", patient_act("erase")),
    "eraseBySig": (
        "RecordErased",
        signed("Erasure", "eraseBySig", name_the_signer=False, version=1),
    ),
    "rotate": ("RecordMoved", rotate),
    "expel": ("Expelled", expel),
    "withdrawIssuer": ("IssuerWithdrawn", steward_act("withdrawIssuer", address("issuer"))),
    "suspendRecord": ("RecordSuspended", suspend),
    "retire": ("DatasetRetired", steward_act("retire")),
    "handOver": ("StewardChanged", steward_act("handOver", address("stranger"))),
    "cancel": ("RequestCancelled", cancel),
    "tidy": ("RequestTidied", of_frozen(lambda w, r: w.trade("stranger", "tidy", r, 0, [0]))),
    "seal": ("RequestSealed", of_frozen(lambda w, r: w.trade("operator", "seal", r))),
    "sealAll": ("RequestSealed", of_frozen(lambda w, r: w.seal(r))),
    "dissolve": ("RequestReclaimed", dissolve),
    "drawGate": ("GateDrawn", draw),
    "redrawGate": ("GateDrawn", redraw),
    "recordGateKey": ("GateKeyRecorded", record_key),
    "settle": ("RequestSettled", settle),
    "recordJointKey": ("JointKeyRecorded", joint_key),
    "commitNoise": ("NoiseCommitted", noise_commitments),
    "fixNoise": ("NoiseFixed", noise_set),
    "settle on ciphertext": ("RequestSettled", settle_ciphertext),
    "defaultCertified": ("RequestDefaulted", default_certified),
    "defaultUncertified": ("RequestDefaulted", default_uncertified),
    "reclaim what was opened": ("RequestReclaimed", reclaim_opened),
    "reclaim what was frozen": ("RequestReclaimed", reclaim_frozen),
    "postBond": ("BondPosted", lambda world: lambda: world.trade("operator", "postBond", 5)),
    "releaseBond": ("BondReleased", money_act("operator", "releaseBond", 5)),
    "withdrawCredit": ("CreditWithdrawn", money_act("researcher", "withdrawCredit")),
    "withdrawEarnings": ("EarningsWithdrawn", money_act("ada", "withdrawEarnings")),
    "withdrawCreditBySig": (
        "CreditWithdrawn",
        signed_money("researcher", "CreditWithdrawal", "account"),
    ),
    "withdrawEarningsBySig": (
        "EarningsWithdrawn",
        signed_money("ada", "EarningsWithdrawal", "patient"),
    ),
}


@pytest.mark.parametrize("act", GOES_ON)
def test_a_pause_does_not_stop(crowd: World, act: str) -> None:
    told, prepare = GOES_ON[act]
    do = prepare(crowd)
    pause_everything(crowd)
    assert told in [name for name, _ in do().events]
