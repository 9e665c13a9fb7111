// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {SignedMessages} from "../src/base/SignedMessages.sol";
import {UnorderedNonces} from "../src/base/UnorderedNonces.sol";
import {ConsentState, Grant, IConsentRegistry, Pause, Revocation} from "../src/interfaces/IConsentRegistry.sol";
import {IDatasetRegistry} from "../src/interfaces/IDatasetRegistry.sol";
import {RequestId} from "../src/types/Ids.sol";
import {Signing} from "./base/Signing.sol";
import {Story} from "./base/Story.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";

/// revoke, revokeBySig
/// ├── neither patient nor guardian: NotAuthorised
/// ├── signed for an earlier sequence: SupersededRevocation
/// ├── the address was left for another: nothing happens (ConsentPeople.t.sol)
/// ├── nothing granted: only the sequence rises ── to 2^32 - 1 at most
/// └── live, resting or rested: ends, whatever is paused or frozen
///     └── signed by a guardian: the sequence rises by one, whatever it names (ConsentPeople.t.sol)
/// rest ── not live nor resting: NothingToRest
/// wake ── not resting: NothingToWake ── expired: ConsentIsExpired ── too little left: BudgetTooSmall
///     └── paused: EnforcedPause ── shard frozen: waits ── else live
/// by signature ── late: DeadlinePassed ── other sequence: WrongSequence ── nonce used: NonceUsed
/// wakeWords ── paused ── frozen: ShardIsFrozen ── nobody waits ── expired: stays ── else live
/// expel ── record usable: StillUsable ── nothing granted or moved: nothing ── else ends
contract ConsentEndTest is Story {
    function setUp() public override {
        super.setUp();
        _populate(4);
    }

    // --- revoke

    function test_a_stranger_cannot_revoke() public {
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.NotAuthorised.selector, address(this), _patient(0)));
        consents.revoke(_patient(0), dataset);
        Revocation memory r = Revocation(_patient(0), dataset, 1);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.NotAuthorised.selector, _patient(1), _patient(0)));
        consents.revokeBySig(r, _patient(1), signature(PATIENT + 1, _consentDigest(Signing.hash(r))));
    }

    function test_a_revocation_ends_the_consent_and_raises_the_sequence() public {
        vm.expectEmit(address(consents));
        emit IConsentRegistry.Revoked(_patient(0), dataset, 2);
        assertTrue(_revoke(_patient(0)), "ended");
        _assertState(_patient(0), ConsentState.None);
        assertEq(_word(1, 0).bitmap(), 14, "bits");
        assertEq(consents.shardOf(_class(1), 0).live, 3, "live");
    }

    function test_a_revocation_of_nothing_still_raises_the_sequence() public {
        _revoke(_patient(0));
        assertTrue(!_revoke(_patient(0)), "nothing ended");
        assertEq(_consentOf(_patient(0)).sequence, 3, "sequence");
        assertTrue(!_revoke(_patient(9)), "nobody");
        assertEq(_consentOf(_patient(9)).sequence, 1, "sequence of nobody");
    }

    function test_revoke_succeeds_while_paused() public {
        consents.pause();
        datasets.pause();
        market.pause();
        assertTrue(_revoke(_patient(0)), "ended");
    }

    function test_revoke_succeeds_while_frozen() public {
        _frozen();
        assertTrue(_revoke(_patient(0)), "ended");
        assertEq(_word(1, 0).bitmap(), 14, "bits");
    }

    function test_revoke_succeeds_in_a_retired_dataset() public {
        datasets.retire(dataset);
        assertTrue(_revoke(_patient(0)), "ended");
    }

    function test_revoke_ends_a_resting_and_a_rested_consent() public {
        _rest(_patient(0));
        assertTrue(_revoke(_patient(0)), "rested by the patient");
        _grant(_patient(0), 1);
        _revoke(_patient(1));
        _frozen();
        _grant(_patient(1), 1);
        _assertState(_patient(1), ConsentState.Resting);
        assertTrue(_revoke(_patient(1)), "resting");
        assertEq(_waiting(1), 0, "waits no longer");
    }

    function test_a_signed_revocation_ends_also_what_is_still_under_way() public {
        Grant memory heldBack = _grantFor(_patient(0), 1);
        heldBack.deadline = clock() + 1 days;
        bytes memory signed = signature(PATIENT, _consentDigest(Signing.hash(heldBack)));
        _revokeAhead(256);
        assertEq(_consentOf(_patient(0)).sequence, 258, "sequence");
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.WrongSequence.selector, uint32(259), uint32(2)));
        consents.grantBySig(heldBack, heldBack.patient, signed);
    }

    function test_a_signed_revocation_of_an_earlier_consent_is_superseded() public {
        Revocation memory r = Revocation(_patient(0), dataset, 1);
        bytes memory signed = signature(PATIENT, _consentDigest(Signing.hash(r)));
        _grant(_patient(0), 1);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.SupersededRevocation.selector, uint32(2), uint32(1)));
        consents.revokeBySig(r, r.patient, signed);
        _assertState(_patient(0), ConsentState.Live);
    }

    function test_a_revocation_cannot_be_replayed_against_a_later_grant() public {
        Revocation memory r = Revocation(_patient(0), dataset, 1);
        bytes memory signed = signature(PATIENT, _consentDigest(Signing.hash(r)));
        consents.revokeBySig(r, r.patient, signed);
        _grant(_patient(0), 1);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.SupersededRevocation.selector, uint32(3), uint32(1)));
        consents.revokeBySig(r, r.patient, signed);
    }

    function test_the_sequence_ends_at_its_largest_value_and_revoke_still_succeeds() public {
        _revokeAhead(type(uint32).max - 1);
        assertEq(_consentOf(_patient(0)).sequence, type(uint32).max, "largest");
        assertTrue(!_revoke(_patient(0)), "nothing left to end, and no revert");
        assertEq(_consentOf(_patient(0)).sequence, type(uint32).max, "stays");
    }

    function _revokeAhead(uint32 ahead) private {
        Revocation memory r = Revocation(_patient(0), dataset, 1 + ahead);
        consents.revokeBySig(r, r.patient, signature(PATIENT, _consentDigest(Signing.hash(r))));
    }

    function test_what_was_spent_and_earned_survives_a_revocation() public {
        _sealed();
        _revoke(_patient(0));
        assertEq(_consentOf(_patient(0)).spent, COST, "spent");
        assertEq(_consentOf(_patient(0)).owed, PRICE, "owed");
        _grant(_patient(0), 1);
        assertEq(_consentOf(_patient(0)).spent, COST, "spent after a grant again");
        assertEq(_consentOf(_patient(0)).owed, PRICE, "owed after a grant again");
    }

    /// The very last nano-rho: exhaustion and meter are equal when it is booked out.
    function test_a_budget_can_be_spent_to_the_last() public {
        Grant memory g = _grantFor(_patient(0), 1);
        g.cap = 100;
        _grant(g);
        vm.startPrank(address(market));
        consents.freezeShard(RequestId.wrap("r"), _class(1), 0, clock());
        consents.sealShard(RequestId.wrap("r"), _class(1), 0, 100, PRICE);
        vm.stopPrank();
        assertEq(_consentOf(g.patient).spent, 100, "while live");
        _revoke(g.patient);
        assertEq(_consentOf(g.patient).spent, 100, "booked out");
    }

    // --- rest and wake

    function test_a_stranger_can_neither_rest_nor_wake() public {
        bytes memory refused =
            abi.encodeWithSelector(IConsentRegistry.NotAuthorised.selector, address(this), _patient(0));
        vm.expectRevert(refused);
        consents.rest(_patient(0), dataset);
        vm.expectRevert(refused);
        consents.wake(_patient(0), dataset);
        Pause memory p = Pause(_patient(0), dataset, 1, 0, clock());
        vm.expectRevert(refused);
        consents.restBySig(p, address(this), "");
        vm.expectRevert(refused);
        consents.wakeBySig(p, address(this), "");
    }

    function test_a_patient_rests_and_wakes() public {
        vm.expectEmit(address(consents));
        emit IConsentRegistry.Rested(_patient(0), dataset, true);
        _rest(_patient(0));
        _assertState(_patient(0), ConsentState.RestedByPatient);
        assertEq(_word(1, 0).bitmap(), 14, "bits");
        vm.expectEmit(address(consents));
        emit IConsentRegistry.Woken(_patient(0), dataset);
        _wake(_patient(0));
        _assertState(_patient(0), ConsentState.Live);
        assertEq(_consentOf(_patient(0)).sequence, 1, "the same consent");
    }

    function test_rest_succeeds_while_paused_and_frozen() public {
        _frozen();
        consents.pause();
        _rest(_patient(0));
        _assertState(_patient(0), ConsentState.RestedByPatient);
    }

    function test_only_what_is_live_or_resting_can_rest() public {
        _rest(_patient(0));
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.NothingToRest.selector, _patient(0)));
        _rest(_patient(0));
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.NothingToRest.selector, _patient(9)));
        _rest(_patient(9));
    }

    function test_a_waiting_consent_can_be_rested_by_its_patient() public {
        _revoke(_patient(0));
        _frozen();
        _grant(_patient(0), 1);
        _rest(_patient(0));
        _assertState(_patient(0), ConsentState.RestedByPatient);
        assertEq(_waiting(1), 0, "nobody else wakes it");
    }

    function test_only_what_rests_can_wake() public {
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.NothingToWake.selector, _patient(0)));
        _wake(_patient(0));
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.NothingToWake.selector, _patient(9)));
        _wake(_patient(9));
    }

    function test_pause_stops_wakes() public {
        _rest(_patient(0));
        consents.pause();
        vm.expectRevert(Pausable.EnforcedPause.selector);
        _wake(_patient(0));
        vm.expectRevert(Pausable.EnforcedPause.selector);
        _wakeWord(1, 0);
    }

    function test_an_expired_consent_does_not_wake() public {
        _rest(_patient(0));
        uint40 expiry = _consentOf(_patient(0)).expiry;
        vm.warp(expiry);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.ConsentIsExpired.selector, expiry));
        _wake(_patient(0));
    }

    function test_a_consent_wakes_only_with_a_usable_record() public {
        _rest(_patient(0));
        _suspend(_patient(0));
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.RecordUnusable.selector, dataset, _patient(0)));
        _wake(_patient(0));
    }

    function test_a_consent_wakes_only_if_it_affords_the_dearest_request() public {
        Grant memory g = _grantFor(_patient(0), 1);
        g.cap = COST + 99;
        _grant(g);
        _sealed();
        _rest(g.patient);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.BudgetTooSmall.selector, uint56(99), uint56(100)));
        _wake(g.patient);
    }

    function test_a_wake_in_a_frozen_shard_waits() public {
        _rest(_patient(0));
        _frozen();
        vm.expectEmit(address(consents));
        emit IConsentRegistry.Rested(_patient(0), dataset, false);
        _wake(_patient(0));
        _assertState(_patient(0), ConsentState.Resting);
        assertEq(_waiting(1), 1, "waits");
        skip(1 hours);
        _wake(_patient(0));
        _assertState(_patient(0), ConsentState.Live);
        assertEq(_waiting(1), 0, "out of the list");
        assertEq(_wakeWord(1, 0), 0, "nobody wakes it twice");
    }

    function test_rest_and_wake_by_signature() public {
        Pause memory p = Pause(_patient(0), dataset, 1, 7, clock());
        consents.restBySig(p, p.patient, signature(PATIENT, _consentDigest(Signing.restHash(p))));
        _assertState(p.patient, ConsentState.RestedByPatient);
        p.nonce = 8;
        consents.wakeBySig(p, p.patient, signature(PATIENT, _consentDigest(Signing.wakeHash(p))));
        _assertState(p.patient, ConsentState.Live);
        assertTrue(consents.isNonceUsed(p.patient, 7) && consents.isNonceUsed(p.patient, 8), "nonces");
    }

    function test_a_signed_rest_is_no_wake() public {
        Pause memory p = Pause(_patient(0), dataset, 1, 7, clock());
        bytes memory signed = signature(PATIENT, _consentDigest(Signing.restHash(p)));
        _rest(p.patient);
        vm.expectRevert(abi.encodeWithSelector(SignedMessages.BadSignature.selector, p.patient));
        consents.wakeBySig(p, p.patient, signed);
    }

    function test_a_signed_rest_counts_once_and_in_time_and_for_its_grant() public {
        Pause memory p = Pause(_patient(0), dataset, 1, 7, clock());
        bytes memory signed = signature(PATIENT, _consentDigest(Signing.restHash(p)));
        consents.restBySig(p, p.patient, signed);
        _wake(p.patient);
        vm.expectRevert(abi.encodeWithSelector(UnorderedNonces.NonceUsed.selector, p.patient, 7));
        consents.restBySig(p, p.patient, signed);
        p.nonce = 8;
        p.sequence = 2;
        signed = signature(PATIENT, _consentDigest(Signing.restHash(p)));
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.WrongSequence.selector, uint32(1), uint32(2)));
        consents.restBySig(p, p.patient, signed);
        skip(1);
        vm.expectRevert(abi.encodeWithSelector(SignedMessages.DeadlinePassed.selector, p.deadline));
        consents.restBySig(p, p.patient, signed);
    }

    // --- wakeWords

    function test_anyone_wakes_who_waited_out_a_freeze() public {
        _revoke(_patient(0));
        _revoke(_patient(1));
        _enrol2();
        RequestId request = _frozen();
        _grant(_patient(0), 1);
        _grant(_patient(1), 1);
        _sealAll(request);
        vm.expectPartialRevert(IConsentRegistry.ShardIsFrozen.selector);
        _wakeWord(1, 0);
        skip(1);
        assertEq(_wakeWord(1, 1), 0, "an empty word");
        assertEq(_wakeWord(1, 0), 2, "woken");
        _assertState(_patient(0), ConsentState.Live);
        assertEq(_consentOf(_patient(0)).owed, 0, "not a member of the cohort it waited for");
        assertEq(_wakeWord(1, 0), 0, "once");
    }

    function test_who_expired_while_waiting_is_not_woken() public {
        _frozen();
        Grant memory g = _grantFor(_patient(1), 1);
        g.expiry = clock() + HORIZON;
        _grant(g);
        assertEq(_waiting(1), 2, "waits");
        vm.warp(g.expiry);
        assertEq(_wakeWord(1, 0), 0, "expired");
        _assertState(_patient(1), ConsentState.Resting);
        assertEq(_waiting(1), 0, "no longer looked at");
    }

    /// Two more than setUp's, so that a cohort stands when some are away.
    function _enrol2() private {
        for (uint256 i = 4; i < 6; ++i) {
            _store(_patient(i), keccak256(abi.encode("person", i)));
            _grant(_patient(i), 1);
        }
    }

    // --- expel

    function test_nobody_is_expelled_whose_record_is_usable() public {
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.StillUsable.selector, dataset, _patient(0)));
        consents.expel(dataset, _patient(0));
    }

    function test_anyone_expels_a_consent_whose_record_was_suspended() public {
        _suspend(_patient(0));
        vm.expectEmit(address(consents));
        emit IConsentRegistry.Expelled(_patient(0), dataset);
        consents.expel(dataset, _patient(0));
        _assertState(_patient(0), ConsentState.None);
        assertEq(_word(1, 0).bitmap(), 14, "bits");
        assertEq(_consentOf(_patient(0)).sequence, 1, "the patient's own word stands");
        // Again, and where nothing was granted: nothing happens.
        vm.recordLogs();
        consents.expel(dataset, _patient(0));
        consents.expel(dataset, _patient(9));
        assertEq(vm.getRecordedLogs().length, 0, "no event");
    }
}
