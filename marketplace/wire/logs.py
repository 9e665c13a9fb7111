"""Structured logs of every process: one JSON object a line, on standard error.

`time` (ISO 8601, UTC), `level`, `event`, `logger`, and the event's own facts. What libraries log goes the
same way, and so do warnings and exceptions that nobody caught. An exception is told by its kinds and places,
never by its text: a foreign exception may quote what was being handled, a record value or a key included.
Only a `Refusal` says its sentence, which is public by rule.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final

import click
import structlog
from structlog.typing import EventDict

from marketplace.errors import Refusal

OUR_LEVEL: Final = logging.INFO
THEIR_LEVEL: Final = logging.WARNING
"""Of libraries: below it they tell every request and every statement."""
MOST_CAUSES: Final = 8
MOST_FRAMES: Final = 40
"""Of an exception, the innermost."""

log = structlog.stdlib.get_logger(__name__)


def configure() -> None:
    """Sets this process up: structlog, the standard library's loggers, and what nobody catches."""
    ours = [
        structlog.stdlib.filter_by_level,
        *_common(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ]
    structlog.configure(
        processors=ours,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if not isinstance(each, _StandardError)]
    root.addHandler(_StandardError())
    root.setLevel(THEIR_LEVEL)
    logging.getLogger("marketplace").setLevel(OUR_LEVEL)
    logging.captureWarnings(True)
    _hold_uncaught()


class NotStarted(click.ClickException):
    """A server that cannot start: in words to who sits at a terminal, else as a line of its log."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal} [{refusal.code}]")
        self._refusal = refusal

    def show(self, file: Any = None) -> None:
        """What click calls on it, before the process ends with exit code 1."""
        if sys.stderr.isatty():
            super().show(file)
        else:
            log.critical("not_started", **_said(self._refusal), remedy=self._refusal.remedy)


def _common() -> list[Any]:
    """Processors of every line, whoever logged it."""
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _without_text,
    ]


class _StandardError(logging.Handler):
    """Writes to whatever standard error is by then: a progress bar may have taken its place."""

    def __init__(self) -> None:
        super().__init__()
        as_json = structlog.processors.JSONRenderer(sort_keys=True, default=_kind)
        meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=_common(), processors=[meta, as_json]
            )
        )

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as fault:  # arguments that do not fit their sentence, say
            line = _lost(record, fault)
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def _lost(record: logging.LogRecord, fault: Exception) -> str:
    """In the place of a line that could not be written: where it was, not what it said."""
    where = f"{record.name}:{record.lineno}"
    stamped = structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")
    found = {"level": "error", "event": "log_line_lost", "at": where, "kind": type(fault).__name__}
    return json.dumps(stamped(None, "", found), sort_keys=True)


def _kind(value: object) -> str:
    """What JSON has no word for is named, not shown: its `repr` could hold anything."""
    return f"<{type(value).__name__}>"


# --- exceptions


def _without_text(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Puts `exception` in the place of `exc_info`, and of the stack as text."""
    event.pop("stack_info", None)
    fault = _exception(event.pop("exc_info", None))
    if fault is not None:
        event["exception"] = [_told(each) for each in _causes(fault)]
    return event


def _exception(given: Any) -> BaseException | None:
    """From what loggers take as `exc_info`: True, an exception, or the triple of `sys.exc_info`."""
    if isinstance(given, BaseException):
        return given
    found = given[1] if isinstance(given, tuple) else (sys.exc_info()[1] if given else None)
    return found if isinstance(found, BaseException) else None


def _causes(fault: BaseException) -> Iterator[BaseException]:
    """The exception and what it came from, latest first."""
    seen: set[int] = set()
    cause: BaseException | None = fault
    while cause is not None and id(cause) not in seen and len(seen) < MOST_CAUSES:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _told(fault: BaseException) -> dict[str, Any]:
    kind = type(fault)
    told: dict[str, Any] = {
        "kind": f"{kind.__module__}.{kind.__qualname__}",
        "frames": [
            f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"
            for frame, line in traceback.walk_tb(fault.__traceback__)
        ][-MOST_FRAMES:],
    }
    return {**told, **_said(fault)} if isinstance(fault, Refusal) else told


def _said(refusal: Refusal) -> dict[str, Any]:
    said = {"code": refusal.code, "message": refusal.message}
    return said if refusal.field is None else {**said, "field": refusal.field}


# --- what nobody caught


def _hold_uncaught() -> None:
    """Hooks that somebody else set (a test runner, a debugger) stay."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _uncaught_in_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _unraisable


def _uncaught(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
    log.critical("uncaught_exception", exc_info=(kind, fault, trace))


def _uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is None or isinstance(found.exc_value, SystemExit):
        return  # as Python's own: a thread may end itself
    name = found.thread.name if found.thread is not None else None
    log.critical("uncaught_exception", thread=name, exc_info=found.exc_value)


def _unraisable(found: sys.UnraisableHookArgs) -> None:
    log.error("unraisable_exception", exc_info=found.exc_value)
