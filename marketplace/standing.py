"""What an account is in this market, by the chain: steward, issuer, researcher, authority, operator.

Whoever may do something is asked of the chain again after five seconds, so that a role that was taken away
is soon gone here too. Where the node does not answer, or is stale, nobody is anything (`Refusal`). The
contracts judge every act again: what this decides is who sees which page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from marketplace.chain.adapter import Chain, ContractRefusal
from marketplace.vocabulary import Address
from marketplace.wire.lately import Lately

FRESH_SECONDS: Final = 5.0
"""For which an answer of the chain is given again."""
MOST_ANSWERS: Final = 4_096
"""Kept at once, whoever asks; the oldest go first."""
MOST_DATASETS: Final = 200
"""Of one account that are looked at: others could appoint it as often as they like."""
MOST_WARDS: Final = 200
"""Of one guardian that are looked at, likewise. Whoever names it without a record is left out."""
LOOKED_AGAIN: Final = 256
"""Blocks before the last look that are read again, in case they were replaced."""
NO_CREDENTIAL: Final = frozenset(
    {"credential_missing", "credential_is_withdrawn", "credential_expired"}
)
HEALTH: Final = ("healthy",)
"""The question whether the node may be asked anything."""


@dataclass(frozen=True)
class Log:
    """Events of one contract that name an account in their topic of number `topic`; 0 is the signature."""

    contract: str
    names: tuple[str, ...]
    topic: int


APPOINTMENTS: Final = Log(
    "DatasetRegistry", ("DatasetPublished", "StewardChanged", "IssuerAdded"), 1
)
"""Of stewards and issuers."""
GUARDIANSHIPS: Final = Log("ConsentRegistry", ("GuardianAppointed",), 2)

NOTHING_YET: Final = (0, ())
"""Seen up to the first block, and nothing found."""


@dataclass(frozen=True)
class Standing:
    """Everything that one account is now. Datasets by id, 32 bytes, oldest first."""

    account: Address
    is_operator: bool
    is_steward: bool
    is_authority: bool
    is_researcher: bool
    steward_of: tuple[bytes, ...]
    issuer_of: tuple[bytes, ...]


@dataclass(frozen=True)
class Ward:
    """One patient in one dataset (32 bytes), whose consent a guardian may stop."""

    dataset: bytes
    patient: Address


@dataclass
class Standings:
    """Answers about accounts. Safe for threads.

    Every question raises NodeUnreachable, NodeFault, StaleHead, WrongChain or WrongCode where the chain
    cannot be asked.

    Args:
        operator: this operator's own account; another operator of the market is nothing here.
    """

    chain: Chain
    operator: str
    clock: Callable[[], float] = time.monotonic
    _answers: Lately[tuple[str, ...], tuple[float, Any]] = field(
        default_factory=lambda: Lately(MOST_ANSWERS), repr=False
    )
    _appointed: Lately[Address, tuple[int, tuple[bytes, ...]]] = field(
        default_factory=lambda: Lately(MOST_ANSWERS), repr=False
    )
    _guarded: Lately[Address, tuple[int, tuple[Ward, ...]]] = field(
        default_factory=lambda: Lately(MOST_ANSWERS), repr=False
    )

    def of(self, account: Address) -> Standing:
        """Everything at once, for a page that shows somebody what they may do."""
        datasets = self._recently(("datasets", account), lambda: self._datasets(account))
        return Standing(
            account=account,
            is_operator=self.is_operator(account),
            is_steward=self.is_steward(account),
            is_authority=self.is_authority(account),
            is_researcher=self.is_researcher(account),
            steward_of=tuple(each for each in datasets if self.is_steward_of(account, each)),
            issuer_of=tuple(each for each in datasets if self.is_issuer_of(account, each)),
        )

    def is_operator(self, account: Address) -> bool:
        """Whether it is the account that this very process works with."""
        return account == self.operator

    def is_steward(self, account: Address) -> bool:
        """Whether it may publish datasets (role STEWARD)."""
        return self._has_role("DatasetRegistry", "STEWARD", account)

    def is_authority(self, account: Address) -> bool:
        """Whether it may give credentials (role AUTHORITY)."""
        return self._has_role("ResearcherRegistry", "AUTHORITY", account)

    def is_researcher(self, account: Address) -> bool:
        """Whether it has a credential that was not withdrawn and has not expired, by chain time."""
        return self._ask(("researcher", account), lambda: self._has_credential(account))

    def is_steward_of(self, account: Address, dataset: bytes) -> bool:
        """Whether it is the dataset's steward now; nobody is one of a dataset that there is not."""
        return self._ask(
            ("steward", account, dataset.hex()), lambda: self._steward(dataset) == account
        )

    def is_issuer_of(self, account: Address, dataset: bytes) -> bool:
        """Whether it may attest records of the dataset now."""
        return self._ask(
            ("issuer", account, dataset.hex()), lambda: self.chain.is_issuer(dataset, account)
        )

    def has_record(self, account: Address, dataset: bytes) -> bool:
        """Whether it has a record in the dataset, in whatever state.

        A no is never an old one: whoever has just got a record is led to the page about it.
        """
        return self._ask(
            ("record", account, dataset.hex()),
            lambda: self.chain.record_of(dataset, account).is_there,
            keeps_no=False,
        )

    def wards(self, account: Address) -> tuple[Ward, ...]:
        """Whose consents it may stop as guardian now, the oldest appointment first, at most MOST_WARDS."""
        named = self._recently(("wards", account), lambda: self._appointments(account))
        return tuple(each for each in named if self.is_guardian_of(account, each))

    def is_guardian_of(self, account: Address, ward: Ward) -> bool:
        """Whether it is the guardian of a record that there is, and its time not over, by chain time."""
        return self._ask(
            ("guardian", account, ward.dataset.hex(), ward.patient),
            lambda: self._guards(account, ward),
        )

    # --- the chain

    def _guards(self, account: Address, ward: Ward) -> bool:
        guardian, expiry, _ = self.chain.guardian_of(ward.dataset, ward.patient)
        return guardian == account and expiry > self.chain.now() and self._is_there(ward)

    def _appointments(self, account: Address) -> tuple[Ward, ...]:
        """Everybody with a record who ever appointed it, the latest MOST_WARDS of them."""
        seen, known = self._guarded.get(account) or NOTHING_YET
        head, told = self._since(seen, account, GUARDIANSHIPS)
        named = dict.fromkeys(Ward(each["dataset"], each["patient"]) for each in told)
        new = (each for each in named if each not in known and self._is_there(each))
        return self._guarded.keep(account, (head, (*known, *new)[-MOST_WARDS:]))[1]

    def _is_there(self, ward: Ward) -> bool:
        return self.chain.record_of(ward.dataset, ward.patient).is_there

    def _steward(self, dataset: bytes) -> str:
        return str(self.chain.call("DatasetRegistry", "stewardOf", dataset))

    def _has_role(self, contract: str, role: str, account: Address) -> bool:
        return self._ask(
            (role, account),
            lambda: self.chain.has_role(contract, role, account),
        )

    def _has_credential(self, account: Address) -> bool:
        try:
            self.chain.call("ResearcherRegistry", "requireCredential", account)
        except ContractRefusal as refusal:
            if refusal.code in NO_CREDENTIAL:
                return False
            raise
        return True

    def _datasets(self, account: Address) -> tuple[bytes, ...]:
        """Every dataset that it was ever appointed to, the latest MOST_DATASETS of them."""
        seen, known = self._appointed.get(account) or NOTHING_YET
        head, told = self._since(seen, account, APPOINTMENTS)
        found = tuple(dict.fromkeys((*known, *(each["dataset"] for each in told))))
        return self._appointed.keep(account, (head, found[-MOST_DATASETS:]))[1]

    def _since(self, seen: int, account: Address, log: Log) -> tuple[int, list[Mapping[str, Any]]]:
        """The head, and what the log says of an account from the last look up to it, oldest first."""
        first = max(self.chain.manifest.deployed_block, seen - LOOKED_AGAIN)
        head = self.chain.head().number
        topics = [None] * log.topic + [bytes.fromhex(account[2:]).rjust(32, b"\0")]
        events = self.chain.events(
            first, head, contracts=[log.contract], names=log.names, topics=topics
        )
        return head, [each.args for each in events]

    # --- five seconds

    def _ask(
        self, question: tuple[str, ...], answer: Callable[[], bool], *, keeps_no: bool = True
    ) -> bool:
        return bool(self._recently(question, answer, keeps_no=keeps_no))

    def _recently(
        self, question: tuple[str, ...], answer: Callable[[], Any], *, keeps_no: bool = True
    ) -> Any:
        """What was answered lately, or is now, by a node that is the deployment's and not stale."""
        now = self.clock()
        kept = self._answers.get(question)
        if kept is not None and now - kept[0] < FRESH_SECONDS and (kept[1] or keeps_no):
            return kept[1]
        if question != HEALTH:
            self._recently(HEALTH, self.chain.require_healthy)
        return self._answers.keep(question, (now, answer()))[1]
