// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Test} from "../Vm.sol";
import {PatientActions} from "./PatientActions.sol";
import {RequestActions} from "./RequestActions.sol";

contract Handler is PatientActions, RequestActions {
    function actions() external pure returns (bytes4[] memory all) {
        bytes4[30] memory each = [
            this.grant.selector,
            this.regrant.selector,
            this.revoke.selector,
            this.rest.selector,
            this.wake.selector,
            this.wakeWords.selector,
            this.withdrawEarnings.selector,
            this.rotate.selector,
            this.erase.selector,
            this.attest.selector,
            this.expel.selector,
            this.warp.selector,
            this.open.selector,
            this.cancel.selector,
            this.freeze.selector,
            this.tidy.selector,
            this.seal.selector,
            this.sealAll.selector,
            this.dissolve.selector,
            this.drawGate.selector,
            this.redrawGate.selector,
            this.recordGateKey.selector,
            this.commitNoise.selector,
            this.fixNoise.selector,
            this.settle.selector,
            this.defaultCertified.selector,
            this.defaultUncertified.selector,
            this.reclaim.selector,
            this.postBond.selector,
            this.withdrawCredit.selector
        ];
        all = new bytes4[](each.length + 1);
        for (uint256 i = 0; i < each.length; ++i) {
            all[i] = each[i];
        }
        all[each.length] = this.releaseBond.selector;
    }
}

/// One campaign over all actions; after each, every law of every person, request and account.
///
///     owed          what a patient is owed is what was sealed with and not withdrawn
///     spent         lifetime spend is the sum of the sealed costs, and never above the signed cap
///     live          a consent is live exactly where its bit is set; `live` counts the bits
///     frozen        while a shard is frozen its words only lose members
///     root          a cohort root is that of the persons whose consents were live, unexpired and agreed to
///     revocation    it never reverts, whatever is paused, frozen or held
///     noise         whose noise counts is fixed once; a request on ciphertext has no gate
///     end           a request moves along the stages only, and ends once
///     money         each of the five liabilities is the sum of its items; the balance is their sum
contract LawsTest is Test {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Handler private handler;

    function setUp() public {
        handler = new Handler();
        handler.setUp();
        for (uint256 i = 0; i < 4; ++i) {
            handler.grant(uint256(keccak256(abi.encode(i))));
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), handler.actions());
    }

    function invariant_every_law_holds() external view {
        assertEq(bytes(handler.broken()).length, 0, handler.broken());
        handler.checkPersons();
        handler.checkRequests();
        handler.checkMoney();
    }
}
