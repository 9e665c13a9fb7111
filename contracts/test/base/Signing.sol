// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Erasure, Grant, Guardianship, Pause, Revocation, Rotation} from "../../src/interfaces/IConsentRegistry.sol";
import {RecordAttestation, StorageReceipt} from "../../src/interfaces/IDatasetRegistry.sol";
import {CreditWithdrawal, EarningsWithdrawal, Settlement} from "../../src/interfaces/IResearchMarket.sol";
import {RequestId} from "../../src/types/Ids.sol";

/// The struct hashes that wallets make, from type strings written out again: a typo in a contract shows.
library Signing {
    function digest(string memory name, address verifier, bytes32 structHash) internal view returns (bytes32) {
        return digestOn(block.chainid, name, verifier, structHash);
    }

    function digestOn(uint256 chain, string memory name, address verifier, bytes32 structHash)
        internal
        pure
        returns (bytes32)
    {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256("1"),
                chain,
                verifier
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function hash(RecordAttestation memory said) internal pure returns (bytes32) {
        bytes memory kind =
            "RecordAttestation(bytes32 dataset,address patient,bytes32 person,bytes32 commitment,uint32 version,address issuer,uint40 deadline)";
        return keccak256(abi.encode(keccak256(kind), said));
    }

    function hash(StorageReceipt memory receipt) internal pure returns (bytes32) {
        bytes memory kind =
            "StorageReceipt(bytes32 dataset,address patient,bytes32 commitment,uint32 version,uint32 epoch)";
        return keccak256(abi.encode(keccak256(kind), receipt));
    }

    function hash(Grant memory g) internal pure returns (bytes32) {
        bytes memory kind =
            "Grant(address patient,bytes32 dataset,bytes32 class,bytes32 definition,uint56 cap,uint40 expiry,uint32 sequence,uint40 deadline)";
        return keccak256(abi.encode(keccak256(kind), g));
    }

    function hash(Revocation memory r) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("Revocation(address patient,bytes32 dataset,uint32 sequence)"), r));
    }

    function restHash(Pause memory p) internal pure returns (bytes32) {
        bytes memory kind = "Rest(address patient,bytes32 dataset,uint32 sequence,uint256 nonce,uint40 deadline)";
        return keccak256(abi.encode(keccak256(kind), p));
    }

    function wakeHash(Pause memory p) internal pure returns (bytes32) {
        bytes memory kind = "Wake(address patient,bytes32 dataset,uint32 sequence,uint256 nonce,uint40 deadline)";
        return keccak256(abi.encode(keccak256(kind), p));
    }

    function hash(Guardianship memory g) internal pure returns (bytes32) {
        bytes memory kind =
            "Guardianship(address patient,bytes32 dataset,address guardian,uint40 expiry,bool mayGrant,uint256 nonce,uint40 deadline)";
        return keccak256(abi.encode(keccak256(kind), g));
    }

    function hash(Erasure memory e) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("Erasure(address patient,bytes32 dataset,uint32 version)"), e));
    }

    function hash(Rotation memory r) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("Rotation(bytes32 dataset,address from,address to,uint40 deadline)"), r));
    }

    function gateKeyHash(RequestId request, bytes32 root, bytes32 key) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("GateKey(bytes32 request,bytes32 root,bytes32 key)"), request, root, key));
    }

    function certificateHash(RequestId request, bytes32 root, uint32 epoch) internal pure returns (bytes32) {
        bytes memory kind = "TurnCertificate(bytes32 request,bytes32 root,uint32 epoch)";
        return keccak256(abi.encode(keccak256(kind), request, root, epoch));
    }

    function hash(Settlement memory s) internal pure returns (bytes32) {
        bytes memory kind =
            "Settlement(bytes32 request,bytes32 root,uint32 epoch,uint8 lane,uint16 schema,bytes32 ciphertextRoot,bytes32 noise,bytes32 resultHash,bytes32 deliveryHash,address gate)";
        return keccak256(abi.encode(keccak256(kind), s));
    }

    function jointKeyHash(uint32 epoch, bytes memory commitments, bytes32 transcript) internal pure returns (bytes32) {
        bytes32 kind = keccak256("JointKey(uint32 epoch,bytes commitments,bytes32 transcript)");
        return keccak256(abi.encode(kind, epoch, keccak256(commitments), transcript));
    }

    function noiseCommitmentHash(RequestId request, bytes32 root, uint32 epoch, uint8 place, bytes32 commitment)
        internal
        pure
        returns (bytes32)
    {
        bytes memory kind = "NoiseCommitment(bytes32 request,bytes32 root,uint32 epoch,uint8 place,bytes32 commitment)";
        return keccak256(abi.encode(keccak256(kind), request, root, epoch, place, commitment));
    }

    function noiseSetHash(RequestId request, bytes32 root, uint32 epoch, uint16 places, bytes32 noise)
        internal
        pure
        returns (bytes32)
    {
        bytes memory kind = "NoiseSet(bytes32 request,bytes32 root,uint32 epoch,uint16 places,bytes32 noise)";
        return keccak256(abi.encode(keccak256(kind), request, root, epoch, places, noise));
    }

    function hash(CreditWithdrawal memory w) internal pure returns (bytes32) {
        bytes memory kind = "CreditWithdrawal(address account,address to,uint256 nonce,uint40 deadline)";
        return keccak256(abi.encode(keccak256(kind), w));
    }

    function hash(EarningsWithdrawal memory w) internal pure returns (bytes32) {
        bytes memory kind =
            "EarningsWithdrawal(address patient,bytes32 dataset,address to,uint256 nonce,uint40 deadline)";
        return keccak256(abi.encode(keccak256(kind), w));
    }
}
