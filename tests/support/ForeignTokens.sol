// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

abstract contract Coin is ERC20 {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function decimals() public pure virtual override returns (uint8) {
        return 6;
    }
}

/// ERC-2612 and EIP-5267, under a name of its own.
contract Modern is ERC20Permit, Coin {
    constructor() ERC20("Modern Coin", "MOD") ERC20Permit("Modern Coin") {}

    function decimals() public pure override(ERC20, Coin) returns (uint8) {
        return 6;
    }
}

/// ERC-2612 from before EIP-5267: the domain is told by name() and version().
contract Older is Coin {
    mapping(address => uint256) public nonces;

    constructor() ERC20("Older Coin", "OLD") {}

    function version() public pure virtual returns (string memory) {
        return "2";
    }

    function DOMAIN_SEPARATOR() public view virtual returns (bytes32) {
        return _domain(name(), version(), address(this));
    }

    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        virtual
    {
        bytes32 kind =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 said = keccak256(abi.encode(kind, owner, spender, value, nonces[owner]++, deadline));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", DOMAIN_SEPARATOR(), said));
        require(block.timestamp <= deadline && ECDSA.recover(digest, v, r, s) == owner, "Older: no permit");
        _approve(owner, spender, value);
    }

    function _domain(string memory name_, string memory version_, address place) internal view returns (bytes32) {
        bytes32 kind = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        return keccak256(
            abi.encode(kind, keccak256(bytes(name_)), keccak256(bytes(version_)), block.chainid, place)
        );
    }
}

/// Tells a domain that it does not sign for.
contract Mistaken is Older {
    function version() public pure override returns (string memory) {
        return "3";
    }

    function DOMAIN_SEPARATOR() public view override returns (bytes32) {
        return _domain(name(), "2", address(this));
    }
}

/// A permit of this name with other arguments, as DAI's.
contract Otherwise is Older {
    function permit(address, address, uint256, uint256, uint8, bytes32, bytes32) external pure override {
        revert("not this one");
    }
}

/// Tells the domain of another contract, for which it would like to be given a signature.
contract Thief is Older {
    function DOMAIN_SEPARATOR() public view override returns (bytes32) {
        return _domain("Victim", "1", address(0xdead));
    }

    function eip712Domain()
        external
        view
        returns (bytes1, string memory, string memory, uint256, address, bytes32, uint256[] memory)
    {
        return (hex"0f", "Victim", "1", block.chainid, address(0xdead), 0, new uint256[](0));
    }

    function permit(address, address, uint256, uint256, uint8, bytes32, bytes32) external pure override {}
}

/// No permit; an allowance changes only from or to nothing, and `approve` returns nothing (as USDT's).
contract Stubborn is Coin {
    constructor() ERC20("Stubborn Coin", "STB") {}

    function approve(address spender, uint256 value) public override returns (bool) {
        require(value == 0 || allowance(msg.sender, spender) == 0, "Stubborn: reset first");
        _approve(msg.sender, spender, value);
        assembly {
            return(0, 0)
        }
    }
}

/// Has no word for itself, and says so as if it were asked for money that it lacks.
contract Nameless is Coin {
    constructor() ERC20("", "") {}

    function symbol() public view override returns (string memory) {
        revert ERC20InsufficientBalance(address(this), 0, 1);
    }
}

/// Answers every call with nothing, as contracts with a generous fallback do.
contract Yes is Coin {
    constructor() ERC20("Yes Coin", "YES") {}

    fallback() external {}
}
