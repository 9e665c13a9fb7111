"""The one settlement that a custodian signs for a request: what it must be, and its place in the journal."""

from __future__ import annotations

from dataclasses import replace

from marketplace.chain.adapter import Chain
from marketplace.chain.cohort import require_sealed
from marketplace.custodian.checks import Rules, TurnRefused, sealed_request
from marketplace.custodian.journal import Journal
from marketplace.custodian.keys import Keys
from marketplace.custodian.models import SettlementRow
from marketplace.wire.http import to_hex
from marketplace.wire.structs import SETTLEMENT_SCHEMA, VAULT, Settlement, require_signed, sign


def require_answer(
    chain: Chain, journal: Journal, settlement: Settlement, gate_signature: bytes
) -> None:
    """That the drawn gate gave this answer to what was turned here: asked before anything dear.

    Raises:
        TurnRefused (not_turned), NotSealed, BadSignature.
    """
    request = settlement.request
    if journal.turn(request) is None:
        raise TurnRefused(
            code="not_turned",
            message="This custodian did not turn its key for this request.",
            remedy="Ask it to turn first, or settle with those that did.",
        )
    view = chain.request(request)
    require_sealed(request, view)
    require_signed(settlement, chain.domain("ResearchMarket"), gate_signature, view.gate)


def sign_first(
    chain: Chain,
    journal: Journal,
    keys: Keys,
    rules: Rules,
    settlement: Settlement,
    gate_signature: bytes,
) -> SettlementRow:
    """Signs what `require_answer` let pass, and keeps it for ever, if every field is the sealed request's.

    Raises:
        TurnRefused (settlement_mismatch with `field`), BadSignature (of the gate drawn by now), and what
        `sealed_request` raises.
    """
    gate = _require_sealed(chain, rules, settlement)
    require_signed(settlement, chain.domain("ResearchMarket"), gate_signature, gate)
    return _keep(chain, journal, keys, settlement)


def _require_sealed(chain: Chain, rules: Rules, settlement: Settlement) -> str:
    """Every field is the chain's, but for the hashes of the answer. Returns the drawn gate."""
    sealed = sealed_request(chain, settlement.request, rules)
    expected = replace(
        settlement,
        root=sealed.view.root,
        epoch=sealed.view.epoch,
        lane=VAULT,
        schema=SETTLEMENT_SCHEMA,
        ciphertext_root=sealed.ciphertext_root,
        noise=bytes(32),
        gate=sealed.view.gate,
    )
    require_equal(settlement, expected)
    return sealed.view.gate


def _keep(chain: Chain, journal: Journal, keys: Keys, settlement: Settlement) -> SettlementRow:
    market = chain.domain("ResearchMarket")
    digest = settlement.digest(market)
    row = SettlementRow(
        request=settlement.request,
        digest=digest,
        signature=sign(settlement, market, keys.signer.secret),
    )
    with journal.writing() as session:
        session.add(row)
        body = {"request": to_hex(settlement.request), "digest": to_hex(digest)}
        journal.append(session, "settled", body)
    return row


def require_equal(given: Settlement, expected: Settlement) -> None:
    """Raises TurnRefused, naming the first field that is not what the chain and the bytes say."""
    mine = expected.to_json()
    for name, value in given.to_json().items():
        if mine[name] != value:
            raise mismatch(name)


def mismatch(field: str) -> TurnRefused:
    """A settlement of something else than what was sealed and computed."""
    return TurnRefused(
        code="settlement_mismatch",
        message=f"The settlement's {field} is not what this custodian finds.",
        remedy="Settle what was computed for the sealed request, unchanged.",
        field=field,
    )
