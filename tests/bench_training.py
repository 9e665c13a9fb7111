"""Logistic regression trained on encrypted records, beside the same in the clear and a private one.

A pooled set of 8,192 people who never lived (`drawn_people`) under one key. CKKS has no threshold decryption
here, so this is a measure of what it would cost and no part of the product: whoever holds that key could
read every record. Ring degree 16384 and 438 bits, the most that 128-bit security allows there, give twelve
products one after the other; nothing is encrypted anew and nothing bootstrapped, so that three Nesterov
steps of four products each follow the first, which needs none. The sigmoid is its least-squares cubic on
-8..8 (M. Kim et al., JMIR Med Inform 2018, 6(2):e19).

    python -m tests.bench_training
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import reduce
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from tenseal import sealapi

from ml.dp.noise import add_gaussian, gaussian_noise
from tests.support.drawn_people import Drawn, draw
from tests.support.framingham import auc, newton

Floats = npt.NDArray[np.float64]
DEGREE, BITS, SCALE = 16_384, [38, *[30] * 12, 40], 2.0**30
PEOPLE = DEGREE // 2
LINEAR, CUBIC = 0.15012, 0.001593
"""sigmoid(-m) is about 0.5 - LINEAR m + CUBIC m^3 on -8..8."""
SHRINK = float(np.sqrt(CUBIC / LINEAR))
RATES = (4.0, 4.0, 4.0, 4.0)
MOMENTUM = (0.0, 0.28, 0.43)
"""Before each step but the first: Y. Nesterov (1983)."""
CLIP, DP_STEPS, DP_COST = 1.0, 12, 100_000_000
"""Norm of one person's gradient; steps; nano-rho of all of them (0.1 rho: epsilon 2.14 at delta 1e-6)."""


@dataclass(frozen=True)
class Trained:
    name: str
    weights: Floats  # one a variable, then the intercept
    seconds: float
    peak: int  # bytes of the process
    note: str


def signed(people: Drawn) -> Floats:
    """(n, 9): standardised values and 1, negated for the well."""
    x = np.column_stack([people.standardised, np.ones(len(people.ill))])
    return x * (2 * people.ill - 1)[:, None]


def nesterov(start: Floats, gradient: Callable[[Floats], Floats]) -> Floats:
    """In the clear, what `Encrypted` does: the first step is given."""
    ahead = behind = start
    for k, rate in enumerate(RATES[1:]):
        point = ahead + MOMENTUM[k] * (ahead - behind)
        behind, ahead = ahead, point + rate * gradient(point)
    return ahead


def plain_steps(z: Floats) -> Floats:
    def gradient(weights: Floats) -> Floats:
        m = z @ weights
        return ((0.5 - LINEAR * m + CUBIC * m**3)[:, None] * z).mean(axis=0)

    return nesterov(RATES[0] * 0.5 * z.mean(axis=0), gradient)


