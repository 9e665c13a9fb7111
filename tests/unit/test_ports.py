"""Rules of the ports that processes of tests listen at."""

import socket

import pytest

from tests.support import ports
from tests.support.ports import END, FIRST, free_run, part


@pytest.mark.parametrize("workers", [1, 2, 3, 16])
def test_no_two_workers_draw_from_the_same_part(workers: int) -> None:
    parts = [
        part({"PYTEST_XDIST_WORKER": f"gw{i}", "PYTEST_XDIST_WORKER_COUNT": str(workers)})
        for i in range(workers)
    ]
    assert len({port for first, end in parts for port in range(first, end)}) == sum(
        end - first for first, end in parts
    )
    assert all(FIRST <= first < end <= END for first, end in parts)
    assert part({}) == (FIRST, END)


def test_a_port_is_given_once_and_never_where_somebody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = free_run(4)
    monkeypatch.setattr(ports, "part", lambda _: (first, first + 4))
    monkeypatch.setattr(ports, "_given", set())
    with socket.create_server(("127.0.0.1", first + 1)):
        found = {free_run(1) for _ in range(3)}
    assert found == {first, first + 2, first + 3}
