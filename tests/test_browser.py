"""The dashboard as a person sees it: in a real browser, before real instances, without loading a page anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browsers import PATIENCE_SECONDS, SETTINGS, Tab, chromium, log_in_again, multiply_jobs, needs_chromium
from tests.conditions import wait_until
from tests.conftest import needs_uwsgi
from tests.engine_houses import HOUSES, code
from tests.instances import Instance, kill

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TASKS = """

@task
def count(lines: int, gate: str):
    for number in range(1, lines + 1):
        print(number, "a line", flush=True)
    wait_at(gate)


@task
def print_until(gate):
    number = 0
    while not (HERE / f"gate-{gate}").exists():
        number += 1
        print(number, "a line", flush=True)
        time.sleep(0.01)


@task(max_attempts=1)
def needs_room():
    if not (HERE / "gate-room").exists():
        raise OSError("no room on the disk")
"""

REMEMBER_WORDS = """() => {
    window.told = [];
    const state = document.querySelector("[data-output-state]");
    const tell = () => told.at(-1) === state.textContent || told.push(state.textContent);
    new MutationObserver(tell).observe(state, { childList: true, characterData: true, subtree: true });
}"""
TELEPHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
TOO_WIDE = """() => [...document.querySelectorAll("body *")].filter(
    (each) => document.documentElement.scrollWidth > innerWidth && each.getBoundingClientRect().right > innerWidth + 1
).map((each) => each.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def served(engine: str, factory: pytest.TempPathFactory) -> Iterator[Instance]:
    needs_chromium()
    files = code()
    with HOUSES[engine](factory.mktemp(engine), files | {"tasks.py": files["tasks.py"] + TASKS}, **SETTINGS) as house:
        yield house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One instance under uWSGI for all laws."""
    needs_uwsgi()
    yield from served("spool", tmp_path_factory)


@pytest.fixture(scope="module")
def pc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One ordinary process (`python app.py`), whose pages get the same from a thread of it."""
    yield from served("local", tmp_path_factory)


@pytest.fixture
def tab(browser: Browser, house: Instance) -> Iterator[Tab]:
    """A page that is logged in, and has complained of nothing when the test is over."""
    with Tab(browser, house) as tab:
        tab.let_in()
        yield tab
        assert tab.complaints == []


def shown_lines(page: Page) -> list[int]:
    """The numbers of the lines in the output of a job's page."""
    text = page.locator("pre.terminal").text_content() or ""
    return [int(line.split()[0]) for line in text.splitlines()]


# ── what arrives ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_webhook_is_seen_as_it_arrives(tab: Tab, house: Instance) -> None:
    """On the overview and in the list, by the page that was open before it came."""
    for path, place in (("/", "#new-deliveries li"), ("/deliveries", "#list tr[data-row]")):
        page = tab.open(path)
        page.locator("[data-live-mark].on").wait_for()
        page.evaluate("window.since = 'before'")
        delivery = house.webhook(event=f"seen{len(path)}").json["delivery"]
        arrived = page.locator(place, has=page.locator(f"a[href$='{delivery}']"))
        arrived.wait_for()
        assert f"seen{len(path)}" in (arrived.text_content() or "")
        page.locator("[data-heard]", has_text="new").wait_for(state="attached")
        assert page.evaluate("window.since") == "before"


@pytest.mark.parametrize("engine", ["spool", "local"])
def test_output_is_seen_while_it_is_printed(engine: str, browser: Browser, request: pytest.FixtureRequest) -> None:
    """Line by line while the task runs, each once; then that it has ended, and how."""
    instance: Instance = request.getfixturevalue("house" if engine == "spool" else "pc")
    with Tab(browser, instance) as tab:
        job = instance.spool("count", lines=50, gate="seen")
        page = tab.let_in(f"/jobs/{job}")
        page.get_by_text("50 a line").wait_for()
        assert instance.state(job) == "running"
        page.locator("[data-output-state]", has_text="following").wait_for()
        instance.let_go("seen")
        page.locator("[data-output-state]", has_text="ended").wait_for()
        page.locator("h1 .state.succeeded").wait_for()
        assert shown_lines(page) == list(range(1, 51))
        assert tab.complaints == []


@pytest.mark.parametrize("engine", ["spool", "local"])
def test_a_task_is_run_by_hand_and_its_lines_arrive(
    engine: str, browser: Browser, request: pytest.FixtureRequest
) -> None:
    """Chosen from the list and given its arguments; the button rests meanwhile. Other jobs are not followed."""
    instance: Instance = request.getfixturevalue("house" if engine == "spool" else "pc")
    with Tab(browser, instance) as tab:
        page = tab.let_in("/run")
        page.get_by_role("link", name="count", exact=True).click()
        page.locator("[name='arg.lines']").fill("none")
        page.locator("[name='arg.gate']").fill("by-hand")
        page.get_by_role("button", name="Run").click()
        page.locator(".fault-of", has_text="no").first.wait_for()
        page.locator("[name='arg.lines']").fill("3")
        page.get_by_role("button", name="Run").click()
        page.locator("pre.terminal", has_text="3 a line").wait_for()
        assert page.locator("form[data-run] button.primary").is_disabled()
        instance.ended(instance.spool("speak"))
        instance.let_go("by-hand")
        page.locator("[data-run-state].succeeded").wait_for()
        page.locator("form[data-run] button.primary:enabled").wait_for()
        assert shown_lines(page) == [1, 2, 3]
        assert [each for each in tab.complaints if "400" not in each] == []


def test_output_goes_on_where_a_killed_live_process_broke_it_off(browser: Browser, house: Instance) -> None:
    """The page says that it is not connected, comes back by itself, and has every line once in the end."""
    with Tab(browser, house) as tab:
        job = house.spool("print_until", gate="back")
        page = tab.let_in(f"/jobs/{job}")
        page.locator("pre.terminal", has_text="5 a line").wait_for()
        page.locator("[data-output-mark].on").wait_for()  # the lines may have come with the page itself
        page.evaluate(REMEMBER_WORDS)
        kill(house.processes().live)
        wait_until(lambda: "not connected,following" in page.evaluate("told.join()"), PATIENCE_SECONDS)
        seen = len(shown_lines(page))
        wait_until(lambda: len(shown_lines(page)) > seen + 5, PATIENCE_SECONDS)
        house.let_go("back")
        page.locator("[data-output-state]", has_text="ended").wait_for()
        assert shown_lines(page) == [int(line.split()[0]) for line in house.output(job).splitlines()]
        assert shown_lines(page) == list(range(1, len(shown_lines(page)) + 1))
        assert tab.complaints == []


# ── every page ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def places(house: Instance) -> list[str]:
    """A path of every kind of page."""
    house.webhook(event="push", secret="wrong")
    job, failing = house.spool("speak"), house.spool("key_error")
    house.ended(job)
    house.ended(failing)
    delivery = house.webhook(event="push").json["delivery"]
    refusal = house.until(lambda: house.refusals())[0]["id"]
    return [
        f"/jobs/{job}",
        f"/jobs/{failing}",
        f"/deliveries/{delivery}",
        f"/refusals/{refusal}",
        "/refusals",
        "/jobs?since=x",
        "/nowhere",
    ]


def pages_of(tab: Tab, places: list[str]) -> Iterator[tuple[str, Page]]:
    """Every page, one after the other: those of the menu first."""
    menu = [str(link.get_attribute("href")).partition("/dashboard")[2] for link in tab.page.locator("nav a").all()]
    assert {"/", "/deliveries", "/jobs", "/failures"} <= set(menu)
    for path in (*menu, *places):
        yield path, tab.open(path)


DARK = ("/", "/jobs", "/run", "/sources", "/jobs?since=x")  # which have all the colours


def test_no_page_shuts_anybody_out(browser: Browser, house: Instance, places: list[str]) -> None:
    """axe finds nothing, in light and in dark (names, labels, contrast); on a telephone no page is wider than it;
    nothing is in the console, where a breach of the content policy would be."""
    with Tab(browser, house, color_scheme="light") as tab:
        tab.open("/login")
        assert tab.lacks() == []
        tab.let_in()
        for path, page in pages_of(tab, places):
            assert tab.lacks() == [], path
            if path in DARK:
                page.emulate_media(color_scheme="dark")
                assert tab.lacks("color-contrast") == [], f"{path} in the dark"
                page.emulate_media(color_scheme="light")
            page.set_viewport_size(TELEPHONE)
            assert page.evaluate(TOO_WIDE) == [], path
            page.set_viewport_size(DESK)
        assert [each for each in tab.complaints if "40" not in each] == []


def test_a_korean_reads_korean_and_can_choose(browser: Browser, house: Instance) -> None:
    """By the language of the browser, on a telephone too; the choice on the page wins and stays."""
    with Tab(browser, house, language="ko-KR", viewport=TELEPHONE) as tab:
        page = tab.let_in("/sources")
        assert page.locator("h1").text_content() == "소스"
        assert page.evaluate(TOO_WIDE) == []
        page.get_by_role("link", name="English").click()
        page.locator("html[lang=en]").wait_for(state="attached")
        assert tab.open("/jobs").locator("html").get_attribute("lang") == "en"
        assert tab.complaints == []


def test_keys_lead_through_the_rows_and_the_pages(tab: Tab, house: Instance) -> None:
    """`/` searches, j and k choose, x selects, Enter opens, ? tells them, g and a letter go."""
    for _ in range(3):
        house.ended(house.spool("fine"))
    page = tab.open("/jobs?task=fine")
    rows = [row.get_attribute("id") for row in page.locator("tr[data-row]").all()]
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.locator("tr.at").get_attribute("id") == rows[1]
    page.keyboard.press("x")
    assert page.locator("tr.at input[type=checkbox]").is_checked()
    page.keyboard.press("?")
    page.locator("dialog#keys[open]").wait_for()
    letters = [key.text_content() for key in page.locator("dialog#keys kbd", has_text="g").locator("+ kbd").all()]
    assert len(letters) == len(set(letters)) == page.locator("nav a").count()
    page.keyboard.press("Escape")
    page.locator("dialog#keys:not([open])").wait_for(state="attached")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.type") == "search"
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert str(page.evaluate("document.activeElement.href")).endswith(str(rows[1]))
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/jobs/{rows[1]}")
    page.locator("[data-output-state]", has_text="ended").wait_for()
    assert "It has printed nothing." in (page.locator("pre.terminal").text_content() or "")
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_url("**/dashboard/deliveries")


# ── what is done ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_thousand_failures_are_retried_at_once(tab: Tab, house: Instance) -> None:
    """As one group, after their count was confirmed; once the cause is gone they all succeed."""
    job = house.spool("needs_room")
    assert house.ended(job)["state"] == "dead"
    multiply_jobs(house, job, 999)
    page = tab.open("/failures")
    row = page.locator("tr", has_text="no room on the disk")
    assert "1,000" in (row.text_content() or "")
    house.let_go("room")
    row.get_by_role("button", name="Retry").click()
    page.get_by_role("button", name="Yes, 1,000").click()
    page.get_by_role("status").filter(has_text="1,000 begin again").wait_for()
    page.goto(f"{tab.url}/jobs?task=needs_room")
    unfinished = "SELECT 1 FROM job WHERE state != 'succeeded' AND task = 'needs_room' LIMIT 1"
    house.until(lambda: not house.query(unfinished))
    page.locator("#list:not(:has(.state:not(.succeeded)))").wait_for()
    assert page.locator("#list tr[data-row]").count() == 50


# ── who comes in ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_expired_session_goes_to_the_login_and_back(browser: Browser, house: Instance) -> None:
    """To the very list that was asked for, filters included; an open page goes there by itself."""
    with Tab(browser, house) as tab:
        page = tab.log_in("/jobs?state=dead&task=fail")
        assert page.url.endswith("/dashboard/jobs?state=dead&task=fail")
        tab.context.clear_cookies()
        house.webhook()  # something for the page to look at
        page.wait_for_url(re.compile("/dashboard/login[?]to="))
        log_in_again(page)
        assert page.url.endswith("/dashboard/jobs?state=dead&task=fail")
        assert [each for each in tab.complaints if "401" not in each] == []


def test_a_source_is_paused_and_goes_on(tab: Tab, house: Instance) -> None:
    """What it sends is accepted meanwhile and waits; the page that was open shows both."""
    page = tab.open("/sources")
    source = page.locator("article", has=page.get_by_role("link", name="github", exact=True))
    source.get_by_role("button", name="Pause", exact=True).click()
    source.locator(".state.paused").wait_for()
    answer = house.webhook(event="push")
    assert answer.json["status"] == "held"
    job = answer.json["jobs"][0]
    assert house.state(job) == "blocked"
    source.get_by_role("button", name="Resume").click()
    page.locator("article:not(:has(.state.paused))", has=page.get_by_role("link", name="github", exact=True)).wait_for()
    assert house.ended(job)["state"] == "succeeded"