class Encrypted:
    """The whole computation under one key. The key holder encrypts the pool and opens the weights at the
    end.
    """

    def __init__(self, z: Floats) -> None:
        parameters = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE.CKKS)
        parameters.set_poly_modulus_degree(DEGREE)
        parameters.set_coeff_modulus(sealapi.CoeffModulus.Create(DEGREE, BITS))
        self.primes = [each.value() for each in parameters.coeff_modulus()]
        self.context = sealapi.SEALContext(parameters, True, sealapi.SEC_LEVEL_TYPE.TC128)
        if not self.context.parameters_set():
            raise ValueError(self.context.parameters_error_message())
        generator = sealapi.KeyGenerator(self.context)
        self.secret, self.relin, self.galois = (
            generator.secret_key(),
            sealapi.RelinKeys(),
            sealapi.GaloisKeys(),
        )
        generator.create_relin_keys(self.relin)
        turns = [pow(3, 1 << i, 2 * DEGREE) for i in range(PEOPLE.bit_length() - 1)]
        generator.create_galois_keys(turns, self.galois)
        self.encoder, self.evaluator = (
            sealapi.CKKSEncoder(self.context),
            sealapi.Evaluator(self.context),
        )
        self.n, self.columns = z.shape
        self.full = [self._encrypt(z[:, j]) for j in range(self.columns)]
        self.small = [self._encrypt(z[:, j] * SHRINK) for j in range(self.columns)]
        self.half = [self._encrypt(z[:, j] * RATES[0] * 0.5 / self.n) for j in range(self.columns)]

    def train(self) -> Floats:
        """Each step costs four products; the linear parts, with their constants, lie beside them."""
        first = [self._sum(each) for each in self.half]
        point, behind = first, first
        for k, rate in enumerate(RATES[1:]):
            slopes = self._slopes(point)
            share = rate / RATES[0]  # of `first`, the part of every gradient that stays
            factor = -rate * LINEAR / SHRINK / self.n
            more = 1 + (MOMENTUM[k + 1] if k + 1 < len(MOMENTUM) else 0.0)
            following, ahead = [], []
            for j in range(self.columns):
                parts = ((1.0, point[j]), (share, first[j]), (factor, slopes[j]))
                ahead.append(self._mixed(parts))
                pushed = [(more * each, part) for each, part in parts]
                following.append(self._mixed([*pushed, (1 - more, behind[j])]))
            point, behind = following, ahead
        return np.array([self._open(each) for each in behind])

    def _slopes(self, point: list[Any]) -> list[Any]:
        """In every slot, the sum over people of SHRINK m (1 - u^2) z, u = SHRINK m."""
        u = self._product(point[0], self.small[0])
        for j in range(1, self.columns):
            u = self._add(u, self._product(point[j], self.small[j]))
        bend = self._plus(self._negated(self._product(u, u)), 1.0)
        each = [self._product(self._product(u, full), bend) for full in self.full]
        return [self._sum(one) for one in each]

    def _mixed(self, parts: Sequence[tuple[float, Any]]) -> Any:
        scaled = [part if each == 1 else self._constant(part, each) for each, part in parts if each]
        return reduce(self._add, scaled)

    # ---- Arithmetic: products are rescaled to SCALE as nearly as the primes allow ----

    def _encrypt(self, values: Floats) -> Any:
        plain, out = sealapi.Plaintext(), sealapi.Ciphertext()
        self.encoder.encode(values.tolist(), SCALE, plain)
        sealapi.Encryptor(self.context, self.secret).encrypt_symmetric(plain, out)
        return out

    def _open(self, encrypted: Any) -> float:
        plain = sealapi.Plaintext()
        sealapi.Decryptor(self.context, self.secret).decrypt(encrypted, plain)
        return float(np.mean(self.encoder.decode_double(plain)))

    def _level(self, left: Any, right: Any) -> tuple[Any, Any]:
        lowest = min((left, right), key=lambda each: int(each.coeff_modulus_size()))
        pair = []
        for each in (left, right):
            out = sealapi.Ciphertext()
            self.evaluator.mod_switch_to(each, lowest.parms_id(), out)
            pair.append(out)
        return pair[0], pair[1]

    def _add(self, left: Any, right: Any) -> Any:
        left, right = self._level(left, right)
        right.scale = left.scale  # they differ by what the primes differ from 2^30: below 1e-4
        out = sealapi.Ciphertext()
        self.evaluator.add(left, right, out)
        return out

    def _product(self, left: Any, right: Any) -> Any:
        out = sealapi.Ciphertext()
        self.evaluator.multiply(*self._level(left, right), out)
        self.evaluator.relinearize_inplace(out, self.relin)
        self.evaluator.rescale_to_next_inplace(out)
        return out

    def _constant(self, left: Any, factor: float) -> Any:
        plain, out = sealapi.Plaintext(), sealapi.Ciphertext()
        prime = self.primes[left.coeff_modulus_size() - 1]
        self.encoder.encode(factor, left.parms_id(), SCALE * prime / left.scale, plain)
        self.evaluator.multiply_plain(left, plain, out)
        self.evaluator.rescale_to_next_inplace(out)
        return out

    def _plus(self, left: Any, number: float) -> Any:
        plain = sealapi.Plaintext()
        self.encoder.encode(number, left.parms_id(), left.scale, plain)
        self.evaluator.add_plain_inplace(left, plain)
        return left

    def _negated(self, left: Any) -> Any:
        self.evaluator.negate_inplace(left)
        return left

    def _sum(self, left: Any) -> Any:
        """Over all slots, in every slot."""
        total = left
        for i in range(PEOPLE.bit_length() - 1):
            turned, out = sealapi.Ciphertext(), sealapi.Ciphertext()
            self.evaluator.rotate_vector(total, 1 << i, self.galois, turned)
            self.evaluator.add(total, turned, out)
            total = out
        return total


