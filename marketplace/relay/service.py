"""What carries an upload of signed messages: many to a transaction, where one bad entry sinks no other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from marketplace.chain import consents
from marketplace.chain.adapter import Chain, ConsentState
from marketplace.chain.allowance import UnderWay, day_now, under_way
from marketplace.chain.dry_runs import DryRun, Planned
from marketplace.chain.patience import Patience, not_looked_at
from marketplace.chain.sender import BatchOutcome, Sender
from marketplace.chain.wallets import Signers
from marketplace.errors import Refusal
from marketplace.relay.failures import Failures
from marketplace.relay.worth import ENDING, PAYING_OUT, Today, keys_of, patient_of
from marketplace.store import Database
from marketplace.wire.messages import Message, parse_message
from marketplace.wire.structs import Erasure, Guardianship, Revocation

MOST_MESSAGES: Final = 1_000
"""In one upload; the relay cuts them into transactions."""
HELD_ONCE: Final = frozenset({"revocation", "erasure"})
"""Kinds whose signature is good for anybody to send while it is being carried."""

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What became of one message: in which transaction it is on chain, or why it was refused.

    No kind where none could be read.
    """

    kind: str | None
    refusal: Refusal | None
    transaction: bytes | None = None


@dataclass(frozen=True)
class Relay:
    """Carries messages as one account, and counts by the day in the operator's database."""

    chain: Chain
    sender: Sender
    database: Database
    _under_way: UnderWay = field(default_factory=UnderWay)

    def carry_uploaded(self, raw: Sequence[Any]) -> list[Outcome]:
        """As `carry`, for messages as they were uploaded: one that cannot be read does not sink the rest."""
        parsed = [_parsed(each, f"messages[{i}]") for i, each in enumerate(raw)]
        carried = iter(self.carry([each for each in parsed if isinstance(each, Message)]))
        return [
            Outcome(None, each) if isinstance(each, Refusal) else next(carried) for each in parsed
        ]

    def carry(self, messages: Sequence[Message]) -> list[Outcome]:
        """Sends messages to their contracts, in the order given per contract; equal ones once.

        Each is answered for itself. What it costs to refuse is bounded: see `MOST_REFUSED`.

        Raises:
            As `Sender.batch`, of whole transactions; NodeUnreachable, NodeFault.
        """
        return _once(messages, _bytes_of, self._carry_distinct)

    def _carry_distinct(self, messages: Sequence[Message]) -> list[Outcome]:
        # The same message under several signatures that a wallet takes is still one message.
        return _but_refused(
            messages,
            self._hopeless(messages),
            lambda good: _once(good, _said_by, self._carry_good),
        )

    # --- what the chain would refuse, or what would change nothing

    def _hopeless(self, messages: Sequence[Message]) -> list[Refusal | None]:
        """In three looks, each with a patience of its own, so that no bad message sinks one before it."""
        found = self._unfounded(messages)
        pointless, patience = dict[Hashable, Refusal | None](), Patience()
        for place, message in enumerate(messages):
            if found[place] is None:
                found[place] = self._pointless(message, pointless, patience)
        for contract in dict.fromkeys(message.contract for message in messages):
            named = [
                i
                for i, each in enumerate(messages)
                if found[i] is None and each.contract == contract
            ]
            planned = [_planned(messages[i]) for i in named]
            for place, refusal in zip(
                named, DryRun(self.sender, contract, planned).refusals(), strict=True
            ):
                found[place] = refusal
        return found

    def _unfounded(self, messages: Sequence[Message]) -> list[Refusal | None]:
        """What is signed by nobody, or by a wallet that says yes to rehearsals only."""
        signers, failures = Signers(self.chain.node), Failures(self.chain, self.database)
        return [self._forged_one(signers, each) or failures.refusal(each) for each in messages]

    def _forged_one(self, signers: Signers, message: Message) -> Refusal | None:
        domain = self.chain.domain(message.contract)
        for signer, signature in message.signatures():
            forged = signers.forged(message.struct, domain, signature, signer)
            if forged is not None:
                return forged
        return None

    def _pointless(
        self, message: Message, known: dict[Hashable, Refusal | None], patience: Patience
    ) -> Refusal | None:
        """These the contract takes from any account, with a record or without."""
        if not isinstance(message.struct, Revocation | Guardianship | Erasure):
            return None
        about = (message.kind, *patient_of(message))
        if about not in known:
            if patience.is_over:
                return not_looked_at()
            known[about] = self._changes_nothing(message)
            if known[about] is not None:
                patience.lose()
        return known[about]

    def _changes_nothing(self, message: Message) -> Refusal | None:
        if isinstance(message.struct, Revocation):
            return consents.nothing_to_revoke(self.chain, message.struct)
        if isinstance(message.struct, Guardianship):
            return consents.nothing_to_guard(self.chain, message.struct)
        if isinstance(message.struct, Erasure):
            return consents.nothing_to_erase(self.chain, message.struct)
        return None

    # --- what is carried

    def _carry_good(self, messages: Sequence[Message]) -> list[Outcome]:
        held = {
            *(_said_by(each) for each in messages if each.kind in HELD_ONCE),
            *(patient_of(each) for each in messages if each.kind in ENDING),
        }
        with self._under_way.entering(held) as mine:
            refused = [self._is_done(each, mine) for each in messages]
            return _but_refused(messages, refused, lambda left: self._send_counted(left, mine))

    def _is_done(self, message: Message, mine: set[Hashable]) -> Refusal | None:
        """Whether another upload does it at this moment, or did since it was looked at."""
        if message.kind in HELD_ONCE and _said_by(message) not in mine:
            return under_way()
        return self._changes_nothing(message) if message.kind == "erasure" else None

    def _send_counted(self, messages: Sequence[Message], mine: set[Hashable]) -> list[Outcome]:
        day = day_now()
        today, refused = self._decide(day, messages, mine)
        good = [place for place, why in enumerate(refused) if why is None]
        sent: set[int] = set()  # of the good ones
        try:
            return _but_refused(messages, refused, lambda left: self._send(left, sent))
        finally:
            unsent = (place for at, place in enumerate(good) if at not in sent)
            if spent := today.spent_on(unsent):
                with contextlib.suppress(Refusal):  # what became of the messages is to be told
                    self.database.give_back(day, spent)

    def _decide(
        self, day: int, messages: Sequence[Message], mine: set[Hashable]
    ) -> tuple[Today, list[Refusal | None]]:
        """Counts before anything is sent. A database that cannot count holds back nothing that matters."""
        keys = {key for each in messages if each.kind not in PAYING_OUT for key in keys_of(each)}
        ending = {patient_of(each) for each in messages if each.kind in ENDING}
        states = {each: self._state(*each) for each in ending}
        patients = ending & mine

        def decide(counts: dict[tuple[str, str, str], int]) -> tuple[Today, list[Refusal | None]]:
            today = Today(states, patients, counts)
            return today, [today.refusal(each) for each in messages]

        try:
            return self.database.count(day, keys, decide)
        except Refusal as fault:
            today = Today(states, patients, dict.fromkeys(keys, 0), fault)
            return today, [today.refusal(each) for each in messages]

    def _state(self, dataset: str, patient: str) -> ConsentState:
        return self.chain.consent_of(bytes.fromhex(dataset[2:]), patient).state

    def _send(self, messages: Sequence[Message], sent: set[int]) -> list[Outcome]:
        """Adds to `sent`, also where this raises, which of the messages went to a node, or may have gone."""
        outcomes = [Outcome(message.kind, None) for message in messages]
        for contract in dict.fromkeys(message.contract for message in messages):
            places = [i for i, each in enumerate(messages) if each.contract == contract]
            done = BatchOutcome()
            try:
                self.sender.batch(contract, [messages[i].call() for i in places], done=done)
            finally:  # what was paid for by then was paid for, whatever becomes of the rest
                sent |= {places[position] for position in done.offered}
                refused = [done.refused.get(position) for position in range(len(places))]
                Failures(self.chain, self.database).note([messages[i] for i in places], refused)
            for position, place in enumerate(places):
                carried = done.carried_by.get(position)
                transaction = None if carried is None else carried.transaction
                outcomes[place] = Outcome(messages[place].kind, refused[position], transaction)
        return outcomes


