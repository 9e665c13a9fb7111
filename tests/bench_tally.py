"""Sums of encrypted columns beside TenSEAL's BFV, and the logarithms that open them."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

import numpy as np
import tenseal
from tenseal import sealapi

from marketplace.client.logarithms import Logarithms
from marketplace.custodian.tallies import FOLDER
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
from ml.homomorphic.curve import ORDER, Point, Points, times_base
from ml.homomorphic.elgamal import COLUMN_BYTES, draw_randomness, encrypt
from ml.homomorphic.logarithm import MOST_BITS, Table
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
from tests.support.filled_journal import fill

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
"""Nano-rho: of a whole answer, whose noise has then a scale of some 70 patients' largest square."""
VARIABLES, SPREAD = 64, 1_000
VALUES, SQUARED = (1,), (0, 1, 2)
"""Columns of a variable: its value; or its presence, value and square, as means and variances take."""
SOME_BITS, TABLE_BITS = 20, 26
"""2^24 takes about three times as long as 2^26, which is 0.5 GB and takes minutes to build, once."""
KEPT = Path(__file__).resolve().parents[1] / "var"


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
def spreading_contenders() -> Iterator[Contenders]:
    """What a custodian's watch does with records that came in, before any request: from the journal to the
    folder of columns, on disk.
    """
    with tempfile.TemporaryDirectory() as folder:
        records = fill(Path(folder), SPREAD, variable_rows(SQUARED))

        def spread() -> None:
            shutil.rmtree(Path(folder) / FOLDER, ignore_errors=True)
            if not records.tallies().spread():
                raise AssertionError("not all of it was spread")

        yield {"Tallies.spread": spread}


def variable_rows(exponents: Sequence[int]) -> list[list[int]]:
    """Of VARIABLES variables each, to these powers, in some DISTINCT patients."""
    drawn = np.random.default_rng(2).integers(0, LARGEST + 1, (DISTINCT, VARIABLES))
    rows: list[list[int]] = np.hstack([drawn**each for each in exponents]).tolist()
    return rows