# ---- Contenders ----


def trained_encrypted(people: Drawn) -> tuple[Floats, str]:
    z = signed(people)
    started = time.perf_counter()
    pool = Encrypted(z)
    ready = time.perf_counter() - started
    weights = pool.train()
    away = np.abs(weights - plain_steps(z)).max()
    return weights, f"keys and pool {ready:.0f} s of it; weights off by {away:.1g}"


def trained_alike(people: Drawn) -> tuple[Floats, str]:
    return plain_steps(signed(people)), "the same steps and cubic"


def trained_fully(people: Drawn) -> tuple[Floats, str]:
    weights = newton(people.standardised, people.ill)
    return weights, "Newton's method to the end"


def trained_privately(people: Drawn) -> tuple[Floats, str]:
    """Gradient steps with clipped gradients and exact discrete Gaussian noise (M. Abadi et al., CCS 2016)."""
    z, grid = signed(people), 1 << 16
    weights = np.zeros(z.shape[1])
    length = int(2 * CLIP * grid) + z.shape[1]  # one replaced person; rounding included
    for _ in range(DP_STEPS):
        each = z / (1 + np.exp(z @ weights))[:, None]
        norms = np.maximum(np.linalg.norm(each, axis=1) / CLIP, 1.0)
        total = np.rint(each / norms[:, None] * grid).astype(np.int64).sum(axis=0)
        noise = gaussian_noise(DP_COST // DP_STEPS, length**2, len(z) * grid)
        noised = add_gaussian([int(number) for number in total], noise)
        weights = weights + 2.5 * np.array(noised) / grid / len(z)
    return weights, f"{DP_STEPS} steps, {DP_COST / 1e9:g} rho, gradients clipped to {CLIP:g}"


CONTENDERS = {
    "CKKS, 4 Nesterov steps": trained_encrypted,
    "plain, 4 Nesterov steps": trained_alike,
    "plain, converged": trained_fully,
    "differentially private": trained_privately,
}


def _measured(name: str) -> Trained:
    """In a process of its own, so that its memory is its own."""
    people = draw(PEOPLE, seed=1)
    started = time.perf_counter()
    weights, note = CONTENDERS[name](people)
    taken = time.perf_counter() - started
    return Trained(name, weights, taken, peak_memory(), note)


def peak_memory() -> int:
    """Bytes that this process has held at once, at most: by /proc, since `ru_maxrss` of a process that was
    just started is that of whoever started it.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (each for each in lines if each.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def training_table() -> Table:
    """Accuracy, AUC, minutes and memory of each, on 8,491 other people."""
    title = f"logistic regression on {PEOPLE:,} people, 8 variables"
    table = Table("trained", "AUC", "accuracy", "minutes", "peak memory", "", title=title)
    others = draw(8491, seed=2)
    x = np.column_stack([others.standardised, np.ones(len(others.ill))])
    for name in CONTENDERS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            each = pool.submit(_measured, name).result()
        logits = x @ each.weights
        right = float(((logits > 0) == (others.ill == 1)).mean())
        size = f"{each.peak / 2**20:,.0f} MiB"
        table.add_row(
            each.name,
            f"{auc(logits, others.ill):.4f}",
            f"{right:.4f}",
            f"{each.seconds / 60:.3g}",
            size,
            each.note,
        )
    return table


if __name__ == "__main__":
    Console(width=140).print(training_table())
