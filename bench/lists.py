"""How long the operator's questions take: what the commands and pages read, each on a connection of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.peers import PATH
from webspool.config import Config, load
from webspool.ledger import failing, reading
from webspool.ledger.following import Follower
from webspool.ledger.reading import Filters, Page
from webspool.ledger.searching import find
from webspool.records import State

SHOWN = 50
TIMES = 5
COMMANDS = (
    ("status", "--json"),
    ("jobs",),
    ("jobs", "--state", "dead"),
    ("jobs", "--source", "rare"),
    ("deliveries", "--since", "1h"),
    ("failures",),
)


def config_of(ledger: Path, directory: Path) -> Config:
    """A configuration whose ledger is that file."""
    directory.mkdir(exist_ok=True)
    return load(directory, {"WEBSPOOL_DATABASE_URL": f"sqlite:///{ledger}"})


def questions(config: Config) -> dict[str, Callable[[], Any]]:
    """The questions by what an operator would type, or see."""
    now = time.time()
    oldest = reading.jobs(config, Filters(task="rare", limit=1))
    newest = reading.jobs(config, Filters(limit=1))
    asked: dict[str, Callable[[], Any]] = {"status": lambda: reading.status(config)}

    def page(words: str, of: Page, **given: Any) -> None:
        asked[words] = lambda: of(config, Filters(limit=SHOWN, **given))

    for kind, of in (("jobs", reading.jobs), ("deliveries", reading.deliveries)):
        page(kind, of)
        for state in State:
            page(f"{kind} --state {state}", of, states=(state,))
        page(f"{kind} --state queued --state scheduled", of, states=(State.QUEUED, State.SCHEDULED))
        page(f"{kind} --task hook", of, task="hook")
        page(f"{kind} --task rare", of, task="rare")
        page(f"{kind} --task rare --state dead", of, task="rare", states=(State.DEAD,))
        page(f"{kind} --source github", of, source="github")
        page(f"{kind} --source rare", of, source="rare")
        page(f"{kind} --source nobody", of, source="nobody")
        page(f"{kind} --source nobody --state dead", of, source="nobody", states=(State.DEAD,))
        page(f"{kind} --type push", of, type="push")
        page(f"{kind} --type rare", of, type="rare")
        page(f"{kind} --type nothing", of, type="nothing")
        page(f"{kind} --since 10m", of, since=now - 600)
        page(f"{kind} --until 27d", of, until=now - 27 * 86400)
        page(f"{kind} --until 27d --since 28d", of, until=now - 27 * 86400, since=now - 28 * 86400)
        page(f"{kind} --error away", of, error="away")
        page(f"{kind} --error unheard", of, error="unheard")
    page("jobs, a page in the middle", reading.jobs, after=500_000)
    page("deliveries --refused", reading.refusals)
    for each in [*oldest, *newest]:
        asked[f"job {each['task']}"] = lambda each=each: reading.job(config, each["id"])
        if each["delivery"]:
            asked[f"delivery of {each['task']}"] = lambda each=each: reading.delivery(config, each["delivery"])
    asked["a page of jobs with a text, as far as it is found in time"] = partial(
        find, config, "job", Filters(text="unheard", limit=SHOWN)
    )
    asked["failures"] = lambda: failing.failures(config, Filters())
    asked["failures --task hook"] = lambda: failing.failures(config, Filters(task="hook"))
    asked["failures --since 10m"] = lambda: failing.failures(config, Filters(since=now - 600))
    asked["failures --source rare"] = lambda: failing.failures(config, Filters(source="rare"))
    asked["tasks that wait"] = lambda: reading.waiting_tasks(config)
    asked["tail, begun and looked"] = lambda: Follower(config).look()
    return asked


def asked(config: Config) -> dict[str, float]:
    """Milliseconds of each question, the median of five."""
    return {words: _milliseconds(question) for words, question in questions(config).items()}


def _milliseconds(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
        if times[0] > 1:
            break
    return statistics.median(times) * 1000


def commands(config: Config) -> dict[str, float]:
    """Milliseconds of some commands from typing to the end, most of which is Python's start: `--version` is all."""
    return {
        " ".join(words): _milliseconds(lambda words=words: _typed(config, words))
        for words in [("--version",), *COMMANDS]
    }


def _typed(config: Config, words: tuple[str, ...]) -> None:
    environ = {"PATH": PATH, "WEBSPOOL_DATABASE_URL": config.database_url, "WEBSPOOL_INSTANCE": str(config.directory)}
    command = [str(Path(sys.executable).parent / "webspool"), *words]
    subprocess.run(command, env=environ, check=True, capture_output=True, timeout=120)
