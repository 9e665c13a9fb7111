"""Rules of what pages and the API read."""

from datetime import datetime, timedelta, timezone

from marketplace.request_reads import utc


def test_times_are_shown_in_utc_whatever_the_database_keeps() -> None:
    naive = datetime(2026, 11, 21, 14, 0, 0, 500_000)
    there = timezone(timedelta(hours=2))
    zoned = datetime(2026, 11, 21, 16, 0, 0, 500_000, tzinfo=there)
    assert utc(naive) == utc(zoned) == "2026-11-21T14:00:00.500000Z"
