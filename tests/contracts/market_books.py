"""A request's stages, and what the market owes to whom."""

from tests.contracts.market_world import World
from tests.contracts.support import address

NONE, OPENED, FROZEN, SEALED, SETTLED, DEFAULTED, RECLAIMED, CANCELLED = range(8)
ESCROW = 50 * 40 + 700  # units, of the terms that tests ask for


def balance(world: World, who: str) -> int:
    return int(world.read(world.parts.token, "balanceOf", address(who)))


def books(world: World) -> dict[str, int]:
    names = ("escrows", "lockedBonds", "freeBonds", "credits", "earnings")
    return dict(zip(names, world.read(world.market, "liabilities"), strict=True))


def credit(world: World, who: str) -> int:
    return int(world.read(world.market, "creditOf", address(who)))
