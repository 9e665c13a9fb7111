"""Signed messages as they travel: kind, struct, signer, signatures, and the call that each becomes on chain.

A message proves its own signer, so whoever carries it (an operator, a custodian, its own author) can add
nothing and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from marketplace.vocabulary import address
from marketplace.wire.eip712 import MOST_SIGNATURE, SignedStruct
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
    Wake,
)

Envelope = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """How one kind of message goes on chain."""

    struct: type[SignedStruct]
    contract: str
    function: str
    arguments: Callable[[SignedStruct, Envelope], tuple[Any, ...]]

    @property
    def names_signer(self) -> bool:
        """Whether a guardian may sign it too, so that it has to say who did."""
        return self.arguments is _by_signer


@dataclass(frozen=True)
class Message:
    """One signed message as uploaded: its kind, struct, signer and signature(s)."""

    kind: str
    struct: SignedStruct
    envelope: Envelope

    @property
    def contract(self) -> str:
        """The contract that reads it."""
        return KINDS[self.kind].contract

    def call(self) -> tuple[str, tuple[Any, ...]]:
        """Function and arguments that put it on chain. Raises `Refusal` (malformed_message)."""
        kind = KINDS[self.kind]
        return kind.function, kind.arguments(self.struct, self.envelope)

    @property
    def subject(self) -> str:
        """The address that it is about: a patient's, an account's, or the one that is moved from."""
        document = self.struct.to_json()
        return str(next(document[name] for name in SUBJECTS if name in document))

    def signatures(self) -> list[tuple[str, bytes]]:
        """Each signer that the contract asks for, with the signature. Raises as `call`."""
        signature = _bytes(self.envelope, "signature")
        if KINDS[self.kind].names_signer:
            return [(_address(self.envelope, "signer"), signature)]
        if isinstance(self.struct, Rotation):
            moved_to = (self.struct.to, _bytes(self.envelope, "signature_to"))
            return [(self.subject, signature), moved_to]
        return [(self.subject, signature)]


def _by_signer(struct: SignedStruct, envelope: Envelope) -> tuple[Any, ...]:
    return struct.abi_tuple(), _address(envelope, "signer"), _bytes(envelope, "signature")


def _by_subject(struct: SignedStruct, envelope: Envelope) -> tuple[Any, ...]:
    return struct.abi_tuple(), _bytes(envelope, "signature")


def _by_both(struct: SignedStruct, envelope: Envelope) -> tuple[Any, ...]:
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
SUBJECTS: Final = ("patient", "account", "from")
"""What a struct calls the address that it is about."""
_ENVELOPE = {"kind", "message", "signer", "signature", "signature_to"}


def parse_message(raw: Any, field: str) -> Message:
    """One uploaded message: `{kind, message, signer?, signature, signature_to?}`.

    Raises:
        Refusal: `malformed_message`, naming the field.
    """
    if not isinstance(raw, Mapping):
        raise malformed(field, "must be an object")
    unknown = sorted(set(map(str, raw)) - _ENVELOPE)
    if unknown:
        raise malformed(f"{field}.{unknown[0][:40]}", "is unknown")
    kind = KINDS.get(str(raw.get("kind")))
    if kind is None:
        raise malformed(f"{field}.kind", f"must be one of {', '.join(KINDS)}")
    struct = kind.struct.from_json(raw.get("message"), f"{field}.message.")
    message = Message(str(raw["kind"]), struct, raw)
    message.call()  # refuses a missing signer or signature before anything is sent
    return message


def _address(envelope: Envelope, name: str) -> str:
    value = envelope.get(name)
    if not isinstance(value, str):
        raise malformed(name, "is missing")
    return address(value, name)


def _bytes(envelope: Envelope, name: str) -> bytes:
    value = envelope.get(name)
    if not isinstance(value, str) or not value.startswith("0x"):
        raise malformed(name, "must be 0x and lower-case hex digits")
    if len(value) > 2 + 2 * MOST_SIGNATURE:
        raise malformed(name, f"has more than {MOST_SIGNATURE} bytes")
    try:
        return bytes.fromhex(value[2:])
    except ValueError:
        raise malformed(name, "must be 0x and lower-case hex digits") from None
