// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {RequestId} from "../types/Ids.sol";
import {QuorumSignature} from "./ICustodianCommittee.sol";

/// A custodian's hash of its noise, signed by it. Lists are in strictly ascending places of the epoch.
/// EIP-712: NoiseCommitment(bytes32 request,bytes32 root,uint32 epoch,uint8 place,bytes32 commitment)
struct NoiseCommitment {
    uint8 place;
    bytes32 commitment;
    bytes signature;
}

/// The noise of a sealed request of the homomorphic lane: committed to by all contributors before any of it is
/// revealed, so that nobody can cancel another's; then the set of contributors that counts, fixed once and for ever,
/// so that nobody can draw again.
///
/// Both steps are for the request's operator until `gateWindow` seconds have passed since the seal, and for anybody
/// after that, up to the settle deadline. A set of places is a bitmap: bit i is the custodian at place i.
interface INoiseRegistry {
    event NoiseCommitted(RequestId indexed request, uint16 places, bytes32[] commitments);
    event NoiseFixed(RequestId indexed request, uint16 places, bytes32 noise);

    error AlreadyBound(address market);
    error OnlyOperatorUntil(address caller, uint40 until);
    error NoiseAlreadyCommitted(RequestId request);
    error NoiseNotCommitted(RequestId request);
    error NoiseAlreadyFixed(RequestId request);
    error NoiseCommitmentEmpty(uint8 place);
    error PlacesNotCommitted(uint16 places, uint16 committed);
    error NoiseSetTooSmall(uint8 quorum, uint256 given);

    /// Once a request: the commitments of at least a quorum of its epoch, none of them zero.
    function commitNoise(RequestId request, NoiseCommitment[] calldata commitments) external;

    /// Once a request: `places`, some of those that committed and at least a quorum, signed by a quorum that holds and
    /// has verified what they revealed. What is fixed is
    /// noise = keccak256(abi.encode("usufruct/noise/1", chain id, market, request, root, epoch, places, commitments)),
    /// the commitments being those of `places`, ascending, as bytes32[].
    /// EIP-712: NoiseSet(bytes32 request,bytes32 root,uint32 epoch,uint16 places,bytes32 noise)
    function fixNoise(RequestId request, uint16 places, QuorumSignature[] calldata signatures) external;

    /// In ascending places; empty before anything was committed.
    function commitmentsOf(RequestId request) external view returns (uint16 places, bytes32[] memory commitments);
    /// Zeros until it is fixed.
    function noiseOf(RequestId request) external view returns (uint16 places, bytes32 noise);
}
