"""The one parameter set of this package, and the SEAL context that computes under it.

CKKS (J. H. Cheon, A. Kim, M. Kim, Y. Song, ASIACRYPT 2017) as Microsoft SEAL implements it, reached through
TenSEAL's bindings. 128-bit security: for ring degree 8192 and a ternary secret the Homomorphic Encryption
Security Standard (M. Albrecht et al., HomomorphicEncryption.org, 2018, table 1, classical) allows a modulus
of 218 bits; these primes have 217, and SEAL refuses a context that has more.

The primes are written out, not asked of SEAL, so that no other version can choose others. From the back: the
last is for key switching alone; the five of 29 bits are one multiplication each; the first stays to the end,
and its 36 bits leave room for results of magnitude below 2^36 / 2^29 / 2 = 64.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, Final

from tenseal import sealapi

DEGREE: Final = 8192
SLOTS: Final = DEGREE // 2
PRIMES: Final = (
    68718428161,
    536494081,
    536543233,
    536608769,
    536641537,
    536690689,
    68719230977,
)
"""All primes of keys; the last one never is part of a ciphertext's modulus."""
DEPTH: Final = len(PRIMES) - 2
"""Multiplications one after the other."""
SCALE: Final = 2.0**29
"""What a value is multiplied by before it is rounded to a whole coefficient."""
STEPS: Final = (64, 256, 1024)
"""Rotations that a published key allows; see `layout`."""
PARAMETERS: Final = hashlib.sha256(
    f"usufruct-ckks/1 degree={DEGREE} primes={PRIMES} scale={SCALE} steps={STEPS}".encode("ascii")
).digest()
"""Of everything above; every serialised object begins with it."""


class ParametersRefused(RuntimeError):
    """The SEAL on this machine does not take these parameters: nothing can be computed."""


@lru_cache(maxsize=1)
def seal_context() -> Any:
    """SEAL's context. Raises ParametersRefused where it does not hold at 128-bit security."""
    parameters = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE.CKKS)
    parameters.set_poly_modulus_degree(DEGREE)
    parameters.set_coeff_modulus([sealapi.Modulus(prime) for prime in PRIMES])
    context = sealapi.SEALContext(parameters, True, sealapi.SEC_LEVEL_TYPE.TC128)
    if not context.parameters_set():
        raise ParametersRefused(str(context.parameters_error_message()))
    return context


@lru_cache(maxsize=len(PRIMES))
def parms_id(primes: int) -> Any:
    """SEAL's name of the level at which ciphertexts have this many primes, 1 to DEPTH + 1."""
    data = seal_context().first_context_data()
    while data.chain_index() + 1 > primes:
        data = data.next_context_data()
    return data.parms_id()


@lru_cache(maxsize=1)
def encoder() -> Any:
    """From numbers to coefficients and back."""
    return sealapi.CKKSEncoder(seal_context())


@lru_cache(maxsize=1)
def evaluator() -> Any:
    """Sums, products and rotations; holds no key."""
    return sealapi.Evaluator(seal_context())


def galois_element(step: int) -> int:
    """The automorphism that rotates slots by `step` (3 generates the rotations modulo 2 N)."""
    return pow(3, step, 2 * DEGREE)
