// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ConsentState, ConsentView, ShardView} from "../../src/interfaces/IConsentRegistry.sol";
import {MarketPolicy, RequestTerms, RequestView, Stage} from "../../src/interfaces/IResearchMarket.sol";
import {RequestId} from "../../src/types/Ids.sol";
import {Story} from "../base/Story.sol";

/// What ought to be true, kept by a second, much duller book-keeper: one row a person, one row a request.
/// The handlers write it when an action has succeeded; the laws hold the contracts against it.
abstract contract Ghost is Story {
    uint256 internal constant PERSONS = 10;
    uint16 internal constant CLASSES = 2;

    struct Person {
        address account;
        uint256 key;
        uint256 moves;
        bool agreed; // the last word of the patient, or of the steward about the record, was yes
        uint16 class;
        uint40 expiry; // of the last grant
        uint56 cap; // of the last grant: what the patient signed
        uint256 spent; // lifetime, nano-rho
        uint256 owed; // token units
        uint32 sequence;
    }

    struct Row {
        Stage stage;
        address researcher;
        uint256 escrow;
        uint256 bond;
        uint256 members;
        bytes32 root;
        bytes32 noise; // once fixed
        uint8 lane;
        Gate gate;
        uint40 due; // until when the request can take its next step: seal deadline, end of freeze, settle deadline
    }

    /// How far a sealed request is on its way to a settlement.
    enum Gate {
        None,
        Drawn,
        Keyed,
        Silent, // on ciphertext: sealed, no noise yet
        Committed,
        Noised
    }

    /// Nothing in this world is fit for the action: it counts as refused.
    error Nothing();

    Person[PERSONS] internal persons;
    RequestId[] internal requests;
    mapping(RequestId => Row) internal rows;
    mapping(RequestId => RequestTerms) internal termsOf;
    mapping(address account => uint256) internal credits;
    uint256 internal freeBond;
    uint256 internal nonces;

    /// The first law that an action saw broken, in words; "" while all hold.
    string public broken;

    function _policy() internal pure override returns (MarketPolicy memory) {
        return MarketPolicy(2, 600, 6 hours, 3600, 300, 1 days, 1000, 50);
    }

    function setUp() public override {
        super.setUp();
        for (uint256 i = 0; i < PERSONS; ++i) {
            persons[i].key = PATIENT + i;
            persons[i].account = _patient(i);
            _store(_patient(i), _name(i));
        }
        _recordJointKey(1);
        _postBond(100_000);
        freeBond = 100_000;
    }

    function _name(uint256 person) internal pure returns (bytes32) {
        return keccak256(abi.encode("person", person));
    }

    // --- while frozen, words only lose members: watched around every action

    modifier step() {
        (uint256[CLASSES] memory bits, bool[CLASSES] memory frozen) = _bitmaps();
        _;
        (uint256[CLASSES] memory bitsNow, bool[CLASSES] memory frozenNow) = _bitmaps();
        for (uint256 i = 0; i < CLASSES; ++i) {
            if (frozen[i] && frozenNow[i] && bitsNow[i] & ~bits[i] != 0) _break("a frozen word gained a member");
        }
    }

    function _bitmaps() private view returns (uint256[CLASSES] memory bits, bool[CLASSES] memory frozen) {
        for (uint16 i = 0; i < CLASSES; ++i) {
            bits[i] = _word(i + 1, 0).bitmap();
            frozen[i] = clock() <= consents.shardOf(_class(i + 1), 0).frozenUntil;
        }
    }

    function _break(string memory law) internal {
        if (bytes(broken).length == 0) broken = law;
    }

    // --- choosing

    /// Spreads what the fuzzer sends, which is often small, over all bits.
    function _mix(uint256 seed) internal view returns (uint256) {
        return uint256(keccak256(abi.encode(seed, vm.getBlockTimestamp(), nonces, requests.length)));
    }

    /// The first request from `seed` on that is at this stage.
    function _choose(uint256 seed, Stage stage) internal view returns (RequestId) {
        for (uint256 i = 0; i < requests.length; ++i) {
            RequestId request = requests[(seed % requests.length + i) % requests.length];
            if (rows[request].stage == stage) return request;
        }
        revert Nothing();
    }

    /// The first from `seed` on that is at this stage, and can still go on from it; else `found` is false.
    /// `lane` 0 is any.
    function _find(uint256 seed, Stage stage, Gate gate, uint8 lane)
        internal
        view
        returns (RequestId request, bool found)
    {
        for (uint256 i = 0; i < requests.length; ++i) {
            request = requests[(seed % requests.length + i) % requests.length];
            Row storage row = rows[request];
            if (lane != 0 && row.lane != lane) continue;
            if (row.stage == stage && row.gate == gate && clock() <= row.due) return (request, true);
        }
    }

    /// The first person from `seed` on whose consent is in one of two states.
    function _choose(uint256 seed, ConsentState state, ConsentState other) internal view returns (uint256 person) {
        for (uint256 i = 0; i < PERSONS; ++i) {
            person = (seed % PERSONS + i) % PERSONS;
            ConsentState now_ = _consentOf(persons[person].account).state;
            if (now_ == state || now_ == other) return person;
        }
        revert Nothing();
    }

    /// One in so many of the calls that would end a request or a consent for good does so.
    function _spare(uint256 seed, uint256 oneIn) internal pure {
        if ((seed >> 200) % oneIn != 0) revert Nothing();
    }

    // --- the laws, each per object; LawsTest asks them after every action

    function checkPersons() external view {
        uint256 live;
        uint256 owed;
        for (uint256 i = 0; i < PERSONS; ++i) {
            Person storage p = persons[i];
            ConsentView memory c = _consentOf(p.account);
            assertEq(c.owed, p.owed, "a patient is owed what was sealed and not withdrawn");
            assertEq(c.spent, p.spent, "lifetime spend is what was sealed");
            assertTrue(p.cap == 0 || p.spent <= p.cap, "nobody spends beyond the signed cap");
            assertEq(c.sequence, p.sequence, "sequence");
            owed += c.owed;
            if (c.state != ConsentState.Live) continue;
            ++live;
            assertTrue(p.agreed, "who is live has agreed");
            assertEq(c.cap, p.cap, "cap");
            assertEq(c.expiry, p.expiry, "expiry");
            assertTrue(_word(p.class, 0).has(c.place), "who is live has a bit");
            assertEq(_patientAt(p.class, c.place), p.account, "a place knows its patient");
        }
        assertEq(_live(), live, "no bit without a live consent");
        (,,,, uint256 earnings) = market.liabilities();
        assertEq(earnings, owed, "earnings are what patients are owed");
    }

    function _patientAt(uint16 class, uint24 place) private view returns (address) {
        uint24[] memory places = new uint24[](1);
        places[0] = place;
        return consents.patientsAt(_class(class), 0, places)[0];
    }

    function _live() private view returns (uint256 live) {
        for (uint16 class = 1; class <= CLASSES; ++class) {
            ShardView memory shard = consents.shardOf(_class(class), 0);
            assertEq(shard.live, _word(class, 0).count(), "live is the number of bits");
            assertTrue(shard.used <= 160, "one word");
            assertTrue(consents.shardsOf(_class(class)) <= 1, "one shard");
            live += shard.live;
        }
    }

    function checkRequests() external view {
        uint256 escrows;
        uint256 bonds;
        for (uint256 i = 0; i < requests.length; ++i) {
            Row storage row = rows[requests[i]];
            RequestView memory r = market.requestOf(requests[i]);
            assertEq(uint256(r.stage), uint256(row.stage), "a request moves only as it was moved, and ends once");
            assertEq(r.escrow, row.escrow, "escrow");
            assertEq(r.bond, row.bond, "bond");
            assertEq(r.root, row.root, "a root is made of the shards' roots");
            (, bytes32 noise) = noises.noiseOf(requests[i]);
            assertEq(noise, row.noise, "noise is fixed once");
            assertTrue(r.lane == 1 || r.gate == address(0), "no gate on ciphertext");
            escrows += r.escrow;
            bonds += r.bond;
        }
        (uint256 trackedEscrows, uint256 trackedBonds,,,) = market.liabilities();
        assertEq(trackedEscrows, escrows, "escrows are the sum of each");
        assertEq(trackedBonds, bonds, "locked bonds are the sum of each");
    }

    function checkMoney() external view {
        (uint256 escrows, uint256 locked, uint256 free, uint256 owedCredits, uint256 earnings) = market.liabilities();
        uint256 sum;
        address[3] memory accounts = [OPERATOR, _researcher(0), _researcher(1)];
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(market.creditOf(accounts[i]), credits[accounts[i]], "credit");
            sum += credits[accounts[i]];
        }
        assertEq(owedCredits, sum, "credits are the sum of each");
        assertEq(market.bondOf(OPERATOR), freeBond, "free bond of the operator");
        assertEq(free, freeBond, "free bonds are the sum of each");
        uint256 owedByAll = escrows + locked + free + owedCredits + earnings;
        // Nobody gives the market a token unit without a claim to it here, so this is an equality.
        assertEq(token.balanceOf(address(market)), owedByAll, "the balance covers every claim");
    }
}
