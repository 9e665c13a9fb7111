"""Having the keys of a sealed request turned where its operator does nothing about it.

No custodian turns before the drawn gate's key is on chain, and only turns make the certificates by which
the operator's bond repays the researcher. None of that needs the operator: anybody may draw the gate, ask it
for its key, put that on chain and ask custodians to turn. What they release opens for that gate alone.
A request of the homomorphic lane has no gate: see `summing`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from marketplace.chain.adapter import Chain, ContractRefusal, RequestStage, RequestView
from marketplace.chain.sender import Sender
from marketplace.client.defaults import Certificates, collect
from marketplace.client.http import listed, named
from marketplace.client.summing import have_summed
from marketplace.client.waiting import PATIENCE
from marketplace.errors import Refusal
from marketplace.wire import dictionary as dictionaries
from marketplace.wire import http_client
from marketplace.wire.eip712 import SigningKey
from marketplace.wire.http import hash_field, hex_field, to_hex
from marketplace.wire.structs import HOMOMORPHIC, GateKey, require_signed

ANSWER_SECONDS: Final = 120.0
"""Until a gate has given its key, or a custodian has turned: each first looks up the whole cohort."""
PAUSE_SECONDS: Final = 1.0
MOST_SIGNATURE: Final = 4 * 1024  # bytes
PASSING: Final = frozenset(
    {
        "busy",
        "draw_too_early",
        "gate_redrawn",
        "gate_window_running",
        "node_fault",
        "node_unreachable",
        "not_sealed",
        "not_yet_final",
        "peer_unreachable",
        "reorganised",
        "stale_head",
        "unknown_block",
    }
)
"""Codes that time may cure. `not_sealed`: of a host whose own node is behind. `gate_window_running`: somebody
else drew another gate."""
DONE_BY_OTHERS: Final = frozenset({"gate_already_drawn", "gate_key_already_recorded"})
NOT_ITS: Final = "not_drawn"
"""What every gate says but the drawn one."""


@dataclass(frozen=True)
class Hosts:
    """URLs of the epoch's gates, of which one was drawn, and of its custodians."""

    gates: Sequence[str]
    custodians: Sequence[str]


@dataclass(frozen=True)
class Asked:
    """What a gate, or a custodian that sums, needs to see: both are of the request itself, and public."""

    parameters: Any  # JSON
    dictionary: Any


def have_turned(
    chain: Chain,
    key: SigningKey,
    request: bytes,
    hosts: Hosts,
    asked: Asked,
    patience: float = PATIENCE,
) -> Certificates:
    """Has a quorum of custodians turn; returns their certificates, each verified. May be repeated.

    In the homomorphic lane that is to have them decrypt; see `have_summed`, which also has the answer.

    Args:
        key: of the account that pays for recording the gate's key, or the noise's commitments.
        patience: seconds in which what time may cure is tried again.

    Raises:
        Refusal: `nothing_to_turn`; `gate_silent`, `gate_redrawn` with what each gate said; `turns_missing`
            with what each custodian said; what a gate declined with (`wrong_parameters`, ...), by its URL.
            ContractRefusal.
    """
    if chain.request(request).lane == HOMOMORPHIC:
        dictionary = dictionaries.from_json(asked.dictionary)
        given = (hosts.custodians, dictionary, asked.parameters)
        return have_summed(chain, key, request, *given, patience).certificates
    until = time.monotonic() + patience
    turning = _Turning(chain, Sender(chain, key), request, hosts, asked)
    while True:
        try:
            turning.see_to_key()
            return turning.see_to_turns()
        except Refusal as refusal:
            if not _may_pass(refusal) or time.monotonic() >= until:
                raise
        time.sleep(PAUSE_SECONDS)


def _may_pass(refusal: Refusal) -> bool:
    said = refusal.facts.get("said")
    codes = set(said.values()) if isinstance(said, dict) else {refusal.code}
    return bool(codes & PASSING)