def _but_refused(
    messages: Sequence[Message],
    refused: Sequence[Refusal | None],
    act: Callable[[Sequence[Message]], Sequence[Outcome]],
) -> list[Outcome]:
    """Acts on the messages that were not refused, and gives every message its outcome, in order."""
    pairs = list(zip(messages, refused, strict=True))
    acted = iter(act([each for each, why in pairs if why is None]))
    return [next(acted) if why is None else Outcome(each.kind, why) for each, why in pairs]


def _once(
    messages: Sequence[Message],
    same: Callable[[Message], Hashable],
    act: Callable[[Sequence[Message]], Sequence[T]],
) -> list[T]:
    """Acts on the first of the messages that are the same, and gives each of them its outcome."""
    firsts: dict[Hashable, Message] = {}
    for message in messages:
        firsts.setdefault(same(message), message)
    outcomes = dict(zip(firsts, act(list(firsts.values())), strict=True))
    return [outcomes[same(message)] for message in messages]


def _bytes_of(message: Message) -> Hashable:
    return message.kind, message.struct, tuple(message.signatures())


def _said_by(message: Message) -> Hashable:
    return message.kind, message.struct, message.signatures()[0][0]


def _planned(message: Message) -> Planned:
    function, arguments = message.call()
    rests_on_nothing = message.kind == "erasure" or message.kind in PAYING_OUT
    return Planned(function, arguments, None if rests_on_nothing else message.subject)


def _parsed(raw: Any, field_: str) -> Message | Refusal:
    try:
        return parse_message(raw, field_)
    except Refusal as refusal:
        return refusal
