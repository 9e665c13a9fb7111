"""What the researcher of a request without an answer can do about it, and what comes back by it.

By what the market itself would do now (`ResearchMarket`: cancel, reclaim, defaultCertified,
defaultUncertified): nobody's word is in it but the chain's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from marketplace.chain.adapter import MarketPolicy, RequestStage, RequestView

BASIS_POINTS: Final = 10_000


class Way(StrEnum):
    """What can be done now."""

    NOTHING_PAID = "nothing_paid"
    CANCEL = "cancel"  # by the researcher, as long as nothing is frozen
    RECLAIM = "reclaim"  # by anybody: it was not sealed in time
    WAIT = "wait"  # a cohort is being counted, or the operator may still settle
    CERTIFY = "certify"  # by anybody whom a quorum of custodians shows that it turned
    DEFAULT = "default"  # the same, and without certificates, too
    CREDITED = "credited"  # ended: what came back is credit
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class Recourse:
    """One way, with what it brings in token units.

    `held` comes back out of what the researcher paid in, `bond` is added from the operator's (for CERTIFY and
    DEFAULT: only with certificates). `since` is the deadline (unix seconds) that was missed, None where none
    was; after `until` there is another way, None where time alone changes nothing.
    """

    way: Way
    held: int = 0
    bond: int = 0
    since: int | None = None
    until: int | None = None


def recourse(view: RequestView, policy: MarketPolicy, now: int) -> Recourse:
    """What can be done at chain time `now` (unix seconds) about the request that the market has like this."""
    find = _BY_STAGE.get(view.stage)
    return find(view, policy, now) if find else Recourse(_ENDS[view.stage])


def _opened(view: RequestView, _: MarketPolicy, now: int) -> Recourse:
    deadline = view.seal_deadline
    if now <= deadline:
        return Recourse(Way.CANCEL, view.escrow, until=deadline)
    return Recourse(Way.RECLAIM, view.escrow, since=deadline)


def _frozen(view: RequestView, policy: MarketPolicy, now: int) -> Recourse:
    """An unused freeze costs part of the bond, and one used in part what those patients were paid."""
    if now <= view.frozen_until:
        return Recourse(Way.WAIT, until=view.frozen_until)
    unused = view.bond * policy.unused_freeze_bps // BASIS_POINTS
    penalty = min(view.bond, max(unused, view.members * view.price))
    return Recourse(Way.RECLAIM, view.escrow, penalty, since=view.frozen_until)


def _sealed(view: RequestView, policy: MarketPolicy, now: int) -> Recourse:
    deadline = view.settle_deadline
    if now <= deadline:
        return Recourse(Way.WAIT, until=deadline)
    bond, window = min(view.bond, view.members * view.price), deadline + policy.certificate_window
    if now <= window:
        return Recourse(Way.CERTIFY, view.escrow, bond, since=deadline, until=window)
    return Recourse(Way.DEFAULT, view.escrow, bond, since=deadline)


_BY_STAGE: Final[dict[RequestStage, Callable[[RequestView, MarketPolicy, int], Recourse]]] = {
    RequestStage.OPENED: _opened,
    RequestStage.FROZEN: _frozen,
    RequestStage.SEALED: _sealed,
}
_ENDS: Final = {
    RequestStage.NONE: Way.NOTHING_PAID,
    RequestStage.SETTLED: Way.ANSWERED,
    RequestStage.DEFAULTED: Way.CREDITED,
    RequestStage.RECLAIMED: Way.CREDITED,
    RequestStage.CANCELLED: Way.CREDITED,
}
