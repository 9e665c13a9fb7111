"""A record's part in the homomorphic lane: encrypted columns under the custodians' joint key, and their
proof.

Columns and proof are of `ml.homomorphic` (elgamal, validity); the proof is bound to chain, registry,
dataset, patient, dictionary, lane and version, so that nobody can upload another patient's columns as their
own. The issuer attests, and the chain keeps, a leaf over all of it. In the leaf, columns are a Merkle tree
(RFC 9162, section 2.1, with keccak256), so that a receipt shows the columns that an analysis used and 32
bytes for each group of others.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from marketplace.errors import RecordUnreadable
from marketplace.vocabulary import Lane
from marketplace.wire.canonical import tagged_hash
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.encoding import Encoding
from ml.homomorphic.curve import POINT_BYTES, NotAPoint, Point
from ml.homomorphic.elgamal import COLUMN_BYTES
from ml.homomorphic.validity import Statement, faults, proof_bytes

LARGEST_TALLY: Final = 256 * 1024
"""Bytes of columns and proof together: 512 columns and 6,700 entries of a vector."""
KEYS: Final = {"public_key", "columns", "proof"}
BOUND: Final = (
    "It is bound to patient, dataset, version and encoding, so it may have been made for another."
)
"""Said of every proof that does not hold: nobody can tell a false one from a true one of something else."""


@dataclass(frozen=True)
class TallyHeader:
    """What the leaf is made of: 33, 32 and 32 bytes."""

    public_key: bytes
    column_root: bytes
    proof_hash: bytes

    def leaf(self, dictionary_hash: bytes) -> bytes:
        """The leaf of this lane, 32 bytes."""
        types = ["uint8", "bytes32", "bytes32", "bytes32", "bytes32"]
        own = [keccak(self.public_key), self.column_root, self.proof_hash]
        return tagged_hash(
            "usufruct/tally-leaf/1", types, [Lane.HOMOMORPHIC, dictionary_hash, *own]
        )


@dataclass(frozen=True)
class SealedTally:
    """Columns of 66 bytes each, in the encoding's order, and the proof of their validity. All of it is
    public.
    """

    public_key: bytes
    columns: bytes
    proof: bytes

    @property
    def header(self) -> TallyHeader:
        """What stands for it in the leaf."""
        return TallyHeader(self.public_key, column_root(self.columns), keccak(self.proof))

    def to_json(self) -> dict[str, str]:
        """As it stands in a record."""
        return {
            "public_key": "0x" + self.public_key.hex(),
            "columns": base64.b64encode(self.columns).decode(),
            "proof": base64.b64encode(self.proof).decode(),
        }


def column_root(columns: bytes) -> bytes:
    """The root over all columns, 32 bytes. Raises ValueError unless they are whole columns, at least one."""
    count, rest = divmod(len(columns), COLUMN_BYTES)
    if rest or not count:
        raise ValueError("columns are 66 bytes each")
    starts = range(0, len(columns), COLUMN_BYTES)
    return _root([_leaf(columns[at : at + COLUMN_BYTES]) for at in starts])


def prove_columns(columns: bytes, used: Sequence[int]) -> list[bytes]:
    """The hashes that lead from the columns `used` (positions) to the root: each largest subtree without
    any, in order.
    """
    starts = range(0, len(columns), COLUMN_BYTES)
    leaves = [_leaf(columns[at : at + COLUMN_BYTES]) for at in starts]
    found: list[bytes] = []
    _collect(leaves, 0, set(used), found)
    return found


def root_of_columns(shown: Mapping[int, bytes], count: int, proof: Sequence[bytes]) -> bytes:
    """The root that `shown` columns (by position, of `count`) and a proof of `prove_columns` lead to.

    Raises ValueError for a proof of another length, or a column beyond `count`.
    """
    if not all(0 <= position < count for position in shown):
        raise ValueError("a column is shown that there is none of")
    left = list(proof)
    root = _rebuilt(0, count, shown, left)
    if left:
        raise ValueError("the proof has hashes that nothing needs")
    return root


def require_tally(document: Any) -> SealedTally:
    """A tally from hostile JSON; that its columns are points, and its proof holds, `require_valid` says.

    Raises:
        RecordUnreadable: naming the field.
    """
    if not isinstance(document, dict) or set(document) != KEYS:
        raise _unreadable("tally", "The tally has not exactly public_key, columns and proof.")
    key = document["public_key"]
    try:
        public_key = bytes.fromhex(key.removeprefix("0x"))
    except (ValueError, AttributeError):
        raise _unreadable("tally.public_key", "The public key is not hexadecimal.") from None
    if len(public_key) != POINT_BYTES:
        raise _unreadable("tally.public_key", f"The public key has not {POINT_BYTES} bytes.")
    columns = base64_field(document["columns"], "tally.columns", _unreadable)
    proof = base64_field(document["proof"], "tally.proof", _unreadable)
    if len(columns) % COLUMN_BYTES or not columns:
        raise _unreadable("tally.columns", f"Columns have {COLUMN_BYTES} bytes each.")
    if len(columns) + len(proof) > LARGEST_TALLY:
        raise _unreadable("tally.columns", f"Columns and proof have at most {LARGEST_TALLY} bytes.")
    return SealedTally(public_key, columns, proof)


def base64_field(
    text: Any, field: str, unreadable: Callable[[str, str], RecordUnreadable]
) -> bytes:
    """Bytes from hostile base64; raises `unreadable` of the field and what is wrong with it."""
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        raise unreadable(field, f"{field} is not base64.") from None


def encoding_of(dictionary: Dictionary) -> Encoding:
    """The dictionary's encoding. Raises RecordUnreadable: it has none, so its records have no tallies."""
    if dictionary.encoding is None:
        raise _unreadable("tally", "The dictionary has no encoding.")
    return dictionary.encoding


