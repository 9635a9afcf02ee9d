"""Writes docs/images/ from an instance that is furnished for it: `python -m docs.make_screenshots`.

It needs what the browser tests need. The figures are the same each time; ids and times of day are not.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import io
import json
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
from PIL import Image

from tests.browsers import SETTINGS, Tab, chromium
from tests.instances import Instance
from webspool.ledger.tallies import ALL, HOUR, MINUTE, QUARTER, added, bucket
from webspool.records import WebhookRequest
from webspool.signatures import sign

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IMAGES = Path(__file__).parent / "images"
MOVED = (
    ("delivery", ("received_at",), 20 * 3600),
    ("job", ("created_at", "started_at", "finished_at"), 20 * 3600),
    ("refusal", ("at",), 5400),
)
COUNTED = {
    "jobs.succeeded": 51_204,
    "deliveries.accepted": 50_377,
    "deliveries.refused": 31,
    "deliveries.duplicates": 214,
}
SECRETS = {"GITHUB_SECRET": "g" * 24, "STRIPE_SECRET": "whsec_" + "s" * 24, "SHOPIFY_SECRET": "h" * 24}

APP = """
from flask import Flask, request

import tasks
from webspool import Source, Webspool
from webspool.task import registry

app = Flask(__name__)
hooks = Webspool(app)
hooks.add(Source("github", verify="github", secrets=["env:GITHUB_SECRET"], on={"push": tasks.deploy, "*": tasks.audit}))
hooks.add(Source("stripe", verify="stripe", secrets=["env:STRIPE_SECRET"], on={"invoice.paid": tasks.send_receipt}))
hooks.add(Source("shopify", verify="shopify", secrets=["env:SHOPIFY_SECRET"], on={"orders/create": tasks.ship}))


@app.post("/spool/<name>")
def spool(name):
    given = request.get_json()
    options = {key: given.pop(f"_{key}") for key in ("at", "delay", "priority", "key") if f"_{key}" in given}
    return {"job": registry.tasks[name].options(**options).spool(**given).id}, 202
"""
TASKS = r'''
import time
from pathlib import Path

from webspool import task

HERE = Path(__file__).parent
STEPS = ["fetch 4f2c9aa", "build api:4f2c9aa", "run 214 tests", "migrate the database", "switch to the new release"]


def steps(seconds):
    for number, step in enumerate(STEPS, 1):
        print(f"\x1b[36m[{number}/{len(STEPS)}]\x1b[0m {step} ...", flush=True)
        time.sleep(seconds)
        print(f"      \x1b[32mdone\x1b[0m in {number * 0.7:.1f} s", flush=True)


@task(max_attempts=5, timeout=900, concurrency=1)
def deploy(delivery):
    """A push to GitHub: build, test, switch over."""
    print("deploying", delivery.data["after"][:7], "of", delivery.data["repository"]["full_name"])
    steps(0)
    while (HERE / "hold").exists():
        print("waiting for 3 requests to end", flush=True)
        time.sleep(0.5)


@task
def audit(delivery):
    """Every event of GitHub goes into the log."""
    print(delivery.event_type, delivery.event_id, f"{len(delivery.body)} bytes")


@task(max_attempts=1)
def send_receipt(delivery):
    """A receipt for each invoice that was paid."""
    who = delivery.data["data"]["object"]["customer_email"]
    print("to", who)
    if who.startswith("void"):
        raise ConnectionRefusedError(111, "smtp.example.com: Connection refused")
    if who.startswith("odd"):
        raise ValueError("no address in the invoice")


@task(max_attempts=8, first_wait=3600, jitter=0)
def ship(delivery):
    """An order of the shop goes to the warehouse."""
    print("order", delivery.data["id"])
    if delivery.data["id"] % 5 == 0:
        raise TimeoutError("the warehouse did not answer in 30 s")
    return {"parcel": f"KR{delivery.data['id']:08d}"}


@task
def report(month: int, format: str = "pdf"):
    """The sales of a month."""
    print("the report of month", month)


@task(timeout=60)
def ping(host: str):
    """Five pings to a host."""
    for number in range(1, 6):
        print(f"64 bytes from {host}: icmp_seq={number} ttl=64 time=0.0{number}1 ms", flush=True)
        time.sleep(0.2)
'''


class Scene(Instance):
    """The instance that is shown."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, {"app.py": APP, "tasks.py": TASKS}, WEBSPOOL_SPOOLERS="4", **SETTINGS, **SECRETS)
        self.events = 0

    def hook(self, source: str, event: str, payload: Mapping[str, Any], *, forged: bool = False) -> None:
        """One webhook as its sender signs it."""
        self.events += 1
        secret = "a secret of before" if forged else SECRETS[f"{source.upper()}_SECRET"]
        body = json.dumps(payload).encode()
        bare = WebhookRequest("POST", f"/hooks/{source}", {"Content-Type": "application/json"}, body)
        signed = sign(source, secret, bare, event_id=f"evt_{number_of(self.events)[:12]}", event_type=event)
        self.post(f"/hooks/{source}", signed.body, {name: signed.headers[name] for name in signed.headers})


