"""A patient's record sealed for both lanes by a page in Chromium, beside the same in Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from marketplace.sealing.row import Value
from marketplace.sealing.seal import CustodianKey, seal_row
from marketplace.vocabulary import CustodianIndex, DatasetId, Epoch, PatientAddress, address
from marketplace.wire import hpke
from marketplace.wire.record import RecordContext
from ml.homomorphic.curve import times_base
from tests.bench import Contenders, Task
from tests.support import static_site, wide_record
from tests.support.joining_world import VARIABLES, widest
from tools.browser import chromium

CUSTODIANS, QUORUM = 3, 2
JOINT_KEY = times_base(0x5EC2E7).to_bytes()


@contextmanager
def sealing_contenders() -> Iterator[Contenders]:
    """From values to the record that is handed in."""
    read, keys = widest(), [hpke.generate().public for _ in range(CUSTODIANS)]
    asked = wide_record.asked_for(read, QUORUM, keys, JOINT_KEY)
    values: dict[str, Value] = {
        name: Decimal(value) for name, value in wide_record.values_of(read).items()
    }
    at, registry = PatientAddress(address("0x" + "22" * 20)), address("0x" + "11" * 20)
    context = RecordContext(31_337, registry, DatasetId(bytes(32)), at, read.hash(), 1)
    seats = [CustodianKey(CustodianIndex(n + 1), key) for n, key in enumerate(keys)]
    with static_site.static_site() as origin, chromium() as browser:
        page = browser.new_page()
        page.goto(origin)
        yield {
            "a page in Chromium": lambda: page.evaluate(wide_record.SEAL, asked),
            "seal_row": lambda: seal_row(read, values, context, seats, Epoch(3), QUORUM, JOINT_KEY),
        }


BROWSER_TASKS = (
    Task(f"{VARIABLES} variables sealed for both lanes", "records", 1, 5, sealing_contenders),
)
