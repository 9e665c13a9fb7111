// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {CustodianCommittee} from "../src/CustodianCommittee.sol";
import {DatasetRegistry} from "../src/DatasetRegistry.sol";
import {CommitteeKey, ICustodianCommittee, Member, QuorumSignature} from "../src/interfaces/ICustodianCommittee.sol";
import {IDatasetRegistry, Record, RecordAttestation, StorageReceipt} from "../src/interfaces/IDatasetRegistry.sol";
import {ClassTerms} from "../src/types/DataUseTypes.sol";
import {DatasetId} from "../src/types/Ids.sol";
import {Test} from "./Vm.sol";

/// This contract is admin, steward and consent registry at once.
contract RegistriesTest is Test {
    uint256 private constant ISSUER = 0xa11ce;
    uint256 private constant DATASETS_SLOT = 5; // of `_datasets`; the class count read back would notice a move

    CustodianCommittee private committee;
    DatasetRegistry private registry;
    DatasetId private dataset;

    function setUp() public {
        committee = new CustodianCommittee(address(this));
        registry = new DatasetRegistry(committee, address(this));
        registry.grantRole(registry.STEWARD(), address(this));
        registry.bindConsents(address(this));
        dataset = registry.publishDataset("dictionary", "salt", "");
        registry.addIssuer(dataset, vm.addr(ISSUER));
        committee.openEpoch(_members(5), 3, _gates(1));
    }

    function testFuzz_any_epoch_with_a_majority_opens_and_no_other(uint8 members, uint8 quorum, uint8 gates) public {
        members %= 20;
        gates %= 40;
        quorum %= 20;
        bytes memory refusal = _refusalOf(members, quorum, gates);
        Member[] memory asked = _members(members);
        if (refusal.length != 0) vm.expectRevert(refusal);
        uint32 epoch = committee.openEpoch(asked, quorum, _gates(gates));
        if (refusal.length != 0) return;
        assertEq(committee.currentEpoch(), epoch, "current");
        assertEq(committee.gatesOf(epoch).length, gates, "gates");
    }

    /// By name, what is wrong with an epoch of these sizes; empty if nothing is.
    function _refusalOf(uint8 members, uint8 quorum, uint8 gates) private pure returns (bytes memory) {
        uint256 size = members;
        if (size > 16) return abi.encodeWithSelector(ICustodianCommittee.TooManyMembers.selector, size);
        if (quorum > size) return abi.encodeWithSelector(ICustodianCommittee.QuorumTooLarge.selector, quorum, size);
        if (2 * quorum <= size) {
            return abi.encodeWithSelector(ICustodianCommittee.QuorumTooSmall.selector, quorum, size);
        }
        if (gates == 0) return abi.encodeWithSelector(ICustodianCommittee.NoGates.selector);
        if (gates > 32) return abi.encodeWithSelector(ICustodianCommittee.TooManyGates.selector, uint256(gates));
        return "";
    }

    /// The sizes at which each of them begins.
    function test_a_committee_is_at_most_sixteen_of_whom_a_majority_acts() public {
        uint8[4][6] memory sizes =
            [[17, 9, 1, 0], [16, 17, 1, 0], [16, 8, 1, 0], [0, 0, 1, 0], [16, 9, 1, 1], [16, 16, 32, 1]];
        for (uint256 i = 0; i < sizes.length; ++i) {
            bool opens = _refusalOf(sizes[i][0], sizes[i][1], sizes[i][2]).length == 0;
            assertTrue(opens == (sizes[i][3] == 1), "as the table says");
            testFuzz_any_epoch_with_a_majority_opens_and_no_other(sizes[i][0], sizes[i][1], sizes[i][2]);
        }
    }

    /// Any set of places in order counts if it is large enough; bit i of `chosen` is custodian i.
    function testFuzz_a_quorum_is_any_large_enough_set(uint8 chosen, bytes32 digest) public {
        chosen %= 32;
        QuorumSignature[] memory given = _signatures(chosen, digest);
        if (given.length < 3) {
            vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.QuorumMissing.selector, uint8(3), given.length));
        }
        committee.requireQuorum(1, digest, given);
    }

    function testFuzz_a_changed_digest_voids_a_quorum(uint8 chosen, bytes32 digest, bytes32 other) public {
        vm.assume(digest != other);
        QuorumSignature[] memory given = _signatures((chosen % 32) | 0x07, digest);
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.BadCustodianSignature.selector, uint8(0)));
        committee.requireQuorum(1, other, given);
    }

    function testFuzz_a_gate_is_always_drawn_from_the_list(uint8 gates, uint256 draw) public {
        gates = 1 + gates % 32;
        uint32 epoch = committee.openEpoch(_members(1), 1, _gates(gates));
        assertEq(committee.gateAt(epoch, draw), committee.gatesOf(epoch)[draw % gates], "gate");
    }

    function test_a_dataset_has_at_most_65535_classes() public {
        ClassTerms memory terms = _terms();
        registry.publishClass(dataset, terms);
        bytes32 slot = keccak256(abi.encode(dataset, DATASETS_SLOT));
        // Steward in the low 160 bits, the class count above it: one class is left.
        vm.store(address(registry), slot, bytes32(uint256(uint160(address(this))) | uint256(65_534) << 160));
        assertEq(registry.classesOf(dataset), 65_534, "count");
        assertEq(registry.publishClass(dataset, terms).indexOf(), 65_535, "last index");
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.TooManyClasses.selector, dataset));
        registry.publishClass(dataset, terms);
    }

    /// Whatever is done to a record, in whatever order: versions only rise, what is erased or suspended is not
    /// usable, and a usable record has a commitment, a binding and the person it began with.
    function testFuzz_a_record_keeps_its_laws(uint8[12] memory steps) public {
        address patient = address(0xbeef);
        uint32 highest;
        for (uint256 i = 0; i < steps.length; ++i) {
            patient = _step(steps[i] % 6, patient, i);
            Record memory record = registry.recordOf(dataset, patient);
            uint32 version = record.version > record.pendingVersion ? record.version : record.pendingVersion;
            assertTrue(version >= highest, "a version fell");
            highest = version;
            _assertLaws(record, patient);
        }
    }

    function _assertLaws(Record memory record, address patient) private view {
        bool usable = registry.isUsable(dataset, patient);
        assertTrue(!usable || (!record.suspended && !record.erased), "usable, though suspended or erased");
        assertTrue(!usable || (record.commitment != 0 && record.boundTo != address(0)), "usable, though empty");
        assertTrue(record.version + record.pendingVersion == 0 || record.person == "person", "another person");
        assertTrue((record.pending == 0) == (record.pendingVersion == 0), "half pending");
    }

    function _step(uint8 kind, address patient, uint256 entry) private returns (address) {
        if (kind == 0) _attest(patient);
        if (kind == 1) _confirm(patient);
        if (kind == 2) registry.eraseRecord(dataset, patient);
        if (kind == 3) _suspend(patient);
        if (kind == 4 && registry.recordOf(dataset, patient).person != 0) {
            address target = address(uint160(0x10000 + entry));
            registry.moveRecord(dataset, patient, target);
            assertTrue(!registry.isUsable(dataset, patient), "usable where it was left");
            return target;
        }
        if (kind == 5) _attest(patient);
        return patient;
    }

    function _attest(address patient) private {
        Record memory record = registry.recordOf(dataset, patient);
        uint32 last = record.version > record.pendingVersion ? record.version : record.pendingVersion;
        RecordAttestation memory said = RecordAttestation({
            dataset: dataset,
            patient: patient,
            person: "person",
            commitment: keccak256(abi.encode(patient, last + 1)),
            version: last + 1,
            issuer: vm.addr(ISSUER),
            deadline: uint40(block.timestamp)
        });
        bytes32 typehash = keccak256(
            "RecordAttestation(bytes32 dataset,address patient,bytes32 person,bytes32 commitment,uint32 version,address issuer,uint40 deadline)"
        );
        registry.registerRecord(said, signature(ISSUER, _digest(keccak256(abi.encode(typehash, said)))));
    }

    function _confirm(address patient) private {
        Record memory record = registry.recordOf(dataset, patient);
        if (record.pending == 0) return;
        StorageReceipt memory receipt = StorageReceipt(dataset, patient, record.pending, record.pendingVersion, 1);
        bytes32 typehash =
            keccak256("StorageReceipt(bytes32 dataset,address patient,bytes32 commitment,uint32 version,uint32 epoch)");
        bytes32 digest = _digest(keccak256(abi.encode(typehash, receipt)));
        registry.confirmStorage(receipt, _signatures(0x1c, digest));
        assertTrue(registry.isUsable(dataset, patient), "stored, and yet not usable");
    }

    function _suspend(address patient) private {
        if (registry.recordOf(dataset, patient).commitment == 0) return;
        registry.withdrawIssuer(dataset, vm.addr(ISSUER));
        registry.suspendRecord(dataset, patient);
        registry.addIssuer(dataset, vm.addr(ISSUER));
        assertTrue(!registry.isUsable(dataset, patient), "suspended, and yet usable");
    }

    function _digest(bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Usufruct DatasetRegistry"),
                keccak256("1"),
                block.chainid,
                address(registry)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function _signatures(uint8 chosen, bytes32 digest) private pure returns (QuorumSignature[] memory given) {
        uint256 size;
        for (uint8 place = 0; place < 5; ++place) {
            if (chosen >> place & 1 == 1) ++size;
        }
        given = new QuorumSignature[](size);
        size = 0;
        for (uint8 place = 0; place < 5; ++place) {
            if (chosen >> place & 1 == 1) given[size++] = QuorumSignature(place, signature(100 + place, digest));
        }
    }

    function _members(uint8 count) private pure returns (Member[] memory members) {
        members = new Member[](count);
        for (uint256 place = 0; place < count; ++place) {
            CommitteeKey[] memory keys = new CommitteeKey[](1);
            keys[0] = CommitteeKey(1, abi.encodePacked(keccak256(abi.encode("key", place))));
            members[place] = Member(vm.addr(100 + place), keys);
        }
    }

    function _gates(uint8 count) private pure returns (address[] memory gates) {
        gates = new address[](count);
        for (uint256 i = 0; i < count; ++i) {
            gates[i] = address(uint160(1 + i));
        }
    }

    function _terms() private pure returns (ClassTerms memory terms) {
        terms.permission = 1;
        terms.releaseKinds = 1;
        terms.maxCost = 1;
        terms.termsHash = "terms";
    }
}
