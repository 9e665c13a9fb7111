// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ConsentState, Erasure, Grant, Pause, Revocation, Rotation} from "../../src/interfaces/IConsentRegistry.sol";
import {Record} from "../../src/interfaces/IDatasetRegistry.sol";
import {EarningsWithdrawal} from "../../src/interfaces/IResearchMarket.sol";
import {Signing} from "../base/Signing.sol";
import {Ghost} from "./Ghost.sol";

/// What patients do, half of it by signature.
abstract contract PatientActions is Ghost {
    /// Up to three who have no consent grant one.
    function grant(uint256 seed) external step {
        seed = _mix(seed);
        uint256 granted;
        for (uint256 i = 0; i < PERSONS && granted < 3; ++i) {
            uint256 person = (seed % PERSONS + i) % PERSONS;
            if (_consentOf(persons[person].account).state != ConsentState.None) continue;
            if (!datasets.isUsable(dataset, persons[person].account)) continue;
            _grantAnew(person, uint256(keccak256(abi.encode(seed, i))));
            ++granted;
        }
        if (granted == 0) revert Nothing();
    }

    function regrant(uint256 seed) external step {
        seed = _mix(seed);
        ConsentState state = seed >> 100 & 1 == 0 ? ConsentState.Live : ConsentState.RestedByPatient;
        _grantAnew(_choose(seed, state, ConsentState.Resting), seed);
    }

    function _grantAnew(uint256 person, uint256 seed) private {
        Person storage p = persons[person];
        Grant memory g = _grantFor(p.account, uint16(1 + (seed >> 8) % CLASSES));
        // From too little for the highest cost of the one class to enough for many requests.
        g.cap = uint56(p.spent + within(seed >> 16, 60, 1500));
        g.expiry = clock() + HORIZON + uint40(within(seed >> 64, 0, 40 days));
        if (seed & 1 == 0) _grant(g);
        else consents.grantBySig(g, p.account, signature(p.key, _consentDigest(Signing.hash(g))));
        p.agreed = true;
        p.class = g.class.indexOf();
        p.cap = g.cap;
        p.expiry = g.expiry;
        p.sequence = g.sequence;
    }

    /// Whoever, whenever, whatever is paused or frozen: it must not revert.
    function revoke(uint256 seed) external step {
        seed = _mix(seed);
        Person storage p = persons[seed % PERSONS];
        if (seed >> 8 & 1 == 0) _setPaused(true);
        bool done = seed >> 9 & 1 == 0 ? _revokeDirectly(p) : _revokeBySignature(p, uint32(seed >> 16 & 0xff));
        if (seed >> 8 & 1 == 0) _setPaused(false);
        if (!done) _break("a revocation was refused");
    }

    function _setPaused(bool paused) private {
        if (paused) {
            consents.pause();
            market.pause();
            datasets.pause();
        } else {
            consents.unpause();
            market.unpause();
            datasets.unpause();
        }
    }

    function _revokeDirectly(Person storage p) private returns (bool) {
        vm.prank(p.account);
        try consents.revoke(p.account, dataset) {
            p.agreed = false;
            ++p.sequence;
            return true;
        } catch {
            return false;
        }
    }

    function _revokeBySignature(Person storage p, uint32 ahead) private returns (bool) {
        Revocation memory r = Revocation(p.account, dataset, p.sequence + ahead);
        try consents.revokeBySig(r, p.account, signature(p.key, _consentDigest(Signing.hash(r)))) {
            p.agreed = false;
            p.sequence = r.sequence + 1;
            return true;
        } catch {
            return false;
        }
    }

    function rest(uint256 seed) external step {
        seed = _mix(seed);
        Person storage p = persons[_choose(seed, ConsentState.Live, ConsentState.Resting)];
        if (seed >> 8 & 1 == 0) {
            _rest(p.account);
        } else {
            Pause memory pause = Pause(p.account, dataset, p.sequence, nonces++, clock());
            consents.restBySig(pause, p.account, signature(p.key, _consentDigest(Signing.restHash(pause))));
        }
        p.agreed = false;
    }

    function wake(uint256 seed) external step {
        seed = _mix(seed);
        Person storage p = persons[_choose(seed, ConsentState.RestedByPatient, ConsentState.Resting)];
        if (seed >> 8 & 1 == 0) {
            _wake(p.account);
        } else {
            Pause memory pause = Pause(p.account, dataset, p.sequence, nonces++, clock());
            consents.wakeBySig(pause, p.account, signature(p.key, _consentDigest(Signing.wakeHash(pause))));
        }
        p.agreed = true;
    }

    /// Counts as done only if somebody woke.
    function wakeWords(uint256 seed) external step {
        seed = _mix(seed);
        uint16 class = uint16(1 + seed % CLASSES);
        if (_waiting(class) == 0) class = 3 - class;
        uint40 until = consents.shardOf(_class(class), 0).frozenUntil;
        if (_waiting(class) != 0 && clock() <= until) vm.warp(until + 1);
        if (_wakeWord(class, 0) == 0) revert Nothing();
    }

    function withdrawEarnings(uint256 seed) external step {
        seed = _mix(seed);
        Person storage p = persons[seed % PERSONS];
        for (uint256 i = 1; p.owed == 0 && i < PERSONS; ++i) {
            p = persons[(seed % PERSONS + i) % PERSONS];
        }
        address to = address(uint160(0x70000 + seed % 7));
        uint256 before = token.balanceOf(to);
        if (seed >> 8 & 1 == 0) {
            vm.prank(p.account);
            market.withdrawEarnings(dataset, to);
        } else {
            EarningsWithdrawal memory w = EarningsWithdrawal(p.account, dataset, to, nonces++, clock());
            market.withdrawEarningsBySig(w, signature(p.key, _marketDigest(Signing.hash(w))));
        }
        if (token.balanceOf(to) - before != p.owed) _break("a patient was not paid what was owed");
        p.owed = 0;
    }

    function rotate(uint256 seed) external step {
        seed = _mix(seed);
        uint256 person = seed % PERSONS;
        Person storage p = persons[person];
        uint256 key = uint256(keccak256(abi.encode("moved", person, ++p.moves)));
        Rotation memory r = Rotation(dataset, p.account, vm.addr(key), clock());
        bytes32 digest = _consentDigest(Signing.hash(r));
        consents.rotate(r, signature(p.key, digest), signature(key, digest));
        p.account = r.to;
        p.key = key;
    }

    function erase(uint256 seed) external step {
        seed = _mix(seed);
        _spare(seed, 4);
        Person storage p = persons[seed % PERSONS];
        if (seed >> 8 & 1 == 0) {
            vm.prank(p.account);
            consents.erase(dataset);
        } else {
            Record memory record = datasets.recordOf(dataset, p.account);
            uint32 version = record.pendingVersion > record.version ? record.pendingVersion : record.version;
            Erasure memory e = Erasure(p.account, dataset, version);
            consents.eraseBySig(e, signature(p.key, _consentDigest(Signing.hash(e))));
        }
        p.agreed = false;
        ++p.sequence;
    }

    /// A new version of a record that was erased or suspended, or of any.
    function attest(uint256 seed) external step {
        seed = _mix(seed);
        uint256 person = seed % PERSONS;
        for (uint256 i = 0; i < PERSONS && datasets.isUsable(dataset, persons[person].account); ++i) {
            person = (person + 1) % PERSONS;
        }
        _store(persons[person].account, _name(person));
    }

    /// The steward suspends a record that is in use, and anyone takes the consent out.
    function expel(uint256 seed) external step {
        seed = _mix(seed);
        _spare(seed, 4);
        uint256 person = _choose(seed, ConsentState.Live, ConsentState.RestedByPatient);
        Person storage p = persons[person];
        if (datasets.isUsable(dataset, p.account)) _suspend(p.account);
        consents.expel(dataset, p.account);
        p.agreed = false;
    }
}
