"""Custodians that generate and hand on a joint key: served from threads, faulty ones among them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marketplace.chain.deploy import CommitteeSeat, open_epoch
from marketplace.custodian import keys as custodian_keys
from marketplace.custodian.holders import FOLDER
from marketplace.custodian.joint_shares import JointShare
from marketplace.custodian.keygen import Keygen
from marketplace.custodian.service import Custodian
from marketplace.keygen import Generated, generate, new_session
from marketplace.peers import Peer
from marketplace.wire.http import to_hex
from marketplace.wire.keygen import ANSWER, COMMIT, COMPLAIN, REVEAL, Session
from marketplace.wire.structs import sign
from tests.support.custody_world import CustodyWorld, custody_world, served_custodian
from tests.support.nodes import any_node

DEAD = "http://127.0.0.1:9"


@dataclass
class Hosts:
    """A market's custodians, serving in threads, by place."""

    world: CustodyWorld
    custodians: list[Custodian]
    urls: list[str]
    stack: ExitStack = field(repr=False)

    def peers(self) -> list[Peer]:
        return [Peer(f"custodian {place + 1}", url) for place, url in enumerate(self.urls)]

    def session(self, origin: int = 0) -> Session:
        return new_session(self.world.chain, int(self.world.chain.current_epoch()), origin)

    def generate(self, session: Session | None = None) -> Generated:
        peers = self.peers()
        return generate(
            self.world.chain, self.world.operator, peers, peers, session or self.session()
        )

    def record(self, generated: Generated) -> None:
        self.world.sender.send(
            "CustodianCommittee",
            "recordJointKey",
            generated.epoch,
            generated.commitments,
            generated.transcript,
            list(generated.signatures),
        )

    def pass_time(self, seconds: int) -> None:
        wait_until(self.world, self.world.chain.now() + seconds)

    def mine(self, blocks: int) -> None:
        for _ in range(blocks):
            self.world.chain.node.mine()

    def shares(self, epoch: int) -> list[JointShare]:
        return [each.joint_shares.of(epoch) for each in self.custodians]

    def replace(self, place: int, keygen: Keygen) -> None:
        self.custodians[place].keygen = keygen


@contextmanager
def hosts_at(folder: Path, **changes: Any) -> Iterator[Hosts]:
    """changes: to every custodian's configuration."""
    with any_node(folder) as node, ExitStack() as stack:
        world = custody_world(node, folder)
        custodians = [world.custodian(place, **changes) for place in range(3)]
        urls = [stack.enter_context(served_custodian(each)) for each in custodians]
        yield Hosts(world, custodians, urls, stack)


def wait_until(world: CustodyWorld, when: int) -> None:
    """The first block at this time or later. A chain with many blocks is ahead of the clock that is moved."""
    while (now := world.chain.now()) < when:
        world.chain.node.request("evm_increaseTime", [when - now])
        world.chain.node.mine()


# --- what they say


def call(
    hosts: Hosts, session: Session, number: int, said: Mapping[str, Any], place: int = 0
) -> Any:
    domain = hosts.world.chain.domain("CustodianCommittee")
    signature = sign(session.call, domain, hosts.world.operator)
    return asked(hosts, session, number, said, signature, place)


def asked(
    hosts: Hosts,
    session: Session,
    number: int,
    said: Mapping[str, Any],
    signature: bytes,
    place: int = 0,
) -> Any:
    body = {
        "session": {
            "epoch": session.epoch,
            "origin": session.origin,
            "nonce": to_hex(session.nonce),
            "deadline": session.deadline,
        },
        "signature": to_hex(signature),
        "round": number,
        "said": dict(said),
    }
    return hosts.peers()[place].post("/keygen", body)


def rounds(hosts: Hosts, session: Session) -> dict[str, Any]:
    """All that is said before the outcome is signed, as everybody says it."""
    everybody = range(3)
    said: dict[str, Any] = {
        "commits": [call(hosts, session, COMMIT, {}, place) for place in everybody]
    }
    said["dealt"] = [call(hosts, session, REVEAL, said, place) for place in everybody]
    said["complaints"] = [call(hosts, session, COMPLAIN, said, place) for place in everybody]
    blamed = {dealer for each in said["complaints"] for dealer in each["dealers"]}
    said["answers"] = [call(hosts, session, ANSWER, said, place) for place in sorted(blamed)]
    return said


# --- who spoils it


class Faulty(Keygen):
    """A dealer with one fault."""

    @classmethod
    def of(cls, custodian: Custodian) -> Faulty:
        return cls(
            custodian.chain,
            custodian.journal,
            custodian.keys,
            custodian.joint_shares,
            custodian.rules.place,
            custodian.data,
        )


@contextmanager
def faulty(hosts: Hosts, place: int, kind: type[Faulty]) -> Iterator[None]:
    honest = hosts.custodians[place].keygen
    hosts.replace(place, kind.of(hosts.custodians[place]))
    try:
        yield
    finally:
        hosts.replace(place, honest)


# --- another committee


def same_again(world: CustodyWorld) -> None:
    """A new epoch of the same custodians."""
    committee = world.chain.committee()
    seats = [CommitteeSeat(each.signer, each.keys[1]) for each in committee.members]
    open_epoch(world.sender, seats, committee.quorum, committee.gates)


def successor(hosts: Hosts, **changes: Any) -> str:
    """Another identity at place 0 of the next epoch; returns where it answers."""
    world = hosts.world
    seats = []
    for place in range(3):
        folder = world.data("successor" if place == 0 else f"custodian{place}")
        made = custodian_keys.create(folder, 2 if place == 0 else 1)
        seats.append(CommitteeSeat(made["signer"], bytes.fromhex(made["x25519"][2:])))
    open_epoch(world.sender, seats, 2, world.chain.committee(1).gates)
    new = world.custodian(0, data=world.data("successor"), **changes)
    url = hosts.stack.enter_context(served_custodian(new))
    hosts.custodians[0] = new
    for place in range(3):  # who leaves is told, too: it deals
        tell_host(world.data(f"custodian{place}"), seats[0])
    return url


def tell_host(data: Path, seat: CommitteeSeat) -> None:
    """What `custodian init` printed there, as a host puts it among the holders."""
    folder = data / FOLDER
    folder.mkdir(exist_ok=True)
    identity = {"signer": seat.signer, "relay": seat.signer, "x25519": to_hex(seat.hpke_key)}
    (folder / f"{seat.signer}.json").write_text(json.dumps(identity))
