"""Regenerates class_page.json: python -m tests.vectors.generate_class_page

Bytes and hashes are made by Python's own json and eth_utils, not by the module under test; each spoiled text
is one that no reader may take.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

HERE = Path(__file__).parent
SCHEMA = "usufruct-class-page/1"
PARAGRAPHS = ("what", "who", "why", "how_long", "how_protected", "how_to_stop", "pay")
Page = dict[str, Any]


def page(**changes: Any) -> Page:
    texts = {name: f"About {name.replace('_', ' ')}." for name in PARAGRAPHS}
    return {"schema": SCHEMA, "language": "en", "title": "A study", **texts, **changes}


GOOD: dict[str, Page] = {
    "plain": page(),
    "shortest": page(title="x", **dict.fromkeys(PARAGRAPHS, "y")),
    "longest, of four bytes a character": page(
        title="\U0001d54f" * 200, pay="\U0001d54f" * 2_000, what="x" * 2_000
    ),
    "quotes, backslashes and markup": page(what='<b>"bold" \\ & done</b>', pay="1 < 2"),
    "German": page(language="de", title="Blutdruck älterer Menschen", who="Ärztinnen und Ärzte"),
    "script and country": page(language="zh-Hant-TW", title="血壓"),
    "right to left, without marks": page(language="ar", title="ضغط الدم"),
    "replacement character": page(why="�"),
    "spaces inside": page(why="a  b c"),
}


def bytes_of(document: Any) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def without(key: str) -> Page:
    return {name: text for name, text in page().items() if name != key}


def changed(**changes: Any) -> bytes:
    return bytes_of(page(**changes))


BAD: dict[str, bytes] = {
    **{f"without {key}": bytes_of(without(key)) for key in page()},
    "unknown key": bytes_of(page(color="red")),
    "another schema": changed(schema="usufruct-class-page/2"),
    "language in capitals": changed(language="EN"),
    "language with an underscore": changed(language="en_GB"),
    "language of one letter": changed(language="e"),
    "language with a line feed": changed(language="en\n"),
    "empty title": changed(title=""),
    "title too long": changed(title="x" * 201),
    "empty paragraph": changed(pay=""),
    "paragraph too long": changed(who="x" * 2_001),
    "number in place of text": changed(what=1),
    "null in place of text": changed(what=None),
    "list in place of text": changed(what=["a"]),
    "line feed": changed(what="a\nb"),
    "tab": changed(what="a\tb"),
    "bell": changed(what="a\x07b"),
    "C1 control": changed(what="a\x9bb"),
    "soft hyphen": changed(what="a\u00adb"),
    "zero width space": changed(what="a\u200bb"),
    "right-to-left override": changed(what="a\u202eb"),
    "isolate": changed(what="a\u2066b"),
    "line separator": changed(what="a\u2028b"),
    "byte order mark inside": changed(what="a\ufeffb"),
    "tag character": changed(what="a\U000e0041b"),
    "private use": changed(what="a\ue000b"),
    "never a character": changed(what="a\uffffb"),
    "begins with a space": changed(what=" a"),
    "ends with a space": changed(what="a "),
    "ends with a no-break space": changed(what="a\u00a0"),
    "only a space": changed(what=" "),
    "a list": bytes_of([page()]),
    "text": bytes_of("page"),
    "nothing": b"",
    "white space after": bytes_of(page()) + b"\n",
    "white space inside": json.dumps(page(), sort_keys=True).encode(),
    "keys in another order": json.dumps(page(), separators=(",", ":")).encode(),
    "escaped where it need not be": bytes_of(page()).replace(b'"en"', b'"\\u0065n"'),
    "half a surrogate pair": bytes_of(page()).replace(b'"A study"', b'"\\ud800"'),
    "byte order mark": b"\xef\xbb\xbf" + bytes_of(page()),
    "not UTF-8": bytes_of(page()).replace(b"A study", b"A st\xffdy"),
    "a key twice": bytes_of(page()).replace(b'"language":"en"', b'"language":"en","language":"en"'),
    "cut short": bytes_of(page())[:-1],
}


def vectors() -> dict[str, Any]:
    return {
        "good": [
            {"name": name, "document": each, "bytes": bytes_of(each).hex(), "hash": _hash(each)}
            for name, each in GOOD.items()
        ],
        "bad": [{"name": name, "bytes": each.hex()} for name, each in BAD.items()],
    }


def _hash(document: Page) -> str:
    return "0x" + keccak(bytes_of(document)).hex()


if __name__ == "__main__":
    written = json.dumps(vectors(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (HERE / "class_page.json").write_text(written, encoding="utf-8")
