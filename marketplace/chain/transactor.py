"""One account's transactions: signed and numbered here, waited for, and pushed on where they are stuck.

A transaction whose fee the chain outgrew is offered anew under its own number, with the same call and a
higher fee. However often that happens, one number is mined once: there is never a second effect, and
whichever of the offers is mined, its outcome is found. What this process gave up waiting for keeps being
pushed by whoever waits behind it, and is waited for again, not repeated, where the same call is sent again.

Several processes may send as one account. They offer equal fees for equal numbers, so that of two first
offers under one number a node keeps one and refuses the other as underpriced. More than that is offered
only for a transaction that the node's pool still holds. One that fell out of it may have lost its number to
another process, whose transaction a higher fee would replace: it is offered like a new one, or not at all.

An account may have a ceiling, a most that it pays for a gas. What would cost more is not sent, and what
waits already is raised to the ceiling and then left to wait. What ends a consent or pays money out has none:
while such a call is waited for, nor has anything of this process that is ahead of it in the line.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
from eth_account import Account
from eth_account.signers.local import LocalAccount

from marketplace.chain import fees, offers
from marketplace.chain.faults import NodeFault, NodeUnreachable
from marketplace.chain.manifest import Manifest
from marketplace.chain.outcome import (
    LARGEST_DATA,
    Receipt,
    outcome_unknown,
    receipt_of,
    too_large,
    why_failed,
)
from marketplace.chain.rpc import CannotPay, Node, NonceTaken, UnknownBlock
from marketplace.errors import Refusal
from marketplace.wire.eip712 import SigningKey

log = structlog.get_logger()

GAS_LIMIT: Final = 16_777_216
"""Of one transaction (EIP-7825)."""
GAS_MARGIN: Final = 1.25
"""Estimates are of the state before; others' transactions may come between."""
NONCE_ATTEMPTS: Final = 20
FIRST_POLL: Final = 0.02  # seconds; doubles up to
LAST_POLL: Final = 0.5


