"""`webspool check`: every fault of an instance, told at once."""

from __future__ import annotations

import errno
import os
import re
import socket
import sys
import threading
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import click

from webspool.cli.chosen import chosen_directory, reloaded_by_uwsgi, started_by_uwsgi
from webspool.cli.server_checks import server_faults
from webspool.config import Address, Config, load
from webspool.errors import ConfigurationError, InstanceRunning, LedgerOutdated, LedgerRefused, WebspoolError
from webspool.ledger import reading
from webspool.ledger.database import Database, refuse_half_restored
from webspool.ledger.reader import read, rfc3339
from webspool.ledger.sockets import held_alone
from webspool.loading import load_app, stand_in_for_uwsgi
from webspool.processes import Identity
from webspool.release import Release, drop, make_current, take
from webspool.routing import flat

PACKAGE = Path(__file__).parent.parent
RENEWING_SECONDS = 30.0


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="Tell what was found, source by source.")
@click.option("--force", is_flag=True, help="Jobs that wait for a task which this code does not know are no fault.")
@click.option("--server", is_flag=True, help="Look at the box too: owners, limits, clock, unit, nginx, public address.")
@click.option("--release", type=int, metavar="N", help="Look at that copy of the code in var/code (for reload).")
def check(verbose: bool, force: bool, server: bool, release: int | None) -> None:
    """Tell every fault of configuration and code; uwsgi.ini runs this before anything starts.

    Then the code that was found good is copied, and the copy is what runs: later changes wait for webspool reload.
    """
    directory = chosen_directory()
    try:
        config = load(directory)
    except ConfigurationError as fault:
        _end([*fault.faults, *_ini_faults(directory)])
    faults = [*_ini_faults(directory), *_spool_faults(config), *_restore_faults(config)]
    if started_by_uwsgi() and not reloaded_by_uwsgi():
        faults += [*_other_instances(config), *_address_faults(config)]
    fresh = _copied(config, faults) if started_by_uwsgi() and not faults else None
    credentials = release is None or _sees_credentials()
    hooks = _imported(config, faults, _code(config, fresh, release), credentials)
    if hooks is not None:
        _look_for_lost_tasks(config, faults, force=force or started_by_uwsgi())
    if server:
        faults += server_faults(config)
    if started_by_uwsgi() and not faults:
        faults += _renew_ledger(config)
    if fresh is not None:
        drop(fresh) if faults else make_current(config.directory, fresh)
    _end(faults, [] if hooks is None else [*(_described(hooks) if verbose else ()), *_hints(hooks), _summary(hooks)])


def _renew_ledger(config: Config) -> Iterable[str]:
    """An older ledger becomes one of this webspool's before anything serves it, once nothing else is wrong."""
    try:
        read(config, lambda _reader: None)
    except LedgerOutdated as fault:
        try:
            with held_alone(config.keeper_dir):
                Database(config.ledger_path, busy_seconds=RENEWING_SECONDS).close()
        except WebspoolError as another:
            yield _one_line(another)
        else:
            click.echo(f"webspool: the ledger's schema was number {fault.found}, it is {fault.newest} now", err=True)
    except WebspoolError as fault:
        yield _one_line(fault)


def _restore_faults(config: Config) -> Iterable[str]:
    try:
        refuse_half_restored(config.ledger_path)
    except WebspoolError as fault:
        yield _one_line(fault)


def _one_line(fault: WebspoolError) -> str:
    return " ".join(str(fault).split())


def _copied(config: Config, faults: list[str]) -> Release | None:
    """The code as it is now, copied: what is checked here is what the instance will run."""
    try:
        return take(config.directory)
    except OSError as fault:
        faults.append(f"the code cannot be copied to {config.var / 'code'}: {fault}")
        return None


def _code(config: Config, fresh: Release | None, number: int | None) -> Path | None:
    if number is not None:
        return config.var / "code" / str(number)
    return None if fresh is None else fresh.folder


def _look_for_lost_tasks(config: Config, faults: list[str], *, force: bool) -> None:
    """Jobs that wait for a task which this code does not know are a fault; forced, or at a start, they are told."""
    try:
        waiting = reading.waiting_tasks(config)
    except LedgerRefused:  # of another schema, which the start renews or refuses
        return
    known = sys.modules["webspool.task"].registry.tasks
    for task, jobs in sorted(waiting.items()):
        if task in known:
            continue
        told = f"{_count(jobs, 'job')} {'waits' if jobs == 1 else 'wait'} for the task {task}, which this code lacks"
        if force:
            click.echo(f"{told}: blocked until it is back", err=True)
        else:
            faults.append(f"{told}; put it back, or go on with --force: then they wait until it is back")


def _ini_faults(directory: Path) -> Iterable[str]:
    """`env =` in uwsgi.ini sets a variable that neither `webspool ini` nor Python's os.environ ever sees."""
    try:
        text = (directory / "uwsgi.ini").read_text(errors="replace")
    except OSError:
        return
    for key in re.findall(r"(?m)^\s*env\s*=\s*(WEBSPOOL_\w+)\s*=", text):
        yield f"uwsgi.ini sets {key} with env =, which reaches no process in time; set it in .env"


def _spool_faults(config: Config) -> Iterable[str]:
    if not config.spool_path.is_dir():
        yield f"{config.spool_path} is missing; type: mkdir -m 700 {config.spool_path}"
    elif not os.access(config.spool_path, os.W_OK | os.X_OK):
        yield f"{config.spool_path} is not writable for user {os.geteuid()}"


