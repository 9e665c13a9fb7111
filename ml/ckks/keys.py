"""An owner's keys: one secret that stays, and the material that anybody may have.

The owner (a patient) makes the secret key where the record is and keeps it. The material is a public key (to
encrypt a record for its owner), a relinearisation key and three Galois keys; with it anybody computes, and
nobody decrypts (decisional ring learning with errors; as usual for homomorphic encryption, keys that encrypt
functions of their own secret are assumed to be safe).

A secret key opens whatever was ever encrypted to it: an owner's file has to be kept like a record itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import numpy as np
from tenseal import sealapi

from ml.ckks import packing
from ml.ckks.context import (
    DEGREE,
    DEPTH,
    PRIMES,
    SCALE,
    STEPS,
    encoder,
    galois_element,
    parms_id,
    seal_context,
)
from ml.ckks.layout import Layout, Slots, Values
from ml.ckks.packing import Kind, Polynomials, Unreadable, frame, pack, packed_bytes, read, unframe

RECORD_PRIMES: Final = PRIMES[: DEPTH + 1]
_DIGITS: Final = DEPTH + 1
_KEY_POLYNOMIALS: Final = 2 * _DIGITS
_MATERIAL_POLYNOMIALS: Final = 2 + (1 + len(STEPS)) * _KEY_POLYNOMIALS
_ZEROS: Final = bytes(32)
SECRET_BYTES: Final = packed_bytes(1, PRIMES)
MATERIAL_BYTES: Final = packed_bytes(_MATERIAL_POLYNOMIALS, PRIMES)
RECORD_BYTES: Final = packed_bytes(2, RECORD_PRIMES)


class Transparent(Unreadable):
    """A ciphertext that hides nothing: its second polynomial is 0."""


class NeverLeaves(TypeError):
    """Something that is its owner's alone was about to be copied, stored or sent."""


@dataclass(frozen=True)
class Material:
    """What an owner publishes: enough to encrypt for the owner and to compute, not to decrypt."""

    data: bytes = field(repr=False)
    hash: bytes
    public: Any = field(repr=False, compare=False)
    relinearisation: Any = field(repr=False, compare=False)
    galois: Any = field(repr=False, compare=False)

    @classmethod
    def from_bytes(cls, data: bytes) -> Material:
        """Material from anybody. Raises Unreadable, OtherKind, OtherParameters; loads all or nothing."""
        bound, body = unframe(Kind.MATERIAL, data, MATERIAL_BYTES)
        if any(bound):
            raise Unreadable("the material is bound to something")
        numbers = packing.unpack(body, PRIMES)
        if not numbers.any(axis=2).all():
            raise Unreadable("a key of the material is 0")
        level = seal_context().key_parms_id()
        public, *keys = _split(numbers)
        rotations = {
            (galois_element(step) - 1) // 2: _digits(key)
            for step, key in zip(STEPS, keys[1:], strict=True)
        }
        return cls(
            data,
            hashlib.sha256(data).digest(),
            packing.public_key(public, level),
            packing.switching_keys(sealapi.RelinKeys(), {0: _digits(keys[0])}, level, 1),
            packing.switching_keys(sealapi.GaloisKeys(), rotations, level, DEGREE),
        )

    def encrypt(self, values: Values, layout: Layout) -> EncryptedRecord:
        """A record for its owner, by whoever holds it. Raises NotInLayout."""
        encryptor = sealapi.Encryptor(seal_context(), self.public)
        return _encrypt(encryptor.encrypt, layout.place(values), layout, self.hash)


@dataclass(frozen=True)
class EncryptedRecord:
    """One patient's record under its owner's key: 410 KB, for any model over its layout."""

    data: bytes = field(repr=False)
    layout: bytes
    """Hash of the layout."""
    material: bytes
    """Hash of the material of the key that it is encrypted to."""
    ciphertext: Any = field(repr=False, compare=False)

    @classmethod
    def from_bytes(cls, data: bytes) -> EncryptedRecord:
        """A record from anybody. Raises Unreadable, OtherKind, OtherParameters, Transparent."""
        bound, body = unframe(Kind.RECORD, data, RECORD_BYTES)
        numbers = packing.unpack(body, RECORD_PRIMES)
        require_opaque(numbers)
        loaded = packing.ciphertext(numbers, parms_id(len(RECORD_PRIMES)))
        return cls(data, bound[:32], bound[32:], loaded)

    @property
    def hash(self) -> bytes:
        """32 bytes: of all bytes."""
        return hashlib.sha256(self.data).digest()


