"""`usufruct logarithms`: a table is said before it is built, kept where answers look for it, built once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from marketplace.cli.main import main
from marketplace.client.logarithms import Logarithms
from ml.homomorphic.curve import times_base
from ml.homomorphic.logarithm import Table


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "usufruct"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["logarithms", *arguments])


def test_a_table_is_built_once_and_answers_find_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run("--bits", "13")
    assert first.exit_code == 0, first.output
    said = "Building a table of logarithms: about 1 second. It takes 65,536 bytes and is kept in"
    assert first.stderr == f"{said} {cache}.\n"
    assert json.loads(first.stdout) == {"bits": 13, "built": True, "folder": str(cache)}

    def no_building(*_: object) -> Table:
        raise AssertionError("another table was built")

    monkeypatch.setattr(Table, "build", no_building)
    again = run("--bits", "13")
    assert (again.exit_code, again.stderr) == (0, "")
    assert json.loads(again.stdout)["built"] is False
    assert Logarithms().find([times_base(-77)], [(-100, 100)]) == [-77]


def test_a_full_disk_is_said_before_anything_is_built(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    refused = run()
    assert refused.exit_code == 1
    assert "The table takes 537,919,488 bytes" in refused.output
    assert refused.output.rstrip().endswith("[storage_full]")
    assert list(cache.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(cache: Path) -> None:
    cache.write_text("no folder")
    refused = run("--bits", "12")
    assert refused.exit_code == 1
    assert str(cache) in refused.output
    assert "Traceback" not in refused.output


@pytest.mark.parametrize("bits", ["11", "27", "1e1", "-12"])
def test_a_size_that_no_table_has_is_wrong_use(cache: Path, bits: str) -> None:
    assert run("--bits", bits).exit_code == 2
    assert not cache.exists()
