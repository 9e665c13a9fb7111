"""Who and what the market's tests are made of: names, limits, sound terms, and signed types.

The type strings are those of the contracts' interfaces, written down here a second time.
"""

from typing import Any

from tests.contracts.support import DAY, ZERO, word

STAFF = ("admin", "pauser", "steward", "issuer", "authority", "operator", "researcher", "relayer")
CUSTODIANS = ("custodian 0", "custodian 1", "custodian 2")
HORIZON = 7 * DAY
THAW_GAP = 60
MAX_COST = 1_000_000
CAP = 10 * MAX_COST
LIFE = 300 * DAY
BPS = 10_000
POLICY: dict[str, int] = {
    "minimumCohort": 2,
    "noticeWindow": 600,
    "freezeWindow": 900,
    "turnWindow": 3_600,
    "gateWindow": 300,
    "certificateWindow": DAY,
    "unusedFreezeBps": 1_000,
    "minimumBond": 1_000,
}
SIGNED: dict[str, str] = {
    "Grant": "address patient,bytes32 dataset,bytes32 class,bytes32 definition,uint56 cap,"
    "uint40 expiry,uint32 sequence,uint40 deadline",
    "Revocation": "address patient,bytes32 dataset,uint32 sequence",
    "Rest": "address patient,bytes32 dataset,uint32 sequence,uint256 nonce,uint40 deadline",
    "Wake": "address patient,bytes32 dataset,uint32 sequence,uint256 nonce,uint40 deadline",
    "Guardianship": "address patient,bytes32 dataset,address guardian,uint40 expiry,bool mayGrant,"
    "uint256 nonce,uint40 deadline",
    "Erasure": "address patient,bytes32 dataset,uint32 version",
    "Rotation": "bytes32 dataset,address from,address to,uint40 deadline",
    "RecordAttestation": "bytes32 dataset,address patient,bytes32 person,bytes32 commitment,"
    "uint32 version,address issuer,uint40 deadline",
    "StorageReceipt": "bytes32 dataset,address patient,bytes32 commitment,uint32 version,"
    "uint32 epoch",
    "GateKey": "bytes32 request,bytes32 root,bytes32 key",
    "TurnCertificate": "bytes32 request,bytes32 root,uint32 epoch",
    "Settlement": "bytes32 request,bytes32 root,uint32 epoch,uint8 lane,uint16 schema,"
    "bytes32 ciphertextRoot,bytes32 noise,bytes32 resultHash,bytes32 deliveryHash,address gate",
    "CreditWithdrawal": "address account,address to,uint256 nonce,uint40 deadline",
    "EarningsWithdrawal": "address patient,bytes32 dataset,address to,uint256 nonce,"
    "uint40 deadline",
    "JointKey": "uint32 epoch,bytes commitments,bytes32 transcript",
    "NoiseCommitment": "bytes32 request,bytes32 root,uint32 epoch,uint8 place,bytes32 commitment",
    "NoiseSet": "bytes32 request,bytes32 root,uint32 epoch,uint16 places,bytes32 noise",
}
CLASS_TERMS: dict[str, Any] = {
    "permission": 2,  # GRU
    "disease": 0,
    "modifiers": 0,
    "researchTypes": 0,
    "countries": [],
    "months": 0,
    "users": [],
    "projects": [],
    "institutions": [],
    "releaseKinds": 0b11,
    "maxCost": MAX_COST,
    "floorPerRecord": 5,
    "floorPerMilliRho": 10,
    "termsHash": word("terms"),
}
PURPOSE: dict[str, Any] = {
    "uses": 1 << 6,  # DUO:0000037 biomedical research
    "diseases": [],
    "commercial": False,
    "clinicalCare": False,
    "months": 0,
    "project": ZERO,
    "ethicsApproval": ZERO,
    "duties": 0,
}
CREDENTIAL: dict[str, Any] = {
    "kind": 1,
    "country": b"NL",
    "expiry": 2**40 - 1,
    "withdrawn": False,
    "user": word("user"),
    "institution": word("institution"),
    "evidence": word("evidence"),
}
