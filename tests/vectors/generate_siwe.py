"""Regenerates siwe.json: python -m tests.vectors.generate_siwe

Digests and signatures are eth_account's, an implementation of EIP-191 that is not ours. `spoiled` holds
texts that whoever asked for the first of `good` must refuse to sign, and that sign nobody in.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak

from marketplace.vocabulary import Address
from marketplace.wire.siwe import STATEMENT, SignIn

HERE = Path(__file__).parent
KEY = bytes.fromhex("11" * 32)
ACCOUNT = Address(Account.from_key(KEY).address)
OTHER = Account.from_key(bytes.fromhex("22" * 32)).address
ISSUED = 1_790_000_000
FIRST = SignIn(ACCOUNT, "http://127.0.0.1:8000", 31337, "ab" * 32, ISSUED, ISSUED + 600)
GOOD = (
    FIRST,
    SignIn(ACCOUNT, "https://market.example", 1, "Nonce0001", ISSUED, ISSUED + 1),
    SignIn(ACCOUNT, "https://market.example:8443", 2**53 - 1, "0" * 64, 0, 600),
    SignIn(ACCOUNT, "http://[::1]:8000", 100, "z9" * 10, 951_782_400, 951_782_460),
)


def spoiled(of: SignIn = FIRST) -> dict[str, str]:
    """Texts by what is wrong with each, for one who asked for `of`, whose port ends in 0."""
    text, domain = of.text(), of.domain
    first, rest = text.split("\n", 1)
    issued = text.split("Issued At: ")[1].split("\n")[0]
    ends = text.split("Expiration Time: ")[1]
    earlier = replace(of, issued_at=of.issued_at - 3_600, expires_at=of.expires_at - 3_600)
    return {
        "another domain": text.replace(f"{domain} wants", "evil.example wants"),
        "another port in the domain": text.replace(f"{domain} wants", f"{domain[:-1]}1 wants"),
        "a name before the domain": text.replace(f"{domain} wants", f"me@{domain} wants"),
        "another origin": text.replace(f"URI: {of.uri}", "URI: https://evil.example"),
        "a path behind the origin": text.replace(f"{of.uri}\n", f"{of.uri}/wallet\n"),
        "another account": text.replace(of.account, OTHER),
        "an account without its checksum": text.replace(of.account, of.account.lower()),
        "another chain": text.replace("Chain ID: ", "Chain ID: 9"),
        "another version": text.replace("Version: 1", "Version: 2"),
        "another nonce": text.replace(of.nonce, of.nonce[:-1] + "x"),
        "a short nonce": text.replace(of.nonce, of.nonce[:6]),
        "another statement": text.replace(STATEMENT, "Sign in and approve all."),
        "no statement": text.replace(f"{STATEMENT}\n\n", ""),
        "a life over ten minutes": text.replace(ends, _moment(of.expires_at + 1)),
        "a life that is over": earlier.text(),
        "no end": text.rsplit("\n", 1)[0],
        "resources": text + "\nResources:\n- https://evil.example",
        "another line": text + "\nRequest ID: 1",
        "a line break at the end": text + "\n",
        "carriage returns": text.replace("\n", "\r\n"),
        "a space at the end of a line": f"{first} \n{rest}",
        "a date in another form": text.replace(issued, issued.replace("T", " ")),
    }


def vectors() -> dict[str, Any]:
    """The file's content."""
    return {
        "key": "0x" + KEY.hex(),
        "asked": {
            "origin": FIRST.uri,
            "account": ACCOUNT,
            "chain_id": FIRST.chain_id,
            "nonce": FIRST.nonce,
            "now": ISSUED + 5,
        },
        "good": [_good(each) for each in GOOD],
        "spoiled": [{"what": what, "text": text} for what, text in spoiled().items()],
    }


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _good(sign_in: SignIn) -> dict[str, Any]:
    signable = encode_defunct(text=sign_in.text())
    digest = keccak(b"\x19" + signable.version + signable.header + signable.body)
    signature = Account.sign_message(signable, KEY).signature
    return {
        "account": sign_in.account,
        "uri": sign_in.uri,
        "chain_id": sign_in.chain_id,
        "nonce": sign_in.nonce,
        "issued_at": sign_in.issued_at,
        "expires_at": sign_in.expires_at,
        "text": sign_in.text(),
        "digest": "0x" + digest.hex(),
        "signature": "0x" + signature.hex(),
    }


if __name__ == "__main__":
    (HERE / "siwe.json").write_text(json.dumps(vectors(), indent=1) + "\n")
