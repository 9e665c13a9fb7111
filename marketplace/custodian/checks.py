"""When a custodian turns its key: every rule of it, decided on the custodian's own node.

Nothing here reads what the operator says except the request's id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from marketplace.chain.adapter import Chain, Cohort, RequestStage, RequestView, Stored
from marketplace.chain.cohort import require_same_seal, require_sealed
from marketplace.chain.finality import reorganised
from marketplace.chain.views import CommitteeView
from marketplace.errors import Refusal
from marketplace.vocabulary import Commitment, Lane
from marketplace.wire.delivery import ciphertext_root
from marketplace.wire.plain import counted
from marketplace.wire.structs import RequestTerms


class TurnRefused(Refusal):
    """A turn that the chain does not permit, seen from this custodian's node."""

    CODE = "turn_refused"


@dataclass(frozen=True)
class SealedRequest:
    """A request that this custodian may turn for, as its own node shows it."""

    view: RequestView
    cohort: Cohort
    committee: CommitteeView
    stored: tuple[Stored, ...]  # of the cohort, in its order, in the block of the seal

    @property
    def commitments(self) -> tuple[Commitment, ...]:
        """32 zero bytes where a member had no usable record at the seal."""
        return tuple(Commitment(each.commitment) for each in self.stored)

    @property
    def ciphertext_root(self) -> bytes:
        """What the settlement must name, 32 bytes, from this custodian's own calls to the chain."""
        return ciphertext_root(self.commitments)


@dataclass(frozen=True)
class Rules:
    """A custodian's own: its seat, its floor, and the analyses that it knows (hash -> release kind)."""

    place: int
    signer: str
    minimum_cohort: int
    analyses: Mapping[bytes, int]


def turnable(chain: Chain, request: bytes, rules: Rules, lane: Lane = Lane.VAULT) -> RequestView:
    """What four calls show of a request that may be turned for: to be asked before anything dear.

    Anybody can name any request, and a cohort takes a call for every 200 members. In the vault lane its gate
    must be independent and have its key on chain; the homomorphic lane has no gate.

    Raises:
        NotSealed, NotYetFinal; TurnRefused, as `sealed_request`.
    """
    view = chain.request(request)
    require_sealed(request, view)
    _require_open(view, chain.now(), lane)
    chain.require_final(view.seal_block)
    if lane is Lane.VAULT:
        _require_some_key(view)
        _require_independent_gate(view)
    _require_cohort(view.members, rules.minimum_cohort)
    return view


def still_sealed(
    chain: Chain,
    request: bytes,
    rules: Rules,
    seal: tuple[int, bytes],
    lane: Lane = Lane.VAULT,
) -> RequestView:
    """As `sealed_request`, for what was turned already: a few calls, whatever the cohort's size.

    Args:
        seal: number and hash of the block whose cohort was derived then, and is the same for ever.

    Raises:
        As `sealed_request`.
    """
    number, block_hash = seal
    view = turnable(chain, request, rules, lane)
    if view.seal_block != number:
        raise reorganised(number)
    if lane is Lane.VAULT:
        _require_gate_key(view, chain.request(request, chain.finalized()))
    require_seated(chain, view, rules)
    chain.require_same_block(number, block_hash)
    return view


def require_seated(chain: Chain, view: RequestView, rules: Rules) -> None:
    """The request's epoch has this custodian at its place: two calls. Raises TurnRefused (wrong_epoch)."""
    if chain.signer_of(view.epoch, rules.place) != rules.signer:
        raise _wrong_seat(view.epoch, rules)


def sealed_request(
    chain: Chain, request: bytes, rules: Rules, lane: Lane = Lane.VAULT
) -> SealedRequest:
    """The sealed request, if every rule of a turn holds.

    Raises:
        NotSealed, NotYetFinal: no seal, or one that could still be reorganised away.
        TurnRefused: with the code of the rule that does not hold.
        WrongChain, WrongCode, StaleHead, PartialLogs, ForgedLogs, Reorganised, NodeUnreachable,
        NodeFault: the node cannot be relied on.
    """
    chain.require_healthy()
    cohort = chain.sealed_cohort(request)
    chain.require_final(cohort.seal_block)
    view = chain.request(request)
    require_same_seal(view, cohort)
    _require_open(view, chain.now(), lane)
    if lane is Lane.VAULT:
        _require_gate_key(view, chain.request(request, chain.finalized()))
        _require_independent_gate(view)
    committee = _require_seat(chain, view.epoch, rules)
    _require_cohort(len(cohort.members), max(rules.minimum_cohort, chain.policy().minimum_cohort))
    _require_known(chain.request_terms(request), rules.analyses)
    stored = chain.commitments_of(cohort.dataset, cohort.patients, cohort.seal_block)
    chain.require_same_block(cohort.seal_block, cohort.seal_block_hash)
    return SealedRequest(view, cohort, committee, stored)


