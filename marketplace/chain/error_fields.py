"""Which field of what was sent each refusal of the contracts is about.

By error name, or by whole signature where two errors share a name. An error is here or in `FIELDLESS`, and
a test holds the two against the compiled contracts, so a new error cannot be forgotten.
"""

from __future__ import annotations

from typing import Final

FIELDS: Final[dict[str, str]] = {
    # consents
    "NotAuthorised": "signer",
    "WrongSequence": "sequence",
    "SupersededRevocation": "sequence",
    "ClassOutsideDataset": "class",
    "WrongDefinition": "definition",
    "ExpiryTooSoon": "expiry",
    "ConsentIsExpired": "expiry",
    "BudgetTooSmall": "cap",
    "CapTooLarge": "cap",
    "ClassFull": "class",
    "AddressMoved": "patient",
    "AddressInUse": "to",
    "NothingToRest": "patient",
    "NothingToWake": "patient",
    "StillUsable": "patient",
    "WrongRecordVersion(uint32,uint32)": "version",
    "UnknownShard(bytes32,uint16)": "shard",
    # datasets and records
    "NotSteward": "dataset",
    "UnknownDataset": "dataset",
    "DatasetIsRetired": "dataset",
    "DatasetExists": "salt",
    "UnknownClass": "class",
    "TooManyClasses": "dataset",
    "DiseaseTableSealed": "dataset",
    "DiseaseTableInvalid": "diseases",
    "DefinitionMismatch": "classes",
    "UnknownIssuer": "issuer",
    "IssuerStillTrusted": "issuer",
    "AttestationExpired": "deadline",
    "BadIssuerSignature": "signature",
    "WrongRecordVersion(bytes32,address,uint32,uint32)": "version",
    "PersonHasRecord": "person",
    "EmptyCommitment": "commitment",
    "EmptyDictionary": "dictionary",
    "EmptyPerson": "person",
    "ZeroAddress": "address",
    "NothingPending": "patient",
    "StaleStorageReceipt": "epoch",
    "ReceiptMismatch": "commitment",
    "RecordNotStored": "patient",
    "RecordUnusable": "patient",
    "RecordExists": "to",
    # researchers
    "PurposeNotPermitted": "purpose",
    "CredentialMissing": "researcher",
    "CredentialExpired": "researcher",
    "CredentialIsWithdrawn": "researcher",
    # committee
    "UnknownEpoch": "epoch",
    "QuorumTooSmall": "quorum",
    "QuorumTooLarge": "quorum",
    "TooManyMembers": "members",
    "InvalidMember": "members",
    "DuplicateMember": "members",
    "NoGates": "gates",
    "TooManyGates": "gates",
    "InvalidGate": "gates",
    "QuorumMissing": "signatures",
    "SignaturesOutOfOrder": "signatures",
    "UnknownPlace": "place",
    "BadCustodianSignature": "signatures",
    "JournalNotRising": "height",
    "JointKeyExists": "epoch",
    "JointKeyInvalid": "commitments",
    # noise
    "NoiseAlreadyCommitted": "request",
    "NoiseAlreadyFixed": "request",
    "NoiseCommitmentEmpty": "commitments",
    "PlacesNotCommitted": "places",
    "NoiseSetTooSmall": "places",
    # market
    "TokenHasTooManyDecimals": "token",
    "RequestExists": "salt",
    "WrongStage": "request",
    "WrongLane": "request",
    "NotResearcher": "request",
    "NotRequestOperator": "request",
    "PriceBelowFloor": "price",
    "CostAboveClass": "cost",
    "ClassesMismatch": "classes",
    "SealDeadlinePassed": "sealDeadline",
    "SettleDeadlinePassed": "settleDeadline",
    "CohortTooSmall": "classes",
    "CohortTooLarge": "maxPatients",
    "TooManyShards": "classes",
    "BondTooSmall": "bond",
    "UnknownShard(uint16)": "shard",
    "GateKeyEmpty": "key",
    "NothingOwed": "account",
    "InvalidDestination": "to",
    # messages
    "BadSignature": "signature",
    "DeadlinePassed": "deadline",
    "NonceUsed": "nonce",
    "ECDSAInvalidSignature": "signature",
    "ECDSAInvalidSignatureLength": "signature",
    "ECDSAInvalidSignatureS": "signature",
    # token and permit
    "SafeERC20FailedOperation": "token",
    "TransferShort": "token",
    "ERC20InsufficientBalance": "balance",
    "ERC20InsufficientAllowance": "allowance",
    "ERC20InvalidApprover": "owner",
    "ERC20InvalidReceiver": "to",
    "ERC20InvalidSender": "from",
    "ERC20InvalidSpender": "spender",
    "ERC2612ExpiredSignature": "deadline",
    "ERC2612InvalidSigner": "signature",
    "InvalidAccountNonce": "nonce",
    # roles
    "AccessControlUnauthorizedAccount": "account",
    "AccessControlBadConfirmation": "account",
}

FIELDLESS: Final = frozenset(
    {
        # Time has to pass, or an earlier step has to be taken: no other input would help.
        *("NoticeStillRunning", "ShardIsFrozen", "FreezeLapsed", "DeadlineRunning"),
        *("GateNotDrawn", "GateAlreadyDrawn", "DrawTooEarly", "GateWindowRunning"),
        *("NoGateKey", "GateKeyAlreadyRecorded", "CohortStillLarge", "WordStale"),
        *("NoJointKey", "NoNoise", "NoiseNotCommitted", "OnlyOperatorUntil"),
        *("ShardNotFrozenFor", "NoEpoch", "EnforcedPause", "ExpectedPause"),
        # Between contracts, which no message reaches.
        *("OnlyMarket", "OnlyConsentRegistry", "AlreadyBound", "ReentrancyGuardReentrantCall"),
        *("InvalidShortString", "StringTooLong"),
    }
)
"""Refusals that no field of the input is at fault for. Those that name their own field are in neither."""
