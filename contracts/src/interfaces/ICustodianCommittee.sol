// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// A custodian's signature, by its place (0, 1, ...) in the epoch. Lists are in strictly ascending places.
struct QuorumSignature {
    uint8 place;
    bytes signature;
}

/// A public key, typed by scheme: 1 X25519 for HPKE, 2 ElGamal on secp256k1, 3 CKKS.
struct CommitteeKey {
    uint16 scheme;
    bytes key;
}

struct Member {
    address signer;
    CommitteeKey[] keys;
}

/// n custodians, of whom k > n/2 must act for anything to open; rotated by epoch (1, 2, ...).
interface ICustodianCommittee {
    event EpochOpened(uint32 indexed epoch, uint8 quorum, Member[] members, address[] gates);
    event JournalAnchored(uint32 indexed epoch, uint8 indexed place, uint64 height, bytes32 head);
    event JointKeyRecorded(uint32 indexed epoch, bytes32 transcript, bytes commitments);

    error NoEpoch();
    error UnknownEpoch(uint32 epoch);
    error QuorumTooSmall(uint8 quorum, uint256 members);
    error QuorumTooLarge(uint8 quorum, uint256 members);
    error TooManyMembers(uint256 members);
    error InvalidMember(uint256 place);
    error DuplicateMember(address signer);
    error NoGates();
    error TooManyGates(uint256 gates);
    error InvalidGate(address gate);
    error QuorumMissing(uint8 quorum, uint256 given);
    error SignaturesOutOfOrder(uint8 place);
    error UnknownPlace(uint32 epoch, uint8 place);
    error BadCustodianSignature(uint8 place);
    error JournalNotRising(uint64 height, uint64 anchored);
    error JointKeyExists(uint32 epoch);
    error NoJointKey(uint32 epoch);
    error JointKeyInvalid(uint32 epoch);

    /// Opens the next epoch (role ADMIN): its members with their keys (each at least an X25519 key of 32 bytes),
    /// quorum k (n/2 < k <= n <= 16), and the gates from which one is drawn per request.
    function openEpoch(Member[] calldata members, uint8 quorum, address[] calldata gates) external returns (uint32);

    /// Reverts unless at least `quorum` distinct members of the epoch signed `digest`, in ascending places, every one valid.
    function requireQuorum(uint32 epoch, bytes32 digest, QuorumSignature[] calldata signatures) external view;

    /// A custodian's own journal height, signed by it; must rise. A custodian whose journal is behind this refuses to work.
    /// EIP-712: JournalHead(uint32 epoch,uint8 place,uint64 height,bytes32 head)
    function anchorJournal(uint32 epoch, uint8 place, uint64 height, bytes32 head, bytes calldata signature) external;

    /// Anyone, once an epoch and for ever: the key to which its custodians made shares together, signed by every one
    /// of them, so that each holds a share. `commitments` are the Feldman commitments A_0 .. A_{quorum-1} of the joint
    /// polynomial, each 33 bytes (SEC 1, compressed, secp256k1); A_0 is the joint ElGamal key. `transcript` is the hash
    /// of how they made it. That the points lie on the curve is for them to check.
    /// EIP-712: JointKey(uint32 epoch,bytes commitments,bytes32 transcript)
    function recordJointKey(
        uint32 epoch,
        bytes calldata commitments,
        bytes32 transcript,
        QuorumSignature[] calldata signatures
    ) external;

    /// Reverts unless the epoch has a joint key.
    function requireJointKey(uint32 epoch) external view;

    function currentEpoch() external view returns (uint32);
    function quorumOf(uint32 epoch) external view returns (uint8 quorum, uint8 members);
    function signerOf(uint32 epoch, uint8 place) external view returns (address);
    function keyOf(uint32 epoch, uint8 place, uint16 scheme) external view returns (bytes memory);
    function gatesOf(uint32 epoch) external view returns (address[] memory);
    function gateAt(uint32 epoch, uint256 draw) external view returns (address);
    function journalOf(address signer) external view returns (uint64 height, bytes32 head);
    /// Empty where the epoch has no joint key.
    function jointKeyOf(uint32 epoch) external view returns (bytes memory commitments, bytes32 transcript);
}
