// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";

import {DataUse} from "./DataUse.sol";
import {IResearcherRegistry} from "./interfaces/IResearcherRegistry.sol";
import {Credential} from "./types/DataUseTypes.sol";

contract ResearcherRegistry is IResearcherRegistry, AccessControl, Pausable {
    bytes32 public constant AUTHORITY = keccak256("AUTHORITY");
    bytes32 public constant PAUSER = keccak256("PAUSER");

    mapping(address researcher => Credential) private _credentials;

    constructor(address admin) {
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// @inheritdoc IResearcherRegistry
    function give(address researcher, Credential calldata credential) external onlyRole(AUTHORITY) whenNotPaused {
        // Check
        _require(researcher != address(0), "researcher");
        _requireValid(credential);
        // Effect
        _credentials[researcher] = credential;
        emit CredentialGiven(researcher, credential);
    }

    /// @inheritdoc IResearcherRegistry
    function withdraw(address researcher) external onlyRole(AUTHORITY) returns (bool) {
        Credential storage credential = _credentials[researcher];
        // Check: there is one to withdraw.
        if (credential.kind == 0 || credential.withdrawn) return false;
        // Effect
        credential.withdrawn = true;
        emit CredentialWithdrawn(researcher);
        return true;
    }

    /// Stops new credentials (role PAUSER); never a withdrawal.
    function pause() external onlyRole(PAUSER) {
        _pause();
    }

    function unpause() external onlyRole(PAUSER) {
        _unpause();
    }

    /// @inheritdoc IResearcherRegistry
    function requireCredential(address researcher) external view returns (Credential memory credential) {
        credential = _credentials[researcher];
        if (credential.kind == 0) revert CredentialMissing(researcher);
        if (credential.withdrawn) revert CredentialIsWithdrawn(researcher);
        if (credential.expiry <= block.timestamp) revert CredentialExpired(researcher, credential.expiry);
    }

    /// @inheritdoc IResearcherRegistry
    function credentialOf(address researcher) external view returns (Credential memory) {
        return _credentials[researcher];
    }

    function _requireValid(Credential calldata credential) private view {
        _require(DataUse.isOrganisation(credential.kind), "kind");
        _require(DataUse.isCountry(credential.country), "country");
        _require(credential.expiry > block.timestamp, "expiry");
        _require(!credential.withdrawn, "withdrawn");
        _require(credential.user != 0, "user");
        _require(credential.institution != 0, "institution");
        _require(credential.evidence != 0, "evidence");
    }

    function _require(bool holds, string memory field) private pure {
        if (!holds) revert CredentialInvalid(field);
    }
}
