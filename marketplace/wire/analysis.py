"""How a request names its analysis on chain."""

from __future__ import annotations

from eth_hash.auto import keccak


def analysis_hash(name: str) -> bytes:
    """keccak256 of a catalogue id such as "mean.v1", 32 bytes (RequestTerms.analysis)."""
    return keccak(name.encode("ascii"))


def parameters_hash(canonical_parameters: bytes) -> bytes:
    """keccak256 of an analysis' canonical parameters, 32 bytes (RequestTerms.parameters)."""
    return keccak(canonical_parameters)
