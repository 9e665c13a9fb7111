// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IResearcherRegistry} from "../src/interfaces/IResearcherRegistry.sol";
import {Credential} from "../src/types/DataUseTypes.sol";
import {World} from "./base/World.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";

/// give ── paused ── each field unset: CredentialInvalid
/// withdraw ── nothing to withdraw: nothing ── also while paused
/// requireCredential ── missing ── withdrawn ── expired ── else told
contract ResearchersTest is World {
    function _refuse(Credential memory credential, string memory field) private {
        vm.expectRevert(abi.encodeWithSelector(IResearcherRegistry.CredentialInvalid.selector, field));
        researchers.give(OPERATOR, credential);
    }

    function test_a_credential_says_everything() public {
        Credential memory credential = _credential();
        vm.expectRevert(abi.encodeWithSelector(IResearcherRegistry.CredentialInvalid.selector, "researcher"));
        researchers.give(address(0), credential);
        credential.kind = 4;
        _refuse(credential, "kind");
        credential = _credential();
        credential.country = "fr";
        _refuse(credential, "country");
        credential = _credential();
        credential.expiry = clock();
        _refuse(credential, "expiry");
        credential = _credential();
        credential.withdrawn = true;
        _refuse(credential, "withdrawn");
        credential = _credential();
        credential.user = 0;
        _refuse(credential, "user");
        credential = _credential();
        credential.institution = 0;
        _refuse(credential, "institution");
        credential = _credential();
        credential.evidence = 0;
        _refuse(credential, "evidence");
    }

    function test_pause_stops_new_credentials_but_no_withdrawal() public {
        researchers.grantRole(researchers.PAUSER(), address(this));
        Credential memory credential = _credential();
        researchers.pause();
        vm.expectRevert(Pausable.EnforcedPause.selector);
        researchers.give(OPERATOR, credential);
        assertTrue(researchers.withdraw(_researcher(0)), "withdrawn");
        assertTrue(!researchers.withdraw(_researcher(0)), "once");
        assertTrue(!researchers.withdraw(OPERATOR), "nothing to withdraw");
        assertTrue(researchers.credentialOf(_researcher(0)).withdrawn, "told");
        researchers.unpause();
        researchers.give(OPERATOR, credential);
    }

    function test_a_credential_expires() public {
        uint40 expiry = researchers.requireCredential(_researcher(0)).expiry;
        vm.warp(expiry);
        vm.expectRevert(abi.encodeWithSelector(IResearcherRegistry.CredentialExpired.selector, _researcher(0), expiry));
        researchers.requireCredential(_researcher(0));
    }
}
