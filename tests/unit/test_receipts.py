"""The receipt format, and what can be checked of a receipt without a node."""

import json
from dataclasses import replace
from pathlib import Path as File
from typing import Any

import pytest
from eth_account import Account
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.client.results import open_answer
from marketplace.errors import EnvelopeUnreadable
from marketplace.receipts.checks import ALONE, cost_of
from marketplace.receipts.format import (
    STEPS,
    CohortPart,
    CommitteePart,
    Contract,
    Deployment,
    Receipt,
    ReceiptInvalid,
    Shard,
    Step,
    load,
)
from marketplace.vocabulary import Address, Epoch
from marketplace.wire import hpke
from marketplace.wire.analysis import analysis_hash, parameters_hash
from marketplace.wire.canonical import canonical
from marketplace.wire.delivery import delivery_hash
from marketplace.wire.roots import SealedShard, cohort_root, pack_bitmaps
from marketplace.wire.structs import (
    SETTLEMENT_SCHEMA,
    VAULT,
    Purpose,
    RequestTerms,
    Settlement,
    market_domain,
    sign,
)
from marketplace.wire.terms import class_id
from tests.support.mutations import Path, at, leaves, nudged, with_value

VECTOR = File(__file__).resolve().parents[1] / "vectors" / "receipt.json"
PARAMETERS = '{"lower":"80","upper":"200","variable":"systolic"}'
DATASET = keccak(text="dataset")[:30] + bytes(2)
CUSTODIANS = [Account.from_key(keccak(text=f"custodian {i}")) for i in range(3)]
CONTRACTS = ("ConsentRegistry", "ResearchMarket", "TestEuro")
ONLY_A_CHAIN_KNOWS = (
    "genesis_hash",
    "deployed_block",
    "contracts",
    "gate_key",
    "blocks",
    "block_hashes",
    "transactions",
)
"""What no hash or signature inside the receipt covers: `verify` compares these with the chain."""


def sample() -> Receipt:
    """A receipt of no real chain, consistent in itself, from fixed keys and texts."""
    deployment = Deployment(
        chain_id=31_337,
        genesis_hash=keccak(text="genesis"),
        deployed_block=3,
        contracts={
            name: Contract(Address(Account.from_key(keccak(text=name)).address), keccak(text=name))
            for name in CONTRACTS
        },
    )
    terms = sample_terms()
    researcher = Address(Account.from_key(keccak(text="researcher")).address)
    request = terms.request_id(deployment.chain_id, deployment.market, researcher)
    steps = {
        name: Step(10 + i, keccak(text=f"block {name}"), keccak(text=f"transaction {name}"))
        for i, name in enumerate(STEPS)
    }
    cohort = sample_cohort(deployment, request, steps["sealed"])
    sealed_result = keccak(text="sealed") * 5
    settlement = Settlement(
        request=request,
        root=cohort.root,
        epoch=2,
        lane=VAULT,
        schema=SETTLEMENT_SCHEMA,
        ciphertext_root=keccak(text="ciphertexts"),
        noise=bytes(32),
        result_hash=keccak(text="result"),
        delivery_hash=delivery_hash(sealed_result),
        gate=Account.from_key(keccak(text="gate")).address,
    )
    domain = market_domain(deployment.chain_id, deployment.market)
    return Receipt(
        deployment=deployment,
        request=request,
        researcher=researcher,
        terms=terms,
        analysis="mean.v1",
        parameters=PARAMETERS,
        epoch=Epoch(2),
        committee=CommitteePart(tuple(Address(each.address) for each in CUSTODIANS), 2),
        gate=Address(settlement.gate),
        gate_key=keccak(text="gate key"),
        cohort=cohort,
        settlement=settlement,
        signatures=tuple((i, sign(settlement, domain, CUSTODIANS[i])) for i in (0, 2)),
        sealed_result=sealed_result,
        steps=steps,
        cost=terms.cost,
        price=terms.price,
        fee=terms.fee,
    )


def test_a_receipt_under_signatures_of_nobody_is_not_opened_without_a_node() -> None:
    """Before its key is looked at; who opens it with a node asks that for contract wallets' word."""
    receipt, key = sample(), hpke.SecretKey(bytes(range(32)))
    (place, _), *others = receipt.signatures
    unsigned = replace(receipt.settlement, result_hash=keccak(text="another result"))
    lies: list[tuple[str, dict[str, Any]]] = [
        ("signatures[0].signature", {"signatures": ((place, b"\x11" * 65), *others)}),
        ("signatures[0].signature", {"settlement": unsigned}),
        ("signatures", {"signatures": receipt.signatures[:1]}),
        ("cost", {"cost": receipt.cost + 1}),
        ("sealed_result", {"sealed_result": receipt.sealed_result + b"x"}),
    ]
    for field, changes in lies:
        lying = replace(receipt, **changes)
        with pytest.raises(ReceiptInvalid) as invalid:
            open_answer(lying.to_json(), key, lying.request)
        assert invalid.value.field == field
    with pytest.raises(EnvelopeUnreadable):
        open_answer(receipt.to_json(), key, receipt.request)


