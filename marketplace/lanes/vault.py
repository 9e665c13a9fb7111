"""The vault lane: the drawn gate opens the cohort's records in memory and answers with noise.

The operator only carries: ciphertexts to the gate, and the gate's sealed, signed answer back. It cannot
open either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.errors import Refusal
from marketplace.lanes.heads import Head, heads_of, unreadable
from marketplace.peers import Peer
from marketplace.records import RecordStore
from marketplace.stages import Computed, Sealed
from marketplace.vocabulary import unsigned
from marketplace.wire.delivery import MOST_RESULT
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.feldman import MOST_CUSTODIANS
from marketplace.wire.http import binary_field, hash_field, hex_field, to_base64, to_hex
from marketplace.wire.http_client import SMALL_ANSWER
from marketplace.wire.structs import GateKey, require_signed

RECORDS_PER_PAGE = 500
"""Ciphertexts sent to the gate at once: a few hundred kilobytes."""


class GateUnknown(Refusal):
    """The chain drew a gate whose address this operator has no URL for."""

    CODE = "gate_unknown"


@dataclass(frozen=True)
class Vault:
    """Where the gates answer, and where the ciphertexts lie."""

    chain: Chain
    gates: Mapping[str, Peer]
    records: RecordStore

    def gate(self, address: str) -> Peer:
        """The peer of a gate's address. Raises GateUnknown."""
        peer = self.gates.get(address.lower())
        if peer is None:
            raise GateUnknown(
                message=f"Gate {address} was drawn, and no URL is configured for it.",
                remedy="Add it under `gates` in the operator's configuration and start again, or wait "
                "for the gate window to pass, after which another one is drawn.",
                facts={"gate": address},
            )
        return peer

    def key(
        self, sealed: Sealed, parameters: Mapping[str, Any], dictionary: Dictionary
    ) -> tuple[bytes, bytes]:
        """The gate's X25519 key for this request, and its signature over it, by the gate's own key.

        The market would also take the word of code at the gate's address (ERC-1271), which may say yes
        until a transaction depends on it. A gate is a key: by that alone its answer is released.

        Raises:
            GateUnknown, PeerUnreachable, Refusal: the gate's own, or `gate_answer_unreadable`.
            BadSignature: not this gate's, for this request and cohort.
        """
        body = _asked(sealed, parameters, dictionary)
        answer = self.gate(sealed.gate).post("/keys", body, most=SMALL_ANSWER)
        key = hash_field(answer.get("key"), "key")
        signature = hex_field(answer.get("signature"), "signature", MOST_SIGNATURE)
        struct = GateKey(sealed.request, sealed.root, key)
        require_signed(struct, self.chain.domain("ResearchMarket"), signature, sealed.gate)
        return key, signature

    def compute(
        self, sealed: Sealed, parameters: Mapping[str, Any], dictionary: Dictionary
    ) -> tuple[Computed, list[Head]]:
        """Has the gate compute the request. Repeating it brings the same bytes.

        Returns:
            The gate's answer, and the custodians' signed journal heads to anchor.

        Raises:
            GateUnknown, PeerUnreachable, Refusal: the gate's own, or `gate_answer_unreadable`. BadParameter.
        """
        gate = self.gate(sealed.gate)
        request = to_hex(sealed.request)
        for page in self._pages(sealed):
            gate.post(f"/computations/{request}/records", {"records": page}, most=SMALL_ANSWER)
        answer = gate.post("/computations", _asked(sealed, parameters, dictionary))
        settlement = answer.get("settlement")
        stated = answer.get("stated")
        if not isinstance(settlement, dict):
            raise unreadable("settlement")
        if not isinstance(stated, dict):
            raise unreadable("stated")
        computed = Computed(
            sealed,
            settlement,
            binary_field(answer.get("sealed_result"), "sealed_result", MOST_RESULT),
            hex_field(answer.get("gate_signature"), "gate_signature", MOST_SIGNATURE),
            stated,
            _noted(answer.get("signatures", [])),
        )
        return computed, heads_of(answer.get("turns", []), sealed.epoch)

    def _pages(self, sealed: Sealed) -> Sequence[list[dict[str, Any]]]:
        """The cohort's ciphertexts in cohort order. The gate refuses to compute without one."""
        cohort = self.chain.sealed_cohort(sealed.request)
        patients = [member.patient for member in cohort.members]
        stored = self.chain.commitments_of(cohort.dataset, patients, cohort.seal_block)
        found = self.records.fetch([each.commitment for each in stored if each.usable])
        entries = [
            {
                "patient": each.patient,
                "box": to_base64(kept.box),
                "key_commitments": kept.key_commitments,
                "leaves": kept.others,
            }
            for each in stored
            if (kept := found.get(each.commitment)) is not None
        ]
        return [
            entries[start : start + RECORDS_PER_PAGE]
            for start in range(0, len(entries), RECORDS_PER_PAGE)
        ]


def _asked(sealed: Sealed, parameters: Mapping[str, Any], dictionary: Dictionary) -> dict[str, Any]:
    return {
        "request": to_hex(sealed.request),
        "parameters": dict(parameters),
        "dictionary": json.loads(dictionary.to_bytes()),
    }


def _noted(listed: Any) -> tuple[tuple[int, bytes], ...]:
    """What custodians signed, by place. Whether it is good, `release` looks at."""
    try:
        given = [(each["place"], each["signature"]) for each in listed]
    except (KeyError, TypeError):
        raise unreadable("signatures") from None
    return tuple(
        (unsigned(place, 8, "place"), hex_field(signature, "signature", MOST_SIGNATURE))
        for place, signature in given[:MOST_CUSTODIANS]
    )
