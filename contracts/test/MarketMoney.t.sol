// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ResearchMarket} from "../src/ResearchMarket.sol";
import {TestEuro} from "../src/TestEuro.sol";
import {SignedMessages} from "../src/base/SignedMessages.sol";
import {UnorderedNonces} from "../src/base/UnorderedNonces.sol";
import {CreditWithdrawal, EarningsWithdrawal, IResearchMarket} from "../src/interfaces/IResearchMarket.sol";
import {RequestId} from "../src/types/Ids.sol";
import {Signing} from "./base/Signing.sol";
import {Story} from "./base/Story.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// Calls back whoever moves it, in the middle of every transfer, and passes on what it is told.
contract CallingToken is TestEuro {
    bytes private _call;

    constructor() TestEuro(msg.sender) {
        _mint(msg.sender, 1_000_000);
    }

    function callBackWith(bytes calldata call) external {
        _call = call;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (_call.length == 0) return;
        (bool done, bytes memory reason) = msg.sender.call(_call);
        if (done) return;
        assembly ("memory-safe") {
            revert(add(reason, 0x20), mload(reason))
        }
    }
}

/// Says no, where others revert.
contract FalseToken is TestEuro {
    constructor() TestEuro(msg.sender) {}

    function transferFrom(address, address, uint256) public pure override returns (bool) {
        return false;
    }
}

