"""Handing the administration of a deployment to another account, a multisig say: all of it, or nothing yet.

Roles are OpenZeppelin's AccessControl. Whoever holds DEFAULT_ADMIN of a contract gives and takes its roles;
a contract that nobody administers can never be given an operator, a pauser or a steward again. So the new
holder has every role before the old one gives up its first. The old one's transactions are mined in their
order, so that no reorganisation keeps a renunciation and loses a grant.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from eth_utils.crypto import keccak

from marketplace.chain import artifacts
from marketplace.chain.core import ChainCore
from marketplace.chain.deploy import ROLE_CONTRACTS
from marketplace.chain.manifest import MARKET_CONTRACTS, TOKEN
from marketplace.chain.sender import Sender
from marketplace.errors import Refusal
from marketplace.vocabulary import address
from marketplace.wire.solidity import ZERO_ADDRESS

ADMINISTRATOR: Final = "DEFAULT_ADMIN"
"""The role that gives and takes all others of its contract (AccessControl.DEFAULT_ADMIN_ROLE)."""


@dataclass(frozen=True, order=True)
class Held:
    """One role of one contract."""

    contract: str
    role: str

    @property
    def id(self) -> bytes:
        """As the contract knows it."""
        return bytes(32) if self.role == ADMINISTRATOR else bytes(keccak(text=self.role))


@dataclass(frozen=True)
class Plan:
    """What is left to do, from what the chain shows: after an interruption, the rest."""

    to: str
    roles: tuple[Held, ...]  # that the new holder must have before anything is given up
    grants: tuple[Held, ...]
    renunciations: tuple[Held, ...]  # of each contract, its administration last

    @property
    def transactions(self) -> int:
        """How many are left to send; 0 once everything is handed over."""
        return len(self.grants) + len(self.renunciations)


def roles_of(chain: ChainCore) -> list[Held]:
    """Every role of the deployment, administration last. Those of a foreign token are its own business."""
    found = [Held(contract, role) for role, at in ROLE_CONTRACTS.items() for contract in at]
    # The token, which may be another market's, comes last: half a hand-over shows on the others.
    found += [Held(contract, ADMINISTRATOR) for contract in (*MARKET_CONTRACTS, TOKEN)]
    if not artifacts.load(TOKEN).is_code(chain.node.code(chain.manifest.token)):
        found = [each for each in found if each.contract != TOKEN]
    return found


def held_by(chain: ChainCore, account: str) -> list[Held]:
    """The roles of an account."""
    return [each for each in roles_of(chain) if _has(chain, each, account)]


def plan(chain: ChainCore, own: str, to: str, keep: Collection[str] = ()) -> Plan:
    """What it takes to hand over every role of `own` but those named in `keep`. Sends nothing.

    Raises:
        BadParameter; Refusal (zero_address, handover_to_oneself, handover_to_the_market, holder_unproven,
            not_administrator).
    """
    holder = address(to, "to")
    _require_fit(chain, own, holder)
    ours, theirs = set(held_by(chain, own)), set(held_by(chain, holder))
    everywhere = [Held(contract, ADMINISTRATOR) for contract in MARKET_CONTRACTS]
    given = [each for each in roles_of(chain) if each in ours and each.role not in keep]
    roles = tuple(dict.fromkeys([*given, *everywhere]))
    grants = tuple(each for each in roles if each not in theirs)
    for each in grants:
        if Held(each.contract, ADMINISTRATOR) not in ours:
            raise _not_administrator(own, each)
    return Plan(holder, roles, grants, tuple(given))


def hand_over(
    chain: ChainCore, sender: Sender, wanted: Plan, done: Callable[[int], None] = lambda _: None
) -> None:
    """Grants everything, sees on chain that the new holder has it, and only then renounces.

    Args:
        done: told of each transaction, `wanted.transactions` in all.

    Raises:
        Refusal: `handover_unverified`, nothing was renounced then; as `Sender.send`: make the plan anew
            and go on.
    """
    for each in wanted.grants:
        sender.send(each.contract, "grantRole", each.id, wanted.to)
        done(1)
    _require_holds(chain, wanted.to, wanted.roles)
    for each in wanted.renunciations:
        sender.send(each.contract, "renounceRole", each.id, sender.address)
        done(1)


def _has(chain: ChainCore, held: Held, account: str) -> bool:
    return bool(chain.call(held.contract, "hasRole", held.id, account))


def _require_holds(chain: ChainCore, holder: str, roles: Sequence[Held]) -> None:
    for each in roles:
        if not _has(chain, each, holder):
            raise Refusal(
                code="handover_unverified",
                message=f"The chain does not show {holder} as {each.role} of {each.contract}.",
                remedy="Nothing was renounced. Check the node, then run it again.",
                facts={"contract": each.contract, "role": each.role},
            )


def _require_fit(chain: ChainCore, own: str, to: str) -> None:
    contracts = {str(each.address): name for name, each in chain.manifest.contracts.items()}
    if to == ZERO_ADDRESS:
        raise _unfit("zero_address", "Nobody holds the zero address.")
    if to == own:
        raise _unfit("handover_to_oneself", f"{to} is the account that hands over.")
    if to in contracts:
        raise _unfit("handover_to_the_market", f"{to} is the market's own {contracts[to]}.")
    # A multisig's address on another chain, or a slip of the pen, would look as good as any.
    if not chain.node.code(to) and chain.node.transaction_count(to, "latest") == 0:
        raise _unfit(
            "holder_unproven",
            f"On this chain {to} has neither code nor ever sent a transaction.",
            "Deploy the multisig on this chain, or send any transaction from the account, first.",
        )


def _unfit(
    code: str, message: str, remedy: str = "Give the address of the new administrator."
) -> Refusal:
    return Refusal(code=code, message=f"{message} Nothing was sent.", remedy=remedy, field="to")


def _not_administrator(own: str, wanted: Held) -> Refusal:
    return Refusal(
        code="not_administrator",
        message=f"{own} does not administer {wanted.contract}, so it cannot give {wanted.role}. "
        "Nothing was sent.",
        remedy="Use the administrator's key, and the address that an interrupted hand-over was for.",
        field="key_file",
        facts={"contract": wanted.contract, "role": wanted.role},
    )
