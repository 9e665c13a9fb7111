// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ConsentRegistry} from "../src/ConsentRegistry.sol";
import {ConsentState, Grant, IConsentRegistry, ShardView} from "../src/interfaces/IConsentRegistry.sol";
import {ConsentWord, packWord} from "../src/types/ConsentWord.sol";
import {RequestId} from "../src/types/Ids.sol";
import {Story} from "./base/Story.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";

/// bindMarket ── not admin ── bound already: AlreadyBound
/// market only: freezeShard, thawShard, tidyShard, sealShard, collect: OnlyMarket
/// freezeShard
/// ├── no such shard: UnknownShard
/// ├── frozen, or within the gap after a freeze: ShardIsFrozen
/// └── else: frozen until then
/// thawShard ── not frozen for this request: nothing ── running: ends now ── lapsed: stays as it was
/// tidyShard ── not frozen for this request: ShardNotFrozenFor ── over: FreezeLapsed
///     ├── expires within the freeze: none ── cannot pay: rests, and does not wait
///     └── the others stay, and the word's earliest values become exact
/// sealShard ── as tidy ── a word expired or poor: WordStale
///     ├── budget and earnings rise for all members; the shard is frozen to the end of the second
///     └── the root is that of the words, in chunks of 256
/// collect ── live: owed and since earned ── else: owed ── then nothing
contract ConsentShardsTest is Story {
    RequestId private constant REQUEST = RequestId.wrap("request");
    uint256 private constant SHARDS_SLOT = 7;

    function setUp() public override {
        super.setUp();
        _populate(4);
    }

    function _freezeShard(uint40 seconds_) private returns (uint32) {
        vm.prank(address(market));
        return consents.freezeShard(REQUEST, _class(1), 0, clock() + seconds_);
    }

    function _tidy(uint56 cost) private returns (uint256) {
        uint256[] memory words = _one(0);
        vm.prank(address(market));
        return consents.tidyShard(REQUEST, _class(1), 0, words, cost);
    }

    function _sealShard(uint56 cost, uint56 price) private returns (bytes32 root, uint32 members) {
        vm.prank(address(market));
        return consents.sealShard(REQUEST, _class(1), 0, cost, price);
    }

    // --- who may

    function test_only_the_admin_binds_a_market_and_only_once() public {
        ConsentRegistry fresh = new ConsentRegistry(address(this), datasets, HORIZON, THAW_GAP);
        bytes32 admin = fresh.DEFAULT_ADMIN_ROLE();
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, _patient(0), admin)
        );
        vm.prank(_patient(0));
        fresh.bindMarket(_patient(0));
        fresh.bindMarket(address(market));
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.AlreadyBound.selector, address(market)));
        fresh.bindMarket(address(this));
        assertEq(fresh.market(), address(market), "market");
    }

    function test_only_a_pauser_pauses() public {
        bytes32 pauser = consents.PAUSER();
        bytes memory refused =
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, OPERATOR, pauser);
        vm.expectRevert(refused);
        vm.prank(OPERATOR);
        consents.pause();
        vm.expectRevert(refused);
        vm.prank(OPERATOR);
        consents.unpause();
    }

    function test_only_the_market_counts_and_collects() public {
        bytes memory refused = abi.encodeWithSelector(IConsentRegistry.OnlyMarket.selector, address(this));
        uint40 until = clock() + 1;
        vm.expectRevert(refused);
        consents.freezeShard(REQUEST, _class(1), 0, until);
        vm.expectRevert(refused);
        consents.thawShard(REQUEST, _class(1), 0);
        vm.expectRevert(refused);
        consents.tidyShard(REQUEST, _class(1), 0, _one(0), 1);
        vm.expectRevert(refused);
        consents.sealShard(REQUEST, _class(1), 0, 1, 1);
        vm.expectRevert(refused);
        consents.collect(dataset, _patient(0));
    }

    // --- freeze and thaw

    function test_a_freeze_counts_the_live_and_names_its_request() public {
        _rest(_patient(0));
        vm.expectEmit(address(consents));
        emit IConsentRegistry.ShardFrozen(REQUEST, _class(1), 0, 3, clock() + 900);
        assertEq(_freezeShard(900), 3, "live");
        ShardView memory shard = consents.shardOf(_class(1), 0);
        assertEq(RequestId.unwrap(shard.frozenFor), RequestId.unwrap(REQUEST), "request");
        assertEq(shard.frozenUntil, clock() + 900, "until");
    }

    function test_an_unknown_shard_cannot_freeze() public {
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.UnknownShard.selector, _class(2), uint16(0)));
        vm.prank(address(market));
        consents.freezeShard(REQUEST, _class(2), 0, START + 900);
    }

    function test_a_shard_freezes_again_only_after_a_gap() public {
        _freezeShard(900);
        uint40 free = clock() + 900 + THAW_GAP;
        vm.warp(free);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.ShardIsFrozen.selector, _class(1), uint16(0), free));
        _freezeShard(900);
        vm.warp(free + 1);
        _freezeShard(900);
    }

    function test_a_thaw_ends_a_running_freeze_now() public {
        _freezeShard(900);
        skip(10);
        vm.expectEmit(address(consents));
        emit IConsentRegistry.ShardThawed(REQUEST, _class(1), 0);
        vm.prank(address(market));
        consents.thawShard(REQUEST, _class(1), 0);
        assertEq(consents.shardOf(_class(1), 0).frozenUntil, clock(), "now");
        assertEq(RequestId.unwrap(consents.shardOf(_class(1), 0).frozenFor), bytes32(0), "for nobody");
    }

    function test_a_thaw_leaves_a_lapsed_freeze_and_that_of_another_request() public {
        _freezeShard(10);
        vm.startPrank(address(market));
        consents.thawShard(RequestId.wrap("other"), _class(1), 0);
        assertEq(consents.shardOf(_class(1), 0).frozenUntil, clock() + 10, "another's freeze stands");
        skip(20);
        consents.thawShard(REQUEST, _class(1), 0);
        assertEq(consents.shardOf(_class(1), 0).frozenUntil, clock() - 10, "as it lapsed");
    }

    // --- tidy

    function test_only_what_is_frozen_for_the_request_is_tidied_and_sealed() public {
        bytes memory refused =
            abi.encodeWithSelector(IConsentRegistry.ShardNotFrozenFor.selector, REQUEST, _class(1), uint16(0));
        vm.expectRevert(refused);
        _tidy(COST);
        vm.expectRevert(refused);
        _sealShard(COST, PRICE);
        _freezeShard(10);
        uint40 until = clock() + 10;
        skip(11);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.FreezeLapsed.selector, until));
        _tidy(COST);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.FreezeLapsed.selector, until));
        _sealShard(COST, PRICE);
    }

    function test_tidy_removes_what_expires_within_the_freeze() public {
        Grant memory g = _grantFor(_patient(0), 1);
        g.expiry = clock() + HORIZON;
        _grant(g);
        vm.warp(g.expiry - 10);
        _freezeShard(10);
        vm.expectEmit(address(consents));
        emit IConsentRegistry.Expired(g.patient, dataset);
        assertEq(_tidy(COST), 1, "left");
        _assertState(g.patient, ConsentState.None);
        assertEq(_word(1, 0).bitmap(), 14, "bits");
        assertEq(consents.shardOf(_class(1), 0).live, 3, "live");
        assertTrue(_word(1, 0).earliestExpiry() > g.expiry, "exact again");
    }

    function test_tidy_keeps_what_expires_just_after_the_freeze() public {
        Grant memory g = _grantFor(_patient(0), 1);
        g.expiry = clock() + HORIZON;
        _grant(g);
        vm.warp(g.expiry - 10);
        _freezeShard(9);
        assertEq(_tidy(COST), 0, "left");
        _assertState(g.patient, ConsentState.Live);
    }

    function test_tidy_rests_what_cannot_pay_and_nobody_but_its_patient_wakes_it() public {
        Grant memory g = _grantFor(_patient(0), 1);
        g.cap = 100;
        _grant(g);
        _freezeShard(900);
        vm.expectEmit(address(consents));
        emit IConsentRegistry.Rested(g.patient, dataset, false);
        assertEq(_tidy(101), 1, "left");
        _assertState(g.patient, ConsentState.Resting);
        assertEq(_waiting(1), 0, "does not wait");
        assertEq(_word(1, 0).earliestExhaustion(), CAP, "exact again");
        skip(1000);
        assertEq(_wakeWord(1, 0), 0, "nobody wakes it");
        _wake(g.patient);
        _assertState(g.patient, ConsentState.Live);
    }

    function test_tidy_keeps_what_can_just_pay() public {
        Grant memory g = _grantFor(_patient(0), 1);
        g.cap = 100;
        _grant(g);
        _freezeShard(900);
        assertEq(_tidy(100), 0, "left");
        _assertState(g.patient, ConsentState.Live);
    }

    function test_tidy_makes_an_emptied_word_zero() public {
        _freezeShard(900);
        assertEq(_tidy(CAP + 1), 4, "left");
        assertEq(ConsentWord.unwrap(_word(1, 0)), 0, "zero");
        assertEq(consents.shardOf(_class(1), 0).live, 0, "live");
        assertEq(_tidy(COST), 0, "an empty word");
    }

    // --- seal

    function test_a_seal_refuses_an_expired_word_until_it_is_tidied() public {
        Grant memory g = _grantFor(_patient(0), 1);
        g.expiry = clock() + HORIZON;
        _grant(g);
        vm.warp(g.expiry);
        _freezeShard(900);
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.WordStale.selector, 0, g.expiry, CAP));
        _sealShard(COST, PRICE);
        _tidy(COST);
        (, uint32 members) = _sealShard(COST, PRICE);
        assertEq(members, 3, "members");
    }

    function test_a_seal_refuses_a_poor_word_until_it_is_tidied() public {
        Grant memory g = _grantFor(_patient(0), 1);
        g.cap = 100;
        _grant(g);
        _freezeShard(900);
        uint40 expiry = _word(1, 0).earliestExpiry();
        vm.expectRevert(abi.encodeWithSelector(IConsentRegistry.WordStale.selector, 0, expiry, uint56(100)));
        _sealShard(101, PRICE);
        _tidy(101);
        (, uint32 members) = _sealShard(101, PRICE);
        assertEq(members, 3, "members");
    }

    function test_a_seal_charges_and_pays_every_member_and_nobody_else() public {
        _rest(_patient(3));
        _freezeShard(900);
        (, uint32 members) = _sealShard(COST, PRICE);
        assertEq(members, 3, "members");
        for (uint256 i = 0; i < 4; ++i) {
            assertEq(_consentOf(_patient(i)).spent, i < 3 ? COST : 0, "spent");
            assertEq(_consentOf(_patient(i)).owed, i < 3 ? PRICE : 0, "owed");
        }
        assertEq(consents.shardOf(_class(1), 0).frozenUntil, clock(), "frozen to the end of this second");
    }

    function test_seal_leaves_out_a_patient_who_revoked_in_the_same_block() public {
        _freezeShard(900);
        _revoke(_patient(0));
        (bytes32 root, uint32 members) = _sealShard(COST, PRICE);
        assertEq(members, 3, "members");
        assertEq(root, _naiveRoot(3, abi.encodePacked(uint160(14))), "root");
        assertEq(_consentOf(_patient(0)).spent + _consentOf(_patient(0)).owed, 0, "neither charged nor paid");
    }

    /// Any words, one after another up to beyond a chunk: root, members and event are what a loop makes of them.
    function testFuzz_a_root_is_made_of_every_word_in_chunks_of_256(uint256 seed, uint16 words) public {
        _assertSeals(seed, within(words, 1, 300));
    }

    function test_a_root_of_three_chunks_and_of_a_full_last_one() public {
        _assertSeals(1, 513);
    }

    function test_a_root_of_exactly_two_chunks() public {
        _assertSeals(2, 512);
    }

    /// 655,360 patients.
    function test_a_full_shard_seals() public {
        _setUsed(4096 * 160);
        for (uint256 i = 0; i < 4096; ++i) {
            _setWord(i, type(uint160).max);
        }
        _freezeShard(900);
        (, uint32 members) = _sealShard(COST, PRICE);
        assertEq(members, 655_360, "members");
    }

    function _assertSeals(uint256 seed, uint256 words) private {
        // The last word may be but partly used; whatever `used` says, it counts whole.
        _setUsed(uint32(words * 160 - seed % 160));
        bytes[] memory chunks = new bytes[]((words + 255) / 256);
        uint32 members;
        for (uint256 i = 0; i < words; ++i) {
            uint160 bits = uint160(uint256(keccak256(abi.encode(seed, i))));
            if (seed >> 8 & 3 == 0 && bits & 3 == 0) bits = 0; // some runs have empty words
            _setWord(i, bits);
            chunks[i / 256] = bytes.concat(chunks[i / 256], bytes20(bits));
            for (uint256 bit = 0; bit < 160; ++bit) {
                members += uint32((bits >> bit) & 1);
            }
        }
        _freezeShard(900);
        bytes32 root = _naiveRootOf(members, chunks);
        bytes memory bitmaps;
        for (uint256 i = 0; i < chunks.length; ++i) {
            bitmaps = bytes.concat(bitmaps, chunks[i]);
        }
        vm.expectEmit(address(consents));
        emit IConsentRegistry.ShardSealed(REQUEST, _class(1), 0, members, root, bitmaps);
        (bytes32 sealedRoot, uint32 counted) = _sealShard(COST, PRICE);
        assertEq(sealedRoot, root, "root");
        assertEq(counted, members, "members");
    }

    function _naiveRoot(uint32 members, bytes memory chunk) private view returns (bytes32) {
        bytes[] memory chunks = new bytes[](1);
        chunks[0] = chunk;
        return _naiveRootOf(members, chunks);
    }

    function _naiveRootOf(uint32 members, bytes[] memory chunks) private view returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](chunks.length);
        for (uint256 i = 0; i < chunks.length; ++i) {
            hashes[i] = keccak256(chunks[i]);
        }
        return keccak256(abi.encode("usufruct/shard/1", _class(1), uint16(0), members, hashes));
    }

    function _shardSlot() private view returns (uint256) {
        return uint256(keccak256(abi.encode(uint256(0), keccak256(abi.encode(_class(1), SHARDS_SLOT)))));
    }

    /// `used` is bits 144 to 175 of the shard's first slot.
    function _setUsed(uint32 used) private {
        uint256 old = uint256(vm.load(address(consents), bytes32(_shardSlot())));
        uint256 mask = uint256(type(uint32).max) << 144;
        vm.store(address(consents), bytes32(_shardSlot()), bytes32((old & ~mask) | (uint256(used) << 144)));
        assertEq(consents.shardOf(_class(1), 0).used, used, "used read back");
    }

    /// The words follow the meters and the request, from the third slot on.
    function _setWord(uint256 index, uint160 bits) private {
        uint256 word = bits == 0 ? 0 : ConsentWord.unwrap(packWord(bits, type(uint40).max, type(uint56).max));
        vm.store(address(consents), bytes32(_shardSlot() + 2 + index), bytes32(word));
        if (index == 0) assertEq(ConsentWord.unwrap(_word(1, 0)), word, "word read back");
    }

    // --- collect

    function test_what_is_collected_is_owed_no_more() public {
        _freezeShard(900);
        _sealShard(COST, PRICE);
        _revoke(_patient(0));
        vm.startPrank(address(market));
        assertEq(consents.collect(dataset, _patient(0)), PRICE, "owed");
        assertEq(consents.collect(dataset, _patient(0)), 0, "once");
        assertEq(consents.collect(dataset, _patient(1)), PRICE, "of a live one");
        assertEq(consents.collect(dataset, _patient(1)), 0, "of a live one, once");
        assertEq(consents.collect(dataset, _patient(9)), 0, "of nobody");
    }

    function test_earnings_of_several_lives_add_up() public {
        for (uint256 i = 0; i < 3; ++i) {
            _freezeShard(900);
            _sealShard(COST, PRICE);
            skip(THAW_GAP + 1);
            if (i == 0) _rest(_patient(0));
            if (i == 0) _wake(_patient(0));
            if (i == 1) _grant(_patient(0), 2);
        }
        assertEq(_consentOf(_patient(0)).owed, 2 * PRICE, "owed");
        assertEq(_consentOf(_patient(0)).spent, 2 * COST, "spent");
        vm.startPrank(address(market));
        assertEq(consents.collect(dataset, _patient(0)), 2 * PRICE, "collected");
        assertEq(_consentOf(_patient(0)).owed, 0, "nothing left");
    }
}
