// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {SignedMessages} from "../src/base/SignedMessages.sol";
import {ConsentState, ConsentView, Grant, IConsentRegistry} from "../src/interfaces/IConsentRegistry.sol";
import {IDatasetRegistry} from "../src/interfaces/IDatasetRegistry.sol";
import {ClassId} from "../src/types/Ids.sol";
import {Signing} from "./base/Signing.sol";
import {Story} from "./base/Story.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";

/// grant, grantBySig
/// ├── the caller, or the signer, is neither patient nor a guardian who may grant: NotAuthorised
/// ├── the signature is not the signer's: BadSignature (and SignedFields.t.sol)
/// ├── paused: EnforcedPause
/// ├── after the deadline: DeadlinePassed
/// ├── the address was left for another: AddressMoved (ConsentPeople.t.sol)
/// ├── not the next sequence: WrongSequence
/// ├── the class is of another dataset, or 0: ClassOutsideDataset
/// ├── expires sooner than the horizon: ExpiryTooSoon
/// ├── cap above the largest: CapTooLarge
/// ├── the class or the record does not allow it: as the dataset registry says
/// ├── other terms than were published: WrongDefinition
/// ├── less left than one request may cost: BudgetTooSmall
/// │   ├── cap above what is spent
/// │   └── cap below what is spent
/// └── else
///     ├── first grant: next place ── in a full shard: next shard ── in a full class: ClassFull
///     ├── same class again: same seat ── lifetime spend stays
///     ├── another class: old seat is freed, and given away unless its shard is frozen
///     └── shard frozen: resting and waiting ── else: live
contract ConsentGrantTest is Story {
    uint256 private constant SHARDS_SLOT = 7; // of `_shards`, and 6 of `_shardCount`; read back below
    uint256 private constant COUNTS_SLOT = 6;

    function setUp() public override {
        super.setUp();
        _enrol(4);
    }

    // --- refused

    function test_a_stranger_cannot_grant() public {
        Grant memory g = _grantFor(_patient(0), 1);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.NotAuthorised.selector, _patient(1), _patient(0)));
        vm.prank(_patient(1));
        consents.grant(g);
    }

    function test_a_stranger_cannot_sign_a_grant() public {
        Grant memory g = _grantFor(_patient(0), 1);
        bytes memory signed = signature(PATIENT + 1, _consentDigest(Signing.hash(g)));
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.NotAuthorised.selector, _patient(1), _patient(0)));
        consents.grantBySig(g, _patient(1), signed);
        vm.expectRevert(abi.encodeWithSelector(SignedMessages.BadSignature.selector, _patient(0)));
        consents.grantBySig(g, _patient(0), signed);
    }

    function test_pause_stops_grants() public {
        Grant memory g = _grantFor(_patient(0), 1);
        consents.pause();
        vm.expectRevert(Pausable.EnforcedPause.selector);
        _grant(g);
        consents.unpause();
        _grant(g);
    }

    function test_a_grant_must_arrive_by_its_deadline() public {
        Grant memory g = _grantFor(_patient(0), 1);
        g.deadline = clock() - 1;
        vm.expectRevert(abi.encodeWithSelector(SignedMessages.DeadlinePassed.selector, g.deadline));
        _grant(g);
    }

    function test_a_grant_must_name_the_next_sequence() public {
        Grant memory g = _grantFor(_patient(0), 1);
        g.sequence = 2;
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.WrongSequence.selector, uint32(1), uint32(2)));
        _grant(g);
        g.sequence = 0;
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.WrongSequence.selector, uint32(1), uint32(0)));
        _grant(g);
    }

    function test_a_grant_names_a_class_of_its_dataset() public {
        Grant memory g = _grantFor(_patient(0), 1);
        g.class = ClassId.wrap(keccak256("elsewhere"));
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.ClassOutsideDataset.selector, g.class, dataset));
        _grant(g);
        g.class = _class(0);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.ClassOutsideDataset.selector, g.class, dataset));
        _grant(g);
    }

    function test_a_grant_lasts_at_least_the_horizon() public {
        Grant memory g = _grantFor(_patient(0), 1);
        uint40 earliest = clock() + HORIZON;
        g.expiry = earliest - 1;
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.ExpiryTooSoon.selector, g.expiry, earliest));
        _grant(g);
        g.expiry = earliest;
        _grant(g);
    }

    function test_a_cap_has_48_bits() public {
        Grant memory g = _grantFor(_patient(0), 1);
        g.cap = 2 ** 48;
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.CapTooLarge.selector, g.cap, uint56(2 ** 48 - 1)));
        _grant(g);
        g.cap = 2 ** 48 - 1;
        _grant(g);
    }

    function test_a_grant_needs_an_existing_class() public {
        Grant memory g = _grantFor(_patient(0), 3);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.UnknownClass.selector, g.class));
        _grant(g);
    }

    function test_a_grant_needs_a_record_that_custodians_hold() public {
        Grant memory g = _grantFor(_patient(9), 1);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.RecordNotStored.selector, dataset, g.patient));
        _grant(g);
        _suspend(_patient(0));
        g = _grantFor(_patient(0), 1);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.RecordUnusable.selector, dataset, g.patient));
        _grant(g);
    }

    function test_a_retired_dataset_takes_no_grants() public {
        Grant memory g = _grantFor(_patient(0), 1);
        datasets.retire(dataset);
        vm.expectRevert(abi.encodeWithSelector(IDatasetRegistry.DatasetIsRetired.selector, dataset));
        _grant(g);
    }

    function test_a_grant_names_the_terms_that_were_published() public {
        Grant memory g = _grantFor(_patient(0), 1);
        bytes32 published = g.definition;
        g.definition = "other terms";
        vm.expectRevert(
            abi.encodeWithSelector(IConsentRegistry.WrongDefinition.selector, published, bytes32("other terms"))
        );
        _grant(g);
    }

    function test_a_cap_affords_the_dearest_request_of_its_class() public {
        Grant memory g = _grantFor(_patient(0), 1);
        g.cap = 99;
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.BudgetTooSmall.selector, uint56(99), uint56(100)));
        _grant(g);
        g.cap = 100;
        _grant(g);
    }

    function test_what_was_spent_is_not_granted_again() public {
        for (uint256 i = 0; i < 3; ++i) {
            _grant(_patient(i), 1);
        }
        _sealed();
        skip(1);
        Grant memory g = _grantFor(_patient(0), 1);
        g.cap = COST + 99;
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.BudgetTooSmall.selector, uint56(99), uint56(100)));
        _grant(g);
        g.cap = COST - 1;
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.BudgetTooSmall.selector, uint56(0), uint56(100)));
        _grant(g);
        g.cap = COST + 100;
        _grant(g);
        assertEq(_consentOf(g.patient).spent, COST, "spent");
        assertEq(_consentOf(g.patient).owed, PRICE, "owed");
    }

    // --- granted

    function test_a_first_grant_is_live_in_the_first_place() public {
        Grant memory g = _grantFor(_patient(0), 2);
        vm.expectEmit(address(consents));
        emit IConsentRegistry.Granted(g.patient, g.class, 0, 0, 1, g.cap, g.expiry, true);
        _grant(g);
        ConsentView memory c = _consentOf(g.patient);
        assertEq(uint256(c.state), uint256(ConsentState.Live), "state");
        assertEq(ClassId.unwrap(c.class), ClassId.unwrap(g.class), "class");
        assertEq(c.sequence, 1, "sequence");
        assertEq(c.cap, CAP, "cap");
        assertEq(c.expiry, g.expiry, "expiry");
        assertEq(c.spent + c.owed, 0, "nothing spent or owed");
        assertEq(_word(2, 0).earliestExhaustion(), CAP, "exhaustion");
        assertEq(_word(2, 0).earliestExpiry(), g.expiry, "earliest expiry");
    }

    function test_anyone_carries_a_signed_grant() public {
        Grant memory g = _grantFor(_patient(0), 1);
        consents.grantBySig(g, g.patient, signature(PATIENT, _consentDigest(Signing.hash(g))));
        _assertState(g.patient, ConsentState.Live);
    }

    function test_each_patient_has_a_place_of_their_own() public {
        for (uint256 i = 0; i < 4; ++i) {
            _grant(_patient(i), 1);
            assertEq(_consentOf(_patient(i)).place, i, "place");
        }
        assertEq(_word(1, 0).bitmap(), 15, "bits");
        assertEq(consents.shardOf(_class(1), 0).live, 4, "live");
    }

    function test_a_grant_again_keeps_the_seat() public {
        _grant(_patient(0), 1);
        _grant(_patient(1), 1);
        Grant memory g = _grantFor(_patient(0), 1);
        g.cap = 500;
        _grant(g);
        assertEq(_consentOf(g.patient).place, 0, "place");
        assertEq(_consentOf(g.patient).cap, 500, "cap");
        assertEq(consents.shardOf(_class(1), 0).live, 2, "live");
        _revoke(g.patient);
        _grant(g.patient, 1);
        assertEq(_consentOf(g.patient).place, 0, "place after revocation");
    }

    function test_a_patient_who_changes_class_leaves_the_seat_to_the_next() public {
        _grant(_patient(0), 1);
        _grant(_patient(1), 1);
        _grant(_patient(0), 2);
        assertEq(_word(1, 0).bitmap(), 2, "left");
        _grant(_patient(2), 1);
        assertEq(_consentOf(_patient(2)).place, 0, "taken over");
        assertEq(consents.shardOf(_class(1), 0).used, 2, "used");
        _grant(_patient(3), 1);
        assertEq(_consentOf(_patient(3)).place, 2, "next");
    }

    function test_a_place_does_not_change_hands_while_frozen() public {
        for (uint256 i = 0; i < 3; ++i) {
            _grant(_patient(i), 1);
        }
        _frozen();
        _grant(_patient(0), 2);
        _grant(_patient(3), 1);
        assertEq(_consentOf(_patient(3)).place, 3, "a new place");
        uint24[] memory places = new uint24[](2);
        places[1] = 3;
        address[] memory patients = consents.patientsAt(_class(1), 0, places);
        assertEq(patients[0], _patient(0), "who was counted is still named");
        assertEq(patients[1], _patient(3), "newcomer");
    }

    function test_a_grant_into_a_frozen_shard_rests_until_woken() public {
        for (uint256 i = 0; i < 3; ++i) {
            _grant(_patient(i), 1);
        }
        _frozen();
        _grant(_patient(3), 1);
        _assertState(_patient(3), ConsentState.Resting);
        assertEq(_waiting(1), 8, "waits");
        assertEq(_word(1, 0).bitmap(), 7, "not a member");
        // A grant again, also out of the waiting list.
        _grant(_patient(3), 1);
        assertEq(_waiting(1), 8, "still waits");
        _grant(_patient(3), 2);
        assertEq(_waiting(1), 0, "left the list");
        _assertState(_patient(3), ConsentState.Live);
    }

    function test_a_full_shard_is_followed_by_another() public {
        _grant(_patient(0), 1);
        _setUsed(uint32(consents.SHARD_SEATS()) - 1);
        _grant(_patient(1), 1);
        assertEq(_consentOf(_patient(1)).place, consents.SHARD_SEATS() - 1, "last place");
        assertEq(consents.shardsOf(_class(1)), 1, "one shard");
        _grant(_patient(2), 1);
        assertEq(consents.shardsOf(_class(1)), 2, "two shards");
        assertEq(_consentOf(_patient(2)).shard, 1, "shard");
        assertEq(_consentOf(_patient(2)).place, 0, "place");
        assertEq(consents.shardOf(_class(1), 1).used, 1, "used");
    }

    function test_a_class_is_full_after_4095_shards() public {
        bytes32 slot = keccak256(abi.encode(_class(1), COUNTS_SLOT));
        vm.store(address(consents), slot, bytes32(uint256(4094)));
        assertEq(consents.shardsOf(_class(1)), 4094, "count read back");
        _setUsedOf(4093, uint32(consents.SHARD_SEATS()));
        _grant(_patient(0), 1);
        assertEq(_consentOf(_patient(0)).shard, 4094, "the last shard");
        _setUsedOf(4094, uint32(consents.SHARD_SEATS()));
        Grant memory g = _grantFor(_patient(1), 1);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.ClassFull.selector, g.class));
        _grant(g);
    }

    function _setUsed(uint32 used) private {
        _setUsedOf(0, used);
    }

    /// `used` is bits 144 to 175 of a shard's first slot.
    function _setUsedOf(uint256 shard, uint32 used) private {
        bytes32 slot = keccak256(abi.encode(shard, keccak256(abi.encode(_class(1), SHARDS_SLOT))));
        uint256 old = uint256(vm.load(address(consents), slot));
        uint256 mask = uint256(type(uint32).max) << 144;
        vm.store(address(consents), slot, bytes32((old & ~mask) | (uint256(used) << 144)));
        assertEq(consents.shardOf(_class(1), uint16(shard)).used, used, "used read back");
    }

    /// Grants and revocations in any order: state, bits and counts follow, and nothing is ever spent by it.
    function testFuzz_grants_and_revocations_undo_each_other(uint256 seed) public {
        uint32[4] memory sequence;
        for (uint256 i = 0; i < 24; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 who = seed % 4;
            bool granting = seed >> 8 & 1 == 0;
            if (granting) _grant(_patient(who), uint16(1 + (seed >> 9) % 2));
            else _revoke(_patient(who));
            assertEq(_consentOf(_patient(who)).sequence, ++sequence[who], "sequence");
            _assertState(_patient(who), granting ? ConsentState.Live : ConsentState.None);
            _assertCounts();
        }
    }

    function _assertCounts() private view {
        uint256 live;
        for (uint256 i = 0; i < 4; ++i) {
            ConsentView memory c = _consentOf(_patient(i));
            assertEq(c.spent + c.owed, 0, "nothing spent or owed");
            if (c.state == ConsentState.Live) ++live;
        }
        assertEq(_word(1, 0).count() + _word(2, 0).count(), live, "bits");
    }
}
