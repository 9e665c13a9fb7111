// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {CustodianCommittee} from "../src/CustodianCommittee.sol";
import {CommitteeKey, ICustodianCommittee, Member, QuorumSignature} from "../src/interfaces/ICustodianCommittee.sol";
import {Signing} from "./base/Signing.sol";
import {World} from "./base/World.sol";

/// openEpoch ── members, quorum, keys and gates, each out of bounds (sizes: Registries.t.sol)
/// requireQuorum ── unknown epoch ── too few ── out of order or twice ── unknown place ── bad signature
/// recordJointKey ── unknown epoch ── recorded already ── not a point for each of the quorum ── not all signed ── else kept
/// requireJointKey, jointKeyOf ── unknown epoch ── none recorded: NoJointKey, or empty
/// anchorJournal ── unknown place ── not the custodian's ── not rising ── else anchored
contract CommitteeTest is World {
    function _member(uint256 key) private pure returns (Member[] memory members) {
        members = new Member[](1);
        members[0].signer = vm.addr(key);
        members[0].keys = new CommitteeKey[](1);
        members[0].keys[0] = CommitteeKey(1, abi.encodePacked(keccak256("x25519")));
    }

    function _gate() private pure returns (address[] memory gates) {
        gates = new address[](1);
        gates[0] = vm.addr(GATE);
    }

    function _refuse(Member[] memory members, bytes memory reason) private {
        address[] memory gates = _gate();
        vm.expectRevert(reason);
        committee.openEpoch(members, uint8(members.length), gates);
    }

    function _refuseKey(uint16 scheme, bytes memory key) private {
        Member[] memory members = _member(1);
        members[0].keys = new CommitteeKey[](2);
        members[0].keys[0] = CommitteeKey(1, abi.encodePacked(keccak256("x25519")));
        members[0].keys[1] = CommitteeKey(scheme, key);
        _refuse(members, abi.encodeWithSelector(ICustodianCommittee.InvalidMember.selector, 0));
    }

    function test_before_the_first_epoch_there_is_none() public {
        CustodianCommittee fresh = new CustodianCommittee(address(this));
        vm.expectRevert(ICustodianCommittee.NoEpoch.selector);
        fresh.currentEpoch();
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.UnknownEpoch.selector, uint32(1)));
        fresh.quorumOf(1);
    }

    function test_a_member_has_an_address_of_its_own() public {
        Member[] memory members = _member(1);
        members[0].signer = address(0);
        _refuse(members, abi.encodeWithSelector(ICustodianCommittee.InvalidMember.selector, 0));
        members = new Member[](2);
        members[0] = _member(1)[0];
        members[1] = _member(1)[0];
        _refuse(members, abi.encodeWithSelector(ICustodianCommittee.DuplicateMember.selector, vm.addr(1)));
    }

    function test_a_key_fits_its_scheme_and_comes_once() public {
        _refuseKey(1, abi.encodePacked(keccak256("a second one")));
        _refuseKey(2, new bytes(32));
        _refuseKey(2, new bytes(33));
        _refuseKey(3, "");
        _refuseKey(4, "unknown");
        Member[] memory members = _member(1);
        members[0].keys[0] = CommitteeKey(1, new bytes(32));
        _refuse(members, abi.encodeWithSelector(ICustodianCommittee.InvalidMember.selector, 0));
        members[0].keys[0] = CommitteeKey(3, "ckks, and no x25519");
        _refuse(members, abi.encodeWithSelector(ICustodianCommittee.InvalidMember.selector, 0));
    }

    function test_every_scheme_has_its_key() public {
        Member[] memory members = _member(1);
        members[0].keys = new CommitteeKey[](3);
        members[0].keys[0] = CommitteeKey(1, abi.encodePacked(keccak256("x25519")));
        members[0].keys[1] = CommitteeKey(2, abi.encodePacked(hex"03", keccak256("elgamal")));
        members[0].keys[2] = CommitteeKey(3, "ckks");
        uint32 epoch = committee.openEpoch(members, 1, _gate());
        assertEq(keccak256(committee.keyOf(epoch, 0, 3)), keccak256("ckks"), "key");
        assertEq(committee.keyOf(epoch, 0, 2).length, 33, "key");
        (uint8 quorum, uint8 size) = committee.quorumOf(epoch);
        assertTrue(quorum == 1 && size == 1, "quorum");
    }

    function test_gates_are_some_and_each_once() public {
        Member[] memory members = _member(1);
        address[] memory gates = new address[](0);
        vm.expectRevert(ICustodianCommittee.NoGates.selector);
        committee.openEpoch(members, 1, gates);
        gates = new address[](33);
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.TooManyGates.selector, 33));
        committee.openEpoch(members, 1, gates);
        gates = new address[](2);
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.InvalidGate.selector, address(0)));
        committee.openEpoch(members, 1, gates);
        (gates[0], gates[1]) = (address(1), address(1));
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.InvalidGate.selector, address(1)));
        committee.openEpoch(members, 1, gates);
    }

    function test_a_quorum_is_in_order_and_of_known_places() public {
        QuorumSignature[] memory given = _quorum("digest", 0);
        given[1].place = 0;
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.SignaturesOutOfOrder.selector, uint8(0)));
        committee.requireQuorum(1, "digest", given);
        given[1].place = 3;
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.UnknownPlace.selector, uint32(1), uint8(3)));
        committee.requireQuorum(1, "digest", given);
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.UnknownEpoch.selector, uint32(2)));
        committee.requireQuorum(2, "digest", given);
    }

    function test_a_journal_is_anchored_by_its_custodian_and_only_rises() public {
        bytes memory signed = _anchorSignature(1, 7, CUSTODIAN + 1);
        committee.anchorJournal(1, 1, 7, "head", signed);
        (uint64 height, bytes32 head) = committee.journalOf(committee.signerOf(1, 1));
        assertTrue(height == 7 && head == "head", "anchored");
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.JournalNotRising.selector, uint64(7), uint64(7)));
        committee.anchorJournal(1, 1, 7, "head", signed);
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.BadCustodianSignature.selector, uint8(1)));
        committee.anchorJournal(1, 1, 8, "head", signed);
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.UnknownPlace.selector, uint32(1), uint8(3)));
        committee.anchorJournal(1, 3, 8, "head", signed);
    }

    // --- the joint key

    function _refuseJointKey(uint32 epoch, bytes memory points, bytes memory reason) private {
        QuorumSignature[] memory signatures = _quorum(_committeeDigest(Signing.jointKeyHash(epoch, points, "t")), 0);
        vm.expectRevert(reason);
        committee.recordJointKey(epoch, points, "t", signatures);
    }

    function test_a_joint_key_is_recorded_once_and_for_ever() public {
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.NoJointKey.selector, uint32(1)));
        committee.requireJointKey(1);
        (bytes memory told, bytes32 transcript) = committee.jointKeyOf(1);
        assertTrue(told.length == 0 && transcript == 0, "none");
        vm.expectEmit(address(committee));
        emit ICustodianCommittee.JointKeyRecorded(1, "transcript", _points());
        _recordJointKey(1);
        committee.requireJointKey(1);
        (told, transcript) = committee.jointKeyOf(1);
        assertEq(keccak256(told), keccak256(_points()), "commitments");
        assertEq(transcript, bytes32("transcript"), "transcript");
        _refuseJointKey(1, _points(), abi.encodeWithSelector(ICustodianCommittee.JointKeyExists.selector, uint32(1)));
    }

    function test_an_epoch_that_is_not_open_has_no_joint_key() public {
        bytes memory refused = abi.encodeWithSelector(ICustodianCommittee.UnknownEpoch.selector, uint32(2));
        _refuseJointKey(2, _points(), refused);
        vm.expectRevert(refused);
        committee.requireJointKey(2);
        vm.expectRevert(refused);
        committee.jointKeyOf(2);
        _openEpoch(1);
        _recordJointKey(2);
        committee.requireJointKey(2);
    }

    /// A quorum of two: 66 bytes, of which the first and the 34th are 2 or 3.
    function testFuzz_a_joint_key_is_a_compressed_point_for_each_of_the_quorum(bytes1 first, bytes1 second, uint8 size)
        public
    {
        if (uint8(first) % 2 == 0) first = 0x02;
        if (uint8(second) % 2 == 0) second = 0x03;
        uint256 length = uint256(size) % 4 == 0 ? size : 66;
        bytes memory points = new bytes(length);
        if (length > 0) points[0] = first;
        if (length > 33) points[33] = second;
        bool good = length == 66 && (first == 0x02 || first == 0x03) && (second == 0x02 || second == 0x03);
        if (!good) {
            _refuseJointKey(1, points, abi.encodeWithSelector(ICustodianCommittee.JointKeyInvalid.selector, uint32(1)));
            return;
        }
        committee.recordJointKey(1, points, "t", _all(_committeeDigest(Signing.jointKeyHash(1, points, "t")), 0));
        (bytes memory told,) = committee.jointKeyOf(1);
        assertEq(keccak256(told), keccak256(points), "commitments");
    }

    /// A quorum could keep the others from a share, and then the key from being used.
    function test_a_joint_key_needs_every_member() public {
        bytes32 digest = _committeeDigest(Signing.jointKeyHash(1, _points(), "t"));
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.QuorumMissing.selector, uint8(3), 2));
        committee.recordJointKey(1, _points(), "t", _quorum(digest, 0));
        QuorumSignature[] memory twice = _all(digest, 0);
        twice[1] = twice[0];
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.SignaturesOutOfOrder.selector, uint8(0)));
        committee.recordJointKey(1, _points(), "t", twice);
        committee.recordJointKey(1, _points(), "t", _all(digest, 0));
    }

    function testFuzz_a_changed_joint_key_is_not_signed(uint256 field, uint256 change) public {
        (uint32 epoch, bytes memory points, bytes32 transcript) = (1, _points(), "t");
        bytes32 before = Signing.jointKeyHash(epoch, points, transcript);
        field %= 3;
        if (field == 0) epoch = uint32(change);
        if (field == 1) points[1 + change % 32] = bytes1(uint8(change >> 8));
        if (field == 2) transcript = bytes32(change);
        bytes32 structHash = Signing.jointKeyHash(epoch, points, transcript);
        vm.assume(structHash != before);
        QuorumSignature[] memory signatures = _all(_committeeDigest(structHash), 0);
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.BadCustodianSignature.selector, uint8(0)));
        committee.recordJointKey(1, _points(), "t", signatures);
    }

    function _anchorSignature(uint8 place, uint64 height, uint256 key) private view returns (bytes memory) {
        bytes32 kind = keccak256("JournalHead(uint32 epoch,uint8 place,uint64 height,bytes32 head)");
        bytes32 structHash = keccak256(abi.encode(kind, uint32(1), place, height, bytes32("head")));
        return signature(key, Signing.digest("Usufruct CustodianCommittee", address(committee), structHash));
    }
}
