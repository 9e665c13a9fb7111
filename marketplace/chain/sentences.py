"""What each refusal of the contracts means, and what to do: shown to people, so kept in one place.

By error name, or by whole signature where two contracts mean different things by one name. The
names in braces are the error's own arguments; `{members:patient}` is one with its noun, `{price:money}` an
amount. Costs are in nano-rho, times in unix seconds.
"""

from __future__ import annotations

from typing import Final

SENTENCES: Final[dict[str, tuple[str, str]]] = {
    # consents
    "NotAuthorised": (
        "{caller} may not do this for the patient {patient}.",
        "Let the patient sign it, or a guardian with this power whose term has not ended.",
    ),
    "WrongSequence": (
        "The message carries sequence {given}; the contract expects {expected}.",
        "Read the consent again and sign with the sequence that it shows now.",
    ),
    "SupersededRevocation": (
        "The revocation ends grants up to sequence {given}, but {current} is in force.",
        "Sign a revocation that names the current sequence.",
    ),
    "ClassOutsideDataset": (
        "The class {class} does not belong to the dataset {dataset}.",
        "Name a class of this dataset.",
    ),
    "WrongDefinition": (
        "The grant was signed for other class terms ({given}) than those published ({expected}).",
        "Show the patient the published terms, and let the patient sign again.",
    ),
    "ExpiryTooSoon": (
        "The consent would expire at {expiry}; the earliest allowed is {earliest}.",
        "Choose an expiry that is at least the registry's minimum horizon away.",
    ),
    "BudgetTooSmall": (
        "{left} nano-rho of the record's lifetime budget are left; the class needs {needed}.",
        "Sign a grant with a higher cap, or choose a class with cheaper requests.",
    ),
    "CapTooLarge": (
        "A lifetime cap of {cap} nano-rho is above the largest, {largest}.",
        "Choose a lower cap.",
    ),
    "AddressMoved": (
        "The address {patient} was left for another and can never grant again.",
        "Use the address that the patient moved to.",
    ),
    "AddressInUse": (
        "The address {patient} already has a consent or record in this dataset.",
        "Rotate to a fresh address.",
    ),
    "NothingToRest": (
        "The patient {patient} has no consent that could rest.",
        "Nothing needs doing: no cohort counts this patient.",
    ),
    "NothingToWake": (
        "The patient {patient} has no resting consent.",
        "Grant consent first, if none is live.",
    ),
    "ConsentIsExpired": ("The consent expired at {expiry}.", "Sign a new grant."),
    "ClassFull": ("The class {class} has no seat left.", "Publish a further class."),
    "StillUsable": (
        "The record of {patient} is usable, so its consent is not expelled.",
        "Only a suspended or erased record's consent can be expelled.",
    ),
    "WrongRecordVersion(uint32,uint32)": (
        "The message names record version {given}; the latest is {current}.",
        "Read the record again and sign for its latest version.",
    ),
    "OnlyMarket": ("{caller} is not the market.", "Go through the ResearchMarket contract."),
    "AlreadyBound": (
        "This registry was bound to another contract before, for ever.",
        "Deploy anew if the binding is wrong.",
    ),
    "ShardIsFrozen": (
        "A cohort is being counted in shard {shard} until {until}.",
        "Try again after that, at most a few minutes from now.",
    ),
    "ShardNotFrozenFor": (
        "Shard {shard} is not frozen for the request {request}.",
        "Freeze the request first; a lapsed freeze can only be reclaimed.",
    ),
    "FreezeLapsed": ("The freeze ended at {until}.", "Reclaim the request and open a new one."),
    "UnknownShard(bytes32,uint16)": (
        "The class {class} has no shard {shard}.",
        "Name a shard below the class's number of shards.",
    ),
    "WordStale": (
        "Word {word} holds a consent that has expired or cannot afford the cost.",
        "Tidy this word, then seal again.",
    ),
    # datasets and records
    "NotSteward": (
        "{caller} is not the steward of the dataset {dataset}.",
        "Let the dataset's steward do this.",
    ),
    "UnknownDataset": ("There is no dataset {dataset}.", "Check the id, or publish the dataset."),
    "DatasetIsRetired": (
        "The dataset {dataset} is retired.",
        "Use another; consents in it can still be revoked and earnings withdrawn.",
    ),
    "DatasetExists": (
        "The dataset {dataset} is published already.",
        "Choose another salt to publish a second one.",
    ),
    "UnknownClass": ("There is no class {class}.", "Check the id, or publish the class."),
    "TooManyClasses": (
        "The dataset {dataset} has the most classes that it can have.",
        "Publish a new dataset.",
    ),
    "ClassTermsInvalid": ("The class terms are not valid: {field}.", "Correct {field}."),
    "DiseaseTableSealed": (
        "The disease table of {dataset} is fixed since its first class was published.",
        "Publish a new dataset with the table you need.",
    ),
    "DiseaseTableInvalid": (
        "Entry {entry} of the disease table is not valid.",
        "Give as many ancestors as descendants, none zero, and none its own ancestor.",
    ),
    "DefinitionMismatch": (
        "The terms given for class {class} are not those published.",
        "Take the terms from the class's ClassPublished event.",
    ),
    "UnknownIssuer": (
        "{issuer} is not an issuer of this dataset.",
        "Let the steward add the issuer, or let a known one attest.",
    ),
    "IssuerStillTrusted": (
        "The issuer {issuer} is still trusted.",
        "Withdraw the issuer before its records are suspended.",
    ),
    "AttestationExpired": (
        "The attestation had to be on chain by {deadline}.",
        "Let the issuer attest again.",
    ),
    "BadIssuerSignature": (
        "The attestation is not signed by {issuer}, or not as it stands.",
        "Let the issuer sign this very record, for this chain and registry.",
    ),
    "WrongRecordVersion(bytes32,address,uint32,uint32)": (
        "The attestation carries version {given}; the next one is {expected}.",
        "Attest the record under the next version (`usufruct seal --version {expected}`).",
    ),
    "PersonHasRecord": (
        "In this dataset the pseudonym {person} and the address {patient} belong together: one person, one "
        "address, one record.",
        "For the same person, attest the record's next version to that address (`usufruct seal` with "
        "--patient and --version), or have its patient move it first (`usufruct rotate`). Another person "
        "needs a pseudonym (--person) and an address (--patient) that belong to nobody else.",
    ),
    "EmptyCommitment": ("The commitment is empty.", "Seal the record, then attest it."),
    "EmptyDictionary": ("The dictionary hash is empty.", "Publish the data dictionary's hash."),
    "EmptyPerson": (
        "The person's pseudonym is empty.",
        "Let the issuer derive its keyed pseudonym of the person.",
    ),
    "ZeroAddress": ("An address is zero.", "Name a real address."),
    "NothingPending": (
        "No record of {patient} awaits a storage receipt.",
        "Have the record attested first; it may have been confirmed already.",
    ),
    "StaleStorageReceipt": (
        "The receipt is of committee epoch {epoch}; the current one is {current}.",
        "Have the current custodians confirm storage.",
    ),
    "ReceiptMismatch": (
        "The receipt is for another commitment ({given}) than the pending one ({expected}).",
        "Have custodians sign for the record that was attested last.",
    ),
    "RecordNotStored": (
        "The custodians have not confirmed that they hold the record of {patient}.",
        "Upload the sealed record and wait for its storage receipt.",
    ),
    "RecordUnusable": (
        "The record of {patient} is suspended or erased.",
        "Have a trusted issuer attest a new version.",
    ),
    "RecordExists": ("{patient} already has a record here.", "Rotate to a fresh address."),
    "OnlyConsentRegistry": (
        "{caller} is not the consent registry.",
        "Go through the ConsentRegistry contract.",
    ),
    "PurposeNotPermitted": (
        "The patients of class {class} do not permit this purpose: {reasons}.",
        "Change the purpose, or choose a class whose terms permit it.",
    ),
    # researchers
    "CredentialMissing": (
        "{researcher} has no researcher credential.",
        "Apply to the credential authority.",
    ),
    "CredentialExpired": (
        "The credential of {researcher} expired at {expiry}.",
        "Have the credential authority renew it.",
    ),
    "CredentialIsWithdrawn": (
        "The credential of {researcher} was withdrawn.",
        "Ask the credential authority why.",
    ),
    "CredentialInvalid": ("The credential is not valid: {field}.", "Correct {field}."),
    # committee
    "NoEpoch": ("No custodian committee has been opened yet.", "Open the first epoch."),
    "UnknownEpoch": ("There is no committee epoch {epoch}.", "Name an epoch that was opened."),
    "QuorumTooSmall": (
        "A quorum of {quorum} of {members} is no majority.",
        "Choose a quorum above half of the members.",
    ),
    "QuorumTooLarge": (
        "A quorum of {quorum} exceeds the {members} members.",
        "Choose a quorum of at most all members.",
    ),
    "TooManyMembers": ("{members} members are too many.", "Name at most 16 custodians."),
    "InvalidMember": (
        "The custodian at place {place} lacks an address or a proper key.",
        "Give an address and an X25519 key of 32 bytes, and each scheme once.",
    ),
    "DuplicateMember": ("{signer} is named twice.", "Name every custodian once."),
    "NoGates": ("The epoch names no gate.", "Name at least one gate."),
    "TooManyGates": ("{gates} gates are too many.", "Name at most 32 gates."),
    "InvalidGate": ("The gate {gate} is zero or named twice.", "Name every gate once."),
    "QuorumMissing": (
        "{given:custodian} signed; a quorum is {quorum}.",
        "Collect the signatures of a quorum; start custodians that are down.",
    ),
    "SignaturesOutOfOrder": (
        "The signature of place {place} is out of order or given twice.",
        "List signatures once each, by ascending place.",
    ),
    "UnknownPlace": (
        "Epoch {epoch} has no custodian at place {place}.",
        "Name places below the number of members.",
    ),
    "BadCustodianSignature": (
        "The signature of the custodian at place {place} is not valid.",
        "Ask that custodian again, and check which epoch and message it signed.",
    ),
    "JournalNotRising": (
        "The journal height {height} is not above the anchored {anchored}.",
        "If this custodian was restored from a backup, it must not go on: see its manual.",
    ),
    "JointKeyExists": (
        "The custodians of epoch {epoch} have a joint key, for ever.",
        "Use the recorded one; another key needs another epoch.",
    ),
    "NoJointKey": (
        "The custodians of epoch {epoch} have not recorded a joint key.",
        "Have them make it together and record it, then try again; or ask on the vault lane.",
    ),
    "JointKeyInvalid": (
        "What was given as the joint key of epoch {epoch} is not one point for each of its quorum.",
        "Give as many commitments as the quorum, of 33 bytes each, compressed, the joint key first.",
    ),
    # noise
    "OnlyOperatorUntil": (
        "Until {until} only the request's operator may bring in the noise.",
        "Wait until then: after that anybody may, {caller} too.",
    ),
    "NoiseAlreadyCommitted": (
        "The custodians have committed to their noise for {request} already.",
        "Go on with what is on chain: it never changes.",
    ),
    "NoiseNotCommitted": (
        "No custodian has committed to noise for {request} yet.",
        "Bring in the commitments of a quorum first.",
    ),
    "NoiseAlreadyFixed": (
        "Whose noise counts for {request} is fixed already.",
        "Settle with the noise that is on chain: it never changes.",
    ),
    "NoiseCommitmentEmpty": (
        "The noise commitment of the custodian at place {place} is empty.",
        "Ask that custodian for the hash of its noise.",
    ),
    "PlacesNotCommitted": (
        "The set of places {places} names custodians outside those that committed, {committed} (bit i is "
        "place i).",
        "Name only custodians whose commitment is on chain.",
    ),
    "NoiseSetTooSmall": (
        "The noise of {given:custodian} was named; a quorum is {quorum}.",
        "Name at least a quorum of those that committed.",
    ),
    # market
    "TokenHasTooManyDecimals": (
        "The token has {decimals} decimals.",
        "Use a token with at most 6 decimals.",
    ),
    "PolicyInvalid": ("The market policy is not valid: {field}.", "Correct {field}."),
    "TermsInvalid": ("The request's terms are not valid: {field}.", "Correct {field}."),
    "RequestExists": (
        "The request {request} was opened before.",
        "Choose another salt to ask the same again.",
    ),
    "WrongStage": (
        "The request {request} is {actual}; this needs it to be {expected}.",
        "Read the request again: it may have moved on already.",
    ),
    "WrongLane": (
        "The request {request} is of lane {lane}, which has no such step.",
        "A request of the vault lane (1) has a gate, one of the homomorphic lane (2) the custodians' noise.",
    ),
    "NotResearcher": ("{caller} did not open this request.", "Let its researcher do this."),
    "NotRequestOperator": ("{caller} did not freeze this request.", "Let its operator do this."),
    "PriceBelowFloor": (
        "The price of {price:money} a member is below the floor of class {class}, {floor:money}.",
        "Offer at least the floor.",
    ),
    "CostAboveClass": (
        "The cost of {cost} nano-rho is above the most that class {class} allows, {maxCost}.",
        "Ask for less precision, or choose another class.",
    ),
    "ClassesMismatch": (
        "The request names {expected} classes; the terms of {given} were given.",
        "Give the terms of every class, in order.",
    ),
    "TransferShort": (
        "The token moved {received:money} instead of {expected:money}.",
        "Use a token without transfer fees.",
    ),
    "NoticeStillRunning": (
        "Patients can still rest their consent for this request until {until}.",
        "Freeze after that.",
    ),
    "SealDeadlinePassed": (
        "The request had to be sealed by {deadline}.",
        "Reclaim it, and open a new one with a later deadline.",
    ),
    "CohortTooSmall": (
        "Only {members:patient} can be counted; the minimum is {minimum}.",
        "Wait for more consents, or ask for further classes.",
    ),
    "CohortTooLarge": (
        "{members:patient} would be counted; the request pays for at most {maximum}.",
        "Open a request with a higher maximum of patients.",
    ),
    "TooManyShards": (
        "The request covers {shards} shards; a request can freeze {most}.",
        "Ask for fewer classes.",
    ),
    "BondTooSmall": (
        "A bond of {needed:money} is needed; {posted:money} is posted.",
        "Post a larger bond.",
    ),
    "UnknownShard(uint16)": (
        "The request has no shard {shard}.",
        "Name a shard by its position in the request.",
    ),
    "GateNotDrawn": ("No gate has been drawn for {request} yet.", "Draw the gate first."),
    "GateAlreadyDrawn": ("The gate of {request} is drawn already.", "Nothing needs doing."),
    "DrawTooEarly": (
        "The gate is drawn from the hash of block {drawBlock}, which is not there yet.",
        "Draw it once a later block exists.",
    ),
    "CohortStillLarge": (
        "{members:patient} can still be counted; the minimum is {minimum}.",
        "Seal the request: only a freeze whose cohort became too small is dissolved.",
    ),
    "GateKeyAlreadyRecorded": (
        "A gate key is on chain already for {request}.",
        "Use the recorded one: it never changes.",
    ),
    "GateKeyEmpty": ("The gate key is empty.", "Give the gate's X25519 public key."),
    "NoGateKey": (
        "The gate of {request} has recorded no key.",
        "Start the drawn gate, or redraw once its window has passed.",
    ),
    "NoNoise": (
        "Whose noise counts for {request} is not fixed yet.",
        "Have a quorum of custodians sign the set, and fix it on chain, then settle.",
    ),
    "GateWindowRunning": (
        "The drawn gate has until {until} to record its key.",
        "Redraw after that.",
    ),
    "SettleDeadlinePassed": (
        "The request had to be settled by {deadline}.",
        "It can only default now (`usufruct default`): the researcher gets the fee back, and where a quorum "
        "of custodians turned, what the patients were paid, out of the operator's bond.",
    ),
    "SettlementMismatch": (
        "The settlement's {field} is not what the chain recorded.",
        "Build the settlement from the request as it stands on chain.",
    ),
    "DeadlineRunning": ("The deadline has not passed: it ends at {until}.", "Wait until then."),
    "NothingOwed": ("Nothing is owed to {account}.", "Nothing needs doing."),
    "InvalidDestination": ("Money cannot be sent to {to}.", "Name another destination."),
    # messages
    "BadSignature": (
        "The message is not signed by {signer}, or not as it stands.",
        "Sign this very message, for this chain and contract.",
    ),
    "DeadlinePassed": ("The message was good until {deadline}.", "Sign a new one."),
    "NonceUsed": ("The nonce {nonce} of {signer} was used before.", "Sign with a fresh nonce."),
    # OpenZeppelin
    "AccessControlUnauthorizedAccount": (
        "{account} lacks the role {neededRole}.",
        "Use an account with this role, or have the administrator give it.",
    ),
    "AccessControlBadConfirmation": (
        "A role can be renounced only by its own holder.",
        "Send this from the account that holds the role.",
    ),
    "EnforcedPause": (
        "The contract is paused.",
        "Wait until it goes on; revocations and withdrawals work all the while.",
    ),
    "ExpectedPause": ("The contract is not paused.", "Nothing needs doing."),
    "ReentrancyGuardReentrantCall": (
        "A contract called back into a payment under way.",
        "Pay from an account that does not call back.",
    ),
    "SafeERC20FailedOperation": (
        "The token {token} refused a transfer.",
        "Check balance, allowance and destination.",
    ),
    "ERC20InsufficientBalance": (
        "{sender} has {balance:money}; {needed:money} is needed.",
        "Pay in, or ask for less.",
    ),
    "ERC20InsufficientAllowance": (
        "{spender} may take {allowance:money}; {needed:money} is needed.",
        "Approve the amount first, or send a permit with the request.",
    ),
    "ERC20InvalidApprover": ("{approver} cannot approve.", "Use a real account."),
    "ERC20InvalidReceiver": ("{receiver} cannot receive tokens.", "Name a real account."),
    "ERC20InvalidSender": ("{sender} cannot send tokens.", "Use a real account."),
    "ERC20InvalidSpender": ("{spender} cannot be a spender.", "Name a real account."),
    "ERC2612ExpiredSignature": ("The permit was good until {deadline}.", "Sign a new one."),
    "ERC2612InvalidSigner": (
        "The permit was signed by {signer}, not by {owner}.",
        "Let the owner sign it.",
    ),
    "InvalidAccountNonce": (
        "{account} is at nonce {currentNonce}.",
        "Sign the permit with this nonce.",
    ),
    "ECDSAInvalidSignature": ("The signature belongs to no key.", "Sign again."),
    "ECDSAInvalidSignatureLength": (
        "The signature has {length} bytes.",
        "Give 65 bytes: r, s, v.",
    ),
    "ECDSAInvalidSignatureS": (
        "The signature is the malleated twin of another.",
        "Give the signature whose s is in the lower half.",
    ),
    "InvalidShortString": ("A stored short text is not valid.", "Deploy anew."),
    "StringTooLong": ("A text is too long for its slot.", "Shorten it."),
}

