"""The joint key of a local market's custodians: theirs, as everywhere; this process carries their words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from marketplace.chain.adapter import Chain
from marketplace.chain.joint_keys import joint_key_of, newest_with_key
from marketplace.chain.sender import Sender
from marketplace.keygen import generate, new_session, record
from marketplace.local.processes import await_health
from marketplace.peers import Peer


def generate_missing(
    chain: Chain,
    admin: bytes,
    signers: Sequence[str],
    urls: Sequence[str],
    tell: Callable[[str], object],
) -> bool:
    """Has the custodians generate the current epoch's joint key, and records it, unless the chain has one;
    the key of an earlier epoch is handed on, so that records stay usable.

    Does nothing in an epoch of others: they generate their own. Killed at any point, it may be repeated: what
    is not on chain counts for nobody. Returns whether it made one.

    Args:
        admin: key of the account that opens epochs.
        signers, urls: of this market's custodians, by place; they run.

    Raises:
        KeygenFailed; Refusal (not_ready, keygen_incomplete).
    """
    committee = chain.committee()
    epoch = int(committee.epoch)
    seated = [each.signer for each in committee.members]
    if seated != list(signers) or joint_key_of(chain, epoch) is not None:
        return False
    tell("the custodians generate their joint key")
    await_health(urls)
    peers = [Peer(f"custodian {place + 1}", url) for place, url in enumerate(urls)]
    session = new_session(chain, epoch, newest_with_key(chain, epoch) or 0)
    generated = generate(chain, admin, peers, peers, session)
    record(Sender(chain, admin), generated, len(peers))
    return True
