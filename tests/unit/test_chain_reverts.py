"""Every error of every contract becomes a refusal that says what and what to do."""

import json
import re
import string
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_tester import EthereumTester
from eth_tester.exceptions import TransactionFailed
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from web3 import EthereumTesterProvider, Web3
from web3.exceptions import ContractCustomError, ContractLogicError, Web3Exception, Web3RPCError

from marketplace.chain import artifacts
from marketplace.chain.artifacts import Entry
from marketplace.chain.error_fields import FIELDLESS, FIELDS
from marketplace.chain.reverts import (
    ROLES,
    ContractRefusal,
    reasons_of,
    refusal_from,
    refusal_of,
    revert_data,
    sentence_of,
    snake_case,
    table,
)
from marketplace.chain.sentences import SENTENCES
from marketplace.wire.amounts import Token

ERRORS = sorted(table().values(), key=lambda each: each.signature)
BUDGET = keccak(text="BudgetTooSmall(uint56,uint56)")[:4] + encode(["uint56", "uint56"], [3, 7])
SAMPLES: dict[str, Any] = {"address": "0x" + "ab" * 20, "string": "cost", "bytes32": b"\x11" * 32}


def sample(kind: str) -> Any:
    return SAMPLES.get(kind, 3)


@pytest.mark.parametrize("entry", ERRORS, ids=lambda each: each.signature)
def test_every_error_has_a_sentence_and_a_remedy_that_use_only_its_own_facts(entry: Entry) -> None:
    names = {each["name"] for each in entry.inputs}
    for text in sentence_of(entry):
        used = {name for _, name, _, _ in string.Formatter().parse(text) if name}
        assert used <= names
        assert text.endswith(".")
    refusal = refusal_of(entry.selector + encode(entry.types, [sample(t) for t in entry.types]))
    assert refusal.code == snake_case(entry.name)
    assert refusal.message
    assert refusal.remedy
    assert set(refusal.facts) == names
    assert "{" not in str(refusal)


@pytest.mark.parametrize("entry", ERRORS, ids=lambda each: each.signature)
def test_every_error_names_the_field_at_fault_or_is_listed_as_having_none(entry: Entry) -> None:
    refusal = refusal_of(entry.selector + encode(entry.types, [sample(t) for t in entry.types]))
    if "field" in refusal.facts:
        assert refusal.field == refusal.facts["field"]
        assert not {entry.name, entry.signature} & {*FIELDS, *FIELDLESS}
    elif entry.name in FIELDLESS:
        assert refusal.field is None
    else:
        assert refusal.field


def test_no_field_is_left_over_and_none_is_listed_twice() -> None:
    known = {entry.name for entry in ERRORS} | {entry.signature for entry in ERRORS}
    assert {*FIELDS, *FIELDLESS} <= known
    assert not FIELDLESS & set(FIELDS)
    shared = {name for name in FIELDS if sum(entry.name == name for entry in ERRORS) > 1}
    assert not shared, "name these by signature: two errors share the name"


def test_no_sentence_is_left_over() -> None:
    known = {entry.name for entry in ERRORS} | {entry.signature for entry in ERRORS}
    planned = {"ECDSAInvalidSignature", "ECDSAInvalidSignatureLength", "ECDSAInvalidSignatureS"}
    assert set(SENTENCES) - known <= planned


def test_no_two_errors_share_a_selector() -> None:
    signatures = {
        error.signature for name in artifacts.CONTRACTS for error in artifacts.load(name).errors
    }
    assert len(table()) == len(signatures)


@pytest.mark.parametrize(
    "fault",
    [
        ContractCustomError("0x" + BUDGET.hex(), data="0x" + BUDGET.hex()),
        ContractLogicError("execution reverted", data={"data": "0x" + BUDGET.hex()}),
        ContractLogicError("execution reverted", data="Reverted 0x" + BUDGET.hex()),
        Web3RPCError("x", {"error": {"code": 3, "message": "m", "data": "0x" + BUDGET.hex()}}),
        Web3RPCError(
            "x",
            {
                "error": {
                    "code": -32000,
                    "message": "VM Exception: revert",
                    "data": "0x" + BUDGET.hex(),
                }
            },
        ),
        TransactionFailed(BUDGET),
        TransactionFailed(f"execution reverted: {BUDGET!r}"),
    ],
)
def test_a_revert_is_understood_however_it_is_carried(fault: Exception) -> None:
    refusal = refusal_from(fault)
    assert refusal is not None
    assert refusal.code == "budget_too_small"
    assert refusal.facts == {"left": 3, "needed": 7}


