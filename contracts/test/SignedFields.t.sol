// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {SignedMessages} from "../src/base/SignedMessages.sol";
import {
    ConsentState,
    Erasure,
    Grant,
    Guardianship,
    Pause,
    Revocation,
    Rotation
} from "../src/interfaces/IConsentRegistry.sol";
import {CreditWithdrawal, EarningsWithdrawal} from "../src/interfaces/IResearchMarket.sol";
import {ClassId, DatasetId} from "../src/types/Ids.sol";
import {Signing} from "./base/Signing.sol";
import {Story} from "./base/Story.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// A contract wallet of one key, which can be told to behave badly.
contract Wallet is IERC1271 {
    enum Manner {
        Honest,
        WrongAnswer,
        Revert,
        ShortAnswer,
        Endless,
        Bomb
    }

    address private immutable OWNER;
    Manner private _manner;

    constructor(address owner) {
        OWNER = owner;
    }

    function behave(Manner manner) external {
        _manner = manner;
    }

    function isValidSignature(bytes32 digest, bytes memory given) external view returns (bytes4) {
        if (_manner == Manner.WrongAnswer) return 0xffffffff;
        if (_manner == Manner.Revert) revert("no");
        if (_manner == Manner.Endless) while (true) {}
        if (_manner == Manner.ShortAnswer) _answer(4);
        if (_manner == Manner.Bomb) _answer(200_000);
        (bytes32 r, bytes32 s, uint8 v) = abi.decode(given, (bytes32, bytes32, uint8));
        return ecrecover(digest, v, r, s) == OWNER ? IERC1271.isValidSignature.selector : bytes4(0);
    }

    /// The right four bytes in an answer of a wrong size.
    function _answer(uint256 size) private pure {
        bytes4 magic = IERC1271.isValidSignature.selector;
        assembly ("memory-safe") {
            mstore(0x00, magic)
            return(0x00, size)
        }
    }
}

