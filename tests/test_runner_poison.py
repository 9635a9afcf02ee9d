"""What a task does to its runner and to what surrounds it: told, undone, or ended with it."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runner_house import house, running
from webspool import orphans, out_of_memory
from webspool.processes import children_of_ours
from webspool.runner import Runner

__all__ = ["house"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a runner is a fork")


# ── out of memory ───────────────────────────────────────────────────────────────────────────────────────────────────

COUNTERS = {
    "cgroup v2": ("0::/a.slice/b", "sys/fs/cgroup/a.slice/b/memory.events", "low 1\noom 5\noom_kill {}\n"),
    "cgroup v1": ("4:memory:/b\n0::/", "sys/fs/cgroup/memory/b/memory.oom_control", "under_oom 0\noom_kill {}\n"),
    "no cgroup": ("0::/", "proc/vmstat", "nr_free_pages 7\noom_kill {}\n"),
}


def machine(root: Path, kind: str, kills: int) -> Path:
    """The files of a machine on which the kernel has killed so often."""
    groups, counter, text = COUNTERS[kind]
    for name, content in {"proc/self/cgroup": groups, counter: text.format(kills)}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize("kind", COUNTERS)
def test_a_process_that_the_kernel_killed_for_memory_is_told_so(house, tmp_path, kind):
    """Its SIGKILL is anybody's, but it is counted."""
    runner = house.serve("@task\ndef dies(): print('in'); os.kill(os.getpid(), 9)")
    root = machine(tmp_path / "machine", kind, 2)
    runner.process.memory = out_of_memory.Watch(root)
    house.take = lambda _: machine(root, kind, 3)
    outcome = house.run("dies")
    assert (outcome.error, outcome.signal) == ("its process was killed by SIGKILL, by the kernel: out of memory", 9)


def test_kills_before_an_attempt_are_not_its_own(house, tmp_path, monkeypatch):
    """What the kernel killed an hour ago says nothing of this SIGKILL."""
    runner = house.serve("@task\ndef dies(): os.kill(os.getpid(), 9)")
    root = machine(tmp_path / "machine", "no cgroup", 2)
    runner.process.memory = out_of_memory.Watch(root)
    machine(root, "no cgroup", 3)
    monkeypatch.setattr(out_of_memory, "STALE_SECONDS", 0.0)
    assert house.run("dies").error == "its process was killed by SIGKILL"


def test_a_machine_that_does_not_tell_has_killed_nobody(tmp_path):
    """No files, or such as cannot be read."""
    assert out_of_memory.kills(tmp_path) == 0
    machine(tmp_path, "no cgroup", 0)
    (tmp_path / "proc/vmstat").write_text("oom_kill many\n")
    assert out_of_memory.kills(tmp_path) == 0


# ── descendants ─────────────────────────────────────────────────────────────────────────────────────────────────────

BREEDING = """
def breed(until):
    "Every member forks and ends at once, and its child leads a group of its own: none can be listed twice."
    if os.fork() == 0:
        while time.monotonic() < until:
            if os.fork():
                os._exit(0)
            os.setpgid(0, 0)
        os._exit(0)
@task
def breeds():
    os.open("family", os.O_WRONLY)
    breed(time.monotonic() + 30)
    os._exit(1)
"""


def as_a_spooler(work: Callable[[], int]) -> int:
    """What `work` returns in a process of its own, which is handed its orphans."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            orphans.take()
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_family_that_forks_faster_than_it_is_listed_is_ended_all_the_same(house):
    """The pipe that all of it holds open has no writer any more."""
    os.mkfifo(house.directory / "family")
    family = os.open(house.directory / "family", os.O_RDONLY | os.O_NONBLOCK)

    def breed() -> int:
        house.serve(BREEDING)
        house.run("breeds")
        return len(children_of_ours())

    assert as_a_spooler(breed) == 0
    assert os.read(family, 1) == b""  # BlockingIOError: somebody could write still
    os.close(family)


def test_what_is_left_of_a_dead_runner_in_other_sessions_is_ended_and_buried(house, tmp_path):
    """A spooler is handed its descendants; a runner of its own and what a task that succeeded left are none of them."""
    assert as_a_spooler(lambda: _daemons_left(house)) == 0


def _daemons_left(house) -> int:
    code = """
def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path("daemon").write_text(str(os.getpid())); Path("daemon").rename("told")
            time.sleep(600)
        os._exit(0)
    os.wait()
    while not Path("told").exists(): time.sleep(0.001)
