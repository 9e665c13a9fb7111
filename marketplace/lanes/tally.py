"""The homomorphic lane: custodians add up what nobody opens, and decrypt sums with noise to the researcher.

The operator only carries. It cannot open what it carries: sums and partial decryptions are encrypted to the
researcher, and noise is known to nobody.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from marketplace.chain.adapter import Chain
from marketplace.chain.sender import Sender
from marketplace.errors import Refusal
from marketplace.lanes.heads import Head, heads_of
from marketplace.lanes.kept import Kept
from marketplace.peers import Peer
from marketplace.questions import asked
from marketplace.records import RecordStore
from marketplace.stages import Computed, Sealed
from marketplace.tallying import Decrypted, Part, Tallying, Tardy, Tell
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.http import to_base64, to_hex

log = structlog.get_logger()


@dataclass(frozen=True)
class TallyLane:
    """Custodian i of `custodians` sits at place i."""

    chain: Chain
    custodians: tuple[Peer, ...]
    records: RecordStore | None = None  # what a custodian may have missed is brought from there
    tardy: Tardy = field(default_factory=Tardy)

    def see_to_noise(
        self,
        sender: Sender,
        sealed: Sealed,
        parameters: Mapping[str, Any],
        dictionary: Dictionary,
        tell: Tell | None = None,
    ) -> None:
        """Does what is left to do until the custodians' noise is fixed in a final block.

        Args:
            tell: hears who is asked for what meanwhile.

        Raises:
            NotYetFinal: tried again later. TallyMissing: naming each custodian that did not do its part.
            BadParameter: see `questions.asked`. ContractRefusal.
        """
        tallying = self._tallying(sealed, parameters, dictionary, tell)
        try:
            tallying.see_to_noise(sender, parameters)
        finally:
            _name(tallying.left_out)

    def compute(
        self,
        sender: Sender,
        sealed: Sealed,
        parameters: Mapping[str, Any],
        dictionary: Dictionary,
        tell: Tell | None = None,
    ) -> tuple[Computed, list[Head]]:
        """Has the custodians decrypt, each its part, for ever the same; and their signed journal heads.

        Args:
            tell: as in `see_to_noise`.

        Raises:
            Refusal: noise_not_fixed. TallyMissing, BadParameter.
        """
        tallying = self._tallying(sealed, parameters, dictionary, tell)
        fixed = tallying.fixed()
        if fixed is None:
            raise Refusal(
                code="noise_not_fixed",
                message="Whose noise counts for this request is not fixed in a final block any more.",
                remedy="It is fixed again; the step is tried again.",
            )
        found = tallying.decrypt(fixed, parameters, sender)
        _name(found.faults)
        computed = Computed(
            sealed, found.settlement.to_json(), found.sealed_result, b"", {}, evidence=_kept(found)
        )
        return computed, [head for part in found.parts for head in _heads(part, sealed.epoch)]

    def _tallying(
        self,
        sealed: Sealed,
        parameters: Mapping[str, Any],
        dictionary: Dictionary,
        tell: Tell | None,
    ) -> Tallying:
        raw = json.dumps(dict(parameters)).encode()
        view = self.chain.request(sealed.request)
        found = asked(self.chain, dictionary, view, sealed.request, raw)
        kept = None if self.records is None else Kept(self.chain, self.records, view.dataset).found
        made = Tallying(self.chain, self.custodians, sealed.request, found.question, kept, tell)
        made.tardy = self.tardy
        return made


def _name(faults: Mapping[int, str]) -> None:
    for place, why in sorted(faults.items()):
        log.warning("custodian_left_out", place=place, message=why)


def _heads(part: Part, epoch: int) -> list[Head]:
    """Its journal's head; none where it cannot be read: a part that is verified counts all the same."""
    try:
        return heads_of([{"place": part.place, "journal": part.journal}], epoch)
    except Refusal as refusal:
        log.warning("journal_head_unreadable", place=part.place, code=refusal.code)
        return []


def _kept(found: Decrypted) -> dict[str, Any]:
    """What a receipt and its bundle are made of."""
    return {
        "ciphertext_root": to_hex(found.settlement.ciphertext_root),
        "noised": to_base64(found.parts[0].noised),
        "partials": [
            {"place": part.place, "partial": to_base64(part.partial)} for part in found.parts
        ],
        "reveals": [
            {"place": place, "reveal": each.to_json()}
            for place, each in sorted(found.reveals.items())
        ],
    }
