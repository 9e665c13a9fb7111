"""``python -m marketplace.chain.node``: start the embedded chain and serve it until SIGTERM."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from pathlib import Path

import click
import structlog

from marketplace.chain.node.backend import GENESIS_KEY, PersistentBackend
from marketplace.chain.node.clock import ShiftableClock
from marketplace.chain.node.errors import RpcError, StartRefused
from marketplace.chain.node.genesis import (
    ACCOUNT_BALANCE,
    BLOCK_GAS_LIMIT,
    FAUCET_BALANCE,
    FORK,
    Genesis,
    faucet_address,
    mnemonic_addresses,
)
from marketplace.chain.node.methods import Methods
from marketplace.chain.node.server import HOST, MOST_BODY_BYTES, RpcServer
from marketplace.chain.node.storage import ChainStore
from marketplace.errors import Refusal
from marketplace.wire import lifeline, logs
from marketplace.wire.listening import listen

log = structlog.get_logger("marketplace.chain.node")  # not __main__, whose level is a library's

HIGHEST_CHAIN_ID = 2**53 - 1  # what a JSON reader in JavaScript keeps exact
THREADS = 8  # they wait for one lock; more would only hold more bodies in memory
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the chain; created when absent.",
)
@click.option(
    "--port",
    default=8545,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port on 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--chain-id", default=31337, show_default=True, type=click.IntRange(1, HIGHEST_CHAIN_ID)
)
@click.option(
    "--faucet-key-file",
    type=_FILE,
    help="Private key (hex) of the account funded in block 0; default DATA/faucet.key.",
)
@click.option(
    "--accounts-from-mnemonic",
    "mnemonic",
    type=_FILE,
    help="File with a BIP-39 mnemonic whose first accounts block 0 funds too.",
)
@click.option(
    "--accounts",
    default=10,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="How many accounts of the mnemonic.",
)
@click.option(
    "--max-pages",
    type=click.IntRange(1),
    help="Most pages (4 KB) the store may have; default no limit.",
)
@click.option(
    "--test-clock",
    is_flag=True,
    help="Let evm_increaseTime and evm_setNextBlockTimestamp move chain time (tests only).",
)
def main(
    data: Path,
    port: int,
    chain_id: int,
    faucet_key_file: Path | None,
    mnemonic: Path | None,
    accounts: int,
    max_pages: int | None,
    test_clock: bool,
) -> None:
    """Serve a persistent Ethereum chain as JSON-RPC on 127.0.0.1, until SIGTERM.

    When ready, prints one line of JSON: {"ready": true, "url": .., "chain_id": .., "faucet": ..}.
    """
    signal.signal(signal.SIGTERM, _stop)
    lifeline.hold()
    logs.configure()
    logging.getLogger("eth.db").setLevel(logging.CRITICAL)  # it dumps whole batches when one fails
    try:
        store = ChainStore(data, max_pages)
        fresh = store.get_meta(GENESIS_KEY) is None
        faucet = faucet_address(data, faucet_key_file, create=fresh)
        others = mnemonic_addresses(mnemonic, accounts) if mnemonic else []
        backend = PersistentBackend(store, _genesis(store, chain_id, faucet, others))
    except (StartRefused, RpcError) as refusal:
        raise _not_started(str(refusal)) from refusal
    if test_clock:
        backend.clock = ShiftableClock(backend.head().timestamp)
    application = RpcServer(Methods(backend))
    try:
        _serve(application, port, {"chain_id": chain_id, "faucet": faucet})
    finally:  # also where the signal comes before the server waits for anything
        with application.lock:  # a write under way ends before the store is closed
            store.close()


def _genesis(store: ChainStore, chain_id: int, faucet: str | None, others: list[str]) -> Genesis:
    """Parameters of the stored chain, checked; or those of a new one."""
    funded = ([faucet] if faucet else []) + others
    kept = store.get_meta(GENESIS_KEY)
    if kept is not None:
        genesis = Genesis.from_json(kept)
        genesis.require_reopens_as(chain_id, funded)
        return genesis
    balances = dict.fromkeys(others, ACCOUNT_BALANCE)
    if faucet:
        balances[faucet] = FAUCET_BALANCE
    return Genesis(chain_id, FORK, BLOCK_GAS_LIMIT, int(time.time()), balances)


def _serve(application: RpcServer, port: int, about: dict[str, object]) -> None:
    try:
        server = listen(application, HOST, port, threads=THREADS, most_body=MOST_BODY_BYTES)
    except OSError as taken:
        raise _not_started(f"port {port} on {HOST}: {taken.strerror}") from taken
    url = f"http://{HOST}:{server.effective_port}"
    click.echo(json.dumps({"ready": True, "url": url, **about}))
    sys.stdout.flush()
    log.info("serving", url=url, **about)
    server.run()  # returns on SystemExit, which the signal raises
    with application.lock:
        server.close()


def _not_started(why: str) -> logs.NotStarted:
    remedy = "Correct its options, or free what it needs, and start again."
    return logs.NotStarted(Refusal(code="chain_not_started", message=why, remedy=remedy))


def _stop(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main()
