"""What block 0 holds, and the keys it funds.

The parameters are written with block 0 and checked at every reopening: a store answers for one
chain only, so that signatures made for it can never be replayed on another by mistake.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from eth_account import Account
from eth_account.hdaccount import seed_from_mnemonic
from eth_account.hdaccount.deterministic import HDPath
from eth_utils.exceptions import ValidationError

from marketplace.chain.node.errors import StartRefused

FORK = "prague"  # what solc's cancun output, py-evm 0.12 and anvil all run
BLOCK_GAS_LIMIT = (
    36_000_000  # holds two transactions at EIP-7825's cap; the limit of mainnet in 2025
)
ETHER = 10**18
FAUCET_BALANCE = 1_000_000_000 * ETHER  # wei
ACCOUNT_BALANCE = 10_000 * ETHER  # wei, each account of a mnemonic
MNEMONIC_PATH = "m/44'/60'/0'/0"  # BIP-44 for Ethereum, as wallets and anvil derive it
FAUCET_FILE = "faucet.key"


@dataclass(frozen=True)
class Genesis:
    """Parameters of block 0. ``balances``: checksum address -> wei."""

    chain_id: int
    fork: str
    gas_limit: int
    timestamp: int
    balances: dict[str, int]

    def to_json(self) -> str:
        """The form kept in the store."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Genesis:
        """The inverse of ``to_json``."""
        return cls(**json.loads(text))

    def require_reopens_as(self, chain_id: int, funded: Iterable[str]) -> None:
        """Refuse to serve this store as another chain, or for accounts it never funded.

        Raises ``StartRefused``.
        """
        if chain_id != self.chain_id:
            raise StartRefused(
                f"this store holds chain {self.chain_id}, chain {chain_id} was asked for. "
                f"Start with --chain-id {self.chain_id}, or use another --data folder."
            )
        if self.fork != FORK:
            raise StartRefused(f"this store runs the {self.fork} rules, this program {FORK}'s.")
        strangers = sorted(set(funded) - set(self.balances))
        if strangers:
            raise StartRefused(
                f"block 0 of this store does not fund {', '.join(strangers)}. "
                "Give the key files it was created with, or use another --data folder."
            )


def faucet_address(folder: Path, key_file: Path | None, *, create: bool) -> str | None:
    """Checksum address of the faucet: from ``key_file``, else from ``faucet.key`` in ``folder``.

    With ``create``, a missing ``faucet.key`` is made (32 random bytes as hex, mode 0600); else None
    is returned, since a node needs no key to serve. Raises ``StartRefused`` for a file that is not
    a private key, or that others may read.
    """
    path = key_file or folder / FAUCET_FILE
    if not path.exists():
        if key_file is not None:
            raise StartRefused(f"--faucet-key-file {path} does not exist.")
        if not create:
            return None
        _create_key(path)
    return _address_of(_read_private(path), path)


def _create_key(path: Path) -> None:
    """Write under another name first: a node killed meanwhile must not leave half a key."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(f"0x{secrets.token_hex(32)}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _read_private(path: Path) -> str:
    """Text of a file that only its owner may read."""
    if not path.is_file():
        raise StartRefused(f"{path} is not a file.")
    if path.stat().st_mode & 0o077:
        raise StartRefused(f"others may read {path}. Run: chmod 600 {path}")
    return path.read_text().strip()


def _address_of(text: str, path: Path) -> str:
    try:
        return str(Account.from_key(bytes.fromhex(text.removeprefix("0x"))).address)
    except (ValueError, ValidationError):
        # The cause is dropped: its text may quote the key.
        raise StartRefused(f"{path} does not hold a private key (32 bytes as hex).") from None


def mnemonic_addresses(path: Path, quantity: int) -> list[str]:
    """Checksum addresses of the first ``quantity`` accounts of the mnemonic in file ``path``.

    A file, because a command line can be read by every user of the machine.
    """
    try:
        seed = seed_from_mnemonic(_read_private(path), "")
    except ValidationError:
        raise StartRefused(f"{path} does not hold a BIP-39 mnemonic.") from None
    keys = [HDPath(f"{MNEMONIC_PATH}/{place}").derive(seed) for place in range(quantity)]
    return [str(Account.from_key(key).address) for key in keys]
