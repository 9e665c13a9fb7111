"""The ways of a signed message to the chain: through the operator, through a custodian, or by oneself.

Nothing that ends consent or pays money out needs the operator: what it will not carry, or what it cannot
because it is down, a node of one's own takes from anybody who can pay the gas. A message proves its own
signer, so it does not matter who that is; but whoever pays is seen on chain beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from marketplace.chain.adapter import Chain
from marketplace.chain.consents import consent_document
from marketplace.chain.rpc import CannotPay
from marketplace.chain.sender import Sender
from marketplace.client.documents import ConsentClass, classes_of
from marketplace.client.marketplace import Marketplace
from marketplace.errors import Refusal
from marketplace.vocabulary import unsigned
from marketplace.wire import http_client
from marketplace.wire.eip712 import SigningKey
from marketplace.wire.http import to_hex
from marketplace.wire.messages import parse_message

RELAY_SECONDS: Final = 120.0
"""Until a custodian has its transaction in a block."""
CARRIED: Final = {"revocation": "/revocations", "erasure": "/erasures"}
"""What custodians carry: whatever ends consent."""
SEQUENCE_BITS: Final = 32
HOST_PAYS: Final = "Its host has to send that account some."
ANOTHER_CUSTODIAN: Final = (
    "Meanwhile, name another custodian (--custodian), or leave --custodian out: then your own account pays, "
    "or the one that --gas-key-file names; without --node, the operator does."
)


class Route(Protocol):
    """Who is asked where things stand, and who carries a message."""

    def consent(self, dataset: bytes, patient: str) -> dict[str, Any]:
        """Consent, budget and earnings, as `consent_document` lays them out."""

    def class_of(self, dataset: bytes, index: int) -> ConsentClass:
        """A dataset's class (index 1, 2, ...) with its terms; `named` is what a grant names."""

    def balance(self, account: str) -> int:
        """Token units of an account."""

    def carry(self, message: Mapping[str, Any]) -> str:
        """Has it on chain when it returns its transaction (hex). Raises Refusal as the contract refuses."""


@dataclass(frozen=True)
class ThroughOperator:
    """Without gas or a node; all it shows is the operator's word."""

    market: Marketplace

    def consent(self, dataset: bytes, patient: str) -> dict[str, Any]:
        """By the operator's word. `sequence`, which is signed over, is a number that the contract can hold.

        Raises:
            BadParameter: it is not; nothing is signed then. Refusals of the operator.
        """
        found = self.market.consent(dataset, patient)
        return found | {"sequence": unsigned(found.get("sequence"), SEQUENCE_BITS, "sequence")}

    def class_of(self, dataset: bytes, index: int) -> ConsentClass:
        """By the operator's word, but for id and definition, which are computed from dataset and terms.

        So it can pass off neither another class nor other terms: the contract takes no grant under them.

        Raises:
            Refusal: `unknown_class`, `class_differs`, `malformed_answer`.
        """
        classes = classes_of(dataset, self.market.dataset_document(dataset))
        if not 1 <= index <= len(classes):
            raise _no_class(len(classes))
        return classes[index - 1]

    def balance(self, account: str) -> int:
        """By the operator's word."""
        return self.market.account(account)["balance"]

    def carry(self, message: Mapping[str, Any]) -> str:
        """The operator pays the gas. The transaction is its word; empty where it names none.

        Raises:
            Refusal: as the contract refuses, or `insufficient_funds`, with who else could carry it.
        """
        with _paid_otherwise(f"{HOST_PAYS} {_or_oneself(message)}"):
            outcome = self.market.relay([message])[0]
            if outcome["outcome"] == "refused":
                raise http_client.declined(outcome)
        return str(outcome.get("transaction", ""))


