// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Credential} from "../types/DataUseTypes.sol";

/// Who may ask: credentials given and withdrawn by a credential authority (role AUTHORITY).
interface IResearcherRegistry {
    event CredentialGiven(address indexed researcher, Credential credential);
    event CredentialWithdrawn(address indexed researcher);

    error CredentialMissing(address researcher);
    error CredentialExpired(address researcher, uint40 expiry);
    error CredentialIsWithdrawn(address researcher);
    error CredentialInvalid(string field);

    /// Gives or replaces a credential; refuses an unset kind, country, user, institution or evidence and a past expiry.
    function give(address researcher, Credential calldata credential) external;

    /// Withdraws a credential at once; works while paused. Returns whether anything changed.
    function withdraw(address researcher) external returns (bool);

    /// The credential of a researcher in good standing; reverts otherwise.
    function requireCredential(address researcher) external view returns (Credential memory);

    function credentialOf(address researcher) external view returns (Credential memory);
}
