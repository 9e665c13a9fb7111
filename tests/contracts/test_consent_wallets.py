"""Patients whose address is a contract (ERC-1271, EIP-7702), and relayed batches of signed grants."""

from typing import Any

import pytest
from web3.contract import Contract

from tests.contracts import hostile_code
from tests.contracts.market_world import World
from tests.contracts.support import (
    WALLET_ENDLESS,
    WALLET_NO,
    WALLET_YES,
    Sent,
    account,
    address,
    refusing,
)

LIVE, RESTED_BY_PATIENT = 1, 3

# ---- Wallet contracts (ERC-1271) ----


def wallet(world: World, code: bytes) -> str:
    """A patient whose address is a contract of this code, with a stored record."""
    world.wallets["wallet"] = world.chain.deploy_code(code)
    world.enrol("wallet")
    return world.wallets["wallet"]


def wallet_grant(world: World) -> Sent:
    said = world.grant_of("wallet")
    return world.consent("relayer", "grantBySig", said, world.where("wallet"), b"whatever it takes")


def test_a_wallet_contract_grants_and_revokes_by_its_own_rules(world: World) -> None:
    where = wallet(world, WALLET_YES)
    assert wallet_grant(world).facts("Granted")["patient"] == where
    said = {"patient": where, "dataset": world.dataset, "sequence": 5}
    sent = world.consent("relayer", "revokeBySig", said, where, b"")
    assert sent.facts("Revoked")["sequence"] == 6


def swayed_wallet(world: World) -> str:
    """A wallet that has granted, and from now on answers what `answer` lets it answer."""
    where = wallet(world, hostile_code.WALLET_SWAYED)
    answer(world, hostile_code.YES)
    wallet_grant(world)
    return where


def answer(world: World, word: int) -> None:
    world.chain.store(world.where("wallet"), {0: word})


def wallet_pauses(world: World, action: str, nonce: int) -> Sent:
    """`action` is restBySig or wakeBySig."""
    where = world.where("wallet")
    said = {"patient": where, "dataset": world.dataset, "sequence": 1, "nonce": nonce}
    said["deadline"] = world.later()
    return world.consent("relayer", action, said, where, b"whatever it takes")


def test_a_wallet_contract_rests_and_wakes_by_its_own_rules(world: World) -> None:
    where = swayed_wallet(world)
    told = {"patient": where, "dataset": world.dataset}
    assert wallet_pauses(world, "restBySig", 1).facts("Rested") == told | {"byPatient": True}
    assert world.view("wallet")["state"] == RESTED_BY_PATIENT
    assert wallet_pauses(world, "wakeBySig", 2).facts("Woken") == told
    assert world.view("wallet")["state"] == LIVE


# Nothing, "no", yes as a number, and yes with a bit of dirt behind it.
WRONG_ANSWERS = [0, 0xFFFFFFFF << 224, hostile_code.MAGIC, hostile_code.YES + 1]


@pytest.mark.parametrize("wrong", WRONG_ANSWERS, ids=hex)
@pytest.mark.parametrize(
    ("action", "state"), [("restBySig", LIVE), ("wakeBySig", RESTED_BY_PATIENT)]
)
def test_a_wallet_that_answers_wrongly_neither_rests_nor_wakes(
    world: World, action: str, state: int, wrong: int
) -> None:
    where = swayed_wallet(world)
    if action == "wakeBySig":
        wallet_pauses(world, "restBySig", 1)
    answer(world, wrong)
    with refusing("BadSignature", where):
        wallet_pauses(world, action, 2)
    assert world.view("wallet")["state"] == state
    answer(world, hostile_code.YES)
    wallet_pauses(world, action, 2)  # it was the answer alone that stood in the way


HOSTILE = {
    "says no": WALLET_NO,
    "never ends": WALLET_ENDLESS,
    "answers in four bytes": hostile_code.WALLET_SHORT,
    "answers with a word that only begins right": hostile_code.WALLET_DIRTY,
    "reverts with 200,000 bytes": hostile_code.WALLET_SHOUTS,
}


@pytest.mark.parametrize("how", sorted(HOSTILE))
def test_a_wallet_that_misbehaves_has_signed_nothing(world: World, how: str) -> None:
    where = wallet(world, HOSTILE[how])
    with refusing("BadSignature", where):
        wallet_grant(world)


