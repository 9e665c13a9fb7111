"""Solidity values as checked Python values: the base of every signed struct and every view.

A field's annotation names its Solidity type. In Python: `address` is a checksummed `str`, `bytesN`
and `bytes` are `bytes`, integers are `int`, `T[]` is a tuple, a nested struct is its dataclass. In
JSON: integers of at most 48 bits are numbers, wider ones decimal strings (a JSON reader in
JavaScript keeps 53 bits exact); bytes are lower-case 0x hex; addresses are checksummed.
"""

from __future__ import annotations

import re
from dataclasses import Field, dataclass
from typing import Annotated, Any, ClassVar, Self, get_args, get_origin, get_type_hints

from eth_abi.abi import encode
from eth_utils.address import is_address, is_checksum_address, to_checksum_address
from eth_utils.crypto import keccak

from marketplace.errors import Refusal

Address = Annotated[str, "address"]
Text = Annotated[str, "string"]
Bool = Annotated[bool, "bool"]
Bytes = Annotated[bytes, "bytes"]
Bytes2 = Annotated[bytes, "bytes2"]
Bytes32 = Annotated[bytes, "bytes32"]
Uint8 = Annotated[int, "uint8"]
Uint16 = Annotated[int, "uint16"]
Uint24 = Annotated[int, "uint24"]
Uint32 = Annotated[int, "uint32"]
Uint40 = Annotated[int, "uint40"]
Uint56 = Annotated[int, "uint56"]
Uint64 = Annotated[int, "uint64"]
Uint96 = Annotated[int, "uint96"]
Uint256 = Annotated[int, "uint256"]

ZERO_ADDRESS = "0x" + "00" * 20
ZERO_HASH = bytes(32)
WIDEST_JSON_NUMBER = 48
"""Bits. Everything wider travels as a decimal string, whatever its value."""

_DECIMAL = re.compile(r"0|[1-9][0-9]*")
_HEX = re.compile(r"0x(?:[0-9a-f]{2})*")


def malformed(field: str, problem: str) -> Refusal:
    """The refusal of one field. Never carries the value: it could be anything."""
    return Refusal(
        code="malformed_message",
        message=f"The field {field} {problem}.",
        remedy=f"Correct {field} and send the whole message again.",
        field=field,
    )


@dataclass(frozen=True)
class Kind:
    """One Solidity type: how its values are checked, encoded and written as JSON."""

    name: str
    item: Kind | None = None
    struct: type[SolidityStruct] | None = None

    @property
    def abi(self) -> str:
        """As eth_abi and selectors write it: a struct is the tuple of its fields."""
        if self.item is not None:
            return self.item.abi + "[]"
        return self.struct.abi_type() if self.struct is not None else self.name

    def check(self, field: str, value: Any) -> Any:
        """The value in its one Python form. Raises `Refusal` (malformed_message)."""
        if self.item is not None:
            if not isinstance(value, tuple | list):
                raise malformed(field, "must be a list")
            return tuple(self.item.check(f"{field}[{i}]", each) for i, each in enumerate(value))
        if self.struct is not None:
            if not isinstance(value, self.struct):
                raise malformed(field, f"must be a {self.struct.__name__}")
            return value
        return _check_scalar(self.name, field, value)

    def abi_value(self, value: Any) -> Any:
        """A checked value as eth_abi takes it: a struct is a tuple, a `T[]` a list."""
        if self.item is not None:
            return [self.item.abi_value(each) for each in value]
        return value.abi_tuple() if self.struct is not None else value

    def from_abi(self, value: Any) -> Any:
        """What eth_abi decoded in its one Python form; range and type are for `check`."""
        if self.item is not None:
            return tuple(self.item.from_abi(each) for each in value)
        if self.struct is not None:
            return self.struct.from_abi(value)
        return to_checksum_address(value) if self.name == "address" else value

    def to_json(self, value: Any) -> Any:
        """A checked value in the JSON that the module's docstring describes."""
        if self.item is not None:
            return [self.item.to_json(each) for each in value]
        if self.struct is not None:
            return value.to_json()
        if self.name.startswith("uint"):
            return value if _bits(self.name) <= WIDEST_JSON_NUMBER else str(value)
        return "0x" + value.hex() if self.name.startswith("bytes") else value

    def from_json(self, field: str, value: Any) -> Any:
        """Reads the JSON of `to_json` by its form; range and type are for `check`.

        Raises:
            Refusal: `malformed_message`, naming `field`, never the value.
        """
        if self.item is not None:
            if not isinstance(value, list):
                raise malformed(field, "must be a list")
            return tuple(self.item.from_json(f"{field}[{i}]", each) for i, each in enumerate(value))
        if self.struct is not None:
            return self.struct.from_json(value, field + ".")
        return _scalar_from_json(self.name, field, value)


def _bits(name: str) -> int:
    return int(name.removeprefix("uint"))


