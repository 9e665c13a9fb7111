"""The command that hands the administration of all contracts to another account."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from marketplace.chain import roles
from marketplace.chain.adapter import Chain, Manifest
from marketplace.chain.deploy import ROLE_CONTRACTS
from marketplace.chain.roles import Held
from marketplace.chain.sender import Sender
from marketplace.cli.environment import from_environment
from marketplace.cli.progress import bar
from marketplace.cli.say import FILE, refusals_as_words, say
from marketplace.wire import keyfiles


@click.command("hand-over-roles")
@from_environment("--node", required=True, help="JSON-RPC URL of a node that you trust.")
@from_environment("--manifest", type=FILE, required=True, help="The deployment's manifest.")
@click.option("--key-file", type=FILE, required=True, help="Of the administrator until now (0600).")
@click.option("--to", required=True, help="Address of the new one: a multisig on this chain, say.")
@click.option(
    "--keep",
    type=click.Choice(sorted(ROLE_CONTRACTS)),
    multiple=True,
    help="A role that stays with the old account; its new administrator can take it away.",
)
@refusals_as_words
def hand_over_roles(
    node: str, manifest: Path, key_file: Path, to: str, keep: tuple[str, ...]
) -> None:
    """Hand the administration of every contract, and every other role you hold, to another address.

    Everything is granted on every contract first; what the chain then shows is checked, and only then does
    the old account renounce. It cannot be undone. Interrupted, run it again with the same address.
    """
    chain = Chain(node, Manifest.load(manifest))
    chain.require_healthy()
    sender = Sender(chain, keyfiles.read(key_file))
    wanted = roles.plan(chain, sender.address, to, keep)
    with bar("handing over", wanted.transactions) as advance:
        roles.hand_over(chain, sender, wanted, advance)
    say(
        {
            "from": sender.address,
            "to": wanted.to,
            "granted": _shown(wanted.grants),
            "renounced": _shown(wanted.renunciations),
            "kept": _shown(roles.held_by(chain, sender.address)),
        }
    )


def _shown(held: Sequence[Held]) -> list[str]:
    return [f"{each.contract}.{each.role}" for each in held]
