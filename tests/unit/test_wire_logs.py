"""Every line that a process logs is one JSON object, whoever logged it, and no exception's text is in it."""

import json
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest

from tests.support.nodes import ROOT

SECRET = "734.918273645"
START = f"""
import logging, sys, threading, warnings
import structlog
from marketplace.errors import Refusal
from marketplace.wire import logs
logs.configure()
SECRET = "{SECRET}"
"""
GIVE_UP = 60.0


def run(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", START + script]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=GIVE_UP)


def lines_of(script: str) -> list[dict[str, Any]]:
    """What it logged, each line checked."""
    done = run(script)
    assert done.stdout == "", done.stdout
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines
    for line in lines:
        assert datetime.fromisoformat(line["time"]).utcoffset() is not None
        assert line["level"] in ("info", "warning", "error", "critical")
        assert isinstance(line["event"], str)
    assert SECRET not in done.stderr
    return lines


def test_an_event_carries_its_facts_and_who_said_it() -> None:
    (line,) = lines_of("structlog.get_logger('marketplace.gate').info('serving', url='http://h')")
    assert (line["event"], line["level"], line["url"]) == ("serving", "info", "http://h")
    assert line["logger"] == "marketplace.gate"


@pytest.mark.parametrize(
    "name", ["waitress", "waitress.queue", "werkzeug", "alembic.runtime.migration", "eth.vm", "x"]
)
def test_what_a_library_logs_is_a_line_like_ours(name: str) -> None:
    (line,) = lines_of(f"logging.getLogger({name!r}).warning('depth is %d\\nand more', 5)")
    assert (line["event"], line["level"]) == ("depth is 5\nand more", "warning")
    assert line["logger"] == name


@pytest.mark.parametrize("name", ["httpx", "sqlalchemy.engine", "urllib3"])
def test_a_librarys_chatter_is_not_logged(name: str) -> None:
    assert run(f"logging.getLogger({name!r}).info('GET /patients/{SECRET}')").stderr == ""


RAISE = """
def opened(value):
    raise ValueError("cannot open " + value)
def handled(value):
    try:
        opened(value)
    except ValueError as fault:
        raise KeyError(value) from fault
"""


@pytest.mark.parametrize(
    "log",
    [
        "structlog.get_logger('marketplace.x').exception('fault')",
        "structlog.get_logger('marketplace.x').error('fault', exc_info=True)",
        "structlog.get_logger('marketplace.x').error('fault', exc_info=fault)",
        "logging.getLogger('waitress').exception('fault')",
        "logging.getLogger('waitress').error('fault', exc_info=sys.exc_info(), stack_info=True)",
    ],
)
def test_an_exception_is_told_by_kinds_and_places_and_never_by_its_text(log: str) -> None:
    script = f"{RAISE}\ntry:\n    handled(SECRET)\nexcept KeyError as fault:\n    {log}"
    (line,) = lines_of(script)
    assert [each["kind"] for each in line["exception"]] == [
        "builtins.KeyError",
        "builtins.ValueError",
    ]
    assert line["exception"][1]["frames"][-1].endswith(" opened")
    assert "exc_info" not in line


def test_a_refusal_in_a_trace_says_its_public_sentence() -> None:
    (line,) = lines_of(
        "try:\n    raise Refusal(code='stale_head', message='The head is old.', remedy='Wait.')\n"
        "except Refusal:\n    structlog.get_logger('marketplace.x').exception('fault')"
    )
    (told,) = line["exception"]
    assert (told["code"], told["message"]) == ("stale_head", "The head is old.")


def test_what_json_has_no_word_for_is_named_and_not_shown() -> None:
    (line,) = lines_of(
        "class Key:\n    def __repr__(self):\n        return SECRET\n"
        "structlog.get_logger('marketplace.x').info('made', key=Key(), raw=SECRET.encode())"
    )
    assert (line["key"], line["raw"]) == ("<Key>", "<bytes>")


@pytest.mark.parametrize(
    ("script", "event"),
    [
        ("raise ValueError(SECRET)", "uncaught_exception"),
        (
            "def f():\n    raise ValueError(SECRET)\n"
            "t = threading.Thread(target=f)\nt.start()\nt.join()",
            "uncaught_exception",
        ),
        (
            "class Late:\n    def __del__(self):\n        raise ValueError(SECRET)\ndel [Late()][0]",
            "unraisable_exception",
        ),
    ],
    ids=["in the main thread", "in another thread", "where nobody can catch it"],
)
def test_an_exception_that_nobody_caught_is_a_line_without_its_text(
    script: str, event: str
) -> None:
    (line,) = lines_of(script)
    assert (line["event"], line["exception"][0]["kind"]) == (event, "builtins.ValueError")


def test_a_warning_is_a_line() -> None:
    (line,) = lines_of("warnings.warn('old', UserWarning)")
    assert line["logger"] == "py.warnings"
    assert "UserWarning: old" in line["event"]


def test_a_line_whose_arguments_do_not_fit_says_where_it_was_and_nothing_of_them() -> None:
    (line,) = lines_of("logging.getLogger('waitress').error('%d and %d', SECRET)")
    assert (line["event"], line["kind"]) == ("log_line_lost", "TypeError")
    assert line["at"].startswith("waitress:")


def test_setting_up_twice_logs_once() -> None:
    assert len(lines_of("logs.configure()\nlogging.getLogger('x').error('once')")) == 1


def test_nobody_reading_standard_error_stops_nothing() -> None:
    script = "sys.stderr.close()\nlogging.getLogger('x').error('unread')\nprint('went on')"
    assert run(script).stdout == "went on\n"
