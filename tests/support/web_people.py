"""Somebody of every kind: each has one role on chain and no other, so that a test sees what it opens."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from marketplace.chain.deploy import grant_role
from tests.support.api_world import ApiWorld
from tests.support.chain_world import account

NOBODY: Final = "anyone"
SUBJECTS: Final = (
    NOBODY,
    "patient",
    "stranger",
    "researcher",
    "lapsed",
    "withdrawn",
    "steward",
    "other steward",
    "issuer",
    "authority",
    "operator",
)
"""`lapsed` and `withdrawn` were researchers once; `other steward` has the role, and another dataset."""
SOON = 1_000
"""Seconds, chain time, after which a credential is over."""


def people(world: ApiWorld) -> Mapping[str, LocalAccount]:
    """Everybody but NOBODY. The account that deployed keeps nothing but being the operator."""
    custody, me = world.custody, world.researcher
    found = {each: account(f"web {each}") for each in SUBJECTS if each != NOBODY}
    found |= {"patient": world.patients[0], "issuer": custody.issuer, "operator": me}
    send = custody.sender.send
    credential = custody.credential()
    for name in ("researcher", "withdrawn"):
        send("ResearcherRegistry", "give", found[name].address, credential)
    brief = replace(credential, expiry=custody.later(SOON))
    send("ResearcherRegistry", "give", found["lapsed"].address, brief)
    for name in ("withdrawn", "operator"):
        send("ResearcherRegistry", "withdraw", found[name].address)
    for name in ("steward", "other steward"):
        grant_role(custody.sender, "DatasetRegistry", "STEWARD", found[name].address)
    send("DatasetRegistry", "handOver", custody.dataset, found["steward"].address)
    grant_role(custody.sender, "ResearcherRegistry", "AUTHORITY", found["authority"].address)
    for contract, role in (("DatasetRegistry", "STEWARD"), ("ResearcherRegistry", "AUTHORITY")):
        send(contract, "renounceRole", bytes(keccak(text=role)), me.address)
    # More than once, since blocks that are mined fast are ahead of the clock that is moved.
    while custody.chain.now() <= brief.expiry:
        custody.chain.node.request("evm_increaseTime", [SOON])
        custody.chain.node.mine()
    return found