class OwnerKey:
    """The secret key. It prints nothing, is not pickled or copied, and goes to bytes only by `to_bytes`."""

    def __init__(self, secret: Any, material: bytes) -> None:
        """Use `generate` or `from_bytes`."""
        self._secret = secret
        self.material = material
        """Hash of the material that belongs to it."""

    @classmethod
    def generate(cls) -> tuple[OwnerKey, Material]:
        """A fresh key from the operating system's randomness (SEAL seeds BLAKE2xb with it), and its
        material.
        """
        generator = sealapi.KeyGenerator(seal_context())
        material = Material.from_bytes(_material(generator))
        return cls(generator.secret_key(), material.hash), material

    def to_bytes(self) -> bytes:
        """The secret itself, 246 KB, for the owner's own key file and nowhere else."""
        numbers = read(self._secret.data().dyn_array(), 1, len(PRIMES))
        return frame(Kind.SECRET_KEY, self.material + _ZEROS, pack(numbers, PRIMES))

    @classmethod
    def from_bytes(cls, data: bytes) -> OwnerKey:
        """What `to_bytes` wrote. Raises Unreadable, OtherKind, OtherParameters."""
        bound, body = unframe(Kind.SECRET_KEY, data, SECRET_BYTES)
        numbers = packing.unpack(body, PRIMES)
        return cls(packing.secret_key(numbers, seal_context().key_parms_id()), bound[:32])

    def encrypt(self, values: Values, layout: Layout) -> EncryptedRecord:
        """The owner's own record; a tenth of the error of `Material.encrypt`. Raises NotInLayout."""
        encryptor = sealapi.Encryptor(seal_context(), self._secret)
        return _encrypt(encryptor.encrypt_symmetric, layout.place(values), layout, self.material)

    def __repr__(self) -> str:
        return f"OwnerKey({self.material.hex()[:8]}, secret)"

    def __reduce__(self) -> NoReturn:
        raise NeverLeaves("a secret key goes to bytes by to_bytes alone")

    def __copy__(self) -> NoReturn:
        raise NeverLeaves("a secret key is not copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise NeverLeaves("a secret key is not copied")


def require_opaque(numbers: Polynomials) -> None:
    """Raises Transparent for a ciphertext that anybody could read."""
    if not numbers[1].any():
        raise Transparent("the ciphertext hides nothing")


def _encrypt(encrypt: Any, slots: Slots, layout: Layout, material: bytes) -> EncryptedRecord:
    plain, encrypted = sealapi.Plaintext(), sealapi.Ciphertext()
    encoder().encode(slots.ravel().tolist(), SCALE, plain)
    encrypt(plain, encrypted)
    body = pack(read(encrypted.dyn_array(), 2, len(RECORD_PRIMES)), RECORD_PRIMES)
    return EncryptedRecord.from_bytes(frame(Kind.RECORD, layout.hash + material, body))


def _material(generator: Any) -> bytes:
    public, relinearisation, galois = (
        sealapi.PublicKey(),
        sealapi.RelinKeys(),
        sealapi.GaloisKeys(),
    )
    elements = [galois_element(step) for step in STEPS]
    generator.create_public_key(public)
    generator.create_relin_keys(relinearisation)
    generator.create_galois_keys(elements, galois)
    digits = [*relinearisation.key(2), *(each for at in elements for each in galois.key(at))]
    parts = [read(each.data().dyn_array(), 2, len(PRIMES)) for each in (public, *digits)]
    return frame(Kind.MATERIAL, _ZEROS + _ZEROS, pack(np.concatenate(parts), PRIMES))


def _split(numbers: Polynomials) -> list[Polynomials]:
    """The public key, then relinearisation and rotation keys."""
    ends = range(2, _MATERIAL_POLYNOMIALS, _KEY_POLYNOMIALS)
    return [numbers[:2], *(numbers[at : at + _KEY_POLYNOMIALS] for at in ends)]


def _digits(key: Polynomials) -> Sequence[Polynomials]:
    return [key[2 * i : 2 * i + 2] for i in range(_DIGITS)]
