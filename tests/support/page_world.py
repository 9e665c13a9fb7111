"""A small market on chain, an operator's database, and what pages read of both."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount

from marketplace.chain.adapter import Chain, Finality
from marketplace.chain.ledger import Ledger
from marketplace.matches import Matches
from marketplace.public import Public
from marketplace.stages import Stage
from marketplace.store import Database, RequestRow, open_database
from marketplace.timelines import Timelines
from marketplace.vocabulary import Address
from marketplace.wire.http import to_hex
from marketplace.wire.messages import parse_message
from marketplace.wire.structs import (
    EarningsWithdrawal,
    Grant,
    Guardianship,
    RequestTerms,
    Rest,
    Revocation,
    Rotation,
    Wake,
    sign,
)
from tests.support.chain_world import DAY, World, account, world_on
from tests.support.nodes import RunningNode, embedded_node


@dataclass
class PageWorld:
    """`patients` are keys by name; each act below is one signed message, carried by the world's account."""

    world: World
    database: Database
    timelines: Timelines = field(init=False)
    public: Public = field(init=False)
    matches: Matches = field(init=False)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.read_through(self.chain)

    @property
    def chain(self) -> Chain:
        return self.world.chain

    def read_through(self, chain: Chain) -> None:
        """Reads anew, through this node."""
        self.ledger = Ledger(chain)
        self.timelines = Timelines(chain, self.database, self.ledger)
        self.public = Public(chain, self.database, self.ledger)
        self.matches = Matches(chain)

    # --- patients

    def sequence(self, patient: LocalAccount) -> int:
        return self.chain.consent_of(self.world.dataset, patient.address).sequence

    def revoke(self, patient: LocalAccount) -> None:
        struct = Revocation(patient.address, self.world.dataset, self.sequence(patient))
        self._carry("revocation", struct, patient)

    def rest(self, patient: LocalAccount) -> None:
        self._carry("rest", Rest(*self._pause(patient)), patient)

    def wake(self, patient: LocalAccount) -> None:
        self._carry("wake", Wake(*self._pause(patient)), patient)

    def grant(self, patient: LocalAccount, class_: int = 0) -> Grant:
        function, arguments = self.world.grant(patient, class_, self.sequence(patient) + 1)
        self.world.sender.send("ConsentRegistry", function, *arguments)
        granted = arguments[0]
        assert isinstance(granted, Grant)
        return granted

    def withdraw(self, patient: LocalAccount, to: str) -> None:
        struct = EarningsWithdrawal(
            patient.address, self.world.dataset, to, secrets.randbits(128), self.world.later()
        )
        self._carry("earnings_withdrawal", struct, patient)

    def appoint(self, patient: LocalAccount, guardian: str) -> None:
        struct = Guardianship(
            patient.address,
            self.world.dataset,
            guardian,
            self.world.later(30 * DAY),
            False,
            secrets.randbits(128),
            self.world.later(),
        )
        self._carry("guardianship", struct, patient)

    def move(self, patient: LocalAccount, name: str) -> LocalAccount:
        """Rotates to a fresh key."""
        to = account(name)
        struct = Rotation(self.world.dataset, patient.address, to.address, self.world.later())
        signed = sign(struct, self.chain.domain("ConsentRegistry"), to)
        self._carry("rotation", struct, patient, signature_to=to_hex(signed))
        return to

    def _pause(self, patient: LocalAccount) -> tuple[Any, ...]:
        nonce = secrets.randbits(128)
        return (
            patient.address,
            self.world.dataset,
            self.sequence(patient),
            nonce,
            self.world.later(),
        )

    def _carry(self, kind: str, struct: Any, signer: LocalAccount, **more: str) -> None:
        contract = "ResearchMarket" if kind == "earnings_withdrawal" else "ConsentRegistry"
        signature = to_hex(sign(struct, self.chain.domain(contract), signer))
        named = {"signer": signer.address} if kind in ("revocation", "rest", "wake") else {}
        message = parse_message(
            {"kind": kind, "message": struct.to_json(), "signature": signature, **named, **more},
            "message",
        )
        function, arguments = message.call()
        self.world.sender.send(contract, function, *arguments)

    # --- requests

    def pass_time(self, moment: int) -> None:
        """Until chain time is past it. A busy embedded chain is ahead of the wall, by a second a block."""
        while (now := self.chain.now()) <= moment:
            self.chain.node.request("evm_increaseTime", [moment - now + 1])
            self.chain.node.mine()

    def submit(self, terms: RequestTerms) -> str:
        """The operator's row of a request. Returns its id."""
        request = to_hex(
            terms.request_id(self.chain.chain_id, self.chain.market, self.world.sender.address)
        )
        row = RequestRow(
            id=request,
            researcher=self.world.sender.address,
            stage=Stage.SUBMITTED,
            terms=terms.to_json(),
            analysis="mean.v1",
            parameters={"variable": "systolic"},
            submitted_at=datetime.now(UTC),
        )
        assert self.database.submit(row, "handed in")
        return request

    def timeline_of(self, patient: LocalAccount) -> list[Any]:
        return self.timelines.timeline(self.world.dataset, Address(patient.address))


@contextmanager
def page_world_on(
    node: RunningNode, folder: Path, *, finality: Finality | None = None
) -> Iterator[PageWorld]:
    database = open_database(f"sqlite:///{folder / 'operator.sqlite'}")
    try:
        yield PageWorld(world_on(node, finality=finality), database)
    finally:
        database.engine.dispose()


@contextmanager
def page_world(folder: Path) -> Iterator[PageWorld]:
    """On the embedded node."""
    with embedded_node(folder) as node, page_world_on(node, folder) as made:
        yield made
