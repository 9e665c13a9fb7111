"""The settlement that a custodian signs for what it decrypted in the homomorphic lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from marketplace.chain.counted import FixedNoise
from marketplace.custodian.checks import TurnRefused
from marketplace.custodian.decrypting import Decrypting
from marketplace.custodian.joint_shares import JointShare
from marketplace.custodian.live import Live
from marketplace.custodian.means import Means
from marketplace.custodian.models import SettlementRow
from marketplace.custodian.settling import mismatch, require_equal
from marketplace.wire.delivery import delivery_hash
from marketplace.wire.http import to_hex
from marketplace.wire.outcomes import Act
from marketplace.wire.solidity import ZERO_ADDRESS
from marketplace.wire.structs import HOMOMORPHIC, SETTLEMENT_SCHEMA, Settlement, sign
from marketplace.wire.tallying import encode_sealed, result_hash
from ml.homomorphic.threshold import (
    Partial,
    PartialInvalid,
    Sum,
    combine,
    share_key,
    sums_from_bytes,
    verify_partial,
)


class Signing:
    """One custodian's signatures under answers. Callers see to it that one thread works on a request."""

    def __init__(self, means: Means, decrypting: Decrypting) -> None:
        self._chain = means.chain
        self._journal = means.journal
        self._keys = means.keys
        self._rules = means.rules
        self._joint_shares = means.joint_shares
        self._decrypting = decrypting

    def settle(
        self, settlement: Settlement, sealed_result: bytes, partials: Mapping[int, bytes], act: Act
    ) -> dict[str, Any]:
        """Signs a settlement of what this custodian decrypted, if the sealed result is what a quorum's
        verified partial decryptions combine to.

        Which quorum's makes no difference to what opens, so that another combination of the same sums is
        signed, too: nobody can keep a request from being settled by bringing one first.

        Raises:
            TurnRefused: not_turned, settlement_mismatch naming the field, partial_invalid naming the place.
        """
        live = self._decrypting.requests.find(settlement.request)
        if live.row.partial is None or live.row.aggregate is None or live.row.sums is None:
            raise _not_turned()
        fixed = self._decrypting.final_noise(live)
        expected = self._expected(live, fixed, settlement, sealed_result)
        require_equal(settlement, expected)
        if self._combined(live, fixed, partials) != sealed_result:
            raise mismatch("deliveryHash")
        market = self._chain.domain("ResearchMarket")
        signature = sign(settlement, market, self._keys.signer.secret)
        if self._journal.settlement(settlement.request) is None:
            self._note(settlement, settlement.digest(market), signature)
            act.done("signed")
        return {"place": self._rules.place, "signature": to_hex(signature)}

    def _expected(
        self, live: Live, fixed: FixedNoise, settlement: Settlement, sealed_result: bytes
    ) -> Settlement:
        return replace(
            settlement,
            root=live.row.root,
            epoch=live.row.epoch,
            lane=HOMOMORPHIC,
            schema=SETTLEMENT_SCHEMA,
            ciphertext_root=live.row.ciphertext_root or b"",
            noise=fixed.noise,
            result_hash=result_hash(live.row.aggregate or b""),
            delivery_hash=delivery_hash(sealed_result),
            gate=ZERO_ADDRESS,
        )

    def _combined(self, live: Live, fixed: FixedNoise, partials: Mapping[int, bytes]) -> bytes:
        quorum = live.question.shares.quorum
        if len(partials) != quorum:
            raise _invalid(None, f"exactly {quorum} are combined")
        whole = self._decrypting.noised(live, fixed, sums_from_bytes(live.row.sums or b""))
        share = self._joint_shares.of(live.view.epoch)
        read = {
            place + 1: self._verified(live, share, whole, place, raw)
            for place, raw in partials.items()
        }
        return encode_sealed(combine(read, whole, quorum))

    def _verified(
        self, live: Live, share: JointShare, whole: Sequence[Sum], place: int, raw: bytes
    ) -> Partial:
        context = live.question.session.partial(place, live.row.aggregate or b"")
        try:
            read = Partial.from_bytes(raw, len(whole))
            public = share_key(share.commitments, place + 1)
            verify_partial(read, public, whole, live.question.recipient, context)
        except (PartialInvalid, ValueError) as fault:
            raise _invalid(place, str(fault)) from None
        return read

    def _note(self, settlement: Settlement, digest: bytes, signature: bytes) -> None:
        """The first settlement of a request, in the journal."""
        with self._journal.writing() as session:
            session.add(
                SettlementRow(request=settlement.request, digest=digest, signature=signature)
            )
            body = {"request": to_hex(settlement.request), "digest": to_hex(digest)}
            self._journal.append(session, "settled", body)


def _not_turned() -> TurnRefused:
    return TurnRefused(
        code="not_turned",
        message="This custodian has not decrypted its part for this request.",
        remedy="Ask for its partial decryption first, or settle with those that gave one.",
    )


def _invalid(place: int | None, why: str) -> TurnRefused:
    whose = "The partial decryptions do" if place is None else f"The partial at place {place} does"
    return TurnRefused(
        code="partial_invalid",
        message=f"{whose} not count: {why}.",
        remedy="Go on with the others: any quorum is enough.",
        field="partials",
        facts={} if place is None else {"place": place},
    )
