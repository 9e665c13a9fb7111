// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// Many calls in one transaction, of which a bad one does not sink the rest: a relayer carries other
/// people's signed messages and cannot know which of them has just become stale.
abstract contract TolerantBatch {
    event EntryRefused(uint256 indexed entry, bytes reason);

    /// Runs each call as the caller's own; one that reverts changes nothing and is reported.
    /// @return refused how many were refused
    function batch(bytes[] calldata calls) external returns (uint256 refused) {
        for (uint256 i = 0; i < calls.length; ++i) {
            (bool done, bytes memory reason) = address(this).delegatecall(calls[i]);
            if (done) continue;
            ++refused;
            emit EntryRefused(i, reason);
        }
    }
}
