"""Options of commands that ask in either lane."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from marketplace.cli.say import FILE, json_object, read_json
from marketplace.client.results import Known
from marketplace.vocabulary import Lane
from marketplace.wire import dictionary as dictionaries

NAMES: Final = tuple(each.name.lower() for each in Lane)


def _lane(_: click.Context, __: click.Parameter, name: str) -> Lane:
    return Lane[name.upper()]


LANE = click.option(
    "--lane",
    type=click.Choice(NAMES),
    default=NAMES[0],
    show_default=True,
    callback=_lane,
    help="homomorphic: nobody ever opens a record; only sums of numbers can be asked for.",
)
PARAMETERS = click.option(
    "--parameters", help="Homomorphic lane, past the operator: JSON, as they were asked for."
)
DICTIONARY = click.option(
    "--dictionary",
    type=FILE,
    help="Homomorphic lane, past the operator: the dataset's data dictionary, as JSON.",
)


def known(parameters: str | None, dictionary: Path | None) -> Known | None:
    """The question as it was typed, None where it was not. Raises UsageError unless both come together."""
    if parameters is None and dictionary is None:
        return None
    if parameters is None or dictionary is None:
        raise click.UsageError("--parameters and --dictionary are needed together")
    read = dictionaries.from_json(read_json(dictionary))
    return Known(read, json_object(parameters, "--parameters"))
