"""What the story is about: its people, its class, its question, its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from eth_utils.crypto import keccak

from marketplace.client.marketplace import account_of
from marketplace.local import EUR
from marketplace.sealing.row import Value
from marketplace.vocabulary import Lane
from marketplace.wire.class_page import ClassPage
from marketplace.wire.terms import ClassTerms, Credential, Purpose

PATIENTS: Final = 200
SEED: Final = 20_260_121
CAREFUL: Final = 40
"""Patients whose lifetime cap allows three of the story's requests and not the fourth."""

CLASS_COST: Final = 60_000_000  # nano-rho: highest cost of one request of the class
COST: Final = 30_000_000  # nano-rho of each request of the story
CAP: Final = 300_000_000
CAREFUL_CAP: Final = 3 * COST + COST // 2 + 5_000_000  # 110,000,000
YEAR: Final = 365 * 86_400

HMB, NCU, PUB = 3, 1 << 5, 1 << 14  # DataUse: health or biomedical; non-commercial; must publish
BIOMEDICAL, ANCESTRY = 1 << 6, 1 << 2  # DUO:0000037, DUO:0000033
MEAN: Final = {"variable": "systolic", "clip": ["80", "200"]}
TALLIED_MEAN: Final = {"variable": "systolic"}
"""In the homomorphic lane nothing can be clipped: the dictionary's bounds are all there is."""


MODEL: Final = {
    "format": "usufruct-model/1",
    "kind": "linear",
    "title": "Example score of age, pressure and sex",
    "unit": "points",
    "inputs": [
        {"name": "age", "lower": "18", "upper": "110", "mean": "50", "scale": "18", "missing": "50"},
        {"name": "systolic", "lower": "60", "upper": "260", "mean": "125", "scale": "18", "missing": "125"},
        {"name": "sex=1", "lower": "0", "upper": "1", "mean": "0", "scale": "1", "missing": "0"},
    ],
    "weights": ["0.4", "0.6", "0.2"],
    "intercept": "1",
}  # fmt: skip
"""A model to try personal scores with: over variables that the demo encodes, within their bounds. Its weights
are made up, and say nothing about anybody's health.
"""


@dataclass
class Person:
    """One patient: a key that only this process holds, and values that only it ever sees."""

    key: bytes = field(repr=False)
    values: Mapping[str, Value] = field(repr=False)
    cap: int = CAP

    @property
    def address(self) -> str:
        """The pseudonymous address."""
        return account_of(self.key)


def class_page() -> ClassPage:
    """What the demo's patients read before they consent."""
    return ClassPage(
        language="en",
        title="Blood pressure, blood sugar and blood fats",
        what=(
            "Values from your record are used for health research: your age and sex, blood pressure, "
            "weight for height, long-term blood sugar and blood fats. They are sealed where you are. "
            "Researchers never see your record. They ask a question about everybody who takes part, "
            "and get one blurred answer about the group. A study may also offer you a score of your own: "
            "you hand in your values for it, encrypted, or you do not, and nobody but you opens the score."
        ),
        who=(
            "Researchers at universities, hospitals and other organisations whose credential was "
            "checked, and who do not work for commercial ends. This is a demonstration: the people "
            "in it are invented, and so is this study."
        ),
        why=(
            "High blood pressure and raised blood fats are the commonest causes of heart attack and "
            "stroke that something can be done about. What they do in ordinary people, over many "
            "years, is known best from many records together. Whoever asks has to publish what they "
            "find."
        ),
        how_long=(
            "Until the date that you choose, or until you stop. Each question uses up a part of the "
            "privacy budget that you set for life. When it is used up, you are left out of further "
            "questions, whatever the date."
        ),
        how_protected=(
            "Your record is locked with a key that is cut into parts, and independent custodians "
            "hold one each. A majority of them has to turn its part before a machine may open the "
            "records of one question; that machine forgets them afterwards. Some questions need no such "
            "machine: the custodians add encrypted values up, and nobody opens a record. Noise is "
            "added to every answer, so that nobody can tell with certainty what your record says. Some risk "
            "remains: many answers together say more than one does, and whoever runs the machine "
            "that opens a question's records is trusted while it works. That you take part, under an "
            "address that does not carry your name, is public."
        ),
        how_to_stop=(
            "Press Stop, at any time, without a reason; it takes no more steps than starting. From "
            "then on no new question counts you. A question that was sealed a moment before still "
            "does. You can also rest for a while, or have your record erased. If this market does "
            "not answer, any custodian carries your stop."
        ),
        pay=(
            "You are paid for each question that counts you, the moment it is sealed, and can have "
            "it paid out to any address. You keep what you earned if you stop. Nobody should take "
            "part for the money alone."
        ),
    )


def class_terms() -> ClassTerms:
    """The demo's consent class: non-commercial biomedical research, results to be published; personal scores
    are allowed, too.
    """
    return ClassTerms(
        permission=HMB,
        disease=0,
        modifiers=NCU | PUB,
        research_types=0,
        countries=(),
        months=0,
        users=(),
        projects=(),
        institutions=(),
        release_kinds=0b111,  # numbers, tables, personal scores
        max_cost=CLASS_COST,
        floor_per_record=EUR // 2,
        floor_per_milli_rho=20_000,
        terms_hash=class_page().hash(),
    )


def researcher_credential(now: int) -> Credential:
    """A university researcher, for a year."""
    return Credential(
        kind=1,
        country=b"NL",
        expiry=now + YEAR,
        withdrawn=False,
        user=bytes(keccak(text="researcher@example.org")),
        institution=bytes(keccak(text="Example University")),
        evidence=bytes(keccak(text="letter of appointment")),
    )


def purpose(uses: int = BIOMEDICAL) -> Purpose:
    """Non-commercial biomedical research that accepts the duty to publish."""
    return Purpose(
        uses=uses,
        diseases=(),
        commercial=False,
        clinical_care=False,
        months=0,
        project=bytes(keccak(text="blood pressure in adults")),
        ethics_approval=bytes(32),
        duties=PUB,
    )


def mean_of(people: list[Person], lane: Lane = Lane.VAULT) -> str:
    """The true mean, clipped where the lane clips, from the plaintext source: only a demonstration can know
    it.
    """
    low, high = (Decimal(80), Decimal(200)) if lane is Lane.VAULT else (Decimal(60), Decimal(260))
    values = [
        min(max(Decimal(str(p.values["systolic"])), low), high)
        for p in people
        if p.values["systolic"] is not None
    ]
    return f"{math.fsum(map(float, values)) / len(values):.3f}"
