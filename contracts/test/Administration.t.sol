// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {World} from "./base/World.sol";
import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";

/// grantRole, revokeRole ── not the admin: AccessControlUnauthorizedAccount
/// renounceRole ── in another's name: AccessControlBadConfirmation
/// unpause ── what is not paused: ExpectedPause
contract AdministrationTest is World {
    address private constant NEXT = address(0xad1);

    function _contracts() private view returns (AccessControl[7] memory all) {
        return [AccessControl(token), committee, datasets, researchers, consents, noises, market];
    }

    function test_administration_is_handed_over_and_nothing_stays_behind() public {
        AccessControl[7] memory all = _contracts();
        for (uint256 i = 0; i < all.length; ++i) {
            bytes32 admin = all[i].DEFAULT_ADMIN_ROLE();
            all[i].grantRole(admin, NEXT);
            all[i].renounceRole(admin, address(this));
            bytes memory refused =
                abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, address(this), admin);
            vm.expectRevert(refused);
            all[i].grantRole(admin, address(this));
            vm.expectRevert(refused);
            all[i].revokeRole(admin, NEXT);
            vm.prank(NEXT);
            all[i].grantRole("any role", address(0xcafe));
        }
    }

    function test_nobody_gives_up_anothers_role() public {
        AccessControl[7] memory all = _contracts();
        for (uint256 i = 0; i < all.length; ++i) {
            bytes32 admin = all[i].DEFAULT_ADMIN_ROLE();
            vm.expectRevert(IAccessControl.AccessControlBadConfirmation.selector);
            vm.prank(NEXT);
            all[i].renounceRole(admin, address(this));
            assertTrue(all[i].hasRole(admin, address(this)), "still the admin");
        }
    }

    function test_only_what_is_paused_is_unpaused() public {
        researchers.grantRole(researchers.PAUSER(), address(this));
        vm.expectRevert(Pausable.ExpectedPause.selector);
        consents.unpause();
        vm.expectRevert(Pausable.ExpectedPause.selector);
        market.unpause();
        vm.expectRevert(Pausable.ExpectedPause.selector);
        datasets.unpause();
        vm.expectRevert(Pausable.ExpectedPause.selector);
        researchers.unpause();
    }
}
