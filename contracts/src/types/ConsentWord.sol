// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// 160 patients' consents in one storage word, so that a cohort check reads one slot for 160 people.
///
///     bits   0..159  this seat's consent is live
///     bits 160..199  earliest expiry of a live consent here (unix seconds)
///     bits 200..255  earliest exhaustion of one (nano-rho on the shard's `spent` meter)
///
/// The two earliest values may err only low: stale means refuse, never overspend.
type ConsentWord is uint256;

using {
    bitmap,
    isEmpty,
    has,
    earliestExpiry,
    earliestExhaustion,
    withMember,
    withoutMember,
    count
} for ConsentWord global;

uint256 constant WORD_SEATS = 160;
uint256 constant BITMAP_MASK = type(uint160).max;

function bitmap(ConsentWord word) pure returns (uint160) {
    return uint160(ConsentWord.unwrap(word));
}

function isEmpty(ConsentWord word) pure returns (bool) {
    return bitmap(word) == 0;
}

function has(ConsentWord word, uint256 bit) pure returns (bool) {
    return (ConsentWord.unwrap(word) >> bit) & 1 == 1;
}

function earliestExpiry(ConsentWord word) pure returns (uint40) {
    return uint40(ConsentWord.unwrap(word) >> 160);
}

function earliestExhaustion(ConsentWord word) pure returns (uint56) {
    return uint56(ConsentWord.unwrap(word) >> 200);
}

/// The word with this seat live; the earliest values fall to the member's own where they were later.
function withMember(ConsentWord word, uint256 bit, uint40 expiry, uint56 exhaustion) pure returns (ConsentWord) {
    uint160 bits = bitmap(word);
    if (bits != 0) {
        if (earliestExpiry(word) < expiry) expiry = earliestExpiry(word);
        if (earliestExhaustion(word) < exhaustion) exhaustion = earliestExhaustion(word);
    }
    return packWord(bits | uint160(1 << bit), expiry, exhaustion);
}

/// The word without this seat. The earliest values stay, which errs low; an empty word is zero.
function withoutMember(ConsentWord word, uint256 bit) pure returns (ConsentWord) {
    uint160 bits = bitmap(word) & ~uint160(1 << bit);
    return bits == 0 ? ConsentWord.wrap(0) : packWord(bits, earliestExpiry(word), earliestExhaustion(word));
}

function packWord(uint160 bits, uint40 expiry, uint56 exhaustion) pure returns (ConsentWord) {
    return ConsentWord.wrap(uint256(bits) | (uint256(expiry) << 160) | (uint256(exhaustion) << 200));
}

/// How many of the 160 seats are live: parallel bit count (Warren, Hacker's Delight, 2nd ed., 5-1).
function count(ConsentWord word) pure returns (uint256 members) {
    unchecked {
        uint256 x = bitmap(word);
        x -= (x >> 1) & 0x5555555555555555555555555555555555555555555555555555555555555555;
        x = (x & 0x3333333333333333333333333333333333333333333333333333333333333333)
            + ((x >> 2) & 0x3333333333333333333333333333333333333333333333333333333333333333);
        x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f;
        // The sum of all bytes gathers in the top byte; 160 fits.
        members = (x * 0x0101010101010101010101010101010101010101010101010101010101010101) >> 248;
    }
}
