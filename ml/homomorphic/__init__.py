"""Threshold tallies on secp256k1: encrypt where the record is, add anywhere, open only by k of n."""
