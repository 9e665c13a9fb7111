"""Long commands show people how far they are: no bar in a pipe, and nothing but JSON on standard output."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.daily import daily
from tests.support.nodes import RunningNode, any_node
from tests.support.terminal import Said, at_a_terminal, in_a_pipe

USUFRUCT = (sys.executable, "-m", "marketplace.cli")
SHOW = """
import structlog
from marketplace.cli.progress import bar, tracked
from marketplace.wire import logs
logs.configure()
for item in tracked("requests", [1, 2, 3]):
    structlog.get_logger("marketplace.x").warning("step_waits", item=item)
with bar("starting", None):
    pass
print('{"done": 3}')
"""
RUNS = {"terminal": at_a_terminal, "pipe": in_a_pipe}
ANYWHERE = pytest.mark.parametrize("run", daily(RUNS.values(), [at_a_terminal]), ids=RUNS)


def test_a_bar_and_log_lines_share_a_terminal_and_standard_output_stays_clean() -> None:
    said = at_a_terminal([sys.executable, "-c", SHOW])
    assert said.stdout == '{"done": 3}\n'
    for shown in ("requests", "0/3", "starting"):
        assert shown in said.stderr, said.stderr
    assert said.stderr.count('"event": "step_waits"') == 3


def test_in_a_pipe_there_are_log_lines_and_no_bar() -> None:
    said = in_a_pipe([sys.executable, "-c", SHOW])
    assert said.stdout == '{"done": 3}\n'
    assert [json.loads(line)["item"] for line in said.stderr.splitlines()] == [1, 2, 3]


# --- deploy


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with any_node(tmp_path_factory.mktemp("deployed")) as running:
        yield running


@pytest.mark.long
@ANYWHERE
def test_deploying_is_shown_to_people_and_prints_the_manifest_only(
    node: RunningNode, tmp_path: Path, run: Any
) -> None:
    key, manifest = tmp_path / "deployer.key", tmp_path / "manifest.json"
    key.write_text("0x" + node.funded_key.hex())
    key.chmod(0o600)
    options = ("--node", node.url, "--key-file", str(key), "--manifest", str(manifest))
    steward = ("--steward", "0x" + "11" * 20)
    said: Said = run([*USUFRUCT, "deploy", *options, *steward])
    assert said.code == 0, said
    assert json.loads(said.stdout) == json.loads(manifest.read_text())
    if run is at_a_terminal:
        assert "deploying" in said.stderr
        assert "11/11" in said.stderr  # seven contracts, three bindings, one role
    else:
        assert said.stderr == ""


# --- upload


class Operator:
    """An operator's upload route, which may refuse from some upload on, or records one by one."""

    def __init__(self, uploads: int, outcome: str = "stored") -> None:
        self.uploads = uploads
        self.outcome = outcome
        self.sizes: list[int] = []

    def answer(self, entries: list[Any]) -> tuple[int, dict[str, Any]]:
        if len(self.sizes) == self.uploads:
            return 503, {"code": "storage_full", "detail": "The disk is full.", "remedy": "Wait."}
        self.sizes.append(len(entries))
        return 200, {"outcomes": [{"outcome": self.outcome, "of": each["n"]} for each in entries]}


@contextmanager
def serving(operator: Operator) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = operator.answer(body["entries"])
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def sealed_files(folder: Path, number: int) -> list[str]:
    paths = []
    for n in range(number):
        path = folder / f"sealed-{n:03}.json"
        path.write_text(json.dumps({"n": n}))
        paths.append(str(path))
    return paths


@ANYWHERE
def test_many_records_go_up_in_parts_and_come_out_in_their_order(tmp_path: Path, run: Any) -> None:
    operator = Operator(uploads=3)
    with serving(operator) as url:
        said: Said = run([*USUFRUCT, "upload", "--url", url, *sealed_files(tmp_path, 250)])
    assert said.code == 0, said
    assert operator.sizes == [100, 100, 50]
    assert [each["of"] for each in json.loads(said.stdout)] == list(range(250))
    if run is at_a_terminal:
        assert "records" in said.stderr
        assert "/250" in said.stderr
    else:
        assert said.stderr == ""


def test_an_upload_that_is_refused_half_way_says_what_became_of_the_first_half(
    tmp_path: Path,
) -> None:
    operator = Operator(uploads=1)
    with serving(operator) as url:
        said = in_a_pipe([*USUFRUCT, "upload", "--url", url, *sealed_files(tmp_path, 150)])
    assert said.code == 1
    assert [each["of"] for each in json.loads(said.stdout)] == list(range(100))
    assert "The disk is full. Wait. [storage_full]" in said.stderr


def test_an_upload_of_which_a_record_is_refused_ends_with_an_error(tmp_path: Path) -> None:
    with serving(Operator(uploads=1, outcome="refused")) as url:
        said = in_a_pipe([*USUFRUCT, "upload", "--url", url, *sealed_files(tmp_path, 2)])
    assert said.code == 1
    assert [each["outcome"] for each in json.loads(said.stdout)] == ["refused"] * 2
    assert "2 of 2 records were refused" in said.stderr
    assert "[records_refused]" in said.stderr


def test_a_file_that_is_no_json_is_found_before_any_record_goes_up(tmp_path: Path) -> None:
    operator, paths = Operator(uploads=9), sealed_files(tmp_path, 150)
    Path(paths[-1]).write_text("{")
    with serving(operator) as url:
        said = in_a_pipe([*USUFRUCT, "upload", "--url", url, *paths])
    assert said.code == 1
    assert "sealed-149.json is not JSON" in said.stderr
    assert (operator.sizes, said.stdout) == ([], "")
