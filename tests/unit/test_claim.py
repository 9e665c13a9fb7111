"""A market's folder belongs to one process at a time, and a second start says whose it is."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from marketplace.claim import MARK, Claim
from marketplace.cli.main import main
from marketplace.errors import Refusal
from marketplace.local import Local, Ports
from tests.support.nodes import ROOT

URL = "http://127.0.0.1:8123"
HOLD = """
import sys
from pathlib import Path
from marketplace.claim import Claim
claim = Claim(Path(sys.argv[1]))
claim.take(sys.argv[2])
print("taken", flush=True)
sys.stdin.read()
"""
GIVE_UP = 60.0
PORT = "47100"
"""Of a second market: nothing listens there, so that only the folder is in its way."""


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs the market of this folder, as far as the folder shows."""
    command = [sys.executable, "-c", HOLD, str(folder), URL]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "taken\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("command", ["up", "demo"])
@pytest.mark.parametrize("port", ["8123", PORT], ids=["its port", "another port"])
def test_a_second_start_is_told_which_folder_where_it_runs_and_how_to_stop_it(
    tmp_path: Path, command: str, port: str
) -> None:
    folder = tmp_path / "market"
    with running(folder) as process:
        (folder / "precious").write_text("consents")
        result = CliRunner().invoke(main, [command, "--data", str(folder), "--port", port])
        assert result.exit_code == 1
        assert f"The market in {folder} is running already" in result.output
        assert URL in result.output
        assert f"kill {process.pid}" in result.output
        assert "[already_running] (field data)" in result.output
        assert process.poll() is None
    assert (folder / "precious").read_text() == "consents", "a demo deletes no market that runs"


def test_a_market_that_was_killed_leaves_its_folder_to_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "market"
    with running(folder) as process:
        process.kill()
        process.wait(GIVE_UP)
        Claim(folder).require_free()
        claim = Claim(folder)
        claim.take("http://127.0.0.1:9")
        said = json.loads((folder / MARK).read_text())
        assert said == {"process": os.getpid(), "url": "http://127.0.0.1:9"}
        claim.release()


def test_what_is_taken_here_is_taken_from_everybody_until_it_is_released(tmp_path: Path) -> None:
    mine, other = Claim(tmp_path), Claim(tmp_path)
    mine.take(URL)
    mine.take(URL)  # it is mine already
    mine.require_free()
    for act in (other.require_free, lambda: other.take(URL)):
        with pytest.raises(Refusal) as refused:
            act()
        assert refused.value.code == "already_running"
    other.release()
    with pytest.raises(Refusal):
        other.take(URL)
    mine.release()
    other.take(URL)
    other.release()


def test_a_folder_whose_market_does_not_run_is_free_also_from_before_it_was_written_in(
    tmp_path: Path,
) -> None:
    Claim(tmp_path / "none").require_free()
    (tmp_path / MARK).touch()
    Claim(tmp_path).require_free()


def test_a_start_that_is_refused_stops_nothing_of_the_market_that_runs(tmp_path: Path) -> None:
    folder = tmp_path / "market"
    with running(folder):
        second = Local(folder, Ports.beside(int(PORT)))
        for act in (second.start, second.clear):
            with pytest.raises(Refusal, match="running already"):
                act()
        second.stop()
        with pytest.raises(Refusal, match="running already"):
            Claim(folder).require_free()
        assert sorted(path.name for path in folder.iterdir()) == [MARK], "nothing was made in it"


def test_a_foreign_folder_is_taken_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(Refusal) as refused:
        Claim(tmp_path).take(URL)
    assert refused.value.code == "not_a_market"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
