// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ICustodianCommittee, QuorumSignature} from "../src/interfaces/ICustodianCommittee.sol";
import {IResearchMarket, RequestTerms, RequestView, Settlement, Stage} from "../src/interfaces/IResearchMarket.sol";
import {RequestId} from "../src/types/Ids.sol";
import {Signing} from "./base/Signing.sol";
import {Story} from "./base/Story.sol";

/// A request of the homomorphic lane, where it differs from one of the vault lane.
///
/// freeze ── the epoch in force has no joint key: NoJointKey
/// seal ── no block to draw a gate from; the time of the seal is kept
/// drawGate, recordGateKey, redrawGate: WrongLane
/// settle
/// ├── no noise fixed: NoNoise ── other noise than what was fixed, or none, or a gate: SettlementMismatch
/// └── else: as in the vault lane
/// defaultCertified, defaultUncertified, reclaim: as in the vault lane
contract MarketLanesTest is Story {
    function setUp() public override {
        super.setUp();
        _populate(4);
        _recordJointKey(1);
    }

    function _refuseSettlement(Settlement memory s, bytes memory reason) private {
        QuorumSignature[] memory signatures = _quorum(_marketDigest(Signing.hash(s)), 0);
        vm.expectRevert(reason);
        vm.prank(OPERATOR);
        market.settle(s, RESULT, signatures);
    }

    function _mismatch(Settlement memory s, string memory field) private {
        _refuseSettlement(s, abi.encodeWithSelector(IResearchMarket.SettlementMismatch.selector, field));
    }

    function test_the_lanes_are_numbered() public view {
        assertEq(market.VAULT(), 1, "vault");
        assertEq(market.HOMOMORPHIC(), 2, "homomorphic");
        assertEq(address(market.NOISES()), address(noises), "noises");
    }

    function testFuzz_there_is_no_third_lane(uint8 lane) public {
        RequestTerms memory terms = _terms();
        terms.lane = lane;
        if (lane == 1 || lane == 2) {
            assertEq(market.requestOf(_open(terms)).lane, lane, "lane");
            return;
        }
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.TermsInvalid.selector, "lane"));
        vm.prank(_researcher(0));
        market.open(terms, _offers(terms));
    }

    function test_without_a_joint_key_of_this_epoch_nothing_is_frozen_on_ciphertext() public {
        _openEpoch(1);
        RequestTerms memory terms = _onCiphertext();
        RequestId request = _open(terms);
        skip(_policy().noticeWindow);
        _postBond(10_000);
        vm.expectRevert(abi.encodeWithSelector(ICustodianCommittee.NoJointKey.selector, uint32(2)));
        vm.prank(OPERATOR);
        market.freeze(_researcher(0), terms, _offers(terms));
        _recordJointKey(2);
        _freezeNow(terms);
        assertEq(market.requestOf(request).epoch, 2, "epoch");
    }

    function test_the_vault_needs_no_joint_key() public {
        _openEpoch(1);
        _assertStage(_sealed(), Stage.Sealed);
    }

    function test_a_seal_on_ciphertext_keeps_its_time_and_names_no_block() public {
        RequestId request = _sealedCiphertext();
        RequestView memory r = market.requestOf(request);
        assertEq(r.drawBlock, 0, "no block");
        assertEq(r.gateDrawnAt, clock(), "when");
        assertEq(r.gate, address(0), "no gate");
        assertEq(r.sealBlock, vm.getBlockNumber(), "seal block");
    }

    function test_a_seal_in_the_vault_names_a_block_and_keeps_no_time() public {
        RequestView memory r = market.requestOf(_sealed());
        assertEq(r.drawBlock, vm.getBlockNumber() + 1, "block");
        assertEq(r.gateDrawnAt, 0, "when");
    }

    function test_a_request_on_ciphertext_has_no_gate() public {
        RequestId request = _sealedCiphertext();
        vm.roll(vm.getBlockNumber() + 2);
        skip(1 hours);
        bytes memory refused = abi.encodeWithSelector(IResearchMarket.WrongLane.selector, request, uint8(2));
        vm.expectRevert(refused);
        market.drawGate(request);
        vm.expectRevert(refused);
        market.recordGateKey(request, "key", "");
        vm.expectRevert(refused);
        market.redrawGate(request);
    }

    function test_a_settlement_on_ciphertext_credits_the_fee_and_frees_the_bond() public {
        RequestId request = _noised();
        _settle(request);
        _assertStage(request, Stage.Settled);
        assertEq(market.creditOf(OPERATOR), FEE, "fee");
        assertEq(market.bondOf(OPERATOR), 10_000, "bond");
    }

    function test_nothing_settles_before_the_noise_is_fixed() public {
        RequestId request = _committedCiphertext();
        Settlement memory s = _settlement(request);
        bytes memory refused = abi.encodeWithSelector(IResearchMarket.NoNoise.selector, request);
        _refuseSettlement(s, refused);
        s.noise = _noiseOver(request, ALL);
        _refuseSettlement(s, refused);
        _fixNoise(request, ALL);
        _settle(request);
    }

    function test_every_field_of_a_settlement_on_ciphertext_is_the_requests() public {
        RequestId request = _noised();
        Settlement memory s = _settlement(request);
        s.root = "other";
        _mismatch(s, "root");
        s = _settlement(request);
        s.epoch = 2;
        _mismatch(s, "epoch");
        s = _settlement(request);
        s.lane = 1;
        _mismatch(s, "lane");
        s = _settlement(request);
        s.schema = 2;
        _mismatch(s, "schema");
        s = _settlement(request);
        s.gate = vm.addr(GATE);
        _mismatch(s, "gate");
        s = _settlement(request);
        s.noise = 0;
        _mismatch(s, "noise");
        s = _settlement(request);
        s.resultHash = 0;
        _mismatch(s, "resultHash");
        s = _settlement(request);
        s.deliveryHash = keccak256("another result");
        _mismatch(s, "deliveryHash");
    }

    function testFuzz_only_the_noise_that_was_fixed_settles(uint16 places, bytes32 noise) public {
        RequestId request = _committedCiphertext();
        uint16[4] memory sets = [uint16(3), 5, 6, 7];
        _fixNoise(request, sets[places % 4]);
        Settlement memory s = _settlement(request);
        vm.assume(noise != s.noise);
        s.noise = noise;
        _mismatch(s, "noise");
        s.noise = _noiseOver(request, sets[(places % 4 + 1) % 4]);
        _mismatch(s, "noise");
        _settle(request);
    }

    function test_a_certified_default_on_ciphertext_repays_the_researcher_from_the_bond() public {
        RequestId request = _noised();
        QuorumSignature[] memory certificate = _certificate(request);
        vm.warp(market.requestOf(request).settleDeadline + 1);
        market.defaultCertified(request, certificate);
        _assertStage(request, Stage.Defaulted);
        assertEq(market.creditOf(_researcher(0)), ESCROW, "whole, and not more");
        assertEq(market.bondOf(OPERATOR), 10_000 - 4 * PRICE, "bond");
    }

    function test_an_uncertified_default_on_ciphertext_gives_fee_and_bond_back() public {
        RequestId request = _sealedCiphertext();
        vm.warp(market.requestOf(request).settleDeadline + 1 days + 1);
        market.defaultUncertified(request);
        assertEq(market.creditOf(_researcher(0)), ESCROW - 4 * PRICE, "credit");
        assertEq(market.bondOf(OPERATOR), 10_000, "bond");
    }

    function test_an_unused_freeze_on_ciphertext_is_reclaimed() public {
        RequestId request = _freeze(_onCiphertext());
        uint256 bond = market.requestOf(request).bond;
        vm.warp(market.requestOf(request).frozenUntil + 1);
        market.reclaim(request);
        assertEq(market.creditOf(_researcher(0)), ESCROW + bond / 10, "credit");
        assertEq(market.bondOf(OPERATOR), 10_000 - bond / 10, "bond");
    }
}
