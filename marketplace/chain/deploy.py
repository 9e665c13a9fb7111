"""Deploys a market: token, registries, committee, market, their bindings and roles."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from eth_utils.crypto import keccak

from marketplace.chain import artifacts
from marketplace.chain.artifacts import CONTRACTS, abi_arguments
from marketplace.chain.faults import NodeFault, knows_no_final_block
from marketplace.chain.manifest import TOKEN, Deployed, Manifest, WrongCode
from marketplace.chain.reads import Reads
from marketplace.chain.rpc import Node, UnknownBlock
from marketplace.chain.sender import Sender
from marketplace.chain.transactor import Transactor
from marketplace.chain.views import ROUNDS_SECONDS, MarketPolicy
from marketplace.errors import Refusal
from marketplace.vocabulary import Address, address
from marketplace.wire.eip712 import SigningKey

MINIMUM_HORIZON = 7 * 24 * 3600
"""Seconds that a grant must last at least: a cohort must not go stale while it is being counted."""
THAW_GAP = 60
"""Seconds between two freezes of a shard, in which new grants go live."""

LONGEST_WAIT: Final = 30 * 86_400
"""Seconds: ResearchMarket.LONGEST_WAIT. No request could be opened under a longer notice, and longer windows
would lock its money for as long."""
LONGEST_FREEZE: Final = 3_600
"""Seconds. No grant of a frozen shard goes live, so that a freeze is minutes at most; these are enough to
seal 64 shards, the most that a request may have, four times over at 12 seconds a block."""


FINAL_ROUNDS: Final = 2
"""How often the rounds wait for a final block within the gate window: for the seal, for the commitments."""
INTERVALS: Final = 8
"""Of the newest blocks, by whose median the time between two is taken: so a chain that mines on demand may
have paused."""


@dataclass(frozen=True)
class Bounds:
    """What a window may be, in seconds; the contracts refuse some windows of 0, and none that is too long."""

    least: int
    most: int
    why: str


WINDOWS: Final[Mapping[str, Bounds]] = {
    "notice_window": Bounds(
        0, LONGEST_WAIT - 1, "No request can be opened under a notice of 30 days or more."
    ),
    "freeze_window": Bounds(
        1, LONGEST_FREEZE, "No grant goes live while its shard is frozen: minutes, not hours."
    ),
    "turn_window": Bounds(1, LONGEST_WAIT, "A request's money is locked for as long."),
    "gate_window": Bounds(
        ROUNDS_SECONDS,
        LONGEST_WAIT,
        "A silent gate holds a request up for as long; and whoever pays for an answer on encrypted records "
        "needs as long to gather every custodian's noise, before anybody else may fix whose counts.",
    ),
    "certificate_window": Bounds(1, LONGEST_WAIT, "Fee and bond are locked for as long."),
    "minimum_horizon": Bounds(0, 365 * 86_400, "No patient could consent for a shorter time."),
    "thaw_gap": Bounds(0, 86_400, "A class answers no second request for as long."),
}
"""Every window that a deployment fixes for ever."""

ROLE_CONTRACTS = {
    "OPERATOR": ("ResearchMarket",),
    "PAUSER": ("ResearchMarket", "ConsentRegistry", "DatasetRegistry", "ResearcherRegistry"),
    "STEWARD": ("DatasetRegistry",),
    "AUTHORITY": ("ResearcherRegistry",),
    "ADMIN": ("CustodianCommittee",),
    "MINTER": (TOKEN,),
}
"""Which contracts know a role."""
REGISTRIES: Final = ("DatasetRegistry", "ResearcherRegistry", "ConsentRegistry")
"""Those that the market is told of, in the order of its constructor."""
BINDINGS: Final = 3
"""Transactions that name the registries and the market to each other."""


@dataclass(frozen=True)
class DeploySettings:
    """What a deployment is told. Roles name their holders; the deployer administers all of it.

    `token` is an existing ERC-20 with at most 6 decimals; None deploys the test euro.
    """

    policy: MarketPolicy = field(default_factory=MarketPolicy)
    minimum_horizon: int = MINIMUM_HORIZON
    thaw_gap: int = THAW_GAP
    token: str | None = None
    operators: Sequence[str] = ()
    pausers: Sequence[str] = ()
    stewards: Sequence[str] = ()
    authorities: Sequence[str] = ()
    admins: Sequence[str] = ()
    minters: Sequence[str] = ()

    def require_bounded(self) -> None:
        """Raises Refusal (`window_out_of_bounds`), naming the window: none can be changed later."""
        for name, bounds in WINDOWS.items():
            seconds = getattr(self.policy, name, None)
            seconds = getattr(self, name) if seconds is None else seconds
            if not bounds.least <= seconds <= bounds.most:
                option = "--" + name.replace("_", "-")
                raise Refusal(
                    code="window_out_of_bounds",
                    message=f"{name} is {seconds} seconds. {bounds.why}",
                    remedy=f"Give {option} from {bounds.least} to {bounds.most} seconds.",
                    field=name,
                )

    def require_rounds_in_time(self, to_finality: int) -> None:
        """That the homomorphic lane's operator can gather all noise within the gate window.

        The window begins at the seal. After it, anybody may bring the noise of a bare quorum on chain, or fix
        it; and no custodian answers before the seal is final, or reveals before the commitments are.

        Args:
            to_finality: seconds from a block to its finality on this chain.

        Raises:
            Refusal (`window_out_of_bounds`; `too_late_final`: no window is long enough).
        """
        needed = FINAL_ROUNDS * to_finality + ROUNDS_SECONDS
        if needed > LONGEST_WAIT:
            latest = (LONGEST_WAIT - ROUNDS_SECONDS) // FINAL_ROUNDS
            raise Refusal(
                code="too_late_final",
                message=f"A block of this chain is final after about {to_finality} seconds now. An answer on "
                f"encrypted records waits for {FINAL_ROUNDS} of them, and the longest gate_window is "
                f"{LONGEST_WAIT} seconds.",
                remedy=f"Deploy to a chain whose blocks are final after 0 to {latest} seconds, or wait until "
                "this one's are: its node has to know the newest final block.",
                field="gate_window",
            )
        if self.policy.gate_window < needed:
            raise Refusal(
                code="window_out_of_bounds",
                message=f"gate_window is {self.policy.gate_window} seconds. A block of this chain is final "
                f"after about {to_finality}, and the rounds of an answer on encrypted records wait for "
                f"{FINAL_ROUNDS} of them: after a shorter window others could leave custodians' noise out.",
                remedy=f"Give --gate-window from {needed} to {LONGEST_WAIT} seconds.",
                field="gate_window",
            )

    @property
    def transactions(self) -> int:
        """How many a deployment takes."""
        roles = self.roles().items()
        grants = sum(len(ROLE_CONTRACTS[role]) * len(holders) for role, holders in roles)
        return len(CONTRACTS) - (self.token is not None) + BINDINGS + grants

    def roles(self) -> dict[str, Sequence[str]]:
        """Holders by role. A foreign token's minters are its own business."""
        return {
            "OPERATOR": self.operators,
            "PAUSER": self.pausers,
            "STEWARD": self.stewards,
            "AUTHORITY": self.authorities,
            "ADMIN": self.admins,
            "MINTER": self.minters if self.token is None else (),
        }


