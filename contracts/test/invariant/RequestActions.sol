// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ConsentState, ConsentView} from "../../src/interfaces/IConsentRegistry.sol";
import {QuorumSignature} from "../../src/interfaces/ICustodianCommittee.sol";
import {NoiseCommitment} from "../../src/interfaces/INoiseRegistry.sol";
import {
    CreditWithdrawal,
    RequestTerms,
    RequestView,
    Settlement,
    ShardRef,
    Stage
} from "../../src/interfaces/IResearchMarket.sol";
import {ClassTerms} from "../../src/types/DataUseTypes.sol";
import {RequestId} from "../../src/types/Ids.sol";
import {Signing} from "../base/Signing.sol";
import {Ghost} from "./Ghost.sol";

/// What researchers, the operator and passers-by do with requests. An action that must wait for a deadline
/// waits for it, and one that finds no request at its stage first takes the step that leads there.
abstract contract RequestActions is Ghost {
    uint8 private constant VAULT = 1;
    uint8 private constant CIPHERTEXT = 2;

    function warp(uint256 seed) external step {
        seed = _mix(seed);
        skip(seed & 7 == 0 ? within(seed >> 8, 1, 2 days) : within(seed >> 8, 1, 600));
        vm.roll(vm.getBlockNumber() + 1 + (seed >> 100) % 3);
    }

    function open(uint256 seed) external step {
        _openNext(_mix(seed), 0);
    }

    /// `lane` 0 is either.
    function _openNext(uint256 seed, uint8 lane) private {
        RequestTerms memory terms = _termsOver(uint16(1 + seed % CLASSES));
        terms.lane = lane == 0 ? uint8(1 + (seed >> 64) % 2) : lane;
        if (seed >> 4 & 1 == 0) terms.classes = _termsOverBoth().classes;
        terms.cost = uint56(within(seed >> 8, 1, 60));
        terms.price = uint56(within(seed >> 16, 25, 60)); // at times under the floor
        terms.fee = uint64(within(seed >> 24, 0, 100));
        terms.maxPatients = uint32(within(seed >> 32, 4, 12));
        terms.sealDeadline = clock() + uint40(within(seed >> 40, 700, 3 days));
        terms.settleDeadline = terms.sealDeadline + 3600 + uint40(within(seed >> 56, 0, 1 days));
        terms.salt = bytes32(requests.length);
        address researcher = _researcher(seed >> 3 & 1);
        RequestId request = _openAs(researcher, terms);
        requests.push(request);
        termsOf[request] = terms;
        rows[request].stage = Stage.Opened;
        rows[request].lane = terms.lane;
        rows[request].researcher = researcher;
        rows[request].due = terms.sealDeadline;
        rows[request].escrow = uint256(terms.maxPatients) * terms.price + terms.fee;
    }

    function _openAs(address researcher, RequestTerms memory terms) private returns (RequestId) {
        _fund(researcher, uint256(terms.maxPatients) * terms.price + terms.fee);
        ClassTerms[] memory offers = _offers(terms);
        vm.prank(researcher);
        return market.open(terms, offers);
    }

    function cancel(uint256 seed) external step {
        seed = _mix(seed);
        _spare(seed, 2);
        RequestId request = _needOpened(seed, 0);
        vm.prank(rows[request].researcher);
        market.cancel(request);
        _endEscrow(request, Stage.Cancelled, rows[request].researcher);
    }

    function freeze(uint256 seed) external step {
        _freezeNext(_mix(seed), 0);
    }

    function _freezeNext(uint256 seed, uint8 lane) private {
        RequestId request = _needOpened(seed, lane);
        RequestTerms memory terms = termsOf[request];
        _waitUntil(market.requestOf(request).openedAt + _policy().noticeWindow);
        if (seed >> 8 & 1 == 0) _waitForThaw(terms);
        ClassTerms[] memory offers = _offers(terms);
        vm.prank(OPERATOR);
        market.freeze(rows[request].researcher, terms, offers);
        Row storage row = rows[request];
        row.stage = Stage.Frozen;
        row.due = market.requestOf(request).frozenUntil;
        row.bond = _liveIn(terms) * terms.price;
        if (row.bond < _policy().minimumBond) row.bond = _policy().minimumBond;
        freeBond -= row.bond;
    }

    function _waitForThaw(RequestTerms memory terms) private {
        for (uint256 i = 0; i < terms.classes.length; ++i) {
            uint40 until = consents.shardOf(_class(terms.classes[i]), 0).frozenUntil;
            if (until != 0) _waitUntil(until + THAW_GAP + 1);
        }
    }

    function _liveIn(RequestTerms memory terms) private view returns (uint256 live) {
        for (uint256 i = 0; i < terms.classes.length; ++i) {
            live += consents.shardOf(_class(terms.classes[i]), 0).live;
        }
    }

    function tidy(uint256 seed) external step {
        seed = _mix(seed);
        RequestId request = _needFrozen(seed, 0);
        market.tidy(request, uint16((seed >> 8) % market.requestOf(request).shards), _one(0));
    }

    function seal(uint256 seed) external step {
        seed = _mix(seed);
        RequestId request = _needFrozen(seed, 0);
        RequestView memory before = market.requestOf(request);
        bytes32[] memory roots = _foreseen(request, before);
        vm.prank(OPERATOR);
        market.seal(request);
        _bookSeal(request, before, before.sealedShards, before.sealedShards + 1, roots);
    }

    function sealAll(uint256 seed) external step {
        _sealAllNext(_mix(seed), 0);
    }

    function _sealAllNext(uint256 seed, uint8 lane) private {
        RequestId request = _needFrozen(seed, lane);
        RequestView memory before = market.requestOf(request);
        bytes32[] memory roots = _foreseen(request, before);
        vm.prank(OPERATOR);
        market.sealAll(request);
        _bookSeal(request, before, before.sealedShards, before.shards, roots);
    }

    /// What the roots of a request's shards must be, from each person's own consent and not from the words.
    function _foreseen(RequestId request, RequestView memory r) private view returns (bytes32[] memory roots) {
        ShardRef[] memory shards = market.shardsOf(request);
        roots = new bytes32[](r.shards);
        for (uint256 i = 0; i < r.shards; ++i) {
            roots[i] = _rootOf(shards[i].class);
        }
    }

    function _rootOf(uint16 class) private view returns (bytes32) {
        uint160 bits;
        uint32 members;
        for (uint256 i = 0; i < PERSONS; ++i) {
            ConsentView memory c = _consentOf(persons[i].account);
            if (c.state != ConsentState.Live || persons[i].class != class) continue;
            bits |= uint160(1 << uint256(c.place));
            ++members;
        }
        bytes32[] memory chunks = new bytes32[](1);
        chunks[0] = keccak256(abi.encodePacked(bits));
        return keccak256(abi.encode("usufruct/shard/1", _class(class), uint16(0), members, chunks));
    }

    function _bookSeal(RequestId request, RequestView memory r, uint256 from, uint256 to, bytes32[] memory roots)
        private
    {
        Row storage row = rows[request];
        if (from == 0) {
            row.root =
                keccak256(abi.encode("usufruct/cohort/1", block.chainid, address(market), request, uint16(r.shards)));
        }
        ShardRef[] memory shards = market.shardsOf(request);
        for (uint256 i = from; i < to; ++i) {
            row.root = keccak256(abi.encode(row.root, roots[i]));
            _payMembers(row, shards[i].class, r);
        }
        if (to != r.shards) return;
        row.stage = Stage.Sealed;
        if (r.lane == CIPHERTEXT) row.gate = Gate.Silent;
        row.due = r.settleDeadline;
        credits[row.researcher] += row.escrow - r.fee;
        row.escrow = r.fee;
    }

    /// Who was in the words just sealed is charged and paid, and must have had every right to be there.
    function _payMembers(Row storage row, uint16 class, RequestView memory r) private {
        for (uint256 i = 0; i < PERSONS; ++i) {
            Person storage p = persons[i];
            if (_consentOf(p.account).state != ConsentState.Live || p.class != class) continue;
            if (!p.agreed) _break("somebody who had not agreed was sealed");
            if (p.expiry <= clock()) _break("an expired consent was sealed");
            if (p.spent + r.cost > p.cap) _break("a seal spent beyond the signed cap");
            p.spent += r.cost;
            p.owed += r.price;
            row.escrow -= r.price;
            ++row.members;
        }
    }

    /// Everybody but one rests, and then nobody need pay for it.
    function dissolve(uint256 seed) external step {
        seed = _mix(seed);
        _spare(seed, 2);
        RequestId request = _needFrozen(seed, 0);
        uint256 left = _liveIn(termsOf[request]);
        for (uint256 i = 0; i < PERSONS && left >= _policy().minimumCohort; ++i) {
            if (_consentOf(persons[i].account).state != ConsentState.Live || !_asks(request, persons[i].class)) {
                continue;
            }
            _rest(persons[i].account);
            persons[i].agreed = false;
            --left;
        }
        market.dissolve(request);
        _endBond(request, 0);
        _endEscrow(request, Stage.Reclaimed, rows[request].researcher);
    }

    function _asks(RequestId request, uint16 class) private view returns (bool) {
        uint16[] storage classes = termsOf[request].classes;
        return classes[0] == class || classes[classes.length - 1] == class;
    }

    function drawGate(uint256 seed) external step {
        _drawGateNext(_mix(seed));
    }

    function _drawGateNext(uint256 seed) private {
        RequestId request = _needSealed(seed, VAULT);
        vm.roll(vm.getBlockNumber() + 2);
        market.drawGate(request);
        if (market.requestOf(request).gate != address(0)) rows[request].gate = Gate.Drawn;
    }

    function redrawGate(uint256 seed) external step {
        seed = _mix(seed);
        RequestId request = _needDrawn(seed);
        _waitUntil(market.requestOf(request).gateDrawnAt + _policy().gateWindow + 1);
        market.redrawGate(request);
    }

    function recordGateKey(uint256 seed) external step {
        _recordGateKeyNext(_mix(seed));
    }

    function _recordGateKeyNext(uint256 seed) private {
        RequestId request = _needDrawn(seed);
        _recordKey(request);
        rows[request].gate = Gate.Keyed;
    }

    function commitNoise(uint256 seed) external step {
        _commitNoiseNext(_mix(seed));
    }

    function _commitNoiseNext(uint256 seed) private {
        RequestId request = _needSealed(seed, CIPHERTEXT);
        NoiseCommitment[] memory given = _commitments(request, _someOf(ALL, seed >> 8));
        _turnOf(request, seed);
        noises.commitNoise(request, given);
        rows[request].gate = Gate.Committed;
    }

    function fixNoise(uint256 seed) external step {
        _fixNoiseNext(_mix(seed));
    }

    function _fixNoiseNext(uint256 seed) private {
        RequestId request = _needCommitted(seed);
        (uint16 committed,) = noises.commitmentsOf(request);
        uint16 places = _someOf(committed, seed >> 8);
        QuorumSignature[] memory signatures = _noiseSignatures(request, places);
        _turnOf(request, seed);
        noises.fixNoise(request, places, signatures);
        rows[request].gate = Gate.Noised;
        rows[request].noise = _noiseOver(request, places);
    }

    /// All of them or, where a quorum is left, all but one.
    function _someOf(uint16 places, uint256 seed) private pure returns (uint16) {
        uint16 fewer = places & ~uint16(1 << (seed % 3));
        return places == ALL && seed >> 8 & 1 == 0 ? fewer : places;
    }

    /// The next call is the operator's or, after the window, a passer-by's.
    function _turnOf(RequestId request, uint256 seed) private {
        uint256 until = market.requestOf(request).gateDrawnAt + _policy().gateWindow;
        vm.prank(clock() > until && seed >> 32 & 1 == 0 ? address(0xbee) : OPERATOR);
    }

    function settle(uint256 seed) external step {
        seed = _mix(seed);
        RequestId request = seed >> 8 & 1 == 0 ? _needKeyed(seed) : _needNoised(seed);
        Settlement memory s = _settlement(request);
        QuorumSignature[] memory signatures = _quorum(_marketDigest(Signing.hash(s)), 0);
        vm.prank(OPERATOR);
        market.settle(s, RESULT, signatures);
        _endBond(request, 0);
        _endEscrow(request, Stage.Settled, OPERATOR);
    }

    function defaultCertified(uint256 seed) external step {
        seed = _mix(seed);
        _spare(seed, 4);
        RequestId request = _anySealed(seed);
        RequestView memory r = market.requestOf(request);
        _waitUntil(r.settleDeadline + 1);
        market.defaultCertified(request, _certificate(request));
        _endBond(request, rows[request].members * r.price);
        _endEscrow(request, Stage.Defaulted, r.researcher);
    }

    function defaultUncertified(uint256 seed) external step {
        seed = _mix(seed);
        _spare(seed, 4);
        RequestId request = _anySealed(seed);
        RequestView memory r = market.requestOf(request);
        _waitUntil(r.settleDeadline + _policy().certificateWindow + 1);
        market.defaultUncertified(request);
        _endBond(request, 0);
        _endEscrow(request, Stage.Defaulted, r.researcher);
    }

    function reclaim(uint256 seed) external step {
        seed = _mix(seed);
        _spare(seed, 2);
        RequestId request = _choose(seed, seed >> 8 & 1 == 0 ? Stage.Opened : Stage.Frozen);
        RequestView memory r = market.requestOf(request);
        bool frozen = r.stage == Stage.Frozen;
        _waitUntil((frozen ? r.frozenUntil : r.sealDeadline) + 1);
        market.reclaim(request);
        if (frozen) {
            uint256 penalty = rows[request].bond * _policy().unusedFreezeBps / 10_000;
            uint256 paid = rows[request].members * r.price;
            _endBond(request, paid > penalty ? paid : penalty);
        }
        _endEscrow(request, Stage.Reclaimed, r.researcher);
    }

    function _needOpened(uint256 seed, uint8 lane) private returns (RequestId request) {
        bool found;
        (request, found) = _find(seed, Stage.Opened, Gate.None, lane);
        if (found) return request;
        _openNext(seed, lane);
        (request, found) = _find(seed, Stage.Opened, Gate.None, lane);
        if (!found) revert Nothing();
    }

    function _needFrozen(uint256 seed, uint8 lane) private returns (RequestId request) {
        bool found;
        (request, found) = _find(seed, Stage.Frozen, Gate.None, lane);
        if (found) return request;
        _freezeNext(seed, lane);
        (request, found) = _find(seed, Stage.Frozen, Gate.None, lane);
        if (!found) revert Nothing();
    }

    /// Sealed in the vault lane, and no gate drawn yet; or on ciphertext, and no noise committed yet.
    function _needSealed(uint256 seed, uint8 lane) private returns (RequestId request) {
        Gate gate = lane == VAULT ? Gate.None : Gate.Silent;
        bool found;
        (request, found) = _find(seed, Stage.Sealed, gate, lane);
        if (found) return request;
        _sealAllNext(seed, lane);
        (request, found) = _find(seed, Stage.Sealed, gate, lane);
        if (!found) revert Nothing();
    }

    function _needDrawn(uint256 seed) private returns (RequestId request) {
        bool found;
        (request, found) = _find(seed, Stage.Sealed, Gate.Drawn, VAULT);
        if (found) return request;
        _drawGateNext(seed);
        (request, found) = _find(seed, Stage.Sealed, Gate.Drawn, VAULT);
        if (!found) revert Nothing();
    }

    function _needKeyed(uint256 seed) private returns (RequestId request) {
        bool found;
        (request, found) = _find(seed, Stage.Sealed, Gate.Keyed, VAULT);
        if (found) return request;
        _recordGateKeyNext(seed);
        (request, found) = _find(seed, Stage.Sealed, Gate.Keyed, VAULT);
        if (!found) revert Nothing();
    }

    function _needCommitted(uint256 seed) private returns (RequestId request) {
        bool found;
        (request, found) = _find(seed, Stage.Sealed, Gate.Committed, CIPHERTEXT);
        if (found) return request;
        _commitNoiseNext(seed);
        (request, found) = _find(seed, Stage.Sealed, Gate.Committed, CIPHERTEXT);
        if (!found) revert Nothing();
    }

    function _needNoised(uint256 seed) private returns (RequestId request) {
        bool found;
        (request, found) = _find(seed, Stage.Sealed, Gate.Noised, CIPHERTEXT);
        if (found) return request;
        _fixNoiseNext(seed);
        (request, found) = _find(seed, Stage.Sealed, Gate.Noised, CIPHERTEXT);
        if (!found) revert Nothing();
    }

    /// At any point of its way to a settlement, also after its deadline.
    function _anySealed(uint256 seed) private returns (RequestId) {
        Gate gate = Gate((seed >> 8) % 6);
        (RequestId request, bool found) = _find(seed, Stage.Sealed, gate, 0);
        if (found) return request;
        if (seed >> 16 & 1 == 0) _needSealed(seed, uint8(1 + (seed >> 17) % 2));
        return _choose(seed, Stage.Sealed);
    }

    // --- money

    function postBond(uint256 seed) external step {
        uint256 amount = within(seed, 1, 1000);
        _postBond(amount);
        freeBond += amount;
    }

    function releaseBond(uint256 seed) external step {
        uint256 amount = within(seed, 1, 1000);
        vm.prank(OPERATOR);
        market.releaseBond(OPERATOR, amount);
        freeBond -= amount;
    }

    function withdrawCredit(uint256 seed) external step {
        seed = _mix(seed);
        uint256 who = seed % 3;
        if (credits[_account(who)] == 0) who = (who + 1) % 3;
        if (credits[_account(who)] == 0) who = (who + 1) % 3;
        address account = _account(who);
        address to = address(uint160(0x80000 + seed % 5));
        uint256 before = token.balanceOf(to);
        if (who == 2 || seed >> 8 & 1 == 0) {
            vm.prank(account);
            market.withdrawCredit(to);
        } else {
            CreditWithdrawal memory w = CreditWithdrawal(account, to, nonces++, clock());
            market.withdrawCreditBySig(w, signature(RESEARCHER + who, _marketDigest(Signing.hash(w))));
        }
        if (token.balanceOf(to) - before != credits[account]) _break("a credit was not paid in full");
        credits[account] = 0;
    }

    function _account(uint256 who) private pure returns (address) {
        return who == 2 ? OPERATOR : _researcher(who);
    }

    function _endEscrow(RequestId request, Stage stage, address to) private {
        Row storage row = rows[request];
        row.stage = stage;
        credits[to] += row.escrow;
        row.escrow = 0;
    }

    function _endBond(RequestId request, uint256 forfeit) private {
        Row storage row = rows[request];
        if (forfeit > row.bond) forfeit = row.bond;
        credits[row.researcher] += forfeit;
        freeBond += row.bond - forfeit;
        row.bond = 0;
    }

    function _waitUntil(uint256 time) private {
        if (clock() < time) vm.warp(time);
    }
}
