"""`init`: a gate's keys, made where they stay. Apart from what serves, so that it starts at once."""

from __future__ import annotations

import json
from pathlib import Path

import click

from marketplace.errors import Refusal
from marketplace.gate import keys

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option("--data", required=True, type=FOLDER, help="The gate's folder.")
def init(data: Path) -> None:
    """Makes the keys that are missing, and prints the public identity as JSON."""
    try:
        click.echo(json.dumps(keys.create(data)))
    except Refusal as refusal:
        raise click.ClickException(str(refusal)) from None


if __name__ == "__main__":
    init()
