/** One consent as its guardian sees it: Stop, also past this operator. */

import { keepForStopping, sayNow } from "../acts.js";
import { facts } from "../dom.js";
import { offerStop } from "../revoking.js";

const own = facts();

offerStop(own);
sayNow();
if (own.acts) await keepForStopping(own);