@dataclass(frozen=True)
class CommitteeSeat:
    """One custodian for `open_epoch`: its signing address and its X25519 public key (32 bytes)."""

    signer: str
    hpke_key: bytes


def deploy(
    url: str,
    deployer_key: SigningKey,
    settings: DeploySettings,
    done: Callable[[int], None] = lambda _: None,
) -> Manifest:
    """Deploys everything and checks what it deployed.

    Returns the manifest, which is yet to be saved. Not resumable: after a failure, deploy anew.

    Args:
        done: told of each transaction, `settings.transactions` in all.

    Raises:
        ContractRefusal (policy_invalid, token_has_too_many_decimals, ...), WrongCode,
        NodeUnreachable, NodeFault; Refusal (window_out_of_bounds, too_late_final, artifact_missing,
        insufficient_funds, no_token).
    """
    settings.require_bounded()
    node = Node(url)
    settings.require_rounds_in_time(seconds_to_finality(node))
    site = _Site(node, Transactor(node, node.chain_id(), deployer_key), done)
    first_block = node.header("latest").number
    deployed = site.create_all(settings)
    manifest = Manifest(
        chain_id=site.transactor.chain_id,
        genesis_hash=node.header(0).hash,
        deployed_block=first_block,
        contracts={
            name: Deployed(at, bytes(keccak(node.code(at)))) for name, at in deployed.items()
        },
        policy=settings.policy,
    )
    chain = Reads(url, manifest)
    _bind_and_appoint(Sender(chain, deployer_key), manifest, settings, done)
    manifest.check(node)
    return manifest


