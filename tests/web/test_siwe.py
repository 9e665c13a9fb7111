"""The text of a sign-in is EIP-4361's to the letter, and only its own signature signs it."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from marketplace.errors import BadParameter
from marketplace.vocabulary import Address
from marketplace.wire.eip712 import BadSignature
from marketplace.wire.siwe import LONGEST_LIFE, SignIn, recover_text, text_digest

VECTORS = Path(__file__).parents[1] / "vectors"
VECTOR = json.loads((VECTORS / "siwe.json").read_text())
GOOD = VECTOR["good"]
SPOILED = {each["what"]: each["text"] for each in VECTOR["spoiled"]}
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ACCOUNT = GOOD[0]["account"]
BY_HAND = """\
127.0.0.1:8000 wants you to sign in with your Ethereum account:
0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A

Sign in to Usufruct. This moves no money and gives no consent.

URI: http://127.0.0.1:8000
Version: 1
Chain ID: 31337
Nonce: abababababababababababababababababababababababababababababababab
Issued At: 2026-09-21T14:13:20Z
Expiration Time: 2026-09-21T14:23:20Z"""


def sign_in(**changes: Any) -> SignIn:
    fields = {name: value for name, value in GOOD[0].items() if name in SignIn.__match_args__}
    return SignIn(**{**fields, **changes})


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def test_the_vectors_are_what_their_generator_makes() -> None:
    spec = importlib.util.spec_from_file_location("siwe_vectors", VECTORS / "generate_siwe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    assert module.vectors() == VECTOR


def test_the_text_is_the_standards_line_by_line() -> None:
    assert sign_in().text() == GOOD[0]["text"] == BY_HAND


@pytest.mark.parametrize("good", GOOD, ids=lambda good: good["uri"])
def test_digest_and_signer_are_those_of_another_implementation(good: dict[str, Any]) -> None:
    assert text_digest(good["text"]) == raw(good["digest"])
    assert recover_text(good["text"], raw(good["signature"])) == good["account"]


@pytest.mark.parametrize("what", SPOILED)
def test_the_signature_of_a_spoiled_text_signs_nothing_else(what: str) -> None:
    spoiled = Account.unsafe_sign_hash(text_digest(SPOILED[what]), raw(VECTOR["key"])).signature
    assert recover_text(SPOILED[what], spoiled) == ACCOUNT
    assert recover_text(GOOD[0]["text"], spoiled) != ACCOUNT


def test_there_are_at_least_twelve_ways_to_spoil_it_and_all_differ() -> None:
    assert len(set(SPOILED.values()) - {GOOD[0]["text"]}) == len(VECTOR["spoiled"]) >= 12


def _with_v(signature: bytes, v: int) -> bytes:
    return signature[:64] + bytes([v])


def _malleated(signature: bytes) -> bytes:
    s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


@pytest.mark.parametrize(
    "spoil",
    [
        _malleated,
        lambda good: good[:64],
        lambda good: good + b"\0",
        lambda good: _with_v(good, good[64] - 27),
        lambda good: _with_v(good, 29),
        lambda good: bytes(64) + good[64:],
        lambda good: b"",
    ],
    ids=["malleated", "no v", "longer", "v of 0 or 1", "v of 29", "zeros", "empty"],
)
def test_a_signature_is_taken_as_strictly_as_by_the_contracts(spoil: Any) -> None:
    with pytest.raises(BadSignature):
        recover_text(BY_HAND, spoil(raw(GOOD[0]["signature"])))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account", ACCOUNT.lower()),
        ("uri", "https://market.example/"),
        ("uri", "https://me@market.example"),
        ("uri", "https://market.example\nURI: https://evil.example"),
        ("uri", "ftp://market.example"),
        ("uri", "market.example"),
        ("nonce", "short12"),
        ("nonce", "with space1"),
        ("nonce", "a" * 65),
        ("nonce", "ABCDEFGH\nVersion: 2"),
        ("chain_id", 0),
        ("expires_at", GOOD[0]["issued_at"]),
        ("expires_at", GOOD[0]["issued_at"] + LONGEST_LIFE + 1),
        ("issued_at", -1),
    ],
)
def test_what_could_not_stand_in_its_line_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(BadParameter) as refused:
        sign_in(**{field: value})
    assert refused.value.field == {"issued_at": "expires_at"}.get(field, field)


def test_an_account_that_is_none_is_refused() -> None:
    with pytest.raises(BadParameter):
        sign_in(account="0x" + "1" * 39)


@given(
    chain_id=st.integers(1, 2**53),
    nonce=st.from_regex(r"[A-Za-z0-9]{8,64}", fullmatch=True),
    issued=st.integers(0, 4_000_000_000),
    life=st.integers(1, LONGEST_LIFE),
)
def test_two_sign_ins_that_differ_anywhere_have_different_texts(
    chain_id: int, nonce: str, issued: int, life: int
) -> None:
    made = sign_in(chain_id=chain_id, nonce=nonce, issued_at=issued, expires_at=issued + life)
    lines = made.text().split("\n")
    assert len(lines) == 11
    other = Address(Account.from_key(b"\x33" * 32).address)
    for changed in (
        replace(made, account=other),
        replace(made, uri="https://127.0.0.1:8000"),
        replace(made, chain_id=chain_id + 1),
        replace(made, nonce=nonce[:-1] + ("b" if nonce[-1] == "a" else "a")),
        replace(made, issued_at=issued + 1, expires_at=issued + life + 1),
    ):
        assert changed.text() != made.text()
