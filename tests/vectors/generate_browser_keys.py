"""Regenerates browser_keys.json: python -m tests.vectors.generate_browser_keys

HKDF, scalars and canonical JSON are read anew here from RFC 5869 and the formats' own words; Argon2id and
AES-GCM are PyCA's (the browser's side has others, which must come to the same bytes).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from coincurve import PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

HERE = Path(__file__).parent
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ROOTS = (
    bytes(31) + b"\x01",
    b"\xff" * 32,
    *(hashlib.sha256(b"root %d" % n).digest() for n in range(3)),
)
CHAINS = (1, 31337, 2**53 - 1, 8453, 31337)
NUMBERS = ("1", "P-0001", "\uff21\uff22 12/3", "a.b_c/d-e", "9" * 64)
PASSPHRASE = "\ufb01ve calm otters read \u216b maps"
"""With a ligature and a Roman numeral, which NFKC writes as fi and XII."""


def seeded(*parts: object) -> bytes:
    return hashlib.sha256("|".join(str(each) for each in parts).encode()).digest()


def hkdf(root: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with an empty salt: zeros of the hash's length."""
    prk = hmac.digest(bytes(32), root, "sha256")
    made, block = b"", b""
    for number in range(1, 1 + -(-length // 32)):
        block = hmac.digest(prk, block + info + bytes([number]), "sha256")
        made += block
    return made[:length]


def scalar(root: bytes, info: bytes) -> bytes:
    return (int.from_bytes(hkdf(root, info, 48), "big") % (ORDER - 1) + 1).to_bytes(32, "big")


def address_of(key: bytes) -> str:
    point = PublicKey.from_secret(key).format(compressed=False)
    return str(to_checksum_address(keccak(point[1:])[12:]))


def x25519(secret: bytes) -> dict[str, str]:
    public = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    return {"secret": hexed(secret), "public": hexed(public)}


def derivation(number: int) -> dict[str, Any]:
    root, chain = ROOTS[number], CHAINS[number]
    registry, market = seeded("registry", number)[:20], seeded("market", number)[:20]
    dataset, salt = seeded("dataset", number), seeded("salt", number)
    place = chain.to_bytes(32, "big") + registry + dataset
    person_key = hkdf(root, b"usufruct/person-key/1" + place, 32)
    spelled = NUMBERS[number].replace("\uff21", "a").replace("\uff22", "b").replace(" ", "").lower()
    delivery = b"usufruct/delivery-key/1" + chain.to_bytes(32, "big") + market + salt
    return {
        "root": hexed(root),
        "chain_id": chain,
        "registry": str(to_checksum_address(registry)),
        "market": str(to_checksum_address(market)),
        "dataset": hexed(dataset),
        "salt": hexed(salt),
        "patient_keys": [patient_key(root, place, index) for index in (0, 1, 2**32 - 1)],
        "record_secrets": [record_secret(root, place, version) for version in (1, 2**32 - 1)],
        "delivery": x25519(hkdf(root, delivery, 32)),
        "desk": x25519(hkdf(root, b"usufruct/desk-key/1" + place, 32)),
        "person": {
            "number": NUMBERS[number],
            "spelled": spelled,
            "person": hexed(
                hmac.digest(person_key, b"usufruct/person/1" + spelled.encode(), "sha256")
            ),
        },
    }


def patient_key(root: bytes, place: bytes, index: int) -> dict[str, Any]:
    key = scalar(root, b"usufruct/patient-key/1" + place + index.to_bytes(4, "big"))
    return {"index": index, "key": hexed(key), "address": address_of(key)}


def record_secret(root: bytes, place: bytes, version: int) -> dict[str, Any]:
    patient, nonce = seeded("patient", version)[:20], seeded("nonce", version)[:12]
    info = b"usufruct/record-secret/1" + place + patient + version.to_bytes(4, "big") + nonce
    return {
        "patient": str(to_checksum_address(patient)),
        "version": version,
        "nonce": hexed(nonce),
        "secret": hexed(scalar(root, info)),
    }


# --- key files


def header(**changed: Any) -> dict[str, Any]:
    kdf = {
        "name": "argon2id",
        "memory_kib": 65536,
        "passes": 3,
        "lanes": 1,
        "salt": hexed(seeded("argon")[:16]),
    }
    whole = {
        "schema": "usufruct-keys/1",
        "kdf": kdf,
        "cipher": "AES-256-GCM",
        "hint": "the long one",
    }
    return whole | {"nonce": hexed(seeded("gcm")[:12])} | changed


def keyring() -> dict[str, Any]:
    derived = [derivation(number) for number in (2, 3)]
    known = ("chain_id", "registry", "dataset")
    return {
        "root": hexed(ROOTS[2]),
        "datasets": [
            {name: each[name] for name in known} | {"index": n} for n, each in enumerate(derived)
        ],
        "imported": [{"label": "steward", "key": hexed(seeded("steward"))}],
    }


def stretched(head: dict[str, Any], spelled: str) -> bytes:
    kdf = head["kdf"]
    salt = bytes.fromhex(kdf["salt"][2:])
    stretch = Argon2id(
        salt=salt,
        length=32,
        iterations=kdf["passes"],
        lanes=kdf["lanes"],
        memory_cost=kdf["memory_kib"],
    )
    return stretch.derive(spelled.encode())


def closed(head: dict[str, Any], key: bytes, content: bytes) -> dict[str, Any]:
    nonce = bytes.fromhex(head["nonce"][2:])
    return head | {
        "box": base64.b64encode(AESGCM(key).encrypt(nonce, content, dumped(head))).decode()
    }


def refused(key: bytes) -> list[dict[str, str]]:
    """Files that no side may read, with the code of the refusal and the field it names."""
    good = closed(header(), key, dumped(keyring()))
    kdf = good["kdf"]
    spoiled = [
        ("keys_unreadable", "kdf.memory_kib", good | {"kdf": kdf | {"memory_kib": 1048577}}),
        ("keys_unreadable", "kdf.memory_kib", good | {"kdf": kdf | {"memory_kib": 65535}}),
        ("keys_unreadable", "kdf.passes", good | {"kdf": kdf | {"passes": 11}}),
        ("keys_unreadable", "kdf.passes", good | {"kdf": kdf | {"passes": 2}}),
        ("keys_unreadable", "kdf.lanes", good | {"kdf": kdf | {"lanes": 2}}),
        ("keys_unreadable", "kdf.name", good | {"kdf": kdf | {"name": "argon2i"}}),
        ("keys_unreadable", "kdf.salt", good | {"kdf": kdf | {"salt": kdf["salt"][:-2]}}),
        (
            "keys_unreadable",
            "kdf.salt",
            good | {"kdf": kdf | {"salt": kdf["salt"].upper().replace("X", "x")}},
        ),
        ("keys_unreadable", "kdf", good | {"kdf": kdf | {"secret": ""}}),
        ("keys_unreadable", "nonce", good | {"nonce": good["nonce"] + "00"}),
        ("keys_unreadable", "cipher", good | {"cipher": "AES-128-GCM"}),
        ("keys_unreadable", "schema", good | {"schema": "usufruct-keys/2"}),
        ("keys_unreadable", "$", good | {"more": 1}),
        ("keys_unreadable", "hint", good | {"hint": "x" * 81}),
        ("keys_unreadable", "hint", good | {"hint": "turned \u202earound"}),
        ("keys_unreadable", "box", good | {"box": "AAAA"}),
        ("keys_unreadable", "box", good | {"box": good["box"][:-4] + "===="}),
        ("wrong_passphrase", "passphrase", good | {"hint": "another"}),
        ("wrong_passphrase", "passphrase", good | {"box": "A" + good["box"][1:]}),
    ]
    return [
        {"document": dumped(document).decode(), "code": code, "field": field}
        for code, field, document in [*spoiled, *refused_contents(key)]
    ]


def refused_contents(key: bytes) -> list[tuple[str, str, dict[str, Any]]]:
    """Boxes that open, and hold what no keyring holds."""
    good = keyring()
    first, imported = good["datasets"][0], good["imported"][0]
    contents = [
        ("box.root", good | {"root": good["root"][:-2]}),
        ("box.datasets", good | {"datasets": [first, first]}),
        ("box", good | {"datasets": [first | {"registry": first["registry"].lower()}]}),
        ("box.imported[0]", good | {"imported": [imported | {"key": hexed(bytes(32))}]}),
        ("box", good | {"note": ""}),
    ]
    return [
        ("keys_unreadable", field, closed(header(), key, dumped(content)))
        for field, content in contents
    ]


def vectors() -> dict[str, Any]:
    spelled = "five calm otters read XII maps"
    key = stretched(header(), spelled)
    strong = header(kdf=header()["kdf"] | {"passes": 4})
    return {
        "schema": "usufruct-vectors-browser-keys/1",
        "derived": [derivation(number) for number in range(len(ROOTS))],
        "key_file": {
            "passphrase": PASSPHRASE,
            "spelled": spelled,
            "key": hexed(key),
            "aad": dumped(header()).decode(),
            "keyring": dumped(keyring()).decode(),
            "document": dumped(closed(header(), key, dumped(keyring()))).decode(),
        },
        "other_cost": dumped(
            closed(strong, stretched(strong, spelled), dumped(keyring()))
        ).decode(),
        "refused": refused(key),
        "refused_numbers": ["", " ", "\u00c41", "1\n2", "9" * 65, "\u0661", "1\u200d2"],
        "refused_passphrases": [
            "eleven char",
            "aaaaabbbbbccccc",
            " leading space counts",
            "trailing space counts ",
            "a tab\tis not typed again",
            "long enough " * 100,
        ],
    }


def dumped(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


if __name__ == "__main__":
    (HERE / "browser_keys.json").write_text(json.dumps(vectors(), indent=1) + "\n")
