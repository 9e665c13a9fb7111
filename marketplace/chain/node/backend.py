"""eth-tester's py-evm backend on a store that lasts, with an index where eth-tester scans.

Blocks are built in one step from the head that the store holds (no pending block is kept in
memory), so a failed write leaves nothing behind: the next call starts from the stored head again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import rlp
from eth.abc import BlockAPI, BlockHeaderAPI, ReceiptAPI, SignedTransactionAPI, StateAPI
from eth.chains.base import MiningChain
from eth.db.atomic import AtomicDB
from eth.exceptions import HeaderNotFound, PyEVMError
from eth.exceptions import TransactionNotFound as EvmTransactionNotFound
from eth.typing import AccountDetails
from eth.vm.forks.prague import PragueVM
from eth_tester.backends.pyevm.main import PyEVMBackend
from eth_tester.backends.pyevm.serializers import (
    serialize_block,
    serialize_transaction,
    serialize_transaction_receipt,
)
from eth_typing import Address, BlockNumber, Hash32
from eth_utils.address import to_canonical_address
from eth_utils.exceptions import ValidationError

from marketplace.chain.node.admission import require_admissible, require_size
from marketplace.chain.node.clock import WallClock
from marketplace.chain.node.errors import BlockUnknown, TransactionRefused
from marketplace.chain.node.genesis import Genesis
from marketplace.chain.node.storage import ChainStore, LogRow

GENESIS_KEY = "genesis"


class PersistentBackend(PyEVMBackend):  # type: ignore[misc]  # eth-tester has no types
    """The chain of one store: opened where it was left, or begun with ``genesis``."""

    chain: MiningChain

    def __init__(self, store: ChainStore, genesis: Genesis) -> None:
        self.store = store
        self.genesis = genesis
        self.clock = WallClock()
        super().__init__()

    # eth-tester calls this from its constructor to begin a chain; its arguments are not used, since
    # the genesis is the store's.
    def reset_to_genesis(self, *_: object) -> None:
        """Open the stored chain, or write block 0 and its parameters in one transaction."""
        self.account_keys = ()  # the node signs for nobody
        database = AtomicDB(self.store)
        chain_class = MiningChain.configure(
            __name__="NodeChain",
            chain_id=self.genesis.chain_id,
            vm_configuration=((0, PragueVM),),
        )
        if self.store.get_meta(GENESIS_KEY) is None:
            with self.store.write():
                chain_class.from_genesis(database, self._block_zero(), self._funded_accounts())
                self.store.set_meta(GENESIS_KEY, self.genesis.to_json())
        self.chain = chain_class(database)

    def _block_zero(self) -> dict[str, Any]:
        wanted = {"gas_limit": self.genesis.gas_limit, "timestamp": self.genesis.timestamp}
        return dict(self.generate_genesis_params(overrides=wanted))

    def _funded_accounts(self) -> dict[Address, AccountDetails]:
        return {
            to_canonical_address(address): AccountDetails(
                balance=wei, nonce=0, code=b"", storage={}
            )
            for address, wei in self.genesis.balances.items()
        }

    # Headers and states

    def head(self) -> BlockHeaderAPI:
        """Header of the newest block in the store."""
        return self.chain.get_canonical_head()

    def next_header(self) -> BlockHeaderAPI:
        """Header of the block that would be mined now; its state root is still the head's."""
        head = self.head()
        return self.chain.create_header_from_parent(
            head,
            timestamp=self.clock.stamp(head.timestamp),
            gas_limit=head.gas_limit,
            mix_hash=os.urandom(32),  # PREVRANDAO (EIP-4399)
        )

    def header_at(self, number: int) -> BlockHeaderAPI:
        """Header of block ``number``. Raises ``BlockUnknown``."""
        try:
            return self.chain.get_canonical_block_header_by_number(BlockNumber(number))
        except (HeaderNotFound, ValidationError) as absent:
            newest = self.head().block_number
            raise BlockUnknown(
                f"header not found: block {number} is unknown, the head is block {newest}"
            ) from absent

    def header_of(self, block_hash: Hash32) -> BlockHeaderAPI:
        """Header of the block with this hash. Raises ``BlockUnknown``."""
        try:
            return self.chain.get_block_header_by_hash(block_hash)
        except (HeaderNotFound, ValidationError) as absent:
            raise BlockUnknown(
                f"header not found: no block has hash 0x{block_hash.hex()}"
            ) from absent

    def state_at(self, header: BlockHeaderAPI) -> StateAPI:
        """World state under ``header``; nothing executed on it is kept."""
        return self.chain.get_vm(header).state

    # Blocks, transactions, receipts

    def describe_block(self, header: BlockHeaderAPI, *, full: bool) -> dict[str, Any]:
        """eth-tester's description of a block, with its transactions in full or by hash."""
        block = self.chain.get_block_by_header(header)
        # eth-tester pads extra_data, and a padded header no longer hashes to the block's hash.
        return {**serialize_block(block, full, False), "extra_data": header.extra_data}

    def find_transaction(self, digest: Hash32) -> tuple[BlockAPI, int] | None:
        """The block that holds a transaction, and its index there; None when there is none."""
        try:
            number, index = self.chain.get_canonical_transaction_index(digest)
        except EvmTransactionNotFound:
            return None
        return self.chain.get_block_by_header(self.header_at(number)), index

    def get_transaction_by_hash(self, transaction_hash: Hash32) -> dict[str, Any] | None:
        """eth-tester's description of a transaction; None when unknown."""
        found = self.find_transaction(transaction_hash)
        if found is None:
            return None
        block, index = found
        return dict(serialize_transaction(block, block.transactions[index], index, False))

    def get_transaction_receipt(self, transaction_hash: Hash32) -> dict[str, Any] | None:
        """eth-tester's description of a receipt, with its bloom filter; None when unknown."""
        found = self.find_transaction(transaction_hash)
        if found is None:
            return None
        block, index = found
        receipts = block.get_receipts(self.chain.chaindb)
        transaction = block.transactions[index]
        fields = serialize_transaction_receipt(block, receipts, transaction, index, False, None)
        return {**fields, "logs_bloom": receipts[index].bloom}

    # Writing

    def send_raw_transaction(self, raw_transaction: bytes) -> bytes:
        """Mine one signed transaction in a block of its own; returns its hash, once it is on disk.

        One that reverts is mined too, with status 0. Raises ``TransactionRefused`` when it can not
        be mined, ``StoreFull`` when it can not be kept; then nothing has changed.
        """
        require_size(raw_transaction)
        transaction = self._decode(raw_transaction)
        header = self.next_header()
        state = self.state_at(header)
        require_admissible(transaction, header, state, self.genesis.chain_id)
        try:
            self._mine(header, (transaction,))
        except ValidationError as refusal:
            raise TransactionRefused(f"invalid transaction: {refusal}") from refusal
        return bytes(transaction.hash)

    def _decode(self, raw: bytes) -> SignedTransactionAPI:
        builder = self.chain.get_vm().get_transaction_builder()
        try:
            return builder.decode(raw)
        except (
            rlp.exceptions.RLPException,
            PyEVMError,
            ValidationError,
            ValueError,
            IndexError,
            TypeError,  # a list in the place of a number
        ) as fault:
            raise TransactionRefused(
                "rlp: these bytes do not decode to a signed transaction"
            ) from fault

    def mine_blocks(self, num_blocks: int = 1, coinbase: object = None) -> tuple[bytes, ...]:  # noqa: ARG002 - eth-tester's signature
        """Mine empty blocks; returns their hashes."""
        return tuple(self._mine(self.next_header(), ()).hash for _ in range(num_blocks))

    def _mine(
        self, header: BlockHeaderAPI, transactions: Sequence[SignedTransactionAPI]
    ) -> BlockAPI:
        """Execute, seal and store one block in one SQLite transaction."""
        with self.store.write():
            block, receipts = self._execute(header, transactions)
            self.chain.validate_block(block)
            self.chain.chaindb.persist_block(block)
            self._index_logs(block, receipts)
        self.clock.block_mined()
        self.chain.header = self.chain.create_header_from_parent(block.header)
        return block

    def _execute(
        self, header: BlockHeaderAPI, transactions: Sequence[SignedTransactionAPI]
    ) -> tuple[BlockAPI, tuple[ReceiptAPI, ...]]:
        vm = self.chain.get_vm(header)
        applied, receipts, _ = vm.apply_all_transactions(transactions, header)
        filled = vm.set_block_transactions_and_withdrawals(
            vm.get_block(), applied, transactions, receipts
        )
        return vm.mine_block(filled).block, receipts

    def _index_logs(self, block: BlockAPI, receipts: Sequence[ReceiptAPI]) -> None:
        position = 0
        for index, receipt in enumerate(receipts):
            for log in receipt.logs:
                topics = tuple(topic.to_bytes(32, "big") for topic in log.topics)
                digest = block.transactions[index].hash
                where = (block.number, position, block.hash, index, digest)
                self.store.add_log(LogRow(*where, log.address, topics, log.data))
                position += 1
