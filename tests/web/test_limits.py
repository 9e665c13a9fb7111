"""Token buckets: never more than their rule lets through, whatever the clock and the callers do."""

import threading
from concurrent.futures import ThreadPoolExecutor

import flask
import pytest
from hypothesis import given
from hypothesis import strategies as st

from web import limits
from web.limits import Buckets, UnderWay, household, network
from web.rules import ANYONE, RULES, Kind, Rule

KIND = Kind("kind", 5, 60)
OTHER = Kind("other", 5, 60)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@given(
    number=st.integers(1, 20),
    seconds=st.integers(1, 86_400),
    pauses=st.lists(st.floats(0, 100), max_size=60),
)
def test_in_any_time_no_more_is_let_through_than_a_full_bucket_and_what_ran_in(
    number: int, seconds: int, pauses: list[float]
) -> None:
    clock = Clock()
    buckets, kind = Buckets(clock), Kind("kind", number, seconds)
    passed: list[float] = []
    for pause in pauses:
        clock.now += pause
        if buckets.take(kind, "a") == 0:
            passed.append(clock.now)
    for i, first in enumerate(passed):
        for j in range(i, len(passed)):
            most = number + (passed[j] - first) * number / seconds
            assert j - i + 1 <= most + 1e-6


def test_who_waits_as_long_as_was_said_gets_one_and_who_does_not_gets_none() -> None:
    clock = Clock()
    buckets = Buckets(clock)
    assert [buckets.take(KIND, "a") for _ in range(5)] == [0.0] * 5
    wait = buckets.take(KIND, "a")
    assert wait == pytest.approx(12.0)
    clock.now += wait - 0.01
    assert buckets.take(KIND, "a") > 0
    clock.now += 0.02
    assert buckets.take(KIND, "a") == 0
    assert buckets.take(KIND, "a") > 0


def test_a_refused_try_costs_nothing_more() -> None:
    clock = Clock()
    buckets = Buckets(clock)
    for _ in range(5):
        buckets.take(KIND, "a")
    for _ in range(1_000):
        assert buckets.take(KIND, "a") == pytest.approx(12.0)


def test_nobody_pays_for_another_and_no_kind_for_another() -> None:
    buckets = Buckets(Clock())
    while buckets.take(KIND, "a") == 0:
        continue
    assert buckets.take(KIND, "b") == 0
    assert buckets.take(OTHER, "a") == 0


@given(st.lists(st.integers(0, 50), max_size=200))
def test_however_many_ask_memory_is_bounded_and_the_longest_unused_go_first(
    callers: list[int],
) -> None:
    buckets = Buckets(Clock(), most=10)
    for caller in callers:
        buckets.take(KIND, str(caller))
        assert len(buckets) <= 10
    latest = list(dict.fromkeys(reversed(callers)))[:10]
    assert {who for _, who in buckets._left} == {str(each) for each in latest}


def test_an_exhausted_bucket_outlives_any_number_of_full_ones() -> None:
    """Else whoever may leave five drafts a day asks ten thousand cheap things, and may leave five more."""
    clock = Clock()
    buckets, day = Buckets(clock, most=100), Kind("day", 5, 86_400)
    while buckets.take(day, "a") == 0:
        continue
    for caller in range(1_000):
        clock.now += 1
        buckets.take(KIND, str(caller))
        assert len(buckets) <= 100
    assert buckets.take(day, "a") > 0


def test_of_two_buckets_either_gives_or_neither_does() -> None:
    buckets, wider = Buckets(Clock()), Kind("wider", 7, 60)
    for _ in range(20):
        buckets.take(KIND, "a", (wider, "all"))
    taken = 0
    while buckets.take(KIND, "b", (wider, "all")) == 0:
        taken += 1
    assert taken == 2
    assert [buckets.take(KIND, "b") for _ in range(3)] == [0.0] * 3
    assert buckets.take(KIND, "b") > 0


def test_of_many_that_ask_at_once_no_more_than_the_rule_allows_pass() -> None:
    buckets, start = Buckets(Clock()), threading.Barrier(8)

    def ask() -> int:
        start.wait()
        return sum(buckets.take(KIND, "a") == 0 for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert sum(each.result() for each in [pool.submit(ask) for _ in range(8)]) == 5


def test_of_many_at_once_only_so_many_have_a_place_and_none_is_lost() -> None:
    under_way, start = UnderWay(), threading.Barrier(8)
    most, now, worst = 3, [0], [0]

    def ask() -> None:
        start.wait()
        for _ in range(500):
            if under_way.enter("a", most):
                now[0] += 1
                worst[0] = max(worst[0], len(under_way))
                now[0] -= 1
                under_way.leave("a")

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(ask) for _ in range(8)]:
            each.result()
    assert len(under_way) == 0
    assert [under_way.enter("a", most) for _ in range(5)] == [True] * 3 + [False] * 2
    assert under_way.enter("b", most)
    under_way.leave("a")
    assert under_way.enter("a", most)


@pytest.mark.parametrize(
    ("address", "who", "place"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("2001:db8:1:ffff::1", "2001:db8:1:ffff::/64", "2001:db8:1::/48"),
        ("2001:db8:2:2::1", "2001:db8:2:2::/64", "2001:db8:2::/48"),
        ("fe80::1%eth0", "fe80::/64", "fe80::/48"),
        ("::1", "::/64", "::/48"),
        (None, "unknown", "unknown"),
        ("", "unknown", "unknown"),
        ("not an address", "unknown", "unknown"),
    ],
)
def test_a_household_asks_and_a_site_holds_places_as_one_whatever_address_it_takes(
    address: str | None, who: str, place: str
) -> None:
    assert (household(address), network(address)) == (who, place)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> flask.Flask:
    """With one route that an address may ask for five times a minute, and nobody signed in."""
    app = flask.Flask(__name__)
    limits.install(app)
    app.extensions[limits.EXTENSION] = Buckets(Clock())
    app.register_error_handler(limits.TooOften, lambda refusal: (str(refusal), 429))
    app.add_url_rule("/", "rated", lambda: "answered")
    monkeypatch.setitem(RULES, "rated", Rule(ANYONE, KIND))
    return app


def ask(app: flask.Flask, address: str) -> int:
    return app.test_client().get("/", environ_base={"REMOTE_ADDR": address}).status_code


def test_whoever_owns_a_site_of_ipv6_asks_as_often_as_a_few_households_and_not_as_all(
    app: flask.Flask,
) -> None:
    """A person with a /48 has 65,536 networks that each look like a household."""
    with_many = [ask(app, f"2001:db8:1:{number:x}::1") for number in range(200)]
    assert with_many == [200] * 50 + [429] * 150
    assert ask(app, "2001:db8:2::1") == ask(app, "192.0.2.1") == 200


def test_one_household_does_not_use_up_what_strangers_in_its_network_have(
    app: flask.Flask,
) -> None:
    assert [ask(app, "2001:db8:1:1::1") for _ in range(100)] == [200] * 5 + [429] * 95
    assert ask(app, "2001:db8:1:2::1") == 200


def test_every_kind_has_one_rule_however_many_routes_have_it() -> None:
    kinds = {rule.kind for rule in RULES.values()}
    assert len({kind.name for kind in kinds}) == len(kinds)
    assert all(kind.number > 0 and kind.seconds > 0 for kind in kinds)
