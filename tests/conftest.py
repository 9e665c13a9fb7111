"""Rules of every suite: nothing is skipped, and each suite says how long it took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support import nodes

if TYPE_CHECKING:
    from tests.support.api_world import ApiWorld

# As Hypothesis chose for this machine (its profile for CI, or for a developer), but no example fails for
# being slow: how fast something is, `make bench` says. What failed is printed so that it can be run again.
settings.register_profile("usufruct", settings(), deadline=None, print_blob=True)
settings.load_profile("usufruct")

_seconds: dict[str, float] = defaultdict(float)
_tests: dict[str, set[str]] = defaultdict(set)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the campaigns marked `long`")
    parser.addoption(
        "--other-chain",
        action="store_true",
        help="each file on the chain that it is not on each day",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture: worlds of one file all stand on one kind of chain."""
    nodes.choose(item.path.stem, item.config.getoption("--other-chain"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --long, leave out the long campaigns: deselected, which is not skipped."""
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    items[:] = [item for item in items if not item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that did not run, or that was expected to fail, has shown nothing: it fails."""
    report = yield
    if report.skipped or hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped or expected to fail, which counts as a failure"
        vars(report).pop("wasxfail", None)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that skips itself (`importorskip`)."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid}: skipped, which counts as a failure"
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    suite = "/".join(PurePosixPath(report.nodeid.partition("::")[0]).parts[:2])
    _seconds[suite] += report.duration
    _tests[suite].add(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("time of each suite")
    for suite, seconds in sorted(_seconds.items()):
        terminalreporter.write_line(f"{suite:<24}{len(_tests[suite]):>6} tests{seconds:>10.1f} s")


@pytest.fixture(scope="session")
def shared_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    """One market for every file that changes nothing in it that others read: starting one takes a while.

    Sessions in it may change and roles be given; no role goes, and requests, records and consents stay.
    """
    # Here, since most suites need none of it.
    from tests.support.api_world import api_world

    with api_world(tmp_path_factory.mktemp("shared")) as made:
        yield made
