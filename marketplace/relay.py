"""Signed messages carried to the chain, so that patients need no gas and no wallet.

Batches go to a contract's `batch`, where one bad entry does not sink the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from marketplace.chain import consents
from marketplace.chain.adapter import Chain, ContractRefusal
from marketplace.chain.sender import ENTRY_GAS, Sender, call_data, chunks
from marketplace.errors import Refusal
from marketplace.wire.messages import Message, parse_message
from marketplace.wire.structs import Revocation

MOST_MESSAGES = 1_000
"""In one upload; the relay cuts them into transactions."""


@dataclass(frozen=True)
class Outcome:
    """What became of one message: in which transaction it is on chain, or why it was refused.

    No kind where none could be read.
    """

    kind: str | None
    refusal: Refusal | None
    transaction: bytes | None = None


def relay_uploaded(chain: Chain, sender: Sender, raw: Sequence[Any]) -> list[Outcome]:
    """The same for messages as they were uploaded: one that cannot be read does not sink the rest."""
    parsed = [_parsed(each, f"messages[{i}]") for i, each in enumerate(raw)]
    relayed = iter(relay(chain, sender, [each for each in parsed if isinstance(each, Message)]))
    return [Outcome(None, each) if isinstance(each, Refusal) else next(relayed) for each in parsed]


def _parsed(raw: Any, field: str) -> Message | Refusal:
    try:
        return parse_message(raw, field)
    except Refusal as refusal:
        return refusal


def relay(chain: Chain, sender: Sender, messages: Sequence[Message]) -> list[Outcome]:
    """Sends messages to their contracts, many to a transaction, in the order given per contract.

    What the contract would refuse anyway is not sent: whoever may upload could otherwise spend the
    relaying account's gas at will.
    """
    outcomes: list[Outcome] = [Outcome(message.kind, None) for message in messages]
    for contract in dict.fromkeys(message.contract for message in messages):
        named = [i for i, message in enumerate(messages) if message.contract == contract]
        places = []
        for place, refusal in zip(
            named, _hopeless(chain, sender, [messages[i] for i in named]), strict=True
        ):
            if refusal is None:
                places.append(place)
            else:
                outcomes[place] = Outcome(messages[place].kind, refusal)
        calls = [messages[i].call() for i in places]
        sent = sender.batch(contract, calls)
        for position, place in enumerate(places):
            carried, refusal = sent.carried_by.get(position), sent.refused.get(position)
            transaction = None if carried is None else carried.transaction
            outcomes[place] = Outcome(messages[place].kind, refusal, transaction)
    return outcomes


def _hopeless(chain: Chain, sender: Sender, messages: Sequence[Message]) -> list[Refusal | None]:
    """Of each message of one contract, why it need not be sent."""
    contract = messages[0].contract
    found: list[Refusal | None] = [_pointless(chain, message) for message in messages]
    calls = [call_data(contract, *_named(message)) for message in messages]
    for places in chunks(calls, ENTRY_GAS):
        if sender.rehearse(contract, "batch", [calls[place] for place in places]) != 0:
            _judge_each(sender, messages, places, found)
    return found


def _judge_each(
    sender: Sender, messages: Sequence[Message], places: Sequence[int], found: list[Refusal | None]
) -> None:
    """By the chain as it is now. What an account says after something good may rest on that, and is sent;
    but never with a signature that is not one."""
    good: set[str] = set()
    for place in places:
        if found[place] is not None:
            continue
        account, refusal = _account(messages[place]), _refusal_of(sender, messages[place])
        if refusal is None:
            good.add(account)
        elif account not in good or refusal.code == "bad_signature":
            found[place] = refusal


def _refusal_of(sender: Sender, message: Message) -> Refusal | None:
    try:
        sender.rehearse(message.contract, *_named(message))
    except ContractRefusal as refusal:
        return refusal
    return None


def _pointless(chain: Chain, message: Message) -> Refusal | None:
    """A revocation is good at any time, so that the contract takes it from any account."""
    if isinstance(message.struct, Revocation):
        return consents.nothing_to_revoke(chain, message.struct)
    return None


def _named(message: Message) -> tuple[Any, ...]:
    function, arguments = message.call()
    return function, *arguments


def _account(message: Message) -> str:
    document = message.struct.to_json()
    return str(next(document[name] for name in ("patient", "account", "from") if name in document))
