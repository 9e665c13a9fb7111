// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {RequestId} from "../src/types/Ids.sol";
import {Stage} from "../src/interfaces/IResearchMarket.sol";
import {Story} from "./base/Story.sol";

contract SmokeTest is Story {
    function test_story() public {
        _populate(4);
        RequestId request = _settleable();
        _settle(request);
        _assertStage(request, Stage.Settled);
    }
}
