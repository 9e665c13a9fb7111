"""Cohort roots, bitmaps and inclusion proofs. The contracts' own roots are compared in integration."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.wire import roots
from marketplace.wire.roots import (
    CHUNK_BYTES,
    CHUNK_SEATS,
    SHARD_SEATS,
    RootMismatch,
    SealedShard,
    ciphertext_root,
    cohort_root,
    pack_bitmaps,
    places_of,
    prove_inclusion,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "roots.json").read_text())
CLASS, REQUEST = keccak(text="class"), keccak(text="request")
CHAIN, MARKET = 31337, "0x" + "c0" * 20


@st.composite
def shards(draw: st.DrawFn) -> tuple[set[int], int]:
    used = draw(st.integers(1, 3 * CHUNK_SEATS))
    return draw(st.sets(st.integers(0, used - 1), max_size=40)), used


def unhex(written: str) -> bytes:
    return bytes.fromhex(written[2:])


def test_roots_match_their_vectors() -> None:
    sealed = []
    for each in VECTORS["shards"]:
        bitmaps = pack_bitmaps(each["places"], each["used"])
        assert keccak(bitmaps) == unhex(each["bitmaps_keccak"])
        shard = SealedShard(unhex(each["class"]), each["shard"], bitmaps)
        assert (shard.members, shard.root()) == (each["members"], unhex(each["root"]))
        sealed.append(shard)
    request, market = unhex(VECTORS["request"]), VECTORS["market"]
    found = cohort_root(VECTORS["chain_id"], market, request, [each.root() for each in sealed])
    assert found == unhex(VECTORS["root"])
    commitments = [unhex(each) for each in VECTORS["commitments"]]
    assert ciphertext_root(commitments) == unhex(VECTORS["ciphertext_root"])


def test_a_root_is_the_hash_that_the_contracts_write_down() -> None:
    """Spelled out once, with nothing of the code under test but the packing."""
    bitmaps = pack_bitmaps([0, CHUNK_SEATS], CHUNK_SEATS + 1)
    chunks = [keccak(bitmaps[:CHUNK_BYTES]), keccak(bitmaps[CHUNK_BYTES:])]
    types = ["string", "bytes32", "uint16", "uint32", "bytes32[]"]
    shard = keccak(encode(types, ["usufruct/shard/1", CLASS, 7, 2, chunks]))
    assert SealedShard(CLASS, 7, bitmaps).root() == shard
    types = ["string", "uint256", "address", "bytes32", "uint16"]
    first = keccak(encode(types, ["usufruct/cohort/1", CHAIN, MARKET, REQUEST, 1]))
    expected = keccak(encode(["bytes32", "bytes32"], [first, shard]))
    assert cohort_root(CHAIN, MARKET, REQUEST, [shard]) == expected


@settings(deadline=None)
@given(shards())
def test_packing_and_reading_places_are_inverse(shard: tuple[set[int], int]) -> None:
    places, used = shard
    bitmaps = pack_bitmaps(places, used)
    assert list(places_of(bitmaps)) == sorted(places)
    assert roots.count(bitmaps) == len(places)
    assert len(bitmaps) == -(-used // 160) * 20


def test_bit_i_of_a_word_is_its_seat_i_big_endian() -> None:
    assert pack_bitmaps([0], 1) == bytes(19) + b"\x01"
    assert pack_bitmaps([159], 160) == b"\x80" + bytes(19)
    assert pack_bitmaps([160], 161) == bytes(39) + b"\x01"


@pytest.mark.parametrize(("places", "used"), [([5], 5), ([-1], 5), ([], SHARD_SEATS + 1), ([], -1)])
def test_places_outside_a_shard_are_refused(places: list[int], used: int) -> None:
    with pytest.raises(RootMismatch):
        pack_bitmaps(places, used)


@pytest.mark.parametrize("bitmaps", [b"\0" * 19, b"\0" * 21, b"\0" * (4097 * 20)])
def test_bitmaps_that_are_not_whole_words_are_refused(bitmaps: bytes) -> None:
    with pytest.raises(RootMismatch):
        list(places_of(bitmaps))
    with pytest.raises(RootMismatch):
        SealedShard(CLASS, 0, bitmaps).root()


@settings(deadline=None, max_examples=30)
@given(shards(), st.integers(0, 3 * CHUNK_SEATS), st.integers(0, 159))
def test_one_bit_more_or_less_changes_the_root(
    shard: tuple[set[int], int], place: int, seat: int
) -> None:
    places, used = shard
    other = pack_bitmaps(places ^ {place % used}, used)
    assert (
        SealedShard(CLASS, 0, other).root()
        != SealedShard(CLASS, 0, pack_bitmaps(places, used)).root()
    )


@settings(deadline=None, max_examples=30)
@given(shards().filter(lambda each: each[0]), st.data())
def test_every_member_can_be_proved_and_nobody_else(
    shard: tuple[set[int], int], data: st.DataObject
) -> None:
    places, used = shard
    others = [SealedShard(CLASS, 1, pack_bitmaps([3], 4)), SealedShard(CLASS, 2, b"")]
    sealed = [others[0], SealedShard(CLASS, 0, pack_bitmaps(places, used)), others[1]]
    root = cohort_root(CHAIN, MARKET, REQUEST, [each.root() for each in sealed])
    place = data.draw(st.sampled_from(sorted(places)))
    proof = prove_inclusion(sealed, 1, place)
    proof.verify(CHAIN, MARKET, REQUEST, root)
    stranger = data.draw(st.integers(0, used - 1).filter(lambda each: each not in places))
    with pytest.raises(RootMismatch):
        prove_inclusion(sealed, 1, stranger)
    with pytest.raises(RootMismatch):
        replace(proof, place=stranger).verify(CHAIN, MARKET, REQUEST, root)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("class_id", keccak(text="other")),
        ("shard", 1),
        ("members", 3),
        ("place", 1),
        ("place", SHARD_SEATS),
        ("place", -1),
        ("chunk", bytes(20)),
        ("chunk", b"\xff"),
        ("chunks", ()),
        ("shard_roots", ()),
    ],
)
def test_a_proof_with_any_part_changed_is_refused(field: str, value: object) -> None:
    sealed = [SealedShard(CLASS, 0, pack_bitmaps([0, 2], 3))]
    root = cohort_root(CHAIN, MARKET, REQUEST, [sealed[0].root()])
    proof = prove_inclusion(sealed, 0, 2)
    proof.verify(CHAIN, MARKET, REQUEST, root)
    with pytest.raises(RootMismatch):
        replace(proof, **{field: value}).verify(CHAIN, MARKET, REQUEST, root)


def test_a_proof_for_another_request_market_or_chain_is_refused() -> None:
    sealed = [SealedShard(CLASS, 0, pack_bitmaps([0], 1))]
    root = cohort_root(CHAIN, MARKET, REQUEST, [sealed[0].root()])
    proof = prove_inclusion(sealed, 0, 0)
    for elsewhere in [
        (1, MARKET, REQUEST),
        (CHAIN, "0x" + "c1" * 20, REQUEST),
        (CHAIN, MARKET, CLASS),
    ]:
        with pytest.raises(RootMismatch):
            proof.verify(*elsewhere, root)


def test_the_largest_proof_stays_under_eight_kilobytes() -> None:
    sealed = [SealedShard(CLASS, 0, pack_bitmaps([SHARD_SEATS - 1], SHARD_SEATS))] * 64
    proof = prove_inclusion(sealed, 0, SHARD_SEATS - 1)
    assert len(proof.chunk) + 32 * (len(proof.chunks) + len(proof.shard_roots)) < 8_000


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=4, unique=True))
def test_the_ciphertext_root_depends_on_the_order(commitments: list[bytes]) -> None:
    assert ciphertext_root(commitments) != ciphertext_root(commitments[::-1])
    assert ciphertext_root(commitments) != ciphertext_root(commitments[:-1])
