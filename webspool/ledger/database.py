"""One connection to the ledger's SQLite file: opening, migrations, and transactions over named statements."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from webspool.errors import LedgerRefused, LedgerUnavailable
from webspool.folders import flush_path
from webspool.ledger.distrust import distrust, failed_to_write
from webspool.ledger.log import Log

OLDEST_SQLITE = (3, 51, 3)
APPLICATION_ID = 0x77737031
SHORT_BUSY_SECONDS = 0.1
BUSY_PAUSE_SECONDS = 0.002
"""SQLite's own waiting sleeps ever longer, up to 100 ms, so that who has waited longest comes last."""
LOCKED = "another process holds its write lock"
RESTORING = "restoring"
"""The file beside a ledger that is being replaced by a backup; it stays when that was cut off."""
CACHE_KIB = 8192
"""What random ids touch of the indexes. With SQLite's own 2 MiB 16 pages were read for a flush under load, now 7."""
PRAGMAS = (
    f"PRAGMA cache_size = -{CACHE_KIB}; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; "
    "PRAGMA trusted_schema = OFF; PRAGMA fullfsync = ON; PRAGMA synchronous = NORMAL"
)

Row = tuple[Any, ...]
Happened = tuple[str, str, float | None]
StatementFailed = apsw.Error
UNFIT_VALUES = (apsw.ConstraintError, apsw.BindingsError, apsw.MismatchError, apsw.TooBigError, apsw.RangeError)


def read_statements(name: str) -> dict[str, str]:
    """The named statements of a file of this package: `-- name: x` and the text up to the next."""
    text = (files(__package__) / name).read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return {name: sql.strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}


STATEMENTS = read_statements("statements.sql")


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """The numbered schema changes, oldest first."""
    folder = files(__package__) / "migrations"
    found = (each for each in folder.iterdir() if each.name.endswith(".sql"))
    return tuple(sorted((int(each.name[:4]), each.read_text(encoding="utf-8")) for each in found))


class Statement(NamedTuple):
    """A statement with numbers in place of names (SQLite binds tuples much faster), and what orders values by name.

    `changes` is what it writes of the tables that are remembered (see Known), or None.
    """

    sql: str
    ordered: Callable[[dict[str, Any]], tuple[Any, ...]]
    changes: str | None


@cache
def _prepared(sql: str) -> Statement:
    names = list(dict.fromkeys(re.findall(r":(\w+)", sql)))
    text = re.sub(r":(\w+)", lambda found: f"?{names.index(found[1]) + 1}", sql)
    written = re.match(r"(?:INSERT INTO|UPDATE|DELETE FROM) (pause|task|instance|slot)\b", sql)
    ordered = itemgetter(*names) if len(names) > 1 else lambda values: tuple(values[name] for name in names)
    return Statement(text, ordered, written[1] if written else None)


@dataclass
class Known:
    """What was read of the ledger and holds until it is written: pauses, tasks, instances, whether places are held.

    `claims` has what never changes of the attempts that were claimed over this connection and have not ended.
    """

    paused: frozenset[str] | None = None
    tasks: dict[str, Row | None] = field(default_factory=dict)
    standings: dict[str, Row | None] = field(default_factory=dict)
    slots: bool | None = None
    claims: dict[str, Row] = field(default_factory=dict)

    def forget(self, table: str) -> None:
        """That table has been written."""
        match table:
            case "pause":
                self.paused = None
            case "task":
                self.tasks.clear()
            case "instance":
                self.standings.clear()
            case "slot":
                self.slots = None

    def forget_all(self) -> None:
        """Another has written, or what was written here is undone."""
        for table in ("pause", "task", "instance", "slot"):
            self.forget(table)
        self.claims.clear()


