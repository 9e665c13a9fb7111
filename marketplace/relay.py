"""Signed messages carried to the chain, so that patients need no gas and no wallet.

A message proves its own signer, so whoever carries it can add nothing and change nothing. Batches go to
a contract's `batch`, where one bad entry does not sink the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from marketplace.chain.sender import Sender
from marketplace.errors import Refusal
from marketplace.vocabulary import address
from marketplace.wire.solidity import malformed
from marketplace.wire.structs import (
    CreditWithdrawal,
    EarningsWithdrawal,
    Erasure,
    Grant,
    Guardianship,
    Rest,
    Revocation,
    Rotation,
    SignedStruct,
    Wake,
)

MOST_MESSAGES = 1_000
"""In one upload; the relay cuts them into transactions."""


@dataclass(frozen=True)
class Kind:
    """How one kind of message goes on chain."""

    struct: type[SignedStruct]
    contract: str
    function: str
    arguments: Callable[[SignedStruct, dict[str, Any]], tuple[Any, ...]]


@dataclass(frozen=True)
class Message:
    """One signed message as uploaded: its kind, struct, signer and signature(s)."""

    kind: str
    struct: SignedStruct
    envelope: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of one message: on chain, or refused and why."""

    kind: str
    refusal: Refusal | None


def _by_signer(struct: SignedStruct, envelope: dict[str, Any]) -> tuple[Any, ...]:
    return struct.abi_tuple(), _address(envelope, "signer"), _bytes(envelope, "signature")


def _by_subject(struct: SignedStruct, envelope: dict[str, Any]) -> tuple[Any, ...]:
    return struct.abi_tuple(), _bytes(envelope, "signature")


def _by_both(struct: SignedStruct, envelope: dict[str, Any]) -> tuple[Any, ...]:
    return (
        struct.abi_tuple(),
        _bytes(envelope, "signature"),
        _bytes(envelope, "signature_to"),
    )


KINDS: Final[dict[str, Kind]] = {
    "grant": Kind(Grant, "ConsentRegistry", "grantBySig", _by_signer),
    "revocation": Kind(Revocation, "ConsentRegistry", "revokeBySig", _by_signer),
    "rest": Kind(Rest, "ConsentRegistry", "restBySig", _by_signer),
    "wake": Kind(Wake, "ConsentRegistry", "wakeBySig", _by_signer),
    "guardianship": Kind(Guardianship, "ConsentRegistry", "appointGuardianBySig", _by_subject),
    "erasure": Kind(Erasure, "ConsentRegistry", "eraseBySig", _by_subject),
    "rotation": Kind(Rotation, "ConsentRegistry", "rotate", _by_both),
    "earnings_withdrawal": Kind(
        EarningsWithdrawal, "ResearchMarket", "withdrawEarningsBySig", _by_subject
    ),
    "credit_withdrawal": Kind(
        CreditWithdrawal, "ResearchMarket", "withdrawCreditBySig", _by_subject
    ),
}
_ENVELOPE = {"kind", "message", "signer", "signature", "signature_to"}


def parse_message(raw: Any, field: str) -> Message:
    """One uploaded message: `{kind, message, signer?, signature, signature_to?}`.

    Raises:
        Refusal: `malformed_message`, naming the field.
    """
    if not isinstance(raw, dict):
        raise malformed(field, "must be an object")
    unknown = sorted(set(map(str, raw)) - _ENVELOPE)
    if unknown:
        raise malformed(f"{field}.{unknown[0][:40]}", "is unknown")
    kind = KINDS.get(str(raw.get("kind")))
    if kind is None:
        raise malformed(f"{field}.kind", f"must be one of {', '.join(KINDS)}")
    struct = kind.struct.from_json(raw.get("message"), f"{field}.message.")
    message = Message(str(raw["kind"]), struct, raw)
    kind.arguments(struct, raw)  # refuses a missing signer or signature before anything is sent
    return message


def relay(sender: Sender, messages: Sequence[Message]) -> list[Outcome]:
    """Sends messages to their contracts, many to a transaction, in the order given per contract."""
    outcomes: list[Outcome] = [Outcome(message.kind, None) for message in messages]
    for contract in dict.fromkeys(KINDS[message.kind].contract for message in messages):
        places = [i for i, m in enumerate(messages) if KINDS[m.kind].contract == contract]
        calls = [_call(messages[i]) for i in places]
        refused = sender.batch(contract, calls).refused
        for position, place in enumerate(places):
            outcomes[place] = Outcome(messages[place].kind, refused.get(position))
    return outcomes


def _call(message: Message) -> tuple[str, tuple[Any, ...]]:
    kind = KINDS[message.kind]
    return kind.function, kind.arguments(message.struct, message.envelope)


def _address(envelope: dict[str, Any], name: str) -> str:
    value = envelope.get(name)
    if not isinstance(value, str):
        raise malformed(name, "is missing")
    return address(value, name)


def _bytes(envelope: dict[str, Any], name: str) -> bytes:
    value = envelope.get(name)
    if not isinstance(value, str) or not value.startswith("0x"):
        raise malformed(name, "must be 0x and lower-case hex digits")
    try:
        return bytes.fromhex(value[2:])
    except ValueError:
        raise malformed(name, "must be 0x and lower-case hex digits") from None
