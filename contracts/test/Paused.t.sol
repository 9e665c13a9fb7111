// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ConsentState, Erasure, Guardianship, Pause, Revocation, Rotation} from "../src/interfaces/IConsentRegistry.sol";
import {QuorumSignature} from "../src/interfaces/ICustodianCommittee.sol";
import {CreditWithdrawal, EarningsWithdrawal, Stage} from "../src/interfaces/IResearchMarket.sol";
import {RequestId} from "../src/types/Ids.sol";
import {Signing} from "./base/Signing.sol";
import {Story} from "./base/Story.sol";

/// What goes on while everything that can be paused is paused: whatever ends something, takes something back
/// or finishes what was begun. Each test pauses just before its one act, so that it is that act which stands.
contract PausedTest is Story {
    uint256 private constant NEW_KEY = 0x2e3;
    address private constant SAFE = address(0xcafe);

    function setUp() public override {
        super.setUp();
        _populate(4);
        researchers.grantRole(researchers.PAUSER(), address(this));
    }

    function _pauseAll() private {
        consents.pause();
        market.pause();
        datasets.pause();
        researchers.pause();
    }

    function _until(RequestId request, uint40 after_) private {
        vm.warp(market.requestOf(request).settleDeadline + after_);
    }

    // --- on ciphertext

    function test_recordJointKey_goes_on_while_paused() public {
        _pauseAll();
        _recordJointKey(1);
        committee.requireJointKey(1);
    }

    function test_commitNoise_goes_on_while_paused() public {
        _recordJointKey(1);
        RequestId request = _sealedCiphertext();
        _pauseAll();
        _commitNoise(request, ALL);
    }

    function test_fixNoise_goes_on_while_paused() public {
        _recordJointKey(1);
        RequestId request = _committedCiphertext();
        _pauseAll();
        _fixNoise(request, ALL);
    }

    function test_a_settlement_on_ciphertext_goes_on_while_paused() public {
        _recordJointKey(1);
        RequestId request = _noised();
        _pauseAll();
        _settle(request);
        _assertStage(request, Stage.Settled);
    }

    // --- consents

    function test_revoke_goes_on_while_paused() public {
        _pauseAll();
        assertTrue(_revoke(_patient(0)), "ended");
    }

    function test_revokeBySig_goes_on_while_paused() public {
        Revocation memory r = Revocation(_patient(0), dataset, 257);
        bytes memory signed = signature(PATIENT, _consentDigest(Signing.hash(r)));
        _pauseAll();
        assertTrue(consents.revokeBySig(r, _patient(0), signed), "ended");
    }

    function test_rest_goes_on_while_paused() public {
        _pauseAll();
        _rest(_patient(0));
        _assertState(_patient(0), ConsentState.RestedByPatient);
    }

    function test_restBySig_goes_on_while_paused() public {
        Pause memory p = Pause(_patient(0), dataset, 1, 7, clock());
        bytes memory signed = signature(PATIENT, _consentDigest(Signing.restHash(p)));
        _pauseAll();
        consents.restBySig(p, _patient(0), signed);
        _assertState(_patient(0), ConsentState.RestedByPatient);
    }

    function test_appointGuardian_goes_on_while_paused() public {
        _pauseAll();
        vm.prank(_patient(0));
        consents.appointGuardian(dataset, SAFE, clock() + 1 days, true);
        _assertGuardian();
    }

    function test_appointGuardianBySig_goes_on_while_paused() public {
        Guardianship memory g = Guardianship(_patient(0), dataset, SAFE, clock() + 1 days, true, 3, clock());
        bytes memory signed = signature(PATIENT, _consentDigest(Signing.hash(g)));
        _pauseAll();
        consents.appointGuardianBySig(g, signed);
        _assertGuardian();
    }

    function _assertGuardian() private view {
        (address guardian,,) = consents.guardianOf(dataset, _patient(0));
        assertEq(guardian, SAFE, "guardian");
    }

    function test_erase_goes_on_while_paused() public {
        _pauseAll();
        vm.prank(_patient(0));
        consents.erase(dataset);
        assertTrue(!datasets.isUsable(dataset, _patient(0)), "usable");
    }

    function test_eraseBySig_goes_on_while_paused() public {
        Erasure memory e = Erasure(_patient(0), dataset, 1);
        bytes memory signed = signature(PATIENT, _consentDigest(Signing.hash(e)));
        _pauseAll();
        consents.eraseBySig(e, signed);
        assertTrue(!datasets.isUsable(dataset, _patient(0)), "usable");
    }

    function test_rotate_goes_on_while_paused() public {
        Rotation memory r = Rotation(dataset, _patient(0), vm.addr(NEW_KEY), clock());
        bytes32 digest = _consentDigest(Signing.hash(r));
        bytes memory from = signature(PATIENT, digest);
        bytes memory to = signature(NEW_KEY, digest);
        _pauseAll();
        consents.rotate(r, from, to);
        _assertState(vm.addr(NEW_KEY), ConsentState.Live);
    }

    function test_expel_goes_on_while_paused() public {
        _suspend(_patient(0));
        _pauseAll();
        consents.expel(dataset, _patient(0));
        _assertState(_patient(0), ConsentState.None);
    }

    function test_cancelNonce_goes_on_while_paused() public {
        _pauseAll();
        consents.cancelNonce(3);
        market.cancelNonce(3);
        assertTrue(consents.isNonceUsed(address(this), 3) && market.isNonceUsed(address(this), 3), "used");
    }

    // --- datasets and credentials

    function test_withdrawIssuer_goes_on_while_paused() public {
        _pauseAll();
        datasets.withdrawIssuer(dataset, vm.addr(ISSUER));
        assertTrue(!datasets.isIssuer(dataset, vm.addr(ISSUER)), "trusted");
    }

    function test_suspendRecord_goes_on_while_paused() public {
        datasets.withdrawIssuer(dataset, vm.addr(ISSUER));
        _pauseAll();
        datasets.suspendRecord(dataset, _patient(0));
        assertTrue(!datasets.isUsable(dataset, _patient(0)), "usable");
    }

    function test_retire_goes_on_while_paused() public {
        _pauseAll();
        datasets.retire(dataset);
        assertTrue(datasets.isRetired(dataset), "in use");
    }

    function test_handOver_goes_on_while_paused() public {
        _pauseAll();
        datasets.handOver(dataset, SAFE);
        assertEq(datasets.stewardOf(dataset), SAFE, "steward");
    }

    function test_withdraw_a_credential_goes_on_while_paused() public {
        _pauseAll();
        assertTrue(researchers.withdraw(_researcher(0)), "withdrawn");
    }

    // --- a request's life

    function test_cancel_goes_on_while_paused() public {
        RequestId request = _open(_terms());
        _pauseAll();
        vm.prank(_researcher(0));
        market.cancel(request);
        _assertStage(request, Stage.Cancelled);
    }

    function test_tidy_goes_on_while_paused() public {
        RequestId request = _frozen();
        _pauseAll();
        market.tidy(request, 0, _one(0));
        _assertStage(request, Stage.Frozen);
    }

    function test_seal_goes_on_while_paused() public {
        RequestId request = _frozen();
        _pauseAll();
        vm.prank(OPERATOR);
        market.seal(request);
        _assertStage(request, Stage.Sealed);
    }

    function test_sealAll_goes_on_while_paused() public {
        RequestId request = _frozen();
        _pauseAll();
        _sealAll(request);
        _assertStage(request, Stage.Sealed);
    }

    function test_dissolve_goes_on_while_paused() public {
        RequestId request = _frozen();
        _revoke(_patient(0));
        _revoke(_patient(1));
        _pauseAll();
        market.dissolve(request);
        _assertStage(request, Stage.Reclaimed);
    }

    function test_drawGate_goes_on_while_paused() public {
        RequestId request = _sealed();
        vm.roll(vm.getBlockNumber() + 2);
        _pauseAll();
        market.drawGate(request);
        assertTrue(market.requestOf(request).gate != address(0), "drawn");
    }

    function test_redrawGate_goes_on_while_paused() public {
        RequestId request = _drawn();
        uint16 draw = market.requestOf(request).gateDraw;
        skip(301);
        _pauseAll();
        market.redrawGate(request);
        assertTrue(market.requestOf(request).gateDraw != draw, "another");
    }

    function test_recordGateKey_goes_on_while_paused() public {
        RequestId request = _drawn();
        _pauseAll();
        _recordKey(request);
        assertTrue(market.requestOf(request).gateKey != 0, "recorded");
    }

    function test_settle_goes_on_while_paused() public {
        RequestId request = _settleable();
        _pauseAll();
        _settle(request);
        _assertStage(request, Stage.Settled);
    }

    function test_defaultCertified_goes_on_while_paused() public {
        RequestId request = _sealed();
        QuorumSignature[] memory certificate = _certificate(request);
        _until(request, 1);
        _pauseAll();
        market.defaultCertified(request, certificate);
        _assertStage(request, Stage.Defaulted);
    }

    function test_defaultUncertified_goes_on_while_paused() public {
        RequestId request = _sealed();
        _until(request, _policy().certificateWindow + 1);
        _pauseAll();
        market.defaultUncertified(request);
        _assertStage(request, Stage.Defaulted);
    }

    function test_reclaim_what_was_opened_goes_on_while_paused() public {
        RequestId request = _open(_terms());
        vm.warp(market.requestOf(request).sealDeadline + 1);
        _pauseAll();
        market.reclaim(request);
        _assertStage(request, Stage.Reclaimed);
    }

    function test_reclaim_what_was_frozen_goes_on_while_paused() public {
        RequestId request = _frozen();
        vm.warp(market.requestOf(request).frozenUntil + 1);
        _pauseAll();
        market.reclaim(request);
        _assertStage(request, Stage.Reclaimed);
    }

    // --- money

    function test_postBond_goes_on_while_paused() public {
        _fund(OPERATOR, 100);
        _pauseAll();
        vm.prank(OPERATOR);
        market.postBond(100);
        assertEq(market.bondOf(OPERATOR), 100, "bond");
    }

    function test_releaseBond_goes_on_while_paused() public {
        _postBond(100);
        _pauseAll();
        vm.prank(OPERATOR);
        market.releaseBond(SAFE, 100);
        assertEq(token.balanceOf(SAFE), 100, "paid");
    }

    function test_withdrawCredit_goes_on_while_paused() public {
        _sealed();
        _pauseAll();
        vm.prank(_researcher(0));
        market.withdrawCredit(SAFE);
        assertEq(token.balanceOf(SAFE), ESCROW - FEE - 4 * PRICE, "paid");
    }

    function test_withdrawCreditBySig_goes_on_while_paused() public {
        _sealed();
        CreditWithdrawal memory w = CreditWithdrawal(_researcher(0), SAFE, 5, clock());
        bytes memory signed = signature(RESEARCHER, _marketDigest(Signing.hash(w)));
        _pauseAll();
        market.withdrawCreditBySig(w, signed);
        assertEq(token.balanceOf(SAFE), ESCROW - FEE - 4 * PRICE, "paid");
    }

    function test_withdrawEarnings_goes_on_while_paused() public {
        _sealed();
        _pauseAll();
        vm.prank(_patient(0));
        market.withdrawEarnings(dataset, SAFE);
        assertEq(token.balanceOf(SAFE), PRICE, "paid");
    }

    function test_withdrawEarningsBySig_goes_on_while_paused() public {
        _sealed();
        EarningsWithdrawal memory w = EarningsWithdrawal(_patient(0), dataset, SAFE, 5, clock());
        bytes memory signed = signature(PATIENT, _marketDigest(Signing.hash(w)));
        _pauseAll();
        market.withdrawEarningsBySig(w, signed);
        assertEq(token.balanceOf(SAFE), PRICE, "paid");
    }
}