class Transaction:
    """What one transaction offers to those who change the ledger. `now` is Unix seconds, one for all of it."""

    def __init__(self, connection: apsw.Connection, now: float, known: Known, *, direct: bool) -> None:
        self.connection = connection
        self.now = now
        self.direct = direct
        self.changes: dict[str, int] = {}
        self.happened: list[Happened] = []  # to whom (`task:NAME`, `source:NAME`), what, how many seconds it took
        self.claims = known.claims
        self.waiting: list[dict[str, Any]] = []  # claims that may be answered with a job; the last one's turn is next
        self.handed: list[tuple[dict[str, Any], Any]] = []  # those that were, and with what
        self._known = known
        self._cursor = connection.cursor()

    def run(self, name: str, /, **values: Any) -> int:
        """Run a statement; returns how many rows it changed."""
        return self.write(name, *_prepared(STATEMENTS[name]).ordered(values))

    def write(self, name: str, /, *values: Any) -> int:
        """As `run`, at less cost, for what each webhook needs: the values in the order of their first mention."""
        self._cursor.execute(self._statement(name).sql, values)
        return self.connection.changes()

    def all(self, name: str, /, **values: Any) -> list[Row]:
        statement = self._statement(name)
        return self._cursor.execute(statement.sql, statement.ordered(values)).fetchall()

    def one(self, name: str, /, **values: Any) -> Row | None:
        rows = self.all(name, **values)
        return rows[0] if rows else None

    def each(self, name: str, /) -> apsw.Cursor:
        """The rows of a statement one by one, as far as they are looked at; to be closed before anything is written."""
        return self.connection.execute(_prepared(STATEMENTS[name]).sql)

    def _statement(self, name: str) -> Statement:
        """What is about to be run: what was known of a table that it writes is forgotten."""
        statement = _prepared(STATEMENTS[name])
        if statement.changes is not None:
            self._known.forget(statement.changes)
        return statement

    def count(self, counter: str, change: int = 1) -> None:
        self.changes[counter] = self.changes.get(counter, 0) + change

    def paused(self) -> frozenset[str]:
        if self._known.paused is None:
            self._known.paused = frozenset(name for (name,) in self.all("pauses"))
        return self._known.paused

    def task(self, name: str) -> Row | None:
        """(known, concurrency, policy as JSON) of a task, or None when the ledger never heard of it."""
        if name not in self._known.tasks:
            self._known.tasks[name] = self.one("task_by_name", name=name)
        return self._known.tasks[name]

    def standing(self, instance: str) -> Row | None:
        """(whether it gives no more jobs, generation of its code) of an instance, or None."""
        if instance not in self._known.standings:
            self._known.standings[instance] = self.one("instance_standing", id=instance)
        return self._known.standings[instance]

    def any_slots(self) -> bool:
        """Whether a job may hold a place under some limit."""
        if self._known.slots is None:
            self._known.slots = self.one("any_slot") is not None
        return self._known.slots

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part that is undone alone when it raises."""
        before, happened = dict(self.changes), len(self.happened)
        self.connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self.changes = before
            del self.happened[happened:]
            self._known.forget_all()
            if self.connection.in_transaction:  # at a full disk SQLite has undone the whole transaction by itself
                self.connection.execute("ROLLBACK TO part; RELEASE part")
            raise
        self.connection.execute("RELEASE part")

    def write_counters(self) -> None:
        changed = [(name, change) for name, change in self.changes.items() if change]
        self._cursor.executemany(_prepared(STATEMENTS["add_to_counter"]).sql, changed)
        self.changes.clear()


class Database:
    """A connection to the ledger. Never opened by a process that runs user code for longer than one operation."""

    def __init__(self, path: Path, *, busy_seconds: float = 1.0, clock: Callable[[], float] = time.time) -> None:
        self.path, self._clock, self._busy_seconds = path, clock, busy_seconds
        self.log_pages = 0
        self.flush_seconds = 0.0
        refuse_old_sqlite(path)
        refuse_half_restored(path)
        try:
            self.connection = apsw.Connection(str(path))
            self._wait_at_most(busy_seconds)
            self.connection.set_busy_handler(self._wait)
            self.connection.execute(PRAGMAS).fetchall()  # else nothing runs behind the first that tells a row
            # keep plans as they are made: SQLite prepares joins and limits anew for each value that is bound otherwise
            self.connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
            self.connection.set_wal_hook(self._note_log_size)
            self._known, self._data_version = Known(), list[Row]()
            self._cursor = self.connection.cursor()
            self._bring_up_to_date()
            self._log = Log(path)
        except apsw.Error as fault:
            raise LedgerUnavailable(ledger=path, why=explained(fault)) from fault
        except OSError as fault:
            raise LedgerUnavailable(ledger=path, why=fault.strerror) from fault

    def _bring_up_to_date(self) -> None:
        (version,) = self.connection.execute("PRAGMA user_version").fetchone() or (0,)
        pending = [(number, sql) for number, sql in migrations() if number > version]
        if version > migrations()[-1][0]:
            raise LedgerRefused(ledger=self.path, why=too_new(version))
        if pending:
            self._migrate()

    def _migrate(self) -> None:
        self.connection.execute("PRAGMA synchronous = FULL")
        self._turn_to_log()
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            (version,) = self.connection.execute("PRAGMA user_version").fetchone() or (0,)
            for number, sql in migrations():
                if number > version:
                    self.connection.execute(f"{sql}; PRAGMA user_version = {number:d}")
            self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
            if version == 0:
                flush_path(self.path)
            self.connection.execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        self.connection.execute("PRAGMA synchronous = NORMAL")

    def _turn_to_log(self) -> None:
        """SQLite calls no busy handler where a reader wants to become the only one: at this change of mode."""
        give_up = time.monotonic() + self._busy_seconds
        while True:
            try:
                self.connection.execute("PRAGMA journal_mode = WAL")
                return
            except apsw.BusyError:
                if time.monotonic() > give_up:
                    raise
            time.sleep(BUSY_PAUSE_SECONDS)

    @contextmanager
    def transaction(self, *, flush: bool, direct: bool = False) -> Iterator[Transaction]:
        """The write lock, taken at once. Raises LedgerUnavailable when it cannot be had or the commit fails.

        `flush`: with all that was committed before it is on disk at the end, also when it has written nothing.
        """
        try:
            self._begin()
            try:
                self._forget_if_others_wrote()
                transaction = Transaction(self.connection, self._clock(), self._known, direct=direct)
                yield transaction
                transaction.write_counters()
                self._cursor.execute("COMMIT")
            except BaseException:
                self._undo()
                raise
        except apsw.Error as fault:
            if failed_to_write(fault):
                distrust(self.path, explained(fault))
            raise unavailable(self.path, fault) from fault
        if flush:
            self.flush()

    def flush(self) -> None:
        """Have on disk all that was committed before. Raises LedgerUnavailable, and the ledger is not trusted then."""
        begun = time.perf_counter()
        try:
            self._log.flush()
        except OSError as fault:
            why = f"its log could not be flushed: {fault.strerror}"
            distrust(self.path, why)
            raise LedgerUnavailable(ledger=self.path, why=why, broken=True) from fault
        self.flush_seconds = time.perf_counter() - begun

    def _begin(self) -> None:
        """Another process that has held the lock for long is waited for shortly from then on, until it lets go."""
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            self._wait_at_most(min(SHORT_BUSY_SECONDS, self._busy_seconds))
            raise
        if self._waits_shortly:
            self._wait_at_most(self._busy_seconds)

    def _wait_at_most(self, seconds: float) -> None:
        self._patience = seconds
        self._waits_shortly = seconds < self._busy_seconds

    def _wait(self, tries: int) -> bool:
        """SQLite's busy handler: whether it is to try again."""
        now = time.monotonic()
        if tries == 0:
            self._give_up_at = now + self._patience
        if now >= self._give_up_at:
            return False
        time.sleep(BUSY_PAUSE_SECONDS)
        return True

    def _forget_if_others_wrote(self) -> None:
        """SQLite counts the commits of other connections; under the write lock there will be no more of them."""
        version = self._cursor.execute("PRAGMA data_version").fetchall()
        if version != self._data_version:
            self._data_version = version
            self._known.forget_all()

    def _undo(self) -> None:
        """Take back what was not committed; what is known may be of it."""
        self._known.forget_all()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def _note_log_size(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self.log_pages = pages
        return apsw.SQLITE_OK

    def close(self, *, keep_log: bool = False) -> None:
        """`keep_log`: what the log holds is not copied into the ledger, which the last who goes does otherwise."""
        if keep_log:
            self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._log.close()
        self.connection.close()


def refuse_old_sqlite(path: Path) -> None:
    """SQLite 3.7.0 to 3.51.2 can lose committed rows (the WAL-reset bug). Raises LedgerRefused."""
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")) < OLDEST_SQLITE:
        why = f"SQLite {version} has the WAL-reset bug; install apsw 3.51.3 or newer"
        raise LedgerRefused(ledger=path, why=why)


def too_new(version: int) -> str:
    """Why a ledger of that schema is not opened here, and the two ways on."""
    return (
        f"its schema is number {version}, this webspool knows {migrations()[-1][0]}; install the newer webspool again, "
        "or go back with this one to a backup of its own: webspool restore FOLDER"
    )


def refuse_half_restored(path: Path) -> None:
    """A restore that was cut off has left no ledger, or one without its bodies. Raises LedgerRefused."""
    mark = path.with_name(RESTORING)
    if mark.exists():
        why = f"a restore was cut off; type it again: webspool restore {mark.read_text().strip()}"
        raise LedgerRefused(ledger=path, why=why)


def unavailable(path: Path, fault: apsw.Error) -> LedgerUnavailable:
    """The fault as our own. After an I/O error or damage nothing more is promised on that connection: `broken`."""
    broken = isinstance(fault, apsw.IOError | apsw.CorruptError | apsw.NotADBError)
    return LedgerUnavailable(ledger=path, why=explained(fault), broken=broken)


def explained(fault: apsw.Error) -> str:
    """SQLite's complaint in words that say what to do, where that is known."""
    match fault:
        case apsw.BusyError() | apsw.LockedError():
            return LOCKED
        case apsw.FullError():
            return "the disk is full"
        case apsw.ReadOnlyError() | apsw.CantOpenError():
            return f"it cannot be opened for writing ({fault}); look at the owner and mode of its folder"
        case _:
            return f"{type(fault).__name__}: {fault}"
