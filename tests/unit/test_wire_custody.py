"""Signed words between custodians and operators: their types, and that every field counts."""

from dataclasses import fields, replace
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.errors import Refusal
from marketplace.wire.custody import Handover, Holding
from marketplace.wire.eip712 import Domain, SignedStruct, recover, sign
from marketplace.wire.structs import JournalHead, StorageReceipt

KEY = bytes.fromhex("11" * 32)
SIGNER = Account.from_key(KEY).address
TYPES = {
    Handover: "Handover(uint32 epoch,uint8 place,address successor,uint64 shares)",
    Holding: "Holding(bytes32 dataset,address patient,bytes32 commitment)",
}

addresses = st.binary(min_size=20, max_size=20).map(to_checksum_address)
hashes = st.binary(min_size=32, max_size=32)
words = st.one_of(
    st.builds(
        Handover,
        epoch=st.integers(0, 2**32 - 1),
        place=st.integers(0, 2**8 - 1),
        successor=addresses,
        shares=st.integers(0, 2**64 - 1),
    ),
    st.builds(Holding, dataset=hashes, patient=addresses, commitment=hashes),
)


def domain_of(word: SignedStruct) -> Domain:
    return Domain(str(word.DOMAIN), "1", 31337, "0x" + "c0" * 20)


@pytest.mark.parametrize("word", TYPES, ids=lambda each: each.__name__)
def test_a_word_is_of_the_type_that_was_signed_before(word: type[SignedStruct]) -> None:
    assert word.type_string() == TYPES[word]


def test_no_word_is_one_that_a_contract_reads() -> None:
    assert not {*TYPES.values()} & {JournalHead.type_string(), StorageReceipt.type_string()}


@settings(max_examples=25, deadline=None)
@given(words)
def test_a_signature_is_that_of_eth_account_and_survives_json(word: Any) -> None:
    domain = domain_of(word)
    signable = encode_typed_data(full_message=word.typed_data(domain))
    signature = sign(word, domain, KEY)
    assert signature == bytes(Account.sign_message(signable, KEY).signature)
    assert recover(type(word).from_json(word.to_json()), domain, signature) == SIGNER


@settings(max_examples=25, deadline=None)
@given(words, words)
def test_another_value_of_any_field_is_another_word(one: Any, other: Any) -> None:
    if type(one) is not type(other):
        return
    signature = sign(one, domain_of(one), KEY)
    for each in fields(one):
        if getattr(one, each.name) != getattr(other, each.name):
            changed = replace(one, **{each.name: getattr(other, each.name)})
            assert recover(changed, domain_of(one), signature) != SIGNER


@settings(max_examples=10, deadline=None)
@given(words)
def test_a_word_is_signed_for_its_own_contracts_domain_only(word: Any) -> None:
    with pytest.raises(Refusal) as caught:
        sign(word, Domain("Usufruct ConsentRegistry", "1", 31337, "0x" + "c0" * 20), KEY)
    assert caught.value.code == "wrong_domain"