/// A signature counts for one message of one person to one contract on one chain, and for nothing else.
///
/// ├── any field changed ── another signer ── another contract ── another chain: BadSignature
/// ├── malleated, cut, or of zeros: BadSignature
/// ├── an account that carries code signs with its own key
/// └── a contract wallet: as it says ── wrong, short or no answer, or no end: BadSignature
contract SignedFieldsTest is Story {
    uint256 private constant CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    function setUp() public override {
        super.setUp();
        _populate(4);
    }

    /// Runs a call that a valid signature does not cover: it must be refused for its signature.
    function _refuse(address contract_, bytes memory call, address signer) private {
        (bool done, bytes memory reason) = contract_.call(call);
        assertTrue(!done, "accepted");
        bytes memory expected = abi.encodeWithSelector(SignedMessages.BadSignature.selector, signer);
        assertEq(keccak256(reason), keccak256(expected), "refused for its signature");
    }

    function _signed(bytes32 structHash) private view returns (bytes memory) {
        return signature(PATIENT, _consentDigest(structHash));
    }

    // --- every field of every message

    function testFuzz_a_changed_grant_is_not_signed(uint256 field, uint256 change) public {
        Grant memory g = _grantFor(_patient(0), 1);
        bytes memory signed = _signed(Signing.hash(g));
        bytes32 before = Signing.hash(g);
        field %= 8;
        if (field == 0) g.patient = address(uint160(change));
        if (field == 1) g.dataset = DatasetId.wrap(bytes32(change));
        if (field == 2) g.class = ClassId.wrap(bytes32(change));
        if (field == 3) g.definition = bytes32(change);
        if (field == 4) g.cap = uint56(change);
        if (field == 5) g.expiry = uint40(change);
        if (field == 6) g.sequence = uint32(change);
        if (field == 7) g.deadline = uint40(change);
        vm.assume(Signing.hash(g) != before);
        _refuse(address(consents), abi.encodeCall(consents.grantBySig, (g, g.patient, signed)), g.patient);
    }

    function testFuzz_a_changed_revocation_is_not_signed(uint256 field, uint256 change) public {
        Revocation memory r = Revocation(_patient(0), dataset, 1);
        bytes memory signed = _signed(Signing.hash(r));
        bytes32 before = Signing.hash(r);
        field %= 3;
        if (field == 0) r.patient = address(uint160(change));
        if (field == 1) r.dataset = DatasetId.wrap(bytes32(change));
        if (field == 2) r.sequence = uint32(change);
        vm.assume(Signing.hash(r) != before);
        _refuse(address(consents), abi.encodeCall(consents.revokeBySig, (r, r.patient, signed)), r.patient);
    }

    function testFuzz_a_changed_rest_or_wake_is_not_signed(uint256 field, uint256 change, bool wakes) public {
        Pause memory p = Pause(_patient(0), dataset, 1, 9, clock());
        bytes32 before = wakes ? Signing.wakeHash(p) : Signing.restHash(p);
        bytes memory signed = _signed(before);
        field %= 5;
        if (field == 0) p.patient = address(uint160(change));
        if (field == 1) p.dataset = DatasetId.wrap(bytes32(change));
        if (field == 2) p.sequence = uint32(change);
        if (field == 3) p.nonce = change;
        if (field == 4) p.deadline = uint40(within(change, clock(), type(uint40).max));
        vm.assume((wakes ? Signing.wakeHash(p) : Signing.restHash(p)) != before);
        bytes memory call = wakes
            ? abi.encodeCall(consents.wakeBySig, (p, p.patient, signed))
            : abi.encodeCall(consents.restBySig, (p, p.patient, signed));
        _refuse(address(consents), call, p.patient);
    }

    function testFuzz_a_changed_guardianship_is_not_signed(uint256 field, uint256 change) public {
        Guardianship memory g = Guardianship(_patient(0), dataset, address(1), clock() + 1, true, 9, clock());
        bytes memory signed = _signed(Signing.hash(g));
        bytes32 before = Signing.hash(g);
        field %= 7;
        if (field == 0) g.patient = address(uint160(change));
        if (field == 1) g.dataset = DatasetId.wrap(bytes32(change));
        if (field == 2) g.guardian = address(uint160(change));
        if (field == 3) g.expiry = uint40(change);
        if (field == 4) g.mayGrant = false;
        if (field == 5) g.nonce = change;
        if (field == 6) g.deadline = uint40(within(change, clock(), type(uint40).max));
        vm.assume(Signing.hash(g) != before);
        _refuse(address(consents), abi.encodeCall(consents.appointGuardianBySig, (g, signed)), g.patient);
    }

    function testFuzz_a_changed_erasure_is_not_signed(uint256 field, uint256 change) public {
        Erasure memory e = Erasure(_patient(0), dataset, 1);
        bytes memory signed = _signed(Signing.hash(e));
        bytes32 before = Signing.hash(e);
        field %= 3;
        if (field == 0) e.patient = address(uint160(change));
        if (field == 1) e.dataset = DatasetId.wrap(bytes32(change));
        if (field == 2) e.version = uint32(change);
        vm.assume(Signing.hash(e) != before);
        _refuse(address(consents), abi.encodeCall(consents.eraseBySig, (e, signed)), e.patient);
    }

    function testFuzz_a_changed_rotation_is_not_signed(uint256 field, uint256 change) public {
        Rotation memory r = Rotation(dataset, _patient(0), _patient(9), clock());
        bytes memory from = _signed(Signing.hash(r));
        bytes memory to = signature(PATIENT + 9, _consentDigest(Signing.hash(r)));
        bytes32 before = Signing.hash(r);
        field %= 4;
        if (field == 0) r.dataset = DatasetId.wrap(bytes32(change));
        if (field == 1) r.from = address(uint160(change));
        if (field == 2) r.to = address(uint160(change));
        if (field == 3) r.deadline = uint40(within(change, clock(), type(uint40).max));
        vm.assume(Signing.hash(r) != before);
        _refuse(address(consents), abi.encodeCall(consents.rotate, (r, from, to)), r.from);
    }

    function testFuzz_a_changed_credit_withdrawal_is_not_signed(uint256 field, uint256 change) public {
        CreditWithdrawal memory w = CreditWithdrawal(_patient(0), address(0xcafe), 9, clock());
        bytes memory signed = signature(PATIENT, _marketDigest(Signing.hash(w)));
        bytes32 before = Signing.hash(w);
        field %= 4;
        if (field == 0) w.account = address(uint160(change));
        if (field == 1) w.to = address(uint160(change));
        if (field == 2) w.nonce = change;
        if (field == 3) w.deadline = uint40(within(change, clock(), type(uint40).max));
        vm.assume(Signing.hash(w) != before);
        _refuse(address(market), abi.encodeCall(market.withdrawCreditBySig, (w, signed)), w.account);
    }

    function testFuzz_a_changed_earnings_withdrawal_is_not_signed(uint256 field, uint256 change) public {
        EarningsWithdrawal memory w = EarningsWithdrawal(_patient(0), dataset, address(0xcafe), 9, clock());
        bytes memory signed = signature(PATIENT, _marketDigest(Signing.hash(w)));
        bytes32 before = Signing.hash(w);
        field %= 5;
        if (field == 0) w.patient = address(uint160(change));
        if (field == 1) w.dataset = DatasetId.wrap(bytes32(change));
        if (field == 2) w.to = address(uint160(change));
        if (field == 3) w.nonce = change;
        if (field == 4) w.deadline = uint40(within(change, clock(), type(uint40).max));
        vm.assume(Signing.hash(w) != before);
        _refuse(address(market), abi.encodeCall(market.withdrawEarningsBySig, (w, signed)), w.patient);
    }

    // --- the signature itself

    function testFuzz_only_the_patients_own_key_signs(uint256 key) public {
        key = within(key, 1, CURVE_ORDER - 1);
        vm.assume(key != PATIENT);
        Revocation memory r = Revocation(_patient(0), dataset, 1);
        bytes memory signed = signature(key, _consentDigest(Signing.hash(r)));
        _refuse(address(consents), abi.encodeCall(consents.revokeBySig, (r, r.patient, signed)), r.patient);
    }

    function testFuzz_a_malleated_signature_is_refused(uint32 ahead) public {
        Revocation memory r = Revocation(_patient(0), dataset, uint32(within(ahead, 1, type(uint32).max)));
        (uint8 v, bytes32 sr, bytes32 s) = vm.sign(PATIENT, _consentDigest(Signing.hash(r)));
        bytes memory malleated =
            abi.encodePacked(sr, bytes32(CURVE_ORDER - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        _refuse(address(consents), abi.encodeCall(consents.revokeBySig, (r, r.patient, malleated)), r.patient);
    }

    function testFuzz_no_other_bytes_are_a_signature(bytes memory given) public {
        Revocation memory r = Revocation(_patient(0), dataset, 1);
        _refuse(address(consents), abi.encodeCall(consents.revokeBySig, (r, r.patient, given)), r.patient);
    }

    function test_a_flipped_bit_anywhere_is_refused() public {
        Revocation memory r = Revocation(_patient(0), dataset, 1);
        bytes memory signed = _signed(Signing.hash(r));
        for (uint256 i = 0; i < 65 * 8; ++i) {
            signed[i / 8] ^= bytes1(uint8(1 << (i % 8)));
            _refuse(address(consents), abi.encodeCall(consents.revokeBySig, (r, r.patient, signed)), r.patient);
            signed[i / 8] ^= bytes1(uint8(1 << (i % 8)));
        }
        consents.revokeBySig(r, r.patient, signed);
    }

    function testFuzz_a_message_to_another_contract_or_chain_is_refused(uint64 chain, address contract_) public {
        vm.assume(chain != block.chainid && contract_ != address(consents));
        Revocation memory r = Revocation(_patient(0), dataset, 1);
        bytes memory call;
        bytes32 digest = Signing.digestOn(chain, "Usufruct ConsentRegistry", address(consents), Signing.hash(r));
        call = abi.encodeCall(consents.revokeBySig, (r, r.patient, signature(PATIENT, digest)));
        _refuse(address(consents), call, r.patient);
        digest = Signing.digest("Usufruct ConsentRegistry", contract_, Signing.hash(r));
        call = abi.encodeCall(consents.revokeBySig, (r, r.patient, signature(PATIENT, digest)));
        _refuse(address(consents), call, r.patient);
        digest = Signing.digest("Usufruct ResearchMarket", address(consents), Signing.hash(r));
        call = abi.encodeCall(consents.revokeBySig, (r, r.patient, signature(PATIENT, digest)));
        _refuse(address(consents), call, r.patient);
    }

    /// After a fork of the chain, what was signed for the one side counts there only.
    function test_a_message_does_not_cross_a_fork() public {
        Revocation memory r = Revocation(_patient(0), dataset, 1);
        bytes memory signed = _signed(Signing.hash(r));
        uint256 here = block.chainid;
        vm.chainId(here + 1);
        _refuse(address(consents), abi.encodeCall(consents.revokeBySig, (r, r.patient, signed)), r.patient);
        vm.chainId(here);
        consents.revokeBySig(r, r.patient, signed);
        _assertState(r.patient, ConsentState.None);
    }

    function test_nobody_signs_for_the_zero_address() public {
        Revocation memory r = Revocation(address(0), dataset, 1);
        bytes memory zeros = new bytes(65);
        _refuse(address(consents), abi.encodeCall(consents.revokeBySig, (r, address(0), zeros)), address(0));
    }

    // --- accounts with code

    function test_an_account_that_carries_code_signs_with_its_own_key() public {
        vm.etch(_patient(0), hex"fe");
        Revocation memory r = Revocation(_patient(0), dataset, 1);
        consents.revokeBySig(r, r.patient, _signed(Signing.hash(r)));
        _assertState(r.patient, ConsentState.None);
    }

    function test_a_contract_wallet_grants_and_revokes() public {
        Wallet wallet = new Wallet(_patient(9));
        _store(address(wallet), "wallet");
        Grant memory g = _grantFor(address(wallet), 1);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PATIENT + 9, _consentDigest(Signing.hash(g)));
        consents.grantBySig(g, address(wallet), abi.encode(r, s, v));
        _assertState(address(wallet), ConsentState.Live);
        // The owner's bare signature is not the wallet's.
        Revocation memory ended = Revocation(address(wallet), dataset, 1);
        bytes memory bare = signature(PATIENT + 8, _consentDigest(Signing.hash(ended)));
        _refuse(
            address(consents), abi.encodeCall(consents.revokeBySig, (ended, address(wallet), bare)), address(wallet)
        );
        (v, r, s) = vm.sign(PATIENT + 9, _consentDigest(Signing.hash(ended)));
        consents.revokeBySig(ended, address(wallet), abi.encode(r, s, v));
        _assertState(address(wallet), ConsentState.None);
    }

    function test_a_wallet_that_answers_wrong_short_or_never_has_not_signed() public {
        Wallet wallet = new Wallet(_patient(9));
        Revocation memory ended = Revocation(address(wallet), dataset, 1);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PATIENT + 9, _consentDigest(Signing.hash(ended)));
        bytes memory call = abi.encodeCall(consents.revokeBySig, (ended, address(wallet), abi.encode(r, s, v)));
        Wallet.Manner[4] memory bad =
            [Wallet.Manner.WrongAnswer, Wallet.Manner.Revert, Wallet.Manner.ShortAnswer, Wallet.Manner.Endless];
        for (uint256 i = 0; i < bad.length; ++i) {
            wallet.behave(bad[i]);
            uint256 before = gasleft();
            _refuse(address(consents), call, address(wallet));
            assertTrue(before - gasleft() < 500_000, "a hostile wallet eats no batch");
        }
    }

    /// However much it returns, only 32 bytes are copied, so that the caller does not pay for the rest.
    function test_a_wallet_cannot_make_the_caller_pay_for_a_long_answer() public {
        Wallet wallet = new Wallet(_patient(9));
        wallet.behave(Wallet.Manner.Bomb);
        Revocation memory ended = Revocation(address(wallet), dataset, 0);
        uint256 before = gasleft();
        consents.revokeBySig(ended, address(wallet), "");
        assertTrue(before - gasleft() < 250_000, "gas");
    }
}
