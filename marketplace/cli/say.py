"""How commands speak: JSON on standard output, refusals as sentences with a remedy."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import click

from marketplace.errors import Refusal
from marketplace.wire.canonical import DEEPEST, is_shallow, place_of
from marketplace.wire.plain import plain

P = ParamSpec("P")
R = TypeVar("R")

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
WORDS: Final = "in_words"
AT_A_PATH: Final[Mapping[type[OSError], tuple[str, str]]] = {
    FileNotFoundError: ("file_not_found", "Check the path."),
    PermissionError: (
        "file_not_permitted",
        "Check the path, and whether you may read or write there.",
    ),
}
"""Code and remedy of what the operating system says of a path."""
EXAMPLE: Final = """{"variable": "systolic"}"""
_HASH = re.compile("[0-9a-fA-F]{64}")
_WHOLE = re.compile("-?[0-9]{1,30}")


class Hex32(click.ParamType[bytes]):
    """64 hexadecimal digits, after 0x or without it, and nothing else."""

    name = "0x.."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> bytes:
        """The 32 bytes; a default that is bytes passes as it is.

        Raises click.BadParameter for anything else, and does not repeat what was given.
        """
        if isinstance(value, bytes):
            return value
        digits = str(value).removeprefix("0x")
        if _HASH.fullmatch(digits) is None:  # bytes.fromhex would skip white space
            self.fail("must be 64 hexadecimal digits, after 0x or without it", param, ctx)
        return bytes.fromhex(digits)


HEX32 = Hex32()


class Whole(click.IntRange):
    """A whole number in digits alone: Python would read `1_000` too, and a comma is some people's point."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; a default passes as it is. Raises click.BadParameter for anything else."""
        if isinstance(value, str) and _WHOLE.fullmatch(value) is None:
            self.fail("write a whole number, in digits alone", param, ctx)
        return int(super().convert(value, param, ctx))


def refusals_as_words(command: Callable[P, R]) -> Callable[P, R]:
    """A refusal ends the command with exit code 1, its sentence, its remedy and its code, all of it plain:
    much of it is the word of operators, custodians and nodes.

    So does a file that cannot be read or written, by its name.
    """

    @functools.wraps(command)
    def spoken(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except Refusal as refusal:
            field = f" (field {refusal.field})" if refusal.field else ""
            words = f"{_by_option(refusal)} [{refusal.code}]{field}"
            raise click.ClickException(plain(words)) from None
        except OSError as fault:
            raise click.ClickException(plain(_of_system(fault))) from None

    return spoken


def _of_system(fault: OSError) -> str:
    """What the operating system refused, with what to do where a path is at fault."""
    where = fault.filename or "a file or connection"
    words = f"{where}: {fault.strerror or type(fault).__name__}"
    for kind, (code, remedy) in AT_A_PATH.items():
        if fault.filename and isinstance(fault, kind):
            return f"{words}. {remedy} [{code}]"
    return words


def _by_option(refusal: Refusal) -> str:
    """In words, with the option of this command in the place of the input that they begin with."""
    context = click.get_current_context(silent=True)
    params = [] if context is None else context.command.params
    options = {each.name: each.opts[0] for each in params if isinstance(each, click.Option)}
    named = options.get(refusal.field or "")
    words = str(refusal)
    if named is None or not words.startswith(f"{refusal.field} "):
        return words
    return words.replace(str(refusal.field), named, 1)


def read_json(path: Path) -> Any:
    """What a JSON file says. Raises ClickException naming file, line and column, never what stands there."""
    raw = path.read_bytes()
    if not is_shallow(raw):
        raise click.ClickException(f"{path} is nested more than {DEEPEST} levels deep")
    try:
        return json.loads(raw)
    except ValueError as fault:
        raise click.ClickException(f"{path} is not JSON{place_of(fault)}") from None


def json_object(text: str, option: str) -> dict[str, Any]:
    """The object that an option holds. Raises UsageError naming it, and line and column within."""
    if not is_shallow(text.encode()):
        raise click.UsageError(f"{option} is nested more than {DEEPEST} levels deep")
    try:
        found = json.loads(text)
    except ValueError as fault:
        example = f"write an object, such as '{EXAMPLE}'"
        raise click.UsageError(f"{option} is not JSON{place_of(fault)}: {example}") from None
    if not isinstance(found, dict):
        raise click.UsageError(f"{option} is not a JSON object, such as '{EXAMPLE}'")
    return found


@contextmanager
def in_file(path: Path) -> Iterator[None]:
    """Refusals inside are of what this file says, and name it."""
    try:
        yield
    except Refusal as refusal:
        raise Refusal(
            code=refusal.code,
            message=f"{path}: {refusal.message}",
            remedy=refusal.remedy,
            field=refusal.field,
            facts=refusal.facts,
        ) from None


def say(document: Any, in_alphabet: bool = True) -> None:
    """Prints JSON, words first, then keys in alphabetical order or in their own.

    ASCII, every control character escaped.
    """
    click.echo(json.dumps(_ordered(document) if in_alphabet else document, indent=2))


def _ordered(value: Any) -> Any:
    """The same with `in_words` before the other names of every object: what a person reads comes first."""
    if isinstance(value, Mapping):
        names = sorted(value, key=lambda name: (name != WORDS, name))
        return {name: _ordered(value[name]) for name in names}
    return [_ordered(each) for each in value] if isinstance(value, list | tuple) else value


def tell(text: str) -> None:
    """News while somebody waits: on standard error, plain."""
    click.echo(plain(text), err=True)
