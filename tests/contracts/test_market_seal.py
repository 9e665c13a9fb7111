"""The seal: who is in it, what it costs them, and the root that names them for ever. Then its gate."""

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from tests.contracts.market_books import ESCROW, FROZEN, SEALED, books, credit
from tests.contracts.market_terms import CUSTODIANS, POLICY
from tests.contracts.market_world import World
from tests.contracts.support import address, member, refusing, role, word

# ---- Sealing ----


def shard_root(world: World, index: int, number: int, members: int, bitmap: int) -> bytes:
    chunk = keccak(bitmap.to_bytes(20, "big"))
    types = ["string", "bytes32", "uint16", "uint32", "bytes32[]"]
    values = ["usufruct/shard/1", world.class_id(index), number, members, [chunk]]
    return keccak(encode(types, values))


def cohort_root(world: World, request: bytes, *shards: bytes) -> bytes:
    types = ["string", "uint256", "address", "bytes32", "uint16"]
    start = ["usufruct/cohort/1", world.chain.id, world.market.address, request, len(shards)]
    root = keccak(encode(types, start))
    for shard in shards:
        root = keccak(encode(["bytes32", "bytes32"], [root, shard]))
    return root


def test_a_seal_names_its_members_charges_them_and_pays_them(crowd: World) -> None:
    crowd.revoke("ben")
    request = crowd.frozen()
    sent = crowd.seal(request)
    root = shard_root(crowd, 1, 0, 3, 0b1101)
    told = sent.facts("ShardSealed")
    assert (told["members"], told["root"], told["bitmaps"]) == (
        3,
        root,
        (0b1101).to_bytes(20, "big"),
    )
    r = crowd.request(request)
    assert (r["stage"], r["members"], r["sealedShards"]) == (SEALED, 3, 1)
    assert r["root"] == cohort_root(crowd, request, root)
    assert r["escrow"] == 700
    assert credit(crowd, "researcher") == ESCROW - 700 - 3 * 40
    assert books(crowd)["earnings"] == 3 * 40
    for who, spent, owed in (("ada", 500_000, 40), ("ben", 0, 0), ("dan", 500_000, 40)):
        assert (crowd.view(who)["spent"], crowd.view(who)["owed"]) == (spent, owed)


def test_a_cohort_of_several_classes_has_one_root_in_their_order(crowd: World) -> None:
    crowd.grant("cleo", 2)
    crowd.grant("dan", 2)
    request = crowd.frozen(classes=[1, 2])
    assert crowd.read(crowd.market, "shardsOf", request) == [(1, 0), (2, 0)]
    crowd.trade("operator", "seal", request)
    half = crowd.request(request)
    assert (half["stage"], half["sealedShards"], half["members"]) == (FROZEN, 1, 2)
    crowd.trade("operator", "seal", request)
    roots = (shard_root(crowd, 1, 0, 2, 0b11), shard_root(crowd, 2, 0, 2, 0b11))
    assert crowd.request(request)["root"] == cohort_root(crowd, request, *roots)
    with refusing("WrongStage", request, FROZEN, SEALED):
        crowd.trade("operator", "seal", request)


def test_all_shards_can_be_sealed_in_one_transaction(crowd: World) -> None:
    crowd.grant("cleo", 2)
    request = crowd.frozen(classes=[1, 2])
    crowd.seal(request)
    assert crowd.request(request)["stage"] == SEALED
    assert crowd.request(request)["members"] == 4


def test_the_seal_leaves_out_who_revoked_a_block_before(crowd: World) -> None:
    request = crowd.frozen()
    crowd.revoke("dan")
    crowd.seal(request)
    crowd.revoke("ada")
    assert crowd.request(request)["members"] == 3
    assert (crowd.view("dan")["owed"], crowd.view("ada")["owed"]) == (0, 40)


def test_a_cohort_that_shrank_below_the_minimum_is_not_sealed(crowd: World) -> None:
    request = crowd.frozen()
    for who in ("ada", "ben", "cleo"):
        crowd.revoke(who)
    with refusing("CohortTooSmall", 1, 2):
        crowd.seal(request)


def test_a_cohort_that_shrinks_between_two_shards_is_not_sealed(crowd: World) -> None:
    crowd.grant("cleo", 2)
    crowd.revoke("ada")
    crowd.revoke("ben")
    request = crowd.frozen(classes=[1, 2])
    crowd.trade("operator", "seal", request)
    crowd.revoke("cleo")
    with refusing("CohortTooSmall", 1, 2):
        crowd.trade("operator", "seal", request)


@pytest.mark.parametrize("action", ["seal", "sealAll"])
def test_only_the_requests_own_operator_seals(crowd: World, action: str) -> None:
    crowd.send("admin", crowd.market, "grantRole", role("OPERATOR"), address("second operator"))
    request = crowd.frozen()
    with refusing("AccessControlUnauthorizedAccount", address("researcher"), role("OPERATOR")):
        crowd.trade("researcher", action, request)
    with refusing("NotRequestOperator", address("second operator")):
        crowd.trade("second operator", action, request)


