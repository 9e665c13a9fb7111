// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// Did this address sign this digest? ECDSA first, so that an account that carries code (EIP-7702) can
/// always use its own key; then ERC-1271, with capped gas, so that a hostile wallet cannot eat a batch.
library Signatures {
    /// Enough for a P-256 wallet without the precompile (about 272,000 gas), and no more.
    uint256 internal constant ERC1271_GAS = 400_000;

    function isValid(address signer, bytes32 digest, bytes memory signature) internal view returns (bool) {
        // What else it returns only details the problem.
        // slither-disable-next-line unused-return
        (address recovered, ECDSA.RecoverError problem,) = ECDSA.tryRecover(digest, signature);
        if (problem == ECDSA.RecoverError.NoError && recovered == signer) return true;
        return signer.code.length != 0 && _isValidContractSignature(signer, digest, signature);
    }

    function _isValidContractSignature(address signer, bytes32 digest, bytes memory signature)
        private
        view
        returns (bool)
    {
        bytes memory question = abi.encodeCall(IERC1271.isValidSignature, (digest, signature));
        bool answered;
        bytes32 answer;
        uint256 size;
        // Assembly, because only it can bound what is copied back from a hostile wallet.
        assembly ("memory-safe") {
            answered := staticcall(ERC1271_GAS, signer, add(question, 0x20), mload(question), 0x00, 0x20)
            size := returndatasize()
            answer := mload(0x00)
        }
        return answered && size >= 32 && answer == bytes32(IERC1271.isValidSignature.selector);
    }
}