def test_a_wallet_that_returns_200_000_bytes_of_yes_costs_its_relayer_little(world: World) -> None:
    wallet(world, hostile_code.WALLET_BOMB)
    assert wallet_grant(world).gas < 400_000


def test_a_wallet_that_never_ends_takes_one_entry_of_a_batch_only(world: World) -> None:
    wallet(world, WALLET_ENDLESS)
    bad = "grantBySig", [world.grant_of("wallet"), world.where("wallet"), b""]
    sent = world.batch(
        world.consents, [bad, world.signed_grant("ada"), bad, world.signed_grant("ben")]
    )
    assert [event for event, _ in sent.events].count("EntryRefused") == 2
    assert [world.view(who)["state"] for who in ("ada", "ben", "wallet")] == [LIVE, LIVE, 0]
    assert sent.gas < 1_500_000


def test_an_address_without_code_signs_by_its_key_only(world: World) -> None:
    said = world.grant_of("ada")
    with refusing("BadSignature", address("ada")):
        world.consent("relayer", "grantBySig", said, address("ada"), b"whatever it takes")


def test_an_account_that_carries_code_still_signs_with_its_key(world: World) -> None:
    """EIP-7702: Ada's account delegates to a contract that says no to every signature."""
    delegate = world.chain.deploy_code(WALLET_NO)
    delegate_account(world, "ada", delegate)
    assert code_of(world, "ada").startswith(bytes.fromhex("ef0100"))
    assert world.grant_by_sig("ada").facts("Granted")["patient"] == address("ada")


def code_of(world: World, who: str) -> bytes:
    return bytes(world.chain.w3.eth.get_code(account(who).address))


def delegate_account(world: World, who: str, delegate: str) -> None:
    w3, signer = world.chain.w3, account(who)
    nonce = w3.eth.get_transaction_count(signer.address)
    asked = {"chainId": world.chain.id, "address": delegate, "nonce": nonce + 1}
    transaction: dict[str, Any] = {
        "chainId": world.chain.id,
        "nonce": nonce,
        "to": signer.address,
        "value": 0,
        "data": b"",
        "gas": 200_000,
        "maxFeePerGas": 10**12,
        "maxPriorityFeePerGas": 10**9,
        "authorizationList": [signer.sign_authorization(asked)],
    }
    raw = signer.sign_transaction(transaction).raw_transaction
    assert w3.eth.get_transaction_receipt(w3.eth.send_raw_transaction(raw))["status"] == 1


# ---- Batches ----


def test_one_bad_entry_does_not_sink_the_rest(world: World) -> None:
    forged = world.grant_of("cleo")
    signature = world.sign("stranger", world.consents, "Grant", forged)
    sent = world.batch(
        world.consents,
        [
            world.signed_grant("ada"),
            ("grantBySig", [forged, address("cleo"), signature]),
            world.signed_grant("ben"),
            world.signed_grant("ada"),
        ],
    )
    refused = [facts for name, facts in sent.events if name == "EntryRefused"]
    assert [each["entry"] for each in refused] == [1, 3]
    assert [world.view(who)["state"] for who in ("ada", "ben", "cleo")] == [LIVE, LIVE, 0]


def test_a_batch_lends_nobody_more_power_than_its_sender_has(crowd: World) -> None:
    calls: list[tuple[str, list[Any]]] = [
        ("revoke", [address("ada"), crowd.dataset]),
        ("pause", []),
        ("collect", [crowd.dataset, address("ada")]),
        ("batch", [[crowd.consents.encode_abi("unpause", args=[])]]),
    ]
    sent = crowd.batch(crowd.consents, calls)
    refused = [facts["entry"] for name, facts in sent.events if name == "EntryRefused"]
    assert refused == [0, 1, 2, 0]
    assert crowd.view("ada")["state"] == LIVE
    assert crowd.read(crowd.consents, "paused") is False


def test_a_patient_may_batch_calls_of_their_own(crowd: World) -> None:
    contract: Contract = crowd.consents
    arguments = [address("ada"), crowd.dataset]
    calls = [contract.encode_abi(name, args=arguments) for name in ("rest", "wake", "rest")]
    crowd.consent("ada", "batch", calls)
    assert crowd.view("ada")["state"] == RESTED_BY_PATIENT