def seconds_to_finality(node: Node) -> int:
    """About how long a block takes to become final: blocks above the node's final one, times the median time
    between the newest. 0 where the node finalises at once, or knows no final block.

    Raises:
        NodeUnreachable, NodeFault: also where it does not say now what is final (too many questions, say).
    """
    head = node.header("latest")
    try:
        final = node.header("finalized").number
    except UnknownBlock:
        return 0  # a chain of its own rules: its operators state confirmations
    except NodeFault as fault:
        if not knows_no_final_block(fault):
            raise
        return 0
    first = max(0, head.number - INTERVALS)
    times = [node.header(number).timestamp for number in range(first, head.number)]
    times.append(head.timestamp)
    between = sorted(later - earlier for earlier, later in itertools.pairwise(times))
    typical = between[len(between) // 2] if between else 0
    return (head.number - final) * typical


def open_epoch(
    sender: Sender, seats: Sequence[CommitteeSeat], quorum: int, gates: Sequence[str]
) -> int:
    """Opens the next committee epoch (role ADMIN). Returns its number."""
    members = [(seat.signer, [(1, seat.hpke_key)]) for seat in seats]
    receipt = sender.send("CustodianCommittee", "openEpoch", members, quorum, list(gates))
    return int(receipt.event("EpochOpened").args["epoch"])


@dataclass(frozen=True)
class _Site:
    node: Node
    transactor: Transactor
    done: Callable[[int], None]

    def create_all(self, settings: DeploySettings) -> dict[str, Address]:
        """Addresses by name, in the order of deployment."""
        admin = self.transactor.address
        at: dict[str, Address] = {}
        at[TOKEN] = self._token(settings.token, admin)
        at["ResearcherRegistry"] = self._create("ResearcherRegistry", admin)
        at["CustodianCommittee"] = self._create("CustodianCommittee", admin)
        at["DatasetRegistry"] = self._create("DatasetRegistry", at["CustodianCommittee"], admin)
        at["ConsentRegistry"] = self._create(
            "ConsentRegistry",
            admin,
            at["DatasetRegistry"],
            settings.minimum_horizon,
            settings.thaw_gap,
        )
        at["NoiseRegistry"] = self._create("NoiseRegistry", admin, at["CustodianCommittee"])
        named = (*REGISTRIES, "CustodianCommittee", "NoiseRegistry")
        at["ResearchMarket"] = self._create(
            "ResearchMarket", admin, at[TOKEN], *(at[name] for name in named), settings.policy
        )
        return {name: at[name] for name in CONTRACTS}

    def _token(self, given: str | None, admin: str) -> Address:
        if given is None:
            return self._create(TOKEN, admin)
        token = address(given, "token")
        if not self.node.code(token):
            raise Refusal(
                code="no_token",
                message=f"There is no contract at {token}.",
                remedy="Give the address of an ERC-20 on this chain, or none for a test euro.",
                field="token",
            )
        return token

    def _create(self, name: str, *arguments: Any) -> Address:
        artifact = artifacts.load(name)
        data = artifact.creation_data(abi_arguments(arguments))
        receipt = self.transactor.transact(None, data, None)
        self.done(1)
        created = address(str(receipt.created), name)
        if not artifact.is_code(self.node.code(created)):
            raise WrongCode(
                message=f"The code at {created} is not that of the artifact {name}.",
                remedy="Use another node, and deploy anew.",
                facts={"contract": name, "address": created},
            )
        return created


def _bind_and_appoint(
    sender: Sender, manifest: Manifest, settings: DeploySettings, done: Callable[[int], None]
) -> None:
    sender.send("DatasetRegistry", "bindConsents", manifest.address("ConsentRegistry"))
    sender.send("ConsentRegistry", "bindMarket", manifest.market)
    sender.send("NoiseRegistry", "bindMarket", manifest.market)
    done(BINDINGS)
    for role, holders in settings.roles().items():
        for contract in ROLE_CONTRACTS[role]:
            for holder in holders:
                grant_role(sender, contract, role, holder)
                done(1)


def grant_role(sender: Sender, contract: str, role: str, holder: str) -> None:
    """Gives a role (of ROLE_CONTRACTS) to an account. Raises: see `Sender.send`."""
    sender.send(contract, "grantRole", bytes(keccak(text=role)), address(holder, role.lower()))