def _other_instances(config: Config) -> Iterable[str]:
    """The instance that serves this ledger already; the keeper refuses a second one too, but later."""
    try:
        rows = read(config, lambda reader: reader.all("live_instances"))
    except LedgerOutdated:  # nobody of this webspool serves it; whether one of an older does, the keeper's lock tells
        return
    except WebspoolError as fault:
        yield _one_line(fault)
        return
    for row in rows:
        if Identity(row["boot"], row["pid"], row["start"]).alive:
            started_at = rfc3339(row["started_at"])
            yield _one_line(InstanceRunning(ledger=config.ledger_path, pid=row["pid"], started_at=started_at))


def _address_faults(config: Config) -> Iterable[str]:
    """Why the instance could not listen at its address, with what to type."""
    address = config.address
    if address.path is not None:
        if _answers(address.path):
            yield f"WEBSPOOL_BIND: another process serves {address.path}; stop it, or choose another path in .env"
    elif address.port is not None and (fault := _binding_fault(address)):
        yield fault


def _binding_fault(address: Address) -> str | None:
    family = socket.AF_INET6 if ":" in (address.host or "") else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
            probe.listen(1)
        except OSError as fault:
            return _binding_hint(address, fault)
    return None


def _binding_hint(address: Address, fault: OSError) -> str:
    if fault.errno != errno.EADDRINUSE:
        return f"WEBSPOOL_BIND: {address} cannot be listened at: {fault.strerror or fault}"
    return (
        f"WEBSPOOL_BIND: port {address.port} is in use by another process. "
        f"See which: ss -ltnp 'sport = :{address.port}'. Stop it, or set another in .env; for this once type: "
        f"WEBSPOOL_BIND={_beside(address)} uwsgi --ini uwsgi.ini"
    )


def _beside(address: Address) -> Address:
    port = (address.port or 0) + 1
    return Address(host=address.host, port=port if port <= 65535 else 8000)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _sees_credentials() -> bool:
    """Whether this process was given the service's credentials: systemd keeps them from ExecReload and from a shell."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return folder is not None and os.access(folder, os.R_OK | os.X_OK)


def _imported(config: Config, faults: list[str], code: Path | None, credentials: bool) -> Any:
    """The app's Webspool; None, and a fault, when there is none."""
    stand_in_for_uwsgi(config.directory)
    try:
        app = load_app(config, code)
    except ConfigurationError as fault:
        faults += [each for each in fault.faults if each not in faults]
        return None
    except KeyboardInterrupt:
        raise
    except BaseException as fault:
        faults.append(_import_fault(config, fault))
        return None
    hooks = getattr(app, "extensions", {}).get("webspool")
    if hooks is None:
        faults.append(f"WEBSPOOL_APP: {config.app} is no Flask application with a Webspool; add Webspool(app)")
        return None
    if started_by_uwsgi() and app.debug:
        faults.append(f"{config.app} has debug on, which shows code to strangers; unset FLASK_DEBUG and app.debug")
    faults += [each for each in hooks.faults(credentials=credentials) if each not in faults]
    return hooks


def _import_fault(config: Config, fault: BaseException) -> str:
    if not isinstance(fault, WebspoolError):
        click.echo(_short_traceback(fault), err=True, nl=False)
    frames = traceback.extract_tb(fault.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(config.directory)]
    inside = [frame for frame in inside if not Path(frame.filename).is_relative_to(PACKAGE)]
    place = f" ({Path(inside[-1].filename).name}, line {inside[-1].lineno})" if inside else ""
    return f"WEBSPOOL_APP: {config.app} cannot be imported: {type(fault).__name__}: {fault}{place}"


def _short_traceback(fault: BaseException) -> str:
    """The traceback without our own frames and those of Python's importer."""
    told = traceback.TracebackException.from_exception(fault)
    kept = [frame for frame in told.stack if not _is_machinery(frame.filename)]
    told.stack = traceback.StackSummary.from_list(kept[-6:])
    return "".join(told.format(chain=False))


def _is_machinery(filename: str) -> bool:
    importers = ("<frozen importlib", _importlib_folder())
    return filename.startswith(importers) or Path(filename).is_relative_to(PACKAGE)


def _importlib_folder() -> str:
    return str(Path(os.__file__).parent / "importlib")


def _sources(hooks: Any) -> list[Any]:
    found = getattr(hooks, "sources", ())
    return list(found.values() if hasattr(found, "values") else found)


def _described(hooks: Any) -> Iterable[str]:
    for source in _sources(hooks):
        verify = source.verify if isinstance(source.verify, str) else "own scheme"
        tasks = {task.name for task, _ in flat(source.on.values())}
        yield (
            f"source {source.name}: {source.path}, verify {verify}, "
            f"{_secrets(source)}, tasks {', '.join(sorted(tasks)) or 'none'}"
        )


def _secrets(source: Any) -> str:
    """A source whose secret is missing has a fault, so those that are named here were found."""
    if not source.secrets:
        return "waits for its secret" if source.scheme.needs_secret else "no secret"
    return f"{_count(len(source.secrets), 'secret')} found"


def _hints(hooks: Any) -> Iterable[str]:
    return (f"note: {hint}" for hint in hooks.hints())


def _summary(hooks: Any) -> str:
    tasks = sys.modules["webspool.task"].registry.tasks
    return f"webspool: configuration ok ({_count(len(_sources(hooks)), 'source')}, {_count(len(tasks), 'task')})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _end(faults: list[str], lines: Iterable[str] = ()) -> NoReturn:
    """Tell and exit, also when the app has left threads that would keep this process."""
    for fault in faults:
        click.echo(f"- {fault}", err=True)
    if not faults:
        click.echo("\n".join(lines))
    sys.stdout.flush()
    sys.stderr.flush()
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        os._exit(bool(faults))
    raise SystemExit(bool(faults))
