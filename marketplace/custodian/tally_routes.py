"""The custodian's routes of the homomorphic lane. Thin: read the body, ask the lane, answer.

Anybody may ask: what is answered shows nothing of a record but noised sums that one researcher can open.
"""

from __future__ import annotations

from typing import Any, Final

import flask

from marketplace.custodian.tally_lane import TallyLane
from marketplace.errors import BadParameter
from marketplace.vocabulary import unsigned
from marketplace.wire.canonical import canonical
from marketplace.wire.delivery import MOST_RESULT
from marketplace.wire.feldman import MOST_CUSTODIANS
from marketplace.wire.http import answer, binary_field, hash_field, read_body, require_keys
from marketplace.wire.structs import Settlement
from marketplace.wire.tallying import Reveal, SumsWord

LARGEST_REVEAL: Final = 4 * 1024 * 1024
"""Bytes of one message: a contribution of 1,024 sums takes up to 2.7 MB in base64."""
LARGEST_SETTLEMENT: Final = 4 * 1024 * 1024
"""16 partial decryptions of 1,024 sums and their combination, in base64: 1.6 MB."""
MOST_PARTIAL: Final = 128 * 1024
ROUTES: Final = frozenset(
    {
        "/noise-commitments",
        "/noise-reveals",
        "/noise-contributions",
        "/noise-sets",
        "/partials",
        "/tally-settlements",
    }
)
"""An answer's messages."""
BESIDE: Final = frozenset({"/missing-records", "/journal-heads"})
"""What a custodian lacks before it can answer, by its own word."""


def add_routes(app: flask.Flask, lane: TallyLane) -> None:
    """Adds `ROUTES` and `BESIDE` to a custodian's application."""
    routes = flask.Blueprint("tallies", __name__)

    @routes.post("/noise-commitments")
    def commit() -> flask.Response:
        body = read_body({"request", "parameters"})
        raw = canonical(body["parameters"])
        return answer(lane.commit(hash_field(body["request"], "request"), raw))

    @routes.post("/noise-reveals")
    def reveal() -> flask.Response:
        body = read_body({"request", "size"}, frozenset({"place"}))
        size = unsigned(body["size"], 8, "size")
        place = _place(body["place"], "place") if "place" in body else None
        return answer(lane.reveal(hash_field(body["request"], "request"), size, place))

    @routes.post("/noise-contributions")
    def hold() -> flask.Response:
        body = read_body({"request", "place", "reveal", "sums"}, limit=LARGEST_REVEAL)
        request, place = hash_field(body["request"], "request"), _place(body["place"], "place")
        word = SumsWord.from_json(body["sums"])
        return answer(lane.hold(request, place, Reveal.from_json(body["reveal"]), word))

    @routes.post("/noise-sets")
    def agree() -> flask.Response:
        body = read_body({"request", "places"})
        return answer(
            lane.agree(hash_field(body["request"], "request"), _places(body["places"], "places"))
        )

    @routes.post("/missing-records")
    def lacking() -> flask.Response:
        body = read_body({"request"})
        return answer(lane.lacking(hash_field(body["request"], "request")))

    @routes.post("/journal-heads")
    def head() -> flask.Response:
        body = read_body({"request"})
        return answer(lane.head(hash_field(body["request"], "request")))

    @routes.post("/partials")
    def partial() -> flask.Response:
        body = read_body({"request"})
        return answer(lane.partial(hash_field(body["request"], "request")))

    @routes.post("/tally-settlements")
    def settle() -> flask.Response:
        body = read_body({"settlement", "sealed_result", "partials"}, limit=LARGEST_SETTLEMENT)
        settlement = Settlement.from_json(body["settlement"], "settlement.")
        sealed = binary_field(body["sealed_result"], "sealed_result", MOST_RESULT)
        return answer(lane.settle(settlement, sealed, _partials(body["partials"])))

    app.register_blueprint(routes)


def _place(value: Any, at: str) -> int:
    place = unsigned(value, 8, at)
    if place >= MOST_CUSTODIANS:
        raise _bad(at, f"is not a place below {MOST_CUSTODIANS}")
    return place


def _places(listed: Any, at: str) -> list[int]:
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_CUSTODIANS:
        raise _bad(at, f"is not a list of 1 to {MOST_CUSTODIANS} places")
    return [_place(each, f"{at}[{i}]") for i, each in enumerate(listed)]


def _partials(listed: Any) -> dict[int, bytes]:
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_CUSTODIANS:
        raise _bad("partials", f"is not a list of 1 to {MOST_CUSTODIANS}")
    found: dict[int, bytes] = {}
    for i, each in enumerate(listed):
        at = f"partials[{i}]"
        require_keys(each, {"place", "partial"}, at=at)
        place = _place(each["place"], f"{at}.place")
        if place in found:
            raise _bad(f"{at}.place", "is there twice")
        found[place] = binary_field(each["partial"], f"{at}.partial", MOST_PARTIAL)
    return found


def _bad(field: str, why: str) -> BadParameter:
    return BadParameter(message=f"{field} {why}.", remedy="Correct the message.", field=field)
