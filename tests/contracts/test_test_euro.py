"""The test euro: six decimals, minted by role, spendable by permit."""

from collections.abc import Callable
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from web3.contract import Contract

from tests.contracts.support import DAY, NOBODY, Chain, account, address, refusing, role

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.fixture
def euro(chain: Chain) -> Contract:
    made = chain.deploy("TestEuro", address("admin"))
    chain.send(made.functions.grantRole(role("MINTER"), address("admin")), "admin")
    return made


@pytest.mark.parametrize(
    ("action", "arguments", "refusal"),
    [
        ("mint", (NOBODY, 1), "ERC20InvalidReceiver"),
        ("transfer", (NOBODY, 0), "ERC20InvalidReceiver"),
        ("approve", (NOBODY, 1), "ERC20InvalidSpender"),
        ("transferFrom", (NOBODY, address("stranger"), 0), "ERC20InvalidApprover"),
    ],
)
def test_nobody_is_not_paid_and_does_not_approve(
    chain: Chain, euro: Contract, action: str, arguments: tuple[Any, ...], refusal: str
) -> None:
    with refusing(refusal, NOBODY):
        chain.send(euro.functions[action](*arguments), "admin")


def test_nobody_spends_more_than_there_is(chain: Chain, euro: Contract) -> None:
    chain.send(euro.functions.mint(address("patient"), 10), "admin")
    with refusing("ERC20InsufficientBalance", address("patient"), 10, 11):
        chain.send(euro.functions.transfer(address("stranger"), 11), "patient")


def permit(chain: Chain, euro: Contract, amount: int, deadline: int) -> tuple[int, bytes, bytes]:
    domain = {
        "name": "Usufruct Test Euro",
        "version": "1",
        "chainId": chain.id,
        "verifyingContract": euro.address,
    }
    fields = ["owner address", "spender address", "value uint256", "nonce uint256"]
    types = [dict(zip(("name", "type"), field.split(), strict=True)) for field in fields]
    types.append({"name": "deadline", "type": "uint256"})
    message = {
        "owner": address("patient"),
        "spender": address("stranger"),
        "value": amount,
        "nonce": 0,
        "deadline": deadline,
    }
    signed = account("patient").sign_message(encode_typed_data(domain, {"Permit": types}, message))
    return signed.v, signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")


def test_a_permit_is_signed_in_the_domain_of_eip_712(chain: Chain, euro: Contract) -> None:
    """keccak256 of the domain's type, name, version, chain and address, each in 32 bytes (EIP-712)."""
    kind = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    texts = (kind, "Usufruct Test Euro", "1")
    parts = [keccak(text=text) for text in texts]
    parts += [chain.id.to_bytes(32, "big"), bytes(12) + bytes.fromhex(euro.address[2:])]
    assert chain.read(euro.functions.DOMAIN_SEPARATOR()) == keccak(b"".join(parts))


def test_it_has_six_decimals_a_name_and_a_symbol(chain: Chain, euro: Contract) -> None:
    assert chain.read(euro.functions.decimals()) == 6
    assert chain.read(euro.functions.name()) == "Usufruct Test Euro"
    assert chain.read(euro.functions.symbol()) == "tEUR"


def test_a_minter_makes_money(chain: Chain, euro: Contract) -> None:
    chain.send(euro.functions.mint(address("patient"), 5_000_000), "admin")
    assert chain.read(euro.functions.balanceOf(address("patient"))) == 5_000_000
    assert chain.read(euro.functions.totalSupply()) == 5_000_000


@pytest.mark.parametrize("who", ["stranger", "deployer"])
def test_nobody_else_makes_money(chain: Chain, euro: Contract, who: str) -> None:
    with refusing("AccessControlUnauthorizedAccount", address(who), role("MINTER")):
        chain.send(euro.functions.mint(address(who), 1), who)


def test_a_permit_lets_a_stranger_spend_what_was_signed_once(chain: Chain, euro: Contract) -> None:
    chain.send(euro.functions.mint(address("patient"), 100), "admin")
    deadline = chain.now + DAY
    signature = permit(chain, euro, 60, deadline)
    call = euro.functions.permit(address("patient"), address("stranger"), 60, deadline, *signature)
    nonce = euro.functions.nonces(address("patient"))
    assert chain.read(nonce) == 0
    chain.send(call, "stranger")
    assert chain.read(nonce) == 1
    allowance = euro.functions.allowance(address("patient"), address("stranger"))
    assert chain.read(allowance) == 60
    move = euro.functions.transferFrom
    chain.send(move(address("patient"), address("stranger"), 60), "stranger")
    assert chain.read(allowance) == 0
    assert chain.read(euro.functions.balanceOf(address("stranger"))) == 60
    with refusing("ERC2612InvalidSigner"):
        chain.send(call, "stranger")


def test_a_late_permit_is_refused(chain: Chain, euro: Contract) -> None:
    deadline = chain.now - 1
    signature = permit(chain, euro, 60, deadline)
    with refusing("ERC2612ExpiredSignature", deadline):
        chain.send(
            euro.functions.permit(
                address("patient"), address("stranger"), 60, deadline, *signature
            ),
            "stranger",
        )


@pytest.mark.parametrize(
    ("spoil", "refusal"),
    [
        (lambda v, r, s: (0, r, s), "ECDSAInvalidSignature"),
        (lambda v, r, s: (v, r, _twin(s)), "ECDSAInvalidSignatureS"),
    ],
)
def test_a_permit_has_one_signature_and_a_sound_one(
    chain: Chain, euro: Contract, spoil: Callable[..., Any], refusal: str
) -> None:
    deadline = chain.now + DAY
    spoilt = spoil(*permit(chain, euro, 60, deadline))
    call = euro.functions.permit(address("patient"), address("stranger"), 60, deadline, *spoilt)
    with refusing(refusal):
        chain.send(call, "stranger")


def _twin(s: bytes) -> bytes:
    """The other s that verifies (SEC 1): the order of secp256k1 less this one."""
    return (CURVE_ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
