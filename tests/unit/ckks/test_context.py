"""The parameter set: its security, and that it is what it says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tenseal import sealapi

from ml.ckks import context
from tests.unit.ckks.conftest import Owner

STANDARD = {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881}
"""Bits of the modulus at 128-bit security, ternary secret, classical: HomomorphicEncryption.org 2018,
table 1.
"""


@pytest.fixture
def fresh_context() -> Iterator[None]:
    context.seal_context.cache_clear()
    yield None
    context.seal_context.cache_clear()


def test_the_modulus_of_all_keys_is_within_the_standard() -> None:
    product = 1
    for prime in context.PRIMES:
        product *= prime
    assert product.bit_length() <= STANDARD[context.DEGREE]
    assert (
        sealapi.CoeffModulus.MaxBitCount(context.DEGREE, sealapi.SEC_LEVEL_TYPE.TC128)
        == STANDARD[context.DEGREE]
    )


def test_the_primes_are_distinct_and_fit_the_ring() -> None:
    assert len(set(context.PRIMES)) == len(context.PRIMES)
    for prime in context.PRIMES:
        assert sealapi.Modulus(prime).is_prime()
        assert prime % (2 * context.DEGREE) == 1


def test_seal_holds_the_context_to_128_bits() -> None:
    data = context.seal_context().key_context_data()
    assert data.qualifiers().sec_level == sealapi.SEC_LEVEL_TYPE.TC128
    assert data.parms().poly_modulus_degree() == context.DEGREE
    assert tuple(each.value() for each in data.parms().coeff_modulus()) == context.PRIMES


@pytest.mark.usefixtures("fresh_context")
def test_a_modulus_of_one_bit_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wider = sealapi.CoeffModulus.Create(context.DEGREE, [37, 29, 29, 29, 29, 29, 37])
    monkeypatch.setattr(context, "PRIMES", tuple(each.value() for each in wider))
    with pytest.raises(context.ParametersRefused, match="security standard"):
        context.seal_context()


@pytest.mark.parametrize("primes", range(1, context.DEPTH + 2))
def test_each_level_has_its_number_of_primes(primes: int) -> None:
    fresh = sealapi.Ciphertext(context.seal_context(), context.parms_id(primes))
    assert fresh.coeff_modulus_size() == primes


@pytest.mark.parametrize("step", context.STEPS)
def test_a_rotation_key_rotates_by_its_step(step: int, owner: Owner) -> None:
    slots = [float(i % 7) for i in range(context.SLOTS)]
    plain, encrypted, turned = sealapi.Plaintext(), sealapi.Ciphertext(), sealapi.Ciphertext()
    context.encoder().encode(slots, context.SCALE**2, plain)
    sealapi.Encryptor(context.seal_context(), owner.key._secret).encrypt_symmetric(plain, encrypted)
    context.evaluator().rotate_vector(encrypted, step, owner.material.galois, turned)
    sealapi.Decryptor(context.seal_context(), owner.key._secret).decrypt(turned, plain)
    found = context.encoder().decode_double(plain)
    assert found == pytest.approx(slots[step:] + slots[:step], abs=1e-4)
