"""Every signed message: its type string, its digest, its signature, its JSON."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.errors import Refusal
from marketplace.wire import structs
from marketplace.wire.eip712 import HALF_ORDER, Domain, SignedStruct, recover, sign
from marketplace.wire.solidity import Kind, SolidityStruct, solidity_name
from marketplace.wire.structs import (
    MESSAGES,
    ApiRequest,
    BadSignature,
    ClassTerms,
    Credential,
    Purpose,
    RequestTerms,
    Revocation,
    class_id,
    dataset_id,
    dataset_of,
    index_of,
    require_signed,
)

ROOT = Path(__file__).resolve().parents[2]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "structs.json").read_text())
ORDER = 2 * HALF_ORDER + 1
KEY = bytes.fromhex("11" * 32)
PLAIN = (ClassTerms, Credential, Purpose, RequestTerms)

messages = pytest.mark.parametrize("message", MESSAGES, ids=lambda each: each.__name__)
structures = pytest.mark.parametrize("struct", MESSAGES + PLAIN, ids=lambda each: each.__name__)


def values(kind: Kind) -> st.SearchStrategy[Any]:
    if kind.item is not None:
        return st.lists(values(kind.item), max_size=3).map(tuple)
    if kind.struct is not None:
        return instances(kind.struct)
    if kind.name.startswith("uint"):
        return st.integers(0, 2 ** int(kind.name[4:]) - 1)
    if kind.name == "address":
        return st.binary(min_size=20, max_size=20).map(to_checksum_address)
    if kind.name == "bool":
        return st.booleans()
    if kind.name == "string":
        return st.text(max_size=30)
    if kind.name == "bytes":
        return st.binary(max_size=100)
    size = int(kind.name[5:])
    return st.binary(min_size=size, max_size=size)


def instances(struct: type[SolidityStruct]) -> st.SearchStrategy[Any]:
    return st.builds(struct, **{name: values(kind) for name, kind in struct.kinds().items()})


def domain_of(message: type[SignedStruct]) -> Domain:
    return Domain(message.DOMAIN or "Some Token", "1", 31337, "0x" + "c0" * 20)


# --- against independent implementations


@messages
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_digest_and_signature_are_those_of_eth_account(
    message: type[SignedStruct], data: st.DataObject
) -> None:
    struct, domain = data.draw(instances(message)), domain_of(message)
    signable = encode_typed_data(full_message=struct.typed_data(domain))
    assert struct.digest(domain) == keccak(
        b"\x19" + signable.version + signable.header + signable.body
    )
    assert sign(struct, domain, KEY) == bytes(Account.sign_message(signable, KEY).signature)


@messages
def test_a_type_string_stands_in_the_contracts(message: type[SignedStruct]) -> None:
    """Permit is OpenZeppelin's, ApiRequest is for no contract."""
    folder = "node_modules/@openzeppelin/contracts" if message.__name__ == "Permit" else "src"
    if message is ApiRequest:
        expected = (
            "ApiRequest(string method,string path,bytes32 bodyHash,bytes32 nonce,uint40 deadline)"
        )
        assert message.type_string() == expected
        return
    sources = "".join(
        path.read_text()
        for path in (ROOT / "contracts" / folder).rglob("*.sol")
        if folder == "src" or path.name == "ERC20Permit.sol"
    )
    assert f'"{message.type_string()}"' in sources


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda each: each["type"])
def test_messages_match_their_vectors(vector: dict[str, Any]) -> None:
    message = {each.__name__: each for each in MESSAGES}[vector["type"]]
    struct, domain = message.from_json(vector["message"]), Domain.from_json(vector["domain"])
    assert struct.type_string() == vector["type_string"]
    assert "0x" + struct.digest(domain).hex() == vector["digest"]
    assert "0x" + sign(struct, domain, KEY).hex() == vector["signature"]
    assert recover(struct, domain, bytes.fromhex(vector["signature"][2:])) == VECTORS["signer"]


def test_vectors_cover_every_message() -> None:
    assert [each["type"] for each in VECTORS["messages"]] == [each.__name__ for each in MESSAGES]


