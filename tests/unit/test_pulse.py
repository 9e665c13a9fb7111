"""News reaches everybody who waits, is asked for once for all of them, and never while nobody waits."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs

from marketplace.pulse import Pulse

GIVE_UP = 60.0
OFTEN = 0.01


class Counter:
    """A source that counts how often it was asked."""

    def __init__(self) -> None:
        self.value = 0
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        return self.value


@pytest.fixture
def source() -> Counter:
    return Counter()


@pytest.fixture
def pulse(source: Counter) -> Iterator[Pulse]:
    made = Pulse({"log": source}, every=OFTEN)
    thread = made.start()
    yield made
    made.stop()
    thread.join(GIVE_UP)
    assert not thread.is_alive()


def until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + GIVE_UP
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(OFTEN)


def test_who_waits_hears_of_news_and_then_of_the_next(pulse: Pulse, source: Counter) -> None:
    for number in range(1, 4):
        beat = pulse.beat()
        source.value = number
        assert pulse.wait(beat, GIVE_UP) > beat


def test_what_happened_between_reading_and_waiting_is_not_missed(
    pulse: Pulse, source: Counter
) -> None:
    """The order that streams keep: beat, read, wait."""
    for number in range(1, 60):
        beat = pulse.beat()
        seen = source.value
        source.value = number  # after the reading, before the wait
        assert pulse.wait(beat, GIVE_UP) != beat
        assert seen == number - 1


def test_without_news_a_wait_ends_by_itself(pulse: Pulse) -> None:
    pulse.look()
    beat = pulse.beat()
    assert pulse.wait(beat, 5 * OFTEN) == beat


def test_nobody_is_asked_while_nobody_waits(pulse: Pulse, source: Counter) -> None:
    pulse.wait(-1, 0)
    asked = source.asked  # one look may be under way
    time.sleep(50 * OFTEN)
    assert source.asked <= asked + 1


def test_a_look_wakes_everybody_at_once(source: Counter) -> None:
    """Twelve that wait and no thread of its own: one look, one question, and each is woken by it."""
    pulse = Pulse({"log": source}, every=GIVE_UP)
    pulse.look()
    asked, beat = source.asked, pulse.beat()
    with ThreadPoolExecutor(12) as pool:
        waits = [pool.submit(pulse.wait, beat, GIVE_UP) for _ in range(12)]
        until(lambda: pulse._waiting == 12)
        source.value = 1
        pulse.look()
        assert {each.result(GIVE_UP) for each in waits} == {beat + 1}
    assert source.asked == asked + 1


def test_a_source_that_fails_stops_no_other_and_is_logged_once(source: Counter) -> None:
    def broken() -> int:
        raise ValueError("a secret")

    pulse = Pulse({"broken": broken, "log": source})
    with capture_logs() as logs:
        for number in range(3):
            source.value, beat = number + 1, pulse.beat()
            pulse.look()
            assert pulse.beat() == beat + 1
    assert [(each["event"], each["source"], each["kind"]) for each in logs] == [
        ("pulse_source_failed", "broken", "ValueError")
    ]


def test_the_end_ends_every_wait(source: Counter) -> None:
    pulse = Pulse({"log": source}, every=OFTEN)
    pulse.look()  # the first look is news, which would end the wait before the end does
    thread = pulse.start()
    waiting = threading.Thread(target=pulse.wait, args=(pulse.beat(), 10 * GIVE_UP))
    waiting.start()
    until(lambda: pulse._waiting == 1)
    pulse.stop()
    for each in (waiting, thread):
        each.join(GIVE_UP)
        assert not each.is_alive()
    assert pulse.is_over
