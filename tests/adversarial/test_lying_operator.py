"""An operator that would like to read what clients seal: it names keys and dictionaries of its own."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from eth_utils.crypto import keccak

from marketplace.chain.deploy import CommitteeSeat, open_epoch
from marketplace.client import Marketplace
from marketplace.errors import EnvelopeUnreadable, Refusal
from marketplace.fhir.demo import demo_bundles, demo_dictionary
from marketplace.fhir.extract import extract
from marketplace.wire import hpke
from marketplace.wire.dictionary import Dictionary, from_json
from marketplace.wire.record import open_share
from tests.support.chain_world import World, account, world_on
from tests.support.nodes import any_node


@contextmanager
def _operator(answers: dict[str, Any]) -> Iterator[str]:
    """A real HTTP server that says what it is told to."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers[self.path], sort_keys=True).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    with any_node(tmp_path_factory.mktemp("chain")) as node:
        found = world_on(node)
        yield found, node.url


HONEST = tuple(hpke.generate() for _ in range(3))
ATTACKERS = tuple(hpke.generate() for _ in range(3))


@pytest.fixture(scope="module")
def dataset(world: tuple[World, str]) -> bytes:
    here, _ = world
    seats = [
        CommitteeSeat(custodian.address, key.public)
        for custodian, key in zip(here.custodians, HONEST, strict=True)
    ]
    open_epoch(here.sender, seats, 2, [account("gate").address])
    sent = here.sender.send(
        "DatasetRegistry", "publishDataset", demo_dictionary().hash(), keccak(text="own"), ""
    )
    return bytes(sent.event("DatasetPublished").args["dataset"])


def _answers(world: World, dataset: bytes, dictionary: Dictionary) -> dict[str, Any]:
    """An operator's whole view, in which custodians and dictionary are of its own choosing."""
    document = json.loads(dictionary.to_bytes())
    del document["schema"]
    named = f"0x{dataset.hex()}"
    return {
        "/api/v1/market": {
            "chain_id": world.manifest.chain_id,
            "manifest": world.manifest.to_json(),
        },
        "/api/v1/committee": {
            "epoch": 2,
            "quorum": 2,
            "members": [
                {"place": i, "signer": custodian.address, "key": "0x" + key.public.hex()}
                for i, (custodian, key) in enumerate(zip(world.custodians, ATTACKERS, strict=True))
            ],
            "gates": [],
        },
        f"/api/v1/datasets/{named}": {
            "dataset": named,
            "dictionary": document,
            "dictionary_hash": "0x" + dictionary.hash().hex(),
            "classes": [],
        },
    }


def test_shares_are_sealed_to_the_custodians_of_the_chain_whatever_the_operator_says(
    world: tuple[World, str], dataset: bytes
) -> None:
    here, node = world
    values = extract(demo_bundles(1, 7)[0], demo_dictionary())
    with _operator(_answers(here, dataset, demo_dictionary())) as url:
        market = Marketplace(url, node, here.manifest)
        record = market.seal(dataset, account("patient").address, values)
    for index, (honest, attacker) in enumerate(zip(HONEST, ATTACKERS, strict=True), start=1):
        assert open_share(record, index, honest).index == index
        with pytest.raises(EnvelopeUnreadable):
            open_share(record, index, attacker)


def test_nothing_is_sealed_by_a_dictionary_that_the_chain_does_not_name(
    world: tuple[World, str], dataset: bytes
) -> None:
    here, node = world
    document = json.loads(demo_dictionary().to_bytes())
    document["variables"][1]["upper"] = "261"
    with _operator(_answers(here, dataset, from_json(document))) as url:
        market = Marketplace(url, node, here.manifest)
        with pytest.raises(Refusal) as refused:
            market.sealer(dataset)
    assert refused.value.code == "dictionary_mismatch"
