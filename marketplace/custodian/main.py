"""The custodian's process: `serve` (the default), `init`, `rewrap`."""

from __future__ import annotations

import json
import logging
import sys
import threading
from pathlib import Path

import click

from marketplace.chain.adapter import Chain, Finality, Manifest
from marketplace.custodian import keys
from marketplace.custodian.checks import Rules
from marketplace.custodian.config import CustodianConfig, load_config
from marketplace.custodian.journal import Journal
from marketplace.custodian.rewrap import rewrap
from marketplace.custodian.server import create_app
from marketplace.custodian.service import Custodian
from marketplace.errors import Refusal
from marketplace.wire.analysis import analysis_hash
from marketplace.wire.http import serve

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
logger = logging.getLogger(__name__)


def build(config: CustodianConfig) -> Custodian:
    """A custodian from its configuration; the chain need not be there yet.

    Raises:
        Refusal: key-file, manifest_unreadable, journal-damaged, storage-full.
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
    journal.require_intact()
    rules = Rules(
        place=config.place,
        signer=own.signer.address,
        minimum_cohort=config.minimum_cohort,
        analyses=frozenset(analysis_hash(name) for name in config.known_analyses),
    )
    return Custodian(chain, journal, own, rules)


@click.group(invoke_without_command=True)
@click.option("--config", "path", type=FILE, help="JSON configuration file.")
@click.pass_context
def main(context: click.Context, path: Path | None) -> None:
    """A custodian: holds one share of every record key; turns it only for what the chain sealed."""
    if context.invoked_subcommand is not None:
        return
    if path is None:
        raise click.UsageError("--config FILE is needed to serve")
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        config = load_config(path)
        custodian = build(config)
    except Refusal as refusal:
        raise click.ClickException(str(refusal)) from None
    custodian.watch.run(config.watch_interval)
    if config.anchor:
        threading.Thread(target=_anchor, args=(custodian, config), daemon=True).start()
    serve(create_app(custodian), config.host, config.port)
    custodian.watch.stop()


def _anchor(custodian: Custodian, config: CustodianConfig) -> None:
    pause = threading.Event()
    while not pause.wait(config.watch_interval):
        try:
            custodian.anchor()
        except Refusal as refusal:
            logger.warning("the journal cannot be anchored: %s", refusal.code)


@main.command()
@click.option("--data", required=True, type=FOLDER, help="The custodian's folder.")
@click.option("--epoch", default=1, show_default=True, type=click.IntRange(1))
def init(data: Path, epoch: int) -> None:
    """Makes the keys that are missing, and prints the public identity as JSON."""
    try:
        click.echo(json.dumps(keys.create(data, epoch)))
    except Refusal as refusal:
        raise click.ClickException(str(refusal)) from None


@main.command("rewrap")
@click.option("--config", "path", required=True, type=FILE)
@click.option("--epoch", required=True, type=click.IntRange(1), help="The epoch to seal for.")
@click.option("--out", required=True, type=FILE, help="JSON lines for the successor.")
def rewrap_shares(path: Path, epoch: int, out: Path) -> None:
    """Seals every share to the key that holds this place in another epoch."""
    part = out.with_name(out.name + ".part")
    try:
        custodian = build(load_config(path))
        custodian.require_current()
        lines = rewrap(custodian.chain, custodian.journal, custodian.vault, epoch)
        with part.open("wb") as file:
            number = sum(1 for line in lines if file.write(line + b"\n"))
    except Refusal as refusal:
        raise click.ClickException(str(refusal)) from None
    part.replace(out)
    click.echo(json.dumps({"rewrapped": number, "epoch": epoch}))
