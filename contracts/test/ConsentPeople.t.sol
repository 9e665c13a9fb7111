// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {SignedMessages} from "../src/base/SignedMessages.sol";
import {TolerantBatch} from "../src/base/TolerantBatch.sol";
import {UnorderedNonces} from "../src/base/UnorderedNonces.sol";
import {
    ConsentState,
    ConsentView,
    Erasure,
    Grant,
    Guardianship,
    IConsentRegistry,
    Revocation,
    Rotation
} from "../src/interfaces/IConsentRegistry.sol";
import {IDatasetRegistry, RecordAttestation} from "../src/interfaces/IDatasetRegistry.sol";
import {RequestId} from "../src/types/Ids.sol";
import {Signing} from "./base/Signing.sol";
import {Story} from "./base/Story.sol";

/// guardians
/// ├── appointed by the patient, directly or by signature ── late ── nonce used ── not the patient's
/// ├── may revoke and rest ── no longer after its expiry ── not another address
/// ├── may grant and wake only if appointed to ── no longer after its expiry
/// └── a revocation signed by one raises the sequence by one, whatever it names
/// erase, eraseBySig ── other version: WrongRecordVersion ── version in use, or the pending one if later
/// rotate
/// ├── late: DeadlinePassed ── either signature bad: BadSignature
/// ├── from an address already left: AddressMoved
/// ├── to one that granted, revoked, holds a seat, or to itself: AddressInUse
/// ├── the seat's shard is frozen: ShardIsFrozen ── no seat: moves all the same
/// └── else: record, consent, earnings and spend follow; the old address never grants again
/// batch ── a refused entry is reported and sinks no other
/// cancelNonce ── a message held back is void
contract ConsentPeopleTest is Story {
    uint256 private constant GUARDIAN = 0x96a2d;
    uint256 private constant NEW_KEY = 0x2e3;

    function setUp() public override {
        super.setUp();
        _populate(4);
    }

    function _guardian() private pure returns (address) {
        return vm.addr(GUARDIAN);
    }

    function _appointGuardian(bool mayGrant) private returns (uint40 expiry) {
        expiry = clock() + 30 days;
        vm.prank(_patient(0));
        consents.appointGuardian(dataset, _guardian(), expiry, mayGrant);
    }

    // --- guardians

    function test_a_patient_appoints_and_dismisses_a_guardian() public {
        vm.expectEmit(address(consents));
        emit IConsentRegistry.GuardianAppointed(_patient(0), dataset, _guardian(), clock() + 30 days, true);
        uint40 appointed = _appointGuardian(true);
        (address guardian, uint40 expiry, bool mayGrant) = consents.guardianOf(dataset, _patient(0));
        assertTrue(guardian == _guardian() && expiry == appointed && mayGrant, "appointed");
        vm.prank(_patient(0));
        consents.appointGuardian(dataset, address(0), 0, false);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.NotAuthorised.selector, _guardian(), _patient(0)));
        vm.prank(_guardian());
        consents.revoke(_patient(0), dataset);
    }

    function test_a_guardian_revokes_and_rests() public {
        _appointGuardian(false);
        vm.prank(_guardian());
        consents.rest(_patient(0), dataset);
        _assertState(_patient(0), ConsentState.RestedByPatient);
        vm.prank(_guardian());
        assertTrue(consents.revoke(_patient(0), dataset), "ended");
        // Nobody else's consent.
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.NotAuthorised.selector, _guardian(), _patient(1)));
        vm.prank(_guardian());
        consents.revoke(_patient(1), dataset);
    }

    function test_a_guardian_grants_and_wakes_only_if_appointed_to() public {
        _appointGuardian(false);
        _rest(_patient(0));
        Grant memory g = _grantFor(_patient(0), 1);
        bytes memory refused = abi.encodeWithSelector(IConsentRegistry.NotAuthorised.selector, _guardian(), _patient(0));
        vm.expectRevert(refused);
        vm.prank(_guardian());
        consents.wake(_patient(0), dataset);
        vm.expectRevert(refused);
        vm.prank(_guardian());
        consents.grant(g);
        _appointGuardian(true);
        vm.prank(_guardian());
        consents.wake(_patient(0), dataset);
        consents.grantBySig(g, _guardian(), signature(GUARDIAN, _consentDigest(Signing.hash(g))));
        assertEq(_consentOf(_patient(0)).sequence, 2, "granted");
    }

    function test_a_guardian_can_do_nothing_after_its_expiry() public {
        uint40 expiry = _appointGuardian(true);
        vm.warp(expiry);
        Grant memory g = _grantFor(_patient(0), 1);
        bytes memory refused = abi.encodeWithSelector(IConsentRegistry.NotAuthorised.selector, _guardian(), _patient(0));
        vm.expectRevert(refused);
        vm.prank(_guardian());
        consents.grant(g);
        vm.expectRevert(refused);
        vm.prank(_guardian());
        consents.revoke(_patient(0), dataset);
    }

    function test_a_guardian_cannot_burn_sequences_that_the_patient_may_still_use() public {
        _appointGuardian(false);
        Revocation memory r = Revocation(_patient(0), dataset, type(uint32).max);
        consents.revokeBySig(r, _guardian(), signature(GUARDIAN, _consentDigest(Signing.hash(r))));
        assertEq(_consentOf(_patient(0)).sequence, 2, "one up");
    }

    function test_a_guardian_is_appointed_by_signature_once_and_in_time() public {
        Guardianship memory g = Guardianship(_patient(0), dataset, _guardian(), clock() + 1 days, true, 3, clock());
        bytes memory signed = signature(PATIENT, _consentDigest(Signing.hash(g)));
        consents.appointGuardianBySig(g, signed);
        (address guardian,,) = consents.guardianOf(dataset, _patient(0));
        assertEq(guardian, _guardian(), "appointed");
        vm.expectRevert(abi.encodeWithSelector(UnorderedNonces.NonceUsed.selector, _patient(0), 3));
        consents.appointGuardianBySig(g, signed);
        skip(1);
        vm.expectRevert(abi.encodeWithSelector(SignedMessages.DeadlinePassed.selector, g.deadline));
        consents.appointGuardianBySig(g, signed);
    }

    function test_nobody_appoints_a_guardian_for_another() public {
        Guardianship memory g = Guardianship(_patient(0), dataset, _guardian(), clock() + 1 days, true, 3, clock());
        bytes memory signed = signature(GUARDIAN, _consentDigest(Signing.hash(g)));
        vm.expectRevert(abi.encodeWithSelector(SignedMessages.BadSignature.selector, _patient(0)));
        consents.appointGuardianBySig(g, signed);
    }

    function test_a_cancelled_nonce_voids_what_was_signed_with_it() public {
        Guardianship memory g = Guardianship(_patient(0), dataset, _guardian(), clock() + 1 days, true, 3, clock());
        bytes memory signed = signature(PATIENT, _consentDigest(Signing.hash(g)));
        vm.expectEmit(address(consents));
        emit UnorderedNonces.NonceCancelled(_patient(0), 3);
        vm.prank(_patient(0));
        consents.cancelNonce(3);
        vm.expectRevert(abi.encodeWithSelector(UnorderedNonces.NonceUsed.selector, _patient(0), 3));
        consents.appointGuardianBySig(g, signed);
    }

    function testFuzz_each_nonce_is_used_once_whatever_the_order(uint256 a, uint256 b) public {
        vm.assume(a != b);
        consents.cancelNonce(a);
        assertTrue(consents.isNonceUsed(address(this), a) && !consents.isNonceUsed(address(this), b), "only the one");
        consents.cancelNonce(b);
        vm.expectRevert(abi.encodeWithSelector(UnorderedNonces.NonceUsed.selector, address(this), a));
        consents.cancelNonce(a);
    }

    // --- erasure

    function test_an_erasure_ends_consent_and_record() public {
        vm.prank(_patient(0));
        consents.erase(dataset);
        _assertState(_patient(0), ConsentState.None);
        assertTrue(!datasets.isUsable(dataset, _patient(0)), "not usable");
        assertEq(_consentOf(_patient(0)).sequence, 2, "sequence");
        Grant memory g = _grantFor(_patient(0), 1);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.RecordUnusable.selector, dataset, _patient(0)));
        _grant(g);
    }

    function test_an_erasure_succeeds_while_paused_and_frozen() public {
        _frozen();
        consents.pause();
        datasets.pause();
        vm.prank(_patient(0));
        consents.erase(dataset);
        _assertState(_patient(0), ConsentState.None);
    }

    function test_a_signed_erasure_names_the_version_in_use() public {
        Erasure memory e = Erasure(_patient(0), dataset, 1);
        bytes memory signed = signature(PATIENT, _consentDigest(Signing.hash(e)));
        consents.eraseBySig(e, signed);
        assertTrue(!datasets.isUsable(dataset, _patient(0)), "erased");
    }

    function test_a_signed_erasure_cannot_be_replayed_against_a_later_record() public {
        Erasure memory e = Erasure(_patient(0), dataset, 1);
        bytes memory signed = signature(PATIENT, _consentDigest(Signing.hash(e)));
        consents.eraseBySig(e, signed);
        _store(_patient(0), keccak256(abi.encode("person", uint256(0))));
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.WrongRecordVersion.selector, uint32(2), uint32(1)));
        consents.eraseBySig(e, signed);
        assertTrue(datasets.isUsable(dataset, _patient(0)), "the later one stands");
    }

    function test_a_pending_version_is_the_one_to_erase() public {
        bytes32 person = keccak256(abi.encode("person", uint256(0)));
        _attest(RecordAttestation(dataset, _patient(0), person, "later", 2, vm.addr(ISSUER), clock()));
        Erasure memory e = Erasure(_patient(0), dataset, 1);
        bytes memory signed = signature(PATIENT, _consentDigest(Signing.hash(e)));
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.WrongRecordVersion.selector, uint32(2), uint32(1)));
        consents.eraseBySig(e, signed);
        e.version = 2;
        consents.eraseBySig(e, signature(PATIENT, _consentDigest(Signing.hash(e))));
        assertEq(datasets.recordOf(dataset, _patient(0)).pending, bytes32(0), "pending too");
    }

    // --- rotation

    function _rotation(uint256 from) private view returns (Rotation memory) {
        return Rotation(dataset, _patient(from), vm.addr(NEW_KEY), clock());
    }

    function _rotate(Rotation memory r, uint256 keyFrom, uint256 keyTo) private {
        bytes32 digest = _consentDigest(Signing.hash(r));
        consents.rotate(r, signature(keyFrom, digest), signature(keyTo, digest));
    }

    function test_a_rotation_takes_everything_along() public {
        _appointGuardian(true);
        _sealed();
        skip(1);
        ConsentView memory before = _consentOf(_patient(0));
        vm.expectEmit(address(consents));
        emit IConsentRegistry.Rotated(dataset, _patient(0), vm.addr(NEW_KEY));
        _rotate(_rotation(0), PATIENT, NEW_KEY);
        ConsentView memory moved = _consentOf(vm.addr(NEW_KEY));
        assertEq(keccak256(abi.encode(moved)), keccak256(abi.encode(before)), "the same consent");
        assertEq(moved.owed, PRICE, "owed");
        assertEq(moved.spent, COST, "spent");
        _assertState(_patient(0), ConsentState.Moved);
        assertEq(_consentOf(_patient(0)).owed, 0, "nothing left behind");
        (address guardian,,) = consents.guardianOf(dataset, _patient(0));
        assertEq(guardian, address(0), "no guardian left behind");
        assertTrue(datasets.isUsable(dataset, vm.addr(NEW_KEY)), "record");
    }

    function test_earnings_are_withdrawn_once_by_the_new_address() public {
        RequestId request = _sealed();
        _rest(_patient(0));
        skip(1);
        _rotate(_rotation(0), PATIENT, NEW_KEY);
        vm.prank(vm.addr(NEW_KEY));
        market.withdrawEarnings(dataset, address(0xcafe));
        assertEq(token.balanceOf(address(0xcafe)), PRICE, "paid");
        assertEq(market.requestOf(request).members, 4, "members");
    }

    function test_the_address_that_was_left_never_grants_again() public {
        _rotate(_rotation(0), PATIENT, NEW_KEY);
        Grant memory g = _grantFor(_patient(0), 1);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.AddressMoved.selector, _patient(0)));
        _grant(g);
        assertTrue(!_revoke(_patient(0)), "nothing to revoke, and no revert");
        consents.expel(dataset, _patient(0));
        _assertState(_patient(0), ConsentState.Moved);
        Rotation memory again = Rotation(dataset, _patient(0), _patient(9), clock());
        bytes32 digest = _consentDigest(Signing.hash(again));
        bytes memory from = signature(PATIENT, digest);
        bytes memory to = signature(PATIENT + 9, digest);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.AddressMoved.selector, _patient(0)));
        consents.rotate(again, from, to);
    }

    function test_a_rotation_needs_both_signatures_in_time() public {
        Rotation memory r = _rotation(0);
        bytes32 digest = _consentDigest(Signing.hash(r));
        bytes memory from = signature(PATIENT, digest);
        bytes memory to = signature(NEW_KEY, digest);
        vm.expectRevert(abi.encodeWithSelector(SignedMessages.BadSignature.selector, r.from));
        consents.rotate(r, to, to);
        vm.expectRevert(abi.encodeWithSelector(SignedMessages.BadSignature.selector, r.to));
        consents.rotate(r, from, from);
        skip(1);
        vm.expectRevert(abi.encodeWithSelector(SignedMessages.DeadlinePassed.selector, r.deadline));
        consents.rotate(r, from, to);
    }

    function test_nobody_moves_to_an_address_in_use_or_to_itself() public {
        _expectInUse(0, 0); // itself
        _expectInUse(0, 1); // live
        _revoke(_patient(1));
        _expectInUse(0, 1); // has a seat and a sequence
        _revoke(_patient(9));
        _expectInUse(0, 9); // only a sequence
    }

    function _expectInUse(uint256 from, uint256 to) private {
        Rotation memory r = Rotation(dataset, _patient(from), _patient(to), clock());
        bytes32 digest = _consentDigest(Signing.hash(r));
        bytes memory signedFrom = signature(PATIENT + from, digest);
        bytes memory signedTo = signature(PATIENT + to, digest);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.AddressInUse.selector, r.to));
        consents.rotate(r, signedFrom, signedTo);
    }

    function test_a_place_does_not_change_hands_by_rotation_while_frozen() public {
        RequestId request = _frozen();
        uint40 until = market.requestOf(request).frozenUntil;
        Rotation memory r = _rotation(0);
        bytes32 digest = _consentDigest(Signing.hash(r));
        bytes memory from = signature(PATIENT, digest);
        bytes memory to = signature(NEW_KEY, digest);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.ShardIsFrozen.selector, _class(1), uint16(0), until));
        consents.rotate(r, from, to);
        _sealAll(request);
        // Still not in the block of the seal, whose state tells who was sealed.
        vm.expectPartialRevert(IConsentRegistry.ShardIsFrozen.selector);
        consents.rotate(r, from, to);
    }

    function test_a_person_without_a_seat_moves_also_while_frozen() public {
        _frozen();
        _store(_patient(9), "person 9");
        _rotate(_rotation(9), PATIENT + 9, NEW_KEY);
        _assertState(_patient(9), ConsentState.Moved);
        _assertState(vm.addr(NEW_KEY), ConsentState.None);
    }

    function test_an_address_without_a_record_has_nothing_to_move() public {
        Rotation memory r = _rotation(9);
        bytes32 digest = _consentDigest(Signing.hash(r));
        bytes memory from = signature(PATIENT + 9, digest);
        bytes memory to = signature(NEW_KEY, digest);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.RecordNotStored.selector, dataset, r.from));
        consents.rotate(r, from, to);
    }

    // --- batch

    function test_a_bad_entry_does_not_sink_the_others() public {
        Grant[3] memory g = [_grantFor(_patient(0), 1), _grantFor(_patient(1), 1), _grantFor(_patient(2), 1)];
        bytes[] memory calls = new bytes[](3);
        for (uint256 i = 0; i < 3; ++i) {
            // The second is signed by the third's key.
            bytes memory signed = signature(PATIENT + (i == 1 ? 2 : i), _consentDigest(Signing.hash(g[i])));
            calls[i] = abi.encodeCall(consents.grantBySig, (g[i], g[i].patient, signed));
        }
        vm.expectEmit(address(consents));
        emit TolerantBatch.EntryRefused(1, abi.encodeWithSelector(SignedMessages.BadSignature.selector, _patient(1)));
        // The event of the first entry comes before; only what is expected must match.
        assertEq(consents.batch(calls), 1, "refused");
        assertEq(_consentOf(_patient(0)).sequence, 2, "first");
        assertEq(_consentOf(_patient(1)).sequence, 1, "second");
        assertEq(_consentOf(_patient(2)).sequence, 2, "third");
    }

    function test_a_batch_is_the_callers_own() public {
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(consents.revoke, (_patient(0), dataset));
        assertEq(consents.batch(calls), 1, "not authorised");
        vm.prank(_patient(0));
        assertEq(consents.batch(calls), 0, "the patient is");
        _assertState(_patient(0), ConsentState.None);
    }
}
