// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {DataUse} from "../src/DataUse.sol";
import {DatasetRegistry} from "../src/DatasetRegistry.sol";
import {QuorumSignature} from "../src/interfaces/ICustodianCommittee.sol";
import {IDatasetRegistry, RecordAttestation, StorageReceipt} from "../src/interfaces/IDatasetRegistry.sol";
import {ClassTerms} from "../src/types/DataUseTypes.sol";
import {DatasetId} from "../src/types/Ids.sol";
import {Signing} from "./base/Signing.sol";
import {World} from "./base/World.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";

/// binding ── to nobody ── twice
/// datasets ── without a dictionary ── twice ── unknown ── not its steward ── handed over to nobody
/// diseases ── once a class exists ── uneven, empty, or under themselves
/// issuers ── nobody ── unknown
/// attestations ── each field empty ── late ── not the issuer's ── a second person or address ── not the next version
/// receipts ── nothing pending ── another commitment, version or epoch ── issuer withdrawn since
/// suspension ── nothing stored ── issuer still trusted ── twice
/// moves ── to nobody ── to an address with a record ── to or from one that was left
contract DatasetsTest is World {
    address private constant PATIENT_A = address(0xaaaa);
    address private constant PATIENT_B = address(0xbbbb);

    function _asConsents() private {
        vm.prank(address(consents));
    }

    // --- binding and roles

    function test_a_consent_registry_is_bound_once_and_is_somebody() public {
        DatasetRegistry fresh = new DatasetRegistry(committee, address(this));
        vm.expectRevert(IDatasetRegistry.ZeroAddress.selector);
        fresh.bindConsents(address(0));
        fresh.bindConsents(address(consents));
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.AlreadyBound.selector, address(consents)));
        fresh.bindConsents(address(this));
    }

    function test_only_the_consent_registry_erases_and_moves() public {
        bytes memory refused = abi.encodeWithSelector(IDatasetRegistry.OnlyConsentRegistry.selector, address(this));
        vm.expectRevert(refused);
        datasets.eraseRecord(dataset, PATIENT_A);
        vm.expectRevert(refused);
        datasets.moveRecord(dataset, PATIENT_A, PATIENT_B);
    }

    function test_pause_stops_what_adds_and_lifts_again() public {
        datasets.pause();
        bytes[6] memory additions = [
            abi.encodeCall(datasets.publishDataset, ("d", "s", "")),
            abi.encodeCall(datasets.publishClass, (dataset, _classTerms(3))),
            abi.encodeCall(datasets.registerDescent, (dataset, new uint32[](1), new uint32[](1))),
            abi.encodeCall(datasets.addIssuer, (dataset, PATIENT_A)),
            abi.encodeCall(datasets.registerRecord, (_said(), "")),
            abi.encodeCall(
                datasets.confirmStorage,
                (StorageReceipt(dataset, PATIENT_A, "commitment", 1, 1), new QuorumSignature[](0))
            )
        ];
        bytes memory refused = abi.encodeWithSelector(Pausable.EnforcedPause.selector);
        for (uint256 i = 0; i < additions.length; ++i) {
            (bool done, bytes memory reason) = address(datasets).call(additions[i]);
            assertTrue(!done && keccak256(reason) == keccak256(refused), "stopped by the pause");
        }
        datasets.unpause();
        datasets.publishDataset("d", "s", "");
    }

    // --- datasets

    function test_a_dataset_has_a_dictionary_and_is_published_once() public {
        vm.expectRevert(IDatasetRegistry.EmptyDictionary.selector);
        datasets.publishDataset(0, "salt", "");
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetExists.selector, dataset));
        datasets.publishDataset("dictionary", "salt", "");
        assertEq(datasets.dictionaryOf(dataset), "dictionary", "dictionary");
    }

    function test_only_its_steward_keeps_a_dataset_and_may_hand_it_over() public {
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.NotSteward.selector, dataset, OPERATOR));
        vm.prank(OPERATOR);
        datasets.retire(dataset);
        DatasetId unknown = DatasetId.wrap(bytes32(uint256(1 << 16)));
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.UnknownDataset.selector, unknown));
        datasets.retire(unknown);
        vm.expectRevert(IDatasetRegistry.ZeroAddress.selector);
        datasets.handOver(dataset, address(0));
        datasets.handOver(dataset, OPERATOR);
        assertEq(datasets.stewardOf(dataset), OPERATOR, "steward");
        vm.prank(OPERATOR);
        datasets.retire(dataset);
        assertTrue(datasets.isRetired(dataset), "retired");
        vm.recordLogs();
        vm.prank(OPERATOR);
        datasets.retire(dataset);
        assertEq(vm.getRecordedLogs().length, 0, "once");
    }

    function test_diseases_are_told_in_pairs_before_the_first_class() public {
        (uint32[] memory one, uint32[] memory two) = (new uint32[](1), new uint32[](2));
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DiseaseTableSealed.selector, dataset));
        datasets.registerDescent(dataset, one, one);
        DatasetId fresh = datasets.publishDataset("dictionary", "fresh", "");
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DiseaseTableInvalid.selector, 1));
        datasets.registerDescent(fresh, one, two);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DiseaseTableInvalid.selector, 0));
        datasets.registerDescent(fresh, one, one);
        one[0] = 5;
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DiseaseTableInvalid.selector, 0));
        datasets.registerDescent(fresh, one, one);
        uint32[] memory ancestor = new uint32[](1);
        ancestor[0] = 4;
        datasets.registerDescent(fresh, one, ancestor);
        assertTrue(datasets.isDescendant(fresh, 5, 4) && !datasets.isDescendant(fresh, 4, 5), "descent");
    }

    function test_lists_of_a_class_name_countries_and_hashes() public {
        ClassTerms memory terms = _classTerms(1);
        terms.modifiers = DataUse.GS;
        terms.countries = new bytes2[](1);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.ClassTermsInvalid.selector, "countries"));
        datasets.publishClass(dataset, terms);
        terms.countries[0] = "FR";
        datasets.publishClass(dataset, terms);
        terms.modifiers = DataUse.US;
        terms.countries = new bytes2[](0);
        terms.users = new bytes32[](1);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.ClassTermsInvalid.selector, "users"));
        datasets.publishClass(dataset, terms);
        terms.users[0] = "somebody";
        datasets.publishClass(dataset, terms);
    }

    function test_issuers_are_somebody_and_known() public {
        vm.expectRevert(IDatasetRegistry.ZeroAddress.selector);
        datasets.addIssuer(dataset, address(0));
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.UnknownIssuer.selector, dataset, OPERATOR));
        datasets.withdrawIssuer(dataset, OPERATOR);
        vm.recordLogs();
        datasets.addIssuer(dataset, vm.addr(ISSUER));
        assertEq(vm.getRecordedLogs().length, 0, "known already");
        assertTrue(datasets.isIssuer(dataset, vm.addr(ISSUER)), "issuer");
    }

    // --- attestations

    function _said() private view returns (RecordAttestation memory) {
        return RecordAttestation(dataset, PATIENT_A, "person", "commitment", 1, vm.addr(ISSUER), clock());
    }

    function _refuse(RecordAttestation memory said, bytes memory reason) private {
        bytes32 digest = Signing.digest("Usufruct DatasetRegistry", address(datasets), Signing.hash(said));
        bytes memory signed = signature(ISSUER, digest);
        vm.expectRevert(reason);
        datasets.registerRecord(said, signed);
    }

    function test_an_attestation_names_everything_and_is_in_time() public {
        RecordAttestation memory said = _said();
        said.patient = address(0);
        _refuse(said, abi.encodeWithSelector(IDatasetRegistry.ZeroAddress.selector));
        said = _said();
        said.person = 0;
        _refuse(said, abi.encodeWithSelector(IDatasetRegistry.EmptyPerson.selector));
        said = _said();
        said.commitment = 0;
        _refuse(said, abi.encodeWithSelector(IDatasetRegistry.EmptyCommitment.selector));
        said = _said();
        said.deadline = clock() - 1;
        _refuse(said, abi.encodeWithSelector(IDatasetRegistry.AttestationExpired.selector, said.deadline));
        said = _said();
        said.issuer = OPERATOR;
        _refuse(said, abi.encodeWithSelector(IDatasetRegistry.UnknownIssuer.selector, dataset, OPERATOR));
        said = _said();
        said.version = 2;
        _refuse(
            said,
            abi.encodeWithSelector(
                IDatasetRegistry.WrongRecordVersion.selector, dataset, PATIENT_A, uint32(1), uint32(2)
            )
        );
    }

    /// Whatever an issuer signed, it signed for this dataset, patient, person, commitment, version and time.
    function testFuzz_a_changed_attestation_is_not_signed(uint256 field, uint256 change) public {
        RecordAttestation memory said = _said();
        bytes32 digest = Signing.digest("Usufruct DatasetRegistry", address(datasets), Signing.hash(said));
        bytes memory signed = signature(ISSUER, digest);
        field %= 5;
        if (field == 0) said.patient = address(uint160(within(change, 1, type(uint160).max)));
        if (field == 1) said.person = bytes32(within(change, 1, type(uint256).max));
        if (field == 2) said.commitment = bytes32(within(change, 1, type(uint256).max));
        if (field == 3) said.version = uint32(change);
        if (field == 4) said.deadline = uint40(within(change, clock(), type(uint40).max));
        vm.assume(Signing.hash(said) != Signing.hash(_said()));
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.BadIssuerSignature.selector, vm.addr(ISSUER)));
        datasets.registerRecord(said, signed);
    }

    function test_a_person_has_one_address_and_an_address_one_person() public {
        _store(PATIENT_A, "person");
        RecordAttestation memory said = _said();
        said.version = 2;
        said.person = "somebody else";
        _refuse(said, _personHasRecord("person", PATIENT_A));
        said = _said();
        said.patient = PATIENT_B;
        _refuse(said, _personHasRecord("person", PATIENT_A));
    }

    function _personHasRecord(bytes32 person, address patient) private view returns (bytes memory) {
        return abi.encodeWithSelector(IDatasetRegistry.PersonHasRecord.selector, dataset, person, patient);
    }

    // --- receipts

    function _refuseReceipt(StorageReceipt memory receipt, bytes memory reason) private {
        bytes32 digest = Signing.digest("Usufruct DatasetRegistry", address(datasets), Signing.hash(receipt));
        vm.expectRevert(reason);
        datasets.confirmStorage(receipt, _quorum(digest, 0));
    }

    function test_a_receipt_is_for_what_is_pending_now() public {
        StorageReceipt memory receipt = StorageReceipt(dataset, PATIENT_A, "commitment", 1, 1);
        _refuseReceipt(receipt, abi.encodeWithSelector(IDatasetRegistry.NothingPending.selector, dataset, PATIENT_A));
        _attest(_said());
        receipt.commitment = "other";
        _refuseReceipt(
            receipt,
            abi.encodeWithSelector(IDatasetRegistry.ReceiptMismatch.selector, bytes32("commitment"), bytes32("other"))
        );
        receipt = StorageReceipt(dataset, PATIENT_A, "commitment", 2, 1);
        bytes memory wrong = abi.encodeWithSelector(
            IDatasetRegistry.WrongRecordVersion.selector, dataset, PATIENT_A, uint32(1), uint32(2)
        );
        _refuseReceipt(receipt, wrong);
        receipt = StorageReceipt(dataset, PATIENT_A, "commitment", 1, 2);
        _refuseReceipt(
            receipt, abi.encodeWithSelector(IDatasetRegistry.StaleStorageReceipt.selector, uint32(2), uint32(1))
        );
        datasets.withdrawIssuer(dataset, vm.addr(ISSUER));
        receipt.epoch = 1;
        _refuseReceipt(
            receipt, abi.encodeWithSelector(IDatasetRegistry.UnknownIssuer.selector, dataset, vm.addr(ISSUER))
        );
    }

    function test_commitments_are_told_of_usable_records_only() public {
        _store(PATIENT_A, "person");
        _store(PATIENT_B, "another");
        _suspend(PATIENT_B);
        address[] memory patients = new address[](2);
        (patients[0], patients[1]) = (PATIENT_A, PATIENT_B);
        (bytes32[] memory commitments, address[] memory boundTo, uint32[] memory versions) =
            datasets.commitmentsOf(dataset, patients);
        assertEq(commitments[0], keccak256(abi.encode(PATIENT_A, uint32(1))), "commitment");
        assertTrue(boundTo[0] == PATIENT_A && versions[0] == 1, "binding and version");
        assertTrue(commitments[1] == 0 && boundTo[1] == address(0) && versions[1] == 0, "suspended");
    }

    // --- suspension, moves

    function test_only_a_stored_record_of_an_untrusted_issuer_is_suspended() public {
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.RecordNotStored.selector, dataset, PATIENT_A));
        datasets.suspendRecord(dataset, PATIENT_A);
        _store(PATIENT_A, "person");
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.IssuerStillTrusted.selector, dataset, vm.addr(ISSUER)));
        datasets.suspendRecord(dataset, PATIENT_A);
        datasets.withdrawIssuer(dataset, vm.addr(ISSUER));
        datasets.suspendRecord(dataset, PATIENT_A);
        vm.recordLogs();
        datasets.suspendRecord(dataset, PATIENT_A);
        assertEq(vm.getRecordedLogs().length, 0, "once");
    }

    function test_a_record_moves_to_an_address_that_never_had_one() public {
        _store(PATIENT_A, "person");
        _store(PATIENT_B, "another");
        vm.expectRevert(IDatasetRegistry.ZeroAddress.selector);
        _asConsents();
        datasets.moveRecord(dataset, PATIENT_A, address(0));
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.RecordExists.selector, dataset, PATIENT_B));
        _asConsents();
        datasets.moveRecord(dataset, PATIENT_A, PATIENT_B);
        _asConsents();
        datasets.moveRecord(dataset, PATIENT_A, address(0xcccc));
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.RecordExists.selector, dataset, PATIENT_A));
        _asConsents();
        datasets.moveRecord(dataset, PATIENT_B, PATIENT_A);
        _refuse(_said(), abi.encodeWithSelector(IDatasetRegistry.RecordUnusable.selector, dataset, PATIENT_A));
    }
}
