"""Credentials: given by the authority, withdrawn at once, refused unless in good standing."""

from typing import Any

import pytest
from web3.contract import Contract

from tests.contracts.support import (
    DAY,
    NOBODY,
    ZERO,
    Chain,
    address,
    refusing,
    role,
    word,
)


@pytest.fixture
def researchers(chain: Chain) -> Contract:
    made = chain.deploy("ResearcherRegistry", address("admin"))
    chain.send(made.functions.grantRole(role("AUTHORITY"), address("authority")), "admin")
    chain.send(made.functions.grantRole(role("PAUSER"), address("admin")), "admin")
    return made


def credential(chain: Chain, **changes: Any) -> dict[str, Any]:
    made = {
        "kind": 1,
        "country": b"NL",
        "expiry": chain.now + DAY,
        "withdrawn": False,
        "user": word("user"),
        "institution": word("institution"),
        "evidence": word("evidence"),
    }
    return made | changes


def give(chain: Chain, researchers: Contract, **changes: Any) -> None:
    call = researchers.functions.give(address("patient"), credential(chain, **changes))
    chain.send(call, "authority")


def require(chain: Chain, researchers: Contract) -> Any:
    return chain.read(researchers.functions.requireCredential(address("patient")))


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_a_given_credential_is_in_good_standing(
    chain: Chain, researchers: Contract, kind: int
) -> None:
    offered = credential(chain, kind=kind)
    sent = chain.send(researchers.functions.give(address("patient"), offered), "authority")
    assert sent.facts("CredentialGiven")["researcher"] == address("patient")
    assert tuple(require(chain, researchers)) == tuple(offered.values())
    held = chain.read(researchers.functions.credentialOf(address("patient")))
    assert tuple(held) == tuple(offered.values())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", 0),
        ("kind", 4),
        ("country", b"\0\0"),
        ("country", b"nl"),
        ("country", b"N1"),
        ("country", b"N["),
        ("country", b"@L"),
        ("expiry", 0),
        ("withdrawn", True),
        ("user", ZERO),
        ("institution", ZERO),
        ("evidence", ZERO),
    ],
)
def test_an_unset_field_is_refused_by_name(
    chain: Chain, researchers: Contract, field: str, value: Any
) -> None:
    with refusing("CredentialInvalid", field):
        give(chain, researchers, **{field: value})


def test_a_credential_for_nobody_is_refused(chain: Chain, researchers: Contract) -> None:
    with refusing("CredentialInvalid", "researcher"):
        chain.send(researchers.functions.give(NOBODY, credential(chain)), "authority")


@pytest.mark.parametrize("who", ["admin", "stranger", "patient"])
def test_only_the_authority_gives_and_withdraws(
    chain: Chain, researchers: Contract, who: str
) -> None:
    patient = address("patient")
    facts = (address(who), role("AUTHORITY"))
    with refusing("AccessControlUnauthorizedAccount", *facts):
        chain.send(researchers.functions.give(patient, credential(chain)), who)
    with refusing("AccessControlUnauthorizedAccount", *facts):
        chain.send(researchers.functions.withdraw(patient), who)


def test_a_missing_credential_is_refused(chain: Chain, researchers: Contract) -> None:
    with refusing("CredentialMissing", address("patient")):
        require(chain, researchers)


def test_a_credential_ends_at_its_expiry(chain: Chain, researchers: Contract) -> None:
    expiry = chain.now + DAY
    give(chain, researchers, expiry=expiry)
    require(chain, researchers)
    chain.warp(DAY)
    with refusing("CredentialExpired", address("patient"), expiry):
        require(chain, researchers)


def test_a_withdrawal_holds_at_once_also_while_paused(chain: Chain, researchers: Contract) -> None:
    give(chain, researchers)
    chain.send(researchers.functions.pause(), "admin")
    withdraw = researchers.functions.withdraw(address("patient"))
    assert chain.read(withdraw, "authority") is True
    sent = chain.send(withdraw, "authority")
    assert sent.facts("CredentialWithdrawn")["researcher"] == address("patient")
    with refusing("CredentialIsWithdrawn", address("patient")):
        require(chain, researchers)


def test_a_second_withdrawal_changes_nothing_and_says_so(
    chain: Chain, researchers: Contract
) -> None:
    withdraw = researchers.functions.withdraw(address("patient"))
    assert chain.read(withdraw, "authority") is False
    give(chain, researchers)
    chain.send(withdraw, "authority")
    assert chain.read(withdraw, "authority") is False
    assert chain.send(withdraw, "authority").events == []


def test_the_authority_may_give_anew_after_a_withdrawal(
    chain: Chain, researchers: Contract
) -> None:
    give(chain, researchers)
    chain.send(researchers.functions.withdraw(address("patient")), "authority")
    give(chain, researchers, kind=2)
    assert require(chain, researchers)[0] == 2


def test_a_pause_stops_new_credentials_until_it_ends(chain: Chain, researchers: Contract) -> None:
    chain.send(researchers.functions.pause(), "admin")
    with refusing("EnforcedPause"):
        give(chain, researchers)
    chain.send(researchers.functions.unpause(), "admin")
    give(chain, researchers)


@pytest.mark.parametrize("action", ["pause", "unpause"])
def test_only_the_pauser_pauses(chain: Chain, researchers: Contract, action: str) -> None:
    with refusing("AccessControlUnauthorizedAccount", address("stranger"), role("PAUSER")):
        chain.send(researchers.functions[action](), "stranger")
