"""Refusals of the embedded chain, each with the JSON-RPC error code it travels under.

Codes: JSON-RPC 2.0 section 5.1 for the -326xx range; 3 for a revert and -32000 for the rest, as
geth and anvil answer; -32005 (limit exceeded) from EIP-1474.
"""

from __future__ import annotations

from eth_abi.exceptions import DecodingError

from marketplace.chain.decoding import decode

_ERROR_STRING = bytes.fromhex("08c379a0")  # selector of Error(string), which require(...) uses


class RpcError(Exception):
    """A refusal that the caller reads as a JSON-RPC error."""

    code = -32000

    @property
    def data(self) -> str | None:
        """Machine-readable part of the error (0x hex), or None."""
        return None

    def as_json(self) -> dict[str, object]:
        """The ``error`` member of a JSON-RPC response."""
        body: dict[str, object] = {"code": self.code, "message": str(self)}
        if self.data is not None:
            body["data"] = self.data
        return body


class UnreadableRequest(RpcError):
    """The body is not JSON."""

    code = -32700


class InvalidRequest(RpcError):
    """JSON, but not a JSON-RPC call."""

    code = -32600


class MethodNotFound(RpcError):
    """This node does not serve the method."""

    code = -32601


class InvalidParams(RpcError):
    """A parameter is missing, malformed or out of range."""

    code = -32602


class InternalError(RpcError):
    """A fault of the node itself; the chain stays at its former head."""

    code = -32603


class TooManyResults(RpcError):
    """An answer would be too long to send, and is never cut short instead."""

    code = -32005


class BatchTooLong(RpcError):
    """The calls before this one took the time that a batch has. This one was not looked at."""

    code = -32005


class BlockUnknown(RpcError):
    """The chain has no such block."""


class TransactionRefused(RpcError):
    """The transaction can not go into the next block. Nothing was written."""


class ExecutionFailed(RpcError):
    """A call ended in an EVM error other than a revert (out of gas, invalid opcode, ...)."""


class StoreFull(RpcError):
    """The SQLite file may not grow. Nothing was written; reads go on."""


class Reverted(RpcError):
    """A call reverted; ``data`` carries the revert bytes, so that custom errors can be decoded."""

    code = 3

    def __init__(self, output: bytes) -> None:
        super().__init__(_revert_message(output))
        self.output = output

    @property
    def data(self) -> str:
        """The revert bytes, 0x hex: where geth puts them, and clients look for them."""
        return "0x" + self.output.hex()


def _revert_message(output: bytes) -> str:
    """``execution reverted``, with the reason when the contract gave one as text."""
    if output[:4] != _ERROR_STRING:
        return "execution reverted"
    try:
        (reason,) = decode(["string"], output[4:])
    except DecodingError:
        return "execution reverted"
    return f"execution reverted: {reason}"


class StartRefused(Exception):
    """The node will not start: the store, a key file or an option is not what it must be."""
