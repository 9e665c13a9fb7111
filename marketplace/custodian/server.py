"""The custodian's routes. Thin: read the body, ask the service, answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import flask

from marketplace.chain.adapter import Chain, CommitteeView
from marketplace.chain.joint_keys import joint_key_of
from marketplace.custodian.certificates import certificate
from marketplace.custodian.operators import Operators
from marketplace.custodian.service import Custodian
from marketplace.custodian.tallies import OfferedTally
from marketplace.custodian.tally_routes import BESIDE, ROUTES, add_routes
from marketplace.custodian.vault import X25519, Deposit, Held
from marketplace.errors import BadParameter, Refusal
from marketplace.vocabulary import address, unsigned
from marketplace.wire import http
from marketplace.wire.canonical import canonical
from marketplace.wire.custody import Handover
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.header import read_header
from marketplace.wire.http import answer, binary_field, hash_field, hex_field, read_body
from marketplace.wire.paging import LARGEST_DEPOSITS, MOST_DEPOSITS
from marketplace.wire.record import ENVELOPE_BYTES
from marketplace.wire.structs import Erasure, Revocation, Settlement
from marketplace.wire.tally import require_tally
from marketplace.wire.voucher import committee_hash

MOST_RESULT = 128 * 1024
"""Bytes of a sealed result: the market's transaction has to carry it."""
LARGEST_DICTIONARY = 1024 * 1024
"""Bytes: 64 variables and 512 columns take a few hundred kilobytes at most."""
OPTIONAL = frozenset({"holder", "held", "tally"})
"""Of a deposit, besides record and share."""

AT_ONCE = 2
"""Questions of each of three kinds that are worked on at once: together fewer than there are threads."""
RESERVED = 2
"""Of those that look up a cohort: more, for the market's operators alone."""
SERVING = http.THREADS + RESERVED
"""Threads of a custodian."""
NEVER_BEHIND = frozenset({"/revocations", "/erasures"})
"""What a patient can always do: it finds a free thread whatever else is asked."""
TURNING = frozenset({"/turns", "/answers", "/settlements"}) | ROUTES | BESIDE
"""What looks up a cohort, apart from the rest, so that neither keeps the other out."""
LOOKING = frozenset({"/health", "/certificates/<request>"})
"""What is asked before a freeze and at a default, apart from uploads, so that none of those stops either."""
FOR_PAGES: Final[Mapping[str, str]] = {
    "/revocations": "POST",
    "/erasures": "POST",
    "/health": "GET",
}
"""What a page of any origin may ask, and how: so a patient can stop with the operator down. Nothing here
knows cookies, and every message proves its own signer. All else stays closed to pages (CORS protocol)."""
PREFLIGHT_SECONDS = 600
T = TypeVar("T")


