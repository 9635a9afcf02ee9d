"""A real browser for tests: the system's Chromium, driven by Playwright. What its pages complain of is kept."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from tests.instances import Instance

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

PASSWORD = "a password for the tests"
SETTINGS = {"WEBSPOOL_PASSWORD": PASSWORD, "WEBSPOOL_SECRET_KEY": "s" * 32}
PATIENCE_SECONDS = 30
VIOLATIONS = """async (options) => (await axe.run(options)).violations.map(
    (each) => `${each.id}: ${each.nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`)"""
CALM = ["--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def needs_chromium() -> str:
    """The program; skips where it or its driver is missing, which in CI is a fault."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    missing = "chromium" if found is None else "" if importlib.util.find_spec("playwright") else "playwright"
    if missing:
        assert os.environ.get("CI") != "true", f"{missing} is missing"
        pytest.skip(f"{missing} is missing")
    assert found is not None
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, without a window."""
    program = needs_chromium()
    from playwright.sync_api import expect, sync_playwright  # noqa: PLC0415 - it is not everywhere

    expect.set_options(timeout=PATIENCE_SECONDS * 1000)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=program, args=CALM, chromium_sandbox=os.geteuid() != 0, timeout=PATIENCE_SECONDS * 1000
        )
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page of one instance's dashboard in a browser that knows no other."""

    def __init__(self, browser: Browser, instance: Instance, *, language: str = "en", **how: Any) -> None:
        self.instance = instance
        self.url = f"http://127.0.0.1:{instance.port}/dashboard"
        self.context = browser.new_context(locale=language, **how)
        self.context.set_default_timeout(PATIENCE_SECONDS * 1000)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda fault: self.complaints.append(str(fault)))

    def _heard(self, message: ConsoleMessage) -> None:
        """A socket that breaks is no fault of the page's; one that its policy forbids is told in other words."""
        if message.type in ("error", "warning") and not message.text.startswith("WebSocket connection to"):
            self.complaints.append(message.text)

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.url + path, wait_until="load")
        return self.page

    def let_in(self, path: str = "/") -> Page:
        """With a session, without the form."""
        assert (
            self.context.request.post(f"{self.url}/login", form={"password": PASSWORD}, max_redirects=0).status == 303
        )
        return self.open(path)

    def log_in(self, path: str = "/") -> Page:
        """By the form, on the way to that page."""
        self.open(path)
        log_in_again(self.page)
        return self.page

    def lacks(self, *rules: str) -> list[str]:
        """What stands in the way of those who do not see or use a mouse, as axe finds it by all its rules or these."""
        from axe_playwright_python.base import AXE_SCRIPT  # noqa: PLC0415 - it is not everywhere

        if self.page.evaluate("typeof axe") == "undefined":
            self.page.evaluate(AXE_SCRIPT)
        options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
        found: list[str] = self.page.evaluate(VIOLATIONS, options)
        return found


def log_in_again(page: Page) -> None:
    """What one types at the login, wherever that leads."""
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("button.primary").click()
    page.locator("header.side").wait_for()


def multiply_jobs(instance: Instance, job: str, times: int) -> None:
    """So many more of a job that has ended, as if each had been run."""
    connection = apsw.Connection(str(instance.config.ledger_path))
    connection.set_busy_timeout(5000)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(job)")]
    copied = ", ".join({"seq": "NULL", "id": "'j_' || lower(hex(randomblob(16)))"}.get(each, each) for each in columns)
    with connection:
        connection.execute(
            f"WITH RECURSIVE copy(place) AS (SELECT 1 UNION ALL SELECT place + 1 FROM copy WHERE place < ?) "
            f"INSERT INTO job SELECT {copied} FROM copy, job WHERE id = ?",
            (times, job),
        )
        state = instance.state(job)
        connection.execute("UPDATE counter SET value = value + ? WHERE name = ?", (times, f"jobs.{state}"))
    connection.close()
