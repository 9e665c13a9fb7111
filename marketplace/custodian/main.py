"""The custodian's process: `serve` (the default), `init`, `resolve-finality`, `rewrap`."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import click
import structlog

from marketplace.chain.adapter import Chain, Finality, Manifest
from marketplace.custodian import keys
from marketplace.custodian.checks import Rules
from marketplace.custodian.config import RELEASE_KINDS, CustodianConfig, load_config
from marketplace.custodian.identity import init
from marketplace.custodian.journal import Journal
from marketplace.custodian.rewrap import PAGE, Rewrap
from marketplace.custodian.server import SERVING, create_app
from marketplace.custodian.service import Custodian
from marketplace.custodian.successors import require_successor
from marketplace.errors import Refusal
from marketplace.vocabulary import Address, address
from marketplace.wire import logs
from marketplace.wire.analysis import analysis_hash
from marketplace.wire.canonical import place_of
from marketplace.wire.http import hash_field, require_keys, serve, to_hex
from marketplace.wire.paging import LARGEST_DEPOSITS
from marketplace.wire.plain import plain

FILE = click.Path(path_type=Path, dir_okay=False)
log = structlog.get_logger()


def build(config: CustodianConfig) -> Custodian:
    """A custodian from its configuration; the chain need not be there yet.

    Raises:
        Refusal: key_file, manifest_unreadable, journal_damaged, storage_full.
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
        analyses={analysis_hash(name): RELEASE_KINDS[name] for name in config.known_analyses},
    )
    return Custodian(chain, journal, own, rules, config.data)


@click.group(invoke_without_command=True)
@click.option("--config", "path", type=FILE, help="JSON configuration file.")
@click.pass_context
def main(context: click.Context, path: Path | None) -> None:
    """A custodian: holds one share of every record key; turns it only for what the chain sealed."""
    logs.configure()
    if context.invoked_subcommand is not None:
        return
    if path is None:
        raise click.UsageError("--config FILE is needed to serve")
    try:
        config = load_config(path)
        _serve(build(config), config)
    except Refusal as refusal:
        raise logs.NotStarted(refusal) from None


def _serve(custodian: Custodian, config: CustodianConfig) -> None:
    custodian.tallies.own()
    custodian.watch.run(config.watch_interval)
    if config.anchor:
        threading.Thread(target=_anchor, args=(custodian, config), daemon=True).start()
    app = create_app(custodian)
    serve(app, config.host, config.port, most_body=LARGEST_DEPOSITS, threads=SERVING)
    custodian.watch.stop()


def _anchor(custodian: Custodian, config: CustodianConfig) -> None:
    pause = threading.Event()
    while not pause.wait(config.watch_interval):
        try:
            custodian.anchor()
        except Refusal as refusal:
            log.warning("journal_not_anchored", code=refusal.code)
        except Exception as fault:  # as in `Watch`: it goes on, and only the kind is told
            log.error("journal_not_anchored", kind=type(fault).__name__)  # noqa: TRY400


@main.command("resolve-finality")
@click.option("--config", "path", required=True, type=FILE, help="JSON configuration file.")
def resolve_finality(path: Path) -> None:
    """Goes on after a block that was final went away: takes the chain that the node shows now.

    Find out first why it did. Prints the requests whose turns that chain does not have.
    """
    try:
        gone = build(load_config(path)).finality.resolve()
    except Refusal as refusal:
        raise click.ClickException(plain(f"{refusal} [{refusal.code}]")) from None
    click.echo(json.dumps({"resolved": True, "turns_of_another_chain": [to_hex(r) for r in gone]}))


@main.command("rewrap")
@click.option("--config", "path", required=True, type=FILE, help="Of the custodian that leaves.")
@click.option("--epoch", required=True, type=click.IntRange(2), help="The one that was opened.")
@click.option(
    "--successor",
    "identity",
    required=True,
    type=FILE,
    help="What `custodian init` printed there, brought here by a way that you trust.",
)
@click.option("--to", "url", required=True, help="Where the successor answers.")
@click.option(
    "--page",
    default=PAGE,
    show_default=True,
    type=click.IntRange(1, PAGE),
    help="Shares at a time.",
)
def rewrap_shares(path: Path, epoch: int, identity: Path, url: str, page: int) -> None:
    """Hands every share and tally to the custodian that holds this place in a new epoch.

    Interrupted, run it again: it goes on where it was. The process may go on serving meanwhile. This is
    also the way back for a custodian whose journal is behind its anchor: take a place in a new epoch
    with a new identity (`custodian init` in a new folder), and hand over to it from the restored one.
    """
    try:
        custodian = build(load_config(path))
        custodian.chain.require_healthy()
        custodian.finality.require_kept()
        custodian.watch.catch_up()  # erased shares are destroyed first, also those of a backup
        signer, key = _identity(identity)
        vault, tallies, own = custodian.vault, custodian.tallies, custodian.keys.signer
        to = require_successor(custodian.chain, vault.place, own.address, epoch, signer, key)
        rewrap = Rewrap(custodian.chain, custodian.journal, vault, tallies, own, to)
        with click.progressbar(
            length=rewrap.left(), label="shares", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar:
            for done in rewrap.deliver(url, page):
                bar.update(done)
        number = rewrap.finish(url)
    except Refusal as refusal:
        raise click.ClickException(plain(f"{refusal} [{refusal.code}]")) from None
    click.echo(json.dumps({"rewrapped": number, "epoch": epoch, "successor": to.signer}))


def _identity(path: Path) -> tuple[Address, bytes]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise click.ClickException(f"{path} cannot be read: {fault.strerror}") from None
    except ValueError as fault:
        raise click.ClickException(f"{path} is not JSON{place_of(fault)}") from None
    require_keys(found, {"signer", "relay", "x25519"}, at=path.name)
    return (
        address(found["signer"], f"{path.name}.signer"),
        hash_field(found["x25519"], f"{path.name}.x25519"),
    )


main.add_command(init)