def number_of(seed: int) -> str:
    """Forty hexadecimal digits, the same for the same seed."""
    return hashlib.sha1(str(seed).encode(), usedforsecurity=False).hexdigest()


def push(number: int) -> dict[str, Any]:
    commit = {"id": number_of(number), "message": "The basket keeps its coupon", "added": ["shop/basket.py"]}
    about = {"ref": "refs/heads/main", "after": number_of(number), "pusher": {"name": "mina"}}
    return about | {"repository": {"full_name": "acme/shop", "private": True}, "commits": [commit]}


def invoice(number: int, who: str) -> dict[str, Any]:
    about = {"id": f"in_{number:06d}", "customer_email": who, "amount_paid": 4900, "currency": "eur"}
    return {"id": f"evt_{number:08d}", "type": "invoice.paid", "data": {"object": about}}


def play(scene: Scene) -> None:
    """A day in a shop: deploys, receipts, parcels; a mail server that was down, a secret that was changed."""
    for number in range(1, 61):
        if number % 10 == 0:
            scene.hook("github", "push", push(number))
        if number % 3 == 0:
            scene.hook("github", "issues", {"action": "opened", "issue": {"number": number}})
        who = "void@example.com" if number in (31, 32, 33, 34, 35, 36, 37) else f"customer{number}@example.com"
        scene.hook("stripe", "invoice.paid", invoice(number, "odd@example.com" if number == 44 else who))
        if number % 2:
            scene.hook("shopify", "orders/create", {"id": 1000 + number, "total_price": "49.00"})
    for number in range(5):
        scene.hook("stripe", "invoice.paid", invoice(900 + number, "x@example.com"), forged=True)
    for month, delay in ((12, 7200), (1, 86400)):
        scene.spool("report", month=month, _delay=delay)
    scene.until(lambda: len(scene.refusals()) == 5)
    scene.until(lambda: is_quiet(scene))
    dead = scene.query("SELECT id FROM job WHERE state = 'dead' ORDER BY seq DESC LIMIT 1")[0][0]
    for words in (["retry", dead], ["pause", "--source", "shopify"], ["resume", "--source", "shopify"]):
        assert scene.command(*words).returncode == 0, words
    scene.until(lambda: is_quiet(scene))


def is_quiet(scene: Scene) -> bool:
    jobs = scene.status()["jobs"]
    return not jobs["queued"] + jobs["blocked"] + jobs["running"]


