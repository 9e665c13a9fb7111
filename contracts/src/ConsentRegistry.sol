// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {SignedMessages} from "./base/SignedMessages.sol";
import {TolerantBatch} from "./base/TolerantBatch.sol";
import {UnorderedNonces} from "./base/UnorderedNonces.sol";
import {IConsentRegistry} from "./interfaces/IConsentRegistry.sol";
import {
    ConsentState,
    ConsentView,
    Erasure,
    Grant,
    Guardianship,
    Pause,
    Revocation,
    Rotation,
    ShardView
} from "./interfaces/IConsentRegistry.sol";
import {IDatasetRegistry, Record} from "./interfaces/IDatasetRegistry.sol";
import {ConsentWord, WORD_SEATS, packWord} from "./types/ConsentWord.sol";
import {ClassId, DatasetId, RequestId, classOf} from "./types/Ids.sol";
import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// See IConsentRegistry.
contract ConsentRegistry is IConsentRegistry, AccessControl, Pausable, SignedMessages, TolerantBatch, UnorderedNonces {
    bytes32 public constant PAUSER = keccak256("PAUSER");

    uint256 public constant SHARD_WORDS = 4096;
    uint256 public constant SHARD_SEATS = SHARD_WORDS * WORD_SEATS;
    /// A cohort root is a hash over hashes of chunks, so that one patient's inclusion proof is small.
    uint256 public constant CHUNK_WORDS = 256;
    /// No cap above this, so that `spent + cap` fits its 56 bits for thousands of lifetimes.
    uint56 public constant LARGEST_CAP = 2 ** 48 - 1;
    uint256 private constant BITMAP_BYTES = 20;
    /// So that shard and place fit 32 bits.
    uint16 private constant LARGEST_SHARDS = 4095;
    RequestId private constant NO_REQUEST = RequestId.wrap(0);

    bytes32 private constant GRANT = keccak256(
        "Grant(address patient,bytes32 dataset,bytes32 class,bytes32 definition,uint56 cap,uint40 expiry,uint32 sequence,uint40 deadline)"
    );
    bytes32 private constant REVOCATION = keccak256("Revocation(address patient,bytes32 dataset,uint32 sequence)");
    bytes32 private constant REST =
        keccak256("Rest(address patient,bytes32 dataset,uint32 sequence,uint256 nonce,uint40 deadline)");
    bytes32 private constant WAKE =
        keccak256("Wake(address patient,bytes32 dataset,uint32 sequence,uint256 nonce,uint40 deadline)");
    bytes32 private constant GUARDIANSHIP = keccak256(
        "Guardianship(address patient,bytes32 dataset,address guardian,uint40 expiry,bool mayGrant,uint256 nonce,uint40 deadline)"
    );
    bytes32 private constant ERASURE = keccak256("Erasure(address patient,bytes32 dataset,uint32 version)");
    bytes32 private constant ROTATION = keccak256("Rotation(bytes32 dataset,address from,address to,uint40 deadline)");

    /// One slot. While live, lifetime spend is `cap - (exhaustion - shard.spent)` and `spent` is stale;
    /// otherwise `spent` is the lifetime spend.
    struct Consent {
        ConsentState state; // 8 bits
        uint16 class; // index in the dataset; 0 if no seat was ever assigned
        uint32 seat; // shard * SHARD_SEATS + place
        uint32 sequence;
        // While live, the shard's meter less what was already owed (modulo 2^56); otherwise, what is owed. One
        // subtraction turns each into the other, so that a first earning costs no slot of its own.
        uint56 earned;
        uint56 cap; // nano-rho
        uint56 spent; // nano-rho
    }

    /// One slot, by place: what `tidy` and `wake` must know when they walk a word.
    struct Seat {
        address patient;
        uint40 expiry;
        uint56 exhaustion; // on the shard's `spent` meter; meaningful while live
    }

    struct Guardian {
        address guardian;
        uint40 expiry;
        bool mayGrant;
    }

    struct Shard {
        // one slot
        uint56 spent; // nano-rho per member so far; only rises
        uint56 earned; // token units per member so far; only rises
        uint32 live;
        uint32 used;
        uint32 free;
        uint40 frozenUntil; // frozen while block.timestamp <= this
        // own slots
        RequestId frozenFor;
        ConsentWord[4096] words;
        mapping(uint256 word => uint256 bits) waiting; // resting consents that `wake` should look at
        mapping(uint256 place => Seat) seats;
        mapping(uint256 index => uint24 place) freed;
    }

    IDatasetRegistry public immutable DATASETS;
    /// A grant must last at least this long, so that nobody can make every cohort go stale. Seconds.
    uint40 public immutable MINIMUM_HORIZON;
    /// Between two freezes of a shard, so that nobody can keep it frozen and its new grants resting. Seconds.
    uint40 public immutable THAW_GAP;
    address public market;

    mapping(ClassId => uint16) private _shardCount;
    mapping(ClassId => mapping(uint256 shard => Shard)) private _shards;
    mapping(DatasetId => mapping(address patient => Consent)) private _consents;
    mapping(DatasetId => mapping(address patient => Guardian)) private _guardians;

    constructor(address admin, IDatasetRegistry datasets, uint40 minimumHorizon, uint40 thawGap)
        EIP712("Usufruct ConsentRegistry", "1")
    {
        DATASETS = datasets;
        MINIMUM_HORIZON = minimumHorizon;
        THAW_GAP = thawGap;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    modifier onlyMarket() {
        _requireMarket();
        _;
    }

    /// Names the market, once and for ever.
    function bindMarket(address bound) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (market != address(0)) revert AlreadyBound(market);
        market = bound;
    }

    /// Stops new grants and wakes. Nothing else stops.
    function pause() external onlyRole(PAUSER) {
        _pause();
    }

    function unpause() external onlyRole(PAUSER) {
        _unpause();
    }

    // --- grants

    /// @inheritdoc IConsentRegistry
    function grant(Grant calldata g) external {
        _requireMayGrant(msg.sender, g.patient, g.dataset);
        _grant(g);
    }

    /// @inheritdoc IConsentRegistry
    function grantBySig(Grant calldata g, address signer, bytes calldata signature) external {
        _requireMayGrant(signer, g.patient, g.dataset);
        _requireSigned(signer, keccak256(abi.encode(GRANT, g)), signature);
        _grant(g);
    }

    function _grant(Grant calldata g) private whenNotPaused {
        // Check
        Consent memory c = _consents[g.dataset][g.patient];
        _requireInTime(g.deadline);
        if (c.state == ConsentState.Moved) revert AddressMoved(g.patient);
        if (g.sequence != c.sequence + 1) revert WrongSequence(c.sequence + 1, g.sequence);
        if (g.class.datasetOf() != g.dataset || g.class.indexOf() == 0) revert ClassOutsideDataset(g.class, g.dataset);
        uint40 earliest = uint40(block.timestamp) + MINIMUM_HORIZON;
        if (g.expiry < earliest) revert ExpiryTooSoon(g.expiry, earliest);
        if (g.cap > LARGEST_CAP) revert CapTooLarge(g.cap, LARGEST_CAP);
        uint56 maxCost = _requireGrantable(g);

        // Effect: leave where the patient was, then take a seat.
        if (c.state != ConsentState.None) _leave(g.dataset, c);
        uint56 left = g.cap > c.spent ? g.cap - c.spent : 0;
        if (left < maxCost) revert BudgetTooSmall(left, maxCost);
        _takeSeat(g.class, g.dataset, c);
        c.sequence = g.sequence;
        c.cap = g.cap;
        bool live = _settleIn(g.class, c, g.patient, g.expiry);
        _consents[g.dataset][g.patient] = c;
        emit Granted(g.patient, g.class, _shardOfSeat(c.seat), _placeOfSeat(c.seat), g.sequence, g.cap, g.expiry, live);
    }

    function _requireGrantable(Grant calldata g) private view returns (uint56 maxCost) {
        bytes32 definition;
        (definition, maxCost) = DATASETS.grantConditions(g.class, g.patient);
        if (definition != g.definition) revert WrongDefinition(definition, g.definition);
    }

    /// A patient who comes back to a class finds the old seat; who changes class leaves it to others.
    function _takeSeat(ClassId class, DatasetId dataset, Consent memory c) private {
        uint16 index = class.indexOf();
        if (c.class == index) return;
        if (c.class != 0) _vacate(classOf(dataset, c.class), c.seat);
        c.class = index;
        c.seat = _assign(class);
    }

    function _vacate(ClassId class, uint32 seat) private {
        Shard storage shard = _shards[class][_shardOfSeat(seat)];
        uint24 place = _placeOfSeat(seat);
        shard.freed[shard.free++] = place;
    }

    /// A freed place may be given away only while no cohort is being counted in its shard: between freeze
    /// and seal a place must not change hands.
    function _assign(ClassId class) private returns (uint32 seat) {
        uint16 shards = _shardCount[class];
        if (shards != 0) {
            Shard storage last = _shards[class][shards - 1];
            if (last.free != 0 && !_isFrozen(last)) return _seatOf(shards - 1, last.freed[--last.free]);
            if (last.used < SHARD_SEATS) return _seatOf(shards - 1, last.used++);
        }
        if (shards == LARGEST_SHARDS) revert ClassFull(class);
        _shardCount[class] = shards + 1;
        _shards[class][shards].used = 1;
        return _seatOf(shards, 0);
    }

    /// Fills the seat: live, or resting where a cohort is being counted.
    function _settleIn(ClassId class, Consent memory c, address patient, uint40 expiry) private returns (bool live) {
        Shard storage shard = _shards[class][_shardOfSeat(c.seat)];
        uint256 place = _placeOfSeat(c.seat);
        live = !_isFrozen(shard);
        if (live) {
            shard.seats[place] = Seat(patient, expiry, _goLive(shard, c, place, expiry));
        } else {
            shard.seats[place] = Seat(patient, expiry, 0);
            shard.waiting[place / WORD_SEATS] |= 1 << (place % WORD_SEATS);
            c.state = ConsentState.Resting;
        }
    }

    /// Sets the bit and starts the meters. Caller stores `c` and the seat's exhaustion.
    function _goLive(Shard storage shard, Consent memory c, uint256 place, uint40 expiry)
        private
        returns (uint56 exhaustion)
    {
        exhaustion = shard.spent + (c.cap - c.spent);
        uint256 word = place / WORD_SEATS;
        shard.words[word] = shard.words[word].withMember(place % WORD_SEATS, expiry, exhaustion);
        ++shard.live;
        c.state = ConsentState.Live;
        // From what is owed to the meter less what is owed.
        unchecked {
            c.earned = shard.earned - c.earned;
        }
    }

    // --- revocations: no pause, no deadline, no other contract, nothing that could refuse

    /// @inheritdoc IConsentRegistry
    function revoke(address patient, DatasetId dataset) external returns (bool ended) {
        _requireMayRevoke(msg.sender, patient, dataset);
        return _revoke(patient, dataset, _consents[dataset][patient].sequence);
    }

    /// @inheritdoc IConsentRegistry
    function revokeBySig(Revocation calldata r, address signer, bytes calldata signature)
        external
        returns (bool ended)
    {
        _requireMayRevoke(signer, r.patient, r.dataset);
        _requireSigned(signer, keccak256(abi.encode(REVOCATION, r)), signature);
        uint32 current = _consents[r.dataset][r.patient].sequence;
        if (r.sequence < current) revert SupersededRevocation(current, r.sequence);
        // A guardian ends what is; only the patient may also end grants that are still under way.
        return _revoke(r.patient, r.dataset, signer == r.patient ? r.sequence : current);
    }

    function _revoke(address patient, DatasetId dataset, uint32 sequence) private returns (bool ended) {
        Consent memory c = _consents[dataset][patient];
        if (c.state == ConsentState.Moved) return false;
        // Effect: the consent ends, and so does every grant signed up to here.
        ended = c.state != ConsentState.None;
        if (ended) _leave(dataset, c);
        c.sequence = sequence == type(uint32).max ? sequence : sequence + 1;
        _consents[dataset][patient] = c;
        emit Revoked(patient, dataset, c.sequence);
    }

    // --- rest and wake

    /// @inheritdoc IConsentRegistry
    function rest(address patient, DatasetId dataset) external {
        _requireMayRevoke(msg.sender, patient, dataset);
        _rest(patient, dataset);
    }

    /// @inheritdoc IConsentRegistry
    function restBySig(Pause calldata p, address signer, bytes calldata signature) external {
        _requireMayRevoke(signer, p.patient, p.dataset);
        _usePause(REST, p, signer, signature);
        _rest(p.patient, p.dataset);
    }

    /// @inheritdoc IConsentRegistry
    function wake(address patient, DatasetId dataset) external {
        _requireMayGrant(msg.sender, patient, dataset);
        _wake(patient, dataset);
    }

    /// @inheritdoc IConsentRegistry
    function wakeBySig(Pause calldata p, address signer, bytes calldata signature) external {
        _requireMayGrant(signer, p.patient, p.dataset);
        _usePause(WAKE, p, signer, signature);
        _wake(p.patient, p.dataset);
    }

    function _usePause(bytes32 kind, Pause calldata p, address signer, bytes calldata signature) private {
        _requireInTime(p.deadline);
        _requireSigned(signer, keccak256(abi.encode(kind, p)), signature);
        uint32 current = _consents[p.dataset][p.patient].sequence;
        if (p.sequence != current) revert WrongSequence(current, p.sequence);
        _useNonce(signer, p.nonce);
    }

    function _rest(address patient, DatasetId dataset) private {
        Consent memory c = _consents[dataset][patient];
        if (c.state != ConsentState.Live && c.state != ConsentState.Resting) revert NothingToRest(patient);
        _leave(dataset, c);
        c.state = ConsentState.RestedByPatient;
        _consents[dataset][patient] = c;
        emit Rested(patient, dataset, true);
    }

    function _wake(address patient, DatasetId dataset) private whenNotPaused {
        // Check
        Consent memory c = _consents[dataset][patient];
        if (c.state != ConsentState.RestedByPatient && c.state != ConsentState.Resting) revert NothingToWake(patient);
        ClassId class = classOf(dataset, c.class);
        uint40 expiry = _shards[class][_shardOfSeat(c.seat)].seats[_placeOfSeat(c.seat)].expiry;
        if (expiry <= block.timestamp) revert ConsentIsExpired(expiry);
        // The definition is not looked at: the patient agreed to it when granting, and it cannot change.
        // slither-disable-next-line unused-return
        (, uint56 maxCost) = DATASETS.grantConditions(class, patient);
        uint56 left = c.cap - c.spent;
        if (left < maxCost) revert BudgetTooSmall(left, maxCost);
        // Effect: out of the waiting list first, so that nobody wakes it a second time.
        _leave(dataset, c);
        if (_settleIn(class, c, patient, expiry)) emit Woken(patient, dataset);
        else emit Rested(patient, dataset, false);
        _consents[dataset][patient] = c;
    }

    /// @inheritdoc IConsentRegistry
    function wakeWords(ClassId class, uint16 shardIndex, uint256[] calldata words)
        external
        whenNotPaused
        returns (uint256 woken)
    {
        Shard storage shard = _shards[class][shardIndex];
        if (_isFrozen(shard)) revert ShardIsFrozen(class, shardIndex, shard.frozenUntil);
        uint56 maxCost = DATASETS.maxCostOf(class);
        for (uint256 i = 0; i < words.length; ++i) {
            uint256 bits = shard.waiting[words[i]];
            if (bits == 0) continue;
            shard.waiting[words[i]] = 0;
            for (uint256 bit = 0; bit < WORD_SEATS; ++bit) {
                if ((bits >> bit) & 1 == 0) continue;
                if (_wakeSeat(class, shard, words[i] * WORD_SEATS + bit, maxCost)) ++woken;
            }
        }
    }

    /// What cannot afford it or has expired stays resting: only its patient's next grant can change that.
    function _wakeSeat(ClassId class, Shard storage shard, uint256 place, uint56 maxCost) private returns (bool) {
        Seat memory seat = shard.seats[place];
        DatasetId dataset = class.datasetOf();
        Consent memory c = _consents[dataset][seat.patient];
        if (seat.expiry <= block.timestamp || c.cap - c.spent < maxCost) return false;
        shard.seats[place].exhaustion = _goLive(shard, c, place, seat.expiry);
        _consents[dataset][seat.patient] = c;
        emit Woken(seat.patient, dataset);
        return true;
    }

    // --- leaving

    /// Takes a consent out of its word, and books what it spent and earned. Caller stores `c`.
    function _leave(DatasetId dataset, Consent memory c) private {
        if (c.state == ConsentState.RestedByPatient) {
            c.state = ConsentState.None;
            return;
        }
        Shard storage shard = _shards[classOf(dataset, c.class)][_shardOfSeat(c.seat)];
        uint256 place = _placeOfSeat(c.seat);
        if (c.state == ConsentState.Live) {
            _bookOut(c, shard, place);
            uint256 word = place / WORD_SEATS;
            shard.words[word] = shard.words[word].withoutMember(place % WORD_SEATS);
            --shard.live;
        } else {
            shard.waiting[place / WORD_SEATS] &= ~(1 << (place % WORD_SEATS));
        }
        c.state = ConsentState.None;
    }

    function _bookOut(Consent memory c, Shard storage shard, uint256 place) private view {
        uint56 exhaustion = shard.seats[place].exhaustion;
        // No seal lets the meter pass an exhaustion point; were it ever to, a revocation still succeeds.
        c.spent = exhaustion > shard.spent ? c.cap - (exhaustion - shard.spent) : c.cap;
        unchecked {
            c.earned = shard.earned - c.earned;
        }
    }

    /// @inheritdoc IConsentRegistry
    function expel(DatasetId dataset, address patient) external {
        if (DATASETS.isUsable(dataset, patient)) revert StillUsable(dataset, patient);
        Consent memory c = _consents[dataset][patient];
        if (c.state == ConsentState.None || c.state == ConsentState.Moved) return;
        _leave(dataset, c);
        _consents[dataset][patient] = c;
        emit Expelled(patient, dataset);
    }

    // --- guardians, erasure, rotation

    /// @inheritdoc IConsentRegistry
    function appointGuardian(DatasetId dataset, address guardian, uint40 expiry, bool mayGrant) external {
        _appoint(msg.sender, dataset, Guardian(guardian, expiry, mayGrant));
    }

    /// @inheritdoc IConsentRegistry
    function appointGuardianBySig(Guardianship calldata g, bytes calldata signature) external {
        _requireInTime(g.deadline);
        _requireSigned(g.patient, keccak256(abi.encode(GUARDIANSHIP, g)), signature);
        _useNonce(g.patient, g.nonce);
        _appoint(g.patient, g.dataset, Guardian(g.guardian, g.expiry, g.mayGrant));
    }

    function _appoint(address patient, DatasetId dataset, Guardian memory guardian) private {
        _guardians[dataset][patient] = guardian;
        emit GuardianAppointed(patient, dataset, guardian.guardian, guardian.expiry, guardian.mayGrant);
    }

    /// @inheritdoc IConsentRegistry
    function erase(DatasetId dataset) external {
        _erase(msg.sender, dataset);
    }

    /// @inheritdoc IConsentRegistry
    function eraseBySig(Erasure calldata e, bytes calldata signature) external {
        _requireSigned(e.patient, keccak256(abi.encode(ERASURE, e)), signature);
        Record memory record = DATASETS.recordOf(e.dataset, e.patient);
        uint32 current = record.pendingVersion > record.version ? record.pendingVersion : record.version;
        if (e.version != current) revert WrongRecordVersion(current, e.version);
        _erase(e.patient, e.dataset);
    }

    function _erase(address patient, DatasetId dataset) private {
        _revoke(patient, dataset, _consents[dataset][patient].sequence);
        // Interaction: our own registry, which never calls back.
        DATASETS.eraseRecord(dataset, patient);
    }

    /// @inheritdoc IConsentRegistry
    function rotate(Rotation calldata r, bytes calldata signatureFrom, bytes calldata signatureTo) external {
        // Check
        _requireInTime(r.deadline);
        bytes32 structHash = keccak256(abi.encode(ROTATION, r));
        _requireSigned(r.from, structHash, signatureFrom);
        _requireSigned(r.to, structHash, signatureTo);
        Consent memory c = _consents[r.dataset][r.from];
        if (c.state == ConsentState.Moved) revert AddressMoved(r.from);
        Consent storage target = _consents[r.dataset][r.to];
        if (r.from == r.to || target.state != ConsentState.None || target.sequence != 0 || target.class != 0) {
            revert AddressInUse(r.to);
        }
        // Effect
        if (c.class != 0) _moveSeat(classOf(r.dataset, c.class), c.seat, r.to);
        _consents[r.dataset][r.to] = c;
        delete _guardians[r.dataset][r.from];
        _consents[r.dataset][r.from] = Consent(ConsentState.Moved, 0, 0, c.sequence, 0, 0, 0);
        emit Rotated(r.dataset, r.from, r.to);
        // Interaction
        DATASETS.moveRecord(r.dataset, r.from, r.to);
    }

    /// Not while a cohort is counted: between freeze and seal a place must not change hands.
    function _moveSeat(ClassId class, uint32 seat, address to) private {
        Shard storage shard = _shards[class][_shardOfSeat(seat)];
        if (_isFrozen(shard)) revert ShardIsFrozen(class, _shardOfSeat(seat), shard.frozenUntil);
        shard.seats[_placeOfSeat(seat)].patient = to;
    }

    // --- the market: freeze, tidy, seal, thaw, collect

    /// @inheritdoc IConsentRegistry
    function freezeShard(RequestId request, ClassId class, uint16 shardIndex, uint40 until)
        external
        onlyMarket
        returns (uint32 live)
    {
        if (shardIndex >= _shardCount[class]) revert UnknownShard(class, shardIndex);
        Shard storage shard = _shards[class][shardIndex];
        if (shard.frozenUntil != 0 && block.timestamp <= shard.frozenUntil + THAW_GAP) {
            revert ShardIsFrozen(class, shardIndex, shard.frozenUntil + THAW_GAP);
        }
        shard.frozenUntil = until;
        shard.frozenFor = request;
        live = shard.live;
        emit ShardFrozen(request, class, shardIndex, live, until);
    }

    /// @inheritdoc IConsentRegistry
    function thawShard(RequestId request, ClassId class, uint16 shardIndex) external onlyMarket {
        Shard storage shard = _shards[class][shardIndex];
        if (RequestId.unwrap(shard.frozenFor) != RequestId.unwrap(request)) return;
        shard.frozenFor = NO_REQUEST;
        if (shard.frozenUntil > block.timestamp) shard.frozenUntil = uint40(block.timestamp);
        emit ShardThawed(request, class, shardIndex);
    }

    /// @inheritdoc IConsentRegistry
    function tidyShard(RequestId request, ClassId class, uint16 shardIndex, uint256[] calldata words, uint56 cost)
        external
        onlyMarket
        returns (uint256 left)
    {
        Shard storage shard = _requireFrozenFor(request, class, shardIndex);
        for (uint256 i = 0; i < words.length; ++i) {
            left += _tidyWord(class, shard, words[i], cost);
        }
    }

    /// Removes what expires before the freeze does, rests what cannot pay, and makes the earliest values exact.
    function _tidyWord(ClassId class, Shard storage shard, uint256 word, uint56 cost) private returns (uint256 left) {
        uint160 bits = shard.words[word].bitmap();
        uint40 expiry = type(uint40).max;
        uint56 exhaustion = type(uint56).max;
        uint160 keep = 0;
        for (uint256 bit = 0; bit < WORD_SEATS; ++bit) {
            if ((bits >> bit) & 1 == 0) continue;
            uint256 place = word * WORD_SEATS + bit;
            Seat memory seat = shard.seats[place];
            bool expires = seat.expiry <= shard.frozenUntil;
            if (expires || seat.exhaustion < shard.spent + cost) {
                _tidyOut(class, shard, place, seat.patient, expires);
                ++left;
                continue;
            }
            keep |= uint160(1 << bit);
            if (seat.expiry < expiry) expiry = seat.expiry;
            if (seat.exhaustion < exhaustion) exhaustion = seat.exhaustion;
        }
        shard.words[word] = keep == 0 ? ConsentWord.wrap(0) : packWord(keep, expiry, exhaustion);
        shard.live -= uint32(left);
    }

    /// Caller clears the bit and the count.
    function _tidyOut(ClassId class, Shard storage shard, uint256 place, address patient, bool expired) private {
        DatasetId dataset = class.datasetOf();
        Consent memory c = _consents[dataset][patient];
        _bookOut(c, shard, place);
        c.state = expired ? ConsentState.None : ConsentState.Resting;
        _consents[dataset][patient] = c;
        if (expired) emit Expired(patient, dataset);
        else emit Rested(patient, dataset, false);
    }

    /// @inheritdoc IConsentRegistry
    function sealShard(RequestId request, ClassId class, uint16 shardIndex, uint56 cost, uint56 price)
        external
        onlyMarket
        returns (bytes32 root, uint32 members)
    {
        Shard storage shard = _requireFrozenFor(request, class, shardIndex);
        // Check: every word can pay and outlives this moment. The root is made of the words themselves.
        bytes memory bitmaps;
        (bitmaps, members) = _countWords(shard, shard.spent + cost);
        root = _shardRoot(class, shardIndex, members, bitmaps);
        // Effect: budget is spent now, so patients are paid now.
        shard.spent += cost;
        shard.earned += price;
        // Thawed from the next block on: in this one, places must still not change hands, so that whoever
        // reads this block's state sees the patients that were sealed.
        shard.frozenUntil = uint40(block.timestamp);
        shard.frozenFor = NO_REQUEST;
        emit ShardSealed(request, class, shardIndex, members, root, bitmaps);
    }

    /// One SLOAD for 160 patients. 20 bytes of each word go to `bitmaps`, in word order.
    // A count of words, times the bytes of each: the division before it is meant to round.
    // slither-disable-next-line divide-before-multiply
    function _countWords(Shard storage shard, uint256 needed)
        private
        view
        returns (bytes memory bitmaps, uint32 members)
    {
        uint256 words = (uint256(shard.used) + WORD_SEATS - 1) / WORD_SEATS;
        // Room for the twelve bytes that the last 32-byte store leaves behind its 20.
        bitmaps = new bytes(words * BITMAP_BYTES + 12);
        uint256 total;
        ConsentWord[4096] storage all = shard.words;
        for (uint256 i = 0; i < words;) {
            ConsentWord word = all[i];
            if (!word.isEmpty()) {
                if (word.earliestExpiry() <= block.timestamp || word.earliestExhaustion() < needed) {
                    revert WordStale(i, word.earliestExpiry(), word.earliestExhaustion());
                }
                unchecked {
                    total += word.count();
                }
                // Assembly: a 20-byte store; the zeros behind it are where the next word goes.
                assembly ("memory-safe") {
                    mstore(add(add(bitmaps, 0x20), mul(i, 20)), shl(96, word))
                }
            }
            unchecked {
                ++i;
            }
        }
        members = uint32(total);
        assembly ("memory-safe") {
            mstore(bitmaps, mul(words, 20))
        }
    }

    function _shardRoot(ClassId class, uint16 shardIndex, uint32 members, bytes memory bitmaps)
        private
        pure
        returns (bytes32)
    {
        uint256 chunkBytes = CHUNK_WORDS * BITMAP_BYTES;
        uint256 chunks = (bitmaps.length + chunkBytes - 1) / chunkBytes;
        bytes32[] memory hashes = new bytes32[](chunks);
        for (uint256 i = 0; i < chunks; ++i) {
            uint256 start = i * chunkBytes;
            uint256 length = bitmaps.length - start < chunkBytes ? bitmaps.length - start : chunkBytes;
            bytes32 hash;
            // Assembly: hashes a slice in place.
            assembly ("memory-safe") {
                hash := keccak256(add(add(bitmaps, 0x20), start), length)
            }
            hashes[i] = hash;
        }
        return keccak256(abi.encode("usufruct/shard/1", class, shardIndex, members, hashes));
    }

    /// @inheritdoc IConsentRegistry
    function collect(DatasetId dataset, address patient) external onlyMarket returns (uint256 amount) {
        Consent storage c = _consents[dataset][patient];
        if (c.state != ConsentState.Live) {
            amount = c.earned;
            c.earned = 0;
            return amount;
        }
        uint56 meter = _shards[classOf(dataset, c.class)][_shardOfSeat(c.seat)].earned;
        unchecked {
            amount = uint56(meter - c.earned);
        }
        c.earned = meter;
    }

    // --- who may

    function _requireMarket() private view {
        if (msg.sender != market) revert OnlyMarket(msg.sender);
    }

    function _requireMayGrant(address actor, address patient, DatasetId dataset) private view {
        if (actor == patient) return;
        Guardian storage g = _guardians[dataset][patient];
        if (g.guardian != actor || g.expiry <= block.timestamp || !g.mayGrant) revert NotAuthorised(actor, patient);
    }

    function _requireMayRevoke(address actor, address patient, DatasetId dataset) private view {
        if (actor == patient) return;
        Guardian storage g = _guardians[dataset][patient];
        if (g.guardian != actor || g.expiry <= block.timestamp) revert NotAuthorised(actor, patient);
    }

    function _requireFrozenFor(RequestId request, ClassId class, uint16 shardIndex)
        private
        view
        returns (Shard storage shard)
    {
        shard = _shards[class][shardIndex];
        if (RequestId.unwrap(shard.frozenFor) != RequestId.unwrap(request)) {
            revert ShardNotFrozenFor(request, class, shardIndex);
        }
        if (block.timestamp > shard.frozenUntil) revert FreezeLapsed(shard.frozenUntil);
    }

    function _isFrozen(Shard storage shard) private view returns (bool) {
        return block.timestamp <= shard.frozenUntil;
    }

    function _seatOf(uint256 shard, uint256 place) private pure returns (uint32) {
        return uint32(shard * SHARD_SEATS + place);
    }

    function _shardOfSeat(uint32 seat) private pure returns (uint16) {
        return uint16(seat / SHARD_SEATS);
    }

    function _placeOfSeat(uint32 seat) private pure returns (uint24) {
        return uint24(seat % SHARD_SEATS);
    }

    // --- views

    /// @inheritdoc IConsentRegistry
    function consentOf(DatasetId dataset, address patient) external view returns (ConsentView memory v) {
        Consent memory c = _consents[dataset][patient];
        v.state = c.state;
        v.sequence = c.sequence;
        v.cap = c.cap;
        v.spent = c.spent;
        v.owed = c.earned;
        if (c.class == 0) return v;
        v.class = classOf(dataset, c.class);
        v.shard = _shardOfSeat(c.seat);
        v.place = _placeOfSeat(c.seat);
        if (c.state == ConsentState.None) return v;
        Shard storage shard = _shards[v.class][v.shard];
        Seat storage seat = shard.seats[v.place];
        v.expiry = seat.expiry;
        if (c.state != ConsentState.Live) return v;
        v.spent = c.cap - (seat.exhaustion - shard.spent);
        unchecked {
            v.owed = uint56(shard.earned - c.earned);
        }
    }

    /// @inheritdoc IConsentRegistry
    function guardianOf(DatasetId dataset, address patient)
        external
        view
        returns (address guardian, uint40 expiry, bool mayGrant)
    {
        Guardian storage g = _guardians[dataset][patient];
        return (g.guardian, g.expiry, g.mayGrant);
    }

    /// @inheritdoc IConsentRegistry
    function shardsOf(ClassId class) external view returns (uint16) {
        return _shardCount[class];
    }

    /// @inheritdoc IConsentRegistry
    function shardOf(ClassId class, uint16 shardIndex) external view returns (ShardView memory) {
        Shard storage s = _shards[class][shardIndex];
        return ShardView(s.spent, s.earned, s.live, s.used, s.frozenUntil, s.frozenFor);
    }

    /// @inheritdoc IConsentRegistry
    function wordsOf(ClassId class, uint16 shardIndex, uint256 first, uint256 number)
        external
        view
        returns (uint256[] memory words)
    {
        ConsentWord[4096] storage all = _shards[class][shardIndex].words;
        words = new uint256[](number);
        for (uint256 i = 0; i < number; ++i) {
            words[i] = ConsentWord.unwrap(all[first + i]);
        }
    }

    /// @inheritdoc IConsentRegistry
    function waitingOf(ClassId class, uint16 shardIndex, uint256 first, uint256 number)
        external
        view
        returns (uint256[] memory bits)
    {
        mapping(uint256 word => uint256) storage waiting = _shards[class][shardIndex].waiting;
        bits = new uint256[](number);
        for (uint256 i = 0; i < number; ++i) {
            bits[i] = waiting[first + i];
        }
    }

    /// @inheritdoc IConsentRegistry
    function patientsAt(ClassId class, uint16 shardIndex, uint24[] calldata places)
        external
        view
        returns (address[] memory patients)
    {
        mapping(uint256 place => Seat) storage seats = _shards[class][shardIndex].seats;
        patients = new address[](places.length);
        for (uint256 i = 0; i < places.length; ++i) {
            patients[i] = seats[places[i]].patient;
        }
    }
}
