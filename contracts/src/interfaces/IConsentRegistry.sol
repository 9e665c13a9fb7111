// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ClassId, DatasetId, RequestId} from "../types/Ids.sol";

/// Where a patient's consent for one dataset stands.
enum ConsentState {
    None, // never granted, or revoked, expired and removed, erased
    Live, // counted in cohorts
    Resting, // kept, in no cohort; `wake` brings it back
    RestedByPatient, // kept, in no cohort; only its patient brings it back
    Moved // this address was left for another; it can never grant again
}

/// EIP-712: Grant(address patient,bytes32 dataset,bytes32 class,bytes32 definition,uint56 cap,uint40 expiry,uint32 sequence,uint40 deadline)
struct Grant {
    address patient;
    DatasetId dataset;
    ClassId class;
    bytes32 definition; // hash of the class terms that the patient read
    uint56 cap; // lifetime budget of this record in this dataset, nano-rho, across classes and lanes
    uint40 expiry; // unix seconds
    uint32 sequence; // exactly one above the patient's current one
    uint40 deadline; // unix seconds; by when this must be on chain
}

/// No order, no deadline: it ends whatever was granted up to `sequence`, also what is not on chain yet. Name one
/// well above the current one (clients add 256), so that no grant that somebody holds back can outrun it.
/// EIP-712: Revocation(address patient,bytes32 dataset,uint32 sequence)
struct Revocation {
    address patient;
    DatasetId dataset;
    uint32 sequence;
}

/// EIP-712: Rest(address patient,bytes32 dataset,uint32 sequence,uint256 nonce,uint40 deadline), and Wake likewise.
struct Pause {
    address patient;
    DatasetId dataset;
    uint32 sequence; // of the grant that rests or wakes
    uint256 nonce; // unordered
    uint40 deadline;
}

/// EIP-712: Guardianship(address patient,bytes32 dataset,address guardian,uint40 expiry,bool mayGrant,uint256 nonce,uint40 deadline)
struct Guardianship {
    address patient;
    DatasetId dataset;
    address guardian; // 0 dismisses
    uint40 expiry;
    bool mayGrant;
    uint256 nonce;
    uint40 deadline;
}

/// EIP-712: Erasure(address patient,bytes32 dataset,uint32 version); the latest version attested, so that a
/// replay cannot erase a record attested later.
struct Erasure {
    address patient;
    DatasetId dataset;
    uint32 version;
}

/// EIP-712: Rotation(bytes32 dataset,address from,address to,uint40 deadline); signed by both.
struct Rotation {
    DatasetId dataset;
    address from;
    address to;
    uint40 deadline;
}

/// What a view tells of one consent.
struct ConsentView {
    ConsentState state;
    ClassId class;
    uint16 shard;
    uint24 place; // in the shard: word = place / 160, bit = place % 160
    uint32 sequence;
    uint40 expiry;
    uint56 cap; // nano-rho
    uint56 spent; // lifetime, nano-rho
    uint256 owed; // token units that the patient can withdraw
}

struct ShardView {
    uint56 spent; // nano-rho per member so far
    uint56 earned; // token units per member so far
    uint32 live;
    uint32 used; // seats assigned so far; words = ceil(used / 160)
    uint40 frozenUntil;
    RequestId frozenFor;
}

/// Consents, their budgets and earnings. Nothing here can stop a revocation.
interface IConsentRegistry {
    event Granted(
        address indexed patient,
        ClassId indexed class,
        uint16 shard,
        uint24 place,
        uint32 sequence,
        uint56 cap,
        uint40 expiry,
        bool live
    );
    event Revoked(address indexed patient, DatasetId indexed dataset, uint32 sequence);
    event Rested(address indexed patient, DatasetId indexed dataset, bool byPatient);
    event Woken(address indexed patient, DatasetId indexed dataset);
    event Expired(address indexed patient, DatasetId indexed dataset);
    event Expelled(address indexed patient, DatasetId indexed dataset);
    event GuardianAppointed(
        address indexed patient, DatasetId indexed dataset, address indexed guardian, uint40 expiry, bool mayGrant
    );
    event Rotated(DatasetId indexed dataset, address indexed from, address indexed to);
    event ShardFrozen(RequestId indexed request, ClassId indexed class, uint16 shard, uint32 live, uint40 until);
    event ShardThawed(RequestId indexed request, ClassId indexed class, uint16 shard);
    /// `bitmaps` are 20 bytes a word, in word order: with them anyone can recompute the shard's root.
    event ShardSealed(
        RequestId indexed request, ClassId indexed class, uint16 shard, uint32 members, bytes32 root, bytes bitmaps
    );

