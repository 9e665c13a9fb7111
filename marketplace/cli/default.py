"""The command that ends a request which was sealed and never answered."""

from __future__ import annotations

from pathlib import Path

import click

from marketplace.chain.adapter import Chain, Manifest
from marketplace.cli.progress import bar
from marketplace.cli.say import FILE, HEX32, refusals_as_words, say
from marketplace.client.defaults import default as end_unanswered
from marketplace.wire import keyfiles
from marketplace.wire.http import to_hex


@click.command()
@click.option("--node", required=True, help="JSON-RPC URL of a node that you trust.")
@click.option("--manifest", type=FILE, required=True, help="The deployment's manifest.")
@click.option(
    "--custodian",
    "custodians",
    multiple=True,
    required=True,
    help="A custodian's URL; repeat it for each of them.",
)
@click.option("--key-file", type=FILE, required=True, help="Any account that can pay for gas.")
@click.option("--request", "opened", type=HEX32, required=True, help="Id of the request.")
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
