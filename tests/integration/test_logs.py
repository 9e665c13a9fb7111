"""The logs of a whole market's processes: one JSON object a line, whoever wrote it, and nobody's secret."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from marketplace.local import CUSTODIANS, Local, await_health
from marketplace.wire import keyfiles
from tests.support.daily import daily
from tests.support.market_world import free_ports
from tests.support.nodes import ROOT

DEADLINE = 120.0
"""Seconds for anything to be logged."""
BURST = 60
"""Requests at once, of which servers with 8 threads have to leave most waiting."""
CANARY = "Canaria-Zzyzx-734.918273645"
SERVERS = (
    "chain",
    "operator",
    *(f"{kind}-{number}" for kind in ("custodian", "gate") for number in range(CUSTODIANS)),
)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    market = Local(tmp_path_factory.mktemp("logs") / "market", free_ports())
    try:
        market.start()
        await_health([market.url])
        yield market
    finally:
        market.stop()


def lines(path: Path) -> list[dict[str, Any]]:
    """Every line of a log, each as it must be. A line that is being written is not looked at yet."""
    found = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    for line in found:
        assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)
        assert line["level"] in ("debug", "info", "warning", "error", "critical")
        assert isinstance(line["event"], str)
        assert line["logger"]
    return found


def until(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + DEADLINE
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


def urls(local: Local) -> dict[str, str]:
    ports = local.ports
    return {
        "chain": local.node_url,
        "operator": local.url,
        **{f"custodian-{i}": f"http://127.0.0.1:{ports.custodian + i}" for i in range(CUSTODIANS)},
        **{f"gate-{i}": f"http://127.0.0.1:{ports.gate + i}" for i in range(CUSTODIANS)},
    }


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_logs_where_it_serves(local: Local, name: str) -> None:
    said = lines(local.log_path(name))
    assert urls(local)[name] in [line["url"] for line in said if line["event"] == "serving"]


def burst(url: str) -> None:
    """So many requests at the same moment that some wait for a thread."""
    port = int(url.rpartition(":")[2])
    asked = f"POST /none HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\r\n".encode()
    callers = [socket.create_connection(("127.0.0.1", port), DEADLINE) for _ in range(BURST)]
    try:
        for caller in callers:
            caller.sendall(asked)
        for caller in callers:
            assert caller.recv(64).startswith(b"HTTP/1.1 4")
    finally:
        for caller in callers:
            caller.close()


@pytest.mark.parametrize("name", ["chain", "operator", "custodian-0", "gate-0"])
def test_what_the_web_server_logs_is_a_line_like_any(local: Local, name: str) -> None:
    def told() -> list[dict[str, Any]]:
        burst(urls(local)[name])
        return [each for each in lines(local.log_path(name)) if each["logger"] == "waitress.queue"]

    for line in until(told):
        assert (line["level"], line["event"].split(" is ")[0]) == ("warning", "Task queue depth")


@pytest.mark.parametrize("name", ["operator", "custodian-0", "gate-0"])
def test_nothing_that_is_sent_is_logged(local: Local, name: str) -> None:
    url, headers = urls(local)[name], {"Content-Type": "application/json", "X-Note": CANARY}
    for path in ("/shares", "/keys", "/turns", "/api/v1/records", f"/{CANARY}", f"/?q={CANARY}"):
        for body in (CANARY, json.dumps({CANARY: CANARY}), json.dumps({"entries": [CANARY]})):
            found = httpx.post(url + path, content=body, headers=headers, timeout=DEADLINE)
            assert found.status_code >= 400 or "refused" in found.text
    lines(local.log_path(name))
    assert CANARY not in local.log_path(name).read_text()


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT, timeout=DEADLINE
    )


@pytest.mark.parametrize("kind", daily(["custodian", "gate"], ["gate"]))
def test_a_server_that_cannot_listen_logs_why(local: Local, kind: str) -> None:
    ended = run(f"marketplace.{kind}", "--config", str(local.folder / f"{kind}-0" / "config.json"))
    assert (ended.returncode, ended.stdout) == (1, "")
    said = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [(each["event"], each["code"]) for each in said] == [("not_started", "cannot_listen")]
    assert "Stop what listens there" in said[0]["remedy"]


def test_a_second_operator_that_cannot_listen_logs_why(local: Local) -> None:
    ended = run("marketplace.cli", "serve", "--config", str(local.config_path))
    assert (ended.returncode, ended.stdout) == (1, "")
    told = [json.loads(line) for line in ended.stderr.splitlines()][-1]
    assert (told["event"], told["code"]) == ("not_started", "cannot_listen")


def test_a_second_chain_in_one_folder_logs_why_it_does_not_start(local: Local) -> None:
    ended = run("marketplace.chain.node", "--data", str(local.folder / "chain"), "--port", "0")
    assert (ended.returncode, ended.stdout) == (1, "")
    (told,) = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (told["event"], told["code"]) == ("not_started", "chain_not_started")


@pytest.mark.long
def test_the_operator_logs_once_that_a_custodian_is_gone_and_once_that_it_is_back(
    local: Local,
) -> None:
    def told(event: str) -> list[dict[str, Any]]:
        return [line for line in lines(local.log_path("operator")) if line["event"] == event]

    def shown() -> dict[str, Any]:
        return dict(httpx.get(f"{local.url}/health", timeout=DEADLINE).json()["custodians"][2])

    until(lambda: shown()["ready"])
    local.end("custodian-2")
    until(lambda: told("peer_lost"))
    assert shown() == {"place": 2, "ready": False, "reasons": ["peer_unreachable"]}
    local.start_custodian(2)
    until(lambda: told("peer_back"))
    assert shown()["ready"]
    (lost,), (back,) = told("peer_lost"), told("peer_back")
    assert (lost["peer"], back["peer"]) == ("custodian 3", "custodian 3")


def gone(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of these lines, those that say so; a node that is ending may answer a last call with a fault."""
    return [each for each in found if each.get("code") == "node_unreachable"]


def test_a_custodian_whose_chain_is_gone_says_so_and_every_log_stays_json_to_the_end(
    local: Local,
) -> None:
    """The last test: it ends the market."""
    local.end("chain")
    for number in range(CUSTODIANS):
        log = local.log_path(f"custodian-{number}")
        told = until(lambda log=log: gone(lines(log)))
        assert all(each["event"] == "chain_not_followed" for each in told)
    local.stop()
    secrets = [keyfiles.read(path).hex() for path in local.folder.rglob("*.key")]
    assert len(secrets) > 10
    for name in SERVERS:
        text = local.log_path(name).read_text()
        assert text.endswith("\n")
        assert lines(local.log_path(name))
        assert [each for each in secrets if each in text.lower()] == []
