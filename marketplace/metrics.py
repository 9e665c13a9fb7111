"""What this operator tells Prometheus: counts, ages, lags and balances, on a loopback port of its own.

Everything is read when it is asked for. A part that cannot be read is left out, and said (`usufruct_unread`):
the others are told all the same. No patient's address and no request's id is in it, and what other parties
name (codes) is bounded, so that the number of series is.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from marketplace.attendance import Attendance
from marketplace.errors import Refusal
from marketplace.reads import Reads
from marketplace.wire.listening import Channel, Server, listen

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HOST: Final = "127.0.0.1"
PATH: Final = "/metrics"
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Names that a scraper on this machine calls it by; another one is a web page's, rebound to this port."""
MOST_CODES: Final = 40
"""Series of one metric that are told apart by a code; the rest are `other`."""
CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")
"""Begins with a letter, so that an address or an id, whoever says it, is none."""
OTHER: Final = "other"
GIVE_UP_SECONDS: Final = 5.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Watched:
    """What is told of.

    Args:
        faults: how often the worker met a fault that nobody foresaw.
        streams: how many streams of events are open, and how often somebody found no place for one.
    """

    reads: Reads
    attendance: Attendance
    faults: Callable[[], int]
    streams: Callable[[], tuple[int, int]]


class Metrics:
    """A Prometheus collector. It looks at nothing before it is asked."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self._parts: Mapping[str, Callable[[], Iterator[Metric]]] = {
            "requests": self._requests,
            "waits": self._waits,
            "peers": self._peers,
            "chain": self._chain,
            "account": self._account,
            "process": self._process,
        }

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is, is found when it is asked for."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every part that can be read now, and which cannot."""
        unread = GaugeMetricFamily("usufruct_unread", "Parts that cannot be read", labels=["part"])
        for name, part in self._parts.items():
            found, is_read = self._read(name, part)
            yield from found
            unread.add_metric([name], 0 if is_read else 1)
        yield unread

    def _read(self, name: str, part: Callable[[], Iterator[Metric]]) -> tuple[list[Metric], bool]:
        try:
            return list(part()), True
        except Refusal as refusal:
            log.warning("metrics_unread", part=name, code=refusal.code)
        except Exception as fault:  # whatever one part meets, the others are told
            # Only its kind: an unknown exception's text may quote what was being handled.
            log.error("metrics_unread", part=name, kind=type(fault).__name__)  # noqa: TRY400
        return [], False

    def _requests(self) -> Iterator[Metric]:
        database = self.watched.reads.database
        stages = GaugeMetricFamily(
            "usufruct_requests", "Requests by the stage that they stand at", labels=["stage"]
        )
        for stage, number in database.stage_counts().items():
            stages.add_metric([stage], number)
        yield stages
        oldest = database.oldest_paid()
        yield GaugeMetricFamily(
            "usufruct_unfinished_age_seconds",
            "Since the oldest paid request that is still at work was handed in; 0 without one",
            value=0.0 if oldest is None else _age(oldest),
        )
        yield _by_code(
            "usufruct_requests_refused",
            "Requests that stand refused, by the code of the reason",
            database.refusal_codes(),
        )

    def _waits(self) -> Iterator[Metric]:
        codes = self.watched.reads.waits.codes()
        yield _by_code(
            "usufruct_requests_waiting",
            "Requests whose next step could not be taken at the last try, by the code of the reason",
            {code: codes.count(code) for code in codes},
        )

    def _peers(self) -> Iterator[Metric]:
        told = self.watched.attendance.told()
        for kind in ("custodian", "gate"):
            ready = GaugeMetricFamily(
                f"usufruct_{kind}_ready",
                f"1 where this {kind} answered lately and said that it is ready",
                labels=["place"],
            )
            for place, peer in enumerate(told[f"{kind}s"]):
                ready.add_metric([str(place)], int(peer["ready"]))
            yield ready

    def _chain(self) -> Iterator[Metric]:
        chain = self.watched.reads.chain
        final, head = chain.finalized(), chain.head()
        since = chain.node.header(final).timestamp
        for name, means, value in (
            ("head_block", "Number of the newest block", head.number),
            ("head_age_seconds", "Since the newest block was made", time.time() - head.timestamp),
            (
                "finality_lag_blocks",
                "From the newest final block to the newest",
                head.number - final,
            ),
            ("finality_lag_seconds", "Between these two blocks", head.timestamp - since),
        ):
            yield GaugeMetricFamily(f"usufruct_{name}", means, value=float(value))

    def _account(self) -> Iterator[Metric]:
        reads = self.watched.reads
        for name, means, value in (
            ("gas_wei", "What is left to pay gas with", reads.chain.node.balance(reads.operator)),
            ("balance_token_units", "Tokens", reads.chain.balance_of(reads.operator)),
            ("bond_free_token_units", "Bond not at work", reads.chain.bond_of(reads.operator)),
        ):
            yield GaugeMetricFamily(
                f"usufruct_operator_{name}", f"{means}, of the operator", value=float(value)
            )

    def _process(self) -> Iterator[Metric]:
        taken, refused = self.watched.streams()
        yield GaugeMetricFamily("usufruct_streams", "Open streams of events", value=float(taken))
        yield CounterMetricFamily(
            "usufruct_streams_refused", "Times that no place was found for one", value=refused
        )
        yield CounterMetricFamily(
            "usufruct_worker_faults",
            "Faults that nobody foresaw, in steps of the worker",
            value=self.watched.faults(),
        )


