"""One command for every role; heavy imports wait until a command needs them."""

from __future__ import annotations

import importlib
from typing import Final

import click

from marketplace.wire import logs

VERSION: Final = "0.1.0"
"""As in pyproject.toml (a test compares): a checkout that was never installed has no package to ask."""

COMMANDS: Final = {
    "up": "marketplace.cli.market:up",
    "demo": "marketplace.cli.market:demo",
    "serve": "marketplace.cli.market:serve",
    "deploy": "marketplace.cli.market:deploy",
    "resume": "marketplace.cli.market:resume",
    "open-epoch": "marketplace.cli.admin:open_epoch",
    "generate-key": "marketplace.cli.keygen:generate_key",
    "post-bond": "marketplace.cli.admin:post_bond",
    "mint": "marketplace.cli.admin:mint",
    "hand-over-roles": "marketplace.cli.roles:hand_over_roles",
    "publish-dataset": "marketplace.cli.admin:publish_dataset",
    "hand-over-dictionary": "marketplace.cli.admin:hand_over_dictionary",
    "register-diseases": "marketplace.cli.admin:register_diseases",
    "publish-class": "marketplace.cli.admin:publish_class",
    "hand-over-page": "marketplace.cli.admin:hand_over_page",
    "add-issuer": "marketplace.cli.admin:add_issuer",
    "give-credential": "marketplace.cli.admin:give_credential",
    "chain": "marketplace.chain.node.__main__:main",
    "custodian": "marketplace.custodian.main:main",
    "gate": "marketplace.gate.main:main",
    "seal": "marketplace.cli.patient:seal",
    "attest": "marketplace.cli.clinic:attest",
    "upload": "marketplace.cli.patient:upload",
    "grant": "marketplace.cli.consent:grant",
    "revoke": "marketplace.cli.consent:revoke",
    "rest": "marketplace.cli.consent:rest",
    "wake": "marketplace.cli.consent:wake",
    "withdraw": "marketplace.cli.consent:withdraw",
    "appoint-guardian": "marketplace.cli.consent:appoint_guardian",
    "dismiss-guardian": "marketplace.cli.consent:dismiss_guardian",
    "rotate": "marketplace.cli.consent:rotate",
    "erase": "marketplace.cli.consent:erase",
    "status": "marketplace.cli.status:status",
    "key": "marketplace.cli.patient:key",
    "catalogue": "marketplace.cli.browse:catalogue",
    "datasets": "marketplace.cli.browse:datasets",
    "requests": "marketplace.cli.browse:requests",
    "request": "marketplace.cli.researcher:request",
    "result": "marketplace.cli.result:result",
    "logarithms": "marketplace.cli.logarithms:logarithms",
    "cancel": "marketplace.cli.researcher:cancel",
    "reclaim": "marketplace.cli.researcher:reclaim",
    "record-key": "marketplace.cli.default:record_key",
    "default": "marketplace.cli.default:default",
    "withdraw-credit": "marketplace.cli.researcher:withdraw_credit",
    "bundle": "marketplace.cli.bundle:bundle",
    "models": "marketplace.cli.models:models",
    "publish-model": "marketplace.cli.models:publish_model",
    "score-key": "marketplace.cli.scores:score_key",
    "score-record": "marketplace.cli.scores:score_record",
    "scores": "marketplace.cli.scores:scores",
    "verify-receipt": "marketplace.cli.verify:verify_receipt",
}


class Lazy(click.Group):
    """Imports a command's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """In the order of `COMMANDS`: by role, where click's own would be alphabetical."""
        return list(COMMANDS)

    def get_command(  # click's signature
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        """The command, its module imported now; None for no such name, which click refuses."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=Lazy)
@click.version_option(VERSION, prog_name="usufruct")
def main() -> None:
    """Usufruct: a marketplace for health data in which consent is enforced, not promised."""
    logs.configure()
