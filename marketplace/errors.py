"""Refusals: every "no" of the market is an exception that carries facts and says what to do.

A refusal never carries a record value, a key or a share: its text and its facts may be logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class Refusal(Exception):
    """A request that was understood and declined.

    `code` is stable and for machines; `message` states the facts; `remedy` says what to do;
    `field` names the input at fault, where there is one; `facts` are public values only.
    """

    CODE: ClassVar[str] = "refused"

    def __init__(
        self,
        *,
        message: str,
        remedy: str,
        code: str | None = None,
        field: str | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        self.code = code or self.CODE
        self.message = message
        self.remedy = remedy
        self.field = field
        self.facts: dict[str, object] = dict(facts or {})
        super().__init__(f"{message} {remedy}")

    def reason(self) -> dict[str, str | None]:
        """Code, message, remedy and field: why a request was or would be refused, as it is kept and shown."""
        return {
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy,
            "field": self.field,
        }


class BadParameter(Refusal):
    """An input outside what its field allows."""

    CODE = "bad_parameter"


class MalformedJson(Refusal):
    """Bytes that are not the JSON this format allows."""

    CODE = "malformed_json"


class BadDictionary(Refusal):
    """A data dictionary that breaks a rule of its schema."""

    CODE = "bad_dictionary"


class BadClassPage(Refusal):
    """A consent class's page that breaks a rule of its schema; `field` is the key at fault."""

    CODE = "bad_class_page"


class RecordUnreadable(Refusal):
    """A sealed record or row that does not open, parse or lie in its domain."""

    CODE = "record_unreadable"


class EnvelopeUnreadable(Refusal):
    """An HPKE envelope that does not open under this key and context, or holds the wrong form."""

    CODE = "envelope_unreadable"


class WrongShare(Refusal):
    """A key share that does not lie on the dealer's committed polynomial."""

    CODE = "wrong_share"


class TooFewShares(Refusal):
    """Fewer good shares of a record key than its quorum."""

    CODE = "too_few_shares"


class MalformedFhir(Refusal):
    """A FHIR bundle that breaks the structure R4 gives it; `field` is the JSON path."""

    CODE = "malformed_fhir"


class WrongUnit(Refusal):
    """A measurement in another unit than the dictionary's."""

    CODE = "wrong_unit"


class OutOfDictionary(Refusal):
    """A value outside the bounds or categories of its dictionary variable. Never says the value."""

    CODE = "out_of_dictionary"
