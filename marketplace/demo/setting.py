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
from marketplace.wire.terms import ClassTerms, Credential, Purpose

PATIENTS: Final = 200
SEED: Final = 20_260_121
CAREFUL: Final = 40
"""Patients whose lifetime cap allows two of the story's requests and not the third."""

CLASS_COST: Final = 60_000_000  # nano-rho: highest cost of one request of the class
COST: Final = 30_000_000  # nano-rho of each request of the story
CAP: Final = 300_000_000
CAREFUL_CAP: Final = 2 * COST + COST // 2 + 5_000_000  # 80,000,000
YEAR: Final = 365 * 86_400

HMB, NCU, PUB = 3, 1 << 5, 1 << 14  # DataUse: health or biomedical; non-commercial; must publish
BIOMEDICAL, ANCESTRY = 1 << 6, 1 << 2  # DUO:0000037, DUO:0000033
MEAN: Final = {"variable": "systolic", "clip": ["80", "200"]}


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


def class_terms() -> ClassTerms:
    """The demo's consent class: non-commercial biomedical research, results to be published."""
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
        release_kinds=0b11,
        max_cost=CLASS_COST,
        floor_per_record=EUR // 2,
        floor_per_milli_rho=20_000,
        terms_hash=bytes(keccak(text="Usufruct demonstration terms, version 1")),
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


def mean_of(people: list[Person]) -> str:
    """The true clipped mean, from the plaintext source: only a demonstration can know it."""
    values = [
        min(max(Decimal(str(p.values["systolic"])), Decimal(80)), Decimal(200))
        for p in people
        if p.values["systolic"] is not None
    ]
    return f"{math.fsum(map(float, values)) / len(values):.3f}"
