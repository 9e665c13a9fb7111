"""Bringing a custodian the records that it counts as missing: once a round, so much at most, and no more than
it names.

What it is brought it holds against the chain, and verifies, as any deposit: nothing here has to be believed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import structlog

from marketplace.errors import Refusal
from marketplace.peers import Peer
from marketplace.wire.http import hash_field, to_hex
from marketplace.wire.http_client import SMALL_ANSWER
from marketplace.wire.paging import LARGEST_DEPOSITS, MOST_DEPOSITS, pages, sent_bytes

MOST_NAMED: Final = 1_000
"""Commitments that a custodian is believed to lack at once."""
LONGEST_LIST: Final = 128 * 1024
"""Bytes of those."""
MOST_OUTCOME: Final = 1_024
"""Bytes of its word on one record."""
MOST_UPLOADS: Final = 16
"""Of a round: at most 64 MiB. What is left is brought in the next one."""
MOST_SECONDS: Final = 60.0
"""After which no further upload of a round begins: one that takes its time with each holds nothing up."""

Found = Callable[[Sequence[bytes]], Iterable[Mapping[str, Any]]]
"""Of these commitments, what is kept of the request's dataset, as `POST /tallies` takes it."""

log = structlog.get_logger()


def restore(custodian: Peer, request: bytes, found: Found) -> int:
    """Brings one custodian the records that it lacks for a request. Returns how many it took.

    Raises:
        PeerUnreachable, or what the custodian refuses with; what it took until then stays.
    """
    until = time.monotonic() + MOST_SECONDS
    wanted = _lacking(custodian, request)
    taken = 0
    uploads = pages(found(wanted), sent_bytes, most=MOST_DEPOSITS, largest=LARGEST_DEPOSITS)
    for page in itertools.islice(uploads, MOST_UPLOADS):
        if time.monotonic() > until:
            break
        most = SMALL_ANSWER + len(page) * MOST_OUTCOME
        said = custodian.post("/tallies", {"records": page}, most=most).get("outcomes")
        outcomes = said if isinstance(said, list) else []
        taken += sum(isinstance(each, dict) and each.get("kept") is True for each in outcomes)
    log.info("records_restored", custodian=custodian.name, lacking=len(wanted), taken=taken)
    return taken


def _lacking(custodian: Peer, request: bytes) -> list[bytes]:
    body = {"request": to_hex(request)}
    listed = custodian.post("/missing-records", body, most=LONGEST_LIST).get("commitments")
    if not isinstance(listed, list) or len(listed) > MOST_NAMED:
        raise Refusal(
            code="peer_unreadable",
            message=f"{custodian.name} does not say which records it lacks.",
            remedy="Check that it runs this version; the others answer without it.",
        )
    return [hash_field(each, f"commitments[{i}]") for i, each in enumerate(listed)]