@pytest.mark.parametrize("action", ["seal", "sealAll"])
def test_a_lapsed_freeze_cannot_be_sealed(crowd: World, action: str) -> None:
    request = crowd.frozen()
    crowd.chain.warp(POLICY["freezeWindow"] + 1)
    with refusing("FreezeLapsed"):
        crowd.trade("operator", action, request)


# ---- The gate ----


def gate_of(world: World, request: bytes) -> str:
    return str(world.request(request)["gate"])


def test_the_gate_is_drawn_by_a_block_that_came_after_the_seal(crowd: World) -> None:
    request = crowd.sealed()
    drawn_by = crowd.request(request)["drawBlock"]
    assert drawn_by == crowd.request(request)["sealBlock"] + 1
    with refusing("DrawTooEarly", drawn_by):
        crowd.trade("stranger", "drawGate", request)
    sent = crowd.draw(request)
    block = crowd.chain.w3.eth.get_block(drawn_by)
    root = crowd.request(request)["root"]
    draw = int.from_bytes(keccak(encode(["bytes32", "bytes32"], [root, block["hash"]])), "big")
    assert sent.facts("GateDrawn") == {
        "request": request,
        "gate": address("gate"),
        "draw": (draw & 0xFFFF) >> 1,
    }


def test_a_gate_is_drawn_once_and_for_a_sealed_request_only(crowd: World) -> None:
    request = crowd.frozen()
    with refusing("WrongStage", request, SEALED, FROZEN):
        crowd.trade("stranger", "drawGate", request)
    crowd.seal(request)
    crowd.draw(request)
    with refusing("GateAlreadyDrawn", request):
        crowd.trade("stranger", "drawGate", request)


def test_a_draw_whose_block_is_forgotten_names_a_later_one(crowd: World) -> None:
    request = crowd.sealed()
    first = crowd.request(request)["drawBlock"]
    crowd.chain.tester.mine_blocks(260)
    assert crowd.trade("stranger", "drawGate", request).events == []
    second = crowd.request(request)["drawBlock"]
    assert second > first + 256
    assert gate_of(crowd, request) == "0x" + "00" * 20
    with refusing("DrawTooEarly", second):
        crowd.trade("stranger", "drawGate", request)
    crowd.draw(request)
    assert gate_of(crowd, request) == address("gate")


def test_the_drawn_gate_records_its_key_once(crowd: World) -> None:
    request = crowd.sealed()
    with refusing("GateNotDrawn", request):
        crowd.record_key(request)
    crowd.draw(request)
    sent = crowd.record_key(request)
    told = {"request": request, "gate": address("gate"), "key": word("gate key")}
    assert sent.facts("GateKeyRecorded") == told
    assert crowd.request(request)["gateKey"] == word("gate key")
    with refusing("GateKeyAlreadyRecorded", request):
        crowd.record_key(request)


@pytest.mark.parametrize("who", ["second gate", "operator", "custodian 0"])
def test_no_other_gate_records_a_key(crowd: World, who: str) -> None:
    request = crowd.sealed()
    crowd.draw(request)
    with refusing("BadSignature", address("gate")):
        crowd.record_key(request, who)


@pytest.mark.parametrize("lie", ["request", "root", "key"])
def test_a_gate_key_is_for_one_request_and_cohort(crowd: World, lie: str) -> None:
    request = crowd.sealed()
    crowd.draw(request)
    said = {"request": request, "root": crowd.request(request)["root"], "key": word("gate key")}
    signature = crowd.sign("gate", crowd.market, "GateKey", said | {lie: word("another")})
    with refusing("BadSignature", address("gate")):
        crowd.trade("relayer", "recordGateKey", request, said["key"], signature)


def test_an_empty_gate_key_is_refused(crowd: World) -> None:
    request = crowd.sealed()
    crowd.draw(request)
    with refusing("GateKeyEmpty"):
        crowd.trade("relayer", "recordGateKey", request, bytes(32), bytes(65))


def test_a_gate_that_stays_silent_is_replaced_by_the_next(crowd: World) -> None:
    gates = [address("gate"), address("second gate")]
    members = [member(name) for name in CUSTODIANS]
    crowd.send("admin", crowd.parts.committee, "openEpoch", members, 2, gates)
    request = crowd.sealed()
    with refusing("GateNotDrawn", request):
        crowd.trade("stranger", "redrawGate", request)
    crowd.draw(request)
    first = crowd.request(request)
    assert first["epoch"] == 2
    assert first["gate"] == gates[first["gateDraw"] % 2]
    with refusing("GateWindowRunning", first["gateDrawnAt"] + POLICY["gateWindow"]):
        crowd.trade("stranger", "redrawGate", request)
    crowd.chain.warp(POLICY["gateWindow"] + 1)
    crowd.trade("stranger", "redrawGate", request)
    assert gate_of(crowd, request) == gates[(first["gateDraw"] + 1) % 2]


def test_a_gate_that_recorded_its_key_is_not_replaced(crowd: World) -> None:
    request = crowd.keyed()
    crowd.chain.warp(POLICY["gateWindow"] + 1)
    with refusing("GateKeyAlreadyRecorded", request):
        crowd.trade("stranger", "redrawGate", request)
