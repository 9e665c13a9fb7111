"""What a lying node says, for `LyingProxy.lie`: from another chain down to one word of one answer."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from eth_abi.abi import decode, encode

from marketplace.chain import artifacts
from marketplace.chain.views import MarketPolicy, RequestView
from marketplace.wire import roots
from tests.support.nodes import Lie

WORD = 64
"""Hexadecimal digits of an ABI word."""


def stale_head(method: str, _parameters: list[Any], result: Any) -> Any:
    if method == "eth_getBlockByNumber" and result:
        return result | {"timestamp": hex(int(result["timestamp"], 16) - 100_000_000)}
    return result


def wrong_chain(method: str, _parameters: list[Any], result: Any) -> Any:
    return hex(1) if method == "eth_chainId" else result


def no_logs(method: str, _parameters: list[Any], result: Any) -> Any:
    return [] if method == "eth_getLogs" else result


def forged_bitmaps(method: str, _parameters: list[Any], result: Any) -> Any:
    if method != "eth_getLogs":
        return result
    return [log | {"data": log["data"][:-64] + "ff" * 32} for log in result]


def no_cohorts(method: str, _parameters: list[Any], result: Any) -> Any:
    """Every log but those of seals."""
    if method != "eth_getLogs":
        return result
    return [log for log in result if not _is_seal(log)]


def _is_seal(log: Mapping[str, Any]) -> bool:
    topic = artifacts.load("ConsentRegistry").events["ShardSealed"].topic
    return str(log["topics"][0]) == "0x" + topic.hex()


SEALED = ["uint16", "uint32", "bytes32", "bytes"]
"""What a `ShardSealed` carries beside its topics: shard, members, root, bitmaps."""


def other_members(chosen: Callable[[list[int]], Iterable[int]]) -> Lie:
    """Of every sealed shard other places are live, in a log that is whole and fits itself."""

    def lie(method: str, _parameters: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        return [_resealed(log, chosen) if _is_seal(log) else log for log in result]

    return lie


def _resealed(log: dict[str, Any], chosen: Callable[[list[int]], Iterable[int]]) -> dict[str, Any]:
    number, _, _, bitmaps = decode(SEALED, bytes.fromhex(log["data"][2:]))
    seats = len(bitmaps) // roots.WORD_BYTES * roots.WORD_SEATS
    other = roots.pack_bitmaps(chosen(list(roots.places_of(bitmaps))), seats)
    shard = roots.SealedShard(bytes.fromhex(log["topics"][2][2:]), number, other)
    data = encode(SEALED, [number, shard.members, shard.root(), other])
    return log | {"data": "0x" + data.hex()}


NODE_LIES: Mapping[str, tuple[Lie, frozenset[str]]] = {
    "stale": (stale_head, frozenset({"stale_head"})),
    "wrong chain": (wrong_chain, frozenset({"wrong_chain"})),
    "no logs": (no_logs, frozenset({"partial_logs"})),
    "forged logs": (forged_bitmaps, frozenset({"forged_logs", "partial_logs"})),
}
"""Lies about the chain as a whole, and the codes that they are refused with."""


def other_request(**changes: int | bytes) -> Lie:
    """Every request is as the market keeps it, but for these fields of `RequestView`."""
    return _other("requestOf", RequestView, changes)


def both(first: Lie, second: Lie) -> Lie:
    """One lie after the other."""

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        return second(method, parameters, first(method, parameters, result))

    return lie


def other_policy(**changes: int | bytes) -> Lie:
    """The market's policy, but for these fields of `MarketPolicy`."""
    return _other("policy", MarketPolicy, changes)


def other_block(number: int) -> Lie:
    """Another block stands at this height."""

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        asked = method == "eth_getBlockByNumber" and parameters[0] == hex(number)
        return result | {"hash": "0x" + "ee" * 32} if asked else result

    return lie


def too_high(final: int) -> Lie:
    """The node names a block as final that there is not yet, and shows one when asked for it."""

    shown: dict[str, Any] = {}

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        if method != "eth_getBlockByNumber":
            return result
        if parameters[0] not in ("latest", "finalized") and int(parameters[0], 16) <= final:
            return result
        shown.update(result or {})
        return shown | {"number": hex(final + 50), "hash": "0x" + "ee" * 32}

    return lie


@dataclass
class After:
    """The truth until a view was read, and then a lie."""

    contract: str
    view: str
    lie: Lie
    lying: bool = False

    def __call__(self, method: str, parameters: list[Any], result: Any) -> Any:
        if self.lying:
            return self.lie(method, parameters, result)
        self.lying = reads(self.contract, self.view, method, parameters)
        return result


def _other(view: str, kind: type, changes: Mapping[str, int | bytes]) -> Lie:
    """One of the market's views that returns a struct without dynamic members: a word for each."""
    names = [field.name for field in fields(kind)]
    words = {names.index(name): _word(value) for name, value in changes.items()}

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        if not reads("ResearchMarket", view, method, parameters):
            return result
        assert len(result) == 2 + WORD * len(names)
        for place, word in words.items():
            start = 2 + WORD * place
            result = result[:start] + word + result[start + WORD :]
        return result

    return lie


def _word(value: int | bytes) -> str:
    return value.hex().zfill(WORD) if isinstance(value, bytes) else f"{value:064x}"


def reads(contract: str, view: str, method: str, parameters: list[Any]) -> bool:
    if method != "eth_call":
        return False
    selector = artifacts.load(contract).functions[view].selector
    return calldata(parameters[0]).startswith(selector.hex())


def calldata(call: Mapping[str, Any]) -> str:
    """What an `eth_call` or an estimate is of, in hexadecimal."""
    return str(call.get("data") or call.get("input")).removeprefix("0x")
