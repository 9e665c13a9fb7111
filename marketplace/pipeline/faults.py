"""Which faults end a request, and which are only waited out."""

from __future__ import annotations

from typing import Final

from marketplace.chain.adapter import ContractRefusal
from marketplace.pipeline.deadlines import NeverOpened, SealDeadlineTooNear, TooMuchToTidy

RETRY: Final = frozenset(
    {
        "node_unreachable",
        "node_fault",
        "unknown_block",
        "outcome_unknown",
        "fee_above_ceiling",
        "nonce_taken",
        "insufficient_funds",
        "out_of_gas",
        "reverted_without_reason",
        "stale_head",
        "wrong_chain",
        "wrong_code",
        "reorganised",
        "partial_logs",
        "forged_logs",
        "not_yet_final",
        "peer_unreachable",
        "quorum_missing",
        "storage_full",
        "storage_unavailable",
        "notice_still_running",
        "shard_is_frozen",
        "draw_too_early",
        "gate_unknown",
        "bond_too_small",
        "enforced_pause",
        "access_control_unauthorized_account",
    }
)
"""Codes that time, or somebody's repair, may cure: the request stays where it is."""

REFUSING: Final = (ContractRefusal, NeverOpened, SealDeadlineTooNear, TooMuchToTidy)
"""Only these end a request, and only with a code outside `RETRY`: anything else is a fault of the world,
which must not end what may be paid already."""

UNSENT: Final = (SealDeadlineTooNear, TooMuchToTidy)
"""Of these, what an earlier try sent may still be on its way, and then has to be sealed after all."""
