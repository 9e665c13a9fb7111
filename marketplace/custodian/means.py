"""What a custodian answers requests of the homomorphic lane with."""

from __future__ import annotations

from dataclasses import dataclass

from marketplace.chain.adapter import Chain
from marketplace.custodian.checks import Rules
from marketplace.custodian.joint_shares import JointShares
from marketplace.custodian.journal import Journal
from marketplace.custodian.keys import Keys
from marketplace.custodian.noises import Noises
from marketplace.custodian.succession import Succession
from marketplace.custodian.tallies import Tallies


@dataclass(frozen=True)
class Means:
    """One custodian's own: its node, journal, keys and rules, and what it keeps for this lane."""

    chain: Chain
    journal: Journal
    keys: Keys
    rules: Rules
    tallies: Tallies
    joint_shares: JointShares
    succession: Succession
    noises: Noises
