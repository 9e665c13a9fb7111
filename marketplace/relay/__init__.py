"""Signed messages carried to the chain, so that patients need no gas and no wallet.

Whoever may upload could spend the relaying account's gas, and with it everybody's revocations. So what the
chain would refuse is not sent, nor what changes nothing, nor the same thing twice; and what somebody could
repeat without end is counted by the day. What ends a consent that stands, erases or pays out never is,
unless a wallet contract signed it that says yes in dry runs and no on chain.
"""

from marketplace.relay.service import MOST_MESSAGES, Outcome, Relay

__all__ = ["MOST_MESSAGES", "Outcome", "Relay"]
