"""The last check before an answer leaves: only what passes here can be settled.

The operator cannot open the answer. It holds what the gate signed and what the gate states of the sealed
result in public numbers, and from the chain what was sealed and debited; each of these must fit the others.
Whether the sealed result says the same, its researcher sees on opening it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from marketplace.chain.adapter import Chain, CommitteeView, RequestView
from marketplace.chain.wallets import accepts_signature
from marketplace.errors import Refusal
from marketplace.peers import Peer, ask_all
from marketplace.receipts.format import SIGNATURE_BYTES
from marketplace.stages import Cleared, Computed
from marketplace.wire.delivery import delivery_hash
from marketplace.wire.eip712 import BadSignature
from marketplace.wire.http import hex_field, to_base64, to_hex
from marketplace.wire.http_client import SMALL_ANSWER
from marketplace.wire.solidity import ZERO_HASH
from marketplace.wire.stated import Stated
from marketplace.wire.structs import SETTLEMENT_SCHEMA, Domain, Settlement, require_signed

GATED = "/settlements"
TALLIED = "/tally-settlements"
"""Custodians' routes for the signature of a settlement, in either lane."""


class ReleaseRefused(Refusal):
    """An answer that does not belong to what was sealed, or is not as noised as it was paid for."""

    CODE = "release_refused"


class QuorumMissing(Refusal):
    """Fewer custodians signed than the epoch's quorum."""

    CODE = "quorum_missing"


def clear(
    chain: Chain,
    computed: Computed,
    view: RequestView,
    due: Stated | None,
    custodians: Sequence[Peer],
) -> Cleared:
    """A releasable answer with the signatures of a quorum. Custodian i of `custodians` sits at place i.

    What custodians signed when they noted the answer is what the market asks for. Each is verified here; with
    a quorum of them none is asked again, and so none can take back by silence what it has noted. Places of
    signatures that the market refused all the same (`computed.refused`) are not asked.

    Args:
        due: cost and noise of such an answer about nobody, at what the request debited; None in the
            homomorphic lane, where every custodian works them out itself, and proves its noise.

    Raises:
        As `require_releasable`, or `require_decrypted`; no custodian was asked then.
        QuorumMissing: naming each custodian that did not sign, and why.
    """
    if due is None:
        settlement, path, shown = (
            require_decrypted(chain, computed, view),
            TALLIED,
            _partials(computed),
        )
    else:
        settlement = require_releasable(computed, view, due, chain.domain("ResearchMarket"))
        path, shown = GATED, {"gate_signature": to_hex(computed.gate_signature)}
    committee = chain.committee(view.epoch)
    noted = _noted(chain, computed, settlement, committee)
    if len(noted) >= committee.quorum:
        return Cleared(computed, tuple(sorted(noted.items())[: committee.quorum]))
    body = {
        "settlement": settlement.to_json(),
        "sealed_result": to_base64(computed.sealed_result),
        **shown,
    }

    def signed(place: int) -> bytes:
        if place in noted:
            return noted[place]
        if place in computed.refused:
            raise _refused_by_market()
        said = custodians[place].post(path, body, most=SMALL_ANSWER)
        signature = hex_field(said.get("signature"), "signature", SIGNATURE_BYTES)
        _require_signed(chain, settlement, signature, committee.members[place].signer)
        return signature

    said = ask_all(
        min(len(custodians), len(committee.members)),
        signed,
        lambda good: len(good) >= committee.quorum,
    )
    signatures = sorted((i, each) for i, each in said.items() if isinstance(each, bytes))
    if len(signatures) < committee.quorum:
        raise _unsigned(said, custodians, committee.quorum)
    return Cleared(computed, tuple(signatures[: committee.quorum]))


def _noted(
    chain: Chain, computed: Computed, settlement: Settlement, committee: CommitteeView
) -> dict[int, bytes]:
    """Good signatures by place; what the gate adds to them counts for nothing."""
    signers = {member.place: member.signer for member in committee.members}
    good: dict[int, bytes] = {}
    for place, signature in computed.noted:
        if place in signers:
            with contextlib.suppress(Refusal):  # its custodian is asked anew
                _require_signed(chain, settlement, signature, signers[place])
                good[place] = signature
    return good


