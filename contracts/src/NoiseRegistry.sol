// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Signatures} from "./base/Signatures.sol";
import {ICustodianCommittee, QuorumSignature} from "./interfaces/ICustodianCommittee.sol";
import {INoiseRegistry, NoiseCommitment} from "./interfaces/INoiseRegistry.sol";
import {IResearchMarket, RequestView, Stage} from "./interfaces/IResearchMarket.sol";
import {RequestId} from "./types/Ids.sol";
import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// See INoiseRegistry. Nothing pauses it: a request that is sealed must be able to end.
contract NoiseRegistry is INoiseRegistry, AccessControl, EIP712 {
    /// As ResearchMarket.HOMOMORPHIC.
    uint8 private constant HOMOMORPHIC = 2;

    bytes32 private constant NOISE_COMMITMENT =
        keccak256("NoiseCommitment(bytes32 request,bytes32 root,uint32 epoch,uint8 place,bytes32 commitment)");
    bytes32 private constant NOISE_SET =
        keccak256("NoiseSet(bytes32 request,bytes32 root,uint32 epoch,uint16 places,bytes32 noise)");

    struct Noise {
        uint16 committed; // places, 0 until committed
        uint16 places; // those that count, 0 until fixed
        bytes32 noise;
        bytes32[] commitments; // in ascending places
    }

    ICustodianCommittee public immutable COMMITTEE;
    address public market;

    mapping(RequestId => Noise) private _noises;

    constructor(address admin, ICustodianCommittee committee) EIP712("Usufruct NoiseRegistry", "1") {
        COMMITTEE = committee;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// Names the market, once and for ever.
    function bindMarket(address bound) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (market != address(0)) revert AlreadyBound(market);
        market = bound;
    }

    /// @inheritdoc INoiseRegistry
    function commitNoise(RequestId request, NoiseCommitment[] calldata commitments) external {
        // Check
        RequestView memory r = _requireOpenTo(msg.sender, request);
        Noise storage n = _noises[request];
        if (n.committed != 0) revert NoiseAlreadyCommitted(request);
        (uint16 places, bytes32[] memory hashes) = _requireCommitted(request, r, commitments);
        // Effect
        n.committed = places;
        n.commitments = hashes;
        emit NoiseCommitted(request, places, hashes);
    }

    /// @inheritdoc INoiseRegistry
    function fixNoise(RequestId request, uint16 places, QuorumSignature[] calldata signatures) external {
        // Check
        RequestView memory r = _requireOpenTo(msg.sender, request);
        Noise storage n = _noises[request];
        if (n.committed == 0) revert NoiseNotCommitted(request);
        if (n.places != 0) revert NoiseAlreadyFixed(request);
        bytes32[] memory chosen = _requireSet(r.epoch, n, places);
        bytes32 noise =
            keccak256(abi.encode("usufruct/noise/1", block.chainid, market, request, r.root, r.epoch, places, chosen));
        bytes32 structHash = keccak256(abi.encode(NOISE_SET, request, r.root, r.epoch, places, noise));
        COMMITTEE.requireQuorum(r.epoch, _hashTypedDataV4(structHash), signatures);
        // Effect
        n.places = places;
        n.noise = noise;
        emit NoiseFixed(request, places, noise);
    }

    /// @inheritdoc INoiseRegistry
    function commitmentsOf(RequestId request) external view returns (uint16 places, bytes32[] memory commitments) {
        Noise storage n = _noises[request];
        return (n.committed, n.commitments);
    }

    /// @inheritdoc INoiseRegistry
    function noiseOf(RequestId request) external view returns (uint16 places, bytes32 noise) {
        Noise storage n = _noises[request];
        return (n.places, n.noise);
    }

    /// A sealed request of this lane in time, and the caller's turn.
    function _requireOpenTo(address caller, RequestId request) private view returns (RequestView memory r) {
        r = IResearchMarket(market).requestOf(request);
        if (r.stage != Stage.Sealed) revert IResearchMarket.WrongStage(request, Stage.Sealed, r.stage);
        if (r.lane != HOMOMORPHIC) revert IResearchMarket.WrongLane(request, r.lane);
        if (block.timestamp > r.settleDeadline) revert IResearchMarket.SettleDeadlinePassed(r.settleDeadline);
        if (caller != r.operator) _requireWindowOver(caller, r.gateDrawnAt);
    }

    /// An operator that is silent must not be able to hold a request up.
    function _requireWindowOver(address caller, uint40 sealedAt) private view {
        uint40 until = sealedAt + IResearchMarket(market).policy().gateWindow;
        if (block.timestamp <= until) revert OnlyOperatorUntil(caller, until);
    }

    function _requireCommitted(RequestId request, RequestView memory r, NoiseCommitment[] calldata commitments)
        private
        view
        returns (uint16 places, bytes32[] memory hashes)
    {
        uint8 quorum = _quorumOf(r.epoch);
        if (commitments.length < quorum) revert ICustodianCommittee.QuorumMissing(quorum, commitments.length);
        hashes = new bytes32[](commitments.length);
        uint256 lowest = 0;
        for (uint256 i = 0; i < commitments.length; ++i) {
            uint8 place = commitments[i].place;
            if (place < lowest) revert ICustodianCommittee.SignaturesOutOfOrder(place);
            lowest = uint256(place) + 1;
            _requireSigned(request, r, commitments[i]);
            // There are at most 16 members, and the committee knows this place.
            places |= uint16(1) << place;
            hashes[i] = commitments[i].commitment;
        }
    }

    function _requireSigned(RequestId request, RequestView memory r, NoiseCommitment calldata c) private view {
        address signer = COMMITTEE.signerOf(r.epoch, c.place);
        if (c.commitment == 0) revert NoiseCommitmentEmpty(c.place);
        bytes32 structHash = keccak256(abi.encode(NOISE_COMMITMENT, request, r.root, r.epoch, c.place, c.commitment));
        if (!Signatures.isValid(signer, _hashTypedDataV4(structHash), c.signature)) {
            revert ICustodianCommittee.BadCustodianSignature(c.place);
        }
    }

    /// The commitments of `places`: of at least a quorum, every one of which committed.
    function _requireSet(uint32 epoch, Noise storage n, uint16 places) private view returns (bytes32[] memory chosen) {
        uint16 committed = n.committed;
        if (places & ~committed != 0) revert PlacesNotCommitted(places, committed);
        uint8 quorum = _quorumOf(epoch);
        uint256 given = _count(places);
        if (given < quorum) revert NoiseSetTooSmall(quorum, given);
        chosen = new bytes32[](given);
        uint256 next = 0;
        uint256 index = 0;
        for (uint256 place = 0; committed >> place != 0; ++place) {
            if ((committed >> place) & 1 == 0) continue;
            if ((places >> place) & 1 == 1) chosen[next++] = n.commitments[index];
            ++index;
        }
    }

    function _quorumOf(uint32 epoch) private view returns (uint8 quorum) {
        // How many members there are is asked place by place.
        // slither-disable-next-line unused-return
        (quorum,) = COMMITTEE.quorumOf(epoch);
    }

    function _count(uint16 places) private pure returns (uint256 number) {
        for (; places != 0; places &= places - 1) {
            ++number;
        }
    }
}
