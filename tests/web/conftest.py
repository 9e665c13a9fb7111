"""One market for every file that changes nothing in it that others read: starting one takes a while."""

from collections.abc import Iterator

import pytest

from tests.support.api_world import ApiWorld, api_world


@pytest.fixture(scope="session")
def shared_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    """Sessions in it may change and roles be given; no role goes, and requests, records and consents stay."""
    with api_world(tmp_path_factory.mktemp("shared")) as made:
        yield made
