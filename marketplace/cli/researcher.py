"""Commands of researchers and auditors."""

from __future__ import annotations

from pathlib import Path

import click

from marketplace.chain.adapter import Manifest
from marketplace.chain.sender import Sender
from marketplace.cli.agreement import AT_MOST, YES, require_agreed
from marketplace.cli.environment import from_environment
from marketplace.cli.lanes import LANE
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
from marketplace.vocabulary import Lane
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
@click.option("--class", "classes", type=Whole(1), multiple=True, default=(1,), show_default=True)
@LANE
@click.option("--analysis", required=True, help="Id in the lane's catalogue, e.g. mean.v1.")
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
    lane: Lane,
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

    Before it pays, it asks at a terminal; elsewhere it pays only with --at-most or --yes. In the homomorphic
    lane nobody opens a record, and custodians decrypt nothing but noised sums, to you alone; the quote says
    what that means for the error.
    """
    if (cost is None) == (target_error is None):
        raise click.UsageError("give exactly one of --cost and --target-error")
    given = json_object(parameters, "--parameters")
    with in_file(purpose):
        wanted = Purpose.from_json(read_json(purpose))
        wanted.require_short()
    market, own = Marketplace(url, node, pinned(manifest)), keyfiles.read(key_file)
    require_other_key(own, delivery_key_file)
    # An offer needs no delivery key, and makes none.
    unmade = market.researcher(own, hpke.generate())
    asked = (dataset, classes, analysis, given, wanted)
    offer = unmade.offer(*asked, cost=cost, target_error=target_error, lane=lane)
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
    _end("cancel", Marketplace(url, node, pinned(manifest)), key_file, opened)


@click.command()
@URL
@NODE
@MANIFEST
@KEY
@REQUEST
@refusals_as_words
def reclaim(url: str, node: str, manifest: Path | None, key_file: Path, opened: bytes) -> None:
    """End a request that was not sealed in time (anyone): everything comes back as credit."""
    _end("reclaim", Marketplace(url, node, pinned(manifest)), key_file, opened)


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


def pinned(manifest: Path | None) -> Manifest | None:
    """The deployment that the caller trusts; None for the operator's word."""
    return None if manifest is None else Manifest.load(manifest)
