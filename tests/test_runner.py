"""The runner as a process: what it is given, what it keeps, what it leaves behind."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.runner_house import LONG, descriptors, house, running, until
from webspool.errors import RunnerBroken
from webspool.policy import Policy
from webspool.processes import children_of_ours
from webspool.records import Delivery, Ending, Headers
from webspool.task import registry

__all__ = ["house"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a runner is a fork")

# ── calling ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_hello_tells_the_tasks_and_their_policies(house):
    """The parent learns what the app can do without importing it."""
    house.serve("@task(timeout=3, max_attempts=2)\ndef one(): pass\n@task(name='two')\ndef other(): pass")
    assert house.policies == {"one": Policy(timeout=3, max_attempts=2), "two": Policy()}


def test_a_delivery_arrives_as_it_was_accepted(house, tmp_path):
    """Headers keep their order and spelling, the body its bytes, whether it comes inline or as a stored file."""
    house.serve("@task\ndef seen(d):\n return [d.id, d.headers.pairs, d.headers['x-b'], list(d.body), d.event_type]")
    (tmp_path / "stored").write_bytes(b"\x00\xff")
    for body in (b"\x00\xff", tmp_path / "stored"):
        headers = Headers([("X-B", "1"), ("x-b", "2")])
        delivery = Delivery("d_1", "github", "POST", "/hooks/github", headers, 1.0, "e1", "push", body)
        outcome = house.run("seen", calling="delivery", delivery=delivery)
        assert json.loads(outcome.result) == ["d_1", [["X-B", "1"], ["x-b", "2"]], "1", [0, 255], "push"]


def test_keywords_and_byte_form_call_the_task_their_own_way(house):
    """A task is called the way it was spooled."""
    house.serve(
        """
@task
def named(*, month, deep): return [month, deep]
@task
def raw(message): return [type(message).__name__, message]
"""
    )
    assert json.loads(house.run("named", month=11, deep={"a": [1]}).result) == [11, {"a": [1]}]
    assert json.loads(house.run("raw", calling="bytes", k="\udcff").result) == ["dict", {"k": "\udcff"}]


def test_arguments_that_do_not_fit_fail_the_attempt(house):
    """A signature that changed since the job was spooled is the attempt's failure, not the runner's."""
    runner = house.serve("@task\ndef named(month): pass")
    outcome = house.run("named", year=1)
    assert outcome.ending is Ending.FAILED
    assert "TypeError" in outcome.error
    assert runner.alive


def test_a_task_sees_its_own_order(house):
    """The current job is known inside a run and forgotten after it."""
    house.serve("before = current.get()\n@task\ndef me(): return [before, current.get().job]")
    assert json.loads(house.run("me").result) == [None, "j_1"]


def test_each_attempt_has_an_app_context_of_its_own(house):
    """The context is entered before the task and left after it, also when it fails."""
    house.serve(
        """
from contextlib import contextmanager
class App:
    @contextmanager
    def app_context(self):
        print("enter")
        try: yield
        finally: print("leave")
def make(): return App()
@task
def ok(): print("run")
@task
def bad(): raise ValueError
""",
        "app:make()",
    )
    house.run("ok")
    house.run("bad")
    assert house.lines[:5] == ["enter", "run", "leave", "enter", "leave"]


def test_a_flask_app_gives_its_context(house):
    """current_app works in a task."""
    house.serve("import flask\napp = flask.Flask('shop')\n@task\ndef name(): return flask.current_app.name")
    assert house.run("name").result == '"shop"'


# ── one task after the other ──────────────────────────────────────────────────────────────────────────────────────────


def test_every_task_begins_in_the_instance_directory(house):
    """A task that changes the directory does not move the next."""
    house.serve("@task\ndef moves(): os.chdir('/')\n@task\ndef where(): return os.getcwd()")
    house.run("moves")
    assert json.loads(house.run("where").result) == str(house.directory)


@pytest.mark.parametrize(
    ("leaves", "what"),
    [
        ("threading.Thread(target=time.sleep, args=(600,), name='worker').start()", "the thread worker"),
        ("subprocess.Popen(['sleep', '600'])", "the process "),
        ("subprocess.Popen(['sleep', '600'], process_group=0)", "the process "),
        ("subprocess.run(['sh', '-c', 'sleep 600 &'])", "the process "),
    ],
)
def test_a_runner_in_which_a_task_left_something_running_is_retired(house, leaves, what):
    """The attempt counts as it ended; the runner and all it held are gone."""
    runner = house.serve(f"@task\ndef leaves():\n {leaves}\n return 1")
    assert house.run("leaves").result == "1"
    assert runner.retired.startswith(what)
    assert not runner.alive
    if "process" in what:
        until(lambda: not running(int(runner.retired.removeprefix(what))))


def test_what_has_ended_or_is_a_daemon_retires_nothing(house):
    """Joined threads, daemon threads, finished subprocesses that nobody waited for, what the import started."""
    runner = house.serve(
        """
threading.Thread(target=time.sleep, args=(600,)).start()
held = subprocess.Popen(["sleep", "600"])
@task
def tidy():
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    thread = threading.Thread(target=int); thread.start(); thread.join()
    subprocess.run(["true"])
    global kept; kept = subprocess.Popen(["true"])
    os.waitid(os.P_PID, kept.pid, os.WEXITED | os.WNOWAIT)
