// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ClassTerms, Credential, Purpose} from "../types/DataUseTypes.sol";
import {ClassId, DatasetId} from "../types/Ids.sol";
import {QuorumSignature} from "./ICustodianCommittee.sol";

/// What an issuer attests: this commitment is this person's record.
/// EIP-712: RecordAttestation(bytes32 dataset,address patient,bytes32 person,bytes32 commitment,uint32 version,address issuer,uint40 deadline)
struct RecordAttestation {
    DatasetId dataset;
    address patient;
    bytes32 person; // the issuer's keyed pseudonym of the person: one record per person and dataset
    bytes32 commitment;
    uint32 version; // 1 for the first record of this person, then one more each time
    address issuer;
    uint40 deadline;
}

/// What custodians sign once they hold their parts of a record.
/// EIP-712: StorageReceipt(bytes32 dataset,address patient,bytes32 commitment,uint32 version,uint32 epoch)
struct StorageReceipt {
    DatasetId dataset;
    address patient;
    bytes32 commitment;
    uint32 version;
    uint32 epoch;
}

/// One person's record: the version in use, and the one that awaits its storage receipt.
struct Record {
    bytes32 commitment; // in use; 0 until a quorum of custodians holds it
    bytes32 pending; // attested, not yet held; 0 if none
    address boundTo; // the address that the ciphertext in use is bound to (a rotation does not re-encrypt)
    uint32 version; // of `commitment`
    uint32 pendingVersion;
    bool suspended; // its issuer was withdrawn and the steward suspended it
    bool erased; // its patient erased it: no version up to the current ones can ever be used
    address issuer; // of `commitment`
    address pendingIssuer;
    address pendingBoundTo;
    bytes32 person;
}

/// Datasets, consent classes, issuers and record commitments. Never data.
interface IDatasetRegistry {
    event DatasetPublished(DatasetId indexed dataset, address indexed steward, bytes32 dictionary, string uri);
    event DatasetRetired(DatasetId indexed dataset);
    event StewardChanged(DatasetId indexed dataset, address indexed steward);
    event ClassPublished(ClassId indexed class, bytes32 indexed definition, ClassTerms terms);
    event DiseaseDescends(DatasetId indexed dataset, uint32 indexed descendant, uint32 indexed ancestor);
    event IssuerAdded(DatasetId indexed dataset, address indexed issuer);
    event IssuerWithdrawn(DatasetId indexed dataset, address indexed issuer);
    event RecordAttested(DatasetId indexed dataset, address indexed patient, bytes32 commitment, uint32 version);
    event RecordStored(DatasetId indexed dataset, address indexed patient, bytes32 commitment, uint32 version);
    event RecordSuspended(DatasetId indexed dataset, address indexed patient);
    event RecordErased(DatasetId indexed dataset, address indexed patient);
    event RecordMoved(DatasetId indexed dataset, address indexed from, address indexed to);

    error NotSteward(DatasetId dataset, address caller);
    error UnknownDataset(DatasetId dataset);
    error DatasetIsRetired(DatasetId dataset);
    error DatasetExists(DatasetId dataset);
    error UnknownClass(ClassId class);
    error TooManyClasses(DatasetId dataset);
    error ClassTermsInvalid(string field);
    error DiseaseTableSealed(DatasetId dataset); // the table is fixed once a class exists
    error DefinitionMismatch(ClassId class, bytes32 expected, bytes32 given);
    error UnknownIssuer(DatasetId dataset, address issuer);
    error IssuerStillTrusted(DatasetId dataset, address issuer);
    error AttestationExpired(uint40 deadline);
    error BadIssuerSignature(address issuer);
    error WrongRecordVersion(DatasetId dataset, address patient, uint32 expected, uint32 given);
    error PersonHasRecord(DatasetId dataset, bytes32 person, address patient);
    error EmptyCommitment();
    error EmptyDictionary();
    error EmptyPerson();
    error ZeroAddress();
    error DiseaseTableInvalid(uint256 entry); // no counterpart, a zero, or a disease under itself
    error NothingPending(DatasetId dataset, address patient);
    error StaleStorageReceipt(uint32 epoch, uint32 current);
    error ReceiptMismatch(bytes32 expected, bytes32 given);
    error RecordNotStored(DatasetId dataset, address patient);
    error RecordUnusable(DatasetId dataset, address patient); // suspended or erased
    error RecordExists(DatasetId dataset, address patient);
    error OnlyConsentRegistry(address caller);
    error AlreadyBound(address consents);

