"""Commands that run a market: everything at once, or one process of it."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from marketplace.chain.adapter import MarketPolicy
from marketplace.chain.deploy import WINDOWS, DeploySettings
from marketplace.chain.deploy import deploy as deploy_contracts
from marketplace.cli.environment import from_environment
from marketplace.cli.progress import bar, tracked
from marketplace.cli.running import started_again, tell_where, watched, whereabouts
from marketplace.cli.say import FILE, FOLDER, Whole, refusals_as_words, say, tell
from marketplace.config import load_config
from marketplace.demo import StoryFailed, run_story
from marketplace.errors import Refusal
from marketplace.local import Local, Ports, await_health
from marketplace.operator import build_operator
from marketplace.serve import run_operator
from marketplace.wire import keyfiles, logs

VAR = Path("var")


class Window(Whole):
    """Seconds that a deployment fixes for ever, as `deploy` bounds them."""

    name = "seconds"

    def __init__(self, window: str) -> None:
        self._why = WINDOWS[window].why
        super().__init__(WINDOWS[window].least, WINDOWS[window].most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Whole seconds. Raises click.BadParameter, which says what the bound is there for."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter as wrong:
            self.fail(f"{wrong.message} {self._why}", param, ctx)


@click.command()
@click.option("--data", type=FOLDER, default=VAR / "market", show_default=True)
@click.option(
    "--port", default=8000, show_default=True, help="Of the operator; the others move with it."
)
@refusals_as_words
def up(data: Path, port: int) -> None:
    """Start a whole local market and keep it running until Ctrl-C."""
    local = Local(data.absolute(), Ports.beside(port))
    local.require_free()
    _stop_on_signals()
    try:
        with bar("starting", None):
            local.start()
        with watched(local):
            with bar("until it is ready", None):
                await_health([local.url])
            say({**whereabouts(local), "data": str(data)})
            tell(f"Ctrl-C ends it; {started_again(local)} starts it again as it is.")
            threading.Event().wait()
    except (KeyboardInterrupt, SystemExit):
        click.echo("stopping", err=True)
    finally:
        local.stop()


@click.command()
@click.option("--once", is_flag=True, help="End after the story.")
@click.option("--json", "json_path", type=FILE, help="Write the steps here.")
@click.option("--data", type=FOLDER, default=VAR / "demo", show_default=True)
@click.option(
    "--port", default=8000, show_default=True, help="Of the operator; the others move with it."
)
@refusals_as_words
def demo(once: bool, json_path: Path | None, data: Path, port: int) -> None:
    """Tell one complete story on a fresh local market, and leave it running."""
    console = Console(highlight=False, soft_wrap=True)
    local = Local(
        data.absolute(),
        Ports.beside(port),
        tell=lambda news: console.print(f"[dim]    {news}[/]"),
    )
    local.clear()
    _stop_on_signals()
    try:
        console.print("A market starts on this machine and tells its story: a few minutes.")
        local.start()
        with watched(local):
            await_health([local.url])
            story = run_story(local, console, json_path)
            console.print("The story held.")
            if not once:
                tell_where(story, console)
                threading.Event().wait()
    except StoryFailed as failed:
        raise click.ClickException(f"the story failed: {failed}") from None
    except (KeyboardInterrupt, SystemExit):
        click.echo("stopping", err=True)
    finally:
        local.stop()


def _stop_on_signals() -> None:
    def stop(_signal: int, _frame: object) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)


@click.command()
@click.option("--config", type=FILE, required=True)
@refusals_as_words
def serve(config: Path) -> None:
    """Run the operator's server."""
    try:
        run_operator(config)
    except Refusal as refusal:
        raise logs.NotStarted(refusal) from None


@click.command()
@click.option("--config", type=FILE, required=True)
@refusals_as_words
def resume(config: Path) -> None:
    """Finish whatever a crash left, from the stage log and the chain."""
    operator = build_operator(load_config(config))
    try:
        done = operator.pipeline.resume(lambda unfinished: tracked("requests", unfinished))
    finally:
        operator.database.engine.dispose()
    say({request: str(stage) for request, stage in done.items()})


@click.command()
@from_environment("--node", required=True, help="JSON-RPC URL of any Ethereum node.")
@click.option("--key-file", type=FILE, required=True, help="The deployer's key (0600).")
@click.option("--manifest", type=FILE, required=True, help="Where to write the manifest.")
@click.option("--token", help="An ERC-20 with at most 6 decimals; without it, a test euro.")
@click.option("--operator", "operators", multiple=True, help="Address with role OPERATOR.")
@click.option("--steward", "stewards", multiple=True, help="Address with role STEWARD.")
@click.option("--authority", "authorities", multiple=True, help="Address with role AUTHORITY.")
@click.option("--pauser", "pausers", multiple=True, help="Address with role PAUSER.")
@click.option("--admin", "admins", multiple=True, help="Address that opens committee epochs.")
@click.option("--minter", "minters", multiple=True, help="Address that makes test euros.")
@click.option(
    "--notice-window",
    default=86_400,
    show_default=True,
    type=Window("notice_window"),
    help="Seconds between payment and freeze, for patients to rest their consent.",
)
@click.option(
    "--turn-window",
    default=MarketPolicy.turn_window,
    show_default=True,
    type=Window("turn_window"),
    help="Least seconds between the seal's deadline and the settlement's.",
)
@click.option(
    "--gate-window",
    default=MarketPolicy.gate_window,
    show_default=True,
    type=Window("gate_window"),
    help="Seconds after which a drawn gate that stays silent is replaced.",
)
@click.option(
    "--freeze-window",
    default=MarketPolicy.freeze_window,
    show_default=True,
    type=Window("freeze_window"),
    help="Most seconds between freeze and seal; no new grant goes live meanwhile.",
)
@click.option(
    "--certificate-window",
    default=MarketPolicy.certificate_window,
    show_default=True,
    type=Window("certificate_window"),
    help="Seconds after the settlement's deadline in which a default can still be certified.",
)
@click.option(
    "--minimum-cohort",
    default=MarketPolicy.minimum_cohort,
    show_default=True,
    type=Whole(2, 2**32 - 1),
    help="Patients.",
)
@refusals_as_words
def deploy(
    node: str,
    key_file: Path,
    manifest: Path,
    token: str | None,
    operators: tuple[str, ...],
    stewards: tuple[str, ...],
    authorities: tuple[str, ...],
    pausers: tuple[str, ...],
    admins: tuple[str, ...],
    minters: tuple[str, ...],
    notice_window: int,
    turn_window: int,
    gate_window: int,
    freeze_window: int,
    certificate_window: int,
    minimum_cohort: int,
) -> None:
    """Deploy the contracts to any node and write the manifest that every process checks."""
    policy = MarketPolicy(
        notice_window=notice_window,
        turn_window=turn_window,
        gate_window=gate_window,
        freeze_window=freeze_window,
        certificate_window=certificate_window,
        minimum_cohort=minimum_cohort,
    )
    settings = DeploySettings(
        policy=policy,
        token=token,
        operators=operators,
        pausers=pausers,
        stewards=stewards,
        authorities=authorities,
        admins=admins,
        minters=minters,
    )
    key = keyfiles.read(key_file)
    with bar("deploying", settings.transactions) as advance:
        deployed = deploy_contracts(node, key, settings, advance)
    deployed.save(manifest)
    say(deployed.to_json())
