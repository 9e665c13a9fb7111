// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// A dataset: a hash of chain, registry, steward, dictionary and salt whose low 16 bits are zero,
/// so that a class of it can be named by setting them. A hash, because a reorganisation must not
/// be able to rebind an id that a patient has signed.
type DatasetId is bytes32;

/// A consent class: its dataset's id with the class index (1, 2, ...) in the low 16 bits.
type ClassId is bytes32;

/// A request: the hash of everything that its researcher asked for.
type RequestId is bytes32;

using {sameDataset as ==, otherDataset as !=} for DatasetId global;
using {datasetOf, indexOf} for ClassId global;

uint256 constant CLASS_MASK = type(uint16).max;

function sameDataset(DatasetId a, DatasetId b) pure returns (bool) {
    return DatasetId.unwrap(a) == DatasetId.unwrap(b);
}

function otherDataset(DatasetId a, DatasetId b) pure returns (bool) {
    return DatasetId.unwrap(a) != DatasetId.unwrap(b);
}

function datasetOf(ClassId class) pure returns (DatasetId) {
    return DatasetId.wrap(bytes32(uint256(ClassId.unwrap(class)) & ~CLASS_MASK));
}

function indexOf(ClassId class) pure returns (uint16) {
    return uint16(uint256(ClassId.unwrap(class)) & CLASS_MASK);
}

function classOf(DatasetId dataset, uint16 index) pure returns (ClassId) {
    return ClassId.wrap(bytes32(uint256(DatasetId.unwrap(dataset)) | index));
}
