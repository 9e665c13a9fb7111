"""The operator's process: what goes on in the background while it serves, and what it tells Prometheus."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from marketplace import serve
from marketplace.operator import Operator, Worker
from tests.support.api_world import ApiWorld, api_world
from tests.support.ports import free_port

PATIENCE = 60


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("serving")) as made:
        yield made


def measured(operator: Operator, port: int | None) -> Operator:
    return replace(operator, config=operator.config.model_copy(update={"metrics_port": port}))


def test_metrics_are_served_on_their_own_port_while_the_process_serves(api: ApiWorld) -> None:
    port = free_port()
    operator = measured(api.operator, port)
    worker = Worker(operator)
    _, streams = serve.application(operator, worker)
    url = f"http://127.0.0.1:{port}/metrics"
    with serve._measured(operator, worker, streams):
        told = httpx.get(url, timeout=PATIENCE)
        assert told.status_code == 200
        assert "usufruct_worker_faults_total 0.0" in told.text
        assert "usufruct_streams" in told.text
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, timeout=PATIENCE)


def test_without_a_port_no_metrics_are_served(api: ApiWorld) -> None:
    operator = measured(api.operator, None)
    worker = Worker(operator)
    _, streams = serve.application(operator, worker)
    with serve._measured(operator, worker, streams):
        answered = httpx.Client(
            transport=httpx.WSGITransport(serve.application(operator, worker)[0])
        )
        with answered:
            page = answered.get(f"{operator.config.origin}/metrics", timeout=PATIENCE)
        assert page.status_code == 404


def test_streams_are_as_many_as_the_operator_was_told(api: ApiWorld) -> None:
    config = api.operator.config.model_copy(update={"streams": 3})
    operator = replace(api.operator, config=config)
    _, streams = serve.application(operator, Worker(operator))
    assert streams.places.most == 3
