"""How long a line takes from a task's print to those who watch, and what they cost: `python -m bench.viewers`.

Viewers hold a WebSocket each, as a page does; with `--browser` a real page in Chromium notes when it shows a line.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench.processes import memory, processor_seconds, resident
from bench.stacks import Stack, wait_for
from webspool.config import load
from webspool.processes import entered

PASSWORD = "of-the-bench"
SETTINGS = f"WEBSPOOL_PASSWORD={PASSWORD}\nWEBSPOOL_SECRET_KEY={'s' * 32}\n"
TASK = """

@task
def tell(lines: int, every: float):
    for _ in range(lines):
        print("%.6f" % time.time(), flush=True)
        time.sleep(every)


@app.post("/tell")
def order():
    return {"job": tell.spool(**request.get_json()).id}, 202
"""
NOTE = """() => {
    const since = Date.now() / 1000;
    window.seen = [];
    window.shown = 0;
    const box = document.querySelector("pre.terminal");
    const note = () => {
        const lines = box.textContent.split("\\n").filter((line) => /^\\d+\\.\\d{6}$/.test(line));
        const now = (performance.timeOrigin + performance.now()) / 1000;
        for (const line of lines.slice(window.shown)) if (Number(line) > since) seen.push(now - Number(line));
        window.shown = lines.length;
    };
    new MutationObserver(note).observe(box, { childList: true });
}"""


class Watched(Stack):
    """webspool with a task that prints the time, and a dashboard."""

    def __init__(self, directory: Path) -> None:
        super().__init__("webspool", directory)

    def _write_files(self) -> None:
        super()._write_files()
        for name, text in {"app.py": TASK, ".env": SETTINGS}.items():
            with open(self.directory / name, "a") as file:
                file.write(text)

    def ask(self, path: str, body: str, kind: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", path, body, {"Content-Type": kind})
        return connection.getresponse()

    def session(self) -> str:
        """The cookie of somebody who has logged in."""
        answer = self.ask("/dashboard/login", urlencode({"password": PASSWORD}), "application/x-www-form-urlencoded")
        return str(answer.headers["Set-Cookie"]).partition(";")[0]

    def tell(self, lines: int, every: float) -> str:
        """A job that prints so many lines, one every so many seconds."""
        answer = self.ask("/tell", json.dumps({"lines": lines, "every": every}), "application/json")
        return str(json.loads(answer.read())["job"])

    def live(self) -> int:
        """The live process."""
        entry = entered(load(self.directory, {}).live_file)
        return 0 if entry is None else entry.identity.pid


class Viewer(threading.Thread):
    """One who follows a job to its end; `delays` are seconds from print to arrival."""

    def __init__(self, port: int, cookie: str) -> None:
        super().__init__(daemon=True)
        import websocket  # noqa: PLC0415 - of the development requirements

        self.delays: list[float] = []
        self.socket = websocket.create_connection(
            f"ws://127.0.0.1:{port}/live/ws/?EIO=4&transport=websocket", cookie=cookie, timeout=60
        )
        self.socket.recv()
        self.socket.send("40")
        self.socket.recv()
        self.job = ""

    def run(self) -> None:
        after, known, number, finished = 0, "", 0, False
        while not finished:
            number += 1
            self.socket.send(f"42{number}" + json.dumps(["output", {"job": self.job, "after": after, "known": known}]))
            told = self._answer(number)
            now = time.time()
            lines = "".join(chunk["text"] for chunk in told["chunks"]).split()
            self.delays += [now - float(line) for line in lines]
            after, known = told["after"], told["mark"]
            finished = told["finished"] and told["ended"] and not told["chunks"]
        self.socket.close()

    def _answer(self, number: int) -> dict[str, Any]:
        head = f"43{number}["
        while not (frame := str(self.socket.recv())).startswith(head):
            if frame == "2":
                self.socket.send("3")
        found: dict[str, Any] = json.loads(frame[len(head) - 1 :])[0]
        return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--viewers", type=int, default=200)
    options.add_argument("--seconds", type=float, default=15, help="how long a job prints")
    options.add_argument("--every", type=float, nargs="*", default=[0.5, 0.03], help="seconds between two lines")
    options.add_argument("--browser", action="store_true", help="see it in Chromium too")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="webspool-viewers-") as folder:
        stack = Watched(Path(folder) / "stack")
        try:
            stack.wait_until_ready()
            wait_for(stack.live, 30, "the live process")
            for every in given.every:
                lines = int(given.seconds / every)
                print(f"{lines} lines, one every {every:g} s")
                watch(stack, 1, lines, every)
                watch(stack, given.viewers, lines, every)
                if given.browser:
                    see(stack, lines, every)
        finally:
            stack.stop()


def watch(stack: Watched, number: int, lines: int, every: float) -> None:
    """So many viewers of one job."""
    before = memory(stack.live())
    cookie = stack.session()
    viewers = [Viewer(stack.port, cookie) for _ in range(number)]
    used, began = processor_seconds(stack.live()), time.monotonic()
    job = stack.tell(lines, every)
    for viewer in viewers:
        viewer.job = job
        viewer.start()
    time.sleep(min(lines * every / 2, 10))
    held, rss = memory(stack.live()), resident(stack.live())
    for viewer in viewers:
        viewer.join(60)
    share = (processor_seconds(stack.live()) - used) / (time.monotonic() - began)
    told = told_of([delay for viewer in viewers for delay in viewer.delays])
    assert all(len(viewer.delays) == lines for viewer in viewers)
    print(
        f"  {number:4} viewers  {told}   live process: {mib(held)} MiB (RSS {mib(rss)}; {mib(before)} before), "
        f"{share:.0%} of a core"
    )


def see(stack: Watched, lines: int, every: float) -> None:
    """A page in Chromium."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of the development requirements

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--disable-quic"])
        context = browser.new_context()
        page = context.new_page()
        form = {"password": PASSWORD}
        context.request.post(f"{stack.url}/dashboard/login", form=form, max_redirects=0)
        page.goto(f"{stack.url}/dashboard/jobs/{stack.tell(lines, every)}")
        page.evaluate(NOTE)
        page.locator("[data-output-state]", has_text="ended").wait_for()
        seen: list[float] = page.evaluate("seen")
        print(f"     1 page     {told_of(seen)}")
        browser.close()


def told_of(delays: Sequence[float]) -> str:
    parts = statistics.quantiles(delays, n=100, method="inclusive")
    figures = {"p50": parts[49], "p95": parts[94], "p99": parts[98], "most": max(delays)}
    return ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in figures.items())


def mib(size: int) -> str:
    return f"{size / (1 << 20):.0f}"


if __name__ == "__main__":
    main()
