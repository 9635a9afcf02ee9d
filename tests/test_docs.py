"""The documentation says what the code does: every setting, command, cause, state, file and link is looked up."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from webspool.policy import Policy
from webspool.receive import REFUSALS, STATUSES
from webspool.records import Delivery, Ending, State
from webspool.settings import SETTINGS
from webspool.signatures import Scheme, scheme_of
from webspool.source import Source
from webspool.task import Task

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def rows(page: str) -> list[list[str]]:
    """The cells of every table row of a reference page."""
    lines = (REFERENCE / page).read_text().splitlines()
    return [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in lines if line.startswith("| ")]


def test_every_setting_has_a_row_with_its_default() -> None:
    """And no row names a setting that is none."""
    told = {row[0].strip("`"): row[1].strip("`") for row in rows("environment.md") if "WEBSPOOL_" in row[0]}
    assert told.keys() == {setting.key for setting in SETTINGS}
    given = {setting.key: setting.default for setting in SETTINGS if setting.default not in (None, ())}
    defaults = {key: f"{default:g}" if isinstance(default, float) else str(default) for key, default in given.items()}
    assert {key: default for key, default in told.items() if default != "none"} == defaults


def test_every_setting_of_a_task_has_a_row_with_its_default() -> None:
    """The defaults stand in one place, and are told as they are."""
    told = {row[0]: row[1] for row in rows("tasks.md")}
    assert {field.name: str(field.default) for field in fields(Policy)}.items() <= told.items()


def test_every_state_ending_and_cause_is_told() -> None:
    """What a job, an attempt or an answer can be."""
    tasks, http = rows("tasks.md"), rows("http.md")
    assert {str(state) for state in State} <= {row[0] for row in tasks}
    assert {str(ending) for ending in Ending} <= {row[1] for row in tasks}
    told = {row[0].strip("`"): row[1] for row in http}
    assert {cause: str(status) for cause, (status, _) in REFUSALS.items()}.items() <= told.items()
    assert {(str(status), f"`{name}`") for name, status in STATUSES.items()} <= {(row[0], row[1]) for row in http}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_file_of_a_page_exists(page: Path) -> None:
    """Links between pages, their headings, and the source files that are named."""
    text = page.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = link.partition("#")
        if "://" in link:
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not heading or heading in headings(target), link
    for name in re.findall(r"`(webspool/[\w/]+(?:\.py|/))`", text):
        assert (ROOT / name).exists(), name


def test_every_picture_is_shown_on_a_page() -> None:
    """And made by docs/make_screenshots.py."""
    shown = {name for page in PAGES for name in re.findall(r"images/([\w-]+\.png)\)", page.read_text())}
    assert shown == {path.name for path in (ROOT / "docs" / "images").iterdir()}
    program = (ROOT / "docs" / "make_screenshots.py").read_text()
    assert all(f'"{name.removesuffix(".png")}"' in program or name == "login.png" for name in shown)


def headings(page: Path) -> list[str]:
    """The anchors of a page, as forges make them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_compiles(page: Path) -> None:
    """An example that is no Python is no example."""
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        compile(block, str(page), "exec")


def test_the_readme_is_short() -> None:
    """One reading, then ./run."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 110


@pytest.mark.parametrize("page", [page for page in PAGES if page.name.endswith(".ko.md")], ids=lambda page: page.name)
def test_a_korean_page_has_the_commands_and_programs_of_the_english_one(page: Path) -> None:
    """What is typed is the same in every language, block by block; only the words between are others."""
    english = page.with_name(page.name.replace(".ko.md", ".md"))
    assert blocks(page) == blocks(english)
    assert blocks(page)


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def test_the_page_of_signatures_is_written_from_the_table() -> None:
    """Type: python docs/make_signatures.py"""
    made = run_path(str(ROOT / "docs" / "make_signatures.py"))
    assert (REFERENCE / "signatures.md").read_text() == made["page"]()


def test_the_openapi_description_is_written_from_the_code() -> None:
    """Type: python docs/make_openapi.py"""
    made = run_path(str(ROOT / "docs" / "make_openapi.py"))
    assert (REFERENCE / "openapi.json").read_text() == made["page"]()


def test_the_pages_of_senders_that_are_alike_are_written_from_their_texts() -> None:
    """Type: python docs/make_senders.py"""
    made = run_path(str(ROOT / "docs" / "make_senders.py"))
    index = (ROOT / "docs" / "how-to" / "senders" / "README.md").read_text()
    for page in made["PAGES"]:
        assert page.file.read_text() == made["text"](page)
        assert f"({page.file.name})" in index


def test_every_page_of_a_sender_names_a_preset_that_is_there() -> None:
    """And its source has no fault, whatever the tasks are."""
    pages = [page for page in (ROOT / "docs" / "how-to" / "senders").glob("*.md") if page.name != "README.md"]
    assert len(pages) >= 12
    for page in pages:
        named = re.findall(r'verify="([^"]+)"', page.read_text())
        assert named
        assert all(scheme_of(name) is not None for name in named)
        assert "webspool send" in page.read_text()
        for made in re.findall(r"Source\((?=[^()]*verify=)(?:[^()]|\([^()]*\))*\)", page.read_text()):
            source = eval(made, {"Source": Source, "tasks": AnyTask(), "acme": Scheme()})
            assert source.faults() == []


class AnyTask:
    """Stands for the reader's tasks.py."""

    def __getattr__(self, name: str) -> Task[Any, Any]:
        return Task(lambda delivery: None, name, Policy())


def test_every_way_to_read_a_payload_is_told() -> None:
    """And the page names none that is not there."""
    page = (ROOT / "docs" / "how-to" / "payloads.md").read_text().partition("## When")[0]
    told = set(re.findall(r"`(?:delivery)?\.([a-z]+)`", page))
    assert told <= {name for name in vars(Delivery) if not name.startswith("_")}
    assert told >= {"data", "json", "form", "files", "xml", "text", "cloudevent", "query", "body", "content"}


def test_every_argument_of_a_source_has_a_row_with_its_default() -> None:
    """In the order in which they are written, which is that of the class."""
    given = [each for each in fields(Source) if each.name != "_"]
    told = [(row[0].strip("`"), row[1].strip("`")) for row in rows("sources.md") if row[0].startswith("`")]
    assert [name for name, _ in told] == [each.name for each in given]
    written = {each.name: repr(each.default) for each in given if each.default is not MISSING} | {"on": "{}"}
    said = {name: default.replace('"', "'") for name, default in told if name != "path" and default}
    assert said == {name: default.replace('"', "'") for name, default in written.items() if name != "path"}


@pytest.mark.parametrize("name", ["answers", "filters", "limits"])
def test_the_sources_of_a_how_to_page_have_no_fault(name: str) -> None:
    """Whatever the tasks are."""
    page = (ROOT / "docs" / "how-to" / f"{name}.md").read_text()
    found = []
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        made: list[Source] = []
        told = block.replace("hooks = Webspool(app)", "hooks = Made()").replace("import tasks", "tasks = AnyTask()")
        known = {
            "__name__": __name__,
            "AnyTask": AnyTask,
            "Made": lambda made=made: type("Made", (), {"add": made.append}),
        }
        exec(told, known)
        found += made + [each for each in known.values() if isinstance(each, Source)]
    assert found
    assert [fault for source in found for fault in source.faults()] == []
