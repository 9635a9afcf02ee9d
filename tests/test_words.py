"""The dashboard in Korean: every text has its Korean and no other, and what is filled in is the same in both."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests import catalogue
from tests.furnished import failed
from tests.visitors import Visited, visited
from webspool.dashboard import sentences, words
from webspool.dashboard.words import DOMAIN, TRANSLATIONS
from webspool.errors import LedgerUnavailable, NotFound
from webspool.ledger import actions, standing
from webspool.policy import Policy

__all__ = ["visited"]

NAMES = re.compile(r"{(\w+)}")
KOREAN = {"Accept-Language": "ko-KR,ko;q=0.9,en;q=0.5"}


def test_every_text_of_the_dashboard_has_its_korean_and_none_is_left_over() -> None:
    """After a change of the texts: python -m tests.catalogue, and fill in what it has left empty."""
    kept = {message.id for message in catalogue.kept() if message.id}
    said = set(catalogue.said())
    assert (said - kept, kept - said) == (set(), set())


def test_every_translation_is_korean_and_fills_in_the_same() -> None:
    """Each {name} of the English, and no other."""
    for message in catalogue.kept():
        if not message.id:
            continue
        english, korean = (each if isinstance(each, str) else each[-1] for each in (message.id, message.string))
        assert re.search("[가-힣]", korean) or not re.search("[A-Za-z]", NAMES.sub("", english)), english
        assert set(NAMES.findall(english)) == set(NAMES.findall(korean)), english
        assert not message.fuzzy, english


def test_what_is_compiled_is_what_stands_in_the_source() -> None:
    """python -m tests.catalogue compiles it."""
    assert catalogue.MO.read_bytes() == catalogue.compiled(catalogue.kept())
    assert {path.name for path in TRANSLATIONS.iterdir()} == set(words.LANGUAGES) - {"en"}
    assert catalogue.PO.stem == DOMAIN


def test_pages_are_korean_for_whoever_reads_korean(visited: Visited, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is in the ledger; what a page says by its value is in the catalogue too."""
    missing = list[str]()

    def note(text: str, /, **values: object) -> str:
        if text and words.catalogue("ko").gettext(text) == text and not NAMES.search(text):
            missing.append(text)
        return say(text, **values)

    say = words.say
    dead = visited.dead("OSError: no room")
    visited.spool()
    visited.run(failed(), Policy(max_attempts=3))
    delivery, refusal = visited.deliver("audit"), visited.refuse()
    visited.spool("deploy", due_at=2e9)
    visitor = visited.operator()
    site = visited.app.wsgi_app._site.site  # type: ignore[attr-defined]
    monkeypatch.setitem(site.jinja_env.globals, "_", note)
    menu = re.findall(r'<li><a href="/dashboard(/[^"]*)"', visitor.page("/"))
    assert len(menu) > 5
    for path in (
        *menu,
        "/refusals",
        f"/jobs/{dead}",
        f"/deliveries/{delivery}",
        f"/refusals/{refusal}",
    ):
        assert '<html lang="ko">' in visitor.page(path, headers=KOREAN)
    assert missing == []


def test_the_choice_on_the_page_wins_over_the_browsers(visited: Visited) -> None:
    """And stays for a year, here only; a language that there is none of changes nothing."""
    visitor = visited.operator()
    assert '<html lang="ko">' in visitor.page("/", headers={"Accept-Language": "ko"})
    assert '<html lang="en">' in visitor.page("/", headers={"Accept-Language": "fr-FR, de"})
    assert visitor.get("/language/ko?to=/dashboard/jobs").headers["Location"] == "/dashboard/jobs"
    assert '<html lang="ko">' in visitor.page("/", headers={"Accept-Language": "en"})
    visitor.get("/language/tlh")
    assert '<html lang="ko">' in visitor.page("/")


# ── sentences that are made below the pages ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("the keeper is down: every process writes the ledger directly", "키퍼가 멈춰 있어"),
        ("it is succeeded", "지금 상태는 성공"),
        ("12 jobs wait for the task tidy, which the running code does not know", "태스크 tidy: 잡 12개가 기다립니다"),
        (str(NotFound(kind="job", id="j_1")), "원장에 없습니다: 잡 j_1"),
        (str(LedgerUnavailable(ledger="var/ledger.db", why="disk full")), "쓰지 못했습니다(var/ledger.db): disk full"),
        ("something {strange}", "something {strange}"),
    ],
)
def test_a_sentence_of_a_known_form_is_told_in_korean(made: str, told: str) -> None:
    """With the values that stand in it; one of no known form stays as it is."""
    with Flask("any").test_request_context(headers=KOREAN):
        assert told in sentences.retell(made)
    with Flask("any").test_request_context(headers={"Accept-Language": "en"}):
        assert sentences.retell(made) == made


@pytest.mark.parametrize("module", [standing, actions], ids=["degraded", "not_allowed"])
def test_every_sentence_that_status_and_actions_make_has_its_form(module: object) -> None:
    """Names apart."""
    known = {NAMES.sub("{}", form) for form in sentences.FORMS}
    made = set(made_in(Path(str(module.__file__))))  # type: ignore[attr-defined]
    assert len(made) >= 2
    assert made - known == set()


def made_in(path: Path) -> Iterator[str]:
    """The sentences that a module yields, and those for which something is not allowed; {} where values stand."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Yield | ast.Return) and isinstance(node.value, ast.JoinedStr | ast.Constant):
            text = _plain(node.value)
            if isinstance(node, ast.Yield) or text.startswith("not_allowed: "):
                yield text.removeprefix("not_allowed: ")


def _plain(value: ast.JoinedStr | ast.Constant) -> str:
    if isinstance(value, ast.Constant):
        return str(value.value)
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in value.values)
