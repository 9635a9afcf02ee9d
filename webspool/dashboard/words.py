"""The dashboard's languages: English is in the code, others are catalogues of gettext's. The browser's wish chooses."""

from __future__ import annotations

from functools import cache
from gettext import NullTranslations, translation
from pathlib import Path

from flask import g, request

LANGUAGES = ("en", "ko")
COOKIE = "webspool_language"
TRANSLATIONS, DOMAIN = Path(__file__).parent / "translations", "dashboard"


@cache
def catalogue(language: str) -> NullTranslations:
    """The words of a language by the English ones."""
    return translation(DOMAIN, str(TRANSLATIONS), [language], fallback=True)


def language() -> str:
    """What the visitor reads: chosen on the page, else by the browser."""
    if "language" not in g:
        chosen = request.cookies.get(COOKIE)
        g.language = chosen if chosen in LANGUAGES else request.accept_languages.best_match(LANGUAGES) or "en"
    found: str = g.language
    return found


def say(text: str, /, **values: object) -> str:
    """A text in the visitor's language, its {names} filled in."""
    found = catalogue(language()).gettext(text) if text else text
    return found.format(**values) if values else found


def count(one: str, many: str, number: int, /, **values: object) -> str:
    """The text that goes with a number, {n}."""
    return catalogue(language()).ngettext(one, many, number).format(n=f"{number:,}", **values)


def later(text: str, /) -> str:
    """A text that is said later, in whatever language that will be: it marks the text for the catalogues."""
    return text
