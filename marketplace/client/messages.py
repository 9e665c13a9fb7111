"""What patients, their guardians and researchers sign: EIP-712 messages that anybody may carry to the chain.

`patient` is who it is about, where the key is that of a guardian; without it, the key is the patient's own.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from eth_account import Account

from marketplace.chain.adapter import Manifest
from marketplace.errors import Refusal
from marketplace.vocabulary import address
from marketplace.wire.eip712 import SignedStruct, SigningKey, sign
from marketplace.wire.http import to_hex
from marketplace.wire.messages import KINDS
from marketplace.wire.solidity import ZERO_ADDRESS
from marketplace.wire.structs import (
    CreditWithdrawal,
    EarningsWithdrawal,
    Erasure,
    Grant,
    Guardianship,
    Rest,
    Revocation,
    Rotation,
    Wake,
)

MESSAGE_LIFE = 3_600
"""Seconds within which a signed message must be on chain."""
REVOCATION_REACH = 256
"""How far above the current sequence a revocation reaches at least, so that no grant that somebody holds
back can outrun it."""
REVOCATION_SPREAD = 1 << 20
"""By up to how much farther it reaches, at random. An operator may tell any sequence, and so have a grant
signed for one that is yet to come; were the reach known, it would be the one right after the revocation."""
GUARDIANS_REACH = 1
"""How far a guardian's reaches: past one grant under way. The contract raises the sequence by one for it, and
takes the same signature again as long as it is not below the sequence: anybody could repeat one that reaches
farther, step by step, to end later grants or to arrive where a grant that is held back fits."""
HIGHEST_SEQUENCE = 2**32 - 1
HIGHEST_TOLD = 1 << 30
"""No honest sequence gets there: it would take 2,000 revocations. A revocation that is told a lower one never
names a higher one: the contract takes grants for ever only as long as the last sequence is not named."""
HIGHEST_PLAUSIBLE = 1 << 31
"""Of whatever else is signed for a sequence that somebody told: above what one lie can bring about."""


class Messages:
    """Signs for the contracts of one deployment.

    A consent's `sequence` above HIGHEST_PLAUSIBLE is refused (`implausible_sequence`), unless it was read
    from the chain through a node of one's own (`own_node`). A revocation is signed whatever the sequence
    is, since a patient whom somebody had sign a high number before must still be able to revoke; beyond
    HIGHEST_TOLD it reaches no farther than it takes.
    """

    @property
    def manifest(self) -> Manifest:
        """The deployment that is signed for."""
        raise NotImplementedError

    def message(self, kind: str, struct: SignedStruct, key: SigningKey) -> dict[str, Any]:
        """A signed message of a kind, ready for whoever carries it."""
        way = KINDS[kind]
        signature = sign(struct, self.manifest.domain(way.contract), key)
        entry = {"kind": kind, "message": struct.to_json(), "signature": to_hex(signature)}
        return entry | {"signer": account_of(key)} if way.names_signer else entry

    def grant_message(
        self,
        key: SigningKey,
        class_: Mapping[str, Any],
        cap: int,
        expiry: int,
        sequence: int,
        patient: str | None = None,
        *,
        own_node: bool = False,
    ) -> dict[str, Any]:
        """Consent to one class (`class` and `definition` in hex).

        Args:
            cap: lifetime budget of the record, nano-rho.
            expiry: unix seconds.
            sequence: exactly one above the consent's current one.

        Raises:
            Refusal: `implausible_sequence`.
        """
        _require_plausible(sequence - 1, own_node)
        class_id = bytes.fromhex(class_["class"][2:])
        grant = Grant(
            patient=_patient(key, patient),
            dataset=class_id[:30] + bytes(2),
            class_=class_id,
            definition=bytes.fromhex(class_["definition"][2:]),
            cap=cap,
            expiry=expiry,
            sequence=sequence,
            deadline=deadline(),
        )
        return self.message("grant", grant, key)

    def revocation_message(
        self,
        key: SigningKey,
        dataset: bytes,
        sequence: int,
        patient: str | None = None,
        *,
        own_node: bool = False,
    ) -> dict[str, Any]:
        """Ends everything granted so far; a patient's own also what is not on chain yet, whatever sequence it
        was signed for: of a grant for one that an operator made up, it leaves a chance of one in
        `REVOCATION_SPREAD`.

        Raises:
            Refusal: `implausible_sequence` for what is no sequence.
        """
        if not 0 <= sequence <= HIGHEST_SEQUENCE:
            raise _implausible()
        who = _patient(key, patient)
        reach = REVOCATION_REACH + secrets.randbelow(REVOCATION_SPREAD)
        reach = reach if who == account_of(key) else GUARDIANS_REACH
        ended = Revocation(who, dataset, _named(sequence, reach, own_node))
        return self.message("revocation", ended, key)

    def rest_message(
        self,
        key: SigningKey,
        dataset: bytes,
        sequence: int,
        patient: str | None = None,
        *,
        own_node: bool = False,
    ) -> dict[str, Any]:
        """Takes the consent out of cohorts until its patient wakes it.

        Raises:
            Refusal: `implausible_sequence`.
        """
        _require_plausible(sequence, own_node)
        who = _patient(key, patient)
        return self.message("rest", Rest(who, dataset, sequence, fresh_nonce(), deadline()), key)

    def wake_message(
        self,
        key: SigningKey,
        dataset: bytes,
        sequence: int,
        patient: str | None = None,
        *,
        own_node: bool = False,
    ) -> dict[str, Any]:
        """Brings a resting consent back.

        Raises:
            Refusal: `implausible_sequence`.
        """
        _require_plausible(sequence, own_node)
        who = _patient(key, patient)
        return self.message("wake", Wake(who, dataset, sequence, fresh_nonce(), deadline()), key)

    def guardianship_message(
        self, key: SigningKey, dataset: bytes, guardian: str, expiry: int, may_grant: bool
    ) -> dict[str, Any]:
        """Appoints a guardian for one dataset until `expiry` (unix seconds), in place of any other."""
        appointed = Guardianship(
            account_of(key),
            dataset,
            address(guardian, "guardian"),
            expiry,
            may_grant,
            fresh_nonce(),
            deadline(),
        )
        return self.message("guardianship", appointed, key)

    def dismissal_message(self, key: SigningKey, dataset: bytes) -> dict[str, Any]:
        """Dismisses the guardian of one dataset."""
        return self.guardianship_message(key, dataset, ZERO_ADDRESS, 0, False)

    def rotation_message(
        self, key: SigningKey, new_key: SigningKey, dataset: bytes
    ) -> dict[str, Any]:
        """Moves record, consent, earnings and lifetime spend to another address; both keys sign.

        The guardian does not move along.
        """
        rotation = Rotation(dataset, account_of(key), account_of(new_key), deadline())
        domain = self.manifest.domain("ConsentRegistry")
        by_new_key = to_hex(sign(rotation, domain, new_key))
        return self.message("rotation", rotation, key) | {"signature_to": by_new_key}

    def erasure_message(self, key: SigningKey, dataset: bytes, version: int) -> dict[str, Any]:
        """Revokes, and has custodians destroy their shares. `version` is the last one attested."""
        return self.message("erasure", Erasure(account_of(key), dataset, version), key)

    def withdrawal_message(self, key: SigningKey, dataset: bytes, to: str) -> dict[str, Any]:
        """Pays all of a patient's earnings of one dataset to an address."""
        withdrawal = EarningsWithdrawal(
            account_of(key), dataset, address(to, "to"), fresh_nonce(), deadline()
        )
        return self.message("earnings_withdrawal", withdrawal, key)

    def credit_message(self, key: SigningKey, to: str) -> dict[str, Any]:
        """Pays an account's whole credit (returned escrow, fees, bonds) to an address."""
        withdrawal = CreditWithdrawal(account_of(key), address(to, "to"), fresh_nonce(), deadline())
        return self.message("credit_withdrawal", withdrawal, key)


