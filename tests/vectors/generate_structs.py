"""Regenerates structs.json and roots.json: python -m tests.vectors.generate_structs

Digests and signatures are eth_account's, an implementation of EIP-712 that is not ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from marketplace.wire import roots
from marketplace.wire.solidity import Kind, SolidityStruct
from marketplace.wire.structs import (
    MESSAGES,
    ClassTerms,
    Domain,
    RequestTerms,
    SignedStruct,
    class_id,
    dataset_id,
)

HERE = Path(__file__).parent
KEY = bytes.fromhex("11" * 32)
SIGNER = Account.from_key(KEY).address
CHAIN = 31337
MARKET = "0x" + "c0" * 20
REGISTRY = "0x" + "d1" * 20
TEXTS = {"method": "POST", "path": "/api/v1/grants?page=2"}


def sample(kind: Kind, name: str, seed: str) -> Any:
    digest = keccak(text=f"{seed}.{name}")
    if kind.item is not None:
        return tuple(sample(kind.item, f"{name}.{position}", seed) for position in range(2))
    if kind.struct is not None:
        return make(kind.struct, f"{seed}.{name}")
    if kind.name.startswith("uint"):
        return int.from_bytes(digest, "big") % 2 ** int(kind.name[4:])
    if kind.name == "address":
        return "0x" + digest[:20].hex()
    if kind.name == "bool":
        return True
    if kind.name == "string":
        return TEXTS[name]
    return digest + digest[:1] if kind.name == "bytes" else digest[: int(kind.name[5:])]


def make(struct: type[SolidityStruct], seed: str) -> Any:
    return struct(**{name: sample(kind, name, seed) for name, kind in struct.kinds().items()})


def message_vector(message: type[SignedStruct]) -> dict[str, Any]:
    domain = Domain(message.DOMAIN or "Usufruct Test Euro", "1", CHAIN, MARKET)
    struct = make(message, message.__name__)
    signable = encode_typed_data(full_message=struct.typed_data(domain))
    digest = keccak(b"\x19" + signable.version + signable.header + signable.body)
    return {
        "type": message.__name__,
        "type_string": message.type_string(),
        "domain": domain.to_json(),
        "message": struct.to_json(),
        "digest": hexed(digest),
        "signature": hexed(bytes(Account.sign_message(signable, KEY).signature)),
    }


def id_vectors() -> dict[str, Any]:
    dataset = dataset_id(CHAIN, REGISTRY, SIGNER, keccak(text="dictionary"), bytes(32))
    terms, offered = make(RequestTerms, "terms"), make(ClassTerms, "class")
    return {
        "registry": REGISTRY,
        "market": MARKET,
        "dataset": hexed(dataset),
        "class_terms": offered.to_json(),
        "request_terms": terms.to_json(),
        "definition": hexed(offered.definition_hash(class_id(dataset, 1))),
        "request": hexed(terms.request_id(CHAIN, MARKET, SIGNER)),
        "class": hexed(class_id(dataset, 1)),
    }


def root_vectors() -> dict[str, Any]:
    dataset = dataset_id(CHAIN, REGISTRY, SIGNER, keccak(text="dictionary"), bytes(32))
    parts = [
        (class_id(dataset, 1), 0, [0, 1, 159, 160, 319, 41000], 41001),
        (class_id(dataset, 1), 1, [5], 6),
        (class_id(dataset, 2), 0, [], 161),
    ]
    sealed = [
        roots.SealedShard(owner, shard, roots.pack_bitmaps(places, used))
        for owner, shard, places, used in parts
    ]
    request = keccak(text="request")
    commitments = [keccak(text=f"c{number}") for number in range(3)]
    return {
        "schema": "usufruct-vectors-roots/1",
        "chain_id": CHAIN,
        "market": MARKET,
        "request": hexed(request),
        "shards": [
            {
                "class": hexed(owner),
                "shard": shard,
                "places": places,
                "used": used,
                "members": each.members,
                "bitmaps_keccak": hexed(keccak(each.bitmaps)),
                "root": hexed(each.root()),
            }
            for (owner, shard, places, used), each in zip(parts, sealed, strict=True)
        ],
        "root": hexed(roots.cohort_root(CHAIN, MARKET, request, [s.root() for s in sealed])),
        "commitments": [hexed(each) for each in commitments],
        "ciphertext_root": hexed(roots.ciphertext_root(commitments)),
    }


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def write(name: str, content: dict[str, Any]) -> None:
    (HERE / name).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    write(
        "structs.json",
        {
            "schema": "usufruct-vectors-structs/1",
            "key": hexed(KEY),
            "signer": SIGNER,
            "messages": [message_vector(each) for each in MESSAGES],
            "ids": id_vectors(),
        },
    )
    write("roots.json", root_vectors())
