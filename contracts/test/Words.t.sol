// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ConsentWord, WORD_SEATS, packWord} from "../src/types/ConsentWord.sol";
import {ClassId, DatasetId, classOf} from "../src/types/Ids.sol";
import {Test} from "./Vm.sol";

/// Words and ids against loops that nobody could get wrong.
contract WordsTest is Test {
    function testFuzz_a_word_gives_back_what_was_packed(uint160 bits, uint40 expiry, uint56 exhaustion) public pure {
        ConsentWord word = packWord(bits, expiry, exhaustion);
        assertEq(word.bitmap(), bits, "bitmap");
        assertEq(word.earliestExpiry(), expiry, "expiry");
        assertEq(word.earliestExhaustion(), exhaustion, "exhaustion");
        assertTrue(word.isEmpty() == (bits == 0), "empty");
        for (uint256 bit = 0; bit < WORD_SEATS; ++bit) {
            assertTrue(word.has(bit) == ((uint256(bits) / 2 ** bit) % 2 == 1), "bit");
        }
    }

    function testFuzz_the_count_is_that_of_a_loop_over_seats(uint256 raw) public pure {
        ConsentWord word = ConsentWord.wrap(raw);
        uint256 members;
        for (uint256 bit = 0; bit < WORD_SEATS; ++bit) {
            if (word.has(bit)) ++members;
        }
        assertEq(word.count(), members, "count");
    }

    function test_a_full_and_an_empty_word_count_160_and_0() public pure {
        assertEq(ConsentWord.wrap(type(uint256).max).count(), 160, "full");
        assertEq(ConsentWord.wrap(type(uint256).max << 160).count(), 0, "empty");
    }

    /// Members come and go in any order: the bitmap is the set of those who are there, the earliest values
    /// never lie above anyone's own.
    function testFuzz_the_earliest_values_err_only_low(uint256 seed) public pure {
        ConsentWord word;
        uint40[WORD_SEATS] memory expiry;
        uint56[WORD_SEATS] memory exhaustion;
        for (uint256 i = 0; i < 48; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 bit = seed % WORD_SEATS;
            if (expiry[bit] == 0) {
                expiry[bit] = uint40(seed >> 8) | 1;
                exhaustion[bit] = uint56(seed >> 48);
                word = word.withMember(bit, expiry[bit], exhaustion[bit]);
            } else {
                expiry[bit] = 0;
                word = word.withoutMember(bit);
            }
            _assertLow(word, expiry, exhaustion);
        }
    }

    function _assertLow(ConsentWord word, uint40[WORD_SEATS] memory expiry, uint56[WORD_SEATS] memory exhaustion)
        private
        pure
    {
        uint256 members;
        for (uint256 bit = 0; bit < WORD_SEATS; ++bit) {
            assertTrue(word.has(bit) == (expiry[bit] != 0), "member");
            if (expiry[bit] == 0) continue;
            ++members;
            assertTrue(word.earliestExpiry() <= expiry[bit], "expiry");
            assertTrue(word.earliestExhaustion() <= exhaustion[bit], "exhaustion");
        }
        assertTrue(members != 0 || ConsentWord.unwrap(word) == 0, "an empty word is zero");
    }

    function testFuzz_a_first_member_brings_its_own_values(uint8 bit, uint40 expiry, uint56 exhaustion) public pure {
        bit %= uint8(WORD_SEATS);
        ConsentWord word = ConsentWord.wrap(0).withMember(bit, expiry, exhaustion);
        assertEq(ConsentWord.unwrap(word), ConsentWord.unwrap(packWord(uint160(1 << bit), expiry, exhaustion)), "word");
    }

    function testFuzz_a_class_names_its_dataset_and_index(uint256 raw, uint16 index) public pure {
        DatasetId dataset = DatasetId.wrap(bytes32(raw >> 16 << 16));
        ClassId class = classOf(dataset, index);
        assertTrue(class.datasetOf() == dataset, "dataset");
        assertTrue(!(class.datasetOf() != dataset), "other");
        assertEq(class.indexOf(), index, "index");
    }
}
