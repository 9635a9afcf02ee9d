"""The catalogue of Korean held against the code: `python -m tests.catalogue` adds what is new, takes away what is no
longer said, and compiles; what it leaves empty is to be translated in the .po file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

import webspool.dashboard
from webspool.by_hand import Kind
from webspool.dashboard import acting, asked, site
from webspool.dashboard.words import DOMAIN, TRANSLATIONS
from webspool.receive import REFUSALS, STATUSES
from webspool.records import Ending, State

FOLDER = Path(webspool.dashboard.__path__[0])
PO = TRANSLATIONS / "ko" / "LC_MESSAGES" / f"{DOMAIN}.po"
MO = PO.with_suffix(".mo")
SAYING = {"_": None, "say": None, "later": None, "retell": None, "_refused": (2,), "count": (1, 2), "_n": (1, 2)}
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
OPTIONS = {"templates/**.html": {"trim_blocks": "true", "lstrip_blocks": "true"}}
HAPPENING = re.compile(r"[a-z]+(_[a-z]+)+")  # what the house says to its log
HEADER = "# The dashboard in Korean; English is in the code. `python -m tests.catalogue` renews and compiles this."
MADE = datetime(2026, 11, 24, tzinfo=UTC)
STRETCHES = ("waiting", "backoff")
STANDINGS = ("up", "down", "busy", "idle", "draining")

Text = str | tuple[str, ...]


def said() -> dict[Text, list[str]]:
    """Every text of the dashboard with the files that say it."""
    found: dict[Text, list[str]] = {}
    for name, _line, text, _comments, _context in extract_from_dir(FOLDER, METHODS, OPTIONS, SAYING):
        if not (isinstance(text, str) and HAPPENING.fullmatch(text)):
            found.setdefault(text, []).append(name)
    for text in _by_value():
        found.setdefault(text, [])
    return found


def _by_value() -> Iterator[str]:
    """What is said by the value it has: states, causes, verbs, names of fields and pages."""
    yield from State
    yield from Ending
    yield from STATUSES
    yield from (*STRETCHES, *STANDINGS)
    yield from (sentence for _, sentence in REFUSALS.values())
    yield from (text for verb in acting.VERBS.values() for text in (verb.done, verb.ask))
    yield from asked.NAMES
    yield from Kind
    yield from (name for _, _, name in site.MENU)


def kept() -> Catalog:
    with PO.open("rb") as file:
        return read_po(file, locale="ko", domain=DOMAIN)


def compiled(catalogue: Catalog) -> bytes:
    file = BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def renew() -> list[str]:
    """Write both files anew; returns what has no Korean yet."""
    before = {message.id: message.string for message in kept()} if PO.exists() else {}
    fresh = Catalog("ko", DOMAIN, HEADER, "webspool", "dashboard", creation_date=MADE, revision_date=MADE, fuzzy=False)
    for text, names in sorted(said().items(), key=lambda each: str(each[0])):
        empty: Text = ("",) if isinstance(text, tuple) else ""
        fresh.add(text, before.get(text, empty), locations=[(name, 0) for name in sorted(set(names))])
    PO.parent.mkdir(parents=True, exist_ok=True)
    with PO.open("wb") as file:
        write_po(file, fresh, width=120, include_lineno=False, omit_header=False)
    MO.write_bytes(compiled(kept()))
    return [str(message.id) for message in fresh if message.id and not any(_strings(message.string))]


def _strings(string: Text) -> tuple[str, ...]:
    return (string,) if isinstance(string, str) else string


if __name__ == "__main__":
    left = renew()
    print("\n".join(left))
    sys.exit(f"{len(left)} texts have no Korean yet" if left else 0)