def _check_scalar(name: str, field: str, value: Any) -> Any:
    if name.startswith("uint"):
        if type(value) is not int or not 0 <= value < 1 << _bits(name):
            raise malformed(field, f"must be an integer of {_bits(name)} bits, not negative")
        return value
    if name == "bool":
        return _typed(bool, "true or false", field, value)
    if name == "address":
        return _check_address(field, value)
    if name == "string":
        return _typed(str, "text", field, value)
    _typed(bytes, "bytes", field, value)
    size = name.removeprefix("bytes")
    if size and len(value) != int(size):
        raise malformed(field, f"must be {size} bytes long")
    return bytes(value)


def _typed(wanted: type, called: str, field: str, value: Any) -> Any:
    if not isinstance(value, wanted):
        raise malformed(field, f"must be {called}")
    return value


def _check_address(field: str, value: Any) -> str:
    """EIP-55: a mixed-case address must carry the right checksum, so that a typo is seen."""
    if not isinstance(value, str) or not value.startswith("0x") or not is_address(value):
        raise malformed(field, "must be an address (0x and 40 hex digits)")
    if value != value.lower() and not is_checksum_address(value):
        raise malformed(field, "is an address whose checksum (EIP-55) is wrong")
    return str(to_checksum_address(value))


def _scalar_from_json(name: str, field: str, value: Any) -> Any:
    if name.startswith("uint") and _bits(name) > WIDEST_JSON_NUMBER:
        # 78 digits hold 256 bits; the bound keeps a hostile number from being parsed at all.
        if not isinstance(value, str) or len(value) > 78 or not _DECIMAL.fullmatch(value):
            raise malformed(field, "must be a decimal number written as a string")
        return int(value)
    if name.startswith("bytes"):
        if not isinstance(value, str) or not _HEX.fullmatch(value):
            raise malformed(field, "must be 0x and lower-case hex digits")
        return bytes.fromhex(value[2:])
    return value


def _kind_of(annotation: Any) -> Kind:
    if get_origin(annotation) is tuple:
        item = _kind_of(get_args(annotation)[0])
        return Kind(item.name + "[]", item=item)
    if get_origin(annotation) is Annotated:
        return Kind(get_args(annotation)[1])
    return Kind(annotation.__name__, struct=annotation)


def solidity_name(name: str) -> str:
    """`class_` -> `class`, `settle_deadline` -> `settleDeadline`."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(part.capitalize() for part in rest)


class SolidityStruct:
    """A frozen dataclass whose fields are a Solidity struct's, in its order."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __post_init__(self) -> None:
        for name, kind in self.kinds().items():
            object.__setattr__(self, name, kind.check(solidity_name(name), getattr(self, name)))

    @classmethod
    def kinds(cls) -> dict[str, Kind]:
        """The Solidity type of every field, by its Python name, in order."""
        return _kinds(cls)

    @classmethod
    def abi_type(cls) -> str:
        """The tuple type, as eth_abi and selectors write it."""
        return "(" + ",".join(kind.abi for kind in cls.kinds().values()) + ")"

    def abi_tuple(self) -> tuple[Any, ...]:
        """The values, nested ones too, as contract calls and `abi.encode` take them."""
        return tuple(kind.abi_value(getattr(self, name)) for name, kind in self.kinds().items())

    @classmethod
    def from_abi(cls, values: tuple[Any, ...]) -> Self:
        """The struct that a contract returned, as decoded by eth_abi."""
        kinds = cls.kinds()
        pairs = zip(kinds.items(), values, strict=True)
        return cls(**{name: kind.from_abi(value) for (name, kind), value in pairs})

    def to_json(self) -> dict[str, Any]:
        """Under the Solidity names, in their order."""
        return {
            solidity_name(name): kind.to_json(getattr(self, name))
            for name, kind in self.kinds().items()
        }

    @classmethod
    def from_json(cls, value: Any, path: str = "") -> Self:
        """Reads exactly what `to_json` writes.

        Raises:
            Refusal: `malformed_message`, naming the field: unknown, missing, wrong type or range.
        """
        if not isinstance(value, dict):
            raise malformed(path.rstrip(".") or cls.__name__, "must be an object")
        kinds = {solidity_name(name): (name, kind) for name, kind in cls.kinds().items()}
        for given in value:
            if given not in kinds:
                raise malformed(f"{path}{str(given)[:40]}", "is unknown")
        for wanted in kinds:
            if wanted not in value:
                raise malformed(path + wanted, "is missing")
        return cls(
            **{
                name: kind.from_json(path + wanted, value[wanted])
                for wanted, (name, kind) in kinds.items()
            }
        )


_KINDS: dict[type, dict[str, Kind]] = {}


def _kinds(cls: type[SolidityStruct]) -> dict[str, Kind]:
    """Read once per class: resolving annotations is slow."""
    if cls not in _KINDS:
        hints = get_type_hints(cls, include_extras=True)
        _KINDS[cls] = {name: _kind_of(hints[name]) for name in cls.__dataclass_fields__}
    return _KINDS[cls]


def hash_encoded(types: list[str], values: list[Any]) -> bytes:
    """keccak256(abi.encode(...))."""
    return keccak(encode(types, values))
