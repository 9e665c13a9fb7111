// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Signatures} from "./Signatures.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// EIP-712 messages that others may carry: bound to chain and contract, signed by an account or a wallet contract.
abstract contract SignedMessages is EIP712 {
    error BadSignature(address signer);
    error DeadlinePassed(uint40 deadline);

    function _requireSigned(address signer, bytes32 structHash, bytes calldata signature) internal view {
        if (!Signatures.isValid(signer, _hashTypedDataV4(structHash), signature)) revert BadSignature(signer);
    }

    function _requireInTime(uint40 deadline) internal view {
        if (block.timestamp > deadline) revert DeadlinePassed(deadline);
    }
}