def account_of(key: SigningKey) -> str:
    """The address of a key. Raises Refusal (key_file) for 32 bytes that are no key."""
    try:
        return str(Account.from_key(bytes(getattr(key, "key", key))).address)
    except ValueError:
        raise Refusal(
            code="key_file",
            message="The bytes are no signing key: zero, or not below the curve's order.",
            remedy="Use the key file that `usufruct key` made, or make a new one.",
        ) from None


def deadline() -> int:
    """By when a message signed now must be on chain, unix seconds."""
    return int(time.time()) + MESSAGE_LIFE


def fresh_nonce() -> int:
    """A random unordered nonce."""
    return int.from_bytes(secrets.token_bytes(32), "big")


def _require_plausible(current: int, own_node: bool) -> None:
    """Raises Refusal (`implausible_sequence`) for a consent's current sequence that only a lie would name."""
    if not own_node and not 0 <= current <= HIGHEST_PLAUSIBLE:
        raise _implausible()


def _named(sequence: int, reach: int, own_node: bool) -> int:
    """The sequence that a revocation ends: not as far as it reaches where a told one is no honest one."""
    if own_node:
        return min(sequence + reach, HIGHEST_SEQUENCE)
    if sequence < HIGHEST_TOLD:
        return min(sequence + reach, HIGHEST_TOLD)
    return min(sequence + GUARDIANS_REACH, HIGHEST_SEQUENCE)


def _implausible() -> Refusal:
    return Refusal(
        code="implausible_sequence",
        message="This names a sequence that no consent reaches: signed, it could end all grants for ever.",
        remedy="Take no operator's word for it: read it from a node of your own (--node and --manifest), "
        "which signs whatever the sequence is.",
        field="sequence",
    )


def _patient(key: SigningKey, patient: str | None) -> str:
    return account_of(key) if patient is None else address(patient, "patient")