@dataclass(frozen=True)
class OwnNode:
    """Everything is read from a node of one's own."""

    chain: Chain

    def consent(self, dataset: bytes, patient: str) -> dict[str, Any]:
        """As the chain has it at this moment, also what is not final yet."""
        return consent_document(self.chain, dataset, patient)

    def class_of(self, dataset: bytes, index: int) -> ConsentClass:
        """The definition is recomputed from the published terms, which storage proves.

        Raises:
            Refusal: `unknown_class`. PartialLogs, ForgedLogs.
        """
        classes = self.chain.class_ids(dataset)
        if not 1 <= index <= len(classes):
            raise _no_class(len(classes))
        class_ = classes[index - 1]
        terms = self.chain.class_terms(class_)
        return ConsentClass(
            id=class_,
            index=index,
            definition=terms.definition_hash(class_),
            terms=terms,
            live=sum(shard.live for shard in self.chain.shards(class_)),
        )

    def balance(self, account: str) -> int:
        """At the head, by the token's own contract."""
        return self.chain.balance_of(account)


@dataclass(frozen=True)
class ByOneself(OwnNode):
    """`gas_key` pays for the transaction; any funded account will do."""

    gas_key: SigningKey

    def carry(self, message: Mapping[str, Any]) -> str:
        """Sends it and waits until it is in a block; whoever owns `gas_key` is seen beside it on chain.

        Raises:
            Refusal: as `Sender.send`; `insufficient_funds` says who else could carry it.
        """
        parsed = parse_message(message, "message")
        function, arguments = parsed.call()
        with _paid_otherwise(_or_another(message)):
            receipt = Sender(self.chain, self.gas_key).send(parsed.contract, function, *arguments)
        return to_hex(receipt.transaction)


@dataclass(frozen=True)
class ThroughCustodian(OwnNode):
    """A custodian pays the gas, for what ends consent."""

    url: str

    def carry(self, message: Mapping[str, Any]) -> str:
        """The custodian pays the gas. The transaction is its word; empty where it names none.

        Raises:
            Refusal: `not_carried`, for all but revocations and erasures; as the contract or the custodian
                refuses; `insufficient_funds`, with who else could carry it.
        """
        kind = str(message["kind"])
        if kind not in CARRIED:
            raise Refusal(
                code="not_carried",
                message=f"Custodians carry {' and '.join(CARRIED)}, no {kind}.",
                remedy="Send it through the operator, or by yourself (--node without --custodian).",
                field="custodian",
            )
        given = {"signer", "signature"} & set(message)
        body = {kind: message["message"], **{name: message[name] for name in given}}
        with _paid_otherwise(f"{HOST_PAYS} {ANOTHER_CUSTODIAN}"):
            said = http_client.post(
                self.url,
                CARRIED[kind],
                body,
                timeout=RELAY_SECONDS,
                most=http_client.SMALL_ANSWER,
            )
        return str(said.get("transaction", ""))


@contextmanager
def _paid_otherwise(remedy: str) -> Iterator[None]:
    """Where who carries it cannot pay the gas, the refusal says who else can."""
    try:
        yield
    except Refusal as refusal:
        if refusal.code != CannotPay.CODE:
            raise
        raise Refusal(code=refusal.code, message=refusal.message, remedy=remedy) from None


def _or_another(message: Mapping[str, Any]) -> str:
    """For who pays: what else there is."""
    ways = ["send that account some", "name one that has some (--gas-key-file)"]
    if message["kind"] in CARRIED:
        ways.append("have a custodian carry and pay it (--custodian)")
    return (
        f"Either {', or '.join(ways)}, or leave out --node: then the operator carries and pays it."
    )


def _or_oneself(message: Mapping[str, Any]) -> str:
    """For who had the operator pay."""
    custodian = ", or a custodian (--custodian)" if message["kind"] in CARRIED else ""
    return (
        "Meanwhile, with --node and --manifest, your own account pays, "
        f"or the one that --gas-key-file names{custodian}."
    )


def _no_class(number: int) -> Refusal:
    return Refusal(
        code="unknown_class",
        message=f"The dataset has {number} consent classes, and not this one.",
        remedy="Name one by its index: 1 is the first.",
        field="class",
    )