def require_releasable(
    computed: Computed, view: RequestView, due: Stated, domain: Domain
) -> Settlement:
    """The settlement of a computed answer, if it is exactly of what the chain sealed, noised and paid for.

    Checks that root, epoch, lane and gate are the chain's, that the sealed result is the one that is
    named, that the drawn gate signed it, that the gate states all the noise that is due, and no higher
    cost than the chain debited from every member.

    Raises:
        ReleaseRefused: `release_refused`, naming the field that differs; `noise_missing`;
            `cost_above_debit`.
        BadSignature: the drawn gate did not sign this settlement.
        BadParameter: what the gate states cannot be read.
    """
    settlement = Settlement.from_json(computed.settlement)
    _require_of_the_seal(settlement, computed, view)
    require_signed(settlement, domain, computed.gate_signature, view.gate)
    stated = Stated.from_json(computed.stated)
    _require_noise(stated, due)
    _require_paid(stated, view)
    return settlement


def require_decrypted(chain: Chain, computed: Computed, view: RequestView) -> Settlement:
    """The settlement of what a quorum of custodians decrypted, if it is of what the chain sealed and noised.

    That the sealed result is what verified partial decryptions combine to, every custodian checks before it
    signs.

    Raises:
        ReleaseRefused: naming the field that differs.
    """
    settlement = Settlement.from_json(computed.settlement)
    _, noise = chain.noise_set(computed.sealed.request)
    _require_of_the_seal(settlement, computed, view, noise)
    return settlement


def _partials(computed: Computed) -> dict[str, Any]:
    return {"partials": computed.evidence.get("partials", [])}


def _require_of_the_seal(
    settlement: Settlement, computed: Computed, view: RequestView, noise: bytes = ZERO_HASH
) -> None:
    """`noise`: zero in the vault lane, whose gate draws it."""
    expected = {
        "request": computed.sealed.request,
        "root": view.root,
        "epoch": view.epoch,
        "lane": view.lane,
        "schema": SETTLEMENT_SCHEMA,
        "noise": noise,
        "gate": view.gate,
        "delivery_hash": delivery_hash(computed.sealed_result),
    }
    for field, value in expected.items():
        if getattr(settlement, field) != value:
            raise _refused(
                ReleaseRefused.CODE, f"The answer's {field} is not the sealed request's.", field
            )


def _require_noise(stated: Stated, due: Stated) -> None:
    """Noise in everything that the analysis puts noise into, none of it weaker than the cost allows."""
    named = [what for what, _ in stated.noise]
    if not named or named != [what for what, _ in due.noise]:
        raise _refused("noise_missing", "The answer does not have the noise that is due.", "noise")
    for (what, _), has, needs in zip(due.noise, stated.scales(), due.scales(), strict=True):
        if has < needs or has == 0:
            message = f"The answer's noise in its {what} is weaker than its cost allows."
            raise _refused("noise_missing", message, "noise")


def _require_paid(stated: Stated, view: RequestView) -> None:
    if not 0 < stated.cost_nano_rho <= view.cost:
        raise _refused(
            "cost_above_debit",
            f"The answer spent {stated.cost_nano_rho} nano-rho; the seal debited {view.cost}.",
            "cost_nano_rho",
        )


def _refused_by_market() -> Refusal:
    return Refusal(
        code="signature_refused",
        message="Its signature passed here, and the market refused it.",
        remedy="Ask its host what its wallet accepts; it is asked again where no quorum is had without it.",
    )


def _refused(code: str, message: str, field: str) -> ReleaseRefused:
    return ReleaseRefused(
        code=code,
        message=message,
        remedy="Nothing was released. Ask the gate's host; the request can still default.",
        field=field,
    )


def _unsigned(
    said: Mapping[int, bytes | Refusal], custodians: Sequence[Peer], quorum: int
) -> QuorumMissing:
    refusals = {place: each for place, each in said.items() if isinstance(each, Refusal)}
    # Not `str`, which names a node's place to whoever runs this: anybody reads what a request waits for.
    named = (
        f"{custodians[place].name}: {why.message} {why.remedy}"
        for place, why in sorted(refusals.items())
    )
    return QuorumMissing(
        message=f"{len(said) - len(refusals)} of the {quorum} custodians needed signed. "
        + " ".join(named),
        remedy="Start the missing custodians; the step is tried again.",
        field="custodians",
    )


def _require_signed(chain: Chain, settlement: Settlement, signature: bytes, signer: str) -> None:
    """As the market judges it: by the custodian's key, or by the contract wallet that sits in its place."""
    domain = chain.domain("ResearchMarket")
    try:
        require_signed(settlement, domain, signature, signer)
    except BadSignature:
        if not accepts_signature(chain.node, signer, settlement.digest(domain), signature):
            raise
