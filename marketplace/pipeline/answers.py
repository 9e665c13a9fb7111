"""The one answer of a request, as this database keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from marketplace.analyses import analysis_by_id
from marketplace.analyses.answerable import rehearsed
from marketplace.chain.adapter import ContractRefusal, RequestView
from marketplace.dictionaries import Dictionaries
from marketplace.errors import Refusal
from marketplace.pipeline.standing import sealed_of
from marketplace.stages import Cleared, Computed, Stage
from marketplace.store import Database
from marketplace.wire.http import to_hex
from marketplace.wire.stated import Stated
from marketplace.wire.structs import HOMOMORPHIC

BAD_SIGNATURE: Final = "bad_custodian_signature"
"""What the market says of a signature that passed `release.clear`: only a contract wallet (ERC-1271) can sign
and then not have signed."""


@dataclass(frozen=True)
class Answers:
    """Reads answers back as what the next step takes; what a restored database lacks is fetched again."""

    database: Database
    dictionaries: Dictionaries

    def computed(self, request: str, view: RequestView) -> Computed:
        """The gate's answer, with every signature that is kept: `release.clear` verifies each.

        What it verified before counts too: it was kept in the place of what came along.

        Raises:
            Refusal: `storage_unavailable`, where it is not here; the gate is asked again.
        """
        row = self.database.computed(request)
        if row is None:
            # A gate gives its one answer again, byte for byte; custodians sign no other.
            before = Stage.NOISED if view.lane == HOMOMORPHIC else Stage.KEYED
            raise self._missing(request, before, "answer")
        return Computed(
            sealed_of(request, view),
            row.settlement,
            row.sealed_result,
            row.gate_signature,
            row.stated or {},
            tuple(_read(each) for each in row.signatures or [] if not _is_refused(each)),
            frozenset(int(each["place"]) for each in row.signatures or [] if _is_refused(each)),
            row.evidence or {},
        )

    def evidence(self, request: str, view: RequestView) -> dict[str, Any] | None:
        """What a receipt of the homomorphic lane is made of; None in the vault lane.

        Raises:
            Refusal: `evidence_missing`: it was in another database, and custodians forget what is settled.
        """
        if view.lane != HOMOMORPHIC:
            return None
        row = self.database.computed(request)
        if row is None or not row.evidence:
            raise Refusal(
                code="evidence_missing",
                message="This database does not have what the receipt of this request is made of.",
                remedy="Restore the database that settled it. The answer itself is on chain for its "
                "researcher.",
            )
        return row.evidence

    def due(self, request: str, view: RequestView) -> Stated | None:
        """What the answer to this request must state: cost and noise depend on no record. None in the
        homomorphic lane, whose custodians draw the noise and prove it.
        """
        if view.lane == HOMOMORPHIC:
            return None
        row = self.database.request(request)
        analysis = analysis_by_id(row.analysis)
        variables = self.dictionaries.variables(view.dataset)
        parsed = analysis.parse(row.parameters, variables)
        noised = rehearsed(analysis, parsed, variables, view.members, view.cost)
        return Stated(noised.cost_nano_rho, noised.noise)

    def cleared(self, request: str, view: RequestView) -> Cleared:
        """The answer and the quorum's signatures, as `release.clear` verified them.

        Raises:
            Refusal: `storage_unavailable`, where either is not here; it is fetched again.
        """
        row = self.database.computed(request)
        signatures = [] if row is None else row.signatures or []
        cleared = tuple(_read(each) for each in signatures if not _is_noted(each))
        if not cleared:
            raise self._missing(request, Stage.COMPUTED, "quorum")
        return Cleared(self.computed(request, view), cleared)

    def keep(self, request: str, cleared: Cleared) -> None:
        """Keeps what `release.clear` verified, beside what the market refused before."""
        signed = [{"place": place, "signature": to_hex(each)} for place, each in cleared.signatures]
        self._keep(request, signed)

    def clear_again(
        self,
        request: str,
        cleared: Cleared,
        refusal: ContractRefusal,
        doubted: frozenset[int] = frozenset(),
    ) -> None:
        """Has signatures replaced that the market refused: a custodian's wallet took its yes back.

        The others stay noted, and those that were refused before stay so. These places count again once no
        quorum is to be had without them.

        Args:
            doubted: places whose signature may be why, where the market's refusal names none.
        """
        named = {refusal.facts["place"]} if refusal.code == BAD_SIGNATURE else set()
        rows = noted_rows(cleared.signatures)
        again = [row for row in rows if row["place"] in named | doubted]
        if not again:
            return
        self._keep(request, [{**row, "refused": True} if row in again else row for row in rows])
        places = ", ".join(str(row["place"]) for row in again)
        because = f"the market refused the settlement, with the signature at place {places}"
        self.database.fall_back(request, Stage.COMPUTED, because)

    def _keep(self, request: str, rows: list[dict[str, Any]]) -> None:
        """In the place of what is kept; of that, refused signatures of other places stay."""
        here = {row["place"] for row in rows}
        row = self.database.computed(request)
        before = [] if row is None else row.signatures or []
        refused = [each for each in before if _is_refused(each) and each["place"] not in here]
        self.database.keep_signatures(request, rows + refused)

    def ask_everybody(self, request: str) -> None:
        """Forgets that the market refused a signature: it may take it by now."""
        row = self.database.computed(request)
        kept = [] if row is None else row.signatures or []
        if any(_is_refused(each) for each in kept):
            self.database.keep_signatures(request, noted_rows(_read(each) for each in kept))

    def _missing(self, request: str, to: Stage, what: str) -> Refusal:
        """What a restored database lacks is fetched again."""
        self.database.fall_back(request, to, f"the {what} is not in this database")
        return Refusal(
            code="storage_unavailable",
            message=f"The request's {what} is not in this database, which may be an old copy.",
            remedy="It is asked for again; nothing is drawn or paid twice.",
        )


def noted_rows(signatures: Iterable[tuple[int, bytes]]) -> list[dict[str, Any]]:
    """Signatures as they are kept until `release.clear` has verified them, which then replaces them."""
    return [
        {"place": place, "signature": to_hex(each), "noted": True} for place, each in signatures
    ]


def _is_noted(row: Mapping[str, Any]) -> bool:
    return bool(row.get("noted"))


def _is_refused(row: Mapping[str, Any]) -> bool:
    return bool(row.get("refused"))


def _read(row: Mapping[str, Any]) -> tuple[int, bytes]:
    return int(row["place"]), bytes.fromhex(row["signature"][2:])
