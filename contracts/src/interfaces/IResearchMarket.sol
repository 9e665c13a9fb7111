// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ClassTerms, Purpose} from "../types/DataUseTypes.sol";
import {ClassId, DatasetId, RequestId} from "../types/Ids.sol";
import {QuorumSignature} from "./ICustodianCommittee.sol";

/// Opened -> Frozen -> Sealed -> Settled, or an early end.
enum Stage {
    None,
    Opened,
    Frozen,
    Sealed,
    Settled,
    Defaulted,
    Reclaimed,
    Cancelled
}

/// Everything that a researcher asks for; the request id is its hash with chain, market and researcher.
struct RequestTerms {
    DatasetId dataset;
    uint16[] classes; // indices, strictly ascending
    uint8 lane; // 1 vault, 2 homomorphic
    uint8 releaseKind;
    bytes32 analysis; // hash of the catalogue entry's id
    bytes32 parameters; // hash of the canonical parameters
    Purpose purpose;
    uint56 cost; // privacy cost, nano-rho
    uint56 price; // per member, token units
    uint64 fee; // to the operator, token units
    uint32 maxPatients;
    uint40 sealDeadline; // unix seconds
    uint40 settleDeadline; // unix seconds
    // The researcher's key, to which the result is sealed: X25519; in the homomorphic lane the x coordinate of a
    // point of secp256k1 whose y is even (BIP 340).
    bytes32 deliveryKey;
    bytes32 salt;
}

/// What k custodians sign, and what settles a request.
/// EIP-712: Settlement(bytes32 request,bytes32 root,uint32 epoch,uint8 lane,uint16 schema,bytes32 ciphertextRoot,bytes32 noise,bytes32 resultHash,bytes32 deliveryHash,address gate)
struct Settlement {
    RequestId request;
    bytes32 root;
    uint32 epoch;
    uint8 lane;
    uint16 schema; // of the settlement and receipt format: 1
    bytes32 ciphertextRoot; // over the commitments of the records used, in cohort order
    bytes32 noise; // as NoiseRegistry fixed it; 0 in the vault lane, whose gate draws it
    bytes32 resultHash; // salted; in the homomorphic lane of the noised ciphertexts
    bytes32 deliveryHash; // of the sealed result
    address gate; // 0 in the homomorphic lane
}

/// EIP-712: CreditWithdrawal(address account,address to,uint256 nonce,uint40 deadline)
struct CreditWithdrawal {
    address account;
    address to;
    uint256 nonce;
    uint40 deadline;
}

/// EIP-712: EarningsWithdrawal(address patient,bytes32 dataset,address to,uint256 nonce,uint40 deadline)
struct EarningsWithdrawal {
    address patient;
    DatasetId dataset;
    address to;
    uint256 nonce;
    uint40 deadline;
}

struct Permit {
    uint256 value;
    uint256 deadline;
    uint8 v;
    bytes32 r;
    bytes32 s;
}

/// Fixed at deployment: nobody can change the rules of an open request, or of any other.
struct MarketPolicy {
    uint32 minimumCohort; // members; 20 in production
    uint40 noticeWindow; // seconds between open and freeze, for patients to rest
    uint40 freezeWindow; // longest freeze, seconds
    uint40 turnWindow; // least time between seal and settle deadline, seconds
    // After which a gate that recorded no key can be replaced and, in the homomorphic lane, anybody may bring in
    // the custodians' noise, seconds.
    uint40 gateWindow;
    uint40 certificateWindow; // after the settle deadline, for showing a turn certificate, seconds
    uint16 unusedFreezeBps; // of the bond, to the researcher when a freeze was not used
    uint96 minimumBond; // token units
}

