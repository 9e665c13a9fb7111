// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {NoiseRegistry} from "../src/NoiseRegistry.sol";
import {CommitteeKey, ICustodianCommittee, Member, QuorumSignature} from "../src/interfaces/ICustodianCommittee.sol";
import {INoiseRegistry, NoiseCommitment} from "../src/interfaces/INoiseRegistry.sol";
import {IResearchMarket, RequestTerms, RequestView, Stage} from "../src/interfaces/IResearchMarket.sol";
import {RequestId} from "../src/types/Ids.sol";
import {Signing} from "./base/Signing.sol";
import {Story} from "./base/Story.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";

/// bindMarket ── not the admin ── bound already: AlreadyBound ── else bound
/// commitNoise, fixNoise
/// ├── not sealed: WrongStage ── of the vault lane: WrongLane ── after the settle deadline
/// └── not the operator, while the window runs: OnlyOperatorUntil
/// commitNoise
/// ├── committed already ── fewer than a quorum ── places out of order or twice ── no member
/// ├── empty ── not signed by its own custodian, for this
/// └── else: kept, in ascending places
/// fixNoise
/// ├── nothing committed ── fixed already ── places that did not commit ── fewer than a quorum
/// ├── too few custodians, or of another set: as the committee says
/// └── else: the set and the hash of its commitments
contract NoiseTest is Story {
    address private constant STRANGER = address(0xbee);

    function setUp() public override {
        super.setUp();
        _populate(4);
        _recordJointKey(1);
    }

    function _notSigned(uint8 place) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ICustodianCommittee.BadCustodianSignature.selector, place);
    }

    function _refuseCommit(RequestId request, NoiseCommitment[] memory given, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(OPERATOR);
        noises.commitNoise(request, given);
    }

    function _refuseFix(RequestId request, uint16 places, QuorumSignature[] memory given, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(OPERATOR);
        noises.fixNoise(request, places, given);
    }

    function _refuseBoth(RequestId request, bytes memory reason) private {
        _refuseCommit(request, new NoiseCommitment[](0), reason);
        _refuseFix(request, ALL, new QuorumSignature[](0), reason);
    }

    function _assertNoise(RequestId request, uint16 places, bytes32 noise) private view {
        (uint16 told, bytes32 hash) = noises.noiseOf(request);
        assertEq(told, places, "places");
        assertEq(hash, noise, "noise");
    }

    function _assertCommitted(RequestId request, uint16 places) private view {
        (uint16 told, bytes32[] memory hashes) = noises.commitmentsOf(request);
        assertEq(told, places, "places");
        uint256 next;
        for (uint256 place = 0; place < 16; ++place) {
            if ((places >> place) & 1 == 1) assertEq(hashes[next++], _hashOf(place), "commitment");
        }
        assertEq(hashes.length, next, "as many as places");
    }

    // --- who and when

    function test_only_the_admin_binds_a_market_and_only_once() public {
        NoiseRegistry fresh = new NoiseRegistry(address(this), committee);
        bytes32 admin = fresh.DEFAULT_ADMIN_ROLE();
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, STRANGER, admin)
        );
        vm.prank(STRANGER);
        fresh.bindMarket(STRANGER);
        fresh.bindMarket(address(market));
        vm.expectRevert(abi.encodeWithSelector(INoiseRegistry.AlreadyBound.selector, address(market)));
        fresh.bindMarket(address(this));
        assertEq(fresh.market(), address(market), "market");
        assertEq(address(fresh.COMMITTEE()), address(committee), "committee");
    }

    function test_only_a_sealed_request_has_noise() public {
        RequestId request = _freeze(_onCiphertext());
        _refuseBoth(
            request, abi.encodeWithSelector(IResearchMarket.WrongStage.selector, request, Stage.Sealed, Stage.Frozen)
        );
        RequestId none = RequestId.wrap("none");
        _refuseBoth(none, abi.encodeWithSelector(IResearchMarket.WrongStage.selector, none, Stage.Sealed, Stage.None));
    }

    function test_what_is_settled_takes_no_more_noise() public {
        RequestId request = _noised();
        _settle(request);
        _refuseBoth(
            request, abi.encodeWithSelector(IResearchMarket.WrongStage.selector, request, Stage.Sealed, Stage.Settled)
        );
    }

    function test_a_request_of_the_vault_lane_has_no_noise_of_custodians() public {
        RequestId request = _settleable();
        _refuseBoth(request, abi.encodeWithSelector(IResearchMarket.WrongLane.selector, request, uint8(1)));
    }

    function test_noise_comes_up_to_the_settle_deadline_and_not_after() public {
        RequestId request = _sealedCiphertext();
        uint40 deadline = market.requestOf(request).settleDeadline;
        vm.warp(deadline + 1);
        _refuseBoth(request, abi.encodeWithSelector(IResearchMarket.SettleDeadlinePassed.selector, deadline));
        vm.warp(deadline);
        _commitNoise(request, ALL);
        _fixNoise(request, ALL);
    }

    function testFuzz_until_the_window_is_over_only_the_operator_brings_noise_in(uint40 wait) public {
        RequestId request = _sealedCiphertext();
        uint40 until = market.requestOf(request).gateDrawnAt + _policy().gateWindow;
        skip(within(wait, 0, 600));
        bool open = clock() > until;
        bytes memory refused = abi.encodeWithSelector(INoiseRegistry.OnlyOperatorUntil.selector, STRANGER, until);
        NoiseCommitment[] memory given = _commitments(request, ALL);
        if (!open) vm.expectRevert(refused);
        vm.prank(STRANGER);
        noises.commitNoise(request, given);
        if (!open) _commitNoise(request, ALL);
        QuorumSignature[] memory signatures = _noiseSignatures(request, ALL);
        if (!open) vm.expectRevert(refused);
        vm.prank(STRANGER);
        noises.fixNoise(request, ALL, signatures);
        if (!open) _fixNoise(request, ALL);
        _assertNoise(request, ALL, _noiseOver(request, ALL));
    }

    function test_the_window_ends_with_its_last_second() public {
        RequestId request = _sealedCiphertext();
        uint40 until = market.requestOf(request).gateDrawnAt + _policy().gateWindow;
        NoiseCommitment[] memory given = _commitments(request, ALL);
        vm.warp(until);
        vm.expectRevert(abi.encodeWithSelector(INoiseRegistry.OnlyOperatorUntil.selector, STRANGER, until));
        vm.prank(STRANGER);
        noises.commitNoise(request, given);
        vm.warp(until + 1);
        vm.prank(STRANGER);
        noises.commitNoise(request, given);
        _assertCommitted(request, ALL);
    }

    // --- commitNoise

    function test_commitments_are_kept_in_ascending_places() public {
        RequestId request = _sealedCiphertext();
        _assertCommitted(request, 0);
        NoiseCommitment[] memory given = _commitments(request, 5);
        bytes32[] memory hashes = new bytes32[](2);
        (hashes[0], hashes[1]) = (_hashOf(0), _hashOf(2));
        vm.expectEmit(address(noises));
        emit INoiseRegistry.NoiseCommitted(request, 5, hashes);
        vm.prank(OPERATOR);
        noises.commitNoise(request, given);
        _assertCommitted(request, 5);
        _assertNoise(request, 0, 0);
    }

    function test_noise_is_committed_once() public {
        RequestId request = _sealedCiphertext();
        _commitNoise(request, 3);
        bytes memory refused = abi.encodeWithSelector(INoiseRegistry.NoiseAlreadyCommitted.selector, request);
        _refuseCommit(request, _commitments(request, 3), refused);
        _refuseCommit(request, _commitments(request, ALL), refused);
        _assertCommitted(request, 3);
    }

    function test_fewer_than_a_quorum_commit_nothing() public {
        RequestId request = _sealedCiphertext();
        NoiseCommitment[] memory one = _commitments(request, 4);
        _refuseCommit(request, one, abi.encodeWithSelector(ICustodianCommittee.QuorumMissing.selector, uint8(2), 1));
    }

    function test_commitments_are_of_members_each_once_and_in_order() public {
        RequestId request = _sealedCiphertext();
        NoiseCommitment[] memory given = _commitments(request, ALL);
        given[2] = given[1];
        _refuseCommit(request, given, abi.encodeWithSelector(ICustodianCommittee.SignaturesOutOfOrder.selector, 1));
        given[2] = given[0];
        _refuseCommit(request, given, abi.encodeWithSelector(ICustodianCommittee.SignaturesOutOfOrder.selector, 0));
        given[2] = _commitment(request, 3, CUSTODIAN + 3);
        bytes memory unknown = abi.encodeWithSelector(ICustodianCommittee.UnknownPlace.selector, uint32(1), uint8(3));
        _refuseCommit(request, given, unknown);
        given[2] = _commitment(request, 255, CUSTODIAN + 3);
        unknown = abi.encodeWithSelector(ICustodianCommittee.UnknownPlace.selector, uint32(1), uint8(255));
        _refuseCommit(request, given, unknown);
    }

    function test_a_commitment_is_not_empty_and_is_its_custodians_own() public {
        RequestId request = _sealedCiphertext();
        NoiseCommitment[] memory given = _commitments(request, ALL);
        given[1].commitment = 0;
        _refuseCommit(request, given, abi.encodeWithSelector(INoiseRegistry.NoiseCommitmentEmpty.selector, uint8(1)));
        given[1] = _commitment(request, 1, CUSTODIAN + 2);
        _refuseCommit(request, given, _notSigned(1));
    }

    function testFuzz_a_changed_commitment_is_not_signed(uint256 field, uint256 change) public {
        RequestId request = _sealedCiphertext();
        NoiseCommitment[] memory given = _commitments(request, ALL);
        RequestView memory r = market.requestOf(request);
        (RequestId id, bytes32 root, uint32 epoch, uint8 place, bytes32 hash) =
            (request, r.root, r.epoch, 1, _hashOf(1));
        bytes32 before = Signing.noiseCommitmentHash(id, root, epoch, place, hash);
        field %= 5;
        if (field == 0) id = RequestId.wrap(bytes32(change));
        if (field == 1) root = bytes32(change);
        if (field == 2) epoch = uint32(change);
        if (field == 3) place = uint8(change);
        if (field == 4) hash = bytes32(change);
        bytes32 structHash = Signing.noiseCommitmentHash(id, root, epoch, place, hash);
        vm.assume(structHash != before);
        given[1].signature = signature(CUSTODIAN + 1, _noiseDigest(structHash));
        _refuseCommit(request, given, _notSigned(1));
    }

    function testFuzz_a_commitment_to_another_contract_or_chain_is_refused(uint64 chain, address contract_) public {
        vm.assume(chain != block.chainid && contract_ != address(noises));
        RequestId request = _sealedCiphertext();
        NoiseCommitment[] memory given = _commitments(request, ALL);
        RequestView memory r = market.requestOf(request);
        bytes32 said = Signing.noiseCommitmentHash(request, r.root, r.epoch, 0, _hashOf(0));
        bytes32 there = Signing.digestOn(chain, "Usufruct NoiseRegistry", address(noises), said);
        given[0].signature = signature(CUSTODIAN, there);
        _refuseCommit(request, given, _notSigned(0));
        given[0].signature = signature(CUSTODIAN, Signing.digest("Usufruct NoiseRegistry", contract_, said));
        _refuseCommit(request, given, _notSigned(0));
        given[0].signature = signature(CUSTODIAN, Signing.digest("Usufruct ResearchMarket", address(noises), said));
        _refuseCommit(request, given, _notSigned(0));
    }

    function test_commitments_to_one_request_are_none_to_another() public {
        RequestId first = _committedCiphertext();
        NoiseCommitment[] memory stolen = _commitments(first, ALL);
        skip(THAW_GAP + 1);
        vm.roll(vm.getBlockNumber() + 1);
        RequestId second = _sealedAgain();
        _refuseCommit(second, stolen, _notSigned(0));
        _assertCommitted(second, 0);
    }

    function _sealedAgain() private returns (RequestId request) {
        RequestTerms memory terms = _onCiphertext();
        terms.salt = "again";
        request = _freeze(terms);
        _sealAll(request);
    }

    // --- fixNoise

    function test_a_set_is_kept_with_the_hash_of_its_commitments() public {
        RequestId request = _committedCiphertext();
        QuorumSignature[] memory signatures = _noiseSignatures(request, 6);
        vm.expectEmit(address(noises));
        emit INoiseRegistry.NoiseFixed(request, 6, _noiseOver(request, 6));
        vm.prank(OPERATOR);
        noises.fixNoise(request, 6, signatures);
        _assertNoise(request, 6, _noiseOver(request, 6));
        _assertCommitted(request, ALL);
    }

    function test_nothing_is_fixed_before_it_was_committed() public {
        RequestId request = _sealedCiphertext();
        bytes memory refused = abi.encodeWithSelector(INoiseRegistry.NoiseNotCommitted.selector, request);
        _refuseFix(request, ALL, _noiseSignatures(request, ALL), refused);
    }

    function test_noise_is_fixed_once() public {
        RequestId request = _noised();
        bytes memory refused = abi.encodeWithSelector(INoiseRegistry.NoiseAlreadyFixed.selector, request);
        _refuseFix(request, ALL, _noiseSignatures(request, ALL), refused);
        _refuseFix(request, 3, _noiseSignatures(request, 3), refused);
        _assertNoise(request, ALL, _noiseOver(request, ALL));
    }

    function test_a_set_needs_a_quorums_signatures() public {
        RequestId request = _committedCiphertext();
        QuorumSignature[] memory one = new QuorumSignature[](1);
        one[0] = _noiseSignatures(request, ALL)[0];
        bytes memory missing = abi.encodeWithSelector(ICustodianCommittee.QuorumMissing.selector, uint8(2), 1);
        _refuseFix(request, ALL, one, missing);
        _refuseFix(request, ALL, _noiseSignatures(request, 3), _notSigned(0));
    }

    function testFuzz_a_changed_set_is_not_signed(uint256 field, uint256 change) public {
        RequestId request = _committedCiphertext();
        RequestView memory r = market.requestOf(request);
        bytes32 noise = _noiseOver(request, ALL);
        (RequestId id, bytes32 root, uint32 epoch, uint16 places) = (request, r.root, r.epoch, ALL);
        bytes32 before = Signing.noiseSetHash(id, root, epoch, places, noise);
        field %= 5;
        if (field == 0) id = RequestId.wrap(bytes32(change));
        if (field == 1) root = bytes32(change);
        if (field == 2) epoch = uint32(change);
        if (field == 3) places = uint16(change);
        if (field == 4) noise = bytes32(change);
        bytes32 structHash = Signing.noiseSetHash(id, root, epoch, places, noise);
        vm.assume(structHash != before);
        _refuseFix(request, ALL, _quorum(_noiseDigest(structHash), 0), _notSigned(0));
    }

    /// The hash names chain and market, so that noise of a request of one is none of another's.
    function test_after_a_fork_of_the_chain_the_noise_is_another() public {
        RequestId request = _committedCiphertext();
        QuorumSignature[] memory signatures = _noiseSignatures(request, ALL);
        bytes32 here = _noiseOver(request, ALL);
        vm.chainId(block.chainid + 1);
        assertTrue(_noiseOver(request, ALL) != here, "another");
        _refuseFix(request, ALL, signatures, _notSigned(0));
    }

    function test_the_committee_of_the_freeze_brings_noise_in_whatever_epoch_has_come() public {
        RequestId request = _sealedCiphertext();
        _openEpoch(1);
        NoiseCommitment[] memory given = _commitments(request, ALL);
        given[1] = _commitment(request, 1, CUSTODIAN + 101);
        _refuseCommit(request, given, _notSigned(1));
        _commitNoise(request, ALL);
        RequestView memory r = market.requestOf(request);
        bytes32 said = Signing.noiseSetHash(request, r.root, r.epoch, ALL, _noiseOver(request, ALL));
        _refuseFix(request, ALL, _quorum(_noiseDigest(said), 1), _notSigned(0));
        _fixNoise(request, ALL);
    }

    // --- sixteen custodians, of whom nine are a quorum

    uint8 private constant NINE = 9;

    function _openLargestEpoch() private {
        Member[] memory members = new Member[](16);
        address[] memory gates = new address[](1);
        gates[0] = vm.addr(GATE);
        bytes memory points;
        for (uint256 place = 0; place < 16; ++place) {
            CommitteeKey[] memory keys = new CommitteeKey[](1);
            keys[0] = CommitteeKey(1, abi.encodePacked(keccak256(abi.encode("key", place))));
            members[place] = Member(vm.addr(CUSTODIAN + place), keys);
            if (place < NINE) points = abi.encodePacked(points, hex"02", keccak256(abi.encode(place)));
        }
        uint32 epoch = committee.openEpoch(members, NINE, gates);
        committee.recordJointKey(epoch, points, "t", _all16(_committeeDigest(Signing.jointKeyHash(epoch, points, "t"))));
    }

    function _all16(bytes32 digest) private pure returns (QuorumSignature[] memory given) {
        given = new QuorumSignature[](16);
        for (uint8 i = 0; i < 16; ++i) {
            given[i] = QuorumSignature(i, signature(CUSTODIAN + i, digest));
        }
    }

    /// The last nine of sixteen.
    function _nine(bytes32 digest) private pure returns (QuorumSignature[] memory given) {
        given = new QuorumSignature[](NINE);
        for (uint8 i = 0; i < NINE; ++i) {
            given[i] = QuorumSignature(i + 7, signature(CUSTODIAN + i + 7, digest));
        }
    }

    function _bits(uint16 places) private pure returns (uint256 number) {
        for (uint256 place = 0; place < 16; ++place) {
            if ((places >> place) & 1 == 1) ++number;
        }
    }

    function testFuzz_a_set_is_at_least_a_quorum_of_those_that_committed(uint16 committed, uint16 places, bool within_)
        public
    {
        for (uint256 place = 0; _bits(committed) < NINE; ++place) {
            committed |= uint16(1 << place);
        }
        if (within_) places &= committed;
        _openLargestEpoch();
        RequestId request = _sealedCiphertext();
        _commitNoise(request, committed);
        _assertCommitted(request, committed);
        RequestView memory r = market.requestOf(request);
        bytes32 noise = _noiseOver(request, places);
        QuorumSignature[] memory signatures =
            _nine(_noiseDigest(Signing.noiseSetHash(request, r.root, r.epoch, places, noise)));
        if (places & ~committed != 0) {
            _refuseFix(
                request,
                places,
                signatures,
                abi.encodeWithSelector(INoiseRegistry.PlacesNotCommitted.selector, places, committed)
            );
        } else if (_bits(places) < NINE) {
            bytes memory few = abi.encodeWithSelector(INoiseRegistry.NoiseSetTooSmall.selector, NINE, _bits(places));
            _refuseFix(request, places, signatures, few);
        } else {
            vm.prank(OPERATOR);
            noises.fixNoise(request, places, signatures);
            _assertNoise(request, places, noise);
        }
    }

    function test_all_sixteen_may_commit_and_count() public {
        _openLargestEpoch();
        RequestId request = _sealedCiphertext();
        _commitNoise(request, type(uint16).max);
        RequestView memory r = market.requestOf(request);
        bytes32 noise = _noiseOver(request, type(uint16).max);
        bytes32 said = Signing.noiseSetHash(request, r.root, r.epoch, type(uint16).max, noise);
        vm.prank(OPERATOR);
        noises.fixNoise(request, type(uint16).max, _nine(_noiseDigest(said)));
        _assertNoise(request, type(uint16).max, noise);
    }
}
