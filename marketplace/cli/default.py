"""What is done about a request that was sealed and is not answered: its keys turned, and its default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from marketplace.chain.adapter import Chain, Manifest
from marketplace.cli.environment import from_environment
from marketplace.cli.progress import bar
from marketplace.cli.say import (
    FILE,
    HEX32,
    Whole,
    json_object,
    read_json,
    refusals_as_words,
    say,
    tell,
)
from marketplace.client import Marketplace
from marketplace.client.answers import answer_words
from marketplace.client.defaults import default as end_unanswered
from marketplace.client.logarithms import Logarithms
from marketplace.client.summing import have_summed
from marketplace.client.tallied import open_tally
from marketplace.client.turning import Asked, Hosts, have_turned
from marketplace.client.waiting import PATIENCE
from marketplace.wire import dictionary as dictionaries
from marketplace.wire import hpke, keyfiles
from marketplace.wire.http import to_hex
from marketplace.wire.structs import HOMOMORPHIC

NODE = from_environment("--node", required=True, help="JSON-RPC URL of a node that you trust.")
MANIFEST = from_environment(
    "--manifest", type=FILE, required=True, help="The deployment's manifest."
)
CUSTODIANS = click.option(
    "--custodian",
    "custodians",
    multiple=True,
    required=True,
    help="A custodian's URL; repeat it for each of them.",
)
KEY = click.option("--key-file", type=FILE, required=True, help="Any account that can pay for gas.")
REQUEST = click.option("--request", "opened", type=HEX32, required=True, help="Id of the request.")


@click.command("record-key")
@NODE
@MANIFEST
@click.option(
    "--gate", "gates", multiple=True, help="A gate's URL; repeat it for each. Vault lane only."
)
@CUSTODIANS
@KEY
@REQUEST
@click.option("--parameters", help="JSON, as they were asked for.")
@click.option("--dictionary", type=FILE, help="The dataset's data dictionary, as JSON.")
@click.option("--url", help="In the place of both: an operator's API, where they are public.")
@click.option(
    "--delivery-key-file", type=FILE, help="Homomorphic lane: open and show the answer, too."
)
@click.option(
    "--wait",
    "patience",
    default=int(PATIENCE),
    show_default=True,
    type=Whole(0),
    help="Seconds in which gate and custodians are asked again.",
)
@refusals_as_words
def record_key(
    node: str,
    manifest: Path,
    gates: tuple[str, ...],
    custodians: tuple[str, ...],
    key_file: Path,
    opened: bytes,
    parameters: str | None,
    dictionary: Path | None,
    url: str | None,
    delivery_key_file: Path | None,
    patience: int,
) -> None:
    """Have the keys of a sealed request turned where its operator does not (anyone; no operator needed).

    Puts the drawn gate's key on chain and asks the custodians to turn. If no answer comes all the same, they
    certify that they turned, and `usufruct default` repays the researcher from the operator's bond. To be
    done before the settle deadline; it may be repeated, and does no harm where the operator is at work.

    In the homomorphic lane there is no gate: custodians bring noise on chain and decrypt sums to the
    researcher, whose delivery key opens them at once.
    """
    chain = Chain(node, Manifest.load(manifest))
    chain.require_healthy()
    if url is not None:
        asked = _public(Marketplace(url), opened, chain.request(opened).dataset)
    elif parameters is not None and dictionary is not None:
        asked = Asked(json_object(parameters, "--parameters"), read_json(dictionary))
    else:
        raise click.UsageError("--parameters and --dictionary are needed, or --url")
    hosts, key = Hosts(gates, custodians), keyfiles.read(key_file)
    if chain.request(opened).lane == HOMOMORPHIC:
        _sum(chain, key, opened, custodians, asked, patience, delivery_key_file)
        return
    if not gates:
        raise click.UsageError("--gate is needed: the request is of the vault lane")
    with bar("asking gate and custodians", None):
        found = have_turned(chain, key, opened, hosts, asked, patience)
    view = chain.request(opened)
    say(
        {
            "request": to_hex(opened),
            "gate": view.gate,
            "gate_key": to_hex(view.gate_key),
            "certificates": [place for place, _ in found.signatures],
        }
    )


@click.command()
@NODE
@MANIFEST
@CUSTODIANS
@KEY
@REQUEST
@refusals_as_words
def default(
    node: str, manifest: Path, custodians: tuple[str, ...], key_file: Path, opened: bytes
) -> None:
    """End a sealed request whose settle deadline passed without an answer (anyone; no operator needed).

    Where a quorum of custodians shows that it turned its keys, the operator's bond repays the researcher
    what the patients were paid. Where none does, and the certificate window has passed too, the fee comes
    back and the bond returns to the operator.
    """
    chain = Chain(node, Manifest.load(manifest))
    chain.require_healthy()
    researcher = chain.request(opened).researcher
    key = keyfiles.read(key_file)
    with bar("asking the custodians", None):
        ended = end_unanswered(chain, key, opened, custodians)
    say(
        {
            "request": to_hex(opened),
            "stage": chain.request(opened).stage.name.lower(),
            "certified": ended.certified,
            "certificates": [place for place, _ in ended.certificates.signatures],
            "credit": str(chain.credit_of(researcher)),
        }
    )


def _sum(
    chain: Chain,
    key: bytes,
    request: bytes,
    custodians: tuple[str, ...],
    asked: Asked,
    patience: int,
    delivery_key_file: Path | None,
) -> None:
    dictionary, parameters = dictionaries.from_json(asked.dictionary), asked.parameters
    with bar("asking the custodians", None):
        found = have_summed(chain, key, request, custodians, dictionary, parameters, patience)
    shown: dict[str, Any] = {
        "request": to_hex(request),
        "certificates": [place for place, _ in found.certificates.signatures],
        "faults": {str(place): why for place, why in found.decrypted.faults.items()},
    }
    if delivery_key_file is not None:
        delivery = hpke.SecretKey(keyfiles.read(delivery_key_file))
        opened = open_tally(
            found.delivered, dictionary, parameters, delivery, Logarithms(told=tell)
        )
        shown["answer"] = dict(opened.document)
        shown["in_words"] = answer_words(opened.document)
    say(shown)


def _public(market: Marketplace, request: bytes, dataset: bytes) -> Asked:
    """Parameters and dictionary as an operator shows them. The gate holds both against the chain."""
    parameters = market.api.get(f"/api/v1/requests/{to_hex(request)}")["parameters"]
    return Asked(parameters, json.loads(market.dictionary(dataset).to_bytes()))
