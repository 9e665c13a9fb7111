"""Regenerates tally_answers.json, what the browser makes of opened sums: python -m
tests.vectors.generate_tally_answers

Each case is a question, what was settled of it, and noised sums: those of records drawn here, with noise that
is ordinary, none, or at the far ends of what can be. Some sealed results are of them, too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from marketplace.analyses.tallied import Tallied, _float_up
from marketplace.analyses.tallies import TALLIES
from marketplace.analyses.variables import variables_of
from marketplace.wire import dictionary as dictionaries
from marketplace.wire.tally import encoding_of
from marketplace.wire.tallying import encode_sealed
from ml.dp.accounting import sqrt_up
from ml.dp.noise import GaussianNoise
from ml.dp.noised import decimal_text, scale_text
from ml.homomorphic.curve import Point, times_base
from ml.homomorphic.noise import Shares
from ml.homomorphic.threshold import Sum, open_sums
from tests.vectors.generate_tally import category, document, grid, number
from tests.vectors.generate_web import written
from tests.vectors.tagging import hexed

FILE = Path(__file__).parent / "tally_answers.json"
SCHEMA = "usufruct-vectors-tally-answers/1"
DICTIONARY = dictionaries.from_json(
    document(
        [
            number("age", "18", "110"),
            number("weight", "-5.0", "80.5", 1),
            number("lab", "0.000", "4.000", 3) | {"unit": "mmol/L"},
            number("plain", "-12", "-2"),
            category("sex", 2),
            category("smoker", 3),
        ],
        [
            grid("age", "1", "50", "65"),
            grid("weight", "0.5", "0.0", "20.5"),
            grid("lab", "0.004"),
            grid("plain", "2"),
            {"name": "sex"},
            {"name": "smoker"},
        ],
    )
)
OLD = {"variable": "age", "op": ">=", "value": "50"}
QUESTIONS: Sequence[tuple[str, dict[str, Any]]] = (
    ("count.v1", {"filters": [OLD]}),
    *(
        (f"{name}.v1", {"variable": variable})
        for name in ("sum", "mean", "variance")
        for variable in ("age", "weight", "lab", "plain")
    ),
    ("histogram.v1", {"variable": "smoker"}),
    ("histogram.v1", {"variable": "age", "edges": ["18", "50", "65", "110"]}),
    ("histogram.v1", {"variable": "weight", "edges": ["-5", "20.5", "80.5"]}),
    ("cross_table.v1", {"axes": [{"variable": "sex"}, {"variable": "smoker"}]}),
    (
        "cross_table.v1",
        {"axes": [{"variable": "age", "edges": ["18", "50", "110"]}, {"variable": "sex"}]},
    ),
)
SETTLED = (
    {"members": 20, "cost": 1_000_000_000, "contributors": 2, "quorum": 2},
    {"members": 1_000, "cost": 30_000_000, "contributors": 3, "quorum": 2},
    {"members": 4_321, "cost": 123_457, "contributors": 5, "quorum": 3},
)
ENDS = ("truth", "noise", "low", "high", "middle")
SECRET = 0x5EC2E7
RANDOM = random.Random(20_261_122)  # vectors, not secrets


@dataclass(frozen=True)
class Case:
    """One question, settled, with the sums that were opened."""

    analysis: str
    asked: dict[str, Any]
    settled: dict[str, int]
    end: str

    @property
    def tallied(self) -> Tallied:
        found: Tallied = self._tally.tallied(self._parsed, encoding_of(DICTIONARY))
        return found

    @property
    def canonical(self) -> dict[str, Any]:
        return dict(json.loads(self._tally.canonical(self._parsed)))

    @property
    def _tally(self) -> Any:
        return TALLIES[self.analysis]

    @property
    def _parsed(self) -> Any:
        return self._tally.parse(self.asked, variables_of(DICTIONARY))

    def ranges(self) -> list[tuple[int, int]]:
        shares = self.tallied.shares(self.settled["cost"], self.settled["quorum"])
        return self.tallied.ranges(self.settled["members"], self.settled["contributors"], shares)

    def answer(self, sums: Sequence[int]) -> dict[str, Any]:
        """As the command line makes it."""
        cost, tallied = self.settled["cost"], self.tallied
        shares = tallied.shares(cost, self.settled["quorum"])
        noise = tallied.noise(cost, self.settled["contributors"], shares)
        found = tallied.finish(sums, noise, self.settled["members"], cost)
        return dict(json.loads(found.to_json()))

    def sums(self) -> list[int]:
        """Of what `end` says: the records' own, with noise, or at an end of what each sum can be."""
        if self.end in ("low", "high"):
            return [within[self.end == "high"] for within in self.ranges()]
        if self.end == "middle":
            return [(low + high) // 2 for low, high in self.ranges()]
        members, exact = self.settled["members"], list[int]()
        for wanted in self.tallied.wanted:
            share = RANDOM.uniform(0.2, 0.8) if wanted.low == 0 else RANDOM.uniform(-0.4, 0.4)
            exact.append(round(members * share * wanted.high))
        shares = self.tallied.shares(self.settled["cost"], self.settled["quorum"])
        scale = float(shares.sigma(self.settled["contributors"])) * (self.end == "noise")
        return [round(RANDOM.gauss(each, scale)) for each in exact]


def cases() -> Iterator[dict[str, Any]]:
    for analysis, asked in QUESTIONS:
        for settled in SETTLED:
            for end in ENDS:
                case = Case(analysis, asked, settled, end)
                sums = case.sums()
                yield {
                    "analysis": analysis,
                    "parameters": case.canonical,
                    **settled,
                    "sums": [str(each) for each in sums],
                    "ranges": [[str(low), str(high)] for low, high in case.ranges()],
                    "noised": case.answer(sums),
                }


def sealed(values: Sequence[int], ranges: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """A sealed result of these values under P = p G."""
    public = times_base(SECRET)
    sums = [_encrypted(value, i + 1, public) for i, value in enumerate(values)]
    return {
        "secret": f"0x{SECRET:064x}",
        "sealed": hexed(encode_sealed(sums)),
        "ranges": [[str(low), str(high)] for low, high in ranges],
        "values": [str(each) for each in values],
    }


def _encrypted(value: int, scalar: int, public: Point) -> Sum:
    """As a quorum's partial decryptions combine: what is taken away with y A is t P."""
    found = Sum(times_base(scalar), times_base(value) - public * scalar)
    if open_sums([found], SECRET) != [times_base(value)]:
        raise ArithmeticError("a researcher opens another value")
    return found


def openings() -> list[dict[str, Any]]:
    """At the ends, the middle and anywhere of ranges of many sizes."""
    found = [
        sealed([each], [(low, high)])
        for low, high in ((0, 0), (-1, 1), (-7, 9), (-5_000, 70_000), (-(2**27), 2**29 + 5))
        for each in sorted({low, high, (low + high) // 2, min(high, 3)})
    ]
    several = [(-(2**12), 2**12 + i) for i in range(24)]
    found.append(sealed([RANDOM.randint(low, high) for low, high in several], several))
    wide = [(-(2**20), 2**21), (0, 2**16), (-(2**10), 2**24)]
    found.append(sealed([RANDOM.randint(low, high) for low, high in wide], wide))
    return found


def numbers() -> dict[str, Any]:
    """Roots, floats and texts of fractions."""
    drawn = [
        Fraction(RANDOM.randint(1, 10 ** RANDOM.randint(1, 40)), RANDOM.randint(1, 10**15))
        for _ in range(60)
    ]
    even = [Fraction(2**53 + 1), Fraction(2**53 + 3), Fraction(1, 3), Fraction(10**6 - 1, 10**6)]
    tight = [Fraction(999_999_9, 10**k) for k in range(14)] + [Fraction(5, 2), Fraction(1, 8)]
    tiny = [Fraction(1, 2**1074), Fraction(3, 2**1075), Fraction(5, 2**1076), Fraction(7, 10**320)]
    return {
        "fractions": [
            {
                "of": [str(each.numerator), str(each.denominator)],
                "float": float(each).hex(),
                "root": [str(part) for part in sqrt_up(each).as_integer_ratio()],
                "scale": scale_text(each),
                "texts": [decimal_text(-each, 2, how) for how in ("nearest", "down", "up")],
            }
            for each in [*drawn, *even, *tight, *tiny]
        ]
    }


def noises() -> list[dict[str, Any]]:
    """The very floats of one contribution's noise and of the whole."""
    found = []
    for _ in range(60):
        quorum = RANDOM.randint(1, 8)
        contributors = quorum + RANDOM.randint(0, 8)
        cost, squared = RANDOM.randint(1, 10**9), RANDOM.randint(1, 10 ** RANDOM.randint(1, 24))
        shares = Shares(cost, squared, 1, quorum)
        whole = GaussianNoise(cost, squared, _float_up(shares.sigma(contributors)))
        found.append(
            {
                "cost": cost,
                "squared_sensitivity": str(squared),
                "quorum": quorum,
                "contributors": contributors,
                "scale": shares.scale(contributors).hex(),
                "sigma": [str(part) for part in whole.sigma.as_integer_ratio()],
            }
        )
    return found


def vectors() -> dict[str, Any]:
    """The file's content."""
    RANDOM.seed(20_261_122)
    return {
        "schema": SCHEMA,
        "answers": {
            "dictionary": [json.loads(DICTIONARY.to_bytes())],
            "cases": list(cases()),
        },
        "openings": {"sealed": openings()},
        "numbers": numbers(),
        "noises": {"drawn": noises()},
    }


if __name__ == "__main__":
    FILE.write_text(written(vectors()), encoding="utf-8")