@dataclass(frozen=True)
class _Turning:
    """One request's. Every step looks first at what is there already, by whosever doing."""

    chain: Chain
    sender: Sender
    request: bytes
    hosts: Hosts
    asked: Asked

    def see_to_key(self) -> None:
        """The key of the drawn gate is on chain."""
        view = self._live()
        try:
            if int(view.gate, 16) == 0:
                self._send("drawGate")
                view = self.chain.request(self.request)
            if not any(view.gate_key):
                self._send("recordGateKey", *self._key_of_gate(view))
        except ContractRefusal as refusal:
            if refusal.code not in DONE_BY_OTHERS:
                raise

    def see_to_turns(self) -> Certificates:
        """Certificates of a quorum, whoever asked for the turns."""
        view = self.chain.request(self.request)
        committee = self.chain.committee(view.epoch)
        said = {url: _ask_to_turn(url, self.request) for url in self.hosts.custodians}
        found = collect(self.chain, self.request, view, committee, self.hosts.custodians)
        if len(found.signatures) < committee.quorum:
            declined = {url: code for url, code in said.items() if code is not None}
            raise _unturned(len(found.signatures), committee.quorum, {**found.faults, **declined})
        return found

    def _send(self, function: str, *arguments: Any) -> None:
        self.sender.send("ResearchMarket", function, self.request, *arguments)

    def _live(self) -> RequestView:
        now, view = self.chain.nudge().timestamp, self.chain.request(self.request)
        if view.stage is not RequestStage.SEALED or now > view.settle_deadline:
            raise _nothing_to_turn(view)
        return view

    def _key_of_gate(self, view: RequestView) -> tuple[bytes, bytes]:
        """The drawn gate's key and signature. Where it gives none in its window, another is drawn.

        Which URL is the drawn gate's nobody says but that gate, so what one of them answers ends nothing.
        """
        said: dict[str, Refusal] = {}
        for url in self.hosts.gates:
            try:
                return self._read_key(view, self._ask_gate(url))
            except Refusal as refusal:
                said[url] = refusal
        if self._may_redraw(view, len(said)):
            self._send("redrawGate")
            raise _redrawn(view, said)
        raise _keyless(view, said)

    def _may_redraw(self, view: RequestView, asked: int) -> bool:
        """Past its window, once as many were asked as there are: one that nobody names is not yet silent."""
        over = self.chain.now() > view.gate_drawn_at + self.chain.policy().gate_window
        return over and asked >= len(self.chain.committee(view.epoch).gates)

    def _ask_gate(self, url: str) -> Mapping[str, Any]:
        body = {
            "request": to_hex(self.request),
            "parameters": self.asked.parameters,
            "dictionary": self.asked.dictionary,
        }
        most = http_client.SMALL_ANSWER
        return http_client.post(url, "/keys", body, timeout=ANSWER_SECONDS, most=most)

    def _read_key(self, view: RequestView, answer: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Key and signature, if the drawn gate signed them for this very seal. Raises BadSignature."""
        public = hash_field(answer.get("key"), "key")
        signature = hex_field(answer.get("signature"), "signature", MOST_SIGNATURE)
        struct = GateKey(self.request, view.root, public)
        require_signed(struct, self.chain.domain("ResearchMarket"), signature, view.gate)
        return public, signature


def _ask_to_turn(url: str, request: bytes) -> str | None:
    """With which code a custodian declines, if it does. Its shares are for the gate: not read here."""
    try:
        http_client.post(url, "/turns", {"request": to_hex(request)}, timeout=ANSWER_SECONDS)
    except Refusal as refusal:
        return refusal.code
    return None


def _nothing_to_turn(view: RequestView) -> Refusal:
    late = ", past its settle deadline" if view.stage is RequestStage.SEALED else ""
    return Refusal(
        code="nothing_to_turn",
        message=f"The request is {view.stage.name.lower()}{late}.",
        remedy="Keys turn for a sealed request until its settle deadline; see `usufruct status`. "
        "`usufruct default` ends one that got no answer.",
        field="request",
    )


def _keyless(view: RequestView, said: Mapping[str, Refusal]) -> Refusal:
    """What a gate said of the question, where one did; else that the drawn one gave nothing."""
    codes = {url: refusal.code for url, refusal in said.items()}
    telling = [url for url, code in codes.items() if code not in PASSING | {NOT_ITS}]
    if not telling:
        return Refusal(
            code="gate_silent",
            message=f"The drawn gate {view.gate} gave no key ({listed(codes)}).",
            remedy="Name the URL of every gate of the epoch (--gate, repeated). Once the gate window has "
            "passed, another one is drawn.",
            field="gate",
            facts={"said": codes},
        )
    first = said[telling[0]]
    return Refusal(
        code=first.code,
        message=" ".join(f"{named(url)}: {said[url].message}" for url in telling),
        remedy=first.remedy,
        field=first.field,
        facts={"said": codes},
    )


def _redrawn(view: RequestView, said: Mapping[str, Refusal]) -> Refusal:
    codes = {url: refusal.code for url, refusal in said.items()}
    return Refusal(
        code="gate_redrawn",
        message=f"The drawn gate {view.gate} gave no key in time ({listed(codes)}). Another was drawn.",
        remedy="Ask again: that one is asked then.",
        field="gate",
    )


def _unturned(found: int, quorum: int, said: Mapping[str, str]) -> Refusal:
    return Refusal(
        code="turns_missing",
        message=f"{found} of {quorum} custodians turned ({listed(said)}).",
        remedy="Name every custodian of the request's committee (--custodian, repeated), and ask again "
        "before the settle deadline.",
        field="custodian",
        facts={"said": dict(said)},
    )
