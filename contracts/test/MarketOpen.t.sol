// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {DataUse} from "../src/DataUse.sol";
import {ResearchMarket} from "../src/ResearchMarket.sol";
import {TestEuro} from "../src/TestEuro.sol";
import {IDatasetRegistry} from "../src/interfaces/IDatasetRegistry.sol";
import {
    IResearchMarket,
    MarketPolicy,
    Permit,
    RequestTerms,
    RequestView,
    Stage
} from "../src/interfaces/IResearchMarket.sol";
import {IResearcherRegistry} from "../src/interfaces/IResearcherRegistry.sol";
import {ClassTerms} from "../src/types/DataUseTypes.sol";
import {RequestId} from "../src/types/Ids.sol";
import {Story} from "./base/Story.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";

/// Keeps a cent of every transfer.
contract ShortToken is TestEuro {
    constructor() TestEuro(msg.sender) {
        _mint(msg.sender, 1_000_000);
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        return super.transferFrom(from, to, amount - 1);
    }
}

/// An ERC-20 of seven decimals, as far as the market asks.
contract FineToken is ERC20("Fine", "FINE") {
    function decimals() public pure override returns (uint8) {
        return 7;
    }
}

/// constructor ── more than six decimals: TokenHasTooManyDecimals ── each rule out of bounds: PolicyInvalid
/// open, openWithPermit
/// ├── paused: EnforcedPause ── the same terms again: RequestExists
/// ├── each term out of bounds: TermsInvalid
/// ├── classes and terms of classes differ in number: ClassesMismatch ── not ascending: TermsInvalid
/// ├── no credential, withdrawn, expired: as the researcher registry says
/// ├── other terms than published, retired, purpose not permitted: as the dataset registry says
/// ├── release kind not offered: TermsInvalid ── cost above the class's: CostAboveClass
/// ├── price under either floor, each rounded up: PriceBelowFloor
/// ├── less came in than was asked: TransferShort ── nothing: as the token says
/// ├── permit good, spent by another already, or bad with an allowance: opened
/// └── else: opened, and the whole price held
/// cancel ── not opened: WrongStage ── not its researcher: NotResearcher ── else all is credited back
contract MarketOpenTest is Story {
    function _deployWith(MarketPolicy memory rules, IERC20Metadata euro) private returns (ResearchMarket) {
        return new ResearchMarket(address(this), euro, datasets, researchers, consents, committee, noises, rules);
    }

    function _expectPolicy(MarketPolicy memory rules, string memory field) private {
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.PolicyInvalid.selector, field));
        _deployWith(rules, token);
    }

    // --- constructor

    function test_a_token_has_at_most_six_decimals() public {
        FineToken fine = new FineToken();
        MarketPolicy memory rules = _policy();
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.TokenHasTooManyDecimals.selector, uint8(7)));
        _deployWith(rules, fine);
    }

    function test_every_rule_of_the_policy_has_its_bounds() public {
        MarketPolicy memory rules = _policy();
        rules.minimumCohort = 1;
        _expectPolicy(rules, "minimumCohort");
        rules = _policy();
        rules.freezeWindow = 0;
        _expectPolicy(rules, "freezeWindow");
        rules = _policy();
        rules.gateWindow = 0;
        _expectPolicy(rules, "gateWindow");
        rules = _policy();
        rules.turnWindow = 0;
        _expectPolicy(rules, "turnWindow");
        rules = _policy();
        rules.certificateWindow = 0;
        _expectPolicy(rules, "certificateWindow");
        rules = _policy();
        rules.unusedFreezeBps = 10_001;
        _expectPolicy(rules, "unusedFreezeBps");
        rules = _policy();
        rules.minimumBond = 0;
        _expectPolicy(rules, "minimumBond");
    }

    function test_the_loosest_policy_is_accepted_and_told() public {
        MarketPolicy memory rules = MarketPolicy(2, 0, 1, 1, 1, 1, 10_000, 1);
        MarketPolicy memory told = _deployWith(rules, token).policy();
        assertEq(keccak256(abi.encode(told)), keccak256(abi.encode(rules)), "policy");
    }

    function test_only_a_pauser_pauses() public {
        bytes32 pauser = market.PAUSER();
        bytes memory refused =
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, OPERATOR, pauser);
        vm.expectRevert(refused);
        vm.prank(OPERATOR);
        market.pause();
        vm.expectRevert(refused);
        vm.prank(OPERATOR);
        market.unpause();
    }

    // --- open

    function _refuse(RequestTerms memory terms, bytes memory reason) private {
        _refuseOffers(terms, _offers(terms), reason);
    }

    function _refuseOffers(RequestTerms memory terms, ClassTerms[] memory offers, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(_researcher(0));
        market.open(terms, offers);
    }

    function _refuseTerms(RequestTerms memory terms, string memory field) private {
        _refuse(terms, abi.encodeWithSelector(IResearchMarket.TermsInvalid.selector, field));
    }

    function test_an_opened_request_holds_its_whole_price() public {
        RequestTerms memory terms = _terms();
        RequestId expected = market.requestId(_researcher(0), terms);
        _fund(_researcher(0), ESCROW);
        ClassTerms[] memory offers = _offers(terms);
        vm.expectEmit(address(market));
        emit IResearchMarket.RequestOpened(expected, _researcher(0), terms);
        vm.prank(_researcher(0));
        RequestId request = market.open(terms, offers);
        assertEq(RequestId.unwrap(request), RequestId.unwrap(expected), "id");
        _assertTerms(market.requestOf(request), terms);
        assertEq(token.balanceOf(address(market)), ESCROW, "balance");
        (uint256 escrows,,,,) = market.liabilities();
        assertEq(escrows, ESCROW, "escrows");
    }

    function _assertTerms(RequestView memory r, RequestTerms memory terms) private view {
        assertEq(r.researcher, _researcher(0), "researcher");
        assertEq(uint256(r.stage), uint256(Stage.Opened), "stage");
        assertEq(r.openedAt, clock(), "opened at");
        assertEq(r.sealDeadline, terms.sealDeadline, "seal deadline");
        assertEq(r.settleDeadline, terms.settleDeadline, "settle deadline");
        assertEq(r.cost, COST, "cost");
        assertEq(r.price, PRICE, "price");
        assertEq(r.fee, FEE, "fee");
        assertEq(r.maxPatients, MOST, "most");
        assertEq(r.escrow, ESCROW, "escrow");
    }

    /// The id is the hash of all that was asked, with chain, market and researcher.
    function testFuzz_a_request_id_is_that_of_its_terms(address researcher, uint256 field, uint256 change) public view {
        RequestTerms memory terms = _terms();
        RequestId before = market.requestId(researcher, terms);
        bytes memory encoded = abi.encode("usufruct/request/1", block.chainid, address(market), researcher, terms);
        assertEq(RequestId.unwrap(before), keccak256(encoded), "hash");
        _change(terms, field % 8, within(change, 1, type(uint32).max - 1));
        assertTrue(RequestId.unwrap(market.requestId(researcher, terms)) != RequestId.unwrap(before), "another id");
    }

    function _change(RequestTerms memory terms, uint256 field, uint256 by) private pure {
        unchecked {
            if (field == 0) terms.cost += uint56(by);
            if (field == 1) terms.price += uint56(by);
            if (field == 2) terms.fee += uint64(by);
            if (field == 3) terms.maxPatients += uint32(by);
            if (field == 4) terms.sealDeadline += uint40(by);
            if (field == 5) terms.salt = bytes32(by);
            if (field == 6) terms.purpose.months += uint16(1 + by % 65_535);
            if (field == 7) terms.classes[0] += uint16(1 + by % 65_535);
        }
    }

    function test_pause_stops_new_requests() public {
        RequestTerms memory terms = _terms();
        ClassTerms[] memory offers = _offers(terms);
        market.pause();
        _refuse(terms, abi.encodeWithSelector(Pausable.EnforcedPause.selector));
        vm.expectRevert(Pausable.EnforcedPause.selector);
        market.openWithPermit(terms, offers, Permit(0, 0, 0, 0, 0));
        market.unpause();
        _open(terms);
    }

    function test_the_same_terms_open_once() public {
        RequestTerms memory terms = _terms();
        RequestId request = _open(terms);
        _refuse(terms, abi.encodeWithSelector(IResearchMarket.RequestExists.selector, request));
        vm.prank(_researcher(0));
        market.cancel(request);
        _refuse(terms, abi.encodeWithSelector(IResearchMarket.RequestExists.selector, request));
        terms.salt = "another";
        _open(terms);
    }

    function test_every_term_has_its_bounds() public {
        RequestTerms memory terms = _terms();
        terms.lane = 0;
        _refuseTerms(terms, "lane");
        terms.lane = 3;
        _refuseTerms(terms, "lane");
        terms = _terms();
        terms.classes = new uint16[](0);
        _refuseTerms(terms, "classes");
        terms = _terms();
        terms.cost = 0;
        _refuseTerms(terms, "cost");
        terms = _terms();
        terms.analysis = 0;
        _refuseTerms(terms, "analysis");
        terms = _terms();
        terms.parameters = 0;
        _refuseTerms(terms, "parameters");
        terms = _terms();
        terms.deliveryKey = 0;
        _refuseTerms(terms, "deliveryKey");
        terms = _terms();
        terms.maxPatients = 2;
        _refuseTerms(terms, "maxPatients");
    }

    function test_deadlines_leave_time_but_not_for_ever() public {
        RequestTerms memory terms = _terms();
        terms.sealDeadline = clock() + 600;
        _refuseTerms(terms, "sealDeadline");
        terms.sealDeadline = clock() + 30 days + 1;
        _refuseTerms(terms, "sealDeadline");
        terms = _terms();
        terms.settleDeadline = terms.sealDeadline + 3599;
        _refuseTerms(terms, "settleDeadline");
        terms.settleDeadline = terms.sealDeadline + 3600 + 30 days + 1;
        _refuseTerms(terms, "settleDeadline");
    }

    function test_the_furthest_and_the_nearest_deadlines_are_accepted() public {
        RequestTerms memory terms = _terms();
        terms.sealDeadline = clock() + 30 days;
        terms.settleDeadline = terms.sealDeadline + 3600 + 30 days;
        _open(terms);
        terms.sealDeadline = clock() + 601;
        terms.settleDeadline = terms.sealDeadline + 3600;
        _open(terms);
    }

    function test_every_class_comes_with_its_terms_in_ascending_order() public {
        RequestTerms memory terms = _termsOverBoth();
        ClassTerms[] memory one = _offers(_terms());
        _refuseOffers(terms, one, abi.encodeWithSelector(IResearchMarket.ClassesMismatch.selector, 2, 1));
        terms.classes[0] = 2;
        _refuseTerms(terms, "classes");
        terms.classes[0] = 0;
        _refuseTerms(terms, "classes");
    }

    function test_a_request_over_two_classes_must_satisfy_both() public {
        RequestTerms memory terms = _termsOverBoth();
        terms.cost = 61; // class 2 permits 60
        terms.price = 31;
        bytes memory refused =
            abi.encodeWithSelector(IResearchMarket.CostAboveClass.selector, _class(2), uint56(60), uint56(61));
        _refuse(terms, refused);
        terms.cost = 60;
        _open(terms);
    }

    function test_only_a_researcher_with_a_credential_opens() public {
        RequestTerms memory terms = _terms();
        ClassTerms[] memory offers = _offers(terms);
        vm.expectRevert(abi.encodeWithSelector(IResearcherRegistry.CredentialMissing.selector, address(this)));
        market.open(terms, offers);
        researchers.withdraw(_researcher(0));
        _refuse(terms, abi.encodeWithSelector(IResearcherRegistry.CredentialIsWithdrawn.selector, _researcher(0)));
    }

    function test_the_terms_offered_are_those_published() public {
        RequestTerms memory terms = _terms();
        ClassTerms[] memory offers = _offers(terms);
        offers[0].maxCost = 200;
        vm.expectPartialRevert(IDatasetRegistry.DefinitionMismatch.selector);
        vm.prank(_researcher(0));
        market.open(terms, offers);
        datasets.retire(dataset);
        _refuse(terms, abi.encodeWithSelector(IDatasetRegistry.DatasetIsRetired.selector, dataset));
    }

    function test_a_purpose_that_is_not_permitted_is_refused() public {
        RequestTerms memory terms = _terms();
        terms.classes[0] = 3;
        datasets.publishClass(dataset, _strict());
        ClassTerms[] memory offers = new ClassTerms[](1);
        offers[0] = _strict();
        vm.expectPartialRevert(DataUse.PurposeNotPermitted.selector);
        vm.prank(_researcher(0));
        market.open(terms, offers);
    }

    /// Biomedical research only; general use may be anything.
    function _strict() private pure returns (ClassTerms memory terms) {
        terms = _classTerms(1);
        terms.permission = DataUse.HMB;
    }

    function test_a_release_kind_must_be_offered() public {
        RequestTerms memory terms = _terms();
        terms.releaseKind = 2;
        _refuseTerms(terms, "releaseKind");
        terms.releaseKind = 32;
        _refuseTerms(terms, "releaseKind");
        terms.releaseKind = 31;
        _open(terms);
    }

    function test_a_cost_stays_within_the_class() public {
        RequestTerms memory terms = _terms();
        terms.cost = 101;
        terms.price = 51;
        bytes memory refused =
            abi.encodeWithSelector(IResearchMarket.CostAboveClass.selector, _class(1), uint56(100), uint56(101));
        _refuse(terms, refused);
    }

    function test_a_price_stays_above_both_floors() public {
        RequestTerms memory terms = _terms();
        terms.cost = 2; // one token unit by cost, seven by record
        terms.price = 6;
        _refuse(terms, abi.encodeWithSelector(IResearchMarket.PriceBelowFloor.selector, _class(1), 7, 6));
        terms.cost = 15; // seven and a half by cost, rounded up
        terms.price = 7;
        _refuse(terms, abi.encodeWithSelector(IResearchMarket.PriceBelowFloor.selector, _class(1), 8, 7));
        terms.price = 8;
        _open(terms);
    }

    /// The least price accepted is the least whole number that is not under either floor.
    function testFuzz_a_floor_is_never_undercut_by_a_fraction(uint56 cost, uint56 price) public {
        RequestTerms memory terms = _terms();
        terms.cost = uint56(within(cost, 1, 100));
        terms.price = uint56(within(price, 0, 60));
        bool sound = terms.price >= 7 && uint256(terms.price) * 1_000_000 >= uint256(terms.cost) * 500_000;
        _fund(_researcher(0), uint256(terms.maxPatients) * terms.price + terms.fee);
        ClassTerms[] memory offers = _offers(terms);
        if (!sound) vm.expectPartialRevert(IResearchMarket.PriceBelowFloor.selector);
        vm.prank(_researcher(0));
        market.open(terms, offers);
    }

    function test_what_is_held_must_have_come_in() public {
        ShortToken short = new ShortToken();
        ResearchMarket shorted = _deployWith(_policy(), short);
        short.approve(address(shorted), ESCROW);
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.TransferShort.selector, 100, 99));
        shorted.postBond(100);
    }

    function test_nothing_opens_without_an_allowance() public {
        RequestTerms memory terms = _terms();
        _refuse(
            terms, abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(market), 0, ESCROW)
        );
    }

    // --- permits

    function _permit(uint256 value) private view returns (Permit memory p) {
        bytes32 kind = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        p.value = value;
        p.deadline = clock();
        bytes32 structHash = keccak256(
            abi.encode(kind, _researcher(0), address(market), value, token.nonces(_researcher(0)), p.deadline)
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash));
        (p.v, p.r, p.s) = vm.sign(RESEARCHER, digest);
    }

    function _openWith(Permit memory permit) private returns (RequestId) {
        RequestTerms memory terms = _terms();
        ClassTerms[] memory offers = _offers(terms);
        vm.prank(_researcher(0));
        return market.openWithPermit(terms, offers, permit);
    }

    function test_a_permit_stands_in_for_an_approval() public {
        token.mint(_researcher(0), ESCROW);
        _assertStage(_openWith(_permit(ESCROW)), Stage.Opened);
    }

    function test_a_permit_that_somebody_used_first_still_opens() public {
        token.mint(_researcher(0), ESCROW);
        Permit memory p = _permit(ESCROW);
        token.permit(_researcher(0), address(market), p.value, p.deadline, p.v, p.r, p.s);
        _assertStage(_openWith(p), Stage.Opened);
    }

    function test_a_bad_permit_opens_nothing() public {
        token.mint(_researcher(0), ESCROW);
        Permit memory p = _permit(ESCROW);
        p.value = ESCROW + 1;
        RequestTerms memory terms = _terms();
        ClassTerms[] memory offers = _offers(terms);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(market), 0, ESCROW)
        );
        vm.prank(_researcher(0));
        market.openWithPermit(terms, offers, p);
    }

    // --- cancel

    function test_a_researcher_cancels_before_the_freeze_and_gets_all_back() public {
        RequestId request = _open(_terms());
        vm.expectRevert(abi.encodeWithSelector(IResearchMarket.NotResearcher.selector, _researcher(1)));
        vm.prank(_researcher(1));
        market.cancel(request);
        vm.expectEmit(address(market));
        emit IResearchMarket.RequestCancelled(request);
        vm.prank(_researcher(0));
        market.cancel(request);
        _assertStage(request, Stage.Cancelled);
        assertEq(market.creditOf(_researcher(0)), ESCROW, "credit");
    }

    function test_nothing_is_cancelled_once_frozen() public {
        _populate(3);
        RequestId request = _frozen();
        bytes memory refused =
            abi.encodeWithSelector(IResearchMarket.WrongStage.selector, request, Stage.Opened, Stage.Frozen);
        vm.expectRevert(refused);
        vm.prank(_researcher(0));
        market.cancel(request);
    }
}
