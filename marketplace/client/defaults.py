"""Ending a request that was sealed and never answered, without asking its operator anything.

A quorum of custodians' certificates proves that keys were turned: the operator's bond then repays what the
patients were paid. Without one, the researcher gets the fee back and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from marketplace.chain.adapter import Chain, CommitteeView, RequestStage, RequestView
from marketplace.chain.sender import Sender
from marketplace.client.http import listed
from marketplace.errors import BadParameter, Refusal
from marketplace.vocabulary import unsigned
from marketplace.wire import http_client
from marketplace.wire.eip712 import MOST_SIGNATURE, SigningKey
from marketplace.wire.http import hex_field, to_hex
from marketplace.wire.structs import TurnCertificate, require_signed

ANSWER_SECONDS: Final = 30.0
"""Until a custodian has said whether it turned."""
MOST_CERTIFICATE: Final = 16 * 1024  # bytes
PLACE_BITS: Final = 8


@dataclass(frozen=True)
class Certificates:
    """Good signatures by ascending place, and, by URL, why a custodian gave none (a refusal's code)."""

    signatures: tuple[tuple[int, bytes], ...]
    faults: Mapping[str, str]


@dataclass(frozen=True)
class Defaulted:
    """How a request was ended: `certified`, the operator's bond repaid the researcher."""

    certified: bool
    certificates: Certificates


def default(chain: Chain, key: SigningKey, request: bytes, custodians: Sequence[str]) -> Defaulted:
    """Ends a sealed request whose settle deadline has passed, sent and paid for by `key`'s account.

    Args:
        custodians: URLs, at least a quorum of them; asked directly, and believed only what they signed.

    Raises:
        Refusal: `nothing_to_default`, `deadline_running`, `too_few_custodians`; `certificate_missing`
            while there is no quorum and the certificate window still runs. ContractRefusal.
    """
    view, now = chain.request(request), chain.nudge().timestamp
    _require_over(view, now)
    committee = chain.committee(view.epoch)
    _require_enough(custodians, committee.quorum)
    found = collect(chain, request, view, committee, custodians)
    sender = Sender(chain, key)
    if len(found.signatures) >= committee.quorum:
        certificate = [list(each) for each in found.signatures]
        sender.send("ResearchMarket", "defaultCertified", request, certificate)
        return Defaulted(True, found)
    until = view.settle_deadline + chain.policy().certificate_window
    if now <= until:
        raise _missing(found, committee.quorum, until)
    sender.send("ResearchMarket", "defaultUncertified", request)
    return Defaulted(False, found)


def collect(
    chain: Chain,
    request: bytes,
    view: RequestView,
    committee: CommitteeView,
    custodians: Sequence[str],
) -> Certificates:
    """Every certificate of this request's turn that these custodians can show; each is verified."""
    certificate = TurnCertificate(request, view.root, view.epoch)
    domain = chain.domain("ResearchMarket")
    path = f"/certificates/{to_hex(request)}"
    found: dict[int, bytes] = {}
    faults: dict[str, str] = {}
    for url in custodians:
        try:
            said = http_client.get(url, path, timeout=ANSWER_SECONDS, most=MOST_CERTIFICATE)
            place, signature = _read(said, committee)
            require_signed(certificate, domain, signature, committee.members[place].signer)
            found[place] = signature
        except Refusal as refusal:
            faults[url] = refusal.code
    return Certificates(tuple(sorted(found.items())), faults)


def _read(said: Mapping[str, Any], committee: CommitteeView) -> tuple[int, bytes]:
    """Place and signature as a custodian states them. Raises BadParameter."""
    place = unsigned(said.get("place"), PLACE_BITS, "place")
    if place >= len(committee.members):
        raise BadParameter(
            message=f"The committee of this request has no place {place}.",
            remedy="Name custodians of the epoch that the request was frozen in.",
            field="place",
        )
    return place, hex_field(said.get("signature"), "signature", MOST_SIGNATURE)


def _require_over(view: RequestView, now: int) -> None:
    if view.stage is not RequestStage.SEALED:
        raise Refusal(
            code="nothing_to_default",
            message=f"The request is {view.stage.name.lower()}: only a sealed one defaults.",
            remedy="See `usufruct status`. One that was never sealed is reclaimed (`usufruct reclaim`).",
            field="request",
        )
    if now <= view.settle_deadline:
        raise Refusal(
            code="deadline_running",
            message=f"The operator may still settle, until {_date(view.settle_deadline)}.",
            remedy="Wait until then; custodians go on showing that they turned. If nobody has them turn, "
            "`usufruct record-key` does.",
            field="request",
        )


def _require_enough(custodians: Sequence[str], quorum: int) -> None:
    if len(set(custodians)) < quorum:
        raise Refusal(
            code="too_few_custodians",
            message=f"{quorum} custodians have to show that they turned; fewer were named.",
            remedy="Name every custodian of the request's committee (--custodian, repeated).",
            field="custodian",
        )


def _missing(found: Certificates, quorum: int, until: int) -> Refusal:
    return Refusal(
        code="certificate_missing",
        message=f"{len(found.signatures)} of {quorum} custodians showed that they turned "
        f"({listed(found.faults)}).",
        remedy="Ask again when more of them answer. If they did not turn, ask after "
        f"{_date(until)}: the fee then comes back, and the operator keeps its bond.",
        field="custodian",
    )


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
