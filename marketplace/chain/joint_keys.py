"""The committee's joint key of the homomorphic lane, as the chain has it: the first of its commitments."""

from __future__ import annotations

from marketplace.chain.reads import CommitteeReads
from marketplace.wire.feldman import POINT_BYTES


def joint_key_of(chain: CommitteeReads, epoch: int) -> bytes | None:
    """The public key that records of this epoch are encrypted under, 33 bytes; None where it has none yet.

    Raises:
        ContractRefusal: unknown_epoch. NodeUnreachable, ...
    """
    commitments, _ = chain.joint_key(epoch)
    return commitments[:POINT_BYTES] or None


def newest_with_key(chain: CommitteeReads, before: int) -> int | None:
    """The newest epoch before this one that has a joint key; None if there is none."""
    earlier = range(before - 1, 0, -1)
    return next((each for each in earlier if joint_key_of(chain, each) is not None), None)


def joint_keys_until(chain: CommitteeReads, epoch: int) -> frozenset[bytes]:
    """The joint keys of this epoch and of all before it. A re-sharing leaves the key as it was."""
    found = (joint_key_of(chain, each) for each in range(1, epoch + 1))
    return frozenset(key for key in found if key is not None)
