// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// Play money for the embedded chain and for tests, with the six decimals and the permit (ERC-2612) of the
/// stablecoins that stand in its place in production. It is worth nothing.
contract TestEuro is ERC20, ERC20Permit, AccessControl {
    bytes32 public constant MINTER = keccak256("MINTER");

    constructor(address admin) ERC20("Usufruct Test Euro", "tEUR") ERC20Permit("Usufruct Test Euro") {
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// Role MINTER; `amount` in millionths of a test euro.
    function mint(address to, uint256 amount) external onlyRole(MINTER) {
        _mint(to, amount);
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }
}
