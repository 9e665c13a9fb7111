"""What custodians say to each other in a key generation: read, and held against who says it.

Custodians read so what they are shown, and whoever carries words reads each before passing it on: a word that
is malformed, signed by another, or of another session would have everybody else refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from marketplace.errors import BadParameter
from marketplace.vocabulary import unsigned
from marketplace.wire import hpke
from marketplace.wire.eip712 import MOST_SIGNATURE, BadSignature, Domain, require_signed
from marketplace.wire.http import (
    binary_field,
    hash_field,
    hex_field,
    require_keys,
    to_base64,
    to_hex,
)
from marketplace.wire.keygen import (
    ANSWER,
    COMMIT,
    COMPLAIN,
    REVEAL,
    Dealt,
    KeygenWord,
    Said,
    Session,
    answer_body,
    complaint_body,
)
from marketplace.wire.structs import sign
from ml.homomorphic.curve import POINT_BYTES, SCALAR_BYTES

KINDS: Final[Mapping[int, str]] = {
    COMMIT: "commits",
    REVEAL: "dealt",
    COMPLAIN: "complaints",
    ANSWER: "answers",
}
"""By round, the key under which its words are shown in later ones."""

MOST_PLACES: Final = 16
MOST_DEALING: Final = MOST_PLACES * POINT_BYTES + 2 * SCALAR_BYTES
MOST_ENVELOPE: Final = SCALAR_BYTES + hpke.OVERHEAD

T = TypeVar("T")
_Read = Callable[[Mapping[str, Any], str], tuple[T, bytes]]
"""From an entry and where it stands, its value and the body that is signed."""


def word(
    session: Session, domain: Domain, secret: bytes, number: int, place: int, body: bytes
) -> dict[str, Any]:
    """The signed part of what a custodian says in a round."""
    signature = sign(KeygenWord(session.id, number, place, body), domain, secret)
    return {"place": place, "body": to_hex(body), "signature": to_hex(signature)}


def dealt_fields(dealt: Dealt) -> dict[str, Any]:
    """What a revealing word carries beside its signed part."""
    return {
        "dealing": to_hex(dealt.dealing),
        "envelopes": [to_base64(each) for each in dealt.envelopes],
    }


def answer_fields(shares: Mapping[int, int]) -> dict[str, Any]:
    """What an answering word carries beside its signed part: a share by holder's place."""
    told = {
        str(place): to_hex(share.to_bytes(SCALAR_BYTES, "big")) for place, share in shares.items()
    }
    return {"shares": told}