PANICS: Final[dict[int, str]] = {
    0x01: "an assertion failed",
    0x11: "a number left its range",
    0x12: "a division by zero",
    0x21: "a value outside its enumeration",
    0x22: "a damaged byte array in storage",
    0x31: "an empty list was popped",
    0x32: "an index outside its list",
    0x41: "too much memory was asked for",
    0x51: "a call to an uninitialised function",
}
"""Source: Solidity documentation, Panic via assert."""

DATA_USE_REASONS: Final[dict[int, str]] = {
    0: "research type not listed (RS)",
    1: "methods development excluded (NMDS)",
    2: "genetic studies only (GSO)",
    3: "non-profit and non-commercial only (NPUNCU)",
    4: "non-profit organisations only (NPU)",
    5: "non-commercial use only (NCU)",
    6: "ancestry research excluded (NPOA)",
    7: "country not listed (GS)",
    8: "use must end sooner (TS)",
    9: "user not listed (US)",
    10: "project not listed (PS)",
    11: "institution not listed (IS)",
    12: "ethics approval required (IRB)",
    13: "duty to collaborate not accepted (COL)",
    14: "duty to publish not accepted (PUB)",
    15: "publication moratorium not accepted (MOR)",
    16: "duty to return data not accepted (RTN)",
    32: "the class has no known permission",
    33: "the class has an unknown modifier",
    34: "the purpose names an unknown use",
    35: "the purpose names an unknown duty",
    36: "the credential names no known kind of organisation",
    37: "biomedical research only (HMB)",
    38: "disease not covered (DS)",
    39: "ancestry research only (POA)",
    40: "clinical care not permitted",
}
"""Bits of `PurposeNotPermitted.reasons` (contracts/src/DataUse.sol)."""
