"""The gate's process: `serve` (the default) and `init`."""

from __future__ import annotations

from pathlib import Path

import click

from marketplace.chain.adapter import Chain, Finality, Manifest
from marketplace.errors import Refusal
from marketplace.gate import keys
from marketplace.gate.config import GateConfig, load_config
from marketplace.gate.identity import init
from marketplace.gate.journal import Journal
from marketplace.gate.server import LARGEST_PAGE, create_app
from marketplace.gate.service import Gate, Patience
from marketplace.wire import logs
from marketplace.wire.http import serve

FILE = click.Path(path_type=Path, dir_okay=False)


def build(config: GateConfig) -> Gate:
    """A gate from its configuration; the chain need not be there yet.

    Raises:
        Refusal: key_file, manifest_unreadable, storage_full.
    """
    chain = Chain(
        config.node_url,
        Manifest.load(config.manifest),
        max_head_age=config.max_head_age,
        finality=Finality(config.confirmations, use_tag=config.use_finalized_tag),
        timeout=config.node_timeout,
    )
    own = keys.load(config.data)
    journal = Journal.open(config.data, config.max_pages)
    patience = Patience(config.turn_timeout, config.turn_grace, config.minimum_cohort)
    return Gate(chain, journal, own, config.custodians, patience)


@click.group(invoke_without_command=True)
@click.option("--config", "path", type=FILE, help="JSON configuration file.")
@click.pass_context
def main(context: click.Context, path: Path | None) -> None:
    """A gate: opens one sealed cohort in memory and lets only the noised answer through."""
    logs.configure()
    if context.invoked_subcommand is not None:
        return
    if path is None:
        raise click.UsageError("--config FILE is needed to serve")
    try:
        config = load_config(path)
        serve(create_app(build(config)), config.host, config.port, most_body=LARGEST_PAGE)
    except Refusal as refusal:
        raise logs.NotStarted(refusal) from None


main.add_command(init)
