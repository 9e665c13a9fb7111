"""Having custodians answer a sealed request of the homomorphic lane where its operator does nothing about it.

Custodians draw noise and decrypt for whoever asks, once the operator's time to begin is over: nobody but the
researcher can open what comes of it. So their certificates exist whether or not the operator wants it, and
the researcher even has the answer; that it was settled is all that is missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from marketplace.chain.adapter import Chain, CommitteeView, RequestStage, RequestView
from marketplace.chain.sender import Sender
from marketplace.client.defaults import Certificates, collect
from marketplace.client.http import listed
from marketplace.client.tallied import Delivered
from marketplace.client.waiting import PATIENCE
from marketplace.errors import Refusal
from marketplace.peers import HEALTH_SECONDS, Peer
from marketplace.questions import asked as asked_of
from marketplace.tallying import Decrypted, Tallying
from marketplace.vocabulary import unsigned
from marketplace.wire import http_client
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.eip712 import SigningKey

PAUSE_SECONDS: Final = 1.0
PLACE_BITS: Final = 8
NOWHERE: Final = ""
"""In the place of a URL that nobody gave: whoever asks there cannot reach anybody."""
DICTIONARY_SECONDS: Final = 30.0
PASSING: Final = frozenset(
    {
        "busy",
        "node_fault",
        "node_unreachable",
        "noise_already_committed",
        "noise_already_fixed",
        "not_sealed",
        "not_yet_final",
        "only_operator_until",
        "peer_unreachable",
        "quorum_missing",
        "reorganised",
        "stale_head",
        "unknown_block",
    }
)
"""Codes that time may cure. `only_operator_until`: its operator's time to begin is not over yet.
`quorum_missing`: of what each custodian says, most passes as well."""


T = TypeVar("T")


@dataclass(frozen=True)
class Summed:
    """What custodians gave: certificates of a quorum, and what the researcher's delivery key opens."""

    certificates: Certificates
    decrypted: Decrypted
    delivered: Delivered = field(repr=False)


def have_summed(
    chain: Chain,
    key: SigningKey,
    request: bytes,
    custodians: Sequence[str],
    dictionary: Dictionary,
    parameters: Mapping[str, Any],
    patience: float = PATIENCE,
) -> Summed:
    """Has a quorum of custodians decrypt the sums; every part is verified. May be repeated.

    Args:
        key: of the account that pays for bringing the noise's commitments on chain, where nobody has.
        custodians: URLs, in any order.
        dictionary, parameters: of the request; both are held against their hashes on chain.
        patience: seconds in which what time may cure is tried again.

    Raises:
        Refusal: `nothing_to_turn`; `quorum_missing` with what each custodian said; `turns_missing`.
            BadParameter: `wrong_dictionary`, `wrong_parameters`. ContractRefusal.
    """
    view = _live(chain, request)
    committee = chain.committee(view.epoch)
    found = asked_of(chain, dictionary, view, request, json.dumps(dict(parameters)).encode())
    _bring(custodians, dictionary)
    sender, until = Sender(chain, key), time.monotonic() + patience

    def step() -> Decrypted:
        """With whoever answers by now."""
        tallying = Tallying(chain, _seated(custodians, committee), request, found.question)
        return tallying.decrypt(tallying.see_to_noise(sender, parameters), parameters)

    decrypted = _until(until, step)
    certificates = _until(until, lambda: _certified(chain, request, view, committee, custodians))
    delivered = Delivered.of(chain, request, view, decrypted.sealed_result)
    return Summed(certificates, decrypted, delivered)


def _until(moment: float, step: Callable[[], T]) -> T:
    while True:
        try:
            return step()
        except Refusal as refusal:
            if refusal.code not in PASSING or time.monotonic() >= moment:
                raise
        time.sleep(PAUSE_SECONDS)


def _live(chain: Chain, request: bytes) -> RequestView:
    now, view = chain.nudge().timestamp, chain.request(request)
    if view.stage is not RequestStage.SEALED or now > view.settle_deadline:
        late = ", past its settle deadline" if view.stage is RequestStage.SEALED else ""
        raise Refusal(
            code="nothing_to_turn",
            message=f"The request is {view.stage.name.lower()}{late}.",
            remedy="Custodians decrypt for a sealed request until its settle deadline; see `usufruct "
            "status`. `usufruct default` ends one that got no answer.",
            field="request",
        )
    return view


def _bring(custodians: Sequence[str], dictionary: Dictionary) -> None:
    """Who lacks the dictionary takes it from anybody: its hash is on chain. Who declines says so later."""
    body = {"dictionary": json.loads(dictionary.to_bytes())}
    for url in custodians:
        with suppress(Refusal):
            http_client.post(url, "/dictionaries", body, timeout=DICTIONARY_SECONDS)


def _seated(custodians: Sequence[str], committee: CommitteeView) -> list[Peer]:
    """By place, as each says itself: one that lies about it cannot sign for another."""
    found: dict[int, Peer] = {}
    for url in custodians:
        with suppress(Refusal):
            said = http_client.get(
                url, "/health", timeout=HEALTH_SECONDS, most=http_client.SMALL_ANSWER
            )
            place = unsigned(said.get("place"), PLACE_BITS, "place")
            found.setdefault(place, Peer(f"custodian {place + 1}", url))
    places = range(len(committee.members))
    return [found.get(place) or Peer(f"custodian {place + 1}", NOWHERE) for place in places]


def _certified(
    chain: Chain,
    request: bytes,
    view: RequestView,
    committee: CommitteeView,
    custodians: Sequence[str],
) -> Certificates:
    found = collect(chain, request, view, committee, custodians)
    if len(found.signatures) < committee.quorum:
        raise Refusal(
            code="turns_missing",
            message=f"{len(found.signatures)} of {committee.quorum} custodians certify that they decrypted "
            f"({listed(found.faults)}).",
            remedy="Name every custodian of the request's committee (--custodian, repeated), and ask again.",
            field="custodian",
        )
    return found
