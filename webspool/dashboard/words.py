"""The dashboard's languages: English is in the code, Korean in ko.json. The browser's preference chooses."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from flask import g, request

LANGUAGES = ("en", "ko")
COOKIE = "webspool_language"


@cache
def catalogue(language: str) -> dict[str, str]:
    """The words of a language by the English ones."""
    if language == "en":
        return {}
    text = (files(__package__) / f"{language}.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)
    return found


def language() -> str:
    """What the visitor reads: chosen on the page, else by the browser."""
    if "language" not in g:
        chosen = request.cookies.get(COOKIE)
        g.language = chosen if chosen in LANGUAGES else request.accept_languages.best_match(LANGUAGES) or "en"
    found: str = g.language
    return found


def say(text: str, /, **values: object) -> str:
    """A text in the visitor's language, its {names} filled in."""
    found = catalogue(language()).get(text, text)
    return found.format(**values) if values else found


def count(one: str, many: str, number: int, /, **values: object) -> str:
    """The text that goes with a number, {n}."""
    return say(one if number == 1 and language() == "en" else many, n=f"{number:,}", **values)
