"""SEAL's objects as bytes of exactly one length each, and back, with nothing left for SEAL to parse.

SEAL's own format is compressed, of variable length, and read by C++. Here, an object is a header, its
polynomials as whole numbers of the fewest bytes that hold their prime, and a SHA-256 digest. What comes
from outside is judged in Python first (kind, parameters, length, digest, every number below its prime);
only then is SEAL's stream built around the numbers, so that SEAL never reads a byte of a structure that
somebody else wrote.

    magic 16 bytes, kind 1, parameters 32, bound 64, polynomials, digest 32

`bound` is two hashes that say what the object belongs to. Streams go through an anonymous file in memory:
nothing is written to a disk, secret keys least of all.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tenseal import sealapi

from ml.ckks.context import DEGREE, PARAMETERS, SCALE, seal_context

MAGIC: Final = b"usufruct-ckks/1\0"
BOUND_BYTES: Final = 64
HEAD_BYTES: Final = len(MAGIC) + 1 + len(PARAMETERS) + BOUND_BYTES
_DIGEST_BYTES: Final = 32
FRAME_BYTES: Final = HEAD_BYTES + _DIGEST_BYTES
"""Of every object, around its body."""
_SEAL_MAGIC: Final = 0xA15E
_SEAL_HEAD: Final = 16
_SEAL_VERSION: Final = (4, 3)
"""Whose layout is written below; another SEAL refuses it rather than misread it."""

Polynomials = npt.NDArray[np.uint64]
"""(polynomials, primes, DEGREE): residues, in the number theoretic transform's order."""


class Kind(IntEnum):
    """What an object is."""

    SECRET_KEY = 1
    MATERIAL = 2
    RECORD = 3
    SCORE = 4


class Unreadable(ValueError):
    """Bytes that are no object of this package, or not a whole one; nothing was loaded."""


class OtherParameters(Unreadable):
    """An object of another parameter set: it can be neither used nor converted."""


class OtherKind(Unreadable):
    """An object of this package, but not the one that was expected."""


# ---- Frames ----


def frame(kind: Kind, bound: bytes, body: bytes) -> bytes:
    """An object's bytes. `bound`: 64 bytes, what it belongs to."""
    if len(bound) != BOUND_BYTES:
        raise ValueError("an object is bound to two hashes")
    whole = MAGIC + bytes([kind]) + PARAMETERS + bound + body
    return whole + hashlib.sha256(whole).digest()


def unframe(kind: Kind, data: bytes, body_bytes: int) -> tuple[bytes, bytes]:
    """`bound` and body of an object of exactly this length. Raises Unreadable, OtherKind, OtherParameters."""
    if data[: len(MAGIC)] != MAGIC or len(data) < HEAD_BYTES:
        raise Unreadable("the bytes are no object of usufruct-ckks/1")
    if data[len(MAGIC)] != kind:
        raise OtherKind(f"the object is not a {kind.name.lower().replace('_', ' ')}")
    if data[len(MAGIC) + 1 : HEAD_BYTES - BOUND_BYTES] != PARAMETERS:
        raise OtherParameters("the object was made with other parameters")
    if len(data) != HEAD_BYTES + body_bytes + _DIGEST_BYTES:
        raise Unreadable(f"a {kind.name.lower().replace('_', ' ')} has another length")
    if hashlib.sha256(data[:-_DIGEST_BYTES]).digest() != data[-_DIGEST_BYTES:]:
        raise Unreadable("the object is damaged: its digest differs")
    return data[HEAD_BYTES - BOUND_BYTES : HEAD_BYTES], data[HEAD_BYTES:-_DIGEST_BYTES]


# ---- Residues ----


def packed_bytes(polynomials: int, primes: Sequence[int]) -> int:
    """How many bytes so many polynomials have."""
    return polynomials * DEGREE * sum(map(_width, primes))


def pack(polynomials: Polynomials, primes: Sequence[int]) -> bytes:
    """Little endian, polynomial by polynomial, prime by prime."""
    raw = np.ascontiguousarray(polynomials, dtype="<u8").view(np.uint8)
    each = raw.reshape(len(polynomials), len(primes), DEGREE, 8)
    return b"".join(
        each[i, j, :, : _width(prime)].tobytes()
        for i in range(len(polynomials))
        for j, prime in enumerate(primes)
    )