def sample_terms() -> RequestTerms:
    purpose = Purpose(64, (), False, False, 12, keccak(text="project"), bytes(32), 0)
    return RequestTerms(
        dataset=DATASET,
        classes=(1, 2),
        lane=VAULT,
        release_kind=1,
        analysis=analysis_hash("mean.v1"),
        parameters=parameters_hash(PARAMETERS.encode()),
        purpose=purpose,
        cost=10**6,
        price=5,
        fee=100,
        max_patients=1_000,
        seal_deadline=1_800_000_000,
        settle_deadline=1_800_086_400,
        delivery_key=keccak(text="delivery key"),
        salt=keccak(text="salt"),
    )


def sample_cohort(deployment: Deployment, request: bytes, sealed: Step) -> CohortPart:
    counted = [
        SealedShard(class_id(DATASET, 1), 0, pack_bitmaps([0, 1, 5, 161], 170)),
        SealedShard(class_id(DATASET, 2), 3, pack_bitmaps([7, 8], 9)),
    ]
    shards = tuple(Shard(each, each.members, each.root()) for each in counted)
    roots = [each.root for each in shards]
    return CohortPart(
        members=6,
        seal_block=sealed.block,
        seal_block_hash=sealed.block_hash,
        root=cohort_root(deployment.chain_id, deployment.market, request, roots),
        shards=shards,
    )


def check_alone(document: dict[str, Any] | bytes) -> None:
    receipt = load(document)
    for check in ALONE:
        check(receipt)


DOCUMENT = sample().to_json()


def test_the_vector_is_the_format_for_ever() -> None:
    raw = VECTOR.read_bytes()
    vector = json.loads(raw)
    assert vector["receipt"] == DOCUMENT
    assert vector["keccak"] == "0x" + keccak(sample().to_bytes()).hex()
    check_alone(canonical(vector["receipt"]))


def test_a_receipt_survives_its_bytes_and_its_document() -> None:
    assert load(sample().to_bytes()) == sample() == load(DOCUMENT)


def covered(path: Path) -> bool:
    """Whether something inside the receipt covers this value: a hash, a sum or a signature."""
    market = ("contracts", "ResearchMarket", "address")
    twice = (("blocks", "sealed"), ("block_hashes", "sealed"))  # the cohort names them too
    seat_that_did_not_sign = ("committee", "signers", 1)
    if path in (market, *twice):
        return True
    return path[0] not in ONLY_A_CHAIN_KNOWS and path != seat_that_did_not_sign


@pytest.mark.parametrize("path", [path for path in leaves(DOCUMENT) if covered(path)])
def test_a_value_that_the_receipt_itself_covers_cannot_be_changed(path: Path) -> None:
    with pytest.raises(ReceiptInvalid) as raised:
        check_alone(with_value(DOCUMENT, path, nudged(at(DOCUMENT, path))))
    assert raised.value.field


