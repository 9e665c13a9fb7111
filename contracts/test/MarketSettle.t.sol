// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {SignedMessages} from "../src/base/SignedMessages.sol";
import {ICustodianCommittee, QuorumSignature} from "../src/interfaces/ICustodianCommittee.sol";
import {IResearchMarket, RequestTerms, RequestView, Settlement, Stage} from "../src/interfaces/IResearchMarket.sol";
import {RequestId} from "../src/types/Ids.sol";
import {Signing} from "./base/Signing.sol";
import {Story} from "./base/Story.sol";

/// drawGate
/// ├── not sealed ── drawn already ── the block that draws has not passed: DrawTooEarly
/// ├── its hash is gone: a later block is named
/// └── else: by root and that hash
/// recordGateKey ── not sealed ── not drawn ── recorded already ── empty ── not the gate's ── else recorded
/// redrawGate ── not sealed ── not drawn ── key recorded ── window running ── else the next of the list
/// settle
/// ├── not sealed ── not the request's operator ── after the deadline
/// ├── no gate key ── each field other than the request's: SettlementMismatch
/// ├── too few custodians, or of another epoch: as the committee says
/// └── else: the fee is credited and the bond free
/// defaultCertified ── not sealed ── before the deadline ── no quorum ── else the bond repays the researcher
/// defaultUncertified ── not sealed ── before the certificate window ends ── else fee and bond go back
contract MarketSettleTest is Story {
    function setUp() public override {
        super.setUp();
        _populate(4);
    }

    function _wrongStage(RequestId request, Stage actual) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IResearchMarket.WrongStage.selector, request, Stage.Sealed, actual);
    }

    function test_only_a_sealed_request_has_a_gate_settles_or_defaults() public {
        RequestId request = _frozen();
        Settlement memory s = _settlement(request);
        QuorumSignature[] memory none = new QuorumSignature[](0);
        bytes memory refused = _wrongStage(request, Stage.Frozen);
        vm.expectRevert(refused);
        market.drawGate(request);
        vm.expectRevert(refused);
        market.recordGateKey(request, "key", "");
        vm.expectRevert(refused);
        market.redrawGate(request);
        vm.expectRevert(refused);
        market.settle(s, RESULT, none);
        vm.expectRevert(refused);
        market.defaultCertified(request, none);
        vm.expectRevert(refused);
        market.defaultUncertified(request);
    }

    // --- the gate

    function test_a_gate_is_drawn_by_a_block_after_the_seal() public {
        RequestId request = _sealed();
        RequestView memory r = market.requestOf(request);
        vm.roll(r.drawBlock);
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.DrawTooEarly.selector, r.drawBlock));
        market.drawGate(request);
        vm.roll(r.drawBlock + 1);
        vm.setBlockhash(r.drawBlock, "hash");
        uint16 draw = uint16(uint256(keccak256(abi.encode(r.root, bytes32("hash"))))) >> 1;
        vm.expectEmit(address(market));
        emit IResearchMarket.GateDrawn(request, vm.addr(GATE + draw % 3), draw);
        market.drawGate(request);
        assertEq(market.requestOf(request).gate, vm.addr(GATE + draw % 3), "gate");
        assertEq(market.requestOf(request).gateDrawnAt, clock(), "when");
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.GateAlreadyDrawn.selector, request));
        market.drawGate(request);
    }

    function test_a_draw_that_came_too_late_names_a_later_block() public {
        RequestId request = _sealed();
        uint256 late = vm.getBlockNumber() + 300;
        vm.roll(late);
        market.drawGate(request);
        assertEq(market.requestOf(request).gate, address(0), "not drawn");
        assertEq(market.requestOf(request).drawBlock, late + 1, "later");
        vm.roll(late + 2);
        market.drawGate(request);
        assertTrue(market.requestOf(request).gate != address(0), "drawn");
    }

    function test_before_the_draw_there_is_no_key_and_no_other_gate() public {
        RequestId request = _sealed();
        bytes memory refused = abi.encodeWithSelector(IResearchMarket.GateNotDrawn.selector, request);
        vm.expectRevert(refused);
        market.recordGateKey(request, "key", "");
        vm.expectRevert(refused);
        market.redrawGate(request);
    }

    function test_the_drawn_gate_records_one_key() public {
        RequestId request = _drawn();
        _recordKey(request);
        assertEq(market.requestOf(request).gateKey, bytes32("gate key"), "key");
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.GateKeyAlreadyRecorded.selector, request));
        market.recordGateKey(request, "another", "");
    }

    function test_a_gate_key_is_not_empty_and_is_the_gates_own() public {
        RequestId request = _drawn();
        RequestView memory r = market.requestOf(request);
        vm.expectRevert(IResearchMarket.GateKeyEmpty.selector);
        market.recordGateKey(request, 0, "");
        uint256 other = _gateKeyOf(r.gate) == GATE ? GATE + 1 : GATE;
        bytes memory signed = signature(other, _marketDigest(Signing.gateKeyHash(request, r.root, "key")));
        vm.expectRevert(abi.encodeWithSelector(SignedMessages.BadSignature.selector, r.gate));
        market.recordGateKey(request, "key", signed);
        signed = signature(_gateKeyOf(r.gate), _marketDigest(Signing.gateKeyHash(request, "other root", "key")));
        vm.expectRevert(abi.encodeWithSelector(SignedMessages.BadSignature.selector, r.gate));
        market.recordGateKey(request, "key", signed);
    }

    function test_a_gate_that_records_no_key_is_replaced_by_the_next() public {
        RequestId request = _drawn();
        uint16 draw = market.requestOf(request).gateDraw;
        uint40 until = clock() + 300;
        vm.warp(until);
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.GateWindowRunning.selector, until));
        market.redrawGate(request);
        vm.warp(until + 1);
        market.redrawGate(request);
        assertEq(market.requestOf(request).gateDraw, uint256(draw) + 1, "draw");
        assertEq(market.requestOf(request).gate, vm.addr(GATE + (uint256(draw) + 1) % 3), "gate");
        vm.expectPartialRevert(IResearchMarket.GateWindowRunning.selector);
        market.redrawGate(request);
    }

    function test_a_gate_that_recorded_its_key_stays() public {
        RequestId request = _settleable();
        skip(1 hours);
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.GateKeyAlreadyRecorded.selector, request));
        market.redrawGate(request);
    }

    function test_after_the_largest_draw_comes_the_next() public {
        RequestId request = _sealed();
        RequestView memory r = market.requestOf(request);
        uint16 largest = type(uint16).max >> 1;
        uint256 hash;
        while (uint16(uint256(keccak256(abi.encode(r.root, hash)))) != type(uint16).max) ++hash;
        vm.roll(r.drawBlock + 1);
        vm.setBlockhash(r.drawBlock, bytes32(hash));
        market.drawGate(request);
        assertEq(market.requestOf(request).gateDraw, largest, "draw");
        for (uint256 i = 1; i < 4; ++i) {
            skip(301);
            market.redrawGate(request);
            assertEq(market.requestOf(request).gateDraw, largest + i, "draw");
            assertEq(market.requestOf(request).gate, vm.addr(GATE + (largest + i) % 3), "gate");
        }
    }

    // --- settle

    function _refuseSettlement(Settlement memory s, bytes memory reason) private {
        QuorumSignature[] memory signatures = _quorum(_marketDigest(Signing.hash(s)), 0);
        vm.expectRevert(reason);
        vm.prank(OPERATOR);
        market.settle(s, RESULT, signatures);
    }

    function _mismatch(Settlement memory s, string memory field) private {
        _refuseSettlement(s, abi.encodeWithSelector(IResearchMarket.SettlementMismatch.selector, field));
    }

    function test_a_settlement_credits_the_fee_and_frees_the_bond() public {
        RequestId request = _settleable();
        Settlement memory s = _settlement(request);
        QuorumSignature[] memory signatures = _quorum(_marketDigest(Signing.hash(s)), 0);
        vm.expectEmit(address(market));
        emit IResearchMarket.RequestSettled(request, s, RESULT);
        vm.prank(OPERATOR);
        market.settle(s, RESULT, signatures);
        _assertStage(request, Stage.Settled);
        assertEq(market.requestOf(request).resultHash, s.resultHash, "result");
        assertEq(market.creditOf(OPERATOR), FEE, "fee");
        assertEq(market.bondOf(OPERATOR), 10_000, "bond");
        vm.expectRevert(_wrongStage(request, Stage.Settled));
        vm.prank(OPERATOR);
        market.settle(s, RESULT, signatures);
    }

    function test_a_settlement_is_the_operators_and_in_time() public {
        RequestId request = _settleable();
        Settlement memory s = _settlement(request);
        QuorumSignature[] memory signatures = _quorum(_marketDigest(Signing.hash(s)), 0);
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.NotRequestOperator.selector, address(this)));
        market.settle(s, RESULT, signatures);
        uint40 deadline = market.requestOf(request).settleDeadline;
        vm.warp(deadline + 1);
        _refuseSettlement(s, abi.encodeWithSelector(IResearchMarket.SettleDeadlinePassed.selector, deadline));
        vm.warp(deadline);
        _settle(request);
    }

    function test_nothing_settles_without_a_gate_key() public {
        RequestId request = _drawn();
        _refuseSettlement(_settlement(request), abi.encodeWithSelector(IResearchMarket.NoGateKey.selector, request));
    }

    function test_every_field_of_a_settlement_is_the_requests() public {
        RequestId request = _settleable();
        Settlement memory s = _settlement(request);
        s.root = "other";
        _mismatch(s, "root");
        s = _settlement(request);
        s.epoch = 2;
        _mismatch(s, "epoch");
        s = _settlement(request);
        s.lane = 2;
        _mismatch(s, "lane");
        s = _settlement(request);
        s.schema = 2;
        _mismatch(s, "schema");
        s = _settlement(request);
        s.gate = address(this);
        _mismatch(s, "gate");
        s = _settlement(request);
        s.noise = "noise";
        _mismatch(s, "noise");
        s = _settlement(request);
        s.resultHash = 0;
        _mismatch(s, "resultHash");
        s = _settlement(request);
        s.deliveryHash = keccak256("another result");
        _mismatch(s, "deliveryHash");
    }

    function test_a_settlement_needs_a_quorum() public {
        RequestId request = _settleable();
        Settlement memory s = _settlement(request);
        QuorumSignature[] memory one = new QuorumSignature[](1);
        one[0] = _quorum(_marketDigest(Signing.hash(s)), 0)[0];
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.QuorumMissing.selector, uint8(2), 1));
        vm.prank(OPERATOR);
        market.settle(s, RESULT, one);
    }

    /// What custodians signed cannot be changed in any field that the request does not fix.
    function testFuzz_a_changed_settlement_is_not_signed(bytes32 change, bool which) public {
        RequestId request = _settleable();
        Settlement memory s = _settlement(request);
        vm.assume(change != 0 && change != s.ciphertextRoot && change != s.resultHash);
        QuorumSignature[] memory signatures = _quorum(_marketDigest(Signing.hash(s)), 0);
        if (which) s.ciphertextRoot = change;
        else s.resultHash = change;
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.BadCustodianSignature.selector, uint8(0)));
        vm.prank(OPERATOR);
        market.settle(s, RESULT, signatures);
    }

    function test_another_result_needs_other_signatures() public {
        RequestId request = _settleable();
        Settlement memory s = _settlement(request);
        QuorumSignature[] memory signatures = _quorum(_marketDigest(Signing.hash(s)), 0);
        s.deliveryHash = keccak256("another result");
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.BadCustodianSignature.selector, uint8(0)));
        vm.prank(OPERATOR);
        market.settle(s, "another result", signatures);
    }

    function test_the_committee_of_the_freeze_settles_whatever_epoch_has_come() public {
        RequestId request = _settleable();
        _openEpoch(1);
        Settlement memory s = _settlement(request);
        QuorumSignature[] memory signatures = _quorum(_marketDigest(Signing.hash(s)), 1);
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.BadCustodianSignature.selector, uint8(0)));
        vm.prank(OPERATOR);
        market.settle(s, RESULT, signatures);
        _settle(request);
        _assertStage(request, Stage.Settled);
    }

    // --- default

    function test_a_certified_default_repays_the_researcher_from_the_bond() public {
        RequestId request = _sealed();
        uint40 deadline = market.requestOf(request).settleDeadline;
        QuorumSignature[] memory certificate = _certificate(request);
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.DeadlineRunning.selector, deadline));
        market.defaultCertified(request, certificate);
        vm.warp(deadline + 1);
        vm.expectEmit(address(market));
        emit IResearchMarket.RequestDefaulted(request, true);
        market.defaultCertified(request, certificate);
        _assertStage(request, Stage.Defaulted);
        assertEq(market.creditOf(_researcher(0)), ESCROW, "whole, and not more");
        assertEq(market.bondOf(OPERATOR), 10_000 - 4 * PRICE, "bond");
        assertEq(_consentOf(_patient(0)).owed, PRICE, "patients keep theirs");
    }

    function test_a_bond_above_what_was_paid_is_not_taken_whole() public {
        RequestTerms memory terms = _terms();
        terms.price = 8;
        RequestId request = _freeze(terms);
        _sealAll(request);
        vm.warp(terms.settleDeadline + 1);
        market.defaultCertified(request, _certificate(request));
        assertEq(market.bondOf(OPERATOR), 10_000 - 32, "four times the price");
    }

    function test_a_certificate_needs_a_quorum_on_this_request() public {
        RequestId request = _sealed();
        RequestView memory r = market.requestOf(request);
        vm.warp(r.settleDeadline + 1);
        QuorumSignature[] memory none = new QuorumSignature[](0);
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.QuorumMissing.selector, uint8(2), 0));
        market.defaultCertified(request, none);
        QuorumSignature[] memory other =
            _quorum(_marketDigest(Signing.certificateHash(RequestId.wrap("other"), r.root, r.epoch)), 0);
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.BadCustodianSignature.selector, uint8(0)));
        market.defaultCertified(request, other);
        other = _quorum(_marketDigest(Signing.certificateHash(request, "other root", r.epoch)), 0);
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.BadCustodianSignature.selector, uint8(0)));
        market.defaultCertified(request, other);
    }

    function test_without_a_certificate_fee_and_bond_go_back() public {
        RequestId request = _sealed();
        uint40 until = market.requestOf(request).settleDeadline + 1 days;
        vm.warp(until);
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.DeadlineRunning.selector, until));
        market.defaultUncertified(request);
        vm.warp(until + 1);
        vm.expectEmit(address(market));
        emit IResearchMarket.RequestDefaulted(request, false);
        market.defaultUncertified(request);
        assertEq(market.creditOf(_researcher(0)), ESCROW - 4 * PRICE, "credit");
        assertEq(market.bondOf(OPERATOR), 10_000, "bond");
        vm.expectRevert(_wrongStage(request, Stage.Defaulted));
        market.defaultUncertified(request);
    }

    function test_settlement_and_default_go_on_while_paused() public {
        RequestId request = _settleable();
        market.pause();
        uint256 before = vm.snapshotState();
        _settle(request);
        vm.revertToState(before);
        vm.warp(market.requestOf(request).settleDeadline + 1);
        market.defaultCertified(request, _certificate(request));
        _assertStage(request, Stage.Defaulted);
    }
}
