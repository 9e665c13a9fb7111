// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDatasetRegistry} from "./interfaces/IDatasetRegistry.sol";
import {ClassTerms, Credential, Purpose} from "./types/DataUseTypes.sol";
import {ClassId, DatasetId} from "./types/Ids.sol";

/// The Data Use Ontology's matching rules (DUO, CC-BY-4.0) as integer masks, read fail-closed: an unknown
/// code, an unset field or an empty consent is a refusal, and every reason is given at once.
///
/// A request's uses are bits (code - 31) of DUO:0000031..0000040; no bit at all is general use, which may
/// turn out to be anything, so it also fails the modifiers that forbid one use (NMDS, NPOA).
library DataUse {
    /// A bit of the purpose's reasons was set: this use is not what the patients of this class permit.
    error PurposeNotPermitted(ClassId class, uint256 reasons);

    // ---- Permissions: exactly one ----

    /// DUO:0000004 no restriction.
    uint8 internal constant NRES = 1;
    /// DUO:0000042 general research use.
    uint8 internal constant GRU = 2;
    /// DUO:0000006 health, medical or biomedical research; not general use, not ancestry.
    uint8 internal constant HMB = 3;
    /// DUO:0000007 research on one disease and what descends from it.
    uint8 internal constant DS = 4;
    /// DUO:0000011 population origins or ancestry research only.
    uint8 internal constant POA = 5;

    // ---- Modifiers: all must hold. A modifier's bit is also the reason given when it does not. ----

    /// DUO:0000012 only the listed research types.
    uint32 internal constant RS = 1 << 0;
    /// DUO:0000015 no general methods research.
    uint32 internal constant NMDS = 1 << 1;
    /// DUO:0000016 genetic studies only.
    uint32 internal constant GSO = 1 << 2;
    /// DUO:0000018 not-for-profit organisation *and* non-commercial use: stricter than NPU and NCU, although
    /// the ontology's tree has those as its subclasses.
    uint32 internal constant NPUNCU = 1 << 3;
    /// DUO:0000045 not-for-profit organisations only. A public body passes: it makes no profit either.
    uint32 internal constant NPU = 1 << 4;
    /// DUO:0000046 non-commercial use only, by whatever organisation.
    uint32 internal constant NCU = 1 << 5;
    /// DUO:0000044 no population origins or ancestry research (the ontology file writes it with 8 digits).
    uint32 internal constant NPOA = 1 << 6;
    /// DUO:0000022 only researchers of the listed countries.
    uint32 internal constant GS = 1 << 7;
    /// DUO:0000025 use ends within so many months.
    uint32 internal constant TS = 1 << 8;
    /// DUO:0000026 only the listed users.
    uint32 internal constant US = 1 << 9;
    /// DUO:0000027 only the listed projects.
    uint32 internal constant PS = 1 << 10;
    /// DUO:0000028 only the listed institutions.
    uint32 internal constant IS = 1 << 11;
    /// DUO:0000021 ethics approval required.
    uint32 internal constant IRB = 1 << 12;
    /// DUO:0000020 duty to collaborate with the primary investigators.
    uint32 internal constant COL = 1 << 13;
    /// DUO:0000019 duty to publish.
    uint32 internal constant PUB = 1 << 14;
    /// DUO:0000024 duty to hold publication back until a date.
    uint32 internal constant MOR = 1 << 15;
    /// DUO:0000029 duty to return derived data to the database.
    uint32 internal constant RTN = 1 << 16;
    /// DUO:0000043 clinical care is permitted as well: adds, never restricts.
    uint32 internal constant CC = 1 << 17;

    uint32 internal constant DUTIES = COL | PUB | MOR | RTN;
    uint32 internal constant KNOWN_MODIFIERS = (1 << 18) - 1;

    // ---- Uses of a request ----

    /// DUO:0000031 method development.
    uint32 internal constant METHODS = 1 << 0;
    /// DUO:0000033 population origins or ancestry research.
    uint32 internal constant ANCESTRY = 1 << 2;
    /// DUO:0000038 genetic research.
    uint32 internal constant GENETIC = 1 << 7;
    /// DUO:0000037 biomedical, 0000038 genetic, 0000039 drug development, 0000040 disease category research.
    uint32 internal constant BIOMEDICAL = 0xf << 6;
    uint32 internal constant KNOWN_USES = (1 << 10) - 1;

    // ---- Kinds of organisation ----

    uint8 internal constant NON_PROFIT = 1;
    uint8 internal constant PUBLIC_BODY = 2;
    uint8 internal constant COMMERCIAL = 3;

    // ---- Reasons beside those of the modifiers ----

    /// The class has no permission that this contract knows.
    uint256 internal constant REASON_PERMISSION_UNKNOWN = 1 << 32;
    /// The class carries a modifier that this contract does not know.
    uint256 internal constant REASON_MODIFIER_UNKNOWN = 1 << 33;
    /// The purpose names a use that this contract does not know.
    uint256 internal constant REASON_USE_UNKNOWN = 1 << 34;
    /// The purpose names a duty that this contract does not know.
    uint256 internal constant REASON_DUTY_UNKNOWN = 1 << 35;
    /// The requester's credential names no kind of organisation that this contract knows.
    uint256 internal constant REASON_ORGANISATION_UNKNOWN = 1 << 36;
    /// HMB: the purpose is general, not biomedical, or includes ancestry.
    uint256 internal constant REASON_NOT_BIOMEDICAL = 1 << 37;
    /// DS: general use, no disease named, or one that does not descend from the consented disease.
    uint256 internal constant REASON_DISEASE = 1 << 38;
    /// POA: the purpose is anything but ancestry alone.
    uint256 internal constant REASON_NOT_ANCESTRY = 1 << 39;
    /// The purpose includes clinical care, the class does not (CC).
    uint256 internal constant REASON_CLINICAL_CARE = 1 << 40;

    /// A class's lists stay short enough that any request can be checked in one transaction.
    uint256 internal constant MAX_LIST = 32;
    uint56 internal constant MAX_COST = 1 << 44;

    /// Reverts, with every reason, unless a patient of this class permits the purpose to this requester.
    function requirePermitted(
        ClassId class,
        ClassTerms memory terms,
        Purpose memory purpose,
        Credential memory requester,
        IDatasetRegistry datasets
    ) internal view {
        uint256 reasons = refusals(terms, purpose, requester, datasets, class.datasetOf());
        if (reasons != 0) revert PurposeNotPermitted(class, reasons);
    }

    /// Every reason why this use is not permitted; 0 if it is. The requester's standing (expiry, withdrawal)
    /// is the researcher registry's question, not this one's.
    function refusals(
        ClassTerms memory terms,
        Purpose memory purpose,
        Credential memory requester,
        IDatasetRegistry datasets,
        DatasetId dataset
    ) internal view returns (uint256 reasons) {
        reasons = _unknowns(terms, purpose, requester);
        if (purpose.clinicalCare && !_asks(terms, CC)) reasons |= REASON_CLINICAL_CARE;
        // Care alone is no research: CC permits it whatever the research permission.
        if (!_isCareAlone(purpose)) reasons |= _researchRefusals(terms, purpose, datasets, dataset);
        // A modifier that is not asked for cannot fail.
        reasons |= _failing(terms, purpose, requester) & terms.modifiers;
    }

    /// Reverts unless the terms could permit something, and say nothing twice or in vain.
    function requireValid(ClassTerms memory terms) internal pure {
        _require(_isPermission(terms.permission), "permission");
        _require((terms.disease != 0) == (terms.permission == DS), "disease");
        _require(terms.modifiers & ~KNOWN_MODIFIERS == 0, "modifiers");
        _require(terms.researchTypes & ~KNOWN_USES == 0, "researchTypes");
        _require((terms.researchTypes != 0) == _asks(terms, RS), "researchTypes");
        _require((terms.months != 0) == _asks(terms, TS), "months");
        _requireCountries(terms);
        _requireList(terms.users, _asks(terms, US), "users");
        _requireList(terms.projects, _asks(terms, PS), "projects");
        _requireList(terms.institutions, _asks(terms, IS), "institutions");
        _require(terms.releaseKinds != 0, "releaseKinds");
        _require(terms.maxCost != 0 && terms.maxCost <= MAX_COST, "maxCost");
        _require(terms.termsHash != 0, "termsHash");
    }

    /// Two capital letters (ISO 3166-1 alpha-2; whether the country exists is not this contract's to know).
    function isCountry(bytes2 country) internal pure returns (bool) {
        return _isCapital(country[0]) && _isCapital(country[1]);
    }

    function isOrganisation(uint8 kind) internal pure returns (bool) {
        return kind >= NON_PROFIT && kind <= COMMERCIAL;
    }

    function _unknowns(ClassTerms memory terms, Purpose memory purpose, Credential memory requester)
        private
        pure
        returns (uint256 reasons)
    {
        if (!_isPermission(terms.permission)) reasons |= REASON_PERMISSION_UNKNOWN;
        if (terms.modifiers & ~KNOWN_MODIFIERS != 0) reasons |= REASON_MODIFIER_UNKNOWN;
        if (purpose.uses & ~KNOWN_USES != 0) reasons |= REASON_USE_UNKNOWN;
        if (purpose.duties & ~DUTIES != 0) reasons |= REASON_DUTY_UNKNOWN;
        if (!isOrganisation(requester.kind)) reasons |= REASON_ORGANISATION_UNKNOWN;
    }

    function _researchRefusals(
        ClassTerms memory terms,
        Purpose memory purpose,
        IDatasetRegistry datasets,
        DatasetId dataset
    ) private view returns (uint256) {
        uint32 uses = purpose.uses;
        if (terms.permission == HMB && (uses & BIOMEDICAL == 0 || uses & ANCESTRY != 0)) return REASON_NOT_BIOMEDICAL;
        if (terms.permission == POA && uses != ANCESTRY) return REASON_NOT_ANCESTRY;
        if (terms.permission == DS && !_isOnDisease(terms.disease, purpose, datasets, dataset)) return REASON_DISEASE;
        return 0;
    }

    function _isOnDisease(uint32 consented, Purpose memory purpose, IDatasetRegistry datasets, DatasetId dataset)
        private
        view
        returns (bool)
    {
        if (consented == 0 || purpose.uses == 0 || purpose.diseases.length == 0) return false;
        for (uint256 i = 0; i < purpose.diseases.length; ++i) {
            uint32 disease = purpose.diseases[i];
            if (disease != consented && !datasets.isDescendant(dataset, disease, consented)) return false;
        }
        return true;
    }

    /// The bits of all modifiers that would not hold, whether asked for or not.
    function _failing(ClassTerms memory terms, Purpose memory purpose, Credential memory requester)
        private
        pure
        returns (uint256 failing)
    {
        failing = _failingUses(terms, purpose) | _failingRequester(terms, requester);
        bool nonProfit = requester.kind == NON_PROFIT || requester.kind == PUBLIC_BODY;
        if (!nonProfit) failing |= NPU | NPUNCU;
        if (purpose.commercial) failing |= NCU | NPUNCU;
        if (purpose.months == 0 || purpose.months > terms.months) failing |= TS;
        if (!_contains(terms.projects, purpose.project)) failing |= PS;
        if (purpose.ethicsApproval == 0) failing |= IRB;
        failing |= DUTIES & ~purpose.duties;
    }

    function _failingUses(ClassTerms memory terms, Purpose memory purpose) private pure returns (uint256 failing) {
        uint32 uses = purpose.uses;
        bool general = uses == 0 && !_isCareAlone(purpose);
        if (uses == 0 || uses & ~terms.researchTypes != 0) failing |= RS;
        if (general || uses & METHODS != 0) failing |= NMDS;
        if (uses & GENETIC == 0) failing |= GSO;
        if (general || uses & ANCESTRY != 0) failing |= NPOA;
    }

    function _failingRequester(ClassTerms memory terms, Credential memory requester)
        private
        pure
        returns (uint256 failing)
    {
        if (!_containsCountry(terms.countries, requester.country)) failing |= GS;
        if (!_contains(terms.users, requester.user)) failing |= US;
        if (!_contains(terms.institutions, requester.institution)) failing |= IS;
    }

    function _isCareAlone(Purpose memory purpose) private pure returns (bool) {
        return purpose.clinicalCare && purpose.uses == 0 && purpose.diseases.length == 0;
    }

    function _isPermission(uint8 permission) private pure returns (bool) {
        return permission >= NRES && permission <= POA;
    }

    function _asks(ClassTerms memory terms, uint32 modifier_) private pure returns (bool) {
        return terms.modifiers & modifier_ != 0;
    }

    function _contains(bytes32[] memory list, bytes32 item) private pure returns (bool) {
        if (item == 0) return false;
        for (uint256 i = 0; i < list.length; ++i) {
            if (list[i] == item) return true;
        }
        return false;
    }

    function _containsCountry(bytes2[] memory list, bytes2 item) private pure returns (bool) {
        if (item == 0) return false;
        for (uint256 i = 0; i < list.length; ++i) {
            if (list[i] == item) return true;
        }
        return false;
    }

    function _requireCountries(ClassTerms memory terms) private pure {
        _require((terms.countries.length != 0) == _asks(terms, GS), "countries");
        _require(terms.countries.length <= MAX_LIST, "countries");
        for (uint256 i = 0; i < terms.countries.length; ++i) {
            _require(isCountry(terms.countries[i]), "countries");
        }
    }

    function _requireList(bytes32[] memory list, bool asked, string memory field) private pure {
        _require((list.length != 0) == asked && list.length <= MAX_LIST, field);
        for (uint256 i = 0; i < list.length; ++i) {
            _require(list[i] != 0, field);
        }
    }

    function _require(bool holds, string memory field) private pure {
        if (!holds) revert IDatasetRegistry.ClassTermsInvalid(field);
    }

    function _isCapital(bytes1 letter) private pure returns (bool) {
        return letter >= "A" && letter <= "Z";
    }
}
