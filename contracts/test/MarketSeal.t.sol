// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Grant, IConsentRegistry} from "../src/interfaces/IConsentRegistry.sol";
import {IResearchMarket, RequestTerms, RequestView, ShardRef, Stage} from "../src/interfaces/IResearchMarket.sol";
import {IResearcherRegistry} from "../src/interfaces/IResearcherRegistry.sol";
import {ClassTerms} from "../src/types/DataUseTypes.sol";
import {RequestId} from "../src/types/Ids.sol";
import {Story} from "./base/Story.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";

/// freeze
/// ├── paused ── not an operator ── not opened, or other terms: WrongStage
/// ├── notice still running ── seal deadline passed
/// ├── no longer permitted: as the registries say
/// ├── over more than 64 shards: TooManyShards ── fewer live than the minimum ── more than asked for
/// ├── too little bond: BondTooSmall
/// └── else: epoch pinned, bond locked; frozen for the window, but not beyond the seal deadline
/// tidy ── not frozen ── no such shard ── else what cannot stay leaves
/// seal, sealAll
/// ├── not an operator ── another operator than the one who froze ── not frozen
/// ├── nothing sealed yet and too few live: CohortTooSmall ── too few in the end: CohortTooSmall
/// └── shard by shard: members paid out of the escrow ── last one: the rest is credited back but the fee
/// dissolve ── not frozen ── a shard sealed: WrongStage ── still enough: CohortStillLarge ── else free of charge
/// reclaim
/// ├── opened ── before the seal deadline: DeadlineRunning ── else all comes back
/// └── frozen ── before the freeze ends: DeadlineRunning ── else all comes back, and the bond pays
///     ├── the share for an unused freeze
///     └── what sealed shards were paid, if more
contract MarketSealTest is Story {
    function setUp() public override {
        super.setUp();
        _populate(4);
    }

    function _refuseFreeze(RequestTerms memory terms, bytes memory reason) private {
        ClassTerms[] memory offers = _offers(terms);
        vm.expectRevert(reason);
        vm.prank(OPERATOR);
        market.freeze(_researcher(0), terms, offers);
    }

    function _wrongStage(RequestId request, Stage expected, Stage actual) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IResearchMarket.WrongStage.selector, request, expected, actual);
    }

    /// Opened, and its notice over, with a bond to lock.
    function _freezable(RequestTerms memory terms) private returns (RequestId request) {
        request = _open(terms);
        skip(600);
        _postBond(10_000);
    }

    // --- freeze

    function test_a_freeze_pins_the_epoch_and_locks_the_bond() public {
        RequestTerms memory terms = _terms();
        RequestId request = _freezable(terms);
        ClassTerms[] memory offers = _offers(terms);
        vm.expectEmit(address(market));
        emit IResearchMarket.RequestFrozen(request, OPERATOR, 1, 4, 80, clock() + 900);
        vm.prank(OPERATOR);
        market.freeze(_researcher(0), terms, offers);
        RequestView memory r = market.requestOf(request);
        assertEq(r.bond, 80, "four times the price");
        assertEq(r.epoch, 1, "epoch");
        assertEq(r.operator, OPERATOR, "operator");
        assertEq(r.shards, 1, "shards");
        assertEq(market.bondOf(OPERATOR), 10_000 - 80, "free bond");
        ShardRef[] memory shards = market.shardsOf(request);
        assertTrue(shards.length == 1 && shards[0].class == 1 && shards[0].shard == 0, "shard");
    }

    function test_a_bond_is_at_least_the_minimum() public {
        RequestTerms memory terms = _terms();
        terms.price = 8;
        RequestId request = _freeze(terms);
        assertEq(market.requestOf(request).bond, 50, "minimum");
    }

    function test_pause_stops_freezes() public {
        RequestTerms memory terms = _terms();
        _freezable(terms);
        market.pause();
        _refuseFreeze(terms, abi.encodeWithSelector(Pausable.EnforcedPause.selector));
    }

    function test_only_an_operator_freezes_and_seals() public {
        RequestTerms memory terms = _terms();
        RequestId request = _freezable(terms);
        bytes memory refused = abi.encodeWithSelector(
            IAccessControl.AccessControlUnauthorizedAccount.selector, address(this), market.OPERATOR()
        );
        ClassTerms[] memory offers = _offers(terms);
        vm.expectRevert(refused);
        market.freeze(_researcher(0), terms, offers);
        vm.expectRevert(refused);
        market.seal(request);
        vm.expectRevert(refused);
        market.sealAll(request);
    }

    function test_only_what_was_opened_with_these_terms_freezes() public {
        RequestTerms memory terms = _terms();
        RequestId request = _freezable(terms);
        terms.price = 21;
        _refuseFreeze(terms, _wrongStage(market.requestId(_researcher(0), terms), Stage.Opened, Stage.None));
        terms.price = PRICE;
        _freezeNow(terms);
        _refuseFreeze(terms, _wrongStage(request, Stage.Opened, Stage.Frozen));
    }

    function test_patients_have_their_notice_before_a_freeze() public {
        RequestTerms memory terms = _terms();
        _open(terms);
        _postBond(10_000);
        uint40 over = clock() + 600;
        vm.warp(over - 1);
        _refuseFreeze(terms, abi.encodeWithSelector(IResearchMarket.NoticeStillRunning.selector, over));
        vm.warp(over);
        _freezeNow(terms);
    }

    function test_nothing_freezes_at_its_seal_deadline() public {
        RequestTerms memory terms = _terms();
        _freezable(terms);
        vm.warp(terms.sealDeadline);
        _refuseFreeze(terms, abi.encodeWithSelector(IResearchMarket.SealDeadlinePassed.selector, terms.sealDeadline));
        vm.warp(terms.sealDeadline - 1);
        _freezeNow(terms);
        assertEq(market.requestOf(market.requestId(_researcher(0), terms)).frozenUntil, terms.sealDeadline, "no later");
    }

    function test_a_credential_withdrawn_after_opening_stops_the_freeze() public {
        RequestTerms memory terms = _terms();
        _freezable(terms);
        researchers.withdraw(_researcher(0));
        _refuseFreeze(terms, abi.encodeWithSelector(IResearcherRegistry.CredentialIsWithdrawn.selector, _researcher(0)));
    }

    function test_a_cohort_under_the_minimum_does_not_freeze() public {
        RequestTerms memory terms = _terms();
        _freezable(terms);
        _revoke(_patient(0));
        _revoke(_patient(1));
        _refuseFreeze(terms, abi.encodeWithSelector(IResearchMarket.CohortTooSmall.selector, 2, 3));
    }

    function test_a_cohort_over_the_maximum_does_not_freeze() public {
        RequestTerms memory terms = _terms();
        terms.maxPatients = 3;
        _freezable(terms);
        _refuseFreeze(terms, abi.encodeWithSelector(IResearchMarket.CohortTooLarge.selector, 4, 3));
        _revoke(_patient(0));
        _freezeNow(terms);
    }

    function test_a_freeze_needs_the_whole_bond() public {
        RequestTerms memory terms = _terms();
        _open(terms);
        skip(600);
        _postBond(79);
        _refuseFreeze(terms, abi.encodeWithSelector(IResearchMarket.BondTooSmall.selector, 80, 79));
        _postBond(1);
        _freezeNow(terms);
    }

    function test_a_freeze_spans_at_most_64_shards() public {
        RequestTerms memory terms = _terms();
        _freezable(terms);
        bytes32 slot = keccak256(abi.encode(_class(1), uint256(6))); // of `_shardCount`, read back
        vm.store(address(consents), slot, bytes32(uint256(65)));
        assertEq(consents.shardsOf(_class(1)), 65, "count read back");
        _refuseFreeze(terms, abi.encodeWithSelector(IResearchMarket.TooManyShards.selector, 65, 64));
        vm.store(address(consents), slot, bytes32(uint256(64)));
        _freezeNow(terms);
    }

    function test_two_requests_cannot_freeze_one_shard() public {
        _frozen();
        RequestTerms memory terms = _terms();
        terms.salt = "another";
        _open(terms);
        skip(600);
        ClassTerms[] memory offers = _offers(terms);
        vm.expectPartialRevert(IConsentRegistry.ShardIsFrozen.selector);
        vm.prank(OPERATOR);
        market.freeze(_researcher(0), terms, offers);
    }

    // --- tidy

    function test_anyone_tidies_a_frozen_request() public {
        Grant memory g = _grantFor(_patient(0), 1);
        g.expiry = clock() + HORIZON;
        _grant(g);
        vm.warp(g.expiry - 600);
        RequestId request = _frozen();
        vm.expectEmit(address(market));
        emit IResearchMarket.RequestTidied(request, 0, 1);
        market.tidy(request, 0, _one(0));
        _sealAll(request);
        assertEq(market.requestOf(request).members, 3, "members");
    }

    function test_only_a_shard_of_a_frozen_request_is_tidied() public {
        RequestId request = _open(_terms());
        vm.expectRevert(_wrongStage(request, Stage.Frozen, Stage.Opened));
        market.tidy(request, 0, _one(0));
        skip(1);
        request = _frozen();
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.UnknownShard.selector, uint16(1)));
        market.tidy(request, 1, _one(0));
    }

    // --- seal

    function test_a_seal_pays_members_and_credits_the_rest_back() public {
        RequestId request = _frozen();
        _revoke(_patient(3));
        vm.prank(OPERATOR);
        market.seal(request);
        _assertStage(request, Stage.Sealed);
        RequestView memory r = market.requestOf(request);
        assertEq(r.members, 3, "members");
        assertEq(r.escrow, FEE, "only the fee is held");
        assertEq(market.creditOf(_researcher(0)), ESCROW - FEE - 3 * PRICE, "credit");
        assertEq(r.sealBlock, vm.getBlockNumber(), "block");
        assertEq(r.drawBlock, vm.getBlockNumber() + 1, "draw block");
        (uint256 escrows,,,, uint256 earnings) = market.liabilities();
        assertEq(escrows, FEE, "escrows");
        assertEq(earnings, 3 * PRICE, "earnings");
    }

    function test_a_cohort_root_is_made_of_its_shards_roots_in_order() public {
        _changeClass(2, 2);
        RequestId request = _freeze(_termsOverBoth());
        bytes32 root = keccak256(abi.encode("usufruct/cohort/1", block.chainid, address(market), request, uint16(2)));
        root = keccak256(abi.encode(root, _shardRoot(1, 3, 11)));
        vm.prank(OPERATOR);
        market.seal(request);
        assertEq(market.requestOf(request).root, root, "first");
        _assertStage(request, Stage.Frozen);
        root = keccak256(abi.encode(root, _shardRoot(2, 1, 1)));
        vm.expectEmit(address(market));
        emit IResearchMarket.RequestSealed(request, root, 4);
        vm.prank(OPERATOR);
        market.seal(request);
        assertEq(market.requestOf(request).root, root, "second");
    }

    function test_all_shards_are_sealed_at_once_as_one_by_one() public {
        _changeClass(2, 2);
        RequestId request = _freeze(_termsOverBoth());
        uint256 before = vm.snapshotState();
        vm.startPrank(OPERATOR);
        market.seal(request);
        market.seal(request);
        vm.stopPrank();
        RequestView memory slowly = market.requestOf(request);
        vm.revertToState(before);
        _sealAll(request);
        assertEq(keccak256(abi.encode(market.requestOf(request))), keccak256(abi.encode(slowly)), "the same");
    }

    function _changeClass(uint256 patient, uint16 class) private {
        _grant(_patient(patient), class);
    }

    function _shardRoot(uint16 class, uint32 members, uint160 bits) private view returns (bytes32) {
        bytes32[] memory chunks = new bytes32[](1);
        chunks[0] = keccak256(abi.encodePacked(bits));
        return keccak256(abi.encode("usufruct/shard/1", _class(class), uint16(0), members, chunks));
    }

    function test_only_the_operator_who_froze_seals() public {
        RequestId request = _frozen();
        market.grantRole(market.OPERATOR(), address(this));
        bytes memory refused = abi.encodeWithSelector(IResearchMarket.NotRequestOperator.selector, address(this));
        vm.expectRevert(refused);
        market.seal(request);
        vm.expectRevert(refused);
        market.sealAll(request);
    }

    function test_a_request_is_sealed_once() public {
        RequestId request = _sealed();
        vm.startPrank(OPERATOR);
        vm.expectRevert(_wrongStage(request, Stage.Frozen, Stage.Sealed));
        market.seal(request);
        vm.expectRevert(_wrongStage(request, Stage.Frozen, Stage.Sealed));
        market.sealAll(request);
    }

    function test_nothing_is_sealed_after_the_freeze() public {
        RequestId request = _frozen();
        uint40 until = market.requestOf(request).frozenUntil;
        vm.warp(until + 1);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.FreezeLapsed.selector, until));
        vm.prank(OPERATOR);
        market.sealAll(request);
        vm.warp(until);
        _sealAll(request);
    }

    function test_a_cohort_that_shrank_under_the_minimum_is_not_sealed() public {
        RequestId request = _frozen();
        _revoke(_patient(0));
        _rest(_patient(1));
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.CohortTooSmall.selector, 2, 3));
        vm.prank(OPERATOR);
        market.sealAll(request);
    }

    function test_a_cohort_that_shrinks_between_two_shards_is_not_sealed() public {
        RequestId request = _halfSealed();
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.CohortTooSmall.selector, 2, 3));
        vm.prank(OPERATOR);
        market.seal(request);
    }

    /// Two of class 1 are sealed and paid; both of class 2 have left.
    function _halfSealed() private returns (RequestId request) {
        _changeClass(2, 2);
        _changeClass(3, 2);
        request = _freeze(_termsOverBoth());
        vm.prank(OPERATOR);
        market.seal(request);
        _revoke(_patient(2));
        _revoke(_patient(3));
    }

    // --- dissolve

    function test_a_cohort_that_shrank_is_dissolved_at_nobodys_cost() public {
        RequestId request = _frozen();
        _revoke(_patient(0));
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.CohortStillLarge.selector, 3, 3));
        market.dissolve(request);
        _revoke(_patient(1));
        vm.expectEmit(address(market));
        emit IResearchMarket.RequestReclaimed(request, Stage.Frozen);
        market.dissolve(request);
        _assertStage(request, Stage.Reclaimed);
        assertEq(market.creditOf(_researcher(0)), ESCROW, "all of the escrow");
        assertEq(market.bondOf(OPERATOR), 10_000, "all of the bond");
        assertEq(consents.shardOf(_class(1), 0).frozenUntil, clock(), "thawed");
    }

    function test_what_is_not_frozen_or_is_half_sealed_is_not_dissolved() public {
        RequestId request = _open(_terms());
        vm.expectRevert(_wrongStage(request, Stage.Frozen, Stage.Opened));
        market.dissolve(request);
        skip(1);
        request = _halfSealed();
        vm.expectRevert(_wrongStage(request, Stage.Frozen, Stage.Sealed));
        market.dissolve(request);
    }

    // --- reclaim

    function test_an_opened_request_comes_back_after_its_seal_deadline() public {
        RequestTerms memory terms = _terms();
        RequestId request = _open(terms);
        vm.warp(terms.sealDeadline);
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.DeadlineRunning.selector, terms.sealDeadline));
        market.reclaim(request);
        vm.warp(terms.sealDeadline + 1);
        vm.expectEmit(address(market));
        emit IResearchMarket.RequestReclaimed(request, Stage.Opened);
        market.reclaim(request);
        assertEq(market.creditOf(_researcher(0)), ESCROW, "credit");
        vm.expectRevert(_wrongStage(request, Stage.Frozen, Stage.Reclaimed));
        market.reclaim(request);
    }

    function test_an_unused_freeze_costs_a_share_of_the_bond() public {
        RequestId request = _frozen();
        uint40 until = market.requestOf(request).frozenUntil;
        vm.warp(until);
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.DeadlineRunning.selector, until));
        market.reclaim(request);
        vm.warp(until + 1);
        market.reclaim(request);
        assertEq(market.creditOf(_researcher(0)), ESCROW + 8, "a tenth of 80");
        assertEq(market.bondOf(OPERATOR), 10_000 - 8, "free bond");
        (uint256 escrows, uint256 locked,,,) = market.liabilities();
        assertEq(escrows + locked, 0, "nothing held");
    }

    function test_a_half_used_freeze_costs_what_the_patients_were_paid() public {
        RequestId request = _halfSealed();
        vm.warp(market.requestOf(request).frozenUntil + 1);
        market.reclaim(request);
        // The researcher is whole: what two patients were paid comes from the bond.
        assertEq(market.creditOf(_researcher(0)), ESCROW, "credit");
        assertEq(market.bondOf(OPERATOR), 10_000 - 2 * PRICE, "free bond");
        assertEq(_consentOf(_patient(0)).owed, PRICE, "and they keep it");
    }

    function test_nothing_else_is_reclaimed() public {
        RequestId request = _sealed();
        skip(60 days);
        vm.expectRevert(_wrongStage(request, Stage.Frozen, Stage.Sealed));
        market.reclaim(request);
    }
}
