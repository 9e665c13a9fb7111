// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {Signatures} from "./base/Signatures.sol";
import {CommitteeKey, ICustodianCommittee, Member, QuorumSignature} from "./interfaces/ICustodianCommittee.sol";

/// Epochs never change once opened: a request pins the one in force when it was frozen.
contract CustodianCommittee is ICustodianCommittee, AccessControl, EIP712 {
    bytes32 public constant ADMIN = keccak256("ADMIN");

    bytes32 private constant JOURNAL_HEAD_TYPEHASH =
        keccak256("JournalHead(uint32 epoch,uint8 place,uint64 height,bytes32 head)");
    bytes32 private constant JOINT_KEY_TYPEHASH =
        keccak256("JointKey(uint32 epoch,bytes commitments,bytes32 transcript)");

    /// A bound on the work of one quorum check, and what Shamir shares are cut for.
    uint256 private constant MAX_MEMBERS = 16;
    uint256 private constant MAX_GATES = 32;

    uint16 private constant SCHEME_X25519 = 1;
    uint16 private constant SCHEME_ELGAMAL = 2;
    uint16 private constant SCHEME_CKKS = 3;
    uint256 private constant X25519_KEY_BYTES = 32; // RFC 7748
    uint256 private constant ELGAMAL_KEY_BYTES = 33; // SEC 1, compressed

    struct Epoch {
        uint8 quorum;
        uint8 members;
        address[] gates;
        mapping(uint256 place => address) signers;
        mapping(uint256 place => mapping(uint16 scheme => bytes)) keys;
    }

    struct Journal {
        uint64 height;
        bytes32 head;
    }

    struct JointKey {
        bytes32 transcript;
        bytes commitments; // empty until recorded
    }

    uint32 private _current;
    mapping(uint32 epoch => Epoch) private _epochs;
    mapping(address signer => Journal) private _journals;
    mapping(uint32 epoch => JointKey) private _jointKeys;

    constructor(address admin) EIP712("Usufruct CustodianCommittee", "1") {
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(ADMIN, admin);
    }

    /// @inheritdoc ICustodianCommittee
    function openEpoch(Member[] calldata members, uint8 quorum, address[] calldata gates)
        external
        onlyRole(ADMIN)
        returns (uint32 number)
    {
        // Check
        _requireQuorumSize(members.length, quorum);
        _requireGates(gates);
        // Effect
        number = ++_current;
        Epoch storage epoch = _epochs[number];
        epoch.quorum = quorum;
        epoch.members = uint8(members.length);
        epoch.gates = gates;
        for (uint256 place = 0; place < members.length; ++place) {
            _seat(epoch, place, members[place]);
        }
        emit EpochOpened(number, quorum, members, gates);
    }

    /// @inheritdoc ICustodianCommittee
    function anchorJournal(uint32 epoch, uint8 place, uint64 height, bytes32 head, bytes calldata signature) external {
        // Check
        address signer = signerOf(epoch, place);
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(JOURNAL_HEAD_TYPEHASH, epoch, place, height, head)));
        if (!Signatures.isValid(signer, digest, signature)) revert BadCustodianSignature(place);
        Journal storage journal = _journals[signer];
        if (height <= journal.height) revert JournalNotRising(height, journal.height);
        // Effect
        journal.height = height;
        journal.head = head;
        emit JournalAnchored(epoch, place, height, head);
    }

    /// @inheritdoc ICustodianCommittee
    function recordJointKey(
        uint32 epoch,
        bytes calldata commitments,
        bytes32 transcript,
        QuorumSignature[] calldata signatures
    ) external {
        // Check
        Epoch storage opened = _opened(epoch);
        JointKey storage joint = _jointKeys[epoch];
        if (joint.commitments.length != 0) revert JointKeyExists(epoch);
        if (!_arePoints(commitments, opened.quorum)) revert JointKeyInvalid(epoch);
        // Fewer than all could record a key of which the others hold no share, and then keep it from being used.
        if (signatures.length != opened.members) revert QuorumMissing(opened.members, signatures.length);
        bytes32 structHash = keccak256(abi.encode(JOINT_KEY_TYPEHASH, epoch, keccak256(commitments), transcript));
        requireQuorum(epoch, _hashTypedDataV4(structHash), signatures);
        // Effect
        joint.transcript = transcript;
        joint.commitments = commitments;
        emit JointKeyRecorded(epoch, transcript, commitments);
    }

    /// @inheritdoc ICustodianCommittee
    function requireJointKey(uint32 epoch) external view {
        _opened(epoch);
        if (_jointKeys[epoch].commitments.length == 0) revert NoJointKey(epoch);
    }

    /// @inheritdoc ICustodianCommittee
    function requireQuorum(uint32 epoch, bytes32 digest, QuorumSignature[] calldata signatures) public view {
        Epoch storage opened = _opened(epoch);
        uint256 members = opened.members;
        if (signatures.length < opened.quorum) revert QuorumMissing(opened.quorum, signatures.length);
        uint256 lowest = 0;
        for (uint256 i = 0; i < signatures.length; ++i) {
            uint8 place = signatures[i].place;
            if (place < lowest) revert SignaturesOutOfOrder(place);
            if (place >= members) revert UnknownPlace(epoch, place);
            if (!Signatures.isValid(opened.signers[place], digest, signatures[i].signature)) {
                revert BadCustodianSignature(place);
            }
            lowest = uint256(place) + 1;
        }
    }

    /// @inheritdoc ICustodianCommittee
    function currentEpoch() external view returns (uint32) {
        if (_current == 0) revert NoEpoch();
        return _current;
    }

    /// @inheritdoc ICustodianCommittee
    function quorumOf(uint32 epoch) external view returns (uint8 quorum, uint8 members) {
        Epoch storage opened = _opened(epoch);
        return (opened.quorum, opened.members);
    }

    /// @inheritdoc ICustodianCommittee
    function keyOf(uint32 epoch, uint8 place, uint16 scheme) external view returns (bytes memory) {
        return _seated(epoch, place).keys[place][scheme];
    }

    /// @inheritdoc ICustodianCommittee
    function gatesOf(uint32 epoch) external view returns (address[] memory) {
        return _opened(epoch).gates;
    }

    /// @inheritdoc ICustodianCommittee
    function gateAt(uint32 epoch, uint256 draw) external view returns (address) {
        address[] storage gates = _opened(epoch).gates;
        return gates[draw % gates.length];
    }

    /// @inheritdoc ICustodianCommittee
    function journalOf(address signer) external view returns (uint64 height, bytes32 head) {
        Journal storage journal = _journals[signer];
        return (journal.height, journal.head);
    }

    /// @inheritdoc ICustodianCommittee
    function jointKeyOf(uint32 epoch) external view returns (bytes memory commitments, bytes32 transcript) {
        _opened(epoch);
        JointKey storage joint = _jointKeys[epoch];
        return (joint.commitments, joint.transcript);
    }

    /// @inheritdoc ICustodianCommittee
    function signerOf(uint32 epoch, uint8 place) public view returns (address) {
        return _seated(epoch, place).signers[place];
    }

    function _seat(Epoch storage epoch, uint256 place, Member calldata member) private {
        if (member.signer == address(0)) revert InvalidMember(place);
        for (uint256 earlier = 0; earlier < place; ++earlier) {
            if (epoch.signers[earlier] == member.signer) revert DuplicateMember(member.signer);
        }
        epoch.signers[place] = member.signer;
        for (uint256 i = 0; i < member.keys.length; ++i) {
            CommitteeKey calldata key = member.keys[i];
            bool repeated = epoch.keys[place][key.scheme].length != 0;
            if (repeated || !_isKey(key)) revert InvalidMember(place);
            epoch.keys[place][key.scheme] = key.key;
        }
        if (epoch.keys[place][SCHEME_X25519].length == 0) revert InvalidMember(place);
    }

    function _opened(uint32 epoch) private view returns (Epoch storage opened) {
        opened = _epochs[epoch];
        if (opened.members == 0) revert UnknownEpoch(epoch);
    }

    function _seated(uint32 epoch, uint8 place) private view returns (Epoch storage opened) {
        opened = _opened(epoch);
        if (place >= opened.members) revert UnknownPlace(epoch, place);
    }

    function _requireQuorumSize(uint256 members, uint8 quorum) private pure {
        if (members > MAX_MEMBERS) revert TooManyMembers(members);
        if (quorum > members) revert QuorumTooLarge(quorum, members);
        // A majority, so that no two disjoint groups can both act.
        if (2 * uint256(quorum) <= members) revert QuorumTooSmall(quorum, members);
    }

    function _requireGates(address[] calldata gates) private pure {
        if (gates.length == 0) revert NoGates();
        if (gates.length > MAX_GATES) revert TooManyGates(gates.length);
        for (uint256 i = 0; i < gates.length; ++i) {
            if (gates[i] == address(0)) revert InvalidGate(gates[i]);
            for (uint256 earlier = 0; earlier < i; ++earlier) {
                if (gates[earlier] == gates[i]) revert InvalidGate(gates[i]);
            }
        }
    }

    function _isKey(CommitteeKey calldata key) private pure returns (bool) {
        if (key.scheme == SCHEME_X25519) return key.key.length == X25519_KEY_BYTES && bytes32(key.key) != 0;
        if (key.scheme == SCHEME_ELGAMAL) return _arePoints(key.key, 1);
        return key.scheme == SCHEME_CKKS && key.key.length != 0;
    }

    /// Whether these are so many points in the compressed form of SEC 1.
    function _arePoints(bytes calldata points, uint256 number) private pure returns (bool) {
        if (points.length != number * ELGAMAL_KEY_BYTES) return false;
        for (uint256 i = 0; i < points.length; i += ELGAMAL_KEY_BYTES) {
            if (points[i] != 0x02 && points[i] != 0x03) return false;
        }
        return true;
    }
}
