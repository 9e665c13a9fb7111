"""What anybody may see: every request ever opened on this market, and which contracts it is.

Requests are those of every operator: found in the chain's events, proved by their id and by what the market
stores of them. Whom they count is public as a number only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from eth_hash.auto import keccak

from marketplace.chain.adapter import Chain, MarketPolicy, RequestView
from marketplace.chain.ledger import Ledger, Opening, Place, Step
from marketplace.errors import BadParameter, Refusal
from marketplace.store import Database, RequestRow
from marketplace.vocabulary import Address
from marketplace.wire.data_use import purpose_words
from marketplace.wire.http import to_hex
from marketplace.wire.lately import Lately
from marketplace.wire.terms import Credential, Purpose
from marketplace.words import epsilon_of

MOST_ROWS: Final = 100
"""Of one page."""
KEPT_VIEWS: Final = 4_096
_PLACE: Final = re.compile(r"([0-9]{1,15})\.([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class PublicRequest:
    """One request. Times in unix seconds, chain time; `cost` in nano-rho, `price` in token units a patient.

    `epsilon` and `delta` are what `cost` implies for as many patients as were counted (the largest delta
    while nobody is). `cohort` is None until the seal. `stage` is the chain's; `here` is the stage that this
    operator has it at, None for a request of another's.
    """

    request: bytes
    researcher: str
    credential: Credential  # as the authority vouches for it now; kind 0 for none
    purpose: Purpose
    dataset: bytes
    classes: tuple[int, ...]
    lane: int
    analysis: str | None  # by its catalogue id, where it was handed in to this operator
    variable: str | None  # that is asked about, where it is one and known here
    analysis_hash: bytes
    cost: int
    epsilon: float
    delta: float
    price: int
    max_patients: int
    cohort: int | None
    stage: str
    here: str | None
    opened_at: int
    notice_ends: int
    seal_deadline: int
    settle_deadline: int
    block: int
    log_index: int

    @property
    def place(self) -> Place:
        """What `Public.page` goes on before."""
        return self.block, self.log_index

    @property
    def written_place(self) -> str:
        """The same as `place_of` reads it."""
        return f"{self.block}.{self.log_index}"

    def document(self) -> dict[str, Any]:
        """All of it as JSON, the purpose in words."""
        return {
            "request": to_hex(self.request),
            "researcher": self.researcher,
            "purpose": purpose_words(self.purpose),
            "dataset": to_hex(self.dataset),
            "classes": list(self.classes),
            "lane": self.lane,
            "analysis": self.analysis,
            "analysis_hash": to_hex(self.analysis_hash),
            "cost_nano_rho": self.cost,
            "epsilon": {"epsilon": f"{self.epsilon:.4f}", "delta": f"{self.delta:.3g}"},
            "price": self.price,
            "max_patients": self.max_patients,
            "cohort_size": self.cohort,
            "chain_stage": self.stage,
            "stage": self.here,
            "opened_at": self.opened_at,
            "notice_until": self.notice_ends,
            "seal_deadline": self.seal_deadline,
            "settle_deadline": self.settle_deadline,
            "place": self.written_place,
        }


def place_of(written: str) -> Place:
    """`BLOCK.INDEX`, as lists of requests write where they end. Raises BadParameter."""
    found = _PLACE.fullmatch(written)
    if found is None:
        raise BadParameter(
            message="before is not a place among the requests.",
            remedy="Follow the link to older requests, or leave it out.",
            field="before",
        )
    return int(found[1]), int(found[2])


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract of the deployment: keccak256 of its code by the manifest, and as the node has it now."""

    name: str
    address: Address
    expected: bytes
    found: bytes

    @property
    def is_same(self) -> bool:
        """Whether the code is what was deployed."""
        return self.expected == self.found


@dataclass(frozen=True, slots=True)
class Deployment:
    """Which market this is. `node_chain_id` is what the node says of itself."""

    chain_id: int
    node_chain_id: int
    genesis_hash: bytes
    deployed_block: int
    policy: MarketPolicy
    contracts: tuple[Contract, ...]

    @property
    def is_as_deployed(self) -> bool:
        """Whether chain and every contract are what the manifest says."""
        same = all(contract.is_same for contract in self.contracts)
        return same and self.chain_id == self.node_chain_id