/// a token that says no: SafeERC20FailedOperation
/// postBond, releaseBond ── more than is free: BondTooSmall ── to nobody or the market: InvalidDestination
/// withdrawCredit, withdrawEarnings
/// ├── nothing owed: NothingOwed ── to nobody or the market: InvalidDestination
/// ├── signed: late: DeadlinePassed ── not the owner's: BadSignature ── nonce used: NonceUsed
/// └── else: all of it, once, also while paused
/// every door that moves tokens is shut while another is open
contract MarketMoneyTest is Story {
    function setUp() public override {
        super.setUp();
        _populate(4);
    }

    // --- bonds

    function test_a_bond_is_posted_and_released() public {
        _fund(OPERATOR, 100);
        vm.expectEmit(address(market));
        emit IResearchMarket.BondPosted(OPERATOR, 100);
        vm.startPrank(OPERATOR);
        market.postBond(100);
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.BondTooSmall.selector, 101, 100));
        market.releaseBond(address(0xcafe), 101);
        vm.expectEmit(address(market));
        emit IResearchMarket.BondReleased(OPERATOR, address(0xcafe), 60);
        market.releaseBond(address(0xcafe), 60);
        assertEq(token.balanceOf(address(0xcafe)), 60, "released");
        assertEq(market.bondOf(OPERATOR), 40, "left");
        (,, uint256 free,,) = market.liabilities();
        assertEq(free, 40, "free bonds");
    }

    function test_nothing_is_paid_to_nobody_or_to_the_market() public {
        _sealed();
        vm.startPrank(OPERATOR);
        _refuseDestinations(abi.encodeCall(market.releaseBond, (address(0), 1)), address(0));
        _refuseDestinations(abi.encodeCall(market.releaseBond, (address(market), 1)), address(market));
        vm.stopPrank();
        vm.startPrank(_researcher(0));
        _refuseDestinations(abi.encodeCall(market.withdrawCredit, (address(0))), address(0));
        _refuseDestinations(abi.encodeCall(market.withdrawCredit, (address(market))), address(market));
        vm.stopPrank();
        vm.startPrank(_patient(0));
        _refuseDestinations(abi.encodeCall(market.withdrawEarnings, (dataset, address(0))), address(0));
        _refuseDestinations(abi.encodeCall(market.withdrawEarnings, (dataset, address(market))), address(market));
    }

    function _refuseDestinations(bytes memory call, address to) private {
        (bool done, bytes memory reason) = address(market).call(call);
        assertTrue(!done, "paid");
        bytes memory expected = abi.encodeWithSelector(IResearchMarket.InvalidDestination.selector, to);
        assertEq(keccak256(reason), keccak256(expected), "reason");
    }

    // --- credits

    function test_a_credit_is_withdrawn_once_and_in_full() public {
        RequestId request = _open(_terms());
        vm.startPrank(_researcher(0));
        market.cancel(request);
        vm.expectEmit(address(market));
        emit IResearchMarket.CreditWithdrawn(_researcher(0), address(0xcafe), ESCROW);
        market.withdrawCredit(address(0xcafe));
        assertEq(token.balanceOf(address(0xcafe)), ESCROW, "paid");
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.NothingOwed.selector, _researcher(0)));
        market.withdrawCredit(address(0xcafe));
        (,,, uint256 credits,) = market.liabilities();
        assertEq(credits + token.balanceOf(address(market)), 0, "nothing left");
    }

    function test_a_credit_is_withdrawn_by_signature_once_and_in_time() public {
        _sealed();
        CreditWithdrawal memory w = CreditWithdrawal(_researcher(0), address(0xcafe), 5, clock());
        bytes memory signed = signature(RESEARCHER, _marketDigest(Signing.hash(w)));
        market.withdrawCreditBySig(w, signed);
        assertEq(token.balanceOf(address(0xcafe)), ESCROW - FEE - 4 * PRICE, "paid");
        vm.expectRevert(abi.encodeWithSelector(UnorderedNonces.NonceUsed.selector, _researcher(0), 5));
        market.withdrawCreditBySig(w, signed);
        skip(1);
        vm.expectRevert(abi.encodeWithSelector(SignedMessages.DeadlinePassed.selector, w.deadline));
        market.withdrawCreditBySig(w, signed);
    }

    // --- earnings

    function test_earnings_go_where_the_patient_says_also_while_paused() public {
        _sealed();
        market.pause();
        consents.pause();
        vm.expectEmit(address(market));
        emit IResearchMarket.EarningsWithdrawn(_patient(0), dataset, address(0xcafe), PRICE);
        vm.startPrank(_patient(0));
        market.withdrawEarnings(dataset, address(0xcafe));
        assertEq(token.balanceOf(address(0xcafe)), PRICE, "paid");
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.NothingOwed.selector, _patient(0)));
        market.withdrawEarnings(dataset, address(0xcafe));
        (,,,, uint256 earnings) = market.liabilities();
        assertEq(earnings, 3 * PRICE, "of the others");
    }

    function test_earnings_are_withdrawn_by_signature_once_and_in_time() public {
        _sealed();
        EarningsWithdrawal memory w = EarningsWithdrawal(_patient(0), dataset, address(0xcafe), 5, clock());
        bytes memory signed = signature(PATIENT, _marketDigest(Signing.hash(w)));
        market.withdrawEarningsBySig(w, signed);
        assertEq(token.balanceOf(address(0xcafe)), PRICE, "paid");
        vm.expectRevert(abi.encodeWithSelector(UnorderedNonces.NonceUsed.selector, _patient(0), 5));
        market.withdrawEarningsBySig(w, signed);
        skip(1);
        vm.expectRevert(abi.encodeWithSelector(SignedMessages.DeadlinePassed.selector, w.deadline));
        market.withdrawEarningsBySig(w, signed);
    }

    function test_a_revocation_does_not_cost_what_was_earned() public {
        _sealed();
        _revoke(_patient(0));
        vm.prank(_patient(0));
        market.withdrawEarnings(dataset, address(0xcafe));
        assertEq(token.balanceOf(address(0xcafe)), PRICE, "paid");
    }

    // --- the token

    function test_a_token_that_says_no_is_refused() public {
        FalseToken no = new FalseToken();
        ResearchMarket refused =
            new ResearchMarket(address(this), no, datasets, researchers, consents, committee, noises, _policy());
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(no)));
        refused.postBond(1);
    }

    // --- re-entry

    function test_no_door_opens_while_tokens_move() public {
        CallingToken caller = new CallingToken();
        ResearchMarket entered =
            new ResearchMarket(address(this), caller, datasets, researchers, consents, committee, noises, _policy());
        caller.approve(address(entered), 1000);
        entered.postBond(100);
        bytes[4] memory doors = [
            abi.encodeCall(entered.postBond, (1)),
            abi.encodeCall(entered.releaseBond, (address(this), 1)),
            abi.encodeCall(entered.withdrawCredit, (address(this))),
            abi.encodeCall(entered.withdrawEarnings, (dataset, address(this)))
        ];
        for (uint256 i = 0; i < doors.length; ++i) {
            caller.callBackWith(doors[i]);
            vm.expectRevert(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
            entered.postBond(1);
        }
    }
}