    /// Publishes a dataset; the caller becomes its steward (role STEWARD). Reverts when paused.
    function publishDataset(bytes32 dictionary, bytes32 salt, string calldata uri) external returns (DatasetId);

    /// Ends a dataset: no new class, grant, request or freeze. Consents can still be revoked.
    function retire(DatasetId dataset) external;

    function handOver(DatasetId dataset, address steward) external;

    /// Says that one disease is a kind of another; steward only, and only before the first class.
    function registerDescent(DatasetId dataset, uint32[] calldata descendants, uint32[] calldata ancestors) external;

    /// Publishes a consent class for ever; refuses terms that DataUse would refuse for any purpose.
    function publishClass(DatasetId dataset, ClassTerms calldata terms) external returns (ClassId);

    function addIssuer(DatasetId dataset, address issuer) external;

    function withdrawIssuer(DatasetId dataset, address issuer) external;

    /// Registers, or replaces, one person's record on an issuer's word; it is used once it is stored.
    function registerRecord(RecordAttestation calldata attestation, bytes calldata signature) external;

    /// Puts the pending version into use on the word of a quorum of the current epoch's custodians.
    function confirmStorage(StorageReceipt calldata receipt, QuorumSignature[] calldata signatures) external;

    /// Suspends a record whose issuer was withdrawn. Removal only: nothing lifts it but a new attestation.
    function suspendRecord(DatasetId dataset, address patient) external;

    /// Consent registry only: the patient erased the record.
    function eraseRecord(DatasetId dataset, address patient) external;

    /// Consent registry only: the patient moved to a new address.
    function moveRecord(DatasetId dataset, address from, address to) external;

    /// Everything a grant must know, in one call. Reverts unless the dataset is not retired, the class
    /// exists, and the patient's record is stored and usable.
    /// @return definition the class's definition hash; maxCost its highest cost of one request, nano-rho
    function grantConditions(ClassId class, address patient) external view returns (bytes32 definition, uint56 maxCost);

    /// Highest cost of one request under this class; reverts for an unknown class.
    function maxCostOf(ClassId class) external view returns (uint56);

    /// Reverts unless `terms` is what was published under `class`, the dataset is not retired, and the terms
    /// permit this purpose to this requester (DataUse.PurposeNotPermitted carries every reason).
    function requirePermitted(
        ClassId class,
        ClassTerms calldata terms,
        Purpose calldata purpose,
        Credential calldata requester
    ) external view;

    function isDescendant(DatasetId dataset, uint32 descendant, uint32 ancestor) external view returns (bool);
    function recordOf(DatasetId dataset, address patient) external view returns (Record memory);

    /// For custodians and gates: the usable commitment (0 if none) and bound address of many patients.
    function commitmentsOf(DatasetId dataset, address[] calldata patients)
        external
        view
        returns (bytes32[] memory commitments, address[] memory boundTo, uint32[] memory versions);
    function isUsable(DatasetId dataset, address patient) external view returns (bool);
    function stewardOf(DatasetId dataset) external view returns (address);
    function dictionaryOf(DatasetId dataset) external view returns (bytes32);
    function isRetired(DatasetId dataset) external view returns (bool);
    function classesOf(DatasetId dataset) external view returns (uint16);
    function isIssuer(DatasetId dataset, address issuer) external view returns (bool);
    function definitionOf(ClassId class) external view returns (bytes32);
}
