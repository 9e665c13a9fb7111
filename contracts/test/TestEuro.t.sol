// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {World} from "./base/World.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// mint, transfer ── to nobody: ERC20InvalidReceiver ── from nobody: ERC20InvalidSender ── more than there is
/// approve ── nobody as spender or owner ── transferFrom ── beyond the allowance
/// permit ── late ── not the owner's, or used ── a signature that is none, or malleated
contract TestEuroTest is World {
    uint256 private constant OWNER = 0x0e2;
    address private constant SPENDER = address(0xcafe);
    /// The order of secp256k1 (SEC 2).
    uint256 private constant ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    function test_nobody_is_neither_paid_nor_pays_nor_approves() public {
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        token.mint(address(0), 1);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidSender.selector, address(0)));
        vm.prank(address(0));
        token.transfer(SPENDER, 0);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidSpender.selector, address(0)));
        token.approve(address(0), 1);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidApprover.selector, address(0)));
        token.transferFrom(address(0), SPENDER, 0);
    }

    function test_nobody_spends_more_than_there_is_or_than_was_allowed() public {
        token.mint(address(this), 10);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, address(this), 10, 11));
        token.transfer(SPENDER, 11);
        token.approve(SPENDER, 4);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, SPENDER, 4, 5));
        vm.prank(SPENDER);
        token.transferFrom(address(this), SPENDER, 5);
    }

    function _permitSignature(uint256 key, uint256 deadline) private view returns (uint8 v, bytes32 r, bytes32 s) {
        bytes32 kind = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 structHash = keccak256(abi.encode(kind, vm.addr(OWNER), SPENDER, 60, 0, deadline));
        return vm.sign(key, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash)));
    }

    function test_a_permit_is_its_owners_in_time_and_once() public {
        address owner = vm.addr(OWNER);
        (uint8 v, bytes32 r, bytes32 s) = _permitSignature(OWNER, clock());
        token.permit(owner, SPENDER, 60, clock(), v, r, s);
        assertEq(token.allowance(owner, SPENDER), 60, "allowed");
        vm.expectPartialRevert(ERC20Permit.ERC2612InvalidSigner.selector);
        token.permit(owner, SPENDER, 60, clock(), v, r, s);
        uint256 late = clock() - 1;
        vm.expectRevert(abi.encodeWithSelector(ERC20Permit.ERC2612ExpiredSignature.selector, late));
        token.permit(owner, SPENDER, 60, late, v, r, s);
    }

    function test_a_permit_has_one_signature_and_a_sound_one() public {
        address owner = vm.addr(OWNER);
        (uint8 v, bytes32 r, bytes32 s) = _permitSignature(OWNER, clock());
        vm.expectRevert(ECDSA.ECDSAInvalidSignature.selector);
        token.permit(owner, SPENDER, 60, clock(), 0, r, s);
        bytes32 twin = bytes32(ORDER - uint256(s));
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureS.selector, twin));
        token.permit(owner, SPENDER, 60, clock(), v, r, twin);
    }
}
