"""Which classes of a dataset permit a purpose to a researcher, how many consents that is, and why not others.

The registry itself is asked, by the call that the market makes when a request is opened: nothing of the Data
Use Ontology is decided here. What cannot be asked is no permission.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from marketplace.chain.adapter import Chain, ContractRefusal
from marketplace.chain.sentences import DATA_USE_REASONS
from marketplace.vocabulary import Address
from marketplace.wire.terms import Credential, Purpose, index_of

NOBODY: Final = Credential(0, bytes(2), 0, False, bytes(32), bytes(32), bytes(32))
"""Who has no credential."""
CHANGE: Final = "Change the purpose, or choose another class."
CHOOSE: Final = "Choose another class: this one is not open to you."
BROKEN: Final = "Choose another class, and tell its steward."
CODES: Final[Mapping[int, tuple[str, str]]] = {
    0: ("research_type_not_listed", CHANGE),
    1: ("methods_excluded", "Leave method development out, and name what the research is for."),
    2: ("genetic_only", "Ask for genetic research, or choose another class."),
    3: ("non_profit_and_non_commercial_only", CHOOSE),
    4: ("non_profit_only", CHOOSE),
    5: ("non_commercial_only", "Ask for an end that is not commercial, or choose another class."),
    6: ("ancestry_excluded", "Leave ancestry out, and name what the research is for."),
    7: ("country_not_listed", CHOOSE),
    8: ("use_must_end_sooner", "Name a number of months that the class allows."),
    9: ("user_not_listed", CHOOSE),
    10: ("project_not_listed", "Name a project that the class lists."),
    11: ("institution_not_listed", CHOOSE),
    12: ("ethics_approval_required", "Give the hash of the ethics committee's approval."),
    13: ("duty_to_collaborate", "Accept the duty to collaborate."),
    14: ("duty_to_publish", "Accept the duty to publish."),
    15: ("duty_to_hold_publication_back", "Accept the duty to hold publication back."),
    16: ("duty_to_return_data", "Accept the duty to return derived data."),
    32: ("permission_unknown", BROKEN),
    33: ("modifier_unknown", BROKEN),
    34: ("use_unknown", CHANGE),
    35: ("duty_unknown", CHANGE),
    36: ("organisation_unknown", "Have the credential authority state your organisation."),
    37: ("biomedical_only", "Name a biomedical use, and leave ancestry out."),
    38: ("disease_not_covered", "Name diseases that the class covers, or choose another class."),
    39: ("ancestry_only", "Ask for ancestry research alone, or choose another class."),
    40: ("clinical_care_not_permitted", "Leave clinical care out, or choose another class."),
}
"""By bit of the contract's answer (`DataUse`): a code for machines, and what to do."""
_BY_WORDS: Final = {words: CODES[bit] for bit, words in DATA_USE_REASONS.items()}


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason why a class does not permit a use."""

    code: str
    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Decision:
    """About one class: permitted exactly when there is no reason against it. `live` counts its consents."""

    class_id: bytes
    live: int
    reasons: tuple[Reason, ...]

    @property
    def index(self) -> int:
        """Of the class in its dataset."""
        return index_of(self.class_id)

    @property
    def permitted(self) -> bool:
        """Whether the market would let the request be opened, as far as purpose and credential go."""
        return not self.reasons


@dataclass(frozen=True)
class Matches:
    """Decisions about any dataset. Keeps nothing."""

    chain: Chain

    def decisions(
        self, dataset: bytes, purpose: Purpose, requester: Address | Credential | None
    ) -> list[Decision]:
        """One for each class of the dataset, in order.

        Args:
            requester: an account, whose credential is looked up; a credential that somebody thinks of
                getting, whose standing nobody asks about; or None, who has none.

        Raises:
            Refusal: `unknown_dataset`; `malformed_message`, for more diseases than can be checked.
                PartialLogs, ForgedLogs; NodeUnreachable, NodeFault, StaleHead, WrongChain, WrongCode.
        """
        purpose.require_short()
        self.chain.require_healthy()
        self.chain.require_dataset(dataset)
        credential, standing = self._standing(requester)
        return [
            Decision(
                each,
                sum(shard.live for shard in self.chain.shards(each)),
                (*standing, *self._against(each, purpose, credential)),
            )
            for each in self.chain.class_ids(dataset)
        ]

    def _standing(
        self, requester: Address | Credential | None
    ) -> tuple[Credential, tuple[Reason, ...]]:
        """The credential to match, and what is wrong with it as the registry has it now."""
        if isinstance(requester, Credential):
            return requester, ()
        if requester is None:
            return NOBODY, (
                Reason(
                    "credential_missing",
                    "Only researchers with a credential may ask.",
                    "Apply to the credential authority.",
                ),
            )
        credential = self.chain.credential_of(requester)
        try:
            self.chain.call("ResearcherRegistry", "requireCredential", requester)
        except ContractRefusal as refusal:
            return credential, (_reason(refusal),)
        return credential, ()

    def _against(self, class_: bytes, purpose: Purpose, credential: Credential) -> Iterator[Reason]:
        terms = self.chain.class_terms(class_)
        try:
            self.chain.call(
                "DatasetRegistry", "requirePermitted", class_, terms, purpose, credential
            )
        except ContractRefusal as refusal:
            words = refusal.facts.get("reasons")
            if refusal.code != "purpose_not_permitted" or not isinstance(words, tuple) or not words:
                yield _reason(refusal)
                return
            yield from (_data_use_reason(str(each)) for each in words)


def live(decisions: list[Decision]) -> int:
    """How many consents match: those of all classes that permit the purpose."""
    return sum(each.live for each in decisions if each.permitted)


def _reason(refusal: ContractRefusal) -> Reason:
    return Reason(refusal.code, refusal.message, refusal.remedy)


def _data_use_reason(words: str) -> Reason:
    code, remedy = _BY_WORDS.get(words, ("unknown_reason", BROKEN))
    return Reason(code, f"{words[0].upper()}{words[1:]}.", remedy)
