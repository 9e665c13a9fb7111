"""Commands of researchers and auditors."""

from __future__ import annotations

import json
from pathlib import Path

import click

from marketplace.chain.adapter import Chain, Manifest
from marketplace.cli.say import FILE, HEX32, refusals_as_words, say
from marketplace.client import Ask, Marketplace
from marketplace.receipts.verify import verify
from marketplace.wire import hpke, keyfiles
from marketplace.wire.canonical import canonical
from marketplace.wire.terms import Purpose


@click.command()
@click.option("--url", default="http://127.0.0.1:8000", show_default=True)
@click.option("--node", default="http://127.0.0.1:8545", show_default=True)
@click.option("--key-file", type=FILE, required=True, help="Private key (mode 0600).")
@click.option("--delivery-key-file", type=FILE, required=True, help="Made if it is missing.")
@click.option("--dataset", type=HEX32, required=True)
@click.option("--class", "classes", type=int, multiple=True, default=(1,), show_default=True)
@click.option("--analysis", required=True, help="Id in the catalogue, e.g. mean.v1.")
@click.option("--parameters", required=True, help="JSON.")
@click.option("--cost", type=click.IntRange(1), help="Privacy cost, nano-rho.")
@click.option("--target-error", help="Half-width of the interval, in the variable's unit.")
@click.option("--purpose", type=FILE, required=True, help="Purpose as JSON.")
@click.option("--receipt", "receipt_file", type=FILE, help="Write it here, for verify-receipt.")
@click.option("--quote-only", is_flag=True, help="Show price, cost and error, and stop.")
@refusals_as_words
def request(
    url: str,
    node: str,
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
    quote_only: bool,
) -> None:
    """Ask for one analysis: see its price, pay, wait, and open the answer."""
    if (cost is None) == (target_error is None):
        raise click.UsageError("give exactly one of --cost and --target-error")
    given = _json(parameters, "--parameters")
    wanted = Purpose.from_json(_json(purpose.read_text(), "--purpose"))
    keyfiles.create(delivery_key_file, hpke.generate().raw)
    delivery = hpke.SecretKey(keyfiles.read(delivery_key_file))
    ask = Ask(Marketplace(url, node), keyfiles.read(key_file), delivery)
    quote = ask.quote(dataset, classes, analysis, given, cost=cost, target_error=target_error)
    if quote_only:
        say(quote)
        return
    terms = ask.terms(dataset, classes, quote, wanted)
    ask.submit(terms, given)
    opened = ask.open(terms)
    ended = ask.wait(opened, seen=lambda stage: click.echo(stage, err=True))
    if ended["stage"] != "settled":
        raise click.ClickException(f"the request is {ended['stage']}: {ended['reason']}")
    answer = ask.answer(opened)
    if receipt_file is not None:
        receipt_file.write_bytes(canonical(answer.receipt))
    say({"request": opened, "result": answer.result, "receipt": answer.receipt})


@click.command("verify-receipt")
@click.argument("receipt", type=FILE)
@click.option("--node", required=True, help="JSON-RPC URL of a node that you trust.")
@click.option("--manifest", type=FILE, required=True, help="The deployment's manifest.")
@refusals_as_words
def verify_receipt(receipt: Path, node: str, manifest: Path) -> None:
    """Verify a receipt against the chain alone; the operator need not run."""
    verified = verify(receipt.read_bytes(), Chain(node, Manifest.load(manifest)))
    say({"verified": True, "steps": list(verified.steps)})


def _json(text: str, name: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        raise click.UsageError(f"{name} is not JSON") from None
    if not isinstance(found, dict):
        raise click.UsageError(f"{name} is not a JSON object")
    return found
