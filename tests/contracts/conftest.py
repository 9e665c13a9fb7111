"""One chain a test file, rolled back after every test."""

from collections.abc import Iterator

import pytest

from tests.contracts.support import Chain

NAMES = ("admin", "steward", "issuer", "consents", "patient", "mover", "authority", "stranger")


@pytest.fixture(scope="module")
def shared_chain() -> Chain:
    return Chain(*NAMES)


@pytest.fixture
def chain(shared_chain: Chain) -> Iterator[Chain]:
    before = shared_chain.tester.take_snapshot()
    yield shared_chain
    shared_chain.tester.revert_to_snapshot(before)