def create_app(custodian: Custodian) -> flask.Flask:
    """The WSGI application of one custodian."""
    seat = partial(_seat, custodian)
    app = http.create_app("custodian", custodian.reasons, LARGEST_DEPOSITS, seat)
    _open_to_pages(app)
    _keep_threads_free(app, Operators(custodian.chain, custodian.rules.place))
    add_routes(app, custodian.tally_lane)

    @app.post("/shares")
    def take_share() -> flask.Response:
        body = read_body({"record", "share"}, OPTIONAL)
        return answer(custodian.take_share(_deposit(body)))

    @app.post("/deposits")
    def take_shares() -> flask.Response:
        body = read_body({"deposits"}, limit=LARGEST_DEPOSITS)
        return answer({"outcomes": custodian.take_shares(_listed(body, "deposits", _deposit))})

    @app.post("/tallies")
    def take_tallies() -> flask.Response:
        body = read_body({"records"}, limit=LARGEST_DEPOSITS)
        return answer(
            {"outcomes": custodian.restoring.take_all(_listed(body, "records", _tallied))}
        )

    @app.post("/dictionaries")
    def take_dictionary() -> flask.Response:
        body = read_body({"dictionary"}, limit=LARGEST_DICTIONARY)
        return answer(custodian.take_dictionary(canonical(body["dictionary"])))

    @app.post("/handovers")
    def take_handover() -> flask.Response:
        body = read_body({"handover", "signature"})
        return answer(
            custodian.take_handover(
                Handover.from_json(body["handover"], "handover."),
                hex_field(body["signature"], "signature", MOST_SIGNATURE),
            )
        )

    @app.post("/keygen")
    def take_keygen() -> flask.Response:
        return answer(custodian.take_keygen(read_body({"session", "signature", "round", "said"})))

    @app.post("/turns")
    def turn() -> flask.Response:
        body = read_body({"request"})
        return answer(custodian.turn(hash_field(body["request"], "request")))

    @app.get("/certificates/<request>")
    def certify(request: str) -> flask.Response:
        turned = hash_field(request, "request")
        return answer(certificate(custodian.journal, custodian.rules.place, turned))

    @app.post("/answers")
    def register() -> flask.Response:
        body = read_body({"settlement", "gate_signature"})
        return answer(
            custodian.register(
                Settlement.from_json(body["settlement"], "settlement."),
                hex_field(body["gate_signature"], "gate_signature", MOST_SIGNATURE),
            )
        )

    @app.post("/settlements")
    def settle() -> flask.Response:
        body = read_body({"settlement", "sealed_result", "gate_signature"})
        return answer(
            custodian.settle(
                Settlement.from_json(body["settlement"], "settlement."),
                binary_field(body["sealed_result"], "sealed_result", MOST_RESULT),
                hex_field(body["gate_signature"], "gate_signature", MOST_SIGNATURE),
            )
        )

    @app.post("/revocations")
    def revoke() -> flask.Response:
        body = read_body({"revocation", "signer", "signature"})
        return answer(
            custodian.relay_revocation(
                Revocation.from_json(body["revocation"], "revocation."),
                address(body["signer"], "signer"),
                hex_field(body["signature"], "signature", MOST_SIGNATURE),
            )
        )

    @app.post("/erasures")
    def erase() -> flask.Response:
        body = read_body({"erasure", "signature"})
        return answer(
            custodian.relay_erasure(
                Erasure.from_json(body["erasure"], "erasure."),
                hex_field(body["signature"], "signature", MOST_SIGNATURE),
            )
        )

    return app


def _seat(custodian: Custodian) -> dict[str, Any]:
    """The committee by this custodian's view of the chain, its joint key, and its own place and key in it.

    A browser compares them with what its operator told before it seals to them. Nothing where the node does
    not answer.
    """
    try:
        committee = custodian.chain.committee()
        return _known(custodian.chain, committee) | _own(custodian, committee)
    except Refusal:
        return {}


def _known(chain: Chain, committee: CommitteeView) -> dict[str, Any]:
    epoch, quorum, members = committee.epoch, committee.quorum, committee.members
    keys = [each.keys[X25519] for each in members]
    named = committee_hash(epoch, quorum, [each.signer for each in members], keys)
    joint_key = joint_key_of(chain, int(epoch))
    return {
        "epoch": epoch,
        "quorum": quorum,
        "committee": http.to_hex(named),
        "joint_key": None if joint_key is None else http.to_hex(joint_key),
    }


def _own(custodian: Custodian, committee: CommitteeView) -> dict[str, Any]:
    """Who left says so, and for the others still what the committee is."""
    try:
        secret = custodian.vault.seat_in(committee).secret
    except Refusal as refusal:
        if refusal.code != "wrong_epoch":
            raise
        return {"seated": False}
    return {"seated": True, "place": custodian.rules.place, "key": http.to_hex(secret.public)}


