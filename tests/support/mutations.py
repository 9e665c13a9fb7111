"""Every single value of a JSON document, and how to change each so that it is still of its kind."""

import base64
import copy
import json
import re
from collections.abc import Iterator
from typing import Any

from marketplace.errors import MalformedJson
from marketplace.wire.canonical import canonical

Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every value that is no object and no list."""
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from leaves(item, (*path, position))
    else:
        yield path


def objects(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every object."""
    if isinstance(value, dict):
        yield path
        for key in value:
            yield from objects(value[key], (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from objects(item, (*path, position))


def spans(value: Any, path: Path = (), begin: int = 0) -> Iterator[tuple[Path, range]]:
    """Of every leaf, its path and where its bytes stand in the document's canonical JSON. What lies in none
    of these ranges is a key, or stands between values.
    """
    if isinstance(value, dict):
        for key in sorted(value):
            begin += 1 + len(canonical(key)) + 1
            yield from spans(value[key], (*path, key), begin)
            begin += len(canonical(value[key]))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            begin += 1
            yield from spans(item, (*path, position), begin)
            begin += len(canonical(item))
    else:
        yield path, range(begin, begin + len(canonical(value)))


def dotted(path: Path) -> str:
    """As refusals name a value: a.b[0].c"""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


def is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except ValueError:
        return False
    return True


def is_canonical(raw: bytes) -> bool:
    """Whether these bytes are JSON in its one canonical spelling."""
    try:
        return canonical(json.loads(raw)) == raw
    except (ValueError, MalformedJson):
        return False


def at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


def with_value(document: Any, path: Path, value: Any) -> Any:
    """A copy with one value replaced."""
    changed = copy.deepcopy(document)
    at(changed, path[:-1])[path[-1]] = value
    return changed


BASE64 = re.compile(r"[A-Za-z0-9+/]{14,}={0,2}")
"""With or without padding: the next character of the alphabet may lie outside it."""


def nudged(value: Any) -> Any:
    """The least change: another value of the same kind and length where there is one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if value.isdigit():
        return str(int(value) + 1)
    if value.startswith("0x"):
        return value[:-1] + ("1" if value[-1] == "0" else "0")
    if len(value) % 4 == 0 and BASE64.fullmatch(value):
        raw = bytearray(base64.b64decode(value))
        raw[-1] ^= 0x40
        return base64.b64encode(raw).decode()
    return value[:-1] + chr(ord(value[-1]) ^ 1)
