"""Regenerates the vectors of the vault lane: python -m tests.vectors.generate

HPKE is randomised inside PyCA, so envelopes are made here by an independent reading of RFC 9180
with a fixed ephemeral key; the product must open them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from marketplace.vocabulary import DatasetId, DictionaryHash, address, patient_address
from marketplace.wire import delivery, feldman, record, turn

HERE = Path(__file__).parent
HPKE_INFO = b"usufruct test vector"
KEM_SUITE = b"KEM\x00\x20"


def key(seed: str) -> bytes:
    return hashlib.sha256(seed.encode()).digest()


def public(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    text = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(prk, text + b"\x01", "sha256")[:length]


def hpke_seal(
    text: bytes, to: bytes, info: bytes, ephemeral: bytes, *, aad: bytes = b"", aead: int = 2
) -> bytes:
    """RFC 9180 sections 4.1, 5.1 and 5.2, base mode; aead 1 is AES-128-GCM, 2 AES-256-GCM."""
    secret = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = secret.public_key().public_bytes_raw()
    dh = secret.exchange(X25519PublicKey.from_public_bytes(to))
    prk = extract(KEM_SUITE, b"", b"eae_prk", dh)
    shared = expand(KEM_SUITE, prk, b"shared_secret", enc + to, 32)
    suite = b"HPKE\x00\x20\x00\x01" + aead.to_bytes(2, "big")
    context = b"\x00" + extract(suite, b"", b"psk_id_hash", b"")
    context += extract(suite, b"", b"info_hash", info)
    prk = extract(suite, shared, b"secret", b"")
    content_key = expand(suite, prk, b"key", context, 16 * aead)
    nonce = expand(suite, prk, b"base_nonce", context, 12)
    return enc + AESGCM(content_key).encrypt(nonce, text, aad)


def context() -> record.RecordContext:
    return record.RecordContext(
        chain_id=31337,
        registry=address("0x" + "11" * 20),
        dataset=DatasetId(b"\xd5" * 32),
        patient=patient_address("0x" + "22" * 20),
        dictionary_hash=DictionaryHash(b"\xdd" * 32),
        record_version=1,
    )


def dealing() -> feldman.Dealing:
    return feldman.deal(coefficients(), 3)


def coefficients() -> list[int]:
    return [int.from_bytes(key(f"a{j}"), "big") % feldman.ORDER for j in range(2)]


def sealed_record() -> record.SealedRecord:
    dealt, where = dealing(), context()
    row = b"\x01" + b"\x01" + (142).to_bytes(8, "big")
    box = record.close_box(coefficients()[0], where, row, nonce=key("nonce")[:12])
    leaf = record.record_leaf(where, box, dealt.commitments)
    commitment = record.record_commitment(1, [leaf])
    shares = []
    for s in dealt.shares:
        info = record.share_info(where, commitment, 1, s.index)
        to = public(key(f"custodian{s.index}"))
        sealed = hpke_seal(s.to_bytes(), to, info, key(f"e{s.index}"))
        shares.append(record.SealedShare(s.index, sealed))
    return record.SealedRecord(where, 1, box, dealt.commitments, tuple(shares))


def turn_context() -> turn.TurnContext:
    market = address("0x" + "33" * 20)
    gate = public(key("gate"))
    return turn.TurnContext(31337, market, b"\xee" * 32, b"\xcc" * 32, 1, 2, gate)


def vectors() -> dict[str, object]:
    dealt, sealed, turning = dealing(), sealed_record(), turn_context()
    turn_text = turn.encode_turn([dealt.shares[1], None])
    where = delivery.DeliveryContext(31337, turning.market, turning.request)
    result = delivery.encode_result(turning.request, "mean.v1", {"v": "x"}, 20, {"sum": "5"})
    delivered = hpke_seal(key("salt") + result, public(key("researcher")), where.info(), key("e5"))
    return {
        "feldman": {
            "coefficients": [hex(a) for a in coefficients()],
            "commitments": [c.hex() for c in dealt.commitments],
            "shares": [s.to_bytes().hex() for s in dealt.shares],
        },
        "hpke": {
            "secret": key("gate").hex(),
            "info": HPKE_INFO.hex(),
            "plaintext": b"hello".hex(),
            "envelope": hpke_seal(b"hello", public(key("gate")), HPKE_INFO, key("e0")).hex(),
        },
        "record": {
            "aad": sealed.context.aad().hex(),
            "document": record.dump(sealed).decode(),
            "custodian_secrets": [key(f"custodian{i}").hex() for i in (1, 2, 3)],
        },
        "turn": {
            "info": turning.info().hex(),
            "plaintext": turn_text.hex(),
            "gate_secret": key("gate").hex(),
            "envelope": hpke_seal(turn_text, turning.gate_key, turning.info(), key("e4")).hex(),
        },
        "delivery": {
            "info": where.info().hex(),
            "result": result.decode(),
            "result_hash": delivery.result_hash(key("salt"), result).hex(),
            "researcher_secret": key("researcher").hex(),
            "sealed": delivered.hex(),
            "delivery_hash": delivery.delivery_hash(delivered).hex(),
            "ciphertext_root": delivery.ciphertext_root([sealed.commitment]).hex(),
        },
    }


if __name__ == "__main__":
    for name, vector in vectors().items():
        (HERE / f"{name}.json").write_text(json.dumps(vector, indent=2, sort_keys=True) + "\n")