def _open_to_pages(app: flask.Flask) -> None:
    """Answers preflights of `FOR_PAGES` before threads are counted, and lets pages read those answers."""

    @app.before_request
    def preflight() -> flask.Response | None:
        method = FOR_PAGES.get(flask.request.path)
        if flask.request.method != "OPTIONS" or method is None:
            return None
        allowed = flask.Response(status=204)
        allowed.headers["Access-Control-Allow-Origin"] = "*"
        allowed.headers["Access-Control-Allow-Methods"] = method
        allowed.headers["Access-Control-Allow-Headers"] = "content-type"
        allowed.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
        return allowed

    @app.after_request
    def readable(response: flask.Response) -> flask.Response:
        if FOR_PAGES.get(flask.request.path) == flask.request.method:
            response.headers["Access-Control-Allow-Origin"] = "*"
        return response


def _keep_threads_free(app: flask.Flask, operators: Operators) -> None:
    """Refuses (`busy`) beyond `AT_ONCE` of a kind; askers ask again. Nobody waits here holding a thread.

    Where strangers turn as many keys as are turned at once, `RESERVED` more are for the market's operators.
    """
    turning, looking, others = (threading.BoundedSemaphore(AT_ONCE) for _ in range(3))
    reserved = threading.BoundedSemaphore(RESERVED)

    @app.before_request
    def enter() -> None:
        rule = flask.request.url_rule
        route = "" if rule is None else rule.rule
        if route in NEVER_BEHIND:
            return
        slots = turning if route in TURNING else looking if route in LOOKING else others
        if not slots.acquire(blocking=False):
            if slots is not turning or not operators.ask(flask.request):
                raise http.busy()
            slots = reserved
            if not slots.acquire(blocking=False):
                raise http.busy()
        flask.g.slots = slots

    @app.teardown_request
    def leave(_: BaseException | None) -> None:
        slots = flask.g.pop("slots", None)
        if slots is not None:
            slots.release()


def _listed(
    body: Mapping[str, Any], name: str, read: Callable[[dict[str, Any], str], T]
) -> list[T | Refusal]:
    """Every entry of an upload, or why it cannot be read: one bad entry does not sink the rest."""
    listed = body[name]
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_DEPOSITS:
        raise BadParameter(
            message=f"{name} must be a list of 1 to {MOST_DEPOSITS}.",
            remedy="Send more in several uploads.",
            field=name,
        )
    return [_tried(read, each, f"{name}[{i}]") for i, each in enumerate(listed)]


def _tried(read: Callable[[dict[str, Any], str], T], entry: Any, at: str) -> T | Refusal:
    try:
        return read(entry, at)
    except Refusal as refusal:
        return refusal


def _tallied(body: dict[str, Any], at: str) -> OfferedTally:
    http.require_keys(body, {"record", "holder"}, frozenset({"tally"}), at=at)
    return OfferedTally(
        header=read_header(body["record"]),
        holder=address(str(body["holder"]), "holder"),
        tally=None if "tally" not in body else require_tally(body["tally"]),
    )


def _deposit(body: dict[str, Any], at: str = "") -> Deposit:
    if at:
        http.require_keys(body, {"record", "share"}, OPTIONAL, at=at)
    share = body["share"]
    http.require_keys(share, {"index", "envelope"}, at="share")
    header = read_header(body["record"])
    holder = body.get("holder", header.context.patient)
    return Deposit(
        header=header,
        index=unsigned(share["index"], 8, "share.index"),
        envelope=binary_field(share["envelope"], "share.envelope", ENVELOPE_BYTES),
        holder=address(str(holder), "holder"),
        held=None if "held" not in body else _held(body["held"]),
        tally=None if "tally" not in body else require_tally(body["tally"]),
    )


def _held(document: dict[str, Any]) -> Held:
    http.require_keys(document, {"operator", "signature"}, at="held")
    return Held(
        address(str(document["operator"]), "held.operator"),
        hex_field(document["signature"], "held.signature", MOST_SIGNATURE),
    )