struct RequestView {
    address researcher;
    Stage stage;
    uint8 lane;
    uint40 openedAt;
    uint40 sealDeadline;
    uint40 settleDeadline;
    uint56 cost;
    uint56 price;
    uint32 maxPatients;
    uint64 fee;
    DatasetId dataset;
    address operator;
    uint32 epoch; // of the committee, pinned at freeze
    uint16 shards;
    uint16 sealedShards;
    uint32 members; // sealed so far
    uint96 escrow; // still held for this request, token units
    uint96 bond; // the operator's, still held for this request
    uint64 sealBlock; // of the last shard
    bytes32 root; // cohort root once Sealed
    address gate; // 0 until drawn; the homomorphic lane draws none
    uint16 gateDraw; // modulo the number of gates; fifteen bits, and one more for each redraw
    uint40 gateDrawnAt; // in the homomorphic lane, when the request was sealed
    uint40 frozenUntil;
    uint64 drawBlock; // whose hash draws the gate; 0 in the homomorphic lane
    bytes32 gateKey; // X25519, 0 until recorded
    bytes32 resultHash;
}

struct ShardRef {
    uint16 class; // index
    uint16 shard;
}

/// Requests, escrow, seal, settlement, bonds, credits. Patients' earnings are counted by the consent registry
/// and paid from here.
interface IResearchMarket {
    event RequestOpened(RequestId indexed request, address indexed researcher, RequestTerms terms);
    event RequestCancelled(RequestId indexed request);
    event RequestFrozen(
        RequestId indexed request, address indexed operator, uint32 epoch, uint32 live, uint96 bond, uint40 until
    );
    event RequestTidied(RequestId indexed request, uint16 shard, uint256 left);
    event RequestSealed(RequestId indexed request, bytes32 root, uint32 members);
    event GateDrawn(RequestId indexed request, address indexed gate, uint16 draw);
    event GateKeyRecorded(RequestId indexed request, address indexed gate, bytes32 key);
    event RequestSettled(RequestId indexed request, Settlement settlement, bytes sealedResult);
    event RequestDefaulted(RequestId indexed request, bool certified);
    event RequestReclaimed(RequestId indexed request, Stage from);
    event BondPosted(address indexed operator, uint256 amount);
    event BondReleased(address indexed operator, address to, uint256 amount);
    event CreditWithdrawn(address indexed account, address to, uint256 amount);
    event EarningsWithdrawn(address indexed patient, DatasetId indexed dataset, address to, uint256 amount);

    error TokenHasTooManyDecimals(uint8 decimals);
    error PolicyInvalid(string field);
    error TermsInvalid(string field);
    error RequestExists(RequestId request);
    error WrongStage(RequestId request, Stage expected, Stage actual);
    error WrongLane(RequestId request, uint8 lane);
    error NotResearcher(address caller);
    error NotRequestOperator(address caller);
    error PriceBelowFloor(ClassId class, uint256 floor, uint256 price);
    error CostAboveClass(ClassId class, uint56 maxCost, uint56 cost);
    error ClassesMismatch(uint256 expected, uint256 given);
    error TransferShort(uint256 expected, uint256 received);
    error NoticeStillRunning(uint40 until);
    error SealDeadlinePassed(uint40 deadline);
    error CohortTooSmall(uint256 members, uint256 minimum);
    error CohortTooLarge(uint256 members, uint256 maximum);
    error TooManyShards(uint256 shards, uint256 most);
    error BondTooSmall(uint256 needed, uint256 posted);
    error UnknownShard(uint16 shard);
    error GateKeyAlreadyRecorded(RequestId request);
    error GateKeyEmpty();
    error GateNotDrawn(RequestId request);
    error GateAlreadyDrawn(RequestId request);
    error DrawTooEarly(uint256 drawBlock);
    error CohortStillLarge(uint256 members, uint256 minimum);
    error NoGateKey(RequestId request);
    error NoNoise(RequestId request);
    error GateWindowRunning(uint40 until);
    error SettleDeadlinePassed(uint40 deadline);
    error SettlementMismatch(string field);
    error DeadlineRunning(uint40 until);
    error NothingOwed(address account);
    error InvalidDestination(address to);

