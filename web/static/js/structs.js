// Written by `python -m tools.webwords` from the servers' own code: do not edit.

/** Fields (name, type) in order; `domain` of those that are signed: null is the caller's to name. */
export const STRUCTS = {
  "Grant": {"domain": "Usufruct ConsentRegistry", "fields": [["patient", "address"], ["dataset", "bytes32"], ["class", "bytes32"], ["definition", "bytes32"], ["cap", "uint56"], ["expiry", "uint40"], ["sequence", "uint32"], ["deadline", "uint40"]]},
  "Revocation": {"domain": "Usufruct ConsentRegistry", "fields": [["patient", "address"], ["dataset", "bytes32"], ["sequence", "uint32"]]},
  "Rest": {"domain": "Usufruct ConsentRegistry", "fields": [["patient", "address"], ["dataset", "bytes32"], ["sequence", "uint32"], ["nonce", "uint256"], ["deadline", "uint40"]]},
  "Wake": {"domain": "Usufruct ConsentRegistry", "fields": [["patient", "address"], ["dataset", "bytes32"], ["sequence", "uint32"], ["nonce", "uint256"], ["deadline", "uint40"]]},
  "Guardianship": {"domain": "Usufruct ConsentRegistry", "fields": [["patient", "address"], ["dataset", "bytes32"], ["guardian", "address"], ["expiry", "uint40"], ["mayGrant", "bool"], ["nonce", "uint256"], ["deadline", "uint40"]]},
  "Erasure": {"domain": "Usufruct ConsentRegistry", "fields": [["patient", "address"], ["dataset", "bytes32"], ["version", "uint32"]]},
  "Rotation": {"domain": "Usufruct ConsentRegistry", "fields": [["dataset", "bytes32"], ["from", "address"], ["to", "address"], ["deadline", "uint40"]]},
  "RecordAttestation": {"domain": "Usufruct DatasetRegistry", "fields": [["dataset", "bytes32"], ["patient", "address"], ["person", "bytes32"], ["commitment", "bytes32"], ["version", "uint32"], ["issuer", "address"], ["deadline", "uint40"]]},
  "StorageReceipt": {"domain": "Usufruct DatasetRegistry", "fields": [["dataset", "bytes32"], ["patient", "address"], ["commitment", "bytes32"], ["version", "uint32"], ["epoch", "uint32"]]},
  "GateKey": {"domain": "Usufruct ResearchMarket", "fields": [["request", "bytes32"], ["root", "bytes32"], ["key", "bytes32"]]},
  "TurnCertificate": {"domain": "Usufruct ResearchMarket", "fields": [["request", "bytes32"], ["root", "bytes32"], ["epoch", "uint32"]]},
  "Settlement": {"domain": "Usufruct ResearchMarket", "fields": [["request", "bytes32"], ["root", "bytes32"], ["epoch", "uint32"], ["lane", "uint8"], ["schema", "uint16"], ["ciphertextRoot", "bytes32"], ["noise", "bytes32"], ["resultHash", "bytes32"], ["deliveryHash", "bytes32"], ["gate", "address"]]},
  "CreditWithdrawal": {"domain": "Usufruct ResearchMarket", "fields": [["account", "address"], ["to", "address"], ["nonce", "uint256"], ["deadline", "uint40"]]},
  "EarningsWithdrawal": {"domain": "Usufruct ResearchMarket", "fields": [["patient", "address"], ["dataset", "bytes32"], ["to", "address"], ["nonce", "uint256"], ["deadline", "uint40"]]},
  "JournalHead": {"domain": "Usufruct CustodianCommittee", "fields": [["epoch", "uint32"], ["place", "uint8"], ["height", "uint64"], ["head", "bytes32"]]},
  "Permit": {"domain": null, "fields": [["owner", "address"], ["spender", "address"], ["value", "uint256"], ["nonce", "uint256"], ["deadline", "uint256"]]},
  "ApiRequest": {"domain": "Usufruct API", "fields": [["method", "string"], ["path", "string"], ["bodyHash", "bytes32"], ["nonce", "bytes32"], ["deadline", "uint40"]]},
  "IssuerDesk": {"domain": "Usufruct DatasetRegistry", "fields": [["dataset", "bytes32"], ["issuer", "address"], ["key", "bytes32"], ["until", "uint40"]]},
  "ClassTerms": {"fields": [["permission", "uint8"], ["disease", "uint32"], ["modifiers", "uint32"], ["researchTypes", "uint32"], ["countries", "bytes2[]"], ["months", "uint16"], ["users", "bytes32[]"], ["projects", "bytes32[]"], ["institutions", "bytes32[]"], ["releaseKinds", "uint32"], ["maxCost", "uint56"], ["floorPerRecord", "uint56"], ["floorPerMilliRho", "uint56"], ["termsHash", "bytes32"]]},
  "Purpose": {"fields": [["uses", "uint32"], ["diseases", "uint32[]"], ["commercial", "bool"], ["clinicalCare", "bool"], ["months", "uint16"], ["project", "bytes32"], ["ethicsApproval", "bytes32"], ["duties", "uint32"]]},
  "RequestTerms": {"fields": [["dataset", "bytes32"], ["classes", "uint16[]"], ["lane", "uint8"], ["releaseKind", "uint8"], ["analysis", "bytes32"], ["parameters", "bytes32"], ["purpose", "Purpose"], ["cost", "uint56"], ["price", "uint56"], ["fee", "uint64"], ["maxPatients", "uint32"], ["sealDeadline", "uint40"], ["settleDeadline", "uint40"], ["deliveryKey", "bytes32"], ["salt", "bytes32"]]},
  "Credential": {"fields": [["kind", "uint8"], ["country", "bytes2"], ["expiry", "uint40"], ["withdrawn", "bool"], ["user", "bytes32"], ["institution", "bytes32"], ["evidence", "bytes32"]]},
  "Descent": {"fields": [["disease", "uint32"], ["kindOf", "uint32"]]},
};
