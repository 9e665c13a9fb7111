"""Keys as a newcomer makes them in a real browser, and a key of the command line brought to them."""

import secrets
from pathlib import Path

from eth_account.signers.local import LocalAccount
from playwright.sync_api import Page, expect

from marketplace.wire.browser_keyfile import lock, unlock
from marketplace.wire.browser_keys import ROOT_BYTES, Root
from marketplace.wire.keyfiles import create
from marketplace.wire.keyring import ImportedKey, Keyring

PASSPHRASE = "orbit canvas lemon tractor quiet"


def make_keys(page: Page, folder: Path) -> Keyring:
    """On the page that signs in, saving the file; the keyring is what Python reads in it."""
    page.fill("#new", PASSPHRASE)
    page.fill("#again", PASSPHRASE)
    page.get_by_role("button", name="Make keys").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save the key file").click()
    saved.value.save_as(folder / "keys.json")
    # Until the page has gone on: whoever left it meanwhile would keep it from signing in, or from its market.
    expect(page.locator("#save-part")).to_be_hidden()
    return unlock((folder / "keys.json").read_bytes(), PASSPHRASE)


def keys_here(page: Page, keystore: str, label: str, key: LocalAccount) -> Keyring:
    """Made some other day, and a key added: stretching a passphrase takes a browser seconds.

    `keystore` is the URL of that module; the page has to be one of this site's.
    """
    keyring = Keyring(
        Root(secrets.token_bytes(ROOT_BYTES)), imported=(ImportedKey(label, bytes(key.key)),)
    )
    file = lock(keyring, PASSPHRASE).decode()
    page.evaluate(
        """([url, file]) => import(url).then(m => m.addKeyFile(new TextEncoder().encode(file)))""",
        [keystore, file],
    )
    return keyring


def bring_key(
    page: Page,
    key: LocalAccount,
    folder: Path,
    label: str = "research account",
    at: str = "/keys",
) -> None:
    """A key file of the command line, added on the page of keys."""
    path = folder / f"{label.replace(' ', '-')}.key"
    create(path, bytes(key.key))
    page.goto(at)
    page.set_input_files("#file", path)
    page.fill("#label", label)
    page.fill("#passphrase", PASSPHRASE)
    page.get_by_role("button", name="Add the key").click()
    expect(page.locator("#imported")).to_contain_text(key.address)
