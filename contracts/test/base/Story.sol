// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ConsentState, ConsentView, Grant} from "../../src/interfaces/IConsentRegistry.sol";
import {QuorumSignature} from "../../src/interfaces/ICustodianCommittee.sol";
import {NoiseCommitment} from "../../src/interfaces/INoiseRegistry.sol";
import {RequestTerms, RequestView, Settlement, Stage} from "../../src/interfaces/IResearchMarket.sol";
import {ConsentWord} from "../../src/types/ConsentWord.sol";
import {ClassTerms} from "../../src/types/DataUseTypes.sol";
import {RequestId} from "../../src/types/Ids.sol";
import {Signing} from "./Signing.sol";
import {World} from "./World.sol";

/// Every step of a patient's and of a request's life, each as one call that succeeds.
abstract contract Story is World {
    uint56 internal constant CAP = 1000;
    uint56 internal constant COST = 15;
    uint56 internal constant PRICE = 20;
    uint64 internal constant FEE = 30;
    uint32 internal constant MOST = 10;
    uint256 internal constant ESCROW = uint256(MOST) * PRICE + FEE;
    bytes internal constant RESULT = "sealed result";

    // --- patients

    function _consentOf(address patient) internal view returns (ConsentView memory) {
        return consents.consentOf(dataset, patient);
    }

    function _grantFor(address patient, uint16 class) internal view returns (Grant memory g) {
        g.patient = patient;
        g.dataset = dataset;
        g.class = _class(class);
        g.definition = datasets.definitionOf(g.class);
        g.cap = CAP;
        g.expiry = clock() + 365 days;
        g.sequence = _consentOf(patient).sequence + 1;
        g.deadline = clock();
    }

    function _grant(Grant memory g) internal {
        vm.prank(g.patient);
        consents.grant(g);
    }

    function _grant(address patient, uint16 class) internal {
        _grant(_grantFor(patient, class));
    }

    /// Patients 0 to n-1 live in class 1.
    function _populate(uint256 n) internal {
        _enrol(n);
        for (uint256 i = 0; i < n; ++i) {
            _grant(_patient(i), 1);
        }
    }

    function _revoke(address patient) internal returns (bool) {
        vm.prank(patient);
        return consents.revoke(patient, dataset);
    }

    function _rest(address patient) internal {
        vm.prank(patient);
        consents.rest(patient, dataset);
    }

    function _wake(address patient) internal {
        vm.prank(patient);
        consents.wake(patient, dataset);
    }

    function _wakeWord(uint16 class, uint256 word) internal returns (uint256) {
        return consents.wakeWords(_class(class), 0, _one(word));
    }

    function _assertState(address patient, ConsentState state) internal view {
        assertEq(uint256(_consentOf(patient).state), uint256(state), "state");
    }

    function _word(uint16 class, uint256 index) internal view returns (ConsentWord) {
        return ConsentWord.wrap(consents.wordsOf(_class(class), 0, index, 1)[0]);
    }

    function _waiting(uint16 class) internal view returns (uint256) {
        return consents.waitingOf(_class(class), 0, 0, 1)[0];
    }

    function _one(uint256 word) internal pure returns (uint256[] memory words) {
        words = new uint256[](1);
        words[0] = word;
    }

    // --- requests

    function _terms() internal view returns (RequestTerms memory) {
        return _termsOver(1);
    }

    function _termsOver(uint16 class) internal view returns (RequestTerms memory terms) {
        terms.dataset = dataset;
        terms.classes = new uint16[](1);
        terms.classes[0] = class;
        terms.lane = 1;
        terms.releaseKind = 1;
        terms.analysis = "analysis";
        terms.parameters = "parameters";
        terms.cost = COST;
        terms.price = PRICE;
        terms.fee = FEE;
        terms.maxPatients = MOST;
        terms.sealDeadline = clock() + 1 days;
        terms.settleDeadline = clock() + 2 days;
        terms.deliveryKey = "delivery";
    }

    /// Over classes 1 and 2.
    function _termsOverBoth() internal view returns (RequestTerms memory terms) {
        terms = _termsOver(1);
        terms.classes = new uint16[](2);
        terms.classes[0] = 1;
        terms.classes[1] = 2;
    }

    function _offers(RequestTerms memory terms) internal pure returns (ClassTerms[] memory offers) {
        offers = new ClassTerms[](terms.classes.length);
        for (uint256 i = 0; i < offers.length; ++i) {
            offers[i] = _classTerms(terms.classes[i]);
        }
    }

    function _fund(address account, uint256 amount) internal {
        token.mint(account, amount);
        vm.prank(account);
        token.approve(address(market), amount);
    }

    function _open(RequestTerms memory terms) internal returns (RequestId) {
        _fund(_researcher(0), uint256(terms.maxPatients) * terms.price + terms.fee);
        ClassTerms[] memory offers = _offers(terms);
        vm.prank(_researcher(0));
        return market.open(terms, offers);
    }

    function _postBond(uint256 amount) internal {
        _fund(OPERATOR, amount);
        vm.prank(OPERATOR);
        market.postBond(amount);
    }

    function _freezeNow(RequestTerms memory terms) internal {
        ClassTerms[] memory offers = _offers(terms);
        vm.prank(OPERATOR);
        market.freeze(_researcher(0), terms, offers);
    }

    /// Opens, waits for the notice to run out, posts a bond and freezes.
    function _freeze(RequestTerms memory terms) internal returns (RequestId request) {
        request = _open(terms);
        skip(_policy().noticeWindow);
        _postBond(10_000);
        _freezeNow(terms);
    }

    function _frozen() internal returns (RequestId) {
        return _freeze(_terms());
    }

    function _sealAll(RequestId request) internal {
        vm.prank(OPERATOR);
        market.sealAll(request);
    }

    function _sealed() internal returns (RequestId request) {
        request = _frozen();
        _sealAll(request);
    }

    function _drawn() internal returns (RequestId request) {
        request = _sealed();
        vm.roll(vm.getBlockNumber() + 2);
        market.drawGate(request);
    }

    function _recordKey(RequestId request) internal {
        RequestView memory r = market.requestOf(request);
        bytes32 digest = _marketDigest(Signing.gateKeyHash(request, r.root, "gate key"));
        market.recordGateKey(request, "gate key", signature(_gateKeyOf(r.gate), digest));
    }

    function _gateKeyOf(address gate) internal pure returns (uint256 key) {
        while (vm.addr(GATE + key) != gate) ++key;
        return GATE + key;
    }

    function _settleable() internal returns (RequestId request) {
        request = _drawn();
        _recordKey(request);
    }

    // --- requests on ciphertext

    uint16 internal constant ALL = 7; // bit i is the custodian at place i

    function _onCiphertext() internal view returns (RequestTerms memory terms) {
        terms = _terms();
        terms.lane = 2;
    }

    /// The epoch must have a joint key.
    function _sealedCiphertext() internal returns (RequestId request) {
        request = _freeze(_onCiphertext());
        _sealAll(request);
    }

    function _hashOf(uint256 place) internal pure returns (bytes32) {
        return keccak256(abi.encode("noise", place));
    }

    /// Of the first epoch's custodians at these places, each signed by its own.
    function _commitments(RequestId request, uint16 places) internal view returns (NoiseCommitment[] memory given) {
        uint256 number;
        for (uint16 rest = places; rest != 0; rest &= rest - 1) {
            ++number;
        }
        given = new NoiseCommitment[](number);
        uint256 next;
        for (uint8 place = 0; place < 16; ++place) {
            if ((places >> place) & 1 == 1) given[next++] = _commitment(request, place, CUSTODIAN + place);
        }
    }

    function _commitment(RequestId request, uint8 place, uint256 key) internal view returns (NoiseCommitment memory) {
        RequestView memory r = market.requestOf(request);
        bytes32 structHash = Signing.noiseCommitmentHash(request, r.root, r.epoch, place, _hashOf(place));
        return NoiseCommitment(place, _hashOf(place), signature(key, _noiseDigest(structHash)));
    }

    function _commitNoise(RequestId request, uint16 places) internal {
        NoiseCommitment[] memory given = _commitments(request, places);
        vm.prank(OPERATOR);
        noises.commitNoise(request, given);
    }

    function _committedCiphertext() internal returns (RequestId request) {
        request = _sealedCiphertext();
        _commitNoise(request, ALL);
    }

    /// What the set of these places must be fixed as.
    function _noiseOver(RequestId request, uint16 places) internal view returns (bytes32) {
        RequestView memory r = market.requestOf(request);
        NoiseCommitment[] memory given = _commitments(request, places);
        bytes32[] memory hashes = new bytes32[](given.length);
        for (uint256 i = 0; i < given.length; ++i) {
            hashes[i] = given[i].commitment;
        }
        return keccak256(
            abi.encode("usufruct/noise/1", block.chainid, address(market), request, r.root, r.epoch, places, hashes)
        );
    }

    function _noiseSignatures(RequestId request, uint16 places) internal view returns (QuorumSignature[] memory) {
        RequestView memory r = market.requestOf(request);
        bytes32 noise = _noiseOver(request, places);
        return _quorum(_noiseDigest(Signing.noiseSetHash(request, r.root, r.epoch, places, noise)), 0);
    }

    function _fixNoise(RequestId request, uint16 places) internal {
        QuorumSignature[] memory signatures = _noiseSignatures(request, places);
        vm.prank(OPERATOR);
        noises.fixNoise(request, places, signatures);
    }

    function _noised() internal returns (RequestId request) {
        request = _committedCiphertext();
        _fixNoise(request, ALL);
    }

    // --- both ends

    function _settlement(RequestId request) internal view returns (Settlement memory) {
        RequestView memory r = market.requestOf(request);
        (, bytes32 noise) = noises.noiseOf(request);
        return Settlement({
            request: request,
            root: r.root,
            epoch: r.epoch,
            lane: r.lane,
            schema: 1,
            ciphertextRoot: "ciphertexts",
            noise: noise,
            resultHash: "result",
            deliveryHash: keccak256(RESULT),
            gate: r.gate
        });
    }

    function _settle(RequestId request) internal {
        Settlement memory s = _settlement(request);
        QuorumSignature[] memory signatures = _quorum(_marketDigest(Signing.hash(s)), 0);
        vm.prank(OPERATOR);
        market.settle(s, RESULT, signatures);
    }

    function _certificate(RequestId request) internal view returns (QuorumSignature[] memory) {
        RequestView memory r = market.requestOf(request);
        return _quorum(_marketDigest(Signing.certificateHash(request, r.root, r.epoch)), 0);
    }

    function _assertStage(RequestId request, Stage stage) internal view {
        assertEq(uint256(market.requestOf(request).stage), uint256(stage), "stage");
    }
}