def unpack(data: bytes, primes: Sequence[int]) -> Polynomials:
    """What `pack` made. Raises Unreadable for a length or a number out of range."""
    count, rest = divmod(len(data), packed_bytes(1, primes))
    if rest:
        raise Unreadable("the polynomials are not whole")
    out = np.zeros((count, len(primes), DEGREE, 8), dtype=np.uint8)
    at = 0
    for i in range(count):
        for j, prime in enumerate(primes):
            size = DEGREE * _width(prime)
            part = np.frombuffer(data, dtype=np.uint8, count=size, offset=at)
            out[i, j, :, : _width(prime)] = part.reshape(DEGREE, -1)
            at += size
    numbers = out.view("<u8").reshape(count, len(primes), DEGREE).astype(np.uint64)
    if (numbers >= np.array(primes, dtype=np.uint64)[:, None]).any():
        raise Unreadable("a number is not below its prime")
    return numbers


def _width(prime: int) -> int:
    return (prime.bit_length() + 7) // 8


# ---- SEAL's objects ----


def read(dynamic: Any, polynomials: int, primes: int) -> Polynomials:
    """The numbers that a SEAL array holds."""
    size = polynomials * primes * DEGREE
    if dynamic.size() != size:
        raise ValueError("the array has another size")
    numbers = np.fromiter(map(dynamic.__getitem__, range(size)), dtype=np.uint64, count=size)
    return numbers.reshape(polynomials, primes, DEGREE)


def ciphertext(polynomials: Polynomials, level: Any) -> Any:
    """SEAL's ciphertext at a level, at the scale of this package."""
    loaded = sealapi.Ciphertext()
    _load(loaded, _ciphertext_stream(polynomials, level, SCALE))
    return loaded


def public_key(polynomials: Polynomials, level: Any) -> Any:
    """SEAL's public key."""
    loaded = sealapi.PublicKey()
    _load(loaded, _ciphertext_stream(polynomials, level, 1.0))
    return loaded


def secret_key(polynomials: Polynomials, level: Any) -> Any:
    """SEAL's secret key; its stream is in memory alone, and gone when this returns."""
    body = struct.pack("<4QQd", *level, polynomials.size, 1.0) + _array_stream(polynomials)
    loaded = sealapi.SecretKey()
    _load(loaded, _stream(body))
    return loaded


def switching_keys(
    loaded: Any, keys: Mapping[int, Sequence[Polynomials]], level: Any, places: int
) -> Any:
    """Relinearisation or Galois keys: at each place nothing, or a key: two polynomials for each digit."""
    parts = [struct.pack("<4QQ", *level, places)]
    for place in range(places):
        key = keys.get(place, ())
        parts.append(struct.pack("<Q", len(key)))
        parts += [_ciphertext_stream(digit, level, 1.0) for digit in key]
    _load(loaded, _stream(b"".join(parts)))
    return loaded


def _ciphertext_stream(polynomials: Polynomials, level: Any, scale: float) -> bytes:
    size, primes, degree = polynomials.shape
    transformed, correction = 1, 1
    head = struct.pack("<4QBQQQdQ", *level, transformed, size, degree, primes, scale, correction)
    return _stream(head + _array_stream(polynomials))


def _array_stream(numbers: Polynomials) -> bytes:
    return _stream(struct.pack("<Q", numbers.size) + numbers.astype("<u8").tobytes())


def _stream(body: bytes) -> bytes:
    """SEAL's header and a body that is not compressed."""
    sizes = (_SEAL_MAGIC, _SEAL_HEAD, *_SEAL_VERSION, 0, 0, _SEAL_HEAD + len(body))
    return struct.pack("<HBBBBHQ", *sizes) + body


def _load(target: Any, stream: bytes) -> None:
    """Hands a stream to SEAL, which judges it once more. Raises Unreadable."""
    file = os.memfd_create("ckks", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(file), "wb") as out:
            out.write(stream)
        target.load(seal_context(), f"/proc/self/fd/{file}")
    except (RuntimeError, ValueError) as problem:
        raise Unreadable("SEAL does not take the object") from problem
    finally:
        os.close(file)