    /// Escrows `maxPatients x price + fee`. `classes` are the terms of `terms.classes`, as published.
    function open(RequestTerms calldata terms, ClassTerms[] calldata classes) external returns (RequestId);
    /// As `open`, with an ERC-2612 permit instead of an approval; a permit that fails is tolerated where the
    /// allowance suffices (somebody may have used it first).
    function openWithPermit(RequestTerms calldata terms, ClassTerms[] calldata classes, Permit calldata permit)
        external
        returns (RequestId);
    function cancel(RequestId request) external;

    /// Operator: fixes the shards; from here to the seal their words only lose members. In the homomorphic lane the
    /// committee's epoch must have a joint key.
    function freeze(address researcher, RequestTerms calldata terms, ClassTerms[] calldata classes) external;
    /// Anyone, while frozen: removes expired consents and rests those that cannot afford the cost.
    function tidy(RequestId request, uint16 shard, uint256[] calldata words) external;
    /// Seals the next shard; the last one seals the request. The seal is the cut-off.
    function seal(RequestId request) external;
    /// Seals every shard that is left, or none: nobody can leave between them. For shards that fit one transaction.
    function sealAll(RequestId request) external;
    /// Anyone, while frozen and before the first seal: ends a request whose cohort fell under the minimum, at
    /// nobody's cost. (Were it left to lapse, a patient and a researcher together could farm the bond.)
    function dissolve(RequestId request) external;

    /// Anyone: draws the gate, by the hash of a block that came after the seal, so that whoever seals cannot
    /// choose it. Where that hash is no longer to be had (256 blocks), a later block is named. Only a request of the
    /// vault lane has a gate.
    function drawGate(RequestId request) external;

    /// Records the drawn gate's per-request key, signed by the gate.
    /// EIP-712: GateKey(bytes32 request,bytes32 root,bytes32 key)
    function recordGateKey(RequestId request, bytes32 key, bytes calldata signature) external;
    /// Anyone, once the drawn gate has let its window pass without a key.
    function redrawGate(RequestId request) external;

    /// The request's operator, with a quorum's signatures and the result sealed to the researcher; once the gate's key
    /// is recorded or, in the homomorphic lane, the noise is fixed.
    function settle(Settlement calldata settlement, bytes calldata sealedResult, QuorumSignature[] calldata signatures)
        external;
    /// After the settle deadline, by anyone with a quorum's certificate that keys were turned.
    /// EIP-712: TurnCertificate(bytes32 request,bytes32 root,uint32 epoch)
    function defaultCertified(RequestId request, QuorumSignature[] calldata certificate) external;
    /// After the certificate window too: fee and bond return to their owners.
    function defaultUncertified(RequestId request) external;
    /// Not sealed in time: everything comes back.
    function reclaim(RequestId request) external;

    function postBond(uint256 amount) external;
    function releaseBond(address to, uint256 amount) external;
    function withdrawCredit(address to) external;
    function withdrawCreditBySig(CreditWithdrawal calldata w, bytes calldata signature) external;
    function withdrawEarnings(DatasetId dataset, address to) external;
    function withdrawEarningsBySig(EarningsWithdrawal calldata w, bytes calldata signature) external;

    function requestId(address researcher, RequestTerms calldata terms) external view returns (RequestId);
    function requestOf(RequestId request) external view returns (RequestView memory);
    function shardsOf(RequestId request) external view returns (ShardRef[] memory);
    function policy() external view returns (MarketPolicy memory);
    function creditOf(address account) external view returns (uint256);
    function bondOf(address operator) external view returns (uint256);
    /// Every token unit that somebody could claim, by kind.
    function liabilities()
        external
        view
        returns (uint256 escrows, uint256 lockedBonds, uint256 freeBonds, uint256 credits, uint256 earnings);
}
