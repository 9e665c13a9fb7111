// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// What a patient of this class permits, in Data Use Ontology terms (DUO, CC-BY-4.0), and its price.
/// Published whole, stored as a hash: a class never changes once published.
struct ClassTerms {
    uint8 permission; // exactly one of DataUse.NRES, GRU, HMB, DS, POA; 0 is unset and refuses
    uint32 disease; // MONDO number, for DS only, else 0
    uint32 modifiers; // DataUse modifier bits; an unknown bit refuses
    uint32 researchTypes; // RS: bit (code - 31) of DUO 0000031..0000040
    bytes2[] countries; // GS: ISO 3166-1 alpha-2
    uint16 months; // TS: use must end within so many months
    bytes32[] users; // US: hashes
    bytes32[] projects; // PS: hashes
    bytes32[] institutions; // IS: hashes
    uint32 releaseKinds; // bit per release kind (1 << kind)
    uint56 maxCost; // highest privacy cost of one request, nano-rho
    uint56 floorPerRecord; // least price per member, token units
    uint56 floorPerMilliRho; // least price per member and 1e6 nano-rho, token units
    bytes32 termsHash; // of the plain-language page that the patient read
}

/// What a request wants the data for. What can be known of its author (non-profit, country, who, which
/// institution) is not said here but taken from the credential.
struct Purpose {
    uint32 uses; // bit (code - 31) of DUO 0000031..0000040; 0 is general use
    uint32[] diseases; // MONDO numbers
    bool commercial;
    bool clinicalCare;
    uint16 months; // use ends within so many months; 0 is open-ended
    bytes32 project;
    bytes32 ethicsApproval; // hash of the approval document, 0 if there is none
    uint32 duties; // accepted duties: DataUse modifier bits COL, PUB, MOR, RTN
}

/// A researcher's standing, as the credential authority vouched for it.
struct Credential {
    uint8 kind; // organisation: 1 non-profit, 2 public body, 3 commercial; 0 is none
    bytes2 country; // ISO 3166-1 alpha-2
    uint40 expiry; // unix seconds
    bool withdrawn;
    bytes32 user; // hash naming the person
    bytes32 institution; // hash naming the institution
    bytes32 evidence; // hash of the evidence that the authority saw
}
