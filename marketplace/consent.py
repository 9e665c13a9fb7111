"""Fixing a cohort on chain: freeze, tidy where needed, seal. The seal is the cut-off.

Everything that decides who is counted is decided by the contracts; this module only sends the
transactions that ask them to.
"""

from __future__ import annotations

from collections.abc import Sequence

from marketplace.chain.adapter import Chain, RequestView, ShardRef
from marketplace.chain.rpc import BlockName
from marketplace.chain.sender import Sender
from marketplace.wire.terms import RequestTerms, class_id

WORD_SEATS = 160
TIDY_WORDS = 6
"""Words tidied in one transaction: a full word of which everybody has to rest takes 2.0M gas."""
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


def tidy(chain: Chain, sender: Sender, request: bytes, view: RequestView) -> int:
    """Tidies every word of the frozen request that a seal would refuse; returns how many there were."""
    tidied = 0
    for ordinal, ref in enumerate(chain.request_shards(request)):
        stale = _stale_words(chain, class_id(view.dataset, ref.class_), ref.shard, view)
        for start in range(0, len(stale), TIDY_WORDS):
            part = stale[start : start + TIDY_WORDS]
            sender.send("ResearchMarket", "tidy", request, ordinal, part)
            tidied += len(part)
    return tidied


def _stale_words(chain: Chain, class_: bytes, shard: int, view: RequestView) -> list[int]:
    """Words with a consent that expires before the freeze does or cannot afford the cost."""
    meters = chain.shard(class_, shard)
    needed = meters.spent + view.cost
    words = chain.words(class_, shard, -(-meters.used // WORD_SEATS))
    return [i for i, word in enumerate(words) if _is_stale(word, view.frozen_until, needed)]


def _is_stale(word: int, frozen_until: int, needed: int) -> bool:
    if word & ((1 << WORD_SEATS) - 1) == 0:
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
