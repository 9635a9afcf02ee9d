"""Files of a bare uWSGI spooler in our spool: each of a task that the code knows becomes a job, once.

The file goes only after the job is on disk. What cannot become one stays where it is, and is told once.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from webspool.engines.taking import MOST_BYTES, set_aside, taken
from webspool.errors import LedgerUnavailable
from webspool.keep.rescue import Transact
from webspool.ledger.apply import apply
from webspool.ledger.database import Transaction
from webspool.ledger.operations import Operation
from webspool.spool_files import FUNCTION, NotASpoolFile, SpoolFile, links, parse, waiting
from webspool.task import from_bytes
from webspool.telemetry import Say

AT_ONCE = 200
FIRST_PRIORITY = 1000
OF_UWSGI = frozenset({FUNCTION, b"ud_spool_ret", b"spooler_task_name"})
PICKLED = frozenset({b"args", b"kwargs"})
PICKLE = b"\x80"
REST_FACTOR = 20

State = tuple[str, int, int]
Tasks = Callable[[], set[str]]


class Adopter:
    """Looks through the spool each second. It is no spooler, so that it may open what lies there."""

    def __init__(self, folder: Path, transact: Transact, say: Say, ready: Callable[[], bool]) -> None:
        self.folder, self.transact, self.say, self.ready = folder, transact, say, ready
        self._functions: dict[tuple[str, int, int], str | None] = {}
        self._told: set[str] = set()
        self._rest_until = 0.0

    def look(self) -> None:
        """Adopt what can be adopted, once it is known what the code knows. What fails now is done at the next look."""
        begun = time.monotonic()
        if begun < self._rest_until or not self.ready():
            return
        for path in links(self.folder):
            self._leave_alone(path, "it is cut short, or no spool file: uWSGI would have deleted it")
        files = [(path, _state(path)) for path in waiting(self.folder)]
        self._functions = {state: self._functions[state] for _, state in files if state in self._functions}
        with suppress(LedgerUnavailable):
            self._adopt_all(files, cache(self._known_tasks))
        self._rest_until = begun + REST_FACTOR * (time.monotonic() - begun)

    def _known_tasks(self) -> set[str]:
        tasks: set[str] = set()

        def read(tx: Transaction) -> None:
            tasks.update(name for name, known, *_ in tx.all("all_tasks") if known)

        self.transact(read)
        return tasks

    def _adopt_all(self, files: list[tuple[Path, State]], tasks: Tasks) -> None:
        for path in [path for path, state in files if self._is_fresh(state, tasks)][:AT_ONCE]:
            self._adopt(path, tasks)

    def _is_fresh(self, state: State, tasks: Tasks) -> bool:
        """Whether the file was not read yet (a ticket that a spooler holds cannot be), or waited for a task."""
        if state not in self._functions:
            return True
        function = self._functions[state]
        return function is not None and function in tasks()

    def _adopt(self, path: Path, tasks: Tasks) -> None:
        state = _state(path)
        with taken(path) as data:
            if data is None:
                return
            try:
                file = _read(data)
            except NotASpoolFile as fault:
                self._leave_alone(path, str(fault))
                set_aside(path, self.folder)
                return
            self._functions[state] = None if file.is_ticket else file.function or ""
            if file.is_ticket:
                return
            if why := _unfit(file, tasks()):
                self._leave_alone(path, why)
            else:
                self._make_job(path, file, data)

    def _make_job(self, path: Path, file: SpoolFile, data: bytes) -> None:
        """Durably; only then the file goes, while we still hold its lock."""
        operation = Operation(job_id(path.name, data), "spool", _order(path, file))

        def work(tx: Transaction) -> None:
            apply(tx, operation)

        self.transact(work, flush=True)
        path.unlink(missing_ok=True)
        self.say("spool_file_adopted", file=path.name, job=operation.id, task=file.function)

    def _leave_alone(self, path: Path, why: str) -> None:
        if path.name not in self._told:
            self._told.add(path.name)
            self.say("spool_file_left_alone", file=str(path), why=why)


def _read(data: bytes) -> SpoolFile:
    if len(data) > MOST_BYTES:
        raise NotASpoolFile(f"it is larger than {MOST_BYTES} bytes")
    return parse(data)


def _state(path: Path) -> State:
    """What tells this content of a file from another."""
    try:
        found = path.stat()
    except OSError:
        return (path.name, 0, 0)
    return (path.name, found.st_ino, found.st_mtime_ns)


def _unfit(file: SpoolFile, tasks: set[str]) -> str | None:
    """Why a file cannot become a job, or None."""
    if file.function is None:
        return "it names no function"
    if file.function not in tasks:
        return f"the code knows no task {file.function}"
    if any(file.values[key].startswith(PICKLE) for key in PICKLED & file.values.keys()):
        return "its arguments are pickled, and what is pickled is not read"
    return None


def _order(path: Path, file: SpoolFile) -> dict[str, Any]:
    """The job as the drop-in would have spooled it: `at` is the file's time, a priority the folder in which it lies."""
    message = {from_bytes(key): from_bytes(value) for key, value in file.values.items() if key not in OF_UWSGI}
    if file.body:
        message["body"] = from_bytes(file.body)
    due_at = path.stat().st_mtime
    ranked = path.parent.name.isdigit()
    return {
        "task": file.function,
        "calling": "bytes",
        "arguments": json.dumps(message),
        "due_at": due_at if due_at > time.time() else None,
        "priority": max(FIRST_PRIORITY - int(path.parent.name), 1) if ranked else 0,
        "key": None,
    }


def job_id(name: str, data: bytes) -> str:
    """The same file has the same id whenever it is met, so that it becomes one job; in the form of all ids."""
    value = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape") + b"\0" + data).digest()[:16], "big")
    value = value & ~(0xF << 76) & ~(0b11 << 62) | 0x8 << 76 | 0b10 << 62  # a UUID of version 8: of its own making
    return f"j_{value:032x}"
