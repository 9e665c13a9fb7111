"""What a process is told at start: one JSON file, every unknown key refused by its model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from marketplace.errors import Refusal
from marketplace.wire.canonical import place_of

M = TypeVar("M", bound=BaseModel)


def read_configuration(path: Path, model: type[M], whose: str, remedy: str) -> M:
    """The configuration in a file; its paths are relative to the file's folder.

    Args:
        whose: of which kind of process, as a refusal says it.

    Raises:
        Refusal: `bad_configuration`, naming the field.
    """
    try:
        config = model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as fault:
        field, why = _fault(path, fault)
        raise Refusal(
            code="bad_configuration",
            message=f"The {whose}'s configuration is wrong at {field}: {why}.",
            remedy=remedy,
            field=field,
        ) from None
    paths = [name for name, field in model.model_fields.items() if field.annotation is Path]
    return config.model_copy(update={each: path.parent / getattr(config, each) for each in paths})


def _fault(path: Path, fault: OSError | ValueError) -> tuple[str, str]:
    """Field and reason; never what the file says."""
    if isinstance(fault, ValidationError):
        first = fault.errors(include_input=False, include_url=False)[0]
        return ".".join(map(str, first["loc"])), first["msg"]
    if isinstance(fault, json.JSONDecodeError):
        return path.name, f"not JSON{place_of(fault)}"
    if isinstance(fault, FileNotFoundError):
        return path.name, "the file does not exist"
    if isinstance(fault, OSError):
        return path.name, f"the file cannot be read ({fault.strerror})"
    return path.name, "the file is not text"