@contextmanager
def answer_contenders(exponents: Sequence[int]) -> Iterator[Contenders]:
    """From a sealed cohort to its opened sums, with the journals and columns that a custodian has then
    (`Tallies.sums` of records that were spread as they came in): all that custodians, operator and researcher
    compute, one after the other on one machine, with every custodian's own sums. Neither chain nor network.
    Custodians are processes of their own: their noise is drawn and verified on all cores.
    """
    values = variable_rows(exponents)
    sums, largest = len(values[0]), [LARGEST**each for each in exponents]
    shares = Shares(COST, VARIABLES * sum(each**2 for each in largest), sums, QUORUM)
    room = CUSTODIANS * shares.bound(CUSTODIANS)
    ranges = [(-room, PATIENTS * max(largest) + room)] * sums
    own, delivery_key = own_recipient(1 + secrets.randbelow(2**250))
    to, tables = recipient(delivery_key), kept_tables()
    session = TallySession(31337, Address("0x" + "11" * 20), bytes(32), bytes(32), 1)
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as processes,
    ):
        cohort = fill(Path(folder), PATIENTS, values)
        tallies = cohort.tallies()
        tallies.spread()
        slope = 1 + secrets.randbelow(2**250)
        held = {place: (cohort.secret + slope * (place + 1)) % ORDER for place in range(CUSTODIANS)}
        public = {at: times_base(each) for at, each in held.items()}
        at_places = [(session, place, shares, cohort.public_key) for place in range(CUSTODIANS)]

        def added() -> list[Sum]:
            for store in tallies._columns._stores.values():
                store._kept.clear()
            return cohort.sums(tallies)

        def noise() -> list[Contribution]:
            chosen = list(processes.map(drawn, at_places))
            # Each custodian the others', and the operator all.
            shown = [(*each, chosen) for each in at_places]
            list(processes.map(verified, shown))
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

        true = (np.array(values).sum(axis=0) * (PATIENTS // DISTINCT)).tolist()

        def answer() -> None:
            chosen = noise()
            whole = [noised(added(), chosen) for _ in range(CUSTODIANS)]
            delivered = combine(partials(whole[0]), whole[0], QUORUM)
            points = open_sums(decode_sealed(encode_sealed(delivered)), own)
            found = tables.find(points, ranges)
            if any(abs(one - other) > room for one, other in zip(found, true, strict=True)):
                raise AssertionError("the answer is further off than all noise can be")

        drawn_once = chosen_points(added(), noise(), cohort.secret)
        yield {
            f"{CUSTODIANS} custodians, operator, researcher; {sums} sums": answer,
            "of that, one custodian's sums": added,
            "of that, all noise": noise,
            "of that, logarithms": lambda: tables.find(drawn_once, ranges),
        }


Seat: TypeAlias = tuple[TallySession, int, Shares, bytes]


def drawn(seat: Seat) -> Contribution:
    """One custodian's noise, for each size of the set; that of all is what counts here."""
    session, place, shares, key = seat
    by, public_key = session.contributor(place), Point.from_bytes(key)
    sizes = range(QUORUM, CUSTODIANS + 1)
    return {size: contribute(shares, size, public_key, by) for size in sizes}[CUSTODIANS]


def verified(shown: tuple[TallySession, int, Shares, bytes, Sequence[Contribution]]) -> None:
    """What one party looks at of all custodians' noise."""
    session, _, shares, key, contributions = shown
    public_key = Point.from_bytes(key)
    for place, each in enumerate(contributions):
        verify_contribution(each, shares, CUSTODIANS, public_key, session.contributor(place))


def chosen_points(sums: Sequence[Sum], chosen: Sequence[Contribution], secret: int) -> list[Point]:
    """What a researcher looks logarithms up of."""
    return [each.value - each.key * secret for each in noised(sums, chosen)]


def logarithm_contenders() -> AbstractContextManager[Contenders]:
    """All of a range of 2^40, from its middle: half of the sums are negative. As an answer is opened, by the
    table that `usufruct logarithms` keeps; and the search alone.
    """
    tables, half = kept_tables(), 1 << (MOST_BITS - 1)
    drawn = [secrets.randbelow(2 * half) - half for _ in range(SUMS)]
    points = [times_base(value) for value in drawn]
    narrow = [times_base(value >> 14) for value in drawn]
    ranges, small = [(-half, half - 1)] * SUMS, [(-half >> 14, half >> 14)] * SUMS
    table = Table.load(tables.folder / f"logarithms-{TABLE_BITS}.bin")

    def wide() -> None:
        if tables.find(points, ranges) != drawn:
            raise AssertionError("another logarithm")

    def searched() -> None:
        if table.find(points, -half, half - 1, CORES) != drawn:
            raise AssertionError("another logarithm")

    return ready(
        {
            "Logarithms.find, range 2^40": wide,
            f"of that, the search, by 2^{TABLE_BITS} points": searched,
            "Logarithms.find, range 2^26": lambda: tables.find(narrow, small),
        }
    )


def kept_tables() -> Logarithms:
    """As after `usufruct logarithms`: built once, some minutes."""
    tables = Logarithms(KEPT, processes=CORES)
    for bits in (SOME_BITS, TABLE_BITS):
        tables.prepare(bits)
    return tables


TALLY_TASKS = (
    Task(f"sum {PATIENTS:,} x {COLUMNS} columns", "records", PATIENTS, 5, sum_contenders),
    Task(
        f"{SPREAD:,} records of {VARIABLES} variables laid out",
        "records",
        SPREAD,
        3,
        spreading_contenders,
    ),
    *(
        Task(
            f"sealed {PATIENTS:,} x {VARIABLES} variables to opened, {each} columns",
            "answers",
            1,
            3,
            partial(answer_contenders, exponents),
        )
        for exponents in (VALUES, SQUARED)
        for each in (VARIABLES * len(exponents),)
    ),
    Task(f"{SUMS} signed logarithms", "sums", SUMS, 3, logarithm_contenders),
)
