"""What people sign: who it is about, who signed, and that it becomes the call that the contract reads."""

from collections.abc import Callable
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from marketplace.chain.adapter import Chain, Manifest, MarketPolicy
from marketplace.chain.artifacts import CONTRACTS, load
from marketplace.chain.manifest import Deployed
from marketplace.client import Marketplace, ThroughCustodian, account_of
from marketplace.client.messages import (
    HIGHEST_PLAUSIBLE,
    HIGHEST_SEQUENCE,
    HIGHEST_TOLD,
    REVOCATION_REACH,
    REVOCATION_SPREAD,
    Messages,
)
from marketplace.errors import Refusal
from marketplace.vocabulary import address
from marketplace.wire.messages import KINDS, parse_message
from marketplace.wire.structs import require_signed
from marketplace.wire.terms import MOST_DISEASES, Purpose

KEY, GUARDIAN, NEW = (bytes([n]) * 32 for n in (1, 2, 3))
DATASET = bytes(range(30)) + bytes(2)
CLASS = {"class": "0x" + (DATASET[:30] + b"\x00\x01").hex(), "definition": "0x" + "22" * 32}
PATIENT = account_of(KEY)
PLACE = address("0x" + "11" * 20)
MANIFEST = Manifest(
    1, bytes(32), 0, dict.fromkeys(CONTRACTS, Deployed(PLACE, bytes(32))), MarketPolicy()
)
NOBODY = "http://127.0.0.1:1"
REACH = range(REVOCATION_REACH, REVOCATION_REACH + REVOCATION_SPREAD)


@pytest.fixture
def market() -> Messages:
    return Marketplace(NOBODY, NOBODY, MANIFEST)


def everything(market: Messages) -> dict[str, dict[str, Any]]:
    return {
        "grant": market.grant_message(KEY, CLASS, 10, 2**33, 1),
        "revocation": market.revocation_message(KEY, DATASET, 4),
        "rest": market.rest_message(KEY, DATASET, 4),
        "wake": market.wake_message(KEY, DATASET, 4),
        "guardianship": market.guardianship_message(
            KEY, DATASET, account_of(GUARDIAN), 2**33, True
        ),
        "erasure": market.erasure_message(KEY, DATASET, 1),
        "rotation": market.rotation_message(KEY, NEW, DATASET),
        "earnings_withdrawal": market.withdrawal_message(KEY, DATASET, PLACE),
        "credit_withdrawal": market.credit_message(KEY, PLACE),
    }


def test_every_kind_can_be_signed_and_becomes_a_call_of_its_contract(market: Messages) -> None:
    made = everything(market)
    assert set(made) == set(KINDS)
    for kind, message in made.items():
        parsed = parse_message(message, "message")
        function, arguments = parsed.call()
        load(parsed.contract).functions[function].encode_call(arguments)
        domain = MANIFEST.domain(parsed.contract)
        require_signed(parsed.struct, domain, bytes.fromhex(message["signature"][2:]), PATIENT)
        assert ("signer" in message) == KINDS[kind].names_signer


def test_a_rotation_is_signed_by_both_addresses(market: Messages) -> None:
    message = everything(market)["rotation"]
    struct = parse_message(message, "message").struct
    domain = MANIFEST.domain("ConsentRegistry")
    require_signed(struct, domain, bytes.fromhex(message["signature_to"][2:]), account_of(NEW))


def test_a_guardian_signs_about_the_patient_under_its_own_name(market: Messages) -> None:
    for message in (
        market.grant_message(GUARDIAN, CLASS, 10, 2**33, 1, PATIENT),
        market.revocation_message(GUARDIAN, DATASET, 4, PATIENT),
        market.rest_message(GUARDIAN, DATASET, 4, PATIENT),
        market.wake_message(GUARDIAN, DATASET, 4, PATIENT),
    ):
        parsed = parse_message(message, "message")
        assert message["message"]["patient"] == PATIENT
        assert message["signer"] == account_of(GUARDIAN)
        if message["kind"] == "revocation":
            assert message["message"]["sequence"] == 5, "farther, anybody could walk on with it"
        domain, signature = MANIFEST.domain(parsed.contract), message["signature"]
        require_signed(parsed.struct, domain, bytes.fromhex(signature[2:]), account_of(GUARDIAN))


def test_a_dismissal_names_nobody(market: Messages) -> None:
    said = market.dismissal_message(KEY, DATASET)["message"]
    assert (int(said["guardian"], 16), said["expiry"], said["mayGrant"]) == (0, 0, False)


def test_a_revocation_reaches_grants_under_way_and_stays_in_range(market: Messages) -> None:
    for current in (7, HIGHEST_TOLD + 1):
        last = market.revocation_message(KEY, DATASET, current, own_node=True)
        assert last["message"]["sequence"] - current in REACH
    for current in (HIGHEST_SEQUENCE - 1, HIGHEST_SEQUENCE):
        last = market.revocation_message(KEY, DATASET, current, own_node=True)
        assert last["message"]["sequence"] == HIGHEST_SEQUENCE