"""
    )
    for _ in range(3):
        assert house.run("tidy").ending is Ending.SUCCEEDED
    assert runner.retired is None
    assert runner.alive


# ── the process itself ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_runner_holds_no_descriptor_of_its_parent(house):
    """A listening socket of the server, inheritable or not, must not live on in user code; nor leave 0 open to it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        os.set_inheritable(listening.fileno(), True)
        house.serve(
            """
@task
def held():
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try: found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError: pass  # that of listdir itself
    return found
"""
        )
        held = json.loads(house.run("held").result)
    assert sorted(held) == ["0", "1", "2", "3", "4", "5"]
    assert held["0"] == "/dev/null"
    assert held["1"] == held["2"] == held["4"]


def test_subprocesses_inherit_neither_the_control_socket_nor_the_spare_pipe(house):
    """What a task starts gets descriptors 0 to 2 only, even with close_fds=False."""
    house.serve(
        """
@task
def held():
    listed = subprocess.run(["ls", "/proc/self/fd"], close_fds=False, capture_output=True, text=True)
    return listed.stdout.split()
"""
    )
    assert set(json.loads(house.run("held").result)) <= {"0", "1", "2", "3"}  # 3 is ls's own


def test_a_runner_started_with_its_low_descriptors_closed_works(house):
    """uWSGI leaves descriptor 0 closed in spoolers: our sockets and pipes may get such numbers."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.closerange(0, 3)
            house.serve("@task\ndef talks(): print('x'); subprocess.run(['readlink', '/proc/self/fd/0'])")
            house.run("talks")
            status = 0 if house.output == b"x\n/dev/null\n" else 2
            house.runners[-1].kill()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_inherited_signal_handlers_and_masks_do_not_reach_user_code(house):
    """A handler of the parent, an ignored signal, a blocked one: the runner begins with the defaults of Python."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    alarm = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        house.serve(
            """
@task
def seen():
    kinds = [signal.getsignal(number).name for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGPIPE)]
    return [*kinds, len(signal.pthread_sigmask(signal.SIG_BLOCK, []))]
"""
        )
        assert json.loads(house.run("seen").result) == ["SIG_DFL", "SIG_DFL", "SIG_IGN", 0]
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGALRM, alarm)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def test_a_runner_leads_a_session_and_is_known_by_its_start_time(house):
    """Rescue tells it from a reused pid and kills it whole."""
    runner = house.serve("@task\ndef session(): return [os.getsid(0), os.getpgid(0), os.getpid()]")
    assert json.loads(house.run("session").result) == [runner.pid] * 3
    assert runner.start_time == int(Path(f"/proc/{runner.pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_a_busy_runner_dies_with_its_parent(house):
    """A spooler that is killed leaves no task running behind it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            house.serve("@task\ndef long(): print(os.getpid()); time.sleep(600)")
            house.take = lambda data: os.write(writing, data)
            house.run("long")
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading) as told:
        runner_pid = int(told.readline())
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    until(lambda: not running(runner_pid))


def test_many_runners_leave_no_descriptor_and_no_zombie(house):
    """Starting, calling, killing and burying is complete."""
    code = "@task\ndef nothing(): pass\n@task\ndef exits(): os._exit(3)"
    house.serve(code)
    house.runners[-1].kill()
    before = descriptors(), children_of_ours()  # other tests may have left some
    for turn in range(60):
        runner = house.start(code)
        if turn % 4:
            house.policies = runner.hello(LONG)
            house.run("nothing" if turn % 2 else "exits")
        runner.kill()
        house.runners.pop()
        assert not running(runner.pid)
    assert (descriptors(), children_of_ours()) == before


def test_a_polite_stop_runs_the_exit_functions_of_the_app_and_no_others(house):
    """What the app registered by atexit is run; what the parent did is not."""
    parents = house.directory / "parents"
    atexit.register(parents.touch)
    try:
        runner = house.serve("import atexit\natexit.register(Path('apps').touch)")
        runner.stop()
    finally:
        atexit.unregister(parents.touch)
    assert (house.directory / "apps").exists()
    assert not parents.exists()
    assert not runner.alive


def test_a_polite_stop_ends_a_stubborn_runner(house):
    """An exit function that hangs is not waited for."""
    runner = house.serve("import atexit\natexit.register(time.sleep, 600)")
    runner.stop(0.05)
    assert not running(runner.pid)


# ── the app ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "app", "why"),
    [
        ("1 / 0", "app:app", "ZeroDivisionError"),
        ("def broken(:", "app:app", "SyntaxError"),
        ("sys.exit(1)", "app:app", "SystemExit"),
        ("os._exit(9)", "app:app", "exit code 9"),
        ("", "nowhere:app", "No module named 'nowhere'"),
        ("", "app:missing", "has no attribute 'missing'"),
        ("def make(): raise OSError('no database')", "app:make()", "no database"),
    ],
)
def test_an_app_that_cannot_be_imported_breaks_its_runner_with_the_cause(house, code, app, why):
    """The traceback of the import is the message, and the process is gone."""
    runner = house.start(code, app)
    with pytest.raises(RunnerBroken) as broken:
        runner.hello(LONG)
    assert why in str(broken.value)
    assert "importlib" not in str(broken.value)
    assert not runner.alive


def test_an_import_that_hangs_breaks_its_runner(house):
    """hello has a limit."""
    runner = house.start("time.sleep(600)")
    with pytest.raises(RunnerBroken, match=r"did not answer within 0\.05 s"):
        runner.hello(0.05)
    assert not running(runner.pid)


def test_what_an_import_prints_goes_to_our_own_stderr(house, capfd):
    """Nothing of an import is in a job's output."""
    house.serve("print('hello from import')\n@task\ndef quiet(): pass")
    house.run("quiet")
    assert house.output == b""
    assert "hello from import" in capfd.readouterr().err


def test_the_parent_never_imports_user_code(house):
    """The registry of the parent stays empty of what its runners define."""
    house.serve("@task\ndef only_there(): pass")
    assert "only_there" not in registry.tasks
