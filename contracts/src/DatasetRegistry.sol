// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {DataUse} from "./DataUse.sol";
import {Signatures} from "./base/Signatures.sol";
import {TolerantBatch} from "./base/TolerantBatch.sol";
import {ICustodianCommittee, QuorumSignature} from "./interfaces/ICustodianCommittee.sol";
import {IDatasetRegistry, Record, RecordAttestation, StorageReceipt} from "./interfaces/IDatasetRegistry.sol";
import {ClassTerms, Credential, Purpose} from "./types/DataUseTypes.sol";
import {CLASS_MASK, ClassId, DatasetId, classOf} from "./types/Ids.sol";

/// Pausing stops whatever adds (datasets, diseases, classes, issuers, records, receipts). Nothing stops what
/// takes away: erasure, a patient's move, suspension, an issuer's withdrawal, a dataset's end.
contract DatasetRegistry is IDatasetRegistry, AccessControl, Pausable, EIP712, TolerantBatch {
    bytes32 public constant STEWARD = keccak256("STEWARD");
    bytes32 public constant PAUSER = keccak256("PAUSER");

    bytes32 private constant RECORD_ATTESTATION_TYPEHASH = keccak256(
        "RecordAttestation(bytes32 dataset,address patient,bytes32 person,bytes32 commitment,uint32 version,address issuer,uint40 deadline)"
    );
    bytes32 private constant STORAGE_RECEIPT_TYPEHASH =
        keccak256("StorageReceipt(bytes32 dataset,address patient,bytes32 commitment,uint32 version,uint32 epoch)");

    struct Dataset {
        address steward; // 0 if there is no such dataset
        uint16 classes;
        bool retired;
        bytes32 dictionary;
    }

    struct Class {
        bytes32 definition; // 0 if there is no such class
        uint56 maxCost;
    }

    /// `Record` as it is stored. The first slot is all that a grant has to read.
    struct StoredRecord {
        address boundTo;
        uint32 version;
        bool suspended;
        bool erased;
        bool moved; // tombstone: this address was rotated away and can never hold a record again
        address pendingIssuer;
        uint32 pendingVersion;
        bytes32 commitment;
        bytes32 pending;
        bytes32 person;
        address issuer;
        address pendingBoundTo; // 0 when it is the patient's own address, as it is but after a rotation
    }

    ICustodianCommittee public immutable committee;

    /// The consent registry, which alone erases and moves records; 0 until it is bound.
    address public consents;

    mapping(DatasetId dataset => Dataset) private _datasets;
    mapping(ClassId class => Class) private _classes;
    mapping(DatasetId dataset => mapping(address issuer => bool)) private _issuers;
    mapping(DatasetId dataset => mapping(uint32 descendant => mapping(uint32 ancestor => bool))) private _descents;
    mapping(DatasetId dataset => mapping(address patient => StoredRecord)) private _records;
    mapping(DatasetId dataset => mapping(bytes32 person => address patient)) private _patientOf;

    modifier onlySteward(DatasetId dataset) {
        address steward = _known(dataset).steward;
        if (steward != msg.sender) revert NotSteward(dataset, msg.sender);
        _;
    }

    modifier onlyConsents() {
        if (msg.sender != consents) revert OnlyConsentRegistry(msg.sender);
        _;
    }

    constructor(ICustodianCommittee committee_, address admin) EIP712("Usufruct DatasetRegistry", "1") {
        committee = committee_;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    // ---- Administration ----

    /// Names the consent registry, once and for ever (role DEFAULT_ADMIN).
    function bindConsents(address consents_) external onlyRole(DEFAULT_ADMIN_ROLE) {
        // Check
        if (consents_ == address(0)) revert ZeroAddress();
        if (consents != address(0)) revert AlreadyBound(consents);
        // Effect
        consents = consents_;
    }

    function pause() external onlyRole(PAUSER) {
        _pause();
    }

    function unpause() external onlyRole(PAUSER) {
        _unpause();
    }

    // ---- Datasets and classes ----

    /// @inheritdoc IDatasetRegistry
    function publishDataset(bytes32 dictionary, bytes32 salt, string calldata uri)
        external
        onlyRole(STEWARD)
        whenNotPaused
        returns (DatasetId id)
    {
        // Check
        if (dictionary == 0) revert EmptyDictionary();
        id = _datasetId(msg.sender, dictionary, salt);
        if (_datasets[id].steward != address(0)) revert DatasetExists(id);
        // Effect
        _datasets[id].steward = msg.sender;
        _datasets[id].dictionary = dictionary;
        emit DatasetPublished(id, msg.sender, dictionary, uri);
    }

    /// @inheritdoc IDatasetRegistry
    function retire(DatasetId dataset) external onlySteward(dataset) {
        if (_datasets[dataset].retired) return;
        _datasets[dataset].retired = true;
        emit DatasetRetired(dataset);
    }

    /// @inheritdoc IDatasetRegistry
    function handOver(DatasetId dataset, address steward) external onlySteward(dataset) {
        if (steward == address(0)) revert ZeroAddress();
        _datasets[dataset].steward = steward;
        emit StewardChanged(dataset, steward);
    }

    /// @inheritdoc IDatasetRegistry
    function registerDescent(DatasetId dataset, uint32[] calldata descendants, uint32[] calldata ancestors)
        external
        onlySteward(dataset)
        whenNotPaused
    {
        // Check
        if (_datasets[dataset].classes != 0) revert DiseaseTableSealed(dataset);
        _requireDescents(descendants, ancestors);
        // Effect
        for (uint256 i = 0; i < descendants.length; ++i) {
            _descents[dataset][descendants[i]][ancestors[i]] = true;
            emit DiseaseDescends(dataset, descendants[i], ancestors[i]);
        }
    }

    /// @inheritdoc IDatasetRegistry
    function publishClass(DatasetId dataset, ClassTerms calldata terms)
        external
        onlySteward(dataset)
        whenNotPaused
        returns (ClassId class)
    {
        // Check
        Dataset storage stored = _active(dataset);
        if (stored.classes == CLASS_MASK) revert TooManyClasses(dataset);
        DataUse.requireValid(terms);
        // Effect
        class = classOf(dataset, ++stored.classes);
        bytes32 definition = _definition(class, terms);
        _classes[class] = Class(definition, terms.maxCost);
        emit ClassPublished(class, definition, terms);
    }

    /// @inheritdoc IDatasetRegistry
    function addIssuer(DatasetId dataset, address issuer) external onlySteward(dataset) whenNotPaused {
        if (issuer == address(0)) revert ZeroAddress();
        if (_issuers[dataset][issuer]) return;
        _issuers[dataset][issuer] = true;
        emit IssuerAdded(dataset, issuer);
    }

    /// @inheritdoc IDatasetRegistry
    function withdrawIssuer(DatasetId dataset, address issuer) external onlySteward(dataset) {
        if (!_issuers[dataset][issuer]) revert UnknownIssuer(dataset, issuer);
        _issuers[dataset][issuer] = false;
        emit IssuerWithdrawn(dataset, issuer);
    }

    // ---- Records ----

    /// @inheritdoc IDatasetRegistry
    function registerRecord(RecordAttestation calldata attestation, bytes calldata signature) external whenNotPaused {
        // Check
        _requireAttested(attestation, signature);
        StoredRecord storage record = _records[attestation.dataset][attestation.patient];
        _requireSamePerson(record, attestation);
        _requireNextVersion(record, attestation);
        // Effect
        if (record.person == 0) {
            record.person = attestation.person;
            _patientOf[attestation.dataset][attestation.person] = attestation.patient;
        }
        record.pending = attestation.commitment;
        record.pendingIssuer = attestation.issuer;
        record.pendingVersion = attestation.version;
        if (record.pendingBoundTo != address(0)) record.pendingBoundTo = address(0);
        emit RecordAttested(attestation.dataset, attestation.patient, attestation.commitment, attestation.version);
    }

    /// @inheritdoc IDatasetRegistry
    function confirmStorage(StorageReceipt calldata receipt, QuorumSignature[] calldata signatures)
        external
        whenNotPaused
    {
        // Check
        _active(receipt.dataset);
        StoredRecord storage record = _records[receipt.dataset][receipt.patient];
        _requirePending(record, receipt);
        uint32 epoch = committee.currentEpoch();
        if (receipt.epoch != epoch) revert StaleStorageReceipt(receipt.epoch, epoch);
        committee.requireQuorum(epoch, _receiptDigest(receipt), signatures);
        // Effect
        _usePending(record, receipt.patient);
        emit RecordStored(receipt.dataset, receipt.patient, receipt.commitment, receipt.version);
    }

    /// @inheritdoc IDatasetRegistry
    function suspendRecord(DatasetId dataset, address patient) external onlySteward(dataset) {
        // Check
        StoredRecord storage record = _records[dataset][patient];
        if (record.commitment == 0) revert RecordNotStored(dataset, patient);
        if (_issuers[dataset][record.issuer]) revert IssuerStillTrusted(dataset, record.issuer);
        if (record.suspended) return;
        // Effect
        record.suspended = true;
        emit RecordSuspended(dataset, patient);
    }

    /// @inheritdoc IDatasetRegistry
    function eraseRecord(DatasetId dataset, address patient) external onlyConsents {
        StoredRecord storage record = _records[dataset][patient];
        // Check: there is something to erase.
        if (record.commitment == 0 && record.pending == 0) return;
        // Effect: the versions stay used up, so that no earlier attestation or receipt can bring them back.
        if (record.pendingVersion > record.version) record.version = record.pendingVersion;
        record.erased = true;
        delete record.commitment;
        _clearPending(record);
        emit RecordErased(dataset, patient);
    }

    /// @inheritdoc IDatasetRegistry
    function moveRecord(DatasetId dataset, address from, address to) external onlyConsents {
        StoredRecord storage source = _records[dataset][from];
        StoredRecord storage target = _records[dataset][to];
        // Check
        if (to == address(0)) revert ZeroAddress();
        if (source.person == 0) revert RecordNotStored(dataset, from);
        if (target.person != 0 || target.moved) revert RecordExists(dataset, to);
        // Effect
        _copy(source, target, from);
        _patientOf[dataset][source.person] = to;
        delete _records[dataset][from];
        source.moved = true;
        emit RecordMoved(dataset, from, to);
    }

    // ---- Questions ----

    /// @inheritdoc IDatasetRegistry
    function grantConditions(ClassId class, address patient)
        external
        view
        returns (bytes32 definition, uint56 maxCost)
    {
        DatasetId dataset = class.datasetOf();
        _active(dataset);
        Class storage published = _publishedClass(class);
        StoredRecord storage record = _records[dataset][patient];
        if (record.suspended || record.erased) revert RecordUnusable(dataset, patient);
        if (record.version == 0) revert RecordNotStored(dataset, patient);
        return (published.definition, published.maxCost);
    }

    /// @inheritdoc IDatasetRegistry
    function maxCostOf(ClassId class) external view returns (uint56) {
        return _publishedClass(class).maxCost;
    }

    /// @inheritdoc IDatasetRegistry
    function requirePermitted(
        ClassId class,
        ClassTerms calldata terms,
        Purpose calldata purpose,
        Credential calldata requester
    ) external view {
        _active(class.datasetOf());
        bytes32 expected = _publishedClass(class).definition;
        bytes32 given = _definition(class, terms);
        if (given != expected) revert DefinitionMismatch(class, expected, given);
        DataUse.requirePermitted(class, terms, purpose, requester, this);
    }

    /// @inheritdoc IDatasetRegistry
    function isDescendant(DatasetId dataset, uint32 descendant, uint32 ancestor) external view returns (bool) {
        return _descents[dataset][descendant][ancestor];
    }

    /// @inheritdoc IDatasetRegistry
    function recordOf(DatasetId dataset, address patient) external view returns (Record memory) {
        StoredRecord storage stored = _records[dataset][patient];
        return Record({
            commitment: stored.commitment,
            pending: stored.pending,
            boundTo: stored.boundTo,
            version: stored.version,
            pendingVersion: stored.pendingVersion,
            suspended: stored.suspended,
            erased: stored.erased,
            issuer: stored.issuer,
            pendingIssuer: stored.pendingIssuer,
            pendingBoundTo: stored.pending == 0 ? address(0) : _pendingBoundTo(stored, patient),
            person: stored.person
        });
    }

    /// @inheritdoc IDatasetRegistry
    function commitmentsOf(DatasetId dataset, address[] calldata patients)
        external
        view
        returns (bytes32[] memory commitments, address[] memory boundTo, uint32[] memory versions)
    {
        commitments = new bytes32[](patients.length);
        boundTo = new address[](patients.length);
        versions = new uint32[](patients.length);
        for (uint256 i = 0; i < patients.length; ++i) {
            StoredRecord storage record = _records[dataset][patients[i]];
            if (!_isUsable(record)) continue;
            commitments[i] = record.commitment;
            boundTo[i] = record.boundTo;
            versions[i] = record.version;
        }
    }

    /// @inheritdoc IDatasetRegistry
    function isUsable(DatasetId dataset, address patient) external view returns (bool) {
        return _isUsable(_records[dataset][patient]);
    }

    /// @inheritdoc IDatasetRegistry
    function stewardOf(DatasetId dataset) external view returns (address) {
        return _datasets[dataset].steward;
    }

    /// @inheritdoc IDatasetRegistry
    function dictionaryOf(DatasetId dataset) external view returns (bytes32) {
        return _datasets[dataset].dictionary;
    }

    /// @inheritdoc IDatasetRegistry
    function isRetired(DatasetId dataset) external view returns (bool) {
        return _datasets[dataset].retired;
    }

    /// @inheritdoc IDatasetRegistry
    function classesOf(DatasetId dataset) external view returns (uint16) {
        return _datasets[dataset].classes;
    }

    /// @inheritdoc IDatasetRegistry
    function isIssuer(DatasetId dataset, address issuer) external view returns (bool) {
        return _issuers[dataset][issuer];
    }

    /// @inheritdoc IDatasetRegistry
    function definitionOf(ClassId class) external view returns (bytes32) {
        return _classes[class].definition;
    }

    // ---- Inner steps ----

    function _usePending(StoredRecord storage record, address patient) private {
        record.boundTo = _pendingBoundTo(record, patient);
        record.version = record.pendingVersion;
        record.suspended = false;
        record.erased = false;
        record.commitment = record.pending;
        if (record.issuer != record.pendingIssuer) record.issuer = record.pendingIssuer;
        _clearPending(record);
    }

    function _clearPending(StoredRecord storage record) private {
        record.pending = 0;
        record.pendingIssuer = address(0);
        record.pendingVersion = 0;
        if (record.pendingBoundTo != address(0)) record.pendingBoundTo = address(0);
    }

    /// A rotation re-encrypts nothing: what is pending stays bound to the address it was sealed for.
    function _copy(StoredRecord storage source, StoredRecord storage target, address from) private {
        target.boundTo = source.boundTo;
        target.version = source.version;
        target.suspended = source.suspended;
        target.erased = source.erased;
        target.pendingIssuer = source.pendingIssuer;
        target.pendingVersion = source.pendingVersion;
        target.commitment = source.commitment;
        target.pending = source.pending;
        target.person = source.person;
        target.issuer = source.issuer;
        if (source.pending != 0) target.pendingBoundTo = _pendingBoundTo(source, from);
    }

    function _requireAttested(RecordAttestation calldata attestation, bytes calldata signature) private view {
        _active(attestation.dataset);
        if (attestation.patient == address(0)) revert ZeroAddress();
        if (attestation.person == 0) revert EmptyPerson();
        if (attestation.commitment == 0) revert EmptyCommitment();
        if (block.timestamp > attestation.deadline) revert AttestationExpired(attestation.deadline);
        _requireIssuer(attestation.dataset, attestation.issuer);
        if (!Signatures.isValid(attestation.issuer, _attestationDigest(attestation), signature)) {
            revert BadIssuerSignature(attestation.issuer);
        }
    }

    /// One record per person, one person per address, and both for ever.
    function _requireSamePerson(StoredRecord storage record, RecordAttestation calldata attestation) private view {
        if (record.moved) revert RecordUnusable(attestation.dataset, attestation.patient);
        if (record.person != 0 && record.person != attestation.person) {
            revert PersonHasRecord(attestation.dataset, record.person, attestation.patient);
        }
        address patient = _patientOf[attestation.dataset][attestation.person];
        if (patient != address(0) && patient != attestation.patient) {
            revert PersonHasRecord(attestation.dataset, attestation.person, patient);
        }
    }

    function _requireNextVersion(StoredRecord storage record, RecordAttestation calldata attestation) private view {
        uint32 last = record.version > record.pendingVersion ? record.version : record.pendingVersion;
        if (attestation.version != last + 1) {
            revert WrongRecordVersion(attestation.dataset, attestation.patient, last + 1, attestation.version);
        }
    }

    function _requirePending(StoredRecord storage record, StorageReceipt calldata receipt) private view {
        if (record.pending == 0) revert NothingPending(receipt.dataset, receipt.patient);
        if (record.pending != receipt.commitment) revert ReceiptMismatch(record.pending, receipt.commitment);
        if (record.pendingVersion != receipt.version) {
            revert WrongRecordVersion(receipt.dataset, receipt.patient, record.pendingVersion, receipt.version);
        }
        // Its issuer may have been withdrawn since it attested.
        _requireIssuer(receipt.dataset, record.pendingIssuer);
    }

    function _requireIssuer(DatasetId dataset, address issuer) private view {
        if (!_issuers[dataset][issuer]) revert UnknownIssuer(dataset, issuer);
    }

    function _known(DatasetId dataset) private view returns (Dataset storage stored) {
        stored = _datasets[dataset];
        if (stored.steward == address(0)) revert UnknownDataset(dataset);
    }

    function _active(DatasetId dataset) private view returns (Dataset storage stored) {
        stored = _known(dataset);
        if (stored.retired) revert DatasetIsRetired(dataset);
    }

    function _publishedClass(ClassId class) private view returns (Class storage published) {
        published = _classes[class];
        if (published.definition == 0) revert UnknownClass(class);
    }

    function _isUsable(StoredRecord storage record) private view returns (bool) {
        return record.version != 0 && !record.suspended && !record.erased;
    }

    function _pendingBoundTo(StoredRecord storage record, address patient) private view returns (address) {
        return record.pendingBoundTo == address(0) ? patient : record.pendingBoundTo;
    }

    function _datasetId(address steward, bytes32 dictionary, bytes32 salt) private view returns (DatasetId) {
        bytes32 digest =
            keccak256(abi.encode("usufruct/dataset/1", block.chainid, address(this), steward, dictionary, salt));
        return DatasetId.wrap(bytes32(uint256(digest) & ~CLASS_MASK));
    }

    function _attestationDigest(RecordAttestation calldata attestation) private view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(RECORD_ATTESTATION_TYPEHASH, attestation)));
    }

    function _receiptDigest(StorageReceipt calldata receipt) private view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(STORAGE_RECEIPT_TYPEHASH, receipt)));
    }

    function _definition(ClassId class, ClassTerms calldata terms) private pure returns (bytes32) {
        return keccak256(abi.encode(class, terms));
    }

    function _requireDescents(uint32[] calldata descendants, uint32[] calldata ancestors) private pure {
        if (descendants.length != ancestors.length) revert DiseaseTableInvalid(descendants.length);
        for (uint256 i = 0; i < descendants.length; ++i) {
            bool empty = descendants[i] == 0 || ancestors[i] == 0;
            if (empty || descendants[i] == ancestors[i]) revert DiseaseTableInvalid(i);
        }
    }
}
