"""What the specification tables are held against: the registry, asked about one use at a time."""

from typing import Any

from web3.contract import Contract

from tests.contracts.support import Chain, Refused, address, class_id, role, word
from tests.spec.data_use_oracle import DESCENT, Consent, Use


class Matcher:
    """Publishes a consent as a class and asks the contract about a use of it."""

    def __init__(self, chain: Chain, registry: Contract) -> None:
        self.chain = chain
        self.registry = registry
        self.dataset = self._publish()
        self.classes: dict[Consent, bytes] = {}

    def _publish(self) -> bytes:
        grant = self.registry.functions.grantRole(role("STEWARD"), address("steward"))
        self.chain.send(grant, "admin")
        publish = self.registry.functions.publishDataset(word("dictionary"), word("salt"), "")
        sent = self.chain.send(publish, "steward")
        dataset = bytes(sent.facts("DatasetPublished")["dataset"])
        lower, upper = zip(*sorted(DESCENT), strict=True)
        self.chain.send(self.registry.functions.registerDescent(dataset, lower, upper), "steward")
        return dataset

    def publish(self, terms: dict[str, Any]) -> bytes:
        """The class of these terms. Raises Refused (ClassTermsInvalid) for terms without sense."""
        call = self.registry.functions.publishClass(self.dataset, terms)
        self.chain.send(call, "steward")
        return class_id(self.dataset, self._count())

    def reasons(self, consent: Consent, use: Use) -> int:
        """The contract's mask of reasons; 0 is permitted."""
        if consent not in self.classes:
            self.classes[consent] = self.publish(consent.encode())
        return self.reasons_for(self.classes[consent], consent.encode(), use.encode_purpose(), use)

    def reasons_for(
        self, class_: bytes, terms: dict[str, Any], purpose: dict[str, Any], use: Use
    ) -> int:
        ask = self.registry.functions.requirePermitted
        try:
            self.chain.read(ask(class_, terms, purpose, use.encode_credential()))
        except Refused as refused:
            if refused.name != "PurposeNotPermitted" or refused.facts[0] != class_:
                raise
            return int(refused.facts[1])
        return 0

    def _count(self) -> int:
        return int(self.chain.read(self.registry.functions.classesOf(self.dataset)))


def new_matcher() -> Matcher:
    chain = Chain("admin", "steward")
    committee = chain.deploy("CustodianCommittee", address("admin"))
    return Matcher(chain, chain.deploy("DatasetRegistry", committee.address, address("admin")))
