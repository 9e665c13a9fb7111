/** Run by `node --test`: HPKE against another implementation of RFC 9180. */

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

import { load } from "./checks.mjs";

const ROOT = new URL("../../../", import.meta.url);
const modules = await load(new URL("web/static/js/", ROOT).href);

test("HPKE as another implementation has it, both ways", async () => {
  const { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } = createRequire(new URL("web/package.json", ROOT))("@hpke/core");
  const suite = new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });
  const { hpke, bytes } = modules;
  for (let i = 0; i < 8; i++) {
    const [raw, info, text] = [32, 5 * i, 97 * i].map(bytes.randomBytes);
    const own = new hpke.SecretKey(raw);
    const theirs = await suite.kem.importKey("raw", raw.buffer, false);
    const publicKey = await suite.kem.importKey("raw", (await own.publicKey()).buffer, true);
    const { enc, ct } = await suite.seal({ recipientPublicKey: publicKey, info: info.buffer }, text.buffer);
    const sealed = bytes.concat(new Uint8Array(enc), new Uint8Array(ct));
    assert.deepEqual(await hpke.open(sealed, own, info), text);
    const mine = await hpke.seal(text, await own.publicKey(), info);
    const opened = await suite.open({ recipientKey: theirs, enc: mine.slice(0, 32).buffer, info: info.buffer }, mine.slice(32).buffer);
    assert.deepEqual(new Uint8Array(opened), text);
  }
});