@settings(max_examples=400, deadline=None)
@given(place=st.integers(0, len(sample().to_bytes()) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_read_as_another_receipt(place: int, bit: int) -> None:
    raw = bytearray(sample().to_bytes())
    raw[place] ^= 1 << bit
    try:
        read = load(bytes(raw))
    except ReceiptInvalid:
        return
    assert read != sample()
    assert read.to_bytes() == bytes(raw)


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_refused_as_such(raw: bytes) -> None:
    with pytest.raises(ReceiptInvalid):
        load(raw)


SPELLINGS: list[tuple[Path, Any]] = [
    (("request",), DOCUMENT["request"].upper().replace("0X", "0x")),
    (("request",), DOCUMENT["request"][2:]),
    (("researcher",), DOCUMENT["researcher"].lower()),
    (("cost",), "01000000"),
    (("cost",), 1_000_000),
    (("cost",), "1_000_000"),
    (("fee",), "\uff11\uff10\uff10"),
    (("cost",), "9" * 30),
    (("chain_id",), True),
    (("chain_id",), -1),
    (("epoch",), 1 << 32),
    (("sealed_result",), DOCUMENT["sealed_result"].rstrip("=")),
    (("sealed_result",), DOCUMENT["sealed_result"] + "\n"),
    (("signatures", 0, "signature"), "0x" + "00" * 66),
    (("signatures",), [DOCUMENT["signatures"][0]] * 17),
    (("cohort", "shards", 0, "class"), 0),
    (("cohort", "shards"), {}),
    (("contracts",), []),
    (("contracts",), {"TestEuro": DOCUMENT["contracts"]["TestEuro"]}),
    (("committee",), None),
    (("schema",), "usufruct-receipt/2"),
    (("parameters",), None),
    (("analysis",), "a" * 70_000),
]


@pytest.mark.parametrize(("path", "value"), SPELLINGS)
def test_every_value_has_one_spelling(path: Path, value: Any) -> None:
    with pytest.raises(ReceiptInvalid) as raised:
        load(with_value(DOCUMENT, path, value))
    assert str(path[0]) in str(raised.value.field)


def test_white_space_and_repeated_keys_are_refused() -> None:
    raw = sample().to_bytes()
    for wrong in (raw + b" ", raw[:-1] + b',"fee":"100"}', b"[]"):
        with pytest.raises(ReceiptInvalid):
            load(wrong)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"]":"\\"}"},'])
def test_nesting_that_would_exhaust_the_stack_is_refused_before_it_is_parsed(
    opening: bytes,
) -> None:
    with pytest.raises(ReceiptInvalid) as raised:
        load(opening * 300_000)
    assert raised.value.field == "$"


def test_a_lane_a_schema_or_noise_of_another_kind_is_refused() -> None:
    """Even if a quorum signed it."""
    for change in ({"lane": 2}, {"schema": 2}, {"noise": keccak(text="noise")}):
        receipt = resigned(replace(sample().settlement, **change))
        with pytest.raises(ReceiptInvalid) as raised:
            check_alone(receipt.to_json())
        assert raised.value.field == f"settlement.{next(iter(change))}"


def resigned(settlement: Settlement) -> Receipt:
    domain = market_domain(31_337, sample().deployment.market)
    signed = tuple((i, sign(settlement, domain, CUSTODIANS[i])) for i in (0, 2))
    return replace(sample(), settlement=settlement, signatures=signed)


def test_a_place_outside_the_committee_is_refused() -> None:
    with pytest.raises(ReceiptInvalid) as raised:
        check_alone(with_value(DOCUMENT, ("signatures", 1, "place"), 3))
    assert raised.value.field == "signatures[1].place"


NO_COMMITTEE: list[tuple[int, list[int], str]] = [
    (0, [], "committee.quorum"),
    (1, [0], "committee.quorum"),
    (4, [0, 1, 2, 3], "committee.quorum"),
    (2, [0, 1], "committee.signers"),
]
"""Quorum, who signs, and the field that is at fault; of the last, one signer has two places."""


@pytest.mark.parametrize(("quorum", "signing", "field"), NO_COMMITTEE)
def test_a_committee_that_the_contracts_do_not_allow_is_refused_though_all_of_it_signed(
    quorum: int, signing: list[int], field: str
) -> None:
    settlement, doubled = sample().settlement, field == "committee.signers"
    keys = [CUSTODIANS[0], *CUSTODIANS[:2]] if doubled else [*CUSTODIANS, CUSTODIANS[0]]
    domain = market_domain(31_337, sample().deployment.market)
    receipt = replace(
        sample(),
        committee=CommitteePart(tuple(Address(each.address) for each in keys[:3]), quorum),
        signatures=tuple((i, sign(settlement, domain, keys[i])) for i in signing),
    )
    with pytest.raises(ReceiptInvalid) as raised:
        check_alone(receipt.to_json())
    assert (raised.value.facts["step"], raised.value.field) == ("signatures", field)


def test_a_malleated_signature_is_refused() -> None:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    raw = bytes.fromhex(DOCUMENT["signatures"][0]["signature"][2:])
    s = order - int.from_bytes(raw[32:64], "big")
    twin = "0x" + (raw[:32] + s.to_bytes(32, "big") + bytes([55 - raw[64]])).hex()
    with pytest.raises(ReceiptInvalid) as raised:
        check_alone(with_value(DOCUMENT, ("signatures", 0, "signature"), twin))
    assert raised.value.field == "signatures[0].signature"


def test_bitmaps_of_half_a_word_are_refused_by_name() -> None:
    with pytest.raises(ReceiptInvalid) as raised:
        check_alone(with_value(DOCUMENT, ("cohort", "shards", 0, "bitmaps"), "AAAA"))
    assert raised.value.field == "cohort.shards[0].bitmaps"


@given(st.integers(1, 2**53))
def test_a_result_is_read_with_the_cost_that_it_states(cost: int) -> None:
    assert cost_of({"noised": {"cost_nano_rho": cost}}) == cost


@pytest.mark.parametrize(
    "noised", [None, "5", [], {}, {"cost_nano_rho": "5"}, {"cost_nano_rho": True}]
)
def test_a_result_that_states_no_cost_states_none_that_passes(noised: object) -> None:
    assert cost_of({"noised": noised}) == cost_of({}) == 0


def test_the_sealed_result_does_not_print() -> None:
    assert repr(sample().sealed_result) not in repr(sample())
