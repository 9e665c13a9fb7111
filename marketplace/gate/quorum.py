"""Asking the custodians to turn: all at once, each answer checked, each fault named by place."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import structlog

from marketplace.errors import Refusal
from marketplace.vocabulary import unsigned
from marketplace.wire import hpke
from marketplace.wire.feldman import Share
from marketplace.wire.http import (
    binary_field,
    hash_field,
    hex_field,
    require_keys,
    to_hex,
)
from marketplace.wire.http_client import MOST_ANSWER, post
from marketplace.wire.settings import Endpoint
from marketplace.wire.structs import Domain, TurnCertificate, require_signed
from marketplace.wire.turn import TurnContext, open_turn

SIGNATURE_BYTES = 65

log = structlog.get_logger()


class QuorumMissing(Refusal):
    """Fewer custodians turned, and turned rightly, than the quorum."""

    CODE = "quorum_missing"


@dataclass(frozen=True)
class Fault:
    """A custodian that did not do its part, and why (a refusal's code)."""

    place: int
    code: str


@dataclass(frozen=True)
class Turn:
    """One custodian's good answer. `shares` are in cohort order and do not print."""

    place: int
    shares: tuple[Share | None, ...] = field(repr=False)
    public: dict[str, Any]


@dataclass(frozen=True)
class Question:
    """What is asked of every custodian, and what its answer is held against."""

    contexts: dict[int, TurnContext]  # by place
    signers: dict[int, str]  # by place
    market: Domain
    secret: hpke.SecretKey
    members: int

    def read(self, place: int, answer: dict[str, Any]) -> Turn:
        """The turn in an answer.

        Raises:
            BadSignature: not this place's certificate. EnvelopeUnreadable, BadParameter.
        """
        require_keys(answer, {"place", "epoch", "envelope", "signature", "journal"}, at="turn")
        context = self.contexts[place]
        signature = hex_field(answer["signature"], "turn.signature", SIGNATURE_BYTES)
        certificate = TurnCertificate(context.request, context.root, context.epoch)
        require_signed(certificate, self.market, signature, self.signers[place])
        envelope = binary_field(answer["envelope"], "turn.envelope", MOST_ANSWER)
        shares = open_turn(envelope, self.secret, context, self.members)
        public = {
            "place": place,
            "signature": to_hex(signature),
            "journal": _journal(answer["journal"]),
        }
        return Turn(place, shares, public)


def _journal(document: Any) -> dict[str, Any]:
    require_keys(document, {"height", "head", "signature"}, at="turn.journal")
    return {
        "height": unsigned(document["height"], 53, "turn.journal.height"),
        "head": to_hex(hash_field(document["head"], "turn.journal.head")),
        "signature": to_hex(
            hex_field(document["signature"], "turn.journal.signature", SIGNATURE_BYTES)
        ),
    }


def ask_all(
    question: Question,
    custodians: Sequence[Endpoint],
    quorum: int,
    *,
    timeout: float,
    grace: float,
) -> tuple[list[Turn], list[Fault]]:
    """Good turns by ascending place, and faults.

    Waits at most `timeout` seconds, and once `quorum` turns are good only `grace` longer: the
    others are there to replace one whose shares prove wrong.
    """
    seated = [each for each in custodians if each.place in question.signers]
    pool = ThreadPoolExecutor(max(1, len(seated)))
    waiting = {pool.submit(_ask, question, each, timeout): each.place for each in seated}
    faults: dict[int, str] = dict.fromkeys(question.signers, "peer_unreachable")
    turns: dict[int, Turn] = {}
    for future in _as_they_come(list(waiting), turns, quorum, timeout, grace):
        place = waiting[future]
        try:
            turns[place] = future.result()
            del faults[place]
        except Refusal as refusal:
            faults[place] = refusal.code
        except Exception as fault:
            # A custodian whose answer trips this gate is at fault; the others still count.
            log.warning("answer_unreadable", place=place, kind=type(fault).__name__)
            faults[place] = "unreadable_answer"
    pool.shutdown(wait=False, cancel_futures=True)
    return (
        [turns[place] for place in sorted(turns)],
        [Fault(place, faults[place]) for place in sorted(faults)],
    )


def _as_they_come(
    futures: list[Future[Turn]], good: dict[int, Turn], quorum: int, timeout: float, grace: float
) -> Iterator[Future[Turn]]:
    pending = set(futures)
    end = time.monotonic() + timeout
    while pending:
        if len(good) >= quorum:
            end = min(end, time.monotonic() + grace)
            quorum = len(futures) + 1  # the grace starts once
        done, pending = wait(pending, max(0.0, end - time.monotonic()), FIRST_COMPLETED)
        if not done:
            return
        yield from done


def _ask(question: Question, custodian: Endpoint, timeout: float) -> Turn:
    request = to_hex(question.contexts[custodian.place].request)
    answer = post(custodian.url, "/turns", {"request": request}, timeout=timeout)
    return question.read(custodian.place, answer)


def missing(quorum: int, good: int, faults: Sequence[Fault]) -> QuorumMissing:
    """The refusal, naming every custodian that did not do its part."""
    named = ", ".join(f"{fault.place} ({fault.code})" for fault in faults)
    return QuorumMissing(
        message=f"{good} of {quorum} needed custodians turned; at fault: {named or 'none'}.",
        remedy="Start or repair these custodians, then ask again before the settle deadline.",
        field="custodians",
        facts={"quorum": quorum, "good": good, "faults": {f.place: f.code for f in faults}},
    )
