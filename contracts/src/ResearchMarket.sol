// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {SignedMessages} from "./base/SignedMessages.sol";
import {TolerantBatch} from "./base/TolerantBatch.sol";
import {UnorderedNonces} from "./base/UnorderedNonces.sol";
import {IConsentRegistry} from "./interfaces/IConsentRegistry.sol";
import {ICustodianCommittee, QuorumSignature} from "./interfaces/ICustodianCommittee.sol";
import {IDatasetRegistry} from "./interfaces/IDatasetRegistry.sol";
import {INoiseRegistry} from "./interfaces/INoiseRegistry.sol";
import {IResearchMarket} from "./interfaces/IResearchMarket.sol";
import {
    CreditWithdrawal,
    EarningsWithdrawal,
    MarketPolicy,
    Permit,
    RequestTerms,
    RequestView,
    Settlement,
    ShardRef,
    Stage
} from "./interfaces/IResearchMarket.sol";
import {IResearcherRegistry} from "./interfaces/IResearcherRegistry.sol";
import {ClassTerms, Credential} from "./types/DataUseTypes.sol";
import {ClassId, DatasetId, RequestId, classOf} from "./types/Ids.sol";
import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// See IResearchMarket.
contract ResearchMarket is
    IResearchMarket,
    AccessControl,
    Pausable,
    ReentrancyGuardTransient,
    SignedMessages,
    TolerantBatch,
    UnorderedNonces
{
    using SafeERC20 for IERC20;

    bytes32 public constant OPERATOR = keccak256("OPERATOR");
    bytes32 public constant PAUSER = keccak256("PAUSER");

    uint8 public constant VAULT = 1;
    uint8 public constant HOMOMORPHIC = 2;
    uint16 public constant SCHEMA = 1;
    /// One request freezes at most so many shards, so that a freeze fits a transaction.
    uint256 public constant MOST_SHARDS = 64;
    /// The patients' meters count whole token units in 56 bits; a finer token would overflow them.
    uint8 public constant MOST_DECIMALS = 6;
    /// No deadline further off than this, so that money cannot be locked for years. Seconds.
    uint40 public constant LONGEST_WAIT = 30 days;

    bytes32 private constant GATE_KEY = keccak256("GateKey(bytes32 request,bytes32 root,bytes32 key)");
    bytes32 private constant TURN_CERTIFICATE = keccak256("TurnCertificate(bytes32 request,bytes32 root,uint32 epoch)");
    bytes32 private constant SETTLEMENT = keccak256(
        "Settlement(bytes32 request,bytes32 root,uint32 epoch,uint8 lane,uint16 schema,bytes32 ciphertextRoot,bytes32 noise,bytes32 resultHash,bytes32 deliveryHash,address gate)"
    );
    bytes32 private constant CREDIT_WITHDRAWAL =
        keccak256("CreditWithdrawal(address account,address to,uint256 nonce,uint40 deadline)");
    bytes32 private constant EARNINGS_WITHDRAWAL =
        keccak256("EarningsWithdrawal(address patient,bytes32 dataset,address to,uint256 nonce,uint40 deadline)");

    IERC20 public immutable TOKEN;
    IDatasetRegistry public immutable DATASETS;
    IResearcherRegistry public immutable RESEARCHERS;
    IConsentRegistry public immutable CONSENTS;
    ICustodianCommittee public immutable COMMITTEE;
    INoiseRegistry public immutable NOISES;

    MarketPolicy private _policy;
    mapping(RequestId => RequestView) private _requests;
    // It is filled by push, through a storage reference, which the analyser does not follow.
    // slither-disable-next-line uninitialized-state
    mapping(RequestId => ShardRef[]) private _requestShards;
    mapping(address account => uint256) private _credits;
    mapping(address operator => uint256) private _bonds;

    // Law: each equals the sum of what it tracks, and the token balance is at least their sum.
    uint256 private _escrows;
    uint256 private _lockedBonds;
    uint256 private _freeBonds;
    uint256 private _creditTotal;
    uint256 private _earnings;

    constructor(
        address admin,
        IERC20Metadata token,
        IDatasetRegistry datasets,
        IResearcherRegistry researchers,
        IConsentRegistry consents,
        ICustodianCommittee committee,
        INoiseRegistry noises,
        MarketPolicy memory rules
    ) EIP712("Usufruct ResearchMarket", "1") {
        if (token.decimals() > MOST_DECIMALS) {
            revert TokenHasTooManyDecimals(token.decimals());
        }
        if (rules.minimumCohort < 2) revert PolicyInvalid("minimumCohort");
        if (rules.freezeWindow == 0) revert PolicyInvalid("freezeWindow");
        if (rules.gateWindow == 0) revert PolicyInvalid("gateWindow");
        if (rules.turnWindow == 0) revert PolicyInvalid("turnWindow");
        if (rules.certificateWindow == 0) revert PolicyInvalid("certificateWindow");
        if (rules.unusedFreezeBps > 10_000) revert PolicyInvalid("unusedFreezeBps");
        if (rules.minimumBond == 0) revert PolicyInvalid("minimumBond");
        TOKEN = token;
        DATASETS = datasets;
        RESEARCHERS = researchers;
        CONSENTS = consents;
        COMMITTEE = committee;
        NOISES = noises;
        _policy = rules;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// Stops new requests and freezes. Settlement, defaults, reclaims and withdrawals go on.
    function pause() external onlyRole(PAUSER) {
        _pause();
    }

    function unpause() external onlyRole(PAUSER) {
        _unpause();
    }

    // --- open, cancel

    /// @inheritdoc IResearchMarket
    function open(RequestTerms calldata terms, ClassTerms[] calldata classes)
        external
        whenNotPaused
        nonReentrant
        returns (RequestId)
    {
        return _open(terms, classes);
    }

    /// @inheritdoc IResearchMarket
    function openWithPermit(RequestTerms calldata terms, ClassTerms[] calldata classes, Permit calldata permit)
        external
        whenNotPaused
        nonReentrant
        returns (RequestId)
    {
        // Anybody may have shown this permit already: what counts is the allowance, at the transfer.
        try IERC20Permit(address(TOKEN))
            .permit(msg.sender, address(this), permit.value, permit.deadline, permit.v, permit.r, permit.s) {}
            catch {}
        return _open(terms, classes);
    }

    function _open(RequestTerms calldata terms, ClassTerms[] calldata classes) private returns (RequestId request) {
        // Check
        request = requestId(msg.sender, terms);
        RequestView storage r = _requests[request];
        if (r.stage != Stage.None) revert RequestExists(request);
        _requireValid(terms);
        _requirePermitted(msg.sender, terms, classes);
        // Effect
        uint256 escrow = uint256(terms.maxPatients) * terms.price + terms.fee;
        r.researcher = msg.sender;
        r.stage = Stage.Opened;
        r.lane = terms.lane;
        r.openedAt = uint40(block.timestamp);
        r.sealDeadline = terms.sealDeadline;
        r.settleDeadline = terms.settleDeadline;
        r.cost = terms.cost;
        r.price = terms.price;
        r.maxPatients = terms.maxPatients;
        r.fee = terms.fee;
        r.dataset = terms.dataset;
        r.escrow = uint96(escrow); // 32 + 56 bits and 64 bits fit
        _escrows += escrow;
        emit RequestOpened(request, msg.sender, terms);
        // Interaction
        _takeIn(escrow);
    }

    /// What is wrong with the terms themselves, whatever the state of the world.
    function _requireValid(RequestTerms calldata terms) private view {
        if (terms.lane != VAULT && terms.lane != HOMOMORPHIC) revert TermsInvalid("lane");
        if (terms.classes.length == 0) revert TermsInvalid("classes");
        if (terms.cost == 0) revert TermsInvalid("cost");
        if (terms.analysis == 0) revert TermsInvalid("analysis");
        if (terms.parameters == 0) revert TermsInvalid("parameters");
        if (terms.deliveryKey == 0) revert TermsInvalid("deliveryKey");
        if (terms.maxPatients < _policy.minimumCohort) revert TermsInvalid("maxPatients");
        if (terms.sealDeadline <= block.timestamp + _policy.noticeWindow) revert TermsInvalid("sealDeadline");
        if (terms.sealDeadline > block.timestamp + LONGEST_WAIT) revert TermsInvalid("sealDeadline");
        uint256 turns = uint256(terms.sealDeadline) + _policy.turnWindow;
        if (terms.settleDeadline < turns || terms.settleDeadline > turns + LONGEST_WAIT) {
            revert TermsInvalid("settleDeadline");
        }
    }

    /// Credential, dataset, and for every class: data use, release kind, cost and price floors.
    function _requirePermitted(address researcher, RequestTerms calldata terms, ClassTerms[] calldata classes)
        private
        view
    {
        if (classes.length != terms.classes.length) {
            revert ClassesMismatch(terms.classes.length, classes.length);
        }
        Credential memory credential = RESEARCHERS.requireCredential(researcher);
        uint16 previous = 0;
        for (uint256 i = 0; i < classes.length; ++i) {
            uint16 index = terms.classes[i];
            if (index <= previous) revert TermsInvalid("classes");
            previous = index;
            _requireClassPermits(classOf(terms.dataset, index), terms, classes[i], credential);
        }
    }

    function _requireClassPermits(
        ClassId class,
        RequestTerms calldata terms,
        ClassTerms calldata offered,
        Credential memory credential
    ) private view {
        DATASETS.requirePermitted(class, offered, terms.purpose, credential);
        _requireOffer(class, offered, terms);
    }

    function _requireOffer(ClassId class, ClassTerms calldata offered, RequestTerms calldata terms) private pure {
        if (terms.releaseKind > 31 || (offered.releaseKinds >> terms.releaseKind) & 1 == 0) {
            revert TermsInvalid("releaseKind");
        }
        if (terms.cost > offered.maxCost) revert CostAboveClass(class, offered.maxCost, terms.cost);
        // Rounded up: a floor is never undercut by a fraction.
        uint256 floor = (uint256(offered.floorPerMilliRho) * terms.cost + 999_999) / 1_000_000;
        if (offered.floorPerRecord > floor) floor = offered.floorPerRecord;
        if (terms.price < floor) revert PriceBelowFloor(class, floor, terms.price);
    }

    /// @inheritdoc IResearchMarket
    function cancel(RequestId request) external {
        RequestView storage r = _requireStage(request, Stage.Opened);
        if (msg.sender != r.researcher) revert NotResearcher(msg.sender);
        r.stage = Stage.Cancelled;
        _releaseEscrow(r, r.researcher, r.escrow);
        emit RequestCancelled(request);
    }

    // --- freeze, tidy, seal

    /// @inheritdoc IResearchMarket
    function freeze(address researcher, RequestTerms calldata terms, ClassTerms[] calldata classes)
        external
        whenNotPaused
        onlyRole(OPERATOR)
    {
        // Check
        RequestId request = requestId(researcher, terms);
        RequestView storage r = _requireStage(request, Stage.Opened);
        uint40 noticeEnds = r.openedAt + _policy.noticeWindow;
        if (block.timestamp < noticeEnds) revert NoticeStillRunning(noticeEnds);
        if (block.timestamp >= r.sealDeadline) revert SealDeadlinePassed(r.sealDeadline);
        _requirePermitted(researcher, terms, classes);
        uint32 epoch = _epochFor(r.lane);
        // Effect
        uint40 until = uint40(block.timestamp) + _policy.freezeWindow;
        if (until > r.sealDeadline) until = r.sealDeadline;
        r.stage = Stage.Frozen;
        r.operator = msg.sender;
        r.epoch = epoch;
        r.frozenUntil = until;
        // Interaction: our own registry, which never calls back.
        uint256 live = _freezeShards(request, terms);
        if (live < _policy.minimumCohort) revert CohortTooSmall(live, _policy.minimumCohort);
        if (live > r.maxPatients) revert CohortTooLarge(live, r.maxPatients);
        uint96 bond = _lockBond(r, live);
        emit RequestFrozen(request, msg.sender, epoch, uint32(live), bond, until);
    }

    /// The epoch in force. Nothing could be computed on ciphertext if its custodians had no joint key.
    function _epochFor(uint8 lane) private view returns (uint32 epoch) {
        epoch = COMMITTEE.currentEpoch();
        if (lane == HOMOMORPHIC) COMMITTEE.requireJointKey(epoch);
    }

    /// The registry is our own and never calls back, so what is written behind its calls is safe.
    // slither-disable-next-line reentrancy-no-eth
    function _freezeShards(RequestId request, RequestTerms calldata terms) private returns (uint256 live) {
        ShardRef[] storage shards = _requestShards[request];
        uint40 until = _requests[request].frozenUntil;
        for (uint256 i = 0; i < terms.classes.length; ++i) {
            ClassId class = classOf(terms.dataset, terms.classes[i]);
            uint16 number = CONSENTS.shardsOf(class);
            for (uint16 shard = 0; shard < number; ++shard) {
                live += CONSENTS.freezeShard(request, class, shard, until);
                shards.push(ShardRef(terms.classes[i], shard));
            }
        }
        if (shards.length > MOST_SHARDS) revert TooManyShards(shards.length, MOST_SHARDS);
        _requests[request].shards = uint16(shards.length);
    }

    /// The bond makes the researcher whole: all that patients could be paid for this request.
    function _lockBond(RequestView storage r, uint256 live) private returns (uint96 bond) {
        uint256 needed = live * r.price;
        if (needed < _policy.minimumBond) needed = _policy.minimumBond;
        if (_bonds[msg.sender] < needed) revert BondTooSmall(needed, _bonds[msg.sender]);
        bond = uint96(needed);
        _bonds[msg.sender] -= needed;
        _freeBonds -= needed;
        r.bond = bond;
        _lockedBonds += needed;
    }

    /// @inheritdoc IResearchMarket
    function tidy(RequestId request, uint16 shard, uint256[] calldata words) external {
        RequestView storage r = _requireStage(request, Stage.Frozen);
        if (shard >= r.shards) revert UnknownShard(shard);
        ShardRef memory s = _requestShards[request][shard];
        uint256 left = CONSENTS.tidyShard(request, classOf(r.dataset, s.class), s.shard, words, r.cost);
        emit RequestTidied(request, shard, left);
    }

    /// @inheritdoc IResearchMarket
    function seal(RequestId request) external onlyRole(OPERATOR) {
        _sealNext(request, _requireSealable(request));
    }

    /// @inheritdoc IResearchMarket
    function sealAll(RequestId request) external onlyRole(OPERATOR) {
        RequestView storage r = _requireSealable(request);
        while (r.sealedShards != r.shards) _sealNext(request, r);
    }

    function _requireSealable(RequestId request) private view returns (RequestView storage r) {
        r = _requireStage(request, Stage.Frozen);
        if (msg.sender != r.operator) revert NotRequestOperator(msg.sender);
        if (r.sealedShards == 0) _requireEnoughLive(request, r);
    }

    function _sealNext(RequestId request, RequestView storage r) private {
        ShardRef memory s = _requestShards[request][r.sealedShards];
        // Interaction: our own registry, which never calls back.
        (bytes32 shardRoot, uint32 members) =
            CONSENTS.sealShard(request, classOf(r.dataset, s.class), s.shard, r.cost, r.price);
        // Effect: the members are paid.
        uint256 paid = uint256(members) * r.price;
        r.escrow -= uint96(paid);
        _escrows -= paid;
        _earnings += paid;
        r.members += members;
        bytes32 previous = r.sealedShards == 0 ? _firstRoot(request, r.shards) : r.root;
        r.root = keccak256(abi.encode(previous, shardRoot));
        if (++r.sealedShards == r.shards) _finishSeal(request, r);
    }

    /// Before the first shard is sealed, and so before anything is paid: is the cohort still large enough?
    function _requireEnoughLive(RequestId request, RequestView storage r) private view {
        uint256 live = _liveNow(request, r);
        if (live < _policy.minimumCohort) revert CohortTooSmall(live, _policy.minimumCohort);
    }

    function _liveNow(RequestId request, RequestView storage r) private view returns (uint256 live) {
        for (uint256 i = 0; i < r.shards; ++i) {
            ShardRef memory s = _requestShards[request][i];
            live += CONSENTS.shardOf(classOf(r.dataset, s.class), s.shard).live;
        }
    }

    /// @inheritdoc IResearchMarket
    function dissolve(RequestId request) external {
        RequestView storage r = _requireStage(request, Stage.Frozen);
        if (r.sealedShards != 0) revert WrongStage(request, Stage.Frozen, Stage.Sealed);
        uint256 live = _liveNow(request, r);
        if (live >= _policy.minimumCohort) revert CohortStillLarge(live, _policy.minimumCohort);
        r.stage = Stage.Reclaimed;
        _endBond(r, 0);
        _releaseEscrow(r, r.researcher, r.escrow);
        emit RequestReclaimed(request, Stage.Frozen);
        // Interaction: our own registry, which never calls back.
        _thaw(request, r);
    }

    function _firstRoot(RequestId request, uint16 shards) private view returns (bytes32) {
        return keccak256(abi.encode("usufruct/cohort/1", block.chainid, address(this), request, shards));
    }

    function _finishSeal(RequestId request, RequestView storage r) private {
        if (r.members < _policy.minimumCohort) revert CohortTooSmall(r.members, _policy.minimumCohort);
        r.stage = Stage.Sealed;
        r.sealBlock = uint64(block.number);
        _releaseEscrow(r, r.researcher, r.escrow - r.fee);
        emit RequestSealed(request, r.root, r.members);
        if (r.lane == VAULT) r.drawBlock = uint64(block.number) + 1;
        else r.gateDrawnAt = uint40(block.timestamp);
    }

    // --- the gate

    /// @inheritdoc IResearchMarket
    function drawGate(RequestId request) external {
        RequestView storage r = _requireGated(request);
        if (r.gate != address(0)) revert GateAlreadyDrawn(request);
        if (block.number <= r.drawBlock) revert DrawTooEarly(r.drawBlock);
        bytes32 hash = blockhash(r.drawBlock);
        if (hash == 0) {
            r.drawBlock = uint64(block.number) + 1;
            return;
        }
        // Fifteen bits: where redraws wrapped around, the gate after the last could be the silent one again.
        r.gateDraw = uint16(uint256(keccak256(abi.encode(r.root, hash)))) >> 1;
        _nameGate(request, r);
    }

    function _nameGate(RequestId request, RequestView storage r) private {
        r.gate = COMMITTEE.gateAt(r.epoch, r.gateDraw);
        r.gateDrawnAt = uint40(block.timestamp);
        emit GateDrawn(request, r.gate, r.gateDraw);
    }

    /// @inheritdoc IResearchMarket
    function recordGateKey(RequestId request, bytes32 key, bytes calldata signature) external {
        RequestView storage r = _requireGated(request);
        if (r.gate == address(0)) revert GateNotDrawn(request);
        if (r.gateKey != 0) revert GateKeyAlreadyRecorded(request);
        if (key == 0) revert GateKeyEmpty();
        _requireSigned(r.gate, keccak256(abi.encode(GATE_KEY, request, r.root, key)), signature);
        r.gateKey = key;
        emit GateKeyRecorded(request, r.gate, key);
    }

    /// @inheritdoc IResearchMarket
    function redrawGate(RequestId request) external {
        RequestView storage r = _requireGated(request);
        if (r.gate == address(0)) revert GateNotDrawn(request);
        if (r.gateKey != 0) revert GateKeyAlreadyRecorded(request);
        uint40 until = r.gateDrawnAt + _policy.gateWindow;
        if (block.timestamp <= until) revert GateWindowRunning(until);
        unchecked {
            ++r.gateDraw; // the next one in the epoch's list
        }
        _nameGate(request, r);
    }

    // --- settle, default, reclaim

    /// @inheritdoc IResearchMarket
    function settle(Settlement calldata s, bytes calldata sealedResult, QuorumSignature[] calldata signatures)
        external
    {
        // Check
        RequestView storage r = _requireStage(s.request, Stage.Sealed);
        if (msg.sender != r.operator) revert NotRequestOperator(msg.sender);
        if (block.timestamp > r.settleDeadline) revert SettleDeadlinePassed(r.settleDeadline);
        _requireMatches(r, s, sealedResult);
        COMMITTEE.requireQuorum(r.epoch, _hashTypedDataV4(keccak256(abi.encode(SETTLEMENT, s))), signatures);
        // Effect: fee and bond are credited, never pushed.
        r.stage = Stage.Settled;
        r.resultHash = s.resultHash;
        _releaseEscrow(r, r.operator, r.escrow);
        _endBond(r, 0);
        emit RequestSettled(s.request, s, sealedResult);
    }

    function _requireMatches(RequestView storage r, Settlement calldata s, bytes calldata sealedResult) private view {
        bytes32 noise = _requireNoised(s.request, r);
        if (s.root != r.root) revert SettlementMismatch("root");
        if (s.epoch != r.epoch) revert SettlementMismatch("epoch");
        if (s.lane != r.lane) revert SettlementMismatch("lane");
        if (s.schema != SCHEMA) revert SettlementMismatch("schema");
        if (s.gate != r.gate) revert SettlementMismatch("gate");
        if (s.noise != noise) revert SettlementMismatch("noise");
        if (s.resultHash == 0) revert SettlementMismatch("resultHash");
        if (keccak256(sealedResult) != s.deliveryHash) revert SettlementMismatch("deliveryHash");
    }

    /// What a settlement says of the noise: in the vault lane nothing, since the gate draws it; in the homomorphic
    /// lane what the custodians fixed.
    function _requireNoised(RequestId request, RequestView storage r) private view returns (bytes32 noise) {
        if (r.lane == VAULT) {
            if (r.gateKey == 0) revert NoGateKey(request);
            return 0;
        }
        // Whose noise it is, is part of its hash.
        // slither-disable-next-line unused-return
        (, noise) = NOISES.noiseOf(request);
        if (noise == 0) revert NoNoise(request);
    }

    /// @inheritdoc IResearchMarket
    function defaultCertified(RequestId request, QuorumSignature[] calldata certificate) external {
        // Check
        RequestView storage r = _requireStage(request, Stage.Sealed);
        _requireAfter(r.settleDeadline);
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(TURN_CERTIFICATE, request, r.root, r.epoch)));
        COMMITTEE.requireQuorum(r.epoch, digest, certificate);
        // Effect: keys were turned and no answer came, so the operator's bond repays the researcher what the
        // patients were paid, and not more: nobody may gain by a default.
        r.stage = Stage.Defaulted;
        _releaseEscrow(r, r.researcher, r.escrow);
        _endBond(r, uint256(r.members) * r.price);
        emit RequestDefaulted(request, true);
    }

    /// @inheritdoc IResearchMarket
    function defaultUncertified(RequestId request) external {
        RequestView storage r = _requireStage(request, Stage.Sealed);
        _requireAfter(r.settleDeadline + _policy.certificateWindow);
        r.stage = Stage.Defaulted;
        _releaseEscrow(r, r.researcher, r.escrow);
        _endBond(r, 0);
        emit RequestDefaulted(request, false);
    }

    /// @inheritdoc IResearchMarket
    function reclaim(RequestId request) external {
        RequestView storage r = _requests[request];
        Stage from = r.stage;
        if (from == Stage.Opened) {
            _requireAfter(r.sealDeadline);
            r.stage = Stage.Reclaimed;
        } else {
            _requireStage(request, Stage.Frozen);
            _requireAfter(r.frozenUntil);
            r.stage = Stage.Reclaimed;
            _endUnusedFreeze(r);
        }
        _releaseEscrow(r, r.researcher, r.escrow);
        emit RequestReclaimed(request, from);
        // Interaction: our own registry, which never calls back.
        _thaw(request, r);
    }

    /// An unused freeze costs part of the bond; a half-used one costs what the sealed shards were paid.
    function _endUnusedFreeze(RequestView storage r) private {
        uint256 penalty = (uint256(r.bond) * _policy.unusedFreezeBps) / 10_000;
        uint256 paid = uint256(r.members) * r.price;
        if (paid > penalty) penalty = paid;
        _endBond(r, penalty);
    }

    function _thaw(RequestId request, RequestView storage r) private {
        for (uint256 i = r.sealedShards; i < r.shards; ++i) {
            ShardRef memory s = _requestShards[request][i];
            CONSENTS.thawShard(request, classOf(r.dataset, s.class), s.shard);
        }
    }

    // --- money

    function _releaseEscrow(RequestView storage r, address to, uint256 amount) private {
        r.escrow -= uint96(amount);
        _escrows -= amount;
        _credit(to, amount);
    }

    /// `forfeit` of the bond goes to the researcher, what is left back to the operator.
    function _endBond(RequestView storage r, uint256 forfeit) private {
        uint256 bond = r.bond;
        if (forfeit > bond) forfeit = bond;
        r.bond = 0;
        _lockedBonds -= bond;
        _credit(r.researcher, forfeit);
        _freeBonds += bond - forfeit;
        _bonds[r.operator] += bond - forfeit;
    }

    function _credit(address account, uint256 amount) private {
        if (amount == 0) return;
        _credits[account] += amount;
        _creditTotal += amount;
    }

    /// @inheritdoc IResearchMarket
    function postBond(uint256 amount) external nonReentrant {
        _bonds[msg.sender] += amount;
        _freeBonds += amount;
        emit BondPosted(msg.sender, amount);
        // Interaction
        _takeIn(amount);
    }

    /// @inheritdoc IResearchMarket
    function releaseBond(address to, uint256 amount) external nonReentrant {
        if (amount > _bonds[msg.sender]) revert BondTooSmall(amount, _bonds[msg.sender]);
        _bonds[msg.sender] -= amount;
        _freeBonds -= amount;
        emit BondReleased(msg.sender, to, amount);
        // Interaction
        _pay(to, amount);
    }

    /// @inheritdoc IResearchMarket
    function withdrawCredit(address to) external nonReentrant {
        _withdrawCredit(msg.sender, to);
    }

    /// @inheritdoc IResearchMarket
    function withdrawCreditBySig(CreditWithdrawal calldata w, bytes calldata signature) external nonReentrant {
        _requireInTime(w.deadline);
        _requireSigned(w.account, keccak256(abi.encode(CREDIT_WITHDRAWAL, w)), signature);
        _useNonce(w.account, w.nonce);
        _withdrawCredit(w.account, w.to);
    }

    function _withdrawCredit(address account, address to) private {
        uint256 amount = _credits[account];
        if (amount == 0) revert NothingOwed(account);
        // Effect: forget the debt.
        _credits[account] = 0;
        _creditTotal -= amount;
        emit CreditWithdrawn(account, to, amount);
        // Interaction
        _pay(to, amount);
    }

    /// @inheritdoc IResearchMarket
    function withdrawEarnings(DatasetId dataset, address to) external nonReentrant {
        _withdrawEarnings(msg.sender, dataset, to);
    }

    /// @inheritdoc IResearchMarket
    function withdrawEarningsBySig(EarningsWithdrawal calldata w, bytes calldata signature) external nonReentrant {
        _requireInTime(w.deadline);
        _requireSigned(w.patient, keccak256(abi.encode(EARNINGS_WITHDRAWAL, w)), signature);
        _useNonce(w.patient, w.nonce);
        _withdrawEarnings(w.patient, w.dataset, w.to);
    }

    function _withdrawEarnings(address patient, DatasetId dataset, address to) private {
        // Effect: the registry forgets the debt, and so do we.
        uint256 amount = CONSENTS.collect(dataset, patient);
        if (amount == 0) revert NothingOwed(patient);
        _earnings -= amount;
        emit EarningsWithdrawn(patient, dataset, to, amount);
        // Interaction
        _pay(to, amount);
    }

    /// What came in is what the balance says, not what the token claims.
    function _takeIn(uint256 amount) private {
        uint256 before = TOKEN.balanceOf(address(this));
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = TOKEN.balanceOf(address(this)) - before;
        if (received != amount) revert TransferShort(amount, received);
    }

    function _pay(address to, uint256 amount) private {
        if (to == address(0) || to == address(this)) revert InvalidDestination(to);
        TOKEN.safeTransfer(to, amount);
    }

    // --- who and when

    function _requireStage(RequestId request, Stage expected) private view returns (RequestView storage r) {
        r = _requests[request];
        if (r.stage != expected) revert WrongStage(request, expected, r.stage);
    }

    function _requireGated(RequestId request) private view returns (RequestView storage r) {
        r = _requireStage(request, Stage.Sealed);
        if (r.lane != VAULT) revert WrongLane(request, r.lane);
    }

    function _requireAfter(uint40 deadline) private view {
        if (block.timestamp <= deadline) revert DeadlineRunning(deadline);
    }

    // --- views

    /// @inheritdoc IResearchMarket
    function requestId(address researcher, RequestTerms calldata terms) public view returns (RequestId) {
        return
            RequestId.wrap(keccak256(abi.encode("usufruct/request/1", block.chainid, address(this), researcher, terms)));
    }

    /// @inheritdoc IResearchMarket
    function requestOf(RequestId request) external view returns (RequestView memory) {
        return _requests[request];
    }

    /// @inheritdoc IResearchMarket
    function shardsOf(RequestId request) external view returns (ShardRef[] memory) {
        return _requestShards[request];
    }

    /// @inheritdoc IResearchMarket
    function policy() external view returns (MarketPolicy memory) {
        return _policy;
    }

    /// @inheritdoc IResearchMarket
    function creditOf(address account) external view returns (uint256) {
        return _credits[account];
    }

    /// @inheritdoc IResearchMarket
    function bondOf(address operator) external view returns (uint256) {
        return _bonds[operator];
    }

    /// @inheritdoc IResearchMarket
    function liabilities()
        external
        view
        returns (uint256 escrows, uint256 lockedBonds, uint256 freeBonds, uint256 credits, uint256 earnings)
    {
        return (_escrows, _lockedBonds, _freeBonds, _creditTotal, _earnings);
    }
}