def still_usable(
    chain: Chain, dataset: bytes, stored: Sequence[Stored], holders: Sequence[str]
) -> tuple[bool, ...]:
    """For each member, whether the record may be opened now: neither erased nor suspended since.

    A record that a newer version replaced was sealed and stays.

    Args:
        holders: the patients' addresses of today, which `RecordMoved` may have changed.
    """
    now = chain.commitments_of(dataset, holders)
    return tuple(before.usable and after.usable for before, after in zip(stored, now, strict=True))


def _require_open(view: RequestView, now: int, lane: Lane) -> None:
    if view.stage is not RequestStage.SEALED:
        raise _refused(
            "request_ended",
            f"The request is {view.stage.name.lower()}.",
            "Nothing is left to turn.",
        )
    if now > view.settle_deadline:
        raise _refused(
            "deadline_passed",
            f"The settle deadline {view.settle_deadline} has passed.",
            "`usufruct default` ends it: a turn made before is certified at GET /certificates/REQUEST.",
        )
    if view.lane != lane:
        named = "vault" if lane is Lane.VAULT else "homomorphic"
        message = f"The request is not of the {named} lane."
        raise _refused("wrong_lane", message, "Use its own lane.")


def _require_some_key(view: RequestView) -> None:
    if view.gate_key == bytes(32):
        raise _refused(
            "gate_key_missing",
            "The chain has no key of the drawn gate.",
            "Record it (`usufruct record-key`), then ask again.",
        )


def _require_gate_key(view: RequestView, final: RequestView) -> None:
    _require_some_key(view)
    if (final.gate, final.gate_key) != (view.gate, view.gate_key):
        raise _refused(
            "not_yet_final", "The gate's key is not in a final block yet.", "Wait, then ask again."
        )


def _require_independent_gate(view: RequestView) -> None:
    """Whoever opens epochs may list any address: an operator that is its own gate would see records."""
    if view.gate == view.operator:
        raise _refused(
            "gate_is_the_operators",
            "The drawn gate is the operator of the request itself.",
            "Have an epoch opened whose gates are other parties; this request can only default.",
        )


def _require_seat(chain: Chain, epoch: int, rules: Rules) -> CommitteeView:
    committee = chain.committee(epoch)
    seats = {member.place: member.signer for member in committee.members}
    if seats.get(rules.place) != rules.signer:
        raise _wrong_seat(epoch, rules)
    return committee


def _wrong_seat(epoch: int, rules: Rules) -> TurnRefused:
    return _refused(
        "wrong_epoch",
        # People count custodians from one, as the pages do; the chain and configurations count places from 0.
        f"This is not custodian {rules.place + 1} of epoch {epoch}: another holds that seat, which is "
        f"place {rules.place} on chain.",
        "Ask the custodian that does.",
    )


def _require_cohort(members: int, least: int) -> None:
    if members < least:
        raise _refused(
            "cohort_too_small",
            f"The cohort has {counted(members, 'member')}; this custodian turns for at least {least}.",
            "Ask with a larger cohort.",
        )


def _require_known(terms: RequestTerms, known: Mapping[bytes, int]) -> None:
    if terms.analysis not in known:
        raise _refused(
            "unknown_analysis",
            "This custodian does not know the analysis of this request.",
            "Use a catalogued analysis, or have the custodian add it to its configuration.",
        )
    if known[terms.analysis] != terms.release_kind:
        raise _refused(
            "wrong_release_kind",
            "The terms state another kind of release than the analysis has; patients allowed that kind only.",
            "Ask again with the release kind that a quote returns; this request can only default.",
        )


def _refused(code: str, message: str, remedy: str) -> TurnRefused:
    return TurnRefused(code=code, message=message, remedy=remedy)