def test_nobody_knows_before_how_far_a_revocation_reaches(market: Messages) -> None:
    """Else an operator could have a grant signed for just the sequence after it (fails by chance: 1e-9)."""
    reached = [market.revocation_message(KEY, DATASET, 7)["message"]["sequence"] for _ in range(3)]
    assert len(set(reached)) > 1
    assert max(reached) > 7 + 1_000


@given(st.one_of(st.integers(max_value=-1), st.integers(min_value=HIGHEST_PLAUSIBLE + 1)))
def test_a_sequence_that_no_consent_reaches_is_signed_only_where_an_own_node_said_it(
    sequence: int,
) -> None:
    market = Marketplace(NOBODY, NOBODY, MANIFEST)
    messages: list[Callable[[], Any]] = [
        lambda: market.grant_message(KEY, CLASS, 10, 2**33, sequence + 1),
        lambda: market.rest_message(KEY, DATASET, sequence),
        lambda: market.wake_message(KEY, DATASET, sequence),
    ]
    for message in messages:
        require_implausible(message)


def require_implausible(message: Callable[[], Any]) -> None:
    with pytest.raises(Refusal) as refused:
        message()
    assert (refused.value.code, refused.value.field) == ("implausible_sequence", "sequence")
    assert "--node" in refused.value.remedy


@pytest.mark.parametrize("sequence", [-1, HIGHEST_SEQUENCE + 1])
def test_what_is_no_sequence_is_not_revoked(market: Messages, sequence: int) -> None:
    require_implausible(lambda: market.revocation_message(KEY, DATASET, sequence))


@given(st.integers(0, HIGHEST_TOLD - REVOCATION_REACH - REVOCATION_SPREAD))
def test_any_sequence_that_a_consent_can_reach_is_signed(sequence: int) -> None:
    market = Marketplace(NOBODY, NOBODY, MANIFEST)
    signed = market.revocation_message(KEY, DATASET, sequence)["message"]["sequence"]
    assert signed - sequence in REACH
    granted = market.grant_message(KEY, CLASS, 10, 2**33, sequence + 1)["message"]["sequence"]
    assert granted == sequence + 1


@given(st.integers(0, HIGHEST_SEQUENCE))
def test_no_told_sequence_keeps_a_patient_from_revoking_or_is_outrun(sequence: int) -> None:
    market = Marketplace(NOBODY, NOBODY, MANIFEST)
    named = market.revocation_message(KEY, DATASET, sequence)["message"]["sequence"]
    assert sequence <= named <= HIGHEST_SEQUENCE
    assert named <= max(HIGHEST_TOLD, sequence + 1), "a lie brings about no more than it says"


@pytest.mark.parametrize("told", [HIGHEST_TOLD, HIGHEST_TOLD - 1, HIGHEST_TOLD // 2])
def test_after_one_lie_about_the_sequence_everything_can_still_be_signed(
    market: Messages, told: int
) -> None:
    """The contract goes to the sequence after the one that was named."""
    now = market.revocation_message(KEY, DATASET, told)["message"]["sequence"] + 1
    assert market.revocation_message(KEY, DATASET, now)["message"]["sequence"] >= now
    for signed in (
        market.grant_message(KEY, CLASS, 10, 2**33, now + 1),
        market.rest_message(KEY, DATASET, now),
        market.wake_message(KEY, DATASET, now),
    ):
        assert signed["message"]["sequence"] in (now, now + 1)


def test_a_message_that_may_be_repeated_has_a_fresh_nonce(market: Messages) -> None:
    nonces = {market.rest_message(KEY, DATASET, 1)["message"]["nonce"] for _ in range(4)}
    assert len(nonces) == 4


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"revocation", "erasure"}))
def test_a_custodian_is_given_only_what_ends_consent(market: Messages, kind: str) -> None:
    way = ThroughCustodian(Chain(NOBODY, MANIFEST), NOBODY)
    with pytest.raises(Refusal) as refused:
        way.carry(everything(market)[kind])
    assert refused.value.code == "not_carried"
    assert "--node" in refused.value.remedy


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_bytes_that_are_no_key_are_refused_unshown(secret: bytes) -> None:
    with pytest.raises(Refusal, match="no signing key") as refused:
        account_of(secret)
    assert secret.hex() not in str(refused.value)


def test_an_account_object_is_a_key_too() -> None:
    assert account_of(Account.from_key(KEY)) == PATIENT


def test_a_purpose_names_a_bounded_number_of_diseases() -> None:
    def purpose(diseases: int) -> Purpose:
        return Purpose(0, tuple(range(diseases)), False, False, 0, bytes(32), bytes(32), 0)

    purpose(MOST_DISEASES).require_short()
    with pytest.raises(Refusal, match="more than 32 diseases") as refused:
        purpose(MOST_DISEASES + 1).require_short("terms.purpose")
    assert refused.value.field == "terms.purpose.diseases"
