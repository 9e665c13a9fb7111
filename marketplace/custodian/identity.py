"""`init`: a custodian's keys, made where they stay. Apart from what serves, so that it starts at once."""

from __future__ import annotations

import json
from pathlib import Path

import click

from marketplace.custodian import keys
from marketplace.errors import Refusal

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option("--data", required=True, type=FOLDER, help="The custodian's folder.")
@click.option("--epoch", default=1, show_default=True, type=click.IntRange(1))
def init(data: Path, epoch: int) -> None:
    """Makes the keys that are missing, and prints the public identity as JSON."""
    try:
        click.echo(json.dumps(keys.create(data, epoch)))
    except Refusal as refusal:
        raise click.ClickException(str(refusal)) from None


if __name__ == "__main__":
    init()