@task
def dies(): daemon(); os._exit(1)
@task
def succeeds(): daemon()
"""
    told = house.directory / "told"
    beside = house.start(code)
    beside.hello(60)
    spared = []
    for task in ("dies", "succeeds", "dies"):
        house.serve(code)
        house.run(task)
        child = int(told.read_text())
        told.unlink()
        if running(child) is not (task == "succeeds"):
            return 2
        if task == "succeeds":
            spared.append(child)
    if children_of_ours() != {beside.pid} or not beside.alive:
        return 3
    beside.kill()
    if not all(running(child) for child in spared):
        return 4
    for child in spared:
        os.kill(child, 9)
    return 0


# ── its surroundings ────────────────────────────────────────────────────────────────────────────────────────────────

CHANGES = [
    ("os.umask(0o777)", "(lambda m: (os.umask(m), m)[1])(os.umask(0o077))"),
    ("os.environ.update(PATH='/', X='1'); del os.environ['KEPT']", "sorted(os.environ.items())"),
    ("os.environ = {}", "sorted(os.environ.items())"),
    ("signal.signal(signal.SIGCHLD, signal.SIG_IGN)", "signal.getsignal(signal.SIGCHLD).name"),
    ("signal.signal(signal.SIGTERM, lambda *_: None)", "signal.getsignal(signal.SIGTERM).name"),
    ("signal.pthread_sigmask(signal.SIG_BLOCK, [15])", "[*map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))]"),
    ("signal.setitimer(signal.ITIMER_VIRTUAL, 600)", "signal.getitimer(signal.ITIMER_VIRTUAL)"),
    ("signal.setitimer(signal.ITIMER_PROF, 600)", "signal.getitimer(signal.ITIMER_PROF)"),
    ("sys.setrecursionlimit(70)", "sys.getrecursionlimit()"),
    ("sys.settrace(print); sys.setprofile(print)", "[sys.gettrace(), sys.getprofile()]"),
    ("gc.disable()", "gc.isenabled()"),
    ("socket.setdefaulttimeout(0.1)", "[socket.getdefaulttimeout()]"),
    ("logging.disable(logging.CRITICAL)", "logging.root.isEnabledFor(logging.ERROR)"),
    ("locale.setlocale(locale.LC_ALL, 'C')", "locale.setlocale(locale.LC_ALL)"),
    ("os.close(0)", "os.readlink('/proc/self/fd/0')"),
    ("os.close(0); global kept; kept = open('mine', 'w')", "os.readlink('/proc/self/fd/0')"),
    ("set_limit(64)", "resource.getrlimit(resource.RLIMIT_NOFILE)"),
]


@pytest.mark.parametrize(("change", "seen"), CHANGES, ids=[change for change, _ in CHANGES])
def test_what_a_task_changes_is_put_back_for_the_next(house, monkeypatch, change, seen):
    """In the same process: nothing has to be begun anew for it."""
    monkeypatch.setenv("KEPT", "kept")
    runner = house.serve(
        f"""
import gc, locale, resource
locale.setlocale(locale.LC_ALL, "C.UTF-8")
def set_limit(soft): resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
@task
def changes():
    {change}
@task
def sees(): return {seen}
"""
    )
    before = house.run("sees").result
    house.run("changes")
    assert runner.retired is None
    assert house.run("sees").result == before is not None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))", "a lowered RLIMIT_NOFILE"),
        ("os.nice(1)", "another niceness"),
        ("os.seteuid(65534)", "another user or group"),
        ("global kept; kept = [os.dup(1) for _ in range(80)]", "86 descriptors open of 128"),
        ("global kept; kept = [os.dup(1) for _ in range(122)]", "all of its 128 descriptors open"),
    ],
)
def test_a_runner_in_which_a_task_changed_what_cannot_be_undone_is_replaced(house, change, why):
    """The attempt counts as it ended; the reason is told."""
    if ("uid" in change and os.geteuid() != 0) or ("RLIMIT" in change and may_raise_limits()):
        pytest.skip("this user cannot do it, or could undo it")
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
@task
def changes():
    {change}
    return 1
"""
    runner = house.serve(code)
    outcome = house.run("changes")
    assert outcome.result == "1"
    assert (runner.retired, runner.alive) == (why, False)


def may_raise_limits() -> bool:
    """Whether this process has CAP_SYS_RESOURCE (capabilities(7))."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return any(line.startswith("CapEff:") and int(line.split()[1], 16) >> 24 & 1 for line in lines)


def test_a_limit_that_a_task_lowers_for_itself_holds_while_it_runs(house):
    """So may a task guard itself against its own hunger."""
    house.serve(
        """
import resource
@task
def hungry():
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))
    bytearray(2 << 30)
@task
def sees(): return resource.getrlimit(resource.RLIMIT_AS)
"""
    )
    assert house.run("hungry").error == "MemoryError"
    assert house.runners[-1].retired == "an interpreter after MemoryError"
    house.runners.append(Runner.start(house.runners[-1].program))
    house.runners[-1].hello(60)
    assert json.loads(house.run("sees").result) == list(resource.getrlimit(resource.RLIMIT_AS))


def test_a_directory_that_is_gone_is_told_and_the_attempt_counts(house):
    """The instance was moved under a running task: its end is told all the same."""
    runner = house.serve("@task\ndef moves(): Path.cwd().rename('../moved'); return 1")
    assert house.run("moves").result == "1"
    assert runner.retired.startswith("a directory that cannot be entered")
    (house.directory.parent / "moved").rename(house.directory)


def test_a_traceback_of_many_thousand_frames_is_told_by_its_innermost(house):
    """In a moment, however deep it is."""
    house.serve(
        """
sys.setrecursionlimit(10**7)
def down(n):
    if n == 0: raise ValueError("deep")
    down(n - 1)
@task
def deep(): down(30_000)
"""
    )
    outcome = house.run("deep")
    assert outcome.error == "ValueError: deep"
    assert 'raise ValueError("deep")' in outcome.traceback
    assert "repeated" in outcome.traceback