@pytest.mark.parametrize(
    "fault",
    [
        ValueError("no"),
        Web3Exception("no"),
        Web3RPCError("x"),
        Web3RPCError("x", {"error": {"code": -32000, "message": "nonce too low"}}),
        Web3RPCError("x", {"error": "text"}),
    ],
)
def test_what_is_no_revert_is_left_alone(fault: Exception) -> None:
    assert revert_data(fault) is None
    assert refusal_from(fault) is None


def test_a_real_in_process_eth_tester_refusal_is_understood() -> None:
    web3 = Web3(EthereumTesterProvider(EthereumTester()))
    artifact = artifacts.load("ResearcherRegistry")
    sender = web3.eth.accounts[0]
    creation = {"from": sender, "data": artifact.creation_data([sender]), "gas": 3_000_000}
    receipt = web3.eth.wait_for_transaction_receipt(web3.eth.send_transaction(creation))
    data = artifact.functions["requireCredential"].encode_call([sender])
    with pytest.raises((TransactionFailed, Web3Exception)) as caught:
        web3.eth.call({"to": receipt["contractAddress"], "data": data})
    refusal = refusal_from(caught.value)
    assert refusal is not None
    assert refusal.code == "credential_missing"
    assert refusal.facts == {"researcher": sender}


@given(st.binary(max_size=100))
def test_any_bytes_at_all_become_a_refusal(data: bytes) -> None:
    assert isinstance(refusal_of(data), ContractRefusal)


KNOWN = [*sorted(table()), bytes.fromhex("08c379a0"), bytes.fromhex("4e487b71")]
"""Selectors of every error of the contracts, of Error(string) and of Panic(uint256)."""


def words(draw: st.DrawFn) -> bytes:
    """ABI-like bytes: small numbers are places and lengths, huge ones trip whoever trusts them."""
    number = st.one_of(st.integers(0, 300), st.integers(0, 2**256 - 1), st.sampled_from([2**255]))
    heads = draw(st.lists(number.map(lambda each: each.to_bytes(32, "big")), max_size=6))
    return b"".join(heads) + draw(st.binary(max_size=64))


@settings(max_examples=1_000)
@given(st.sampled_from(KNOWN), st.one_of(st.binary(max_size=200), st.composite(words)()))
def test_any_bytes_behind_a_known_selector_become_a_refusal_that_can_be_said(
    selector: bytes, data: bytes
) -> None:
    refusal = refusal_of(selector + data)
    assert isinstance(refusal, ContractRefusal)
    json.dumps(refusal.facts).encode()
    f"{refusal} {refusal.field}".encode()


@pytest.mark.parametrize(
    ("text", "shown"), [(b"\xff\xfe", "\ufffd\ufffd"), (b"a" * 500, "a" * 200)]
)
@pytest.mark.parametrize("signature", ["Error(string)", "CredentialInvalid(string)"])
def test_a_text_that_is_not_utf8_or_long_is_shown_as_far_as_it_goes(
    signature: str, text: bytes, shown: str
) -> None:
    refusal = refusal_of(keccak(text=signature)[:4] + encode(["bytes"], [text]))
    assert refusal.code != "unknown_contract_error"
    assert list(refusal.facts.values()) == [shown]


@pytest.mark.parametrize(
    "data",
    [
        keccak(text="WrongStage(bytes32,uint8,uint8)")[:4]
        + encode(["bytes32", "uint8", "uint8"], [bytes(32), 200, 3]),
        keccak(text="Error(string)")[:4] + encode(["uint256", "uint256"], [32, 2**255]),
        keccak(text="CredentialInvalid(string)")[:4] + encode(["uint256"], [2**255]),
    ],
    ids=["a stage that there is none of", "a text longer than memory", "a text nowhere"],
)
def test_what_no_contract_of_the_market_can_have_said_is_unknown(data: bytes) -> None:
    assert refusal_of(data).code == "unknown_contract_error"


