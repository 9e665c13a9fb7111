"""Receipts: the record of one settled request, which anyone verifies without its operator."""
