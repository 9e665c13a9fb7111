"""A market whose records have tallies: custodian processes with a joint key, and the operator's API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from marketplace.api import create_app
from marketplace.chain.joint_keys import joint_key_of
from marketplace.client import Marketplace
from marketplace.config import load_config
from marketplace.custodian.service import Custodian
from marketplace.keygen import generate, new_session, record
from marketplace.operator import Operator, Worker, build_operator
from marketplace.peers import Peer
from marketplace.wire import dictionary as wire
from marketplace.wire.record import SealedRecord
from ml.homomorphic.curve import Point, times_base, total
from ml.homomorphic.threshold import Sum, lagrange
from tests.support.chain_world import account
from tests.support.custody_world import (
    DICTIONARY,
    PLACES,
    CustodyWorld,
    Process,
    custody_world,
    served,
)
from tests.support.nodes import any_node
from tests.support.ports import free_port

ENCODED = DICTIONARY | {
    "schema": wire.ENCODED,
    "encoding": {
        "variables": [{"name": "systolic", "step": "1", "edges": []}, {"name": "smoker"}],
        "products": [["systolic", "systolic"], ["smoker=1", "systolic"]],
    },
}
Values = Mapping[str, Any]
COLUMNS: Sequence[Callable[[int | None, str | None], int]] = (
    lambda q, _: int(q is not None),
    lambda q, _: q or 0,
    lambda _, smoker: int(smoker == "no"),
    lambda _, smoker: int(smoker == "yes"),
    lambda q, _: (q or 0) ** 2,
    lambda q, smoker: (q or 0) * (smoker == "yes"),
)
"""What each column of a patient encrypts, of `systolic` above 60 and `smoker`; not by the encoding's code."""


def plain_sums(people: Sequence[Values]) -> list[int]:
    """Each column's sum over these people, in the clear."""
    found = [0] * len(COLUMNS)
    for values in people:
        systolic = values.get("systolic")
        q = None if systolic is None else int(systolic) - 60
        found = [
            have + column(q, values.get("smoker"))
            for have, column in zip(found, COLUMNS, strict=True)
        ]
    return found


@dataclass
class TalliedWorld:
    """`processes` are the custodians, by place; `market` is an SDK that asks this operator and a node."""

    custody: CustodyWorld
    operator: Operator
    processes: list[Process]
    url: str

    @property
    def market(self) -> Marketplace:
        return Marketplace(self.url, self.custody.node_url)

    def key(self, epoch: int = 1) -> bytes:
        found = joint_key_of(self.custody.chain, epoch)
        assert found is not None
        return found

    def generate_key(self) -> None:
        """Has the processes make a joint key, as `usufruct generate-key` does."""
        chain, admin = self.custody.chain, self.custody.operator
        peers = [Peer(f"custodian {i + 1}", each.url) for i, each in enumerate(self.processes)]
        session = new_session(chain, int(chain.current_epoch()))
        made = generate(chain, admin, peers, peers, session)
        record(self.custody.sender, made, len(peers))

    def entries(
        self, people: Mapping[str, Values], version: int = 1
    ) -> tuple[list[SealedRecord], list[dict[str, Any]]]:
        """Sealed by the SDK and attested."""
        market, custody = self.market, self.custody
        seal = market.sealer(custody.dataset)
        sealed = [seal(account(name).address, each, version) for name, each in people.items()]
        issuer = bytes(custody.issuer.key)
        return sealed, [market.attest(each, person_of(each), issuer) for each in sealed]

    def enrol(self, people: Mapping[str, Values]) -> list[SealedRecord]:
        """All the way to `stored`."""
        sealed, entries = self.entries(people)
        for (name, _), each in zip(people.items(), sealed, strict=True):
            self.custody.records[account(name).address] = each
        outcomes = self.market.upload(entries)
        assert [each["outcome"] for each in outcomes] == ["stored"] * len(sealed), outcomes
        return sealed

    def state(self) -> dict[str, Any]:
        """What a refusal may not change: rows, files, transactions."""
        node, address = self.operator.chain.node, self.operator.sender.address
        with self.operator.database.engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT * FROM records").fetchall()
        return {
            "rows": rows,
            "files": self.files(),
            "sent": int(node.request("eth_getTransactionCount", [address, "latest"]), 16),
        }

    def files(self) -> list[str]:
        folder = self.operator.config.data / "records"
        return sorted(path.name for path in folder.iterdir())

    @contextmanager
    def opened(self, place: int, data: str | None = None) -> Iterator[Custodian]:
        """A custodian's own files, which its process goes on with."""
        folder = self.custody.data(data or f"custodian{place}")
        custodian = self.custody.custodian(place, data=folder)
        try:
            yield custodian
        finally:
            custodian.journal.engine.dispose()


def person_of(sealed: SealedRecord) -> bytes:
    return bytes(keccak(text="person" + sealed.context.patient))


def sums_of(
    custodian: Custodian, dataset: bytes, key: bytes, sealed: Sequence[SealedRecord]
) -> list[Sum]:
    """Each column's sum by one custodian's own copy."""
    forms = [{at: 1} for at in range(len(COLUMNS))]
    return custodian.tallies.sums(dataset, key, [each.commitment for each in sealed], forms)


def decrypted(sums: Sequence[Sum], shares: Mapping[int, int]) -> list[Point]:
    """Each sum's value times G, by shares of the joint key (by holder, from 1)."""
    factors = lagrange(sorted(shares))
    return [
        each.value - total([each.key * (shares[index] * factors[index]) for index in shares])
        for each in sums
    ]


def times_g(values: Sequence[int]) -> list[Point]:
    return [times_base(value) for value in values]


@contextmanager
def tallied_world(folder: Path, *, with_key: bool = True) -> Iterator[TalliedWorld]:
    """The custodians get no dictionary but what the operator brings them."""
    with any_node(folder) as node, ExitStack() as stack:
        custody = custody_world(node, folder)
        custody.dictionary = wire.from_json(ENCODED)
        custody._publish()
        processes = []
        for place in range(PLACES):
            config = custody.custodian_config(place, port=free_port())
            processes.append(Process("custodian", config, folder))
            stack.callback(processes[-1].kill)
        path = folder / "operator.json"
        settings = {
            "data": "operator",
            "manifest": "manifest.json",
            "node_url": node.url,
            "key_file": "faucet.key",
            "custodians": [{"place": i, "url": each.url} for i, each in enumerate(processes)],
            "gates": [],
        }
        path.write_text(json.dumps(settings))
        operator = build_operator(load_config(path))
        stack.callback(operator.database.engine.dispose)
        operator.dictionaries.keep(custody.dictionary.to_bytes())
        url = stack.enter_context(served(create_app(operator, Worker(operator))))
        world = TalliedWorld(custody, operator, processes, url)
        custody.tick()
        if with_key:
            world.generate_key()
        yield world
