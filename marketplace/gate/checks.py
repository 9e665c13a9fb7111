"""When a gate opens a cohort: what its own node must show first."""

from __future__ import annotations

from dataclasses import dataclass

from marketplace.chain.adapter import Chain, Cohort, RequestStage, RequestView, Stored
from marketplace.chain.cohort import require_same_seal, require_sealed
from marketplace.chain.views import CommitteeView
from marketplace.errors import Refusal
from marketplace.vocabulary import Address, Commitment
from marketplace.wire.delivery import ciphertext_root
from marketplace.wire.plain import counted
from marketplace.wire.structs import VAULT, RequestTerms


class GateRefused(Refusal):
    """A request that this gate does not serve, or not yet."""

    CODE = "gate_refused"


@dataclass(frozen=True)
class OpenRequest:
    """A sealed request that this gate was drawn for, as its own node shows it."""

    view: RequestView
    cohort: Cohort
    terms: RequestTerms
    committee: CommitteeView
    dictionary_hash: bytes
    stored: tuple[Stored, ...]  # of the cohort, in its order, in the block of the seal

    @property
    def ciphertext_root(self) -> bytes:
        """What the settlement names, 32 bytes; custodians compute it too, each on a node of its own."""
        return ciphertext_root([Commitment(each.commitment) for each in self.stored])


def drawn_view(chain: Chain, request: bytes, gate: str) -> RequestView:
    """What four calls show: the seal is final, the request has not ended, and this gate was drawn.

    To be asked before anything dear: anybody can name any request.

    Raises:
        NotSealed, NotYetFinal, GateRefused (not_drawn, gate_is_the_operators, request_ended, wrong_lane).
    """
    view = chain.request(request)
    require_sealed(request, view)
    chain.require_final(view.seal_block)
    if view.gate != gate:
        raise not_drawn()
    _require_independent(view)
    if view.stage is not RequestStage.SEALED or chain.now() > view.settle_deadline:
        raise _refused("request_ended", "The request has ended.", "Nothing is left to compute.")
    if view.lane != VAULT:
        raise _refused("wrong_lane", "The request is not of the vault lane.", "Use its own lane.")
    return view


def drawn_request(chain: Chain, request: bytes, gate: str) -> tuple[RequestView, Cohort]:
    """The sealed request and its cohort, if the seal is final and this gate was drawn.

    Raises:
        As `drawn_view`; Reorganised, and whatever says that the node cannot be relied on.
    """
    chain.require_healthy()
    cohort = chain.sealed_cohort(request)
    view = drawn_view(chain, request, gate)
    require_same_seal(view, cohort)
    return view, cohort


def open_request(chain: Chain, request: bytes, gate: str, key: bytes, least: int) -> OpenRequest:
    """As `drawn_request`, with this gate's key on chain in a final block and a large enough cohort.

    Raises:
        As `drawn_request`; GateRefused (gate_key_missing, cohort_too_small).
    """
    view, cohort = drawn_request(chain, request, gate)
    final = chain.request(request, chain.finalized())
    if (view.gate_key, final.gate_key) != (key, key):
        raise _refused(
            "gate_key_missing",
            "This gate's key is in no final block.",
            "Record it, then ask again.",
        )
    _require_cohort(len(cohort.members), max(least, chain.policy().minimum_cohort))
    opened = OpenRequest(
        view=view,
        cohort=cohort,
        terms=chain.request_terms(request),
        committee=chain.committee(view.epoch),
        dictionary_hash=chain.dictionary_of(cohort.dataset),
        stored=chain.commitments_of(cohort.dataset, cohort.patients, cohort.seal_block),
    )
    chain.require_same_block(cohort.seal_block, cohort.seal_block_hash)
    return opened


def require_operator(view: RequestView, asker: Address) -> None:
    """Only the operator that froze the request is computed for, and no answer leaves to anybody else.

    Whoever could send ciphertexts here could leave some out, and whoever could fetch the answer had it
    before it is settled and paid for. The gate's key is for anybody: it goes on chain.

    Raises:
        GateRefused (not_the_operator).
    """
    if view.operator != asker:
        raise _refused(
            "not_the_operator",
            f"{asker} is not the operator that froze this request.",
            "Sign with that operator's account; a researcher is answered through the settlement.",
        )


def not_drawn() -> GateRefused:
    """The refusal of a request that is another gate's, or nobody's yet."""
    return _refused(
        "not_drawn",
        "This gate was not drawn for this request.",
        "Ask the gate that the chain names.",
    )


def _require_independent(view: RequestView) -> None:
    if view.gate == view.operator:
        raise _refused(
            "gate_is_the_operators",
            "This gate is the operator of the request itself.",
            "Run gate and operator in different hands. Once the gate window has passed, another is drawn.",
        )


def _require_cohort(members: int, least: int) -> None:
    if members < least:
        raise _refused(
            "cohort_too_small",
            f"The cohort has {counted(members, 'member')}; this gate opens at least {least}.",
            "Ask with a larger cohort.",
        )


def _refused(code: str, message: str, remedy: str) -> GateRefused:
    return GateRefused(code=code, message=message, remedy=remedy)
