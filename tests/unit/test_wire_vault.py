"""Rules of the vault lane's formats. Vectors are compared byte for byte."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.errors import (
    BadParameter,
    EnvelopeUnreadable,
    RecordUnreadable,
    Refusal,
    TooFewShares,
    WrongShare,
)
from marketplace.vocabulary import Epoch, patient_address
from marketplace.wire import delivery, feldman, hpke, record, turn
from ml.homomorphic.curve import Point
from tests.support import plain_curve

VECTORS = Path(__file__).parents[1] / "vectors"
spec = importlib.util.spec_from_file_location("vault_vectors", VECTORS / "generate.py")
assert spec is not None
assert spec.loader is not None
gen = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gen)
SECRETS = [hpke.SecretKey(gen.key(f"custodian{i}")) for i in (1, 2, 3)]
scalars = st.integers(1, feldman.ORDER - 1)


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("name", ["feldman", "hpke", "record", "turn", "delivery"])
def test_every_format_still_has_its_published_bytes(name: str) -> None:
    assert json.loads((VECTORS / f"{name}.json").read_text()) == gen.vectors()[name]


def test_the_independent_hpke_reproduces_rfc_9180_a_1_1_and_pyca_opens_it() -> None:
    ephemeral = "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736"
    recipient = "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8"
    expected = bytes.fromhex(
        "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a9"
        "6d8770ac83d07bea87e13c512a"
    )
    to = hpke.SecretKey(bytes.fromhex(recipient)).public
    text, info = b"Beauty is truth, truth beauty", b"Ode on a Grecian Urn"
    made = gen.hpke_seal(text, to, info, bytes.fromhex(ephemeral), aad=b"Count-0", aead=1)
    assert made == expected
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
    holder = X25519PrivateKey.from_private_bytes(bytes.fromhex(recipient))
    assert openssl.hpke._decrypt_with_aad(suite, expected, holder, info, b"Count-0") == text


def test_the_product_opens_the_independent_envelopes() -> None:
    sealed = hpke.SecretKey(gen.key("gate"))
    envelope = gen.hpke_seal(b"hello", sealed.public, b"i", gen.key("e"))
    assert hpke.open_envelope(envelope, sealed, b"i") == b"hello"
    loaded = record.load(json.loads((VECTORS / "record.json").read_text())["document"].encode())
    shares = [record.open_share(loaded, i, SECRETS[i - 1]) for i in (1, 2, 3)]
    assert tuple(shares) == gen.dealing().shares


@given(st.lists(scalars, min_size=1, max_size=4), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_any_quorum_of_shares_gives_the_secret(coefficients: list[int], more: int) -> None:
    dealt = feldman.deal(coefficients, len(coefficients) + more)
    for chosen in combinations(dealt.shares, len(coefficients)):
        assert feldman.combine(chosen, dealt.commitments).secret == coefficients[0]


@given(scalars, scalars, scalars)
@settings(max_examples=20, deadline=None)
def test_one_share_below_the_quorum_fits_every_secret(s: int, a: int, other: int) -> None:
    """Perfect secrecy of the shares themselves: another secret explains the same share."""
    share = feldman.deal([s, a], 3).shares[0]
    slope = (share.value - other) % feldman.ORDER
    assert (other + slope) % feldman.ORDER == share.value
    with pytest.raises(TooFewShares):
        feldman.combine([share], feldman.deal([s, a], 3).commitments)


@given(st.integers(0, 2), st.integers(0, 255))
@settings(max_examples=30, deadline=None)
def test_a_wrong_share_is_named_and_the_others_suffice(which: int, bit: int) -> None:
    dealt = gen.dealing()
    shares = list(dealt.shares)
    value = shares[which].value ^ (1 << bit)
    shares[which] = feldman.Share(which + 1, value)
    with pytest.raises(WrongShare, match=f"custodian {which + 1}"):
        feldman.verify_share(shares[which], dealt.commitments)
    found = feldman.combine([shares[which], *shares], dealt.commitments)
    assert found.secret == gen.coefficients()[0]
    with pytest.raises(TooFewShares) as refusal:
        feldman.combine([shares[which], shares[(which + 1) % 3]], dealt.commitments)
    assert refusal.value.facts["wrong"] == [which + 1]


def test_no_share_fits_commitments_that_are_not_finite_points() -> None:
    """Neither bytes that are no point, nor an uncompressed one, nor a sum at infinity."""
    share = feldman.deal([7], 1).shares[0]
    base, opposite = (feldman.times_generator(a) for a in (7, feldman.ORDER - 7))
    x, y = base[1:], plain_curve.times(7)
    assert y is not None
    long = b"\x04" + x + y[1].to_bytes(32, "big")
    feldman.verify_share(share, [base])
    for bad in ([bytes(33)], [base[:-1]], [b"\x05" + x], [long], [base, opposite], []):
        with pytest.raises(WrongShare, match="custodian 1 does not match"):
            feldman.verify_share(share, bad)


def test_secrets_and_shares_are_multiplied_in_constant_time_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: set[int] = set()
    public = Point.__mul__

    def seen(point: Point, scalar: int) -> Point:
        used.add(scalar)
        return public(point, scalar)

    monkeypatch.setattr(Point, "__mul__", seen)
    coefficients = feldman.draw_coefficients(feldman.random_scalar(), 3)
    dealt = feldman.deal(coefficients, 5)
    assert not used
    for share in dealt.shares:
        feldman.verify_share(share, dealt.commitments)
    wrong = replace(dealt.shares[0], value=feldman.random_scalar())
    assert feldman.combine([wrong, *dealt.shares], dealt.commitments).secret == coefficients[0]
    assert used == {index**j for index in range(1, 6) for j in range(3)}  # of places, not of values


@pytest.mark.parametrize("index", [-1, 0, 17, 300])
def test_only_custodians_1_to_16_have_shares(index: int) -> None:
    dealt = feldman.deal([7], 1)
    share = replace(dealt.shares[0], index=index)
    with pytest.raises(WrongShare):
        feldman.verify_share(share, dealt.commitments)
    with pytest.raises(TooFewShares):
        feldman.combine([share], dealt.commitments)


@pytest.mark.parametrize("value", [-1, 0, feldman.ORDER, feldman.ORDER + 7])
def test_a_share_is_a_reduced_scalar_other_than_0(value: int) -> None:
    dealt = feldman.deal([7], 1)
    with pytest.raises(WrongShare):
        feldman.verify_share(feldman.Share(1, value), dealt.commitments)


def test_a_share_counts_once() -> None:
    share = gen.dealing().shares[0]
    with pytest.raises(ValueError, match="once"):
        feldman.interpolate([share, share])
    with pytest.raises(TooFewShares):
        feldman.combine([share, share], gen.dealing().commitments)


@pytest.mark.parametrize("scalar", [0, -1, feldman.ORDER])
def test_coefficients_outside_their_range_are_not_dealt(scalar: int) -> None:
    with pytest.raises(BadParameter, match=r"\[1, n - 1\]"):
        feldman.deal([5, scalar], 3)


def test_a_commitment_that_is_no_point_is_named() -> None:
    base = feldman.times_generator(7)
    feldman.require_points([base, base])
    for bad in (bytes(33), base[:-1], base + b"\0", b"\x05" + base[1:], b""):
        with pytest.raises(BadParameter, match="Key commitment 1 is not a point") as refusal:
            feldman.require_points([base, bad])
        assert refusal.value.field == "key_commitments[1]"


def test_every_flipped_bit_of_the_box_is_refused() -> None:
    sealed, secret = gen.sealed_record(), gen.coefficients()[0]
    assert record.open_box(secret, sealed.context, sealed.box)[:1] == b"\x01"
    for bit in range(8 * len(sealed.box)):
        with pytest.raises(RecordUnreadable):
            record.open_box(secret, sealed.context, flip(sealed.box, bit))


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": 1},
        {"registry": "0x" + "44" * 20},
        {"dataset": b"\x01" * 32},
        {"patient": patient_address("0x" + "55" * 20)},
        {"dictionary_hash": b"\x02" * 32},
        {"record_version": 2},
        {"lane": 2},
    ],
)
def test_a_record_copied_to_another_context_does_not_open(change: dict[str, object]) -> None:
    sealed = gen.sealed_record()
    moved = replace(sealed.context, **change)
    with pytest.raises(RecordUnreadable):
        record.open_box(gen.coefficients()[0], moved, sealed.box)
    with pytest.raises(RecordUnreadable) as refusal:
        record.require_context(sealed, moved)
    assert refusal.value.field == next(iter(change))
    with pytest.raises(EnvelopeUnreadable):
        record.open_share(replace(sealed, context=moved), 1, SECRETS[0])


def test_every_flipped_bit_of_an_envelope_is_refused() -> None:
    sealed = gen.sealed_record()
    share = sealed.shares[0]
    for bit in range(8 * len(share.envelope)):
        bent = replace(share, envelope=flip(share.envelope, bit))
        # X25519 ignores the top bit of the encapsulated key, but HPKE hashes it: refused as well.
        with pytest.raises(EnvelopeUnreadable):
            record.open_share(replace(sealed, shares=(bent,)), 1, SECRETS[0])
    with pytest.raises(EnvelopeUnreadable):
        record.open_share(replace(sealed, epoch=Epoch(2)), 1, SECRETS[0])


@pytest.mark.parametrize("field", ["box", "key_commitments", "commitment", "shares", "patient"])
def test_a_changed_document_is_refused_naming_the_field(field: str) -> None:
    document = json.loads(record.dump(gen.sealed_record()))
    document[field] = document[field][1:]
    with pytest.raises(RecordUnreadable) as refusal:
        record.load(json.dumps(document).encode())
    assert refusal.value.field is not None


def test_a_turn_gives_shares_and_gaps_in_cohort_order_and_only_for_its_request() -> None:
    context, secret = gen.turn_context(), hpke.SecretKey(gen.key("gate"))
    shares = (feldman.Share(2, 9), None, feldman.Share(2, 7))
    envelope = turn.seal_turn(shares, context)
    assert turn.open_turn(envelope, secret, context, 3) == shares
    for other in ({"request": b"\x01" * 32}, {"root": b"\x01" * 32}, {"index": 1}, {"epoch": 2}):
        with pytest.raises(EnvelopeUnreadable):
            turn.open_turn(envelope, secret, replace(context, **other), 3)
    with pytest.raises(EnvelopeUnreadable):
        turn.open_turn(envelope, secret, context, 2)
    with pytest.raises(EnvelopeUnreadable, match="member 1"):
        turn.decode_turn(bytes(33) + b"\x02" + bytes(32), 2, 2)


def test_a_delivery_opens_only_for_its_request_and_hashes_with_its_salt() -> None:
    v = json.loads((VECTORS / "delivery.json").read_text())
    market = gen.turn_context().market
    where = delivery.DeliveryContext(31337, market, b"\xee" * 32)
    secret = hpke.SecretKey(bytes.fromhex(v["researcher_secret"]))
    opened = delivery.open_result(bytes.fromhex(v["sealed"]), secret, where)
    assert opened.document["cohort_size"] == 20
    assert delivery.result_hash(opened.salt, opened.result).hex() == v["result_hash"]
    with pytest.raises(EnvelopeUnreadable):
        delivery.open_result(bytes.fromhex(v["sealed"]), secret, replace(where, chain_id=1))


def test_secrets_do_not_print() -> None:
    canary = 0x5EC12E7CA11A2
    dealt = feldman.deal([canary, canary], 3)
    shown = [feldman.Share(1, canary), dealt, feldman.Combined(canary), SECRETS[0]]
    text = " ".join(repr(x) + str(x) for x in shown)
    for trace in (str(canary), str(dealt.shares[0].value), repr(SECRETS[0].raw)):
        assert trace not in text


def test_every_refusal_says_what_to_do() -> None:
    refusal = Refusal(code="x", message="No.", remedy="Do y.")
    assert (str(refusal), refusal.facts, refusal.field) == ("No. Do y.", {}, None)
