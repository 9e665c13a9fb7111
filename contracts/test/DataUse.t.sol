// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {DataUse} from "../src/DataUse.sol";
import {IDatasetRegistry} from "../src/interfaces/IDatasetRegistry.sol";
import {ClassTerms, Credential, Purpose} from "../src/types/DataUseTypes.sol";
import {DatasetId, classOf} from "../src/types/Ids.sol";
import {Test} from "./Vm.sol";

/// Disease 2 descends from 1; nothing else does.
contract Diseases {
    function isDescendant(DatasetId, uint32 descendant, uint32 ancestor) external pure returns (bool) {
        return descendant == 2 && ancestor == 1;
    }
}

contract DataUseTest is Test {
    DatasetId private constant DATASET = DatasetId.wrap(bytes32(uint256(1 << 16)));
    IDatasetRegistry private datasets = IDatasetRegistry(address(new Diseases()));

    function requirePermitted(ClassTerms memory terms, Purpose memory purpose, Credential memory requester)
        external
        view
    {
        DataUse.requirePermitted(classOf(DATASET, 1), terms, purpose, requester, datasets);
    }

    // Rules that the registry cannot show, since it never publishes such a class.

    function test_an_unset_permission_refuses_any_purpose() public view {
        _assertReasons(_terms(0, DataUse.NMDS), _biomedical(), DataUse.REASON_PERMISSION_UNKNOWN);
    }

    function test_an_unknown_modifier_refuses() public view {
        uint256 reasons = _refusals(_terms(DataUse.NRES, 1 << 18), _biomedical(), 1);
        assertEq(reasons & DataUse.REASON_MODIFIER_UNKNOWN, DataUse.REASON_MODIFIER_UNKNOWN, "unknown modifier");
    }

    function test_an_unknown_organisation_refuses() public view {
        uint256 unknown = DataUse.REASON_ORGANISATION_UNKNOWN;
        assertEq(_refusals(_terms(DataUse.NRES, 0), _biomedical(), 0), unknown, "none");
        assertEq(_refusals(_terms(DataUse.NRES, 0), _biomedical(), 4), unknown, "beyond the known");
    }

    function test_disease_consent_without_a_disease_refuses() public view {
        Purpose memory purpose = _biomedical();
        purpose.diseases = new uint32[](1);
        _assertReasons(_terms(DataUse.DS, 0), purpose, DataUse.REASON_DISEASE);
    }

    function test_an_empty_list_refuses_an_unnamed_requester() public view {
        ClassTerms memory terms = _terms(DataUse.NRES, DataUse.US | DataUse.PS | DataUse.IS | DataUse.GS);
        _assertReasons(terms, _biomedical(), terms.modifiers);
        terms.users = new bytes32[](1);
        terms.projects = new bytes32[](1);
        terms.institutions = new bytes32[](1);
        terms.countries = new bytes2[](1);
        _assertReasons(terms, _biomedical(), terms.modifiers);
    }

    function test_a_list_permits_who_is_on_it() public view {
        ClassTerms memory terms = _terms(DataUse.NRES, DataUse.US | DataUse.IS | DataUse.GS);
        (terms.users, terms.institutions, terms.countries) = (new bytes32[](2), new bytes32[](2), new bytes2[](2));
        (terms.users[1], terms.institutions[1], terms.countries[1]) = ("user", "institution", "FR");
        Credential memory requester = _credential(1);
        (requester.user, requester.institution, requester.country) = ("user", "institution", "FR");
        assertEq(DataUse.refusals(terms, _biomedical(), requester, datasets, DATASET), 0, "all three");
        requester.country = "DE";
        assertEq(DataUse.refusals(terms, _biomedical(), requester, datasets, DATASET), DataUse.GS, "elsewhere");
        (requester.user, requester.country) = ("somebody", "FR");
        assertEq(DataUse.refusals(terms, _biomedical(), requester, datasets, DATASET), DataUse.US, "somebody else");
    }

    function test_the_refusal_names_the_class_and_every_reason() public {
        uint256 reasons = DataUse.REASON_NOT_BIOMEDICAL | DataUse.IRB;
        vm.expectRevert(abi.encodeWithSelector(DataUse.PurposeNotPermitted.selector, classOf(DATASET, 1), reasons));
        Purpose memory purpose;
        this.requirePermitted(_terms(DataUse.HMB, DataUse.IRB), purpose, _credential(1));
    }

    function testFuzz_a_permission_that_nobody_knows_permits_nothing(
        uint8 permission,
        Purpose memory purpose,
        uint8 kind
    ) public view {
        vm.assume(permission == 0 || permission > DataUse.POA);
        purpose.diseases = new uint32[](0);
        assertTrue(_refusals(_terms(permission, 0), purpose, kind) != 0, "permitted");
    }

    /// One more restriction never permits more. (Clinical care is the one modifier that adds.)
    function testFuzz_a_restriction_never_permits_more(
        uint8 permission,
        uint32 modifiers,
        uint8 added,
        uint32 uses,
        uint32 duties,
        bool commercial,
        bool care,
        uint8 kind
    ) public view {
        uint32 restriction = uint32(1) << (added % 17);
        Purpose memory purpose;
        purpose.uses = uses & DataUse.KNOWN_USES;
        purpose.duties = duties & DataUse.DUTIES;
        purpose.commercial = commercial;
        purpose.clinicalCare = care;
        permission = 1 + permission % 5;
        modifiers &= DataUse.KNOWN_MODIFIERS;
        kind = 1 + kind % 3;
        uint256 before = _refusals(_terms(permission, modifiers), purpose, kind);
        uint256 afterwards = _refusals(_terms(permission, modifiers | restriction), purpose, kind);
        assertEq(before & ~afterwards, 0, "a reason vanished");
        assertEq(afterwards & ~(before | restriction), 0, "a reason of another modifier appeared");
    }

    function testFuzz_every_disease_must_be_covered(uint32[] memory diseases) public view {
        vm.assume(diseases.length <= 64);
        ClassTerms memory terms = _terms(DataUse.DS, 0);
        terms.disease = 1;
        Purpose memory purpose = _biomedical();
        bool covered = diseases.length != 0;
        for (uint256 i = 0; i < diseases.length; ++i) {
            diseases[i] %= 4;
            if (diseases[i] != 1 && diseases[i] != 2) covered = false;
        }
        purpose.diseases = diseases;
        _assertReasons(terms, purpose, covered ? 0 : DataUse.REASON_DISEASE);
    }

    function testFuzz_a_country_is_two_capitals(bytes2 country) public pure {
        bool first = country[0] >= 0x41 && country[0] <= 0x5a;
        bool second = country[1] >= 0x41 && country[1] <= 0x5a;
        assertTrue(DataUse.isCountry(country) == (first && second), "country");
    }

    function _assertReasons(ClassTerms memory terms, Purpose memory purpose, uint256 expected) private view {
        assertEq(_refusals(terms, purpose, 1), expected, "reasons");
    }

    function _refusals(ClassTerms memory terms, Purpose memory purpose, uint8 kind) private view returns (uint256) {
        return DataUse.refusals(terms, purpose, _credential(kind), datasets, DATASET);
    }

    function _terms(uint8 permission, uint32 modifiers) private pure returns (ClassTerms memory terms) {
        terms.permission = permission;
        terms.modifiers = modifiers;
    }

    function _biomedical() private pure returns (Purpose memory purpose) {
        purpose.uses = 1 << 6;
    }

    function _credential(uint8 kind) private pure returns (Credential memory credential) {
        credential.kind = kind;
    }
}
