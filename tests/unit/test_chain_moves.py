"""Where a record went: every address in order, and never the same one twice."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from marketplace.chain.history import _Records
from marketplace.chain.moves import way
from marketplace.chain.views import Event
from tests.support.refusals import refused

ADDRESSES = st.lists(st.text("ab", min_size=1), min_size=1, max_size=6, unique=True)


@given(ADDRESSES)
def test_a_way_is_every_address_from_the_first_to_the_last(addresses: list[str]) -> None:
    went = dict(pairwise(addresses))
    for place, address in enumerate(addresses):
        assert way(went, address) == addresses[place:]


@given(ADDRESSES, st.data())
def test_a_way_that_comes_back_to_an_address_is_forged(
    addresses: list[str], data: st.DataObject
) -> None:
    went = dict(pairwise(addresses))
    went[addresses[-1]] = data.draw(st.sampled_from(addresses))
    refused("forged_logs", way, went, addresses[0])


def test_a_replay_of_records_that_moved_in_a_circle_ends_and_is_forged() -> None:
    replay = _Records()
    for before, after in (("a", "b"), ("b", "c"), ("c", "a")):
        replay.apply(moved(before, after))
    refused("forged_logs", replay.address_of, "b")


def moved(before: str, after: str) -> Event:
    args = {"dataset": bytes(32), "from": before, "to": after}
    return Event("DatasetRegistry", "RecordMoved", args, 1, bytes(32), bytes(32), 0)