    error NotAuthorised(address caller, address patient);
    error WrongSequence(uint32 expected, uint32 given);
    error SupersededRevocation(uint32 current, uint32 given);
    error ClassOutsideDataset(ClassId class, DatasetId dataset);
    error WrongDefinition(bytes32 expected, bytes32 given);
    error ExpiryTooSoon(uint40 expiry, uint40 earliest);
    error BudgetTooSmall(uint56 left, uint56 needed);
    error CapTooLarge(uint56 cap, uint56 largest);
    error AddressMoved(address patient);
    error AddressInUse(address patient);
    error NothingToRest(address patient);
    error NothingToWake(address patient);
    error ConsentIsExpired(uint40 expiry);
    error ClassFull(ClassId class);
    error StillUsable(DatasetId dataset, address patient);
    error WrongRecordVersion(uint32 current, uint32 given);
    error OnlyMarket(address caller);
    error AlreadyBound(address market);
    error ShardIsFrozen(ClassId class, uint16 shard, uint40 until);
    error ShardNotFrozenFor(RequestId request, ClassId class, uint16 shard);
    error FreezeLapsed(uint40 until);
    error UnknownShard(ClassId class, uint16 shard);
    /// This word holds a consent that has expired or cannot afford the cost: tidy it, then seal.
    error WordStale(uint256 word, uint40 earliestExpiry, uint56 earliestExhaustion);

    // --- patients, and guardians within their powers

    function grant(Grant calldata g) external;
    function grantBySig(Grant calldata g, address signer, bytes calldata signature) external;

    /// Ends the consent at once and raises the sequence, also where nothing is live, so that no grant
    /// held back by anyone can follow. Always succeeds for the patient. Returns whether a consent ended.
    function revoke(address patient, DatasetId dataset) external returns (bool ended);
    function revokeBySig(Revocation calldata r, address signer, bytes calldata signature) external returns (bool ended);

    function rest(address patient, DatasetId dataset) external;
    function restBySig(Pause calldata p, address signer, bytes calldata signature) external;
    function wake(address patient, DatasetId dataset) external;
    function wakeBySig(Pause calldata p, address signer, bytes calldata signature) external;

    function appointGuardian(DatasetId dataset, address guardian, uint40 expiry, bool mayGrant) external;
    function appointGuardianBySig(Guardianship calldata g, bytes calldata signature) external;

    /// Revokes, and erases the record: custodians destroy their shares.
    function erase(DatasetId dataset) external;
    function eraseBySig(Erasure calldata e, bytes calldata signature) external;

    /// Moves record, consent, earnings and lifetime spend to a new address of the same person.
    function rotate(Rotation calldata r, bytes calldata signatureFrom, bytes calldata signatureTo) external;

    // --- anyone

    /// Wakes every resting consent of these words that its patient did not rest and that can afford the
    /// class's highest cost. @return woken how many
    function wakeWords(ClassId class, uint16 shard, uint256[] calldata words) external returns (uint256 woken);

    /// Removes the consent of a record that is suspended or erased.
    function expel(DatasetId dataset, address patient) external;

    // --- the market

    function freezeShard(RequestId request, ClassId class, uint16 shard, uint40 until) external returns (uint32 live);
    function thawShard(RequestId request, ClassId class, uint16 shard) external;
    function tidyShard(RequestId request, ClassId class, uint16 shard, uint256[] calldata words, uint56 cost)
        external
        returns (uint256 left);
    function sealShard(RequestId request, ClassId class, uint16 shard, uint56 cost, uint56 price)
        external
        returns (bytes32 root, uint32 members);
    /// Takes all that is owed to a patient, who is then owed nothing.
    function collect(DatasetId dataset, address patient) external returns (uint256 amount);

    // --- views

    function consentOf(DatasetId dataset, address patient) external view returns (ConsentView memory);
    function guardianOf(DatasetId dataset, address patient)
        external
        view
        returns (address, uint40 expiry, bool mayGrant);
    function shardsOf(ClassId class) external view returns (uint16);
    function shardOf(ClassId class, uint16 shard) external view returns (ShardView memory);
    function wordsOf(ClassId class, uint16 shard, uint256 first, uint256 number)
        external
        view
        returns (uint256[] memory);
    function waitingOf(ClassId class, uint16 shard, uint256 first, uint256 number)
        external
        view
        returns (uint256[] memory);
    /// The patients of these places, 0 where a place was never assigned. A sealed shard's places cannot change
    /// hands between its freeze and the end of the block of its own ShardSealed event: read them at that block.
    function patientsAt(ClassId class, uint16 shard, uint24[] calldata places) external view returns (address[] memory);
}
