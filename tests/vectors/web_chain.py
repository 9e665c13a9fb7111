"""Vectors of what goes on chain and comes from it: calls, transactions, permits, delivered results."""

from __future__ import annotations

from functools import partial
from typing import Any

from eth_account import Account
from eth_utils.crypto import keccak

from marketplace.chain.artifacts import load as artifact
from marketplace.chain.sender import call_data
from marketplace.wire import delivery
from marketplace.wire.eip712 import sign
from marketplace.wire.hpke import SecretKey
from marketplace.wire.structs import Domain, Permit
from tests.vectors import generate
from tests.vectors.tagging import hexed, outcome, seeded, tag
from tests.vectors.web_signing import CHAIN, CONTRACTS, KEY, NOW
from tools.webwords import FUNCTIONS


def vectors() -> dict[str, Any]:
    return {
        "key": hexed(KEY),
        "calls": [_call(contract, name) for contract, names in FUNCTIONS.items() for name in names],
        "transactions": [_transaction(each) for each in TRANSACTIONS],
        "permits": [_permit("Usufruct Test Euro", "1"), _permit("USD Coin", "2")],
        "deliveries": _deliveries(),
    }


def _call(contract: str, name: str) -> dict[str, Any]:
    entry = artifact(contract).functions[name]
    values = [_sample(each, f"{name}.{i}") for i, each in enumerate(entry.inputs)]
    return {
        "call": f"{contract}.{name}",
        "values": tag(values),
        "data": hexed(call_data(contract, name, *values)),
    }


def _sample(parameter: Any, seed: str) -> Any:
    written, raw = parameter["type"], keccak(text=seed)
    if written.endswith("[]"):
        item = {**parameter, "type": written[:-2]}
        return [_sample(item, f"{seed}.{i}") for i in range(2)]
    if written == "tuple":
        return tuple(_sample(each, f"{seed}.{each['name']}") for each in parameter["components"])
    if written.startswith("uint"):
        return int.from_bytes(raw, "big") % 2 ** int(written[4:])
    if written == "address":
        return Account.from_key(raw).address
    if written == "bool":
        return True
    if written in ("string", "bytes"):
        return seed if written == "string" else raw * 3
    return raw[: int(written[5:])]


TRANSACTIONS: tuple[tuple[int, int, int, int, int, bytes], ...] = (
    (0, 0, 7, 21_000, 0, b""),
    (1, 1, 10**9, 21_000, 10**18, b"\x01"),
    (127, 128, 255, 256, 127, b"\x80"),
    (128, 2**40, 2**41, 2**24, 128, b"x" * 55),
    (2**32, 2, 3, 10**7, 1, b"x" * 56),
    (5, 2, 3, 10**7, 2**255, b"y" * 70_000),
)
"""nonce, maxPriorityFeePerGas, maxFeePerGas, gas, value, data: each at a bound of RLP's lengths."""
NAMES = ("nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "value", "data")


def _transaction(listed: tuple[int, int, int, int, int, bytes]) -> dict[str, Any]:
    given: dict[str, Any] = dict(zip(NAMES, listed, strict=True))
    fields = {**given, "chainId": CHAIN, "to": CONTRACTS["ResearchMarket"]}
    done = Account.sign_transaction({**fields, "type": 2}, KEY)
    big = len(given["data"]) > 1_000
    return {
        "fields": tag(
            {name: value for name, value in fields.items() if not (big and name == "data")}
        )["o"],
        "repeated": [given["data"][0], len(given["data"])] if big else None,
        "raw_hash": hexed(keccak(done.raw_transaction)),
        "raw": None if big else hexed(done.raw_transaction),
        "hash": hexed(done.hash),
        "from": Account.from_key(KEY).address,
    }


def _permit(name: str, version: str) -> dict[str, Any]:
    token = CONTRACTS["DatasetRegistry"]
    domain = Domain(name, version, CHAIN, token)
    values = Permit(Account.from_key(KEY).address, CONTRACTS["ResearchMarket"], 10**30, 4, NOW)
    signature = sign(values, domain, KEY)
    return {
        "told": [{"name": "Another", "version": "1"}, {"name": name, "version": version}],
        "token": token,
        "separator": hexed(domain.separator()),
        "spender": values.spender,
        "value": str(values.value),
        "nonce": str(values.nonce),
        "deadline": str(values.deadline),
        "permit": tag(
            [values.value, values.deadline, signature[64], signature[:32], signature[32:64]]
        ),
    }


def _deliveries() -> list[dict[str, Any]]:
    where = delivery.DeliveryContext(CHAIN, CONTRACTS["ResearchMarket"], seeded("request"))
    secret = seeded("researcher")
    salt, other = seeded("salt"), seeded("another request")
    result = partial(
        delivery.encode_result, analysis="mean.v1", parameters={"v": "\u00e4"}, cohort_size=20
    )
    texts = (
        *(
            result(where.request, noised={"sum": "5"}),
            result(other, noised={}),
            b'{"a": 1}',
            b"null",
            b"",
        ),
        *(
            b'{"request":"0x' + where.request.hex().encode() + b'","schema":"usufruct-result/2"}',
            b"[1]",
        ),
    )
    return [_delivery(where, secret, salt, text, i) for i, text in enumerate(texts)]


def _delivery(
    where: delivery.DeliveryContext, secret: bytes, salt: bytes, text: bytes, number: int
) -> dict[str, Any]:
    to, drawn = generate.public(secret), seeded(f"delivery.{number}")
    sealed = generate.hpke_seal(salt + text, to, where.info(), drawn)

    def opened() -> bytes:
        return delivery.open_result(sealed, SecretKey(secret), where).result

    return {
        "market": where.market,
        "request": hexed(where.request),
        "secret": hexed(secret),
        "sealed": hexed(sealed),
        "info": hexed(where.info()),
        "result_hash": hexed(delivery.result_hash(salt, text)),
        "delivery_hash": hexed(delivery.delivery_hash(sealed)),
        **outcome(opened),
    }
