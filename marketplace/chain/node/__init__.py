"""The embedded chain: an Ethereum node in a process of its own.

``python -m marketplace.chain.node --data DIR --port P`` serves eth-tester's py-evm (Prague rules)
as Ethereum JSON-RPC over HTTP on loopback, and keeps the chain in one SQLite file in ``DIR``. Every
other process reaches it as it would reach any node.

What it promises: one block per transaction; an acknowledged transaction survives SIGKILL; one
JSON-RPC write is one SQLite transaction, so no half-written block is ever read; a block is stamped
``max(parent + 1, wall clock)``. It has no reorganisations, so ``finalized``, ``safe`` and
``latest`` name the same block. It has no queue: a transaction whose nonce is not the next one is
refused.
"""