def test_a_known_selector_with_a_cut_off_argument_is_unknown_not_a_crash() -> None:
    assert refusal_of(BUDGET[:20]).code == "unknown_contract_error"


def test_texts_and_panics_are_told_apart() -> None:
    text = bytes.fromhex("08c379a0") + encode(["string"], ["too late"])
    assert "too late" in refusal_of(text).message
    panic = bytes.fromhex("4e487b71") + encode(["uint256"], [0x11])
    assert refusal_of(panic).facts == {"panic": 0x11}
    assert refusal_of(b"").code == "reverted_without_reason"


def refused(signature: str, *values: Any) -> ContractRefusal:
    types = signature.partition("(")[2][:-1].split(",")
    return refusal_of(keccak(text=signature)[:4] + encode(types, list(values)))


@pytest.mark.parametrize(
    ("members", "said"), [(0, "0 patients"), (1, "1 patient"), (2, "2 patients")]
)
def test_patients_are_counted_in_the_right_number(members: int, said: str) -> None:
    refusal = refused("CohortTooSmall(uint256,uint256)", members, 20)
    assert refusal.message == f"Only {said} can be counted; the minimum is 20."
    assert refusal.facts == {"members": members, "minimum": 20}


def test_a_person_with_a_record_is_named_by_pseudonym_and_address_and_what_to_do() -> None:
    """The contract raises it for either one of the two: whichever it is, the sentence is true."""
    refusal = refused(
        "PersonHasRecord(bytes32,bytes32,address)", bytes(32), b"\x22" * 32, SAMPLES["address"]
    )
    assert f"the pseudonym 0x{'22' * 32} and the address 0x" in refusal.message
    assert {"--person", "--patient", "--version"} <= set(re.findall(r"--\w+", refusal.remedy))


def test_stages_roles_and_reasons_are_said_in_words() -> None:
    stage = keccak(text="WrongStage(bytes32,uint8,uint8)")[:4]
    stage += encode(["bytes32", "uint8", "uint8"], [bytes(32), 3, 4])
    assert refusal_of(stage).facts["actual"] == "settled"
    role = keccak(text="AccessControlUnauthorizedAccount(address,bytes32)")[:4]
    role += encode(["address", "bytes32"], [SAMPLES["address"], keccak(text="OPERATOR")])
    assert refusal_of(role).facts["neededRole"] == "OPERATOR"
    purpose = keccak(text="PurposeNotPermitted(bytes32,uint256)")[:4]
    purpose += encode(["bytes32", "uint256"], [bytes(32), 1 << 1 | 1 << 37])
    refusal = refusal_of(purpose)
    assert "methods development excluded (NMDS), biomedical research only (HMB)" in refusal.message
    assert reasons_of(1 << 50) == ("unknown reason 50",)


def test_every_role_of_the_contracts_has_its_name() -> None:
    sources = (artifacts.FOLDER.parent / "src").rglob("*.sol")
    pattern = re.compile(r'bytes32 public constant \w+ = keccak256\("(\w+)"\)')
    named = {name for path in sources for name in pattern.findall(path.read_text())}
    assert named
    assert named <= set(ROLES.values())


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("BudgetTooSmall", "budget_too_small"),
        ("ERC20InvalidSender", "erc20_invalid_sender"),
        ("ECDSAInvalidSignatureS", "ecdsa_invalid_signature_s"),
    ],
)
def test_codes_are_snake_case(name: str, code: str) -> None:
    assert snake_case(name) == code


# --- amounts


def test_amounts_in_refusals_are_written_as_the_token_is_and_stay_numbers_among_the_facts() -> None:
    data = keccak(text="BondTooSmall(uint256,uint256)")[:4] + encode(
        ["uint256"] * 2, [1_500_000, 2]
    )
    refusal = refusal_of(data, Token(6, "USDC").amount)
    assert refusal.message == "A bond of 1.50 USDC is needed; 0.000002 USDC is posted."
    assert refusal.facts == {"needed": 1_500_000, "posted": 2}
    assert "1,500,000 token units" in refusal_of(data).message
