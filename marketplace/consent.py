"""Fixing a cohort on chain: freeze, tidy where needed, seal. The seal is the cut-off.

Everything that decides who is counted is decided by the contracts; this module only sends the
transactions that ask them to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from marketplace.chain.adapter import Chain, RequestView, ShardRef
from marketplace.chain.rpc import BlockName
from marketplace.chain.sender import Sender
from marketplace.wire.terms import RequestTerms, class_id

WORD_SEATS = 160
SEATS: Final = (1 << WORD_SEATS) - 1
"""The bits of a word that say who is live."""
TIDY_SEAT_GAS: Final = 13_500
TIDY_WORD_GAS: Final = 30_000
"""What tidying takes at most: a full word of which everybody has to leave was measured at 1,985,120 gas
(contracts/gas.snapshot), and is counted as 2,190,000. One of which everybody stays takes a quarter of that;
which it will be, words do not tell."""
TIDY_GAS: Final = 16_000_000
"""Of one transaction that tidies, under the 16.7M of EIP-7825: the market keeps a 64th of it to itself."""
TIDY_AT_ONCE: Final = 8
"""Transactions on their way together. Awaited one by one they would take a block each, however empty."""
WAKE_WORDS = 8
SEATS_PER_TRANSACTION = 655_360
"""At 17.5 gas a seat this is 11.5M gas of the 16.7M that a transaction may use."""


def freeze(chain: Chain, sender: Sender, researcher: str, terms: RequestTerms) -> None:
    """Freezes every shard of the request's classes.

    Raises:
        ContractRefusal: as the market refuses (cohort too small or too large, credential, bond, ...).
    """
    classes = [chain.class_terms(each).abi_tuple() for each in terms.class_ids()]
    sender.send("ResearchMarket", "freeze", researcher, terms.abi_tuple(), classes)


@dataclass(frozen=True)
class Work:
    """Transactions between a freeze and the end of its seal, at most: they decide how long it takes."""

    tidying: int
    sealing: int


def work_ahead(chain: Chain, terms: RequestTerms, until: int) -> Work:
    """What a freeze now would leave to do before the seal is whole.

    Args:
        until: the latest second (chain time) at which that freeze can end.
    """
    tidying = seats = shards = 0
    for class_ in terms.class_ids():
        for number in range(chain.shard_count(class_)):
            stale, used = _stale_words(chain, class_, number, until, terms.cost)
            tidying += len(list(_chunks(stale)))
            seats, shards = seats + used, shards + 1
    return Work(tidying, 1 if seats <= SEATS_PER_TRANSACTION else shards)


def tidy(chain: Chain, sender: Sender, request: bytes, view: RequestView) -> int:
    """Tidies every word of the frozen request that a seal would refuse; returns how many there were.

    The transactions are sent side by side, and all of them are in blocks when this returns.

    Raises:
        ContractRefusal: as the market refuses (freeze_lapsed, ...); what else was sent may have effect.
    """
    parts: list[tuple[int, list[int]]] = []
    for ordinal, ref in enumerate(chain.request_shards(request)):
        class_ = class_id(view.dataset, ref.class_)
        stale, _ = _stale_words(chain, class_, ref.shard, view.frozen_until, view.cost)
        parts += [(ordinal, part) for part in _chunks(stale)]

    def send(part: tuple[int, list[int]]) -> int:
        sender.send("ResearchMarket", "tidy", request, *part)
        return len(part[1])

    with ThreadPoolExecutor(TIDY_AT_ONCE, thread_name_prefix="tidy") as together:
        return sum(together.map(send, parts))


def _chunks(stale: Mapping[int, int]) -> Iterable[list[int]]:
    """Places of words (by place, how many consents are live in each), as many as fit a transaction."""
    part: list[int] = []
    gas = 0
    for place, live in stale.items():
        more = TIDY_WORD_GAS + live * TIDY_SEAT_GAS
        if part and gas + more > TIDY_GAS:
            yield part
            part, gas = [], 0
        part.append(place)
        gas += more
    if part:
        yield part


def _stale_words(
    chain: Chain, class_: bytes, shard: int, until: int, cost: int
) -> tuple[dict[int, int], int]:
    """Words with a consent that expires by `until` or cannot afford the cost, by place: how many consents
    are live in each. And how many places the shard has given away."""
    meters = chain.shard(class_, shard)
    words = chain.words(class_, shard, -(-meters.used // WORD_SEATS))
    stale = {
        place: (word & SEATS).bit_count()
        for place, word in enumerate(words)
        if _is_stale(word, until, meters.spent + cost)
    }
    return stale, meters.used


def _is_stale(word: int, frozen_until: int, needed: int) -> bool:
    if word & SEATS == 0:
        return False
    expiry, exhaustion = (word >> 160) & ((1 << 40) - 1), word >> 200
    return expiry <= frozen_until or exhaustion < needed


def seal(chain: Chain, sender: Sender, request: bytes, view: RequestView) -> None:
    """Seals the shards that are left; the last one seals the request.

    Shards that fit one transaction go in one, so that nobody can leave between them and bring the
    cohort under the minimum after the first were paid.

    Raises:
        ContractRefusal: as the market refuses (cohort_too_small, word_stale, freeze_lapsed, ...).
    """
    refs = chain.request_shards(request)[view.sealed_shards :]
    seats = sum(chain.shard(class_id(view.dataset, ref.class_), ref.shard).used for ref in refs)
    if seats <= SEATS_PER_TRANSACTION:
        sender.send("ResearchMarket", "sealAll", request)
        return
    for _ in refs:
        sender.send("ResearchMarket", "seal", request)


def wake(chain: Chain, sender: Sender, dataset: bytes, shards: Sequence[ShardRef]) -> int:
    """Brings back consents that had to rest while a cohort was counted; returns how many words."""
    woken = 0
    for ref in shards:
        class_, shard = class_id(dataset, ref.class_), ref.shard
        waiting = waiting_words(chain, class_, shard)
        for start in range(0, len(waiting), WAKE_WORDS):
            sender.send(
                "ConsentRegistry", "wakeWords", class_, shard, waiting[start : start + WAKE_WORDS]
            )
        woken += len(waiting)
    return woken


def waiting_words(
    chain: Chain, class_: bytes, shard: int, block: BlockName = "latest"
) -> list[int]:
    """The words of a shard in which somebody rests who is to be woken."""
    used = chain.shard(class_, shard, block).used
    bits_of = chain.waiting(class_, shard, -(-used // WORD_SEATS), block)
    return [word for word, bits in enumerate(bits_of) if bits]
