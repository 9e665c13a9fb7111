"""A record of 64 variables, as a page seals it for both lanes: columns, proof, box, shares and envelopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from marketplace.wire.dictionary import Dictionary

SEAL = """
async ({ document, values, quorum, custodians, jointKey }) => {
  const load = (name) => import(`/static/js/${name}.js`);
  const names = ["dictionary", "bytes", "decimal", "joining", "keys", "recordfile"];
  const [dictionary, bytes, decimal, joining, keys, recordfile] = await Promise.all(names.map(load));
  const read = dictionary.load(bytes.utf8(document));
  const numbers = Object.entries(values).map(([name, text]) => [name, decimal.Decimal.parse(text)]);
  const [root, given] = [keys.Root.generate(), Object.fromEntries(numbers)];
  const place = { chainId: 31337, registry: "0x" + "11".repeat(20), dataset: new Uint8Array(32).fill(7) };
  const whose = { place, patient: "0x" + "22".repeat(20), version: 1 };
  const members = custodians.map((key, place) => ({ place, key, signer: "0x" + "33".repeat(20) }));
  const committee = { epoch: 3, quorum, members, jointKey: bytes.fromHex(jointKey, "jointKey") };
  let turns = 0;
  const [progress, turning] = [[], setInterval(() => (turns += 1), 1)];
  const how = { told: (fraction) => progress.push({ fraction, turns }) };
  const { record } = await joining.sealedFor(root, read, given, whose, committee, how);
  clearInterval(turning);
  return { progress, document: new TextDecoder().decode(recordfile.dump(record)) };
}
"""
"""What the page itself runs; how far it was told that this is, and the turns that it had had by then."""


def values_of(read: Dictionary) -> dict[str, int]:
    """Another one of each variable."""
    return {each.name: 7 * at for at, each in enumerate(read.variables)}


def asked_for(
    read: Dictionary, quorum: int, custodians: Sequence[bytes], joint_key: bytes
) -> dict[str, Any]:
    """SEAL's argument.

    custodians: their X25519 public keys, by place.
    """
    return {
        "document": read.to_bytes().decode(),
        "values": {name: str(value) for name, value in values_of(read).items()},
        "quorum": quorum,
        "custodians": ["0x" + each.hex() for each in custodians],
        "jointKey": "0x" + joint_key.hex(),
    }
