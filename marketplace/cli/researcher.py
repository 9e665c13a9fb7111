"""Commands of researchers and auditors."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from marketplace.chain.adapter import Chain, Manifest
from marketplace.chain.sender import Sender
from marketplace.cli.agreement import AT_MOST, YES, require_agreed
from marketplace.cli.environment import from_environment
from marketplace.cli.progress import bar
from marketplace.cli.result import (
    RECEIPT,
    WAIT,
    keep_receipt,
    require_no_other,
    show_answer,
)
from marketplace.cli.say import (
    FILE,
    HEX32,
    Whole,
    in_file,
    json_object,
    read_json,
    refusals_as_words,
    say,
    tell,
)
from marketplace.cli.way import GAS, Way, travels
from marketplace.client import Marketplace, delivery_key
from marketplace.client.ended import MONEY_BACK, STATUS, spent_words
from marketplace.client.keys import require_other_key
from marketplace.client.results import require_receipt_of
from marketplace.client.waiting import DATE
from marketplace.receipts.format import Receipt, load
from marketplace.receipts.verify import verify
from marketplace.wire import hpke, keyfiles
from marketplace.wire.http import to_hex
from marketplace.wire.terms import Purpose

URL = from_environment("--url", default="http://127.0.0.1:8000", show_default=True)
NODE = from_environment("--node", default="http://127.0.0.1:8545", show_default=True)
KEY = click.option("--key-file", type=FILE, required=True, help="Private key (mode 0600).")
REQUEST = click.option("--request", "opened", type=HEX32, required=True, help="Id of the request.")
MANIFEST = from_environment(
    "--manifest", type=FILE, help="The deployment's; else the operator's word."
)


@click.command()
@URL
@NODE
@MANIFEST
@KEY
@click.option("--delivery-key-file", type=FILE, required=True, help="Made if it is missing.")
@from_environment("--dataset", type=HEX32, required=True)
@click.option("--class", "classes", type=Whole(), multiple=True, default=(1,), show_default=True)
@click.option("--analysis", required=True, help="Id in the catalogue, e.g. mean.v1.")
@click.option("--parameters", required=True, help="JSON.")
@click.option("--cost", type=Whole(1), help="Privacy cost, nano-rho.")
@click.option(
    "--target-error", help="Half-width of the 95% interval, in the unit that quotes name."
)
@click.option("--purpose", type=FILE, required=True, help="Purpose as JSON.")
@RECEIPT
@WAIT
@AT_MOST
@YES
@click.option("--quote-only", is_flag=True, help="Show price, cost, error and odds, and stop.")
@refusals_as_words
def request(
    url: str,
    node: str,
    manifest: Path | None,
    key_file: Path,
    delivery_key_file: Path,
    dataset: bytes,
    classes: tuple[int, ...],
    analysis: str,
    parameters: str,
    cost: int | None,
    target_error: str | None,
    purpose: Path,
    receipt_file: Path | None,
    patience: int,
    at_most: int | None,
    yes: bool,
    quote_only: bool,
) -> None:
    """Ask for one analysis: see its price, pay, wait, and open the answer.

    Before it pays, it asks at a terminal; elsewhere it pays only with --at-most or --yes.
    """
    if (cost is None) == (target_error is None):
        raise click.UsageError("give exactly one of --cost and --target-error")
    given = json_object(parameters, "--parameters")
    with in_file(purpose):
        wanted = Purpose.from_json(read_json(purpose))
        wanted.require_short()
    market, own = Marketplace(url, node, _pinned(manifest)), keyfiles.read(key_file)
    require_other_key(own, delivery_key_file)
    # An offer needs no delivery key, and makes none.
    unmade = market.researcher(own, hpke.generate())
    offer = unmade.offer(
        dataset, classes, analysis, given, wanted, cost=cost, target_error=target_error
    )
    if quote_only:
        say(offer.quote)
        return
    offer.require_buyable()
    require_no_other(receipt_file)
    for sentence in offer.in_words:
        tell(sentence)
    require_agreed(offer.escrow, offer.escrow_in_words, at_most, yes)
    answer = market.researcher(own, delivery_key(delivery_key_file)).buy(
        offer,
        at_most=offer.escrow,
        on_stage=tell,
        on_request=lambda request: tell(fetched_with(request, delivery_key_file)),
        keep=lambda receipt: keep_receipt(receipt, receipt_file),
        patience=patience,
    )
    show_answer(answer.request, answer.result, answer.receipt, receipt_file)
    tell(spent_words(offer.quote, answer.cohort_size))


@click.command()
@URL
@NODE
@MANIFEST
@KEY
@REQUEST
@refusals_as_words
def cancel(url: str, node: str, manifest: Path | None, key_file: Path, opened: bytes) -> None:
    """Cancel your request before it is frozen: everything comes back as credit."""
    _end("cancel", Marketplace(url, node, _pinned(manifest)), key_file, opened)


@click.command()
@URL
@NODE
@MANIFEST
@KEY
@REQUEST
@refusals_as_words
def reclaim(url: str, node: str, manifest: Path | None, key_file: Path, opened: bytes) -> None:
    """End a request that was not sealed in time (anyone): everything comes back as credit."""
    _end("reclaim", Marketplace(url, node, _pinned(manifest)), key_file, opened)


@click.command("withdraw-credit")
@travels(GAS)
@KEY
@click.option("--to", required=True, help="Address that is paid.")
@refusals_as_words
def withdraw_credit(way: Way, key_file: Path, to: str) -> None:
    """Have your credit (returned escrow, fees, bonds) paid to an address."""
    own = keyfiles.read(key_file)
    message = way.market.credit_message(own, to)
    route = way.route(own)
    before = route.balance(to)
    transaction = route.carry(message)
    after = route.balance(to)
    shown = {"paid": str(after - before), "to": to, "balance": str(after)}
    words = f"{way.amount(after - before)} paid to {to}."
    say({**shown, "transaction": transaction, "in_words": [words]})


@click.command("verify-receipt")
@click.argument("receipt", type=FILE)
@from_environment("--node", required=True, help="JSON-RPC URL of a node that you trust.")
@from_environment("--manifest", type=FILE, required=True, help="The deployment's manifest.")
@click.option("--request", "meant", type=HEX32, help="Refuse the receipt of any other request.")
@refusals_as_words
def verify_receipt(receipt: Path, node: str, manifest: Path, meant: bytes | None) -> None:
    """Verify a receipt against the chain alone, and say what it is of; the operator need not run."""
    content, chain = receipt.read_bytes(), Chain(node, Manifest.load(manifest))
    with in_file(receipt):
        read = load(content)
    if meant is not None:
        require_receipt_of(read, meant)
    with bar("verifying", None):
        verified = verify(content, chain)
        shown = receipt_facts(verified.receipt, chain)
    say({"verified": True, "steps": list(verified.steps), **shown})


def receipt_facts(receipt: Receipt, chain: Chain) -> dict[str, Any]:
    """Of which request a verified receipt is, and when it was settled: a genuine one may be another's."""
    settled = receipt.steps["settled"]
    time = datetime.fromtimestamp(chain.node.header(settled.block).timestamp, UTC)
    return {
        "request": to_hex(receipt.request),
        "researcher": receipt.researcher,
        "dataset": to_hex(receipt.terms.dataset),
        "analysis": receipt.analysis,
        "parameters": receipt.parameters,
        "cohort_size": receipt.cohort.members,
        "cost_nano_rho": receipt.cost,
        "settled": {"block": settled.block, "time": time.strftime(DATE)},
    }


def fetched_with(request: str, delivery_key_file: Path) -> str:
    """How the answer is had if this command should end before it is there."""
    return (
        "If this ends first, the answer is not lost: "
        f"usufruct result --request {request} --delivery-key-file {delivery_key_file}"
    )


def _end(function: str, market: Marketplace, key_file: Path, request: bytes) -> None:
    chain = market.chain
    researcher = chain.request(request).researcher
    Sender(chain, keyfiles.read(key_file)).send("ResearchMarket", function, request)
    stage, credit = chain.request(request).stage.name.lower(), str(chain.credit_of(researcher))
    words = [MONEY_BACK.get(stage, STATUS).format(request=to_hex(request))]
    say({"request": to_hex(request), "stage": stage, "credit": credit, "in_words": words})


def _pinned(manifest: Path | None) -> Manifest | None:
    return None if manifest is None else Manifest.load(manifest)
