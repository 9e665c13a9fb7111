// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// Nonces that can be used once each, in any order (as in Uniswap's Permit2): signed messages of one
/// person, carried by different relayers, do not have to wait for one another.
abstract contract UnorderedNonces {
    event NonceCancelled(address indexed signer, uint256 nonce);

    error NonceUsed(address signer, uint256 nonce);

    mapping(address signer => mapping(uint256 word => uint256 bits)) private _used;

    function isNonceUsed(address signer, uint256 nonce) public view returns (bool) {
        return (_used[signer][nonce >> 8] >> (nonce & 0xff)) & 1 == 1;
    }

    /// Makes a message that the caller signed, and that somebody holds back, worthless.
    function cancelNonce(uint256 nonce) external {
        _useNonce(msg.sender, nonce);
        emit NonceCancelled(msg.sender, nonce);
    }

    function _useNonce(address signer, uint256 nonce) internal {
        if (isNonceUsed(signer, nonce)) revert NonceUsed(signer, nonce);
        _used[signer][nonce >> 8] |= 1 << (nonce & 0xff);
    }
}