@dataclass(frozen=True)
class Words:
    """Reads the words of one session.

    Args:
        dealers, holders: signing addresses by place, as the chain has them.
        domain: of CustodianCommittee.
    """

    session: Session
    dealers: Sequence[str]
    holders: Sequence[str]
    domain: Domain

    def said(self, document: Any) -> Said:
        """All that a message says that others said, each word signed by the member of its place.

        Raises:
            BadParameter, BadSignature: `field` says which word.
        """
        shown = require_keys(document, set(), frozenset(KINDS.values()), at="said")
        return Said(
            self._all(COMMIT, shown, _commit),
            self._all(REVEAL, shown, _dealt),
            self._all(COMPLAIN, shown, self._complaint),
            self._all(ANSWER, shown, _answer),
        )

    def require(self, number: int, place: int, document: Any) -> None:
        """That this is a word of the member at this place, for this round of this session.

        Raises:
            BadParameter, BadSignature, as whoever is shown the word would.
        """
        read: dict[int, _Read[Any]] = {
            COMMIT: _commit,
            REVEAL: _dealt,
            COMPLAIN: self._complaint,
            ANSWER: _answer,
        }
        said, _ = self._one(number, document, "word", read[number])
        if said != place:
            raise _bad("word.place", f"is {said}, and the custodian at place {place} was asked")

    def _all(self, number: int, shown: Mapping[str, Any], read: _Read[T]) -> dict[int, T]:
        kind = KINDS[number]
        listed = shown.get(kind, [])
        if not isinstance(listed, list) or len(listed) > len(self._speakers(number)):
            raise _bad(f"said.{kind}", "must be a list of one entry a member at most")
        found: dict[int, T] = {}
        for i, each in enumerate(listed):
            at = f"said.{kind}[{i}]"
            place, value = self._one(number, each, at, read)
            if place in found:
                raise _bad(f"{at}.place", "is there twice")
            found[place] = value
        return found

    def _one(self, number: int, document: Any, at: str, read: _Read[T]) -> tuple[int, T]:
        keys = {"place", "body", "signature"} | _EXTRA[number]
        entry, speakers = require_keys(document, keys, at=at), self._speakers(number)
        place = unsigned(entry["place"], 8, f"{at}.place")
        if place >= len(speakers):
            raise _bad(f"{at}.place", "is no member's")
        value, body = read(entry, at)
        if hash_field(entry["body"], f"{at}.body") != body:
            raise _bad(f"{at}.body", "is not the hash of what was said")
        self._require_signed(KeygenWord(self.session.id, number, place, body), entry, at, speakers)
        return place, value

    def _require_signed(
        self, struct: KeygenWord, entry: Mapping[str, Any], at: str, speakers: Sequence[str]
    ) -> None:
        field = f"{at}.signature"
        signature = hex_field(entry["signature"], field, MOST_SIGNATURE)
        try:
            require_signed(struct, self.domain, signature, speakers[struct.place])
        except BadSignature as fault:
            raise BadSignature(
                message=f"The word of place {struct.place}: {fault.message}",
                remedy=fault.remedy,
                field=field,
            ) from None

    def _speakers(self, number: int) -> Sequence[str]:
        return self.holders if number == COMPLAIN else self.dealers

    def _complaint(self, entry: Mapping[str, Any], at: str) -> tuple[tuple[int, ...], bytes]:
        listed, field = entry["dealers"], f"{at}.dealers"
        if not isinstance(listed, list) or len(listed) > len(self.dealers):
            raise _bad(field, "must be a list of dealers' places")
        places = tuple(unsigned(each, 8, field) for each in listed)
        if list(places) != sorted(set(places)) or not set(places) <= set(range(len(self.dealers))):
            raise _bad(field, "must be places of dealers, each once, ascending")
        return places, complaint_body(places)


_EXTRA: Final[Mapping[int, frozenset[str]]] = {
    COMMIT: frozenset(),
    REVEAL: frozenset({"dealing", "envelopes"}),
    COMPLAIN: frozenset({"dealers"}),
    ANSWER: frozenset({"shares"}),
}


def _commit(entry: Mapping[str, Any], at: str) -> tuple[bytes, bytes]:
    body = hash_field(entry["body"], f"{at}.body")
    return body, body


def _dealt(entry: Mapping[str, Any], at: str) -> tuple[Dealt, bytes]:
    listed = entry["envelopes"]
    if not isinstance(listed, list) or len(listed) > MOST_PLACES:
        raise _bad(f"{at}.envelopes", f"must be a list of at most {MOST_PLACES}")
    dealt = Dealt(
        hex_field(entry["dealing"], f"{at}.dealing", MOST_DEALING),
        tuple(
            binary_field(each, f"{at}.envelopes[{i}]", MOST_ENVELOPE)
            for i, each in enumerate(listed)
        ),
    )
    return dealt, dealt.body


def _answer(entry: Mapping[str, Any], at: str) -> tuple[dict[int, int], bytes]:
    shares, field = entry["shares"], f"{at}.shares"
    if not isinstance(shares, dict) or not set(shares) <= {str(i) for i in range(MOST_PLACES)}:
        raise _bad(field, "must name shares by the places of holders")
    found = {int(place): _scalar(share, field) for place, share in shares.items()}
    return found, answer_body(found)


def _scalar(share: Any, field: str) -> int:
    return int.from_bytes(hash_field(share, field), "big")


def _bad(field: str, why: str) -> BadParameter:
    return BadParameter(
        message=f"{field} {why}.",
        remedy="Start a new session with what the custodians say now.",
        field=field,
    )
