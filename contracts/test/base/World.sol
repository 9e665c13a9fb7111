// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ConsentRegistry} from "../../src/ConsentRegistry.sol";
import {CustodianCommittee} from "../../src/CustodianCommittee.sol";
import {DatasetRegistry} from "../../src/DatasetRegistry.sol";
import {NoiseRegistry} from "../../src/NoiseRegistry.sol";
import {ResearchMarket} from "../../src/ResearchMarket.sol";
import {ResearcherRegistry} from "../../src/ResearcherRegistry.sol";
import {TestEuro} from "../../src/TestEuro.sol";
import {CommitteeKey, Member, QuorumSignature} from "../../src/interfaces/ICustodianCommittee.sol";
import {Record, RecordAttestation, StorageReceipt} from "../../src/interfaces/IDatasetRegistry.sol";
import {MarketPolicy} from "../../src/interfaces/IResearchMarket.sol";
import {ClassTerms, Credential} from "../../src/types/DataUseTypes.sol";
import {ClassId, DatasetId, classOf} from "../../src/types/Ids.sol";
import {Test} from "../Vm.sol";
import {Signing} from "./Signing.sol";

/// Everything deployed, bound and appointed as a deployment does it, with one dataset of two classes, a
/// committee of 2 of 3 with three gates, and two researchers with credentials. This contract holds all
/// administrative roles. Amounts and costs are small, so that a test can name them.
abstract contract World is Test {
    uint256 internal constant ISSUER = 0x155e;
    uint256 internal constant CUSTODIAN = 0xc057;
    uint256 internal constant GATE = 0x6a7e;
    uint256 internal constant PATIENT = 0xa11ce;
    uint256 internal constant RESEARCHER = 0x5c1e;
    address internal constant OPERATOR = address(0x0be7a);

    uint40 internal constant START = 1_800_000_000;
    uint40 internal constant HORIZON = 7 days;
    uint40 internal constant THAW_GAP = 60;

    TestEuro internal token;
    ResearcherRegistry internal researchers;
    CustodianCommittee internal committee;
    DatasetRegistry internal datasets;
    ConsentRegistry internal consents;
    NoiseRegistry internal noises;
    ResearchMarket internal market;
    DatasetId internal dataset;

    function setUp() public virtual {
        vm.warp(START);
        vm.roll(1000);
        _deploy();
        _appoint();
        _openEpoch(0);
        dataset = datasets.publishDataset("dictionary", "salt", "");
        datasets.addIssuer(dataset, vm.addr(ISSUER));
        datasets.publishClass(dataset, _classTerms(1));
        datasets.publishClass(dataset, _classTerms(2));
        for (uint256 i = 0; i < 2; ++i) {
            researchers.give(_researcher(i), _credential());
        }
    }

    function _policy() internal pure virtual returns (MarketPolicy memory) {
        return MarketPolicy({
            minimumCohort: 3,
            noticeWindow: 600,
            freezeWindow: 900,
            turnWindow: 3600,
            gateWindow: 300,
            certificateWindow: 1 days,
            unusedFreezeBps: 1000,
            minimumBond: 50
        });
    }

    function _deploy() private {
        token = new TestEuro(address(this));
        researchers = new ResearcherRegistry(address(this));
        committee = new CustodianCommittee(address(this));
        datasets = new DatasetRegistry(committee, address(this));
        consents = new ConsentRegistry(address(this), datasets, HORIZON, THAW_GAP);
        noises = new NoiseRegistry(address(this), committee);
        market = new ResearchMarket(address(this), token, datasets, researchers, consents, committee, noises, _policy());
        datasets.bindConsents(address(consents));
        consents.bindMarket(address(market));
        noises.bindMarket(address(market));
    }

    function _appoint() private {
        token.grantRole(token.MINTER(), address(this));
        researchers.grantRole(researchers.AUTHORITY(), address(this));
        datasets.grantRole(datasets.STEWARD(), address(this));
        datasets.grantRole(datasets.PAUSER(), address(this));
        consents.grantRole(consents.PAUSER(), address(this));
        market.grantRole(market.PAUSER(), address(this));
        market.grantRole(market.OPERATOR(), OPERATOR);
    }

    /// `generation` sets custodians and gates apart from those of other epochs.
    function _openEpoch(uint256 generation) internal returns (uint32) {
        Member[] memory members = new Member[](3);
        address[] memory gates = new address[](3);
        for (uint256 place = 0; place < 3; ++place) {
            CommitteeKey[] memory keys = new CommitteeKey[](1);
            keys[0] = CommitteeKey(1, abi.encodePacked(keccak256(abi.encode("key", generation, place))));
            members[place] = Member(vm.addr(CUSTODIAN + generation * 100 + place), keys);
            gates[place] = vm.addr(GATE + generation * 100 + place);
        }
        return committee.openEpoch(members, 2, gates);
    }

    /// Two points, as far as a chain looks at them: of a quorum of two.
    function _points() internal pure returns (bytes memory) {
        return abi.encodePacked(hex"02", keccak256("A_0"), hex"03", keccak256("A_1"));
    }

    function _recordJointKey(uint32 epoch) internal {
        bytes32 digest = _committeeDigest(Signing.jointKeyHash(epoch, _points(), "transcript"));
        committee.recordJointKey(epoch, _points(), "transcript", _all(digest, uint256(epoch) - 1));
    }

    function _classTerms(uint16 index) internal pure virtual returns (ClassTerms memory terms) {
        terms.permission = 1; // no restriction
        terms.releaseKinds = 1 << 1 | 1 << 31;
        terms.maxCost = index == 1 ? 100 : 60;
        terms.floorPerRecord = 7;
        terms.floorPerMilliRho = 500_000; // half a token unit per nano-rho
        terms.termsHash = bytes32(uint256(index));
    }

    function _credential() internal view returns (Credential memory) {
        return Credential(1, "FR", clock() + 3650 days, false, "user", "institution", "evidence");
    }

    // --- people

    function _researcher(uint256 i) internal pure returns (address) {
        return vm.addr(RESEARCHER + i);
    }

    function _patient(uint256 i) internal pure returns (address) {
        return vm.addr(PATIENT + i);
    }

    function _class(uint16 index) internal view returns (ClassId) {
        return classOf(dataset, index);
    }

    /// Patients 0 to n-1, each with a record that the custodians hold.
    function _enrol(uint256 n) internal {
        for (uint256 i = 0; i < n; ++i) {
            _store(_patient(i), keccak256(abi.encode("person", i)));
        }
    }

    /// The next version of a person's record, attested and held.
    function _store(address patient, bytes32 person) internal {
        Record memory record = datasets.recordOf(dataset, patient);
        uint32 last = record.version > record.pendingVersion ? record.version : record.pendingVersion;
        bytes32 commitment = keccak256(abi.encode(patient, last + 1));
        _attest(RecordAttestation(dataset, patient, person, commitment, last + 1, vm.addr(ISSUER), clock()));
        _confirm(StorageReceipt(dataset, patient, commitment, last + 1, committee.currentEpoch()));
    }

    function _attest(RecordAttestation memory said) internal {
        bytes32 digest = Signing.digest("Usufruct DatasetRegistry", address(datasets), Signing.hash(said));
        datasets.registerRecord(said, signature(ISSUER, digest));
    }

    function _confirm(StorageReceipt memory receipt) private {
        bytes32 digest = Signing.digest("Usufruct DatasetRegistry", address(datasets), Signing.hash(receipt));
        datasets.confirmStorage(receipt, _quorum(digest, uint256(receipt.epoch) - 1));
    }

    /// The steward takes a record out of use: its issuer is withdrawn for the while.
    function _suspend(address patient) internal {
        datasets.withdrawIssuer(dataset, vm.addr(ISSUER));
        datasets.suspendRecord(dataset, patient);
        datasets.addIssuer(dataset, vm.addr(ISSUER));
    }

    // --- signatures

    /// Custodians 0 and 2.
    function _quorum(bytes32 digest, uint256 generation) internal pure returns (QuorumSignature[] memory given) {
        given = new QuorumSignature[](2);
        given[0] = QuorumSignature(0, signature(CUSTODIAN + generation * 100, digest));
        given[1] = QuorumSignature(2, signature(CUSTODIAN + generation * 100 + 2, digest));
    }

    function _all(bytes32 digest, uint256 generation) internal pure returns (QuorumSignature[] memory given) {
        given = new QuorumSignature[](3);
        for (uint8 i = 0; i < 3; ++i) {
            given[i] = QuorumSignature(i, signature(CUSTODIAN + generation * 100 + i, digest));
        }
    }

    function _consentDigest(bytes32 structHash) internal view returns (bytes32) {
        return Signing.digest("Usufruct ConsentRegistry", address(consents), structHash);
    }

    function _committeeDigest(bytes32 structHash) internal view returns (bytes32) {
        return Signing.digest("Usufruct CustodianCommittee", address(committee), structHash);
    }

    function _noiseDigest(bytes32 structHash) internal view returns (bytes32) {
        return Signing.digest("Usufruct NoiseRegistry", address(noises), structHash);
    }

    function _marketDigest(bytes32 structHash) internal view returns (bytes32) {
        return Signing.digest("Usufruct ResearchMarket", address(market), structHash);
    }
}
