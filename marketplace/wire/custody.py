"""Signed words between custodians and operators. No contract reads them, so they stand apart."""

from __future__ import annotations

from dataclasses import dataclass

from marketplace.wire.eip712 import CUSTODIAN_COMMITTEE, RESEARCH_MARKET, SignedStruct
from marketplace.wire.solidity import Address, Bytes32, Uint8, Uint32, Uint64


@dataclass(frozen=True)
class Holding(SignedStruct):
    """An operator's word that it holds the ciphertext which this commitment leads to.

    No custodian acknowledges a new record without it, so no record is usable on chain that no
    operator has: what a gate is not sent later was withheld or lost, and never just not uploaded.
    """

    DOMAIN = RESEARCH_MARKET

    dataset: Bytes32
    patient: Address
    commitment: Bytes32


@dataclass(frozen=True)
class Handover(SignedStruct):
    """A custodian's word that whoever follows it at its place has all the shares that it held.

    `epoch` is the one that seats the successor; `shares` is how many went over.
    """

    DOMAIN = CUSTODIAN_COMMITTEE

    epoch: Uint32
    place: Uint8
    successor: Address
    shares: Uint64