def test_ids_and_definitions_match_their_vectors() -> None:
    ids = VECTORS["ids"]
    terms = RequestTerms.from_json(ids["request_terms"])
    offered = ClassTerms.from_json(ids["class_terms"])
    dataset = dataset_id(
        31337, ids["registry"], VECTORS["signer"], keccak(text="dictionary"), bytes(32)
    )
    first = class_id(dataset, 1)
    assert "0x" + dataset.hex() == ids["dataset"]
    assert "0x" + first.hex() == ids["class"]
    assert "0x" + offered.definition_hash(first).hex() == ids["definition"]
    request = terms.request_id(31337, ids["market"], VECTORS["signer"])
    assert "0x" + request.hex() == ids["request"]


# --- every field counts


@messages
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_changing_any_one_field_changes_the_digest(
    message: type[SignedStruct], data: st.DataObject
) -> None:
    struct, domain = data.draw(instances(message)), domain_of(message)
    for name, kind in message.kinds().items():
        value = getattr(struct, name)
        other = data.draw(values(kind).filter(lambda each, value=value: each != value))
        assert replace(struct, **{name: other}).digest(domain) != struct.digest(domain)


@settings(max_examples=30, deadline=None)
@given(terms=instances(RequestTerms), data=st.data())
def test_changing_any_one_term_changes_the_request_id(
    terms: RequestTerms, data: st.DataObject
) -> None:
    here = (31337, "0x" + "c0" * 20, "0x" + "d0" * 20)
    for name, kind in RequestTerms.kinds().items():
        value = getattr(terms, name)
        other = data.draw(values(kind).filter(lambda each, value=value: each != value))
        assert replace(terms, **{name: other}).request_id(*here) != terms.request_id(*here)
    assert terms.request_id(1, *here[1:]) != terms.request_id(*here)
    assert terms.request_id(here[0], here[2], here[1]) != terms.request_id(*here)


@given(
    struct=instances(Revocation),
    chain=st.integers(1, 2**64),
    at=st.binary(min_size=20, max_size=20),
)
def test_a_digest_is_bound_to_chain_and_contract(struct: Revocation, chain: int, at: bytes) -> None:
    here = domain_of(Revocation)
    there = replace(here, chain_id=chain, verifying_contract=to_checksum_address(at))
    assert (struct.digest(here) == struct.digest(there)) == (here == there)


@messages
def test_a_message_is_never_signed_for_another_contract(message: type[SignedStruct]) -> None:
    if message.DOMAIN is None:
        return
    struct = message.from_json(
        next(v for v in VECTORS["messages"] if v["type"] == message.__name__)["message"]
    )
    with pytest.raises(Refusal) as refused:
        sign(struct, replace(domain_of(message), name="Usufruct Other"), KEY)
    assert refused.value.code == "wrong_domain"
    with pytest.raises(Refusal):
        struct.digest(replace(domain_of(message), version="2"))


# --- signatures


REVOCATION = Revocation("0x" + "22" * 20, bytes(32), 3)
DOMAIN = domain_of(Revocation)


def test_the_malleated_twin_of_a_signature_is_refused() -> None:
    good = sign(REVOCATION, DOMAIN, KEY)
    s = (ORDER - int.from_bytes(good[32:64], "big")).to_bytes(32, "big")
    twin = good[:32] + s + bytes([55 - good[64]])
    with pytest.raises(BadSignature, match="malleated"):
        recover(REVOCATION, DOMAIN, twin)


@given(junk=st.binary(max_size=70))
def test_junk_is_no_signature_of_the_signer(junk: bytes) -> None:
    with pytest.raises(BadSignature):
        require_signed(REVOCATION, DOMAIN, junk, VECTORS["signer"])