class Transactor:
    """Raw calls and creations, as one account; also before there is a deployment. Safe for threads.

    Args:
        timeout: seconds to wait until a transaction is in a block.
        patience: seconds between two looks at a transaction that is stuck.
        max_fee: the ceiling, wei a gas; None for none.
    """

    def __init__(
        self,
        node: Node,
        chain_id: int,
        key: SigningKey,
        *,
        timeout: float = 120.0,
        patience: float = offers.PATIENCE,
        max_fee: int | None = None,
    ) -> None:
        self._account: LocalAccount = (
            key if isinstance(key, LocalAccount) else Account.from_key(key)
        )
        self.node = node
        self.chain_id = chain_id
        self.timeout = timeout
        self.patience = patience
        self.max_fee = max_fee

    @property
    def address(self) -> str:
        """Checksummed; every transaction is signed by its key and paid by it."""
        return str(self._account.address)

    def transact(
        self,
        to: str | None,
        data: bytes,
        gas: int | None,
        manifest: Manifest | None = None,
        *,
        urgent: bool = False,
    ) -> Receipt:
        """Sends, waits, checks. `to` None creates a contract. Raises: see `Sender.send`.

        Args:
            urgent: no ceiling holds it back, nor what is ahead of it.
        """
        if len(data) > LARGEST_DATA:
            raise too_large(len(data))
        limit = self._estimate(to, data) if gas is None else gas
        with _hurrying(self._line if urgent else None):
            ceiling = None if urgent else self.max_fee
            found = self._await(self._submit(to, data, limit, ceiling))
        if found["status"] != 1:
            refusal = why_failed(self.node, self.address, to, data, found, limit)
            refusal.paid = True
            raise refusal
        return receipt_of(found, manifest)

    def _estimate(self, to: str | None, data: bytes) -> int:
        return with_margin(self.node.estimate_gas(self.address, to, data))

    @property
    def _line(self) -> offers.Line:
        return offers.lines[self.chain_id, self.address]

    @property
    def _ceiling(self) -> int | None:
        """Of what waits already, at the present moment."""
        return None if self._line.urgent else self.max_fee

    def _submit(self, to: str | None, data: bytes, gas: int, ceiling: int | None) -> offers.Offer:
        """Takes the next number; where another process was faster, the one after that."""
        fields: dict[str, Any] = {"chainId": self.chain_id, "value": 0, "data": data, "gas": gas}
        if to is not None:
            fields["to"] = to
        line = self._line
        with line.lock:
            waiting = self._take_up(line, to, data)
            if waiting is not None:
                return waiting
            for attempt in range(NONCE_ATTEMPTS):
                # Fees of this very moment: with older, higher ones it could take another's number.
                offered = fees.first(self.node, ceiling)
                offer = offers.Offer(
                    {**fields, "nonce": self.node.transaction_count(self.address)}, offered
                )
                try:
                    self._hand_over(line, offer)
                except NonceTaken:
                    time.sleep(FIRST_POLL * (attempt + 1))
                else:
                    return offer
        raise NonceTaken(
            message=f"The account {self.address} is used by too many senders at once.",
            remedy="Give every process an account of its own, or try again.",
        )

    def _take_up(self, line: offers.Line, to: str | None, data: bytes) -> offers.Offer | None:
        """The same call, if it was left in the pool: sent beside it, it could happen twice."""
        for offer in [each for each in line.left if each.is_call(to, data)]:
            waits = self._is_waiting(offer)
            line.left.remove(offer)
            if waits:
                return offer
        return None

    def _is_waiting(self, offer: offers.Offer) -> bool:
        """Whether the node's pool holds it, and not another process's transaction of its number."""
        return any(self.node.is_pending(each) for each in reversed(offer.transactions))

    def _hand_over(self, line: offers.Line, offer: offers.Offer) -> None:
        try:
            self._send(offer)
        except NonceTaken:
            raise
        except CannotPay:
            # Not kept, or it would go out later, behind its refusal; unless it is there all the same.
            if not self._may_have(offer):
                raise
        except Refusal as fault:
            # It may have arrived: sent anew under another number, it could happen twice.
            line.left.append(offer)
            if not isinstance(fault, NodeUnreachable):
                raise
            if self._found(offer) is None:
                raise outcome_unknown(offer) from fault
            line.left.remove(offer)

    def _may_have(self, offer: offers.Offer) -> bool:
        """Whether the node has it, in its pool or in a block, or does not say."""
        try:
            return any(self.node.transaction_input(each) is not None for each in offer.transactions)
        except Refusal:
            return True

    def _send(self, offer: offers.Offer) -> None:
        signed = self._account.sign_transaction({**offer.fields, **offer.fees})
        if bytes(signed.hash) not in offer.transactions:
            offer.transactions.append(bytes(signed.hash))
        try:
            self.node.send_raw_transaction(bytes(signed.raw_transaction))
        except CannotPay as refusal:
            raise fees.cannot_pay(self.address, offer.fields["gas"], offer.fees) from refusal

    def _await(self, offer: offers.Offer) -> dict[str, Any]:
        try:
            return self._mined(offer)
        except BaseException:
            # Whatever ended the waiting: forgotten, the same call sent again could happen twice.
            self._line.left.append(offer)
            raise

    def _mined(self, offer: offers.Offer) -> dict[str, Any]:
        deadline = time.monotonic() + self.timeout
        pause = FIRST_POLL
        while (found := self._found(offer)) is None:
            if time.monotonic() > deadline:
                raise outcome_unknown(offer)
            if time.monotonic() > offer.looked + self.patience:
                offer.looked = time.monotonic()
                self._unstick(offer)
            time.sleep(pause)
            pause = min(LAST_POLL, pause * 2)
        return found

    def _found(self, offer: offers.Offer) -> dict[str, Any] | None:
        """The receipt of whichever of its transactions was mined."""
        receipts = (self._look_up(each) for each in reversed(offer.transactions))
        return next((each for each in receipts if each is not None), None)

    def _look_up(self, transaction: bytes) -> dict[str, Any] | None:
        """The receipt, once it is this transaction's and of a block that is on the chain.

        Not known yet where the node fails, or lacks the block: behind a balancer the next question goes to
        another node than the last.
        """
        try:
            found = self.node.receipt(transaction)
            if found is None or bytes(found["transactionHash"]) != transaction:
                return None
            on_chain = self.node.header(int(found["blockNumber"])).hash
            return found if on_chain == bytes(found["blockHash"]) else None
        except (NodeUnreachable, NodeFault, UnknownBlock):
            return None

    def _unstick(self, own: offers.Offer) -> None:
        """Offers the first in line anew, if it is this one, or one that this process left."""
        line = self._line
        with line.lock, _tolerated("stuck_transaction_waits", self.address):
            mined = self.node.transaction_count(self.address, "latest")
            line.left[:] = [each for each in line.left if each.nonce >= mined]
            for offer in (own, *line.left):
                if offer.nonce == mined and self._was_passed_by(offer):
                    self._offer_anew(offer)

    def _was_passed_by(self, offer: offers.Offer) -> bool:
        """Whether blocks went on without it at its present fee."""
        head = self.node.header("latest").number
        if offer.passed_since is None:
            offer.passed_since = head
        return head - offer.passed_since >= offers.RAISE_BLOCKS

    def _offer_anew(self, offer: offers.Offer) -> None:
        """The same call under the same number, for what it costs by now."""
        if len(offer.transactions) > offers.MOST_RAISES:
            return
        if self._is_waiting(offer):
            wanted = offers.raised(offer.fees, self.node.fees())
            dearer = fees.under(wanted, self._ceiling)
            # A node may have refused the last raise: then it is sent again, not taken for a hold.
            in_the_pool = self.node.is_pending(offer.transactions[-1])
            if in_the_pool and not fees.replaces(offer.fees, dearer):
                self._hold(offer)
                return
            offer.fees = dearer
        elif self.node.transaction_count(self.address) == offer.nonce:
            # It fell out of the pool, and nobody took its number.
            offer.fees = fees.first(self.node, self._ceiling)
        else:
            return
        offer.passed_since = offer.held_at = None
        log.warning("fee_raised", account=self.address, nonce=offer.nonce, **offer.fees)
        self._send(offer)

    def _hold(self, offer: offers.Offer) -> None:
        """Leaves it to wait at its fee, and says so once."""
        if offer.held_at is None:
            facts = {"account": self.address, "nonce": offer.nonce, "ceiling_wei": self.max_fee}
            log.warning("fee_ceiling_holds", **facts, **offer.fees)
        offer.held_at = self.max_fee


def with_margin(estimate: int) -> int:
    """The gas to allow a transaction that was estimated to need so much.

    Raises:
        Refusal: `too_much_gas`, more than a transaction may use.
    """
    if estimate > GAS_LIMIT:
        raise Refusal(
            code="too_much_gas",
            message=f"It needs {estimate} gas; a transaction may use {GAS_LIMIT} (EIP-7825).",
            remedy="Split the work over several transactions.",
            facts={"gas": estimate, "limit": GAS_LIMIT},
        )
    return min(GAS_LIMIT, int(estimate * GAS_MARGIN))


@contextmanager
def _hurrying(line: offers.Line | None) -> Iterator[None]:
    """While inside, nothing of a line is held at a ceiling."""
    if line is None:
        yield
        return
    call = object()
    line.urgent.add(call)
    try:
        yield
    finally:
        line.urgent.discard(call)


@contextmanager
def _tolerated(event: str, account: str) -> Iterator[None]:
    """What refuses here is tried again at the next look; the waiting goes on."""
    try:
        yield
    except Refusal as refusal:
        log.warning(event, account=account, code=refusal.code)