@dataclass(frozen=True)
class MetricsServer:
    """Answers scrapers until `stop`."""

    server: Server
    thread: threading.Thread

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.effective_port)

    def stop(self) -> None:
        """Closes its connections and its port."""
        with contextlib.suppress(OSError):
            self.server.trigger.pull_trigger(self._close)
        self.thread.join(GIVE_UP_SECONDS)
        self.server.task_dispatcher.shutdown()

    def _close(self) -> None:
        for each in [*self.server._map.values()]:
            (each.handle_close if isinstance(each, Channel) else each.close)()


def serve_metrics(watched: Watched, port: int) -> MetricsServer:
    """Listens on loopback, in a thread of its own, and answers GET /metrics there.

    Raises:
        Refusal: `cannot_listen`, the port is taken.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Metrics(watched))
    ProcessCollector(registry=registry)
    try:
        server = listen(_application(registry), HOST, port, threads=1, most_body=0)
    except OSError as fault:
        raise Refusal(
            code="cannot_listen",
            message=f"Port {port} on {HOST} cannot be had: {fault.strerror or type(fault).__name__}.",
            remedy="Stop what listens there, or name another port (metrics_port).",
            field="metrics_port",
        ) from None
    thread = threading.Thread(target=server.run, name="metrics", daemon=True)
    thread.start()
    log.info("serving_metrics", port=int(server.effective_port))
    return MetricsServer(server, thread)


def _application(
    registry: CollectorRegistry,
) -> Callable[[WSGIEnvironment, StartResponse], list[bytes]]:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        host = str(environ.get("HTTP_HOST", "")).rpartition(":")[0] or environ.get("HTTP_HOST", "")
        if host not in LOOPBACK:
            return _said(start_response, "421 Misdirected Request", b"")
        if environ["REQUEST_METHOD"] != "GET" or environ.get("PATH_INFO") != PATH:
            return _said(start_response, "404 Not Found", b"")
        return _said(start_response, "200 OK", generate_latest(registry))

    return answer


def _said(start_response: StartResponse, status: str, body: bytes) -> list[bytes]:
    headers = [("Content-Type", CONTENT_TYPE_LATEST), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


def _by_code(name: str, means: str, counts: Mapping[str, int]) -> GaugeMetricFamily:
    """One series a code, the most frequent ones; codes are other parties' word, too."""
    family = GaugeMetricFamily(name, means, labels=["code"])
    told: dict[str, int] = {}
    for code, number in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
        known = code if CODE.fullmatch(code) and len(told) < MOST_CODES else OTHER
        told[known] = told.get(known, 0) + number
    for code, number in told.items():
        family.add_metric([code], number)
    return family


def _age(moment: datetime) -> float:
    """Seconds since then. SQLite gives times without a zone, in which they were written: UTC."""
    zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (datetime.now(UTC) - zoned).total_seconds())
