"""Options that the environment may give: `USUFRUCT_URL` for `--url`, so for node, dataset and manifest.

None for what decides where a command writes (`deploy --manifest`) or whom it asks (`record-key --url`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click
from click.core import ParameterSource

PREFIX: Final = "USUFRUCT_"


def from_environment(option: str, **attributes: Any) -> Callable[[Any], Any]:
    """`click.option`, which `--help` shows with its variable. What is typed comes before it."""
    variable = PREFIX + option.removeprefix("--").upper()
    return click.option(option, envvar=variable, show_envvar=True, **attributes)


def is_typed(*parameters: str) -> bool:
    """Whether one of these stands on the command line that is being run."""
    source = click.get_current_context().get_parameter_source
    return any(source(name) is ParameterSource.COMMANDLINE for name in parameters)
