"""What every step of an answer's messages has in common: all custodians are asked, who fails is named."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

import structlog

from marketplace.chain.adapter import Chain, CommitteeView, NotYetFinal
from marketplace.chain.views import GRACE_SECONDS, SET_SECONDS
from marketplace.errors import BadParameter, Refusal
from marketplace.peers import Peer, ask_all
from marketplace.tallying.asked import Asked, Tell
from marketplace.tallying.restoring import Found, restore
from marketplace.wire.eip712 import SignedStruct, require_signed
from marketplace.wire.http_client import MOST_ANSWER
from marketplace.wire.tallying import Question
from ml.homomorphic.curve import Point, points_from_bytes

DIFFERS: Final = "Its sums are not those of the others."
LACKS_RECORDS: Final = "records_missing"
ALONE: Final = "Too few others reveal noise for the sums that it has."
SILENT: Final = "It did not answer in time."
T = TypeVar("T")

log = structlog.get_logger()


class TallyMissing(Refusal):
    """Fewer custodians did their part than the epoch's quorum."""

    CODE = "quorum_missing"


class Rounds:
    """Messages about one request. Custodian i of `custodians` sits at place i.

    Args:
        found: where records are that a custodian may lack; None where whoever carries keeps none.
        tell: hears who is asked for what, and who has not answered yet.
    """

    set_seconds: float = SET_SECONDS
    took: Mapping[int, float] = {}
    """Seconds until each ended, by place; of the last step that asked all, without who did not end."""

    def __init__(
        self,
        chain: Chain,
        custodians: Sequence[Peer],
        request: bytes,
        question: Question,
        found: Found | None = None,
        tell: Tell | None = None,
    ) -> None:
        self._chain = chain
        self._view = chain.request(request)
        self._committee: CommitteeView = chain.committee(self._view.epoch)
        self._custodians = custodians[: len(self._committee.members)]
        self._request = request
        self._question = question
        self._points = points_from_bytes(chain.joint_key(self._view.epoch)[0])
        self.faults: dict[int, str] = {}
        """Why a custodian's part is missing, by place; of the last step that asked all."""
        self.left_out: dict[int, str] = {}
        """Why a quorum went on without a custodian while noise was seen to, by place; of all its steps."""
        self._bare: set[int] = set()
        """Who decrypts nothing, since no final block has its journal anchored."""
        self._found = found
        self._tell = tell
        self._restored: set[int] = set()
        self._restoring = threading.Lock()

    def ask(
        self,
        what: str,
        ask: Callable[[int], T],
        enough: Callable[[Mapping[int, T]], bool],
        places: Sequence[int] | None = None,
        *,
        grace: float | Callable[[Collection[int]], float] | None = None,
        is_quick: bool = False,
    ) -> dict[int, T]:
        """The good answers by place; why there is none of the others is in `faults`.

        Args:
            what: is asked, for whoever looks meanwhile: "for its noise".
            grace: seconds for the others once there is enough, which may differ by who they are;
                GRACE_SECONDS unless given.
            is_quick: what is asked for takes no work, and whoever is silent for GRACE_SECONDS can be done
                without, be there enough or not.
        """
        wanted = list(range(len(self._custodians))) if places is None else list(places)
        known = [place for place in wanted if place < len(self._custodians)]
        asked = Asked(what, {place: self._name(place) for place in known}, self._tell)

        def seconds(left: Collection[int]) -> float:
            if callable(grace):
                return grace(left)
            return GRACE_SECONDS if grace is None else grace

        took, began = dict[int, float](), time.monotonic()

        def one(at: int) -> T:
            try:
                return ask(known[at])
            finally:
                took[known[at]] = time.monotonic() - began
                asked.answered(known[at])

        try:
            said = ask_all(
                len(known),
                one,
                lambda good: enough({known[at]: each for at, each in good.items()}),
                grace=lambda left: seconds([known[at] for at in left]),
                patience=GRACE_SECONDS if is_quick else None,
            )
        finally:
            asked.end()
        self.took = dict(took)
        by_place = {known[at]: each for at, each in said.items()}
        self.faults = {
            place: each.message for place, each in by_place.items() if isinstance(each, Refusal)
        } | {place: SILENT for place in wanted if place not in by_place}
        return {place: each for place, each in by_place.items() if not isinstance(each, Refusal)}

    def say(
        self, place: int, path: str, body: Mapping[str, Any], *, most: int = MOST_ANSWER
    ) -> dict[str, Any]:
        """One custodian's answer. Where it lacks records that count, it is brought them, and asked once more.

        Raises:
            PeerUnreachable, or what it refuses with.
        """
        try:
            return self._custodians[place].post(path, body, most=most)
        except Refusal as refusal:
            if refusal.code != LACKS_RECORDS or not self._has_restored(place):
                raise
        return self._custodians[place].post(path, body, most=most)

    def _has_restored(self, place: int) -> bool:
        """Whether a custodian took records that it lacked. Tried once: the rest waits for the next round."""
        with self._restoring:
            if self._found is None or place in self._restored:
                return False
            self._restored.add(place)
        try:
            return restore(self._custodians[place], self._request, self._found) > 0
        except Refusal as refusal:
            log.warning("records_not_restored", place=place, code=refusal.code)
            return False

    def leave_out(self, faults: Mapping[int, str]) -> None:
        """Names whom a quorum goes on without. The first reason stays: later ones follow from it."""
        self.left_out = {**faults, **self.left_out}

    def are_quorum(self, good: Mapping[int, object]) -> bool:
        """Whether as many answered as the epoch's quorum."""
        return len(good) >= self._committee.quorum

    def require_signed_by(self, place: int, struct: SignedStruct, signature: bytes) -> None:
        """The custodian at this place signed that for the noise registry. Raises BadSignature."""
        domain = self._chain.domain("NoiseRegistry")
        require_signed(struct, domain, signature, self._committee.members[place].signer)

    @property
    def _joint_key(self) -> Point:
        return self._points[0]

    def missing(self, did: str, number: int) -> TallyMissing:
        """That only `number` custodians did so; names the others, from `faults`."""
        named = " ".join(
            f"{self._name(place)}: {why}" for place, why in sorted(self.faults.items())
        )
        return TallyMissing(
            message=f"{number} of the {self._committee.quorum} custodians needed {did}. {named}".strip(),
            remedy="Start or repair the missing custodians; the step is tried again.",
            field="custodians",
            facts={"faults": {str(place): why for place, why in self.faults.items()}},
        )

    def _name(self, place: int) -> str:
        known = place < len(self._custodians)
        return self._custodians[place].name if known else f"custodian {place + 1}"


def never(_: Mapping[int, object]) -> bool:
    """Everybody is waited for, as long as a call to a peer takes."""
    return False


def wait(what: str) -> NotYetFinal:
    """That something is on chain, and not yet for good."""
    return NotYetFinal(
        message=f"The {what} of this request are not in a final block yet.",
        remedy="Wait until the chain has finalised that; the step is tried again.",
    )


def at_fault(place: int, why: str) -> BadParameter:
    """That what one custodian sent does not count."""
    return BadParameter(
        code="custodian_at_fault",
        message=f"What the custodian at place {place} sent does not count: {why}.",
        remedy="Go on without it: a quorum of the others is enough.",
        facts={"place": place},
    )
