"""What an operator is told at start: one JSON file, every unknown key refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marketplace.errors import Refusal

MAX_UPLOAD_BYTES = 8 * 1024 * 1024
"""Largest request body: about 1,000 sealed records of ten variables."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CustodianEndpoint(_Strict):
    """Where one custodian answers."""

    place: Annotated[int, Field(ge=0, lt=16)]
    url: str


class GateEndpoint(_Strict):
    """Where the gate with this registered address answers."""

    address: str
    url: str


class OperatorConfig(_Strict):
    """Paths are relative to the file's folder. Times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8000
    data: Path
    manifest: Path
    node_url: str
    key_file: Path
    database_url: str | None = None  # default: SQLite in `data`
    records_url: str | None = None  # an fsspec URL; default: a folder in `data`
    custodians: tuple[CustodianEndpoint, ...]
    gates: tuple[GateEndpoint, ...]
    confirmations: Annotated[int, Field(ge=0)] = 0
    use_finalized_tag: bool = True
    max_head_age: Annotated[int, Field(gt=0)] = 120
    poll_interval: Annotated[float, Field(gt=0)] = 0.5
    database_max_pages: int | None = None
    fee: Annotated[int, Field(ge=0)] = 5_000_000  # token units a request

    @property
    def database(self) -> str:
        """The SQLAlchemy URL."""
        return self.database_url or f"sqlite:///{self.data / 'operator.sqlite'}"

    @property
    def records(self) -> str:
        """The fsspec URL of the folder of ciphertexts."""
        return self.records_url or (self.data / "records").absolute().as_uri()


def load_config(path: Path) -> OperatorConfig:
    """Reads an operator's configuration.

    Raises:
        Refusal: `bad_configuration`, naming the field.
    """
    try:
        raw = json.loads(path.read_text())
        config = OperatorConfig.model_validate(raw)
    except FileNotFoundError:
        raise _bad(str(path), "the file does not exist") from None
    except OSError as error:
        raise _bad(str(path), f"the file cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise _bad(str(path), "the file is not text") from None
    except json.JSONDecodeError as error:
        raise _bad(str(path), f"not JSON at line {error.lineno}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise _bad(".".join(map(str, first["loc"])), first["msg"]) from None
    base = path.parent
    return config.model_copy(
        update={name: base / getattr(config, name) for name in ("data", "manifest", "key_file")}
    )


def _bad(field: str, why: str) -> Refusal:
    return Refusal(
        code="bad_configuration",
        message=f"The operator's configuration is wrong at {field}: {why}.",
        remedy="Correct the file; `usufruct up` writes a working one.",
        field=field,
    )
