"""Cohort roots: who was counted, as 32 bytes, with a small proof for each member.

A shard's words (160 seats, 20 bytes big-endian, bit i is seat i) are hashed in chunks of 256 words;
a shard's root is a hash over its chunk hashes; a request's root is a chain over its shards' roots.
The contracts compute the same (ConsentRegistry.sealShard, ResearchMarket.seal).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from eth_utils.crypto import keccak

from marketplace.errors import Refusal
from marketplace.wire.canonical import tagged_hash

SHARD_TAG = "usufruct/shard/1"
COHORT_TAG = "usufruct/cohort/1"
CIPHERTEXTS_TAG = "usufruct/ciphertexts/1"

WORD_SEATS = 160
WORD_BYTES = 20
CHUNK_WORDS = 256
CHUNK_BYTES = CHUNK_WORDS * WORD_BYTES
CHUNK_SEATS = CHUNK_WORDS * WORD_SEATS
SHARD_WORDS = 4096
SHARD_SEATS = SHARD_WORDS * WORD_SEATS
MOST_SHARDS = 64
"""Of one request, as the market allows."""


class RootMismatch(Refusal):
    """Bitmaps, members or a proof that do not belong to a root."""

    CODE = "root_mismatch"


@dataclass(frozen=True)
class SealedShard:
    """One shard as it was sealed: its class, its index in the class, and its words' bitmaps."""

    class_id: bytes
    shard: int
    bitmaps: bytes

    @property
    def members(self) -> int:
        """How many seats were live when it was sealed."""
        return count(self.bitmaps)

    def root(self) -> bytes:
        """What `ShardSealed` carries, 32 bytes. Raises `RootMismatch` unless the bitmaps are whole words."""
        return shard_root(self.class_id, self.shard, self.members, chunk_hashes(self.bitmaps))


def pack_bitmaps(places: Iterable[int], used: int) -> bytes:
    """The bitmaps of a shard with `used` seats of which `places` are live: 20 bytes a word.

    Raises:
        RootMismatch: a place was never assigned, or the shard is larger than one can be.
    """
    if not 0 <= used <= SHARD_SEATS:
        raise _mismatch(f"A shard has at most {SHARD_SEATS} seats.", "used")
    words = [0] * -(-used // WORD_SEATS)
    for place in places:
        if not 0 <= place < used:
            raise _mismatch("A place lies outside the shard's assigned seats.", "places")
        words[place // WORD_SEATS] |= 1 << (place % WORD_SEATS)
    return b"".join(word.to_bytes(WORD_BYTES, "big") for word in words)


def places_of(bitmaps: bytes) -> Iterator[int]:
    """The live places, ascending. Raises `RootMismatch` if the bytes are not whole words."""
    for number, word in enumerate(_words(bitmaps)):
        while word:
            lowest = word & -word
            yield number * WORD_SEATS + lowest.bit_length() - 1
            word ^= lowest


def holds(bitmaps: bytes, place: int) -> bool:
    """Whether this place is live; False for one beyond the words."""
    number, seat = divmod(place, WORD_SEATS)
    word = bitmaps[number * WORD_BYTES : (number + 1) * WORD_BYTES]
    return len(word) == WORD_BYTES and bool(int.from_bytes(word, "big") >> seat & 1)


def count(bitmaps: bytes) -> int:
    """How many seats are live."""
    return int.from_bytes(bitmaps, "big").bit_count()


def chunk_hashes(bitmaps: bytes) -> tuple[bytes, ...]:
    """keccak256 of every 256 words, the last chunk as short as it is."""
    _require_whole_words(bitmaps)
    return tuple(
        keccak(bitmaps[start : start + CHUNK_BYTES])
        for start in range(0, len(bitmaps), CHUNK_BYTES)
    )


def shard_root(class_id: bytes, shard: int, members: int, chunks: Sequence[bytes]) -> bytes:
    """The root that `ShardSealed` carries, 32 bytes."""
    return tagged_hash(
        SHARD_TAG,
        ["bytes32", "uint16", "uint32", "bytes32[]"],
        [class_id, shard, members, list(chunks)],
    )


def cohort_root(chain_id: int, market: str, request: bytes, shard_roots: Sequence[bytes]) -> bytes:
    """The root of a sealed request, from its shards' roots in the request's order."""
    root = tagged_hash(
        COHORT_TAG,
        ["uint256", "address", "bytes32", "uint16"],
        [chain_id, market, request, len(shard_roots)],
    )
    for each in shard_roots:
        root = keccak(root + each)
    return root


def ciphertext_root(commitments: Sequence[bytes]) -> bytes:
    """The root over the record commitments used, in cohort order."""
    return tagged_hash(CIPHERTEXTS_TAG, ["bytes32[]"], [list(commitments)])


@dataclass(frozen=True)
class InclusionProof:
    """That one place was counted: its chunk's words and the hashes beside them, at most 14 KB."""

    class_id: bytes
    shard: int
    members: int  # of the shard
    place: int
    chunk: bytes
    chunks: tuple[bytes, ...]  # every chunk hash of the shard
    shard_roots: tuple[bytes, ...]  # every shard root of the request, in order

    def verify(self, chain_id: int, market: str, request: bytes, root: bytes) -> None:
        """Raises `RootMismatch`, naming what is wrong, unless the place is in this root."""
        _require_whole_words(self.chunk)
        index, seat = divmod(self.place, CHUNK_SEATS)
        if not 0 <= index < len(self.chunks) or keccak(self.chunk) != self.chunks[index]:
            raise _mismatch("The chunk is not the one that holds this place.", "chunk")
        if seat not in set(places_of(self.chunk)):
            raise _mismatch("The place was not counted.", "place")
        own = shard_root(self.class_id, self.shard, self.members, self.chunks)
        if own not in self.shard_roots:
            raise _mismatch("The shard is none of this request's.", "shard_roots")
        if cohort_root(chain_id, market, request, self.shard_roots) != root:
            raise _mismatch("The shard roots do not lead to the request's root.", "root")


def prove_inclusion(shards: Sequence[SealedShard], position: int, place: int) -> InclusionProof:
    """The proof for a place of the shard at `position` of the request's list.

    Raises:
        RootMismatch: the place was not counted.
    """
    shard = shards[position]
    if place not in set(places_of(shard.bitmaps)):
        raise _mismatch("The place was not counted.", "place")
    start = place // CHUNK_SEATS * CHUNK_BYTES
    return InclusionProof(
        class_id=shard.class_id,
        shard=shard.shard,
        members=shard.members,
        place=place,
        chunk=shard.bitmaps[start : start + CHUNK_BYTES],
        chunks=chunk_hashes(shard.bitmaps),
        shard_roots=tuple(each.root() for each in shards),
    )


def _words(bitmaps: bytes) -> Iterator[int]:
    _require_whole_words(bitmaps)
    for start in range(0, len(bitmaps), WORD_BYTES):
        yield int.from_bytes(bitmaps[start : start + WORD_BYTES], "big")


def _require_whole_words(bitmaps: bytes) -> None:
    if len(bitmaps) % WORD_BYTES or len(bitmaps) > SHARD_WORDS * WORD_BYTES:
        raise _mismatch("The bitmaps are not whole words of 20 bytes, at most 4,096.", "bitmaps")


def _mismatch(problem: str, field: str) -> RootMismatch:
    return RootMismatch(
        message=problem,
        remedy="Take shard bitmaps and roots from the chain's own events and storage.",
        field=field,
    )
