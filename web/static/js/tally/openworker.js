/** Decrypts sums and finds what they are, beside the page. Started by `opener.js`. */

import { openedSums } from "./opened.js";
import { works } from "./working.js";

works(openedSums);