def test_another_persons_signature_is_refused_and_ones_own_accepted() -> None:
    signature = sign(REVOCATION, DOMAIN, Account.from_key(KEY))
    require_signed(REVOCATION, DOMAIN, signature, VECTORS["signer"])
    with pytest.raises(BadSignature):
        require_signed(REVOCATION, DOMAIN, signature, "0x" + "33" * 20)
    with pytest.raises(BadSignature):
        require_signed(replace(REVOCATION, sequence=4), DOMAIN, signature, VECTORS["signer"])


def test_an_api_request_binds_method_path_query_and_body() -> None:
    request = ApiRequest.of("post", "/api/v1/requests?x=1", b"body", bytes(32), 5)
    assert request.method == "POST"
    assert request.body_hash == keccak(b"body")


# --- JSON


@structures
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_json_round_trips_through_text(struct: type[SolidityStruct], data: st.DataObject) -> None:
    value = data.draw(instances(struct))
    assert struct.from_json(json.loads(json.dumps(value.to_json()))) == value
    assert struct.from_abi(value.abi_tuple()) == value


@structures
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_json_with_a_field_more_or_less_is_refused_by_name(
    struct: type[SolidityStruct], data: st.DataObject
) -> None:
    content = data.draw(instances(struct)).to_json()
    for name in struct.kinds():
        less = {key: each for key, each in content.items() if key != solidity_name(name)}
        with pytest.raises(Refusal) as refused:
            struct.from_json(less)
        assert refused.value.field == solidity_name(name)
    with pytest.raises(Refusal, match="surplus is unknown"):
        struct.from_json({**content, "surplus": 1})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("patient", "0x" + "22" * 19),
        ("patient", "0xE5b9Bc45C8125d133fe66Fe9459486E3D5792d3A"),
        ("patient", 5),
        ("dataset", "0x" + "AA" * 32),
        ("dataset", "0x" + "aa" * 31),
        ("dataset", "aa" * 32),
        ("sequence", -1),
        ("sequence", 2**32),
        ("sequence", True),
        ("sequence", 1.0),
        ("sequence", "1"),
        ("sequence", None),
    ],
)
def test_a_field_of_the_wrong_form_is_refused_and_not_repeated(field: str, value: Any) -> None:
    with pytest.raises(Refusal) as refused:
        Revocation.from_json({**REVOCATION.to_json(), field: value})
    assert refused.value.field == field
    assert str(value) not in str(refused.value) or len(str(value)) < 5


@pytest.mark.parametrize("written", ["01", "-1", "1e3", " 1", "", 7, "9" * 79, str(2**56)])
def test_a_wide_number_is_a_plain_decimal_string_in_range(written: Any) -> None:
    vector = next(each for each in VECTORS["messages"] if each["type"] == "Grant")
    with pytest.raises(Refusal) as refused:
        structs.Grant.from_json({**vector["message"], "cap": written})
    assert refused.value.field == "cap"


@pytest.mark.parametrize("content", [None, [], "x", 5])
def test_json_that_is_no_object_is_refused(content: Any) -> None:
    with pytest.raises(Refusal, match="object"):
        Revocation.from_json(content)


# --- ids


@given(st.binary(min_size=30, max_size=30), st.integers(1, 0xFFFF))
def test_a_class_id_names_its_dataset_and_index(prefix: bytes, index: int) -> None:
    dataset = prefix + bytes(2)
    assert dataset_of(class_id(dataset, index)) == dataset
    assert index_of(class_id(dataset, index)) == index


@pytest.mark.parametrize(
    ("dataset", "index"), [(b"\x01" * 32, 1), (bytes(31), 1), (bytes(32), 0), (bytes(32), 65536)]
)
def test_what_is_no_dataset_or_index_makes_no_class_id(dataset: bytes, index: int) -> None:
    with pytest.raises(Refusal):
        class_id(dataset, index)


def test_solidity_names_are_camel_case_without_the_python_underscore() -> None:
    assert [solidity_name(each) for each in ("class_", "from_", "settle_deadline")] == [
        "class",
        "from",
        "settleDeadline",
    ]
    assert all(
        re.fullmatch(r"[a-z][A-Za-z0-9]*", solidity_name(n)) for m in MESSAGES for n in m.kinds()
    )