@dataclass(frozen=True)
class Public:
    """Safe for threads."""

    chain: Chain
    database: Database
    ledger: Ledger
    _views: Lately[tuple[bytes, Step], RequestView] = field(
        default_factory=lambda: Lately(KEPT_VIEWS), init=False, repr=False
    )
    _deployment: Lately[bytes, Deployment] = field(
        default_factory=lambda: Lately(1), init=False, repr=False
    )

    def page(self, before: Place | None = None, limit: int = 50) -> list[PublicRequest]:
        """Requests of every operator, the newest first: at most `limit`, itself at most `MOST_ROWS`.

        Args:
            before: `place` of the last one of the page before.

        Raises:
            ForgedLogs, Reorganised; NodeUnreachable, NodeFault.
        """
        openings = self.ledger.requests().openings
        older = [each for each in openings if before is None or each.place < before]
        return self._rows(older[::-1][: max(0, min(limit, MOST_ROWS))])

    def document(self, before: str | None = None, limit: int = MOST_ROWS) -> dict[str, Any]:
        """A page as JSON; `before` is what to name for the next, null after the last. Raises as `page`."""
        rows = self.page(None if before is None else place_of(before), limit)
        older = rows[-1].written_place if rows and self.page(rows[-1].place, 1) else None
        return {"requests": [each.document() for each in rows], "before": older}

    def one(self, request: bytes) -> PublicRequest:
        """One request, of whichever operator.

        Raises:
            Refusal: `unknown_request`; as `page`.
        """
        opening = self.ledger.requests().by_id.get(request)
        if opening is None:
            raise Refusal(
                code="unknown_request",
                message=f"There is no request {to_hex(request)} on chain.",
                remedy="Check the id; a request is there once it was paid for.",
                field="request",
            )
        (row,) = self._rows([opening])
        return row

    def number(self) -> int:
        """How many requests there ever were. Raises as `page`."""
        return len(self.ledger.requests().openings)

    def contracts(self) -> Deployment:
        """Addresses, code and policy, as the node has them at its head.

        Raises:
            NodeUnreachable, NodeFault.
        """
        head = self.chain.head().hash
        known = self._deployment.get(head)
        return known or self._deployment.keep(head, self._contracts())

    def _contracts(self) -> Deployment:
        manifest, node = self.chain.manifest, self.chain.node
        contracts = tuple(
            Contract(name, each.address, each.code_hash, keccak(node.code(each.address)))
            for name, each in manifest.contracts.items()
        )
        return Deployment(
            chain_id=manifest.chain_id,
            node_chain_id=node.chain_id(),
            genesis_hash=manifest.genesis_hash,
            deployed_block=manifest.deployed_block,
            policy=self.chain.policy(),
            contracts=contracts,
        )

    def _rows(self, openings: Sequence[Opening]) -> list[PublicRequest]:
        rows = self.database.known([to_hex(each.request) for each in openings])
        credentials = {
            researcher: self.chain.credential_of(researcher)
            for researcher in {each.researcher for each in openings}
        }
        window = self.chain.policy().notice_window if openings else 0
        return [
            _row(
                each,
                self._view(each),
                credentials[each.researcher],
                rows.get(to_hex(each.request)),
                window,
            )
            for each in openings
        ]

    def _view(self, opening: Opening) -> RequestView:
        """As the market stores it: asked once for each thing that happened to the request.

        What is shown of it changes with an event alone; and where storage is ahead of the events, nothing is
        kept.
        """
        last = opening.last
        if (known := self._views.get((opening.request, last))) is not None:
            return known
        view = self.chain.request(opening.request)
        if view.stage is last.stage:
            return self._views.keep((opening.request, last), view)
        return view


def _row(
    opening: Opening,
    view: RequestView,
    credential: Credential,
    known: RequestRow | None,
    window: int,
) -> PublicRequest:
    terms = opening.terms
    cohort = view.members if view.was_sealed else None
    epsilon, delta = epsilon_of(terms.cost, cohort)
    return PublicRequest(
        request=opening.request,
        researcher=opening.researcher,
        credential=credential,
        purpose=terms.purpose,
        dataset=terms.dataset,
        classes=terms.classes,
        lane=terms.lane,
        analysis=None if known is None else known.analysis,
        variable=None if known is None else known.parameters.get("variable"),
        analysis_hash=terms.analysis,
        cost=terms.cost,
        epsilon=epsilon,
        delta=delta,
        price=terms.price,
        max_patients=terms.max_patients,
        cohort=cohort,
        stage=view.stage.name.lower(),
        here=None if known is None else known.stage,
        opened_at=view.opened_at,
        notice_ends=view.opened_at + window,
        seal_deadline=terms.seal_deadline,
        settle_deadline=terms.settle_deadline,
        block=opening.opened.block,
        log_index=opening.opened.log_index,
    )
