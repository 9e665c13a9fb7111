"""Requests that are announced and count nobody yet: what a patient can still rest for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from marketplace.chain.adapter import Chain, RequestStage
from marketplace.chain.ledger import Opening
from marketplace.store import Database
from marketplace.wire.http import to_hex
from marketplace.wire.terms import Credential, Purpose


@dataclass(frozen=True, slots=True)
class Study:
    """One announced request. Times in unix seconds, chain time.

    Until `notice_ends` nobody can be counted; afterwards the operator may freeze at any moment, and at
    `seal_deadline` it is over. `cost` is in nano-rho, `price` in token units a patient.
    """

    request: bytes
    researcher: str
    credential: Credential  # as the authority vouches for it now; kind 0 for none
    purpose: Purpose
    classes: tuple[int, ...]
    lane: int
    analysis: str | None  # by its catalogue id, where it was handed in to this operator
    analysis_hash: bytes
    cost: int
    price: int
    max_patients: int
    opened_at: int
    notice_ends: int
    seal_deadline: int


def open_studies(
    chain: Chain, database: Database, openings: Sequence[Opening], dataset: bytes, index: int
) -> list[Study]:
    """Those that name this class (index) of the dataset, opened and not frozen, by seal deadline.

    Whether one is still only opened is asked of the market itself.
    """
    now, window = chain.now(), chain.policy().notice_window
    waiting = [each for each in openings if _may_count(each, dataset, index, now)]
    rows = database.known([to_hex(each.request) for each in waiting])
    studies = []
    for opening in waiting:
        view = chain.request(opening.request)
        if view.stage is not RequestStage.OPENED:
            continue
        row, terms = rows.get(to_hex(opening.request)), opening.terms
        studies.append(
            Study(
                request=opening.request,
                researcher=opening.researcher,
                credential=chain.credential_of(opening.researcher),
                purpose=terms.purpose,
                classes=terms.classes,
                lane=terms.lane,
                analysis=None if row is None else row.analysis,
                analysis_hash=terms.analysis,
                cost=terms.cost,
                price=terms.price,
                max_patients=terms.max_patients,
                opened_at=view.opened_at,
                notice_ends=view.opened_at + window,
                seal_deadline=terms.seal_deadline,
            )
        )
    return sorted(studies, key=lambda study: (study.seal_deadline, study.request))


def _may_count(opening: Opening, dataset: bytes, index: int, now: int) -> bool:
    terms = opening.terms
    ours = terms.dataset == dataset and index in terms.classes
    return ours and not opening.steps and now < terms.seal_deadline