def let_it_have_been(path: Path) -> None:
    """Spread what has happened over the last hours, and give the charts a week of figures."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5000)
    with connection:
        for table, columns, seconds in MOVED:
            newest, oldest = connection.execute(f"SELECT max(seq), min(seq) FROM {table}").fetchone()
            back = f"({newest} + 3.0 - seq) / {newest - oldest + 3.0} * {seconds}"
            moved = ", ".join(f"{column} = {column} - {back}" for column in columns)
            connection.execute(f"UPDATE {table} SET {moved}")
        begun = "(SELECT job.started_at FROM job WHERE job.id = attempt.job)"
        connection.execute(f"UPDATE attempt SET ended_at = {begun} + ended_at - started_at, started_at = {begun}")
        connection.execute("DELETE FROM tally")
        connection.executemany("INSERT INTO tally VALUES (?, ?, ?, ?)", week())
        for name, value in COUNTED.items():
            connection.execute("UPDATE counter SET value = value + ? WHERE name = ?", (value, name))
    connection.close()


def week() -> Iterator[tuple[int, int, str, str]]:
    """What happened in each minute of an hour, each quarter and hour of a week, as the ledger keeps it."""
    now, chance = time.time(), random.Random(11)
    for span, seconds in ((MINUTE, 3600), (QUARTER, 7 * 86400), (HOUR, 7 * 86400)):
        for at in range(int((now - seconds) // span) * span, int(now) + 1, span):
            named = happened(now - at, span, chance)
            named[ALL] = functools.reduce(added, list(named.values()))
            for name, counts in named.items():
                yield span, at, name, json.dumps(counts)


def happened(ago: float, span: int, chance: random.Random) -> dict[str, dict[str, Any]]:
    """What tasks did and sources sent in `span` seconds, so long ago."""
    tasks = {"send_receipt": 0.5, "ship": 0.3, "audit": 0.15, "deploy": 0.05}
    named = {f"task:{task}": attempts(ago, span, share, chance) for task, share in tasks.items()}
    for source, share in {"stripe": 0.5, "shopify": 0.3, "github": 0.2}.items():
        forged = 2 if source == "stripe" and ago < 5400 else int(chance.random() < 0.01)
        named[f"source:{source}"] = {"accepted": int(span / 60 * 10 * busy(ago) * share), "refused": forged}
    return named


def attempts(ago: float, span: int, share: float, chance: random.Random) -> dict[str, Any]:
    """So many of a task ended, that many failed, and how long each waited and ran."""
    ended = int(span / 60 * 10 * busy(ago) * share + chance.random())
    trouble = 0.4 if share == 0.5 and 9 * 3600 < ago < 10 * 3600 else 0.01
    failed = sum(chance.random() < trouble for _ in range(ended))
    waits, runs = dict[str, int](), dict[str, int]()
    for _ in range(ended):
        for found, middle in ((waits, 0.004), (runs, 0.3)):
            place = bucket(middle * chance.lognormvariate(0, 0.9))
            found[place] = found.get(place, 0) + 1
    return {"succeeded": ended - failed, "failed": failed, "wait_seconds": waits, "run_seconds": runs}


def busy(ago: float) -> float:
    """How much there was to do so many seconds ago, 0.2 to 1.3: it is early in the afternoon, and quiet at night."""
    hours = ago / 3600 % 24
    return 0.2 + max(0.0, 1 - min(abs(hours - 1), 25 - hours) / 9) + 0.04 * (int(hours * 4) % 3)


# ── the pictures ────────────────────────────────────────────────────────────────────────────────────────────────────


LIGHT: dict[str, Any] = {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}}
VIEWS = {
    "light": LIGHT,
    "dark": LIGHT | {"color_scheme": "dark"},
    "narrow": LIGHT | {"viewport": {"width": 390, "height": 844}},
    "ko": LIGHT | {"language": "ko-KR"},
}


def pages(scene: Scene) -> dict[str, str]:
    """Every page by the name of its picture."""
    one = {
        "running": "SELECT id FROM job WHERE task = 'deploy' AND state = 'running'",
        "dead": "SELECT id FROM job WHERE state = 'dead' ORDER BY seq LIMIT 1",
        "push": "SELECT id FROM delivery WHERE event_type = 'push' ORDER BY seq DESC LIMIT 1",
        "forged": "SELECT id FROM refusal ORDER BY seq DESC LIMIT 1",
    }
    ids = {name: scene.query(sql)[0][0] for name, sql in one.items()}
    return {
        "overview": "/?range=24h",
        "deliveries": "/deliveries",
        "delivery": f"/deliveries/{ids['push']}",
        "refused": "/refusals",
        "refusal": f"/refusals/{ids['forged']}",
        "jobs": "/jobs",
        "job": f"/jobs/{ids['running']}",
        "job-dead": f"/jobs/{ids['dead']}",
        "failures": "/failures",
        "run": "/run?task=ping",
        "scheduled": "/scheduled",
        "sources": "/sources",
        "send": "/sources/send?source=stripe",
        "tasks": "/tasks",
        "processes": "/processes",
        "audit": "/audit",
    }


def take(scene: Scene, browser: Browser, into: Path, look: bool) -> None:
    for view, how in (VIEWS if look else {"": LIGHT}).items():
        with Tab(browser, scene, **how) as tab:
            tab.open("/login")
            shoot(tab.page, into / f"login{view and '-'}{view}.png", look)
            tab.log_in()
            for name, path in pages(scene).items():
                page = tab.open(path)
                if name == "run":
                    run_ping(page)
                shoot(page, into / f"{name}{view and '-'}{view}.png", look)


def run_ping(page: Page) -> None:
    page.locator("[name='arg.host']").fill("example.com")
    page.locator("form[data-run] button.primary").click()
    page.locator("[data-run-state].succeeded").wait_for()


def shoot(page: Page, path: Path, whole: bool) -> None:
    """A picture of the page's 255 most frequent colours: it has not many more, and half the bytes."""
    if page.locator("[data-live-mark]").count():
        page.locator("[data-live-mark].on").wait_for()
    picture = Image.open(io.BytesIO(page.screenshot(full_page=whole, animations="disabled"))).convert("RGB")
    colours = [colour for _, colour in sorted(picture.getcolors(1 << 24), reverse=True)]
    place = {colour: nearest(colour, colours[:255]) for colour in colours}
    small = Image.new("P", picture.size)
    small.putpalette([part for colour in colours[:255] for part in colour])
    small.putdata([place[colour] for colour in zip(*[iter(picture.tobytes())] * 3, strict=True)])
    small.save(path, optimize=True)


def nearest(colour: tuple[int, ...], known: Sequence[tuple[int, ...]]) -> int:
    """The place of the known colour that is most like this one."""
    return min(range(len(known)), key=lambda at: sum((a - b) ** 2 for a, b in zip(colour, known[at], strict=True)))


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--into", type=Path, default=IMAGES)
    given.add_argument("--look", action="store_true", help="each page whole: light, dark, narrow and Korean")
    asked = given.parse_args()
    asked.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        scene = Scene(Path(folder) / "shop")
        with scene:
            play(scene)
            scene.stop()
        let_it_have_been(scene.config.ledger_path)
        (scene.directory / "hold").touch()
        with scene:
            scene.hook("github", "push", push(61))
            scene.hook("github", "push", push(62))
            scene.until(lambda: scene.status()["jobs"]["running"])
            take(scene, browser, asked.into, asked.look)


if __name__ == "__main__":
    main()
