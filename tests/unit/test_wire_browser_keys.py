"""Rules of what a browser derives from its root, and of the file that keeps it."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.errors import BadParameter, Refusal
from marketplace.vocabulary import Address, DatasetId, DictionaryHash, patient_address
from marketplace.wire import browser_keyfile, feldman
from marketplace.wire.browser_keyfile import (
    WeakPassphrase,
    WrongPassphrase,
    lock,
    require_strong,
    unlock,
)
from marketplace.wire.browser_keys import Place, Root, new_root, plain_number
from marketplace.wire.canonical import canonical
from marketplace.wire.keyfiles import Signer
from marketplace.wire.keyring import ImportedKey, Joined, Keyring, KeysUnreadable
from marketplace.wire.record import RecordContext

FOLDER = Path(__file__).parents[1] / "vectors"
VECTORS = json.loads((FOLDER / "browser_keys.json").read_text())
spec = importlib.util.spec_from_file_location(
    "browser_key_vectors", FOLDER / "generate_browser_keys.py"
)
assert spec is not None
assert spec.loader is not None
gen = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gen)

FILE = VECTORS["key_file"]
DOCUMENT = FILE["document"].encode()
PASSPHRASE = FILE["passphrase"]
ROOT = Root(bytes(range(32)))
PLACE = Place(31337, Address("0x" + "11" * 20), DatasetId(b"\xd5" * 32))
CONTEXT = RecordContext(
    31337,
    PLACE.registry,
    PLACE.dataset,
    patient_address("0x" + "22" * 20),
    DictionaryHash(b"\xdd" * 32),
    1,
)
NONCE = bytes(range(12))


def unhex(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def place_of(vector: dict[str, Any]) -> Place:
    return Place(vector["chain_id"], vector["registry"], DatasetId(unhex(vector["dataset"])))


# --- derivation


def test_the_vectors_are_those_that_their_generator_makes() -> None:
    assert gen.vectors() == VECTORS


@pytest.mark.parametrize("vector", VECTORS["derived"], ids=lambda each: each["root"][-6:])
def test_every_key_is_the_published_one(vector: dict[str, Any]) -> None:
    root, place = Root(unhex(vector["root"])), place_of(vector)
    for each in vector["patient_keys"]:
        key = root.patient_key(place, each["index"])
        assert (key, Signer.of(key).address) == (unhex(each["key"]), each["address"])
    for each in vector["record_secrets"]:
        context = replace(
            CONTEXT,
            chain_id=place.chain_id,
            registry=place.registry,
            dataset=place.dataset,
            patient=each["patient"],
            record_version=each["version"],
        )
        secret = root.record_secret(context, unhex(each["nonce"]))
        assert secret == int(each["secret"], 16)
    delivery = root.delivery_key(place.chain_id, vector["market"], unhex(vector["salt"]))
    for key, expected in ((delivery, vector["delivery"]), (root.desk_key(place), vector["desk"])):
        assert (key.raw, key.public) == (unhex(expected["secret"]), unhex(expected["public"]))
    person = vector["person"]
    assert plain_number(person["number"]) == person["spelled"]
    assert root.person(place, person["number"]) == unhex(person["person"])


def derived(
    root: Root, place: Place, context: RecordContext, nonce: bytes, index: int
) -> list[bytes]:
    return [
        root.patient_key(place, index),
        root.record_secret(context, nonce).to_bytes(32, "big"),
        root.delivery_key(place.chain_id, place.registry, place.dataset).raw,
        root.desk_key(place).raw,
        root.person(place, "7"),
    ]


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"root": Root(bytes(32))}, 0),
        ({"place": replace(PLACE, chain_id=1)}, 1),
        ({"place": replace(PLACE, registry=Address("0x" + "12" * 20))}, 1),
        ({"place": replace(PLACE, dataset=DatasetId(b"\xd6" * 32))}, 1),
        ({"context": replace(CONTEXT, chain_id=1)}, 4),
        ({"context": replace(CONTEXT, registry=Address("0x" + "12" * 20))}, 4),
        ({"context": replace(CONTEXT, dataset=DatasetId(b"\xd6" * 32))}, 4),
        ({"context": replace(CONTEXT, patient=patient_address("0x" + "23" * 20))}, 4),
        ({"context": replace(CONTEXT, record_version=2)}, 4),
        ({"nonce": bytes(12)}, 4),
        ({"index": 1}, 4),
    ],
)
def test_whatever_a_secret_is_for_changes_it(changed: dict[str, Any], same: int) -> None:
    given = {"root": ROOT, "place": PLACE, "context": CONTEXT, "nonce": NONCE, "index": 0}
    before, after = derived(**given), derived(**given | changed)
    assert sum(a == b for a, b in zip(before, after, strict=True)) == same
    assert len({*before, *after}) == len(before) + len(after) - same


@pytest.mark.parametrize("number", VECTORS["refused_numbers"])
def test_a_number_that_no_patient_has_is_refused_and_not_repeated(number: str) -> None:
    with pytest.raises(BadParameter) as refusal:
        ROOT.person(PLACE, number)
    assert refusal.value.field == "number"
    assert not number.strip() or len(number) < 3 or number not in str(refusal.value)


@given(st.from_regex(r"[A-Za-z0-9._/-]{1,20}", fullmatch=True))
@settings(max_examples=50, deadline=None)
def test_one_number_is_one_person_however_it_was_typed(number: str) -> None:
    person = ROOT.person(PLACE, number)
    wide = "".join(chr(ord(each) + 0xFEE0) for each in number)
    for spelled in (number.upper(), number.lower(), f" {number} ", wide):
        assert ROOT.person(PLACE, spelled) == person
    assert ROOT.person(PLACE, number + "0") != person


@pytest.mark.parametrize(
    "use",
    [
        lambda: Root(bytes(31)),
        lambda: Root(bytearray(32)),
        lambda: ROOT.patient_key(PLACE, 2**32),
        lambda: ROOT.patient_key(PLACE, -1),
        lambda: ROOT.record_secret(CONTEXT, NONCE + b"\0"),
        lambda: ROOT.record_secret(replace(CONTEXT, record_version=2**32), NONCE),
        lambda: ROOT.delivery_key(1, Address("0x12"), bytes(32)),
        lambda: ROOT.delivery_key(2**53, PLACE.registry, bytes(32)),
        lambda: ROOT.delivery_key(1, PLACE.registry, bytes(31)),
        lambda: replace(PLACE, chain_id=2**53),
        lambda: replace(PLACE, registry=Address("0x" + "11" * 19)),
        lambda: replace(PLACE, dataset=DatasetId(bytes(33))),
    ],
)
def test_a_part_of_another_width_is_refused(use: Callable[[], object]) -> None:
    with pytest.raises(BadParameter):
        use()


def test_no_secret_prints_and_every_root_is_fresh() -> None:
    keyring = Keyring(ROOT, (Joined(PLACE, 0),), (ImportedKey("steward", b"\x77" * 32),))
    for text in (repr(keyring), str(ROOT), repr(ROOT.desk_key(PLACE))):
        assert ROOT.raw.hex() not in text
        assert "\\x77" not in text
        assert repr(ROOT.raw) not in text
    assert len({new_root().raw for _ in range(8)}) == 8


# --- the key file


def test_the_published_file_opens_and_is_written_byte_for_byte() -> None:
    keyring = unlock(DOCUMENT, PASSPHRASE)
    assert canonical(keyring.to_json()).decode() == FILE["keyring"]
    assert unlock(DOCUMENT, FILE["spelled"]) == keyring  # NFKC
    header = browser_keyfile._Header(unhex(salt()), unhex(gen.header()["nonce"]), "the long one")
    assert header.aad().decode() == FILE["aad"]
    assert browser_keyfile._lock(keyring, PASSPHRASE, header) == DOCUMENT
    assert browser_keyfile._stretched(PASSPHRASE, header) == unhex(FILE["key"])


def salt() -> str:
    return str(gen.header()["kdf"]["salt"])


def test_a_file_of_higher_cost_opens_too() -> None:
    assert unlock(VECTORS["other_cost"].encode(), PASSPHRASE) == unlock(DOCUMENT, PASSPHRASE)


@pytest.mark.parametrize(
    "vector", VECTORS["refused"], ids=lambda each: f"{each['field']}-{len(each['document'])}"
)
def test_a_spoiled_file_is_refused_at_its_field(vector: dict[str, str]) -> None:
    with pytest.raises(Refusal) as refusal:
        unlock(vector["document"].encode(), PASSPHRASE)
    assert (refusal.value.code, refusal.value.field) == (vector["code"], vector["field"])


def test_a_file_that_asks_for_too_much_is_refused_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def computed(*_: object) -> bytes:
        raise AssertionError("a key was computed for a file that is no key file")

    monkeypatch.setattr(browser_keyfile, "_stretched", computed)
    unopened = [each for each in VECTORS["refused"] if not each["field"].startswith("box")]
    for each in unopened:
        if each["code"] == KeysUnreadable.CODE:
            with pytest.raises(KeysUnreadable):
                unlock(each["document"].encode(), PASSPHRASE)
    with pytest.raises(AssertionError, match="was computed"):
        unlock(DOCUMENT, PASSPHRASE)


@given(
    st.binary(max_size=300)
    | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))
)
@settings(max_examples=100, deadline=None)
def test_bytes_that_are_no_key_file_are_refused(data: bytes) -> None:
    with pytest.raises(KeysUnreadable):
        unlock(data, PASSPHRASE)


WRONG: list[object] = [None, True, 0, -1, 3.5, "", "0x", [], {}, "x" * 300_000, 2**54]


@pytest.mark.parametrize("name", ["box", "cipher", "hint", "kdf", "nonce", "schema"])
def test_no_value_of_another_type_is_read_as_a_field(name: str) -> None:
    """In the header and in `kdf`; also where a field is missing."""
    whole = json.loads(DOCUMENT)
    spoiled = [whole | {name: value} for value in WRONG]
    if name == "kdf":
        spoiled += [
            whole | {"kdf": whole["kdf"] | {part: value}}
            for part in whole["kdf"]
            for value in WRONG
        ]
    spoiled.append({key: value for key, value in whole.items() if key != name})
    for each in spoiled:
        if name == "hint" and each.get("hint") in ("", "0x"):
            continue  # a hint like any other: it does not open, since it is bound
        with pytest.raises(KeysUnreadable):
            unlock(json.dumps(each, sort_keys=True, separators=(",", ":")).encode(), PASSPHRASE)


@pytest.mark.parametrize("part", ["datasets", "imported", "root"])
def test_no_value_of_another_type_is_read_in_the_box(part: str) -> None:
    """Authenticated, and yet not believed: read without the cost of 60 keys."""
    content = json.loads(FILE["keyring"])
    spoiled = [content | {part: value} for value in WRONG if value != []]
    spoiled += [content | {part: [value]} for value in WRONG]
    for entry in content[part] if part != "root" else []:
        for name in entry:
            if name not in ("index", "chain_id", "label"):
                spoiled += [content | {part: [entry | {name: value}]} for value in WRONG]
        spoiled.append(content | {part: [entry | {"more": 1}]})
    spoiled.append({key: value for key, value in content.items() if key != part})
    for each in spoiled:
        with pytest.raises(KeysUnreadable):
            browser_keyfile.read_keyring(
                json.dumps(each, sort_keys=True, separators=(",", ":")).encode()
            )


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("index", [None, True, -1, 2**32, "0"]),
        ("chain_id", [None, True, -1, 2**53, "1"]),
        ("label", [None, 1, "", "x" * 61, "a\nb", "\u202e"]),
    ],
)
def test_bounds_hold_in_the_box(name: str, bad: list[object]) -> None:
    content = json.loads(FILE["keyring"])
    part = "imported" if name == "label" else "datasets"
    for value in bad:
        spoiled = content | {part: [content[part][0] | {name: value}]}
        with pytest.raises(KeysUnreadable):
            browser_keyfile.read_keyring(canonical(spoiled))


def test_bits_of_the_box_and_of_every_bound_part_are_authenticated() -> None:
    """With the key in hand, so that every bit can be tried."""
    key, aad = unhex(FILE["key"]), FILE["aad"].encode()
    nonce, box = unhex(gen.header()["nonce"]), base64.b64decode(json.loads(DOCUMENT)["box"])
    assert AESGCM(key).decrypt(nonce, box, aad).decode() == FILE["keyring"]
    header = browser_keyfile._Header(unhex(salt()), nonce, "the long one")
    for name, value in {
        "salt": bytes(16),
        "nonce": bytes(12),
        "hint": "the long on",
        "memory_kib": 65537,
        "passes": 4,
    }.items():
        assert replace(header, **{name: value}).aad() != aad


@given(
    st.lists(st.integers(0, 2**32 - 1), max_size=3),
    st.dictionaries(
        st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=60),
        st.integers(1, feldman.ORDER - 1),
        max_size=3,
    ),
    st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=80),
)
@settings(max_examples=4, deadline=None)
def test_what_was_locked_comes_back(
    indices: list[int], imported: dict[str, int], hint: str
) -> None:
    keyring = Keyring(
        new_root(),
        tuple(Joined(replace(PLACE, chain_id=n + 1), index) for n, index in enumerate(indices)),
        tuple(ImportedKey(label, key.to_bytes(32, "big")) for label, key in imported.items()),
    )
    document = lock(keyring, PASSPHRASE, hint)
    assert unlock(document, PASSPHRASE) == keyring
    assert json.loads(document)["hint"] == hint
    assert keyring.root.raw.hex().encode() not in document


def test_two_files_of_one_keyring_share_neither_salt_nor_nonce() -> None:
    keyring = Keyring(ROOT)
    one, other = (json.loads(lock(keyring, PASSPHRASE)) for _ in range(2))
    assert one["kdf"]["salt"] != other["kdf"]["salt"]
    assert one["nonce"] != other["nonce"]


def test_the_wrong_passphrase_opens_nothing_and_is_not_repeated() -> None:
    for wrong in ("five calm otters read XII map", PASSPHRASE.upper(), ""):
        with pytest.raises(WrongPassphrase) as refusal:
            unlock(DOCUMENT, wrong)
        assert not wrong or wrong not in str(refusal.value)


@pytest.mark.parametrize("passphrase", VECTORS["refused_passphrases"])
def test_a_passphrase_that_protects_nothing_is_refused(passphrase: str) -> None:
    with pytest.raises(WeakPassphrase) as refusal:
        lock(Keyring(ROOT), passphrase)
    assert refusal.value.field == "passphrase"
    assert passphrase not in str(refusal.value)


def test_twelve_characters_are_counted_after_normalisation() -> None:
    require_strong("twelve chars")
    require_strong("\U0001f9a6" * 7 + "abcde")
    with pytest.raises(WeakPassphrase):
        require_strong("twelve char\u0301"[:-1])
    with pytest.raises(WeakPassphrase):
        require_strong("eleven cha\u0301r")  # a and its accent are one character in NFKC
    with pytest.raises(WeakPassphrase):
        require_strong("half \ud83e of a pair")


def test_a_keyring_that_could_not_be_read_back_is_not_written() -> None:
    twice = (Joined(PLACE, 0), Joined(PLACE, 1))
    with pytest.raises(KeysUnreadable):
        lock(Keyring(ROOT, twice), PASSPHRASE)
    with pytest.raises(KeysUnreadable):
        lock(Keyring(ROOT), PASSPHRASE, "a hint\nof two lines")


def test_a_keyring_says_which_address_is_in_use() -> None:
    keyring = Keyring(ROOT, (Joined(PLACE, 3),))
    assert keyring.index_in(PLACE) == 3
    assert keyring.index_in(replace(PLACE, chain_id=1)) is None