def statement(tally: SealedTally, encoding: Encoding, context: bytes) -> Statement:
    """What a tally's proof is about. Raises RecordUnreadable for a public key that is no point."""
    try:
        key = Point.from_bytes(tally.public_key)
    except NotAPoint:
        raise _unreadable(
            "tally.public_key", "The public key is not a point of secp256k1."
        ) from None
    return Statement(context, key, encoding.relation, tally.columns)


def require_valid(
    tallies: Sequence[tuple[SealedTally, bytes]], encoding: Encoding, public_key: bytes
) -> list[RecordUnreadable | None]:
    """Verifies many tallies of one dataset at once: for each, in order, None, or why it is refused.

    Args:
        tallies: with the context of each: `wire.record.RecordContext.aad` of this lane.
        public_key: the joint key that they have to be encrypted under.
    """
    outcomes: list[RecordUnreadable | None] = [
        _misfit(tally, encoding, public_key) for tally, _ in tallies
    ]
    waiting = [at for at, outcome in enumerate(outcomes) if outcome is None]
    chosen = [tallies[at] for at in waiting]
    if not chosen:
        return outcomes
    statements = [statement(tally, encoding, context) for tally, context in chosen]
    problems = faults(statements, [tally.proof for tally, _ in chosen])
    for at, problem in zip(waiting, problems, strict=True):
        if problem is not None:
            outcomes[at] = _unreadable(
                "tally.proof", f"The proof does not hold: {problem}. {BOUND}"
            )
    return outcomes


def _misfit(tally: SealedTally, encoding: Encoding, public_key: bytes) -> RecordUnreadable | None:
    """What is wrong with a tally before its proof is looked at."""
    if tally.public_key != public_key:
        return _unreadable("tally.public_key", "The tally is encrypted under another joint key.")
    if len(tally.columns) != COLUMN_BYTES * len(encoding.columns):
        return _unreadable(
            "tally.columns", "The tally has another number of columns than the encoding."
        )
    if len(tally.proof) != proof_bytes(encoding.relation):
        return _unreadable("tally.proof", "The proof has another length than the encoding's.")
    return None


def _leaf(column: bytes) -> bytes:
    return bytes(keccak(b"\x00" + column))


def _node(left: bytes, right: bytes) -> bytes:
    return bytes(keccak(b"\x01" + left + right))


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)


def _root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    middle = _split(len(leaves))
    return _node(_root(leaves[:middle]), _root(leaves[middle:]))


def _collect(leaves: Sequence[bytes], start: int, used: set[int], found: list[bytes]) -> None:
    if not used & set(range(start, start + len(leaves))):
        found.append(_root(leaves))
        return
    if len(leaves) > 1:
        middle = _split(len(leaves))
        _collect(leaves[:middle], start, used, found)
        _collect(leaves[middle:], start + middle, used, found)


def _rebuilt(start: int, count: int, shown: Mapping[int, bytes], left: list[bytes]) -> bytes:
    if not any(start <= position < start + count for position in shown):
        if not left:
            raise ValueError("the proof lacks a hash")
        return left.pop(0)
    if count == 1:
        return _leaf(shown[start])
    middle = _split(count)
    first = _rebuilt(start, middle, shown, left)
    return _node(first, _rebuilt(start + middle, count - middle, shown, left))


def _unreadable(field: str, message: str) -> RecordUnreadable:
    return RecordUnreadable(
        message=message,
        remedy="Seal the record again for the committee's joint key and send it unchanged.",
        field=field,
    )
