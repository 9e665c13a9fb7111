"""After every step: the contracts' every object against the model's."""

from typing import Any

from tests.contracts.accounting_base import Base
from tests.contracts.accounting_setting import OPERATOR, RESEARCHERS, WORD, ZERO
from tests.model.accounting import Room, State

_ALL_SEATS = 2**WORD - 1


def compare(world: Base) -> None:
    """Raises AssertionError, naming the object, where they differ."""
    places = _consents(world)
    for rooms in world.people.rooms.values():
        for room in rooms:
            _room(world, room, places)
    _requests(world)
    _money(world)
    assert world.s.consents.ask("paused") == (world.people.paused,)
    assert world.s.market.ask("paused") == (world.model.paused,)


def _consents(world: Base) -> dict[int, int]:
    """Each patient's consent; the place of each chair that has an owner, which is nobody else's."""
    places: dict[int, int] = {}
    for who, account in world.people.accounts.items():
        view = world.s.consents.view("consentOf", world.s.dataset, world.address(who))
        told = {name: view[name] for name in ("state", "sequence", "cap", "spent", "owed")}
        expected = {name: getattr(account, name) for name in told}
        if account.room is not None:
            places[who] = view["place"]
            told |= {"class": view["class"], "shard": view["shard"]}
            expected |= {
                "class": world.s.class_id(account.room.class_),
                "shard": account.room.index,
            }
        if account.state not in (State.NONE, State.MOVED):
            told["expiry"], expected["expiry"] = view["expiry"], account.expiry
        assert told == expected, f"patient {who}"
        assert account.spent <= account.largest_cap, f"patient {who} spent more than was signed"
    return places


def _room(world: Base, room: Room, places: dict[int, int]) -> None:
    consents, class_id = world.s.consents, world.s.class_id(room.class_)
    live, waiting = world.people.live_in(room), world.people.waiting_in(room)
    told = consents.view("shardOf", class_id, room.index)
    frozen_for = ZERO
    if room.frozen_for is not None:
        frozen_for = next(
            world.ids[order]
            for order, request in enumerate(world.model.requests)
            if request is room.frozen_for
        )
    assert told == {
        "spent": room.spent,
        "earned": room.earned,
        "live": len(live),
        "used": room.opened,
        "frozenUntil": room.frozen_until,
        "frozenFor": frozen_for,
    }, f"room {room.class_}/{room.index}"
    owners = [who for who in places if world.people.accounts[who].room is room]
    assert len({places[who] for who in owners}) == len(owners), "two patients have one chair"
    _chairs_are_theirs(world, room, {places[who]: who for who in owners})
    words = world.words_of(room)
    first, number = words[0], len(words)
    (bits,) = consents.ask("wordsOf", class_id, room.index, first, number)
    (waits,) = consents.ask("waitingOf", class_id, room.index, first, number)
    assert _set_bits(first, bits) == {places[who] for who in live}, "live bits"
    assert _set_bits(first, waits) == {places[who] for who in waiting}, "waiting bits"
    for index, word in enumerate(bits):
        members = [who for who in live if places[who] // WORD == first + index]
        _earliest_err_low(world, room, word, members)


def _chairs_are_theirs(world: Base, room: Room, owners: dict[int, int]) -> None:
    arguments = (world.s.class_id(room.class_), room.index, sorted(owners))
    (patients,) = world.s.consents.ask("patientsAt", *arguments)
    expected = [world.address(owners[place]).lower() for place in sorted(owners)]
    assert [patient.lower() for patient in patients] == expected


def _set_bits(first: int, words: tuple[int, ...]) -> set[int]:
    return {
        (first + index) * WORD + bit
        for index, word in enumerate(words)
        if word & _ALL_SEATS
        for bit in range(WORD)
        if word >> bit & 1
    }


def _earliest_err_low(world: Base, room: Room, word: int, members: list[int]) -> None:
    accounts = [world.people.accounts[who] for who in members]
    if not accounts:
        assert word == 0, "an empty word keeps something"
        return
    assert word >> WORD & (2**40 - 1) <= min(a.expiry for a in accounts)
    assert word >> 200 <= room.spent + min(a.left for a in accounts)


def _requests(world: Base) -> None:
    for order, request in enumerate(world.model.requests):
        told = world.s.market.view("requestOf", world.ids[order])
        expected: dict[str, Any] = {
            "stage": request.stage,
            "escrow": request.escrow,
            "bond": request.bond,
            "members": request.members,
            "sealedShards": len(request.cohorts),
            "shards": len(request.rooms),
            "frozenUntil": request.frozen_until,
        }
        assert {name: told[name] for name in expected} == expected, f"request {order}"


def _money(world: Base) -> None:
    market, token, model = world.s.market, world.s.token, world.model
    holdings = model.holdings
    assert market.ask("liabilities") == tuple(holdings.values())
    (balance,) = token.ask("balanceOf", market.address)
    assert balance == sum(holdings.values()), "the market holds what it owes"
    assert market.ask("bondOf", OPERATOR.address) == (model.free_bond,)
    named = {"operator": OPERATOR, "researcher 0": RESEARCHERS[0], "researcher 1": RESEARCHERS[1]}
    for name, key in named.items():
        assert market.ask("creditOf", key.address) == (model.credits[name],), name
        assert token.ask("balanceOf", key.address) == (model.wallets[name],), name
    for who in world.people.accounts:
        told = token.ask("balanceOf", world.address(who))
        assert told == (model.wallets[who],), f"wallet of patient {who}"
