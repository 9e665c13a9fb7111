"""Sums of encrypted columns beside TenSEAL's BFV, and the logarithms that open them."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import tenseal
from tenseal import sealapi

from marketplace.vocabulary import Address
from marketplace.wire.tallying import (
    TallySession,
    decode_sealed,
    encode_sealed,
    noised,
    own_recipient,
    recipient,
)
from ml.homomorphic.columns import SEGMENT_ROWS, ColumnStore
from ml.homomorphic.curve import ORDER, Points, times_base
from ml.homomorphic.elgamal import COLUMN_BYTES, draw_randomness, encrypt
from ml.homomorphic.logarithm import MOST_BITS, Table, TableDamaged
from ml.homomorphic.noise import Contribution, Shares, contribute, verify_contribution
from ml.homomorphic.threshold import (
    Partial,
    Sum,
    combine,
    decrypt_partially,
    open_sums,
    verify_partial,
)
from tests.bench import Contenders, Task, ready

PATIENTS, COLUMNS = 10_000, 64
DISTINCT = 100
"""Records that are encrypted; the others are copies, which take as long to add."""
LARGEST = 255
"""Of one value."""
BFV_DEGREE, BFV_BITS = 4096, 30
"""BFV's plaintext prime holds every sum; SEAL's own 109 bits of modulus at 128-bit security."""
SUMS, CORES = 64, 2
CUSTODIANS, QUORUM = 3, 2
COST = 10_000_000
"""Nano-rho: of an answer with 64 sums, whose noise is then a few hundred patients' largest value."""
TABLE_BITS = 26
"""2^24 takes about three times as long as 2^26, which is 0.5 GB and takes minutes to build, once."""
KEPT = Path(__file__).resolve().parents[1] / "var" / f"bench-logarithms-{TABLE_BITS}"


