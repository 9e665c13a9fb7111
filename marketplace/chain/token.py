"""The market's token as a foreign contract: what it may or may not answer, and whether permits work with it.

Sources: ERC-20, ERC-2612 (permit, nonces, DOMAIN_SEPARATOR), EIP-5267 (eip712Domain).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from eth_abi.exceptions import DecodingError

from marketplace.chain.artifacts import Entry, load
from marketplace.chain.core import ChainCore
from marketplace.chain.faults import NodeFault
from marketplace.chain.manifest import TOKEN
from marketplace.chain.reverts import ContractRefusal
from marketplace.errors import Refusal
from marketplace.wire.eip712 import Domain, SigningKey, sign
from marketplace.wire.structs import Permit

VERSION: Final = Entry("version", (), ({"type": "string"},), ())
"""Not in EIP-2612, but what tokens that came before EIP-5267 tell it by."""
CHAIN_AND_CONTRACT: Final = 0b0_1111
"""EIP-5267 `fields`: name, version, chain id and contract, and no salt."""

SignedPermit = tuple[int, int, int, bytes, bytes]
"""value, deadline, v, r, s: as `openWithPermit` takes it."""


class NoPermit(Refusal):
    """The token takes no ERC-2612 permit that this code can sign. An approval always works."""

    CODE = "no_permit"


def permit(
    chain: ChainCore, key: SigningKey, owner: str, value: int, deadline: int
) -> SignedPermit:
    """A permit for the market to take `value` token units, which the token itself was seen to accept.

    Raises:
        NoPermit: nothing was sent then.
    """
    domain = permit_domain(chain)
    nonce = _answer(lambda: int(chain.call(TOKEN, "nonces", owner)))
    if nonce is None:
        raise _no_permit("it does not answer nonces(address)")
    signature = sign(Permit(owner, chain.market, value, nonce, deadline), domain, key)
    shown = (value, deadline, signature[64], signature[:32], signature[32:64])
    _require_taken(chain, owner, shown)
    return shown


def permit_facts(chain: ChainCore, owner: str) -> dict[str, str] | None:
    """What a permit of `owner` is signed for: the token's name, version and separator, and the next nonce.

    None where the token takes none.
    """
    try:
        domain = permit_domain(chain)
    except NoPermit:
        return None
    nonce = _answer(lambda: int(chain.call(TOKEN, "nonces", owner)))
    if nonce is None:
        return None
    return {
        "name": domain.name,
        "version": domain.version,
        "separator": "0x" + domain.separator().hex(),
        "nonce": str(nonce),
    }


def permit_domain(chain: ChainCore) -> Domain:
    """The token's own EIP-712 domain, held against its DOMAIN_SEPARATOR.

    Raises:
        NoPermit: it tells none, or tells one that it does not use.
    """
    separator = _answer(lambda: bytes(chain.call(TOKEN, "DOMAIN_SEPARATOR")))
    if separator is None:
        raise _no_permit("it does not answer DOMAIN_SEPARATOR()")
    domain = _told_domain(chain) or _named_domain(chain)
    if domain is None or domain.separator() != separator:
        raise _no_permit("it signs for a domain that it does not tell")
    return domain


def _told_domain(chain: ChainCore) -> Domain | None:
    """By EIP-5267. A domain for another chain or contract would be a replay in waiting."""
    told = _answer(lambda: chain.call(TOKEN, "eip712Domain"))
    if told is None:
        return None
    fields, name, version, chain_id, contract = told[:5]
    here = (chain.chain_id, chain.manifest.token)
    if fields[0] != CHAIN_AND_CONTRACT or (chain_id, contract) != here:
        raise _no_permit("its domain is not that of this chain and contract alone")
    return Domain(name, version, chain_id, contract)


def _named_domain(chain: ChainCore) -> Domain | None:
    """From name() and version(); "1" where there is none, as OpenZeppelin has it."""
    name = _answer(lambda: str(chain.call(TOKEN, "name")))
    if name is None:
        return None
    version = _answer(lambda: _version(chain)) or "1"
    return Domain(name, version, chain.chain_id, chain.manifest.token)


def _version(chain: ChainCore) -> str:
    output = chain.node.call(chain.manifest.token, VERSION.encode_call([]), "latest")
    return str(VERSION.decode_output(output)[0])


def _require_taken(chain: ChainCore, owner: str, shown: SignedPermit) -> None:
    """Has the token judge the permit in a call that changes nothing.

    Some tokens have a function of this name with other arguments; `openWithPermit` tolerates the failure,
    and would then fail for want of an allowance.
    """
    data = load(TOKEN).functions["permit"].encode_call([owner, chain.market, *shown])
    if _answer(lambda: chain.node.call(chain.manifest.token, data, "latest")) is None:
        raise _no_permit("it refused the permit that was signed for it")


def _answer(ask: Callable[[], Any]) -> Any:
    """What a function of the token returns; None where it reverts, or does not answer in its type."""
    try:
        return ask()
    except (ContractRefusal, NodeFault, DecodingError):
        return None


def _no_permit(why: str) -> NoPermit:
    return NoPermit(
        message=f"The market's token takes no permit (ERC-2612): {why}.",
        remedy="Approve the market instead; that takes one more transaction.",
        field="token",
    )
