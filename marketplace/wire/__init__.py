"""Formats that outlive the code: canonical JSON, sealed records, envelopes, turns, deliveries.

One-way doors: `tests/vectors` pins every one byte for byte.
"""