@contextmanager
def sum_contenders() -> Iterator[Contenders]:
    """The same sums, from ciphertexts in memory to one ciphertext (BFV) or 64 (columns)."""
    values = np.random.default_rng(1).integers(0, LARGEST + 1, (DISTINCT, COLUMNS))
    true = (values.sum(axis=0) * (PATIENTS // DISTINCT)).tolist()
    with tempfile.TemporaryDirectory() as folder:
        store, secret = filled(Path(folder), values.tolist())
        bfv, records, record_bytes = bfv_records(values.tolist())
        rows, columns = list(range(PATIENTS)), list(range(COLUMNS))

        def elgamal() -> None:
            store._kept.clear()
            found = store.sum(columns, rows)
            opened = found[-1].value - found[-1].key * secret
            if opened != times_base(true[-1]):
                raise AssertionError("the sum is another")

        def again() -> None:
            store.sum(columns, rows[3:])

        def lattice() -> None:
            total = tenseal.bfv_vector(bfv, [0] * COLUMNS)
            for _ in range(PATIENTS // DISTINCT):
                for record in records:
                    total.add_(record)
            if total.decrypt() != true:
                raise AssertionError("the sum is another")

        own = COLUMNS * COLUMN_BYTES
        yield {
            f"ColumnStore, {own:,} bytes a record": elgamal,
            "a cohort that differs by three": again,
            f"TenSEAL BFV, {record_bytes:,} bytes": lattice,
        }
        store.close()


def filled(folder: Path, values: list[list[int]]) -> tuple[ColumnStore, int]:
    """A store of PATIENTS rows, put there at once (a write is on disk when it returns, one by one)."""
    secret = 1 + secrets.randbelow(2**250)
    key = times_base(secret)
    encrypted = [Points.parse(encrypt(row, draw_randomness(COLUMNS), key)).memory for row in values]
    several = np.stack(encrypted, axis=1)  # (2 columns, DISTINCT, 64)
    store = ColumnStore(folder / "columns", COLUMNS)
    for first in range(0, PATIENTS, SEGMENT_ROWS):
        count = min(SEGMENT_ROWS, PATIENTS - first)
        segment = store._segment(first // SEGMENT_ROWS)
        segment.points[:, :count] = several[:, np.arange(first, first + count) % DISTINCT]
        segment.filled[:count] = True
    return store, secret


def bfv_records(
    values: list[list[int]],
) -> tuple[tenseal.Context, list[tenseal.BFVVector], int]:
    prime = sealapi.PlainModulus.Batching(BFV_DEGREE, BFV_BITS).value()
    context = tenseal.context(tenseal.SCHEME_TYPE.BFV, BFV_DEGREE, prime)
    records = [tenseal.bfv_vector(context, row) for row in values]
    return context, records, len(records[0].serialize())


@contextmanager
def answer_contenders() -> Iterator[Contenders]:
    """From a sealed cohort's columns to the opened sums: all that custodians, operator and researcher
    compute, one after the other, with every custodian's own sums. Neither chain nor network.
    """
    values = np.random.default_rng(2).integers(0, LARGEST + 1, (DISTINCT, COLUMNS))
    true = (values.sum(axis=0) * (PATIENTS // DISTINCT)).tolist()
    shares = Shares(COST, LARGEST**2 * COLUMNS, COLUMNS, QUORUM)
    room = CUSTODIANS * shares.bound(CUSTODIANS)
    table, (own, delivery_key) = kept_table(), own_recipient(1 + secrets.randbelow(2**250))
    to = recipient(delivery_key)
    session = TallySession(31337, Address("0x" + "11" * 20), bytes(32), bytes(32), 1)
    with tempfile.TemporaryDirectory() as folder:
        store, secret = filled(Path(folder), values.tolist())
        slope = 1 + secrets.randbelow(2**250)
        held = {place: (secret + slope * (place + 1)) % ORDER for place in range(CUSTODIANS)}
        key, public = times_base(secret), {at: times_base(each) for at, each in held.items()}

        def added() -> list[Sum]:
            store._kept.clear()
            return store.sum(list(range(COLUMNS)), list(range(PATIENTS)))

        def noise() -> list[Contribution]:
            makers = [session.contributor(place) for place in range(CUSTODIANS)]
            sizes = range(QUORUM, CUSTODIANS + 1)
            drawn = [{size: contribute(shares, size, key, by) for size in sizes} for by in makers]
            chosen = [each[CUSTODIANS] for each in drawn]
            for _ in range(CUSTODIANS):  # each the others', and the operator all
                for made, by in zip(chosen, makers, strict=True):
                    verify_contribution(made, shares, CUSTODIANS, key, by)
            return chosen

        def partials(whole: Sequence[Sum]) -> dict[int, Partial]:
            aggregate = session.aggregate(bytes(32), bytes(32), whole)
            bound_to = {place: session.partial(place, aggregate) for place in range(QUORUM)}
            made = {
                place: decrypt_partially(held[place], whole, to, bound_to[place])
                for place in range(QUORUM)
            }
            for _ in range(1 + QUORUM):  # the operator, and whoever signs
                for place, each in made.items():
                    verify_partial(each, public[place], whole, to, bound_to[place])
            return {place + 1: each for place, each in made.items()}

        def answer() -> None:
            chosen = noise()
            sums = [noised(added(), chosen) for _ in range(CUSTODIANS)]
            delivered = combine(partials(sums[0]), sums[0], QUORUM)
            points = open_sums(decode_sealed(encode_sealed(delivered)), own)
            found = table.find(points, -room, PATIENTS * LARGEST + room, CORES)
            if any(abs(one - other) > room for one, other in zip(found, true, strict=True)):
                raise AssertionError("the answer is further off than all noise can be")

        yield {
            f"{CUSTODIANS} custodians, operator, researcher": answer,
            "of that, one custodian's sums": added,
            "of that, all noise": noise,
        }
        store.close()


def logarithm_contenders() -> AbstractContextManager[Contenders]:
    """All of a range of 2^40, from its middle: half of the sums are negative."""
    table, half = kept_table(), 1 << (MOST_BITS - 1)
    drawn = [secrets.randbelow(2 * half) - half for _ in range(SUMS)]
    points = [times_base(value) for value in drawn]
    narrow = [times_base(value >> 14) for value in drawn]

    def wide() -> None:
        if table.find(points, -half, half - 1, CORES) != drawn:
            raise AssertionError("another logarithm")

    def small() -> None:
        table.find(narrow, -half >> 14, half >> 14, CORES)

    return ready({f"table of 2^{TABLE_BITS}, range 2^40": wide, "the same, range 2^26": small})


def kept_table() -> Table:
    """Built once: about 3 microseconds a point."""
    try:
        return Table.load(KEPT)
    except (OSError, TableDamaged):
        table = Table.build(1 << TABLE_BITS)
        KEPT.parent.mkdir(exist_ok=True)
        table.save(KEPT)
        return table


TALLY_TASKS = (
    Task(f"sum {PATIENTS:,} x {COLUMNS} columns", "records", PATIENTS, 5, sum_contenders),
    Task(
        f"sealed {PATIENTS:,} x {COLUMNS} to opened",
        "answers",
        1,
        3,
        answer_contenders,
    ),
    Task(f"{SUMS} signed logarithms", "sums", SUMS, 3, logarithm_contenders),
)
