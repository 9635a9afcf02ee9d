"""Tasks that destroy what they can reach: their process, its surroundings, their time, their children."""

import ctypes
import gc
import hashlib
import locale
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from tasks import note
from webspool import task


def poison(timeout=20.0, grace=20.0):
    return task(max_attempts=2, first_wait=0.02, jitter=0, timeout=timeout, grace=grace)


def daemon():
    """A process of a session of its own, whose parent is gone at once."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writing, b"%d" % os.getpid())
            time.sleep(600)
        os._exit(0)
    os.wait()
    return int(os.read(reading, 20))


# ── its process ─────────────────────────────────────────────────────────────────────────────────────────────────────


@poison()
def exits():
    os._exit(7)


@poison()
def segfaults():
    ctypes.string_at(0)


@poison()
def is_killed():
    os.kill(os.getpid(), signal.SIGKILL)


@poison()
def exits_in_a_thread():
    thread = threading.Thread(target=os._exit, args=(5,))
    thread.start()
    thread.join()


@poison()
def leaves_by_exit():
    sys.exit("enough")


@poison()
def becomes_a_daemon():
    note("daemon", child=daemon())
    os._exit(0)


@poison()
def closes_everything_and_sleeps():
    os.closerange(0, 4096)
    time.sleep(600)


@poison()
def kills_its_spooler():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


# ── memory and depth ────────────────────────────────────────────────────────────────────────────────────────────────


def allow(megabytes):
    """So much memory more than now, as a small machine has it."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


@poison()
def wants_all_memory():
    allow(64)
    held = []
    while True:
        held.append(bytearray(8 << 20))


@poison()
def recurses():
    recurses.function()


@poison()
def fills_the_descriptor_table():
    global kept
    kept = []
    while True:
        kept.append(os.dup(1))


@poison(timeout=0.4, grace=0.4)
def prints_without_end():
    while True:
        os.write(1, (b"no end " * 9000)[:-1] + b"\n")


@poison()
def recurses_without_a_limit():
    allow(64)
    sys.setrecursionlimit(10**9)
    recurses.function()


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@poison(timeout=0.2, grace=20)
def hangs_with_children():
    child = subprocess.Popen(["sleep", "600"])
    note("daemon", child=child.pid)
    note("daemon", child=daemon())
    time.sleep(600)


@poison(timeout=0.2, grace=0.2)
def heeds_nothing():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    note("daemon", child=daemon())
    while True:
        try:
            time.sleep(600)
        except BaseException:
            continue


@poison(timeout=0.2, grace=0.2)
def stays_in_c():
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)


@poison(timeout=0.2, grace=0.2)
def stops_itself():
    os.kill(os.getpid(), signal.SIGSTOP)


@poison(timeout=0.2, grace=0.2)
def takes_a_lock_over_a_fork():
    lock = threading.Lock()
    with lock:
        if (pid := os.fork()) == 0:
            with lock:
                os._exit(0)
        os.waitpid(pid, 0)


# ── what outlasts it ────────────────────────────────────────────────────────────────────────────────────────────────


@task
def changes_its_surroundings():
    """Ends well, and leaves nothing as it was."""
    os.chdir("/")
    os.umask(0o777)
    os.environ.update(PATH="/nowhere", ADDED="1")
    os.environ.pop("HOME", None)
    locale.setlocale(locale.LC_ALL, "C")
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 0.05)
    sys.setrecursionlimit(80)
    sys.settrace(lambda *_: None)
    sys.setprofile(lambda *_: None)
    gc.disable()
    socket.setdefaulttimeout(0.001)
    os.close(0)
    sys.stdout = sys.stderr = None
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))


@task
def leaves_a_thread():
    threading.Thread(target=time.sleep, args=(600,)).start()


@task
def lowers_a_limit_for_good():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


@task
def leaves_a_daemon_on_purpose():
    note("daemon", child=daemon())


@task
def look():
    """What the next job finds."""
    started = time.process_time()
    while time.process_time() < started + 0.06:
        pass
    umask = os.umask(0o077)
    os.umask(umask)
    print("seen")
    return {
        "directory": os.getcwd(),
        "umask": umask,
        "environment": sorted(os.environ.items()),
        "locale": locale.setlocale(locale.LC_ALL),
        "handlers": [str(signal.getsignal(n)) for n in sorted(signal.valid_signals() - {signal.SIGUSR2})],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "depth": sys.getrecursionlimit(),
        "traced": [repr(sys.gettrace()), repr(sys.getprofile())],
        "collects": gc.isenabled(),
        "patience": socket.getdefaulttimeout(),
        "stdin": os.readlink("/proc/self/fd/0"),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "memory": resource.getrlimit(resource.RLIMIT_AS),
        "subprocess": subprocess.run(["true"]).returncode,
    }


@task
def prints_megabytes(megabytes):
    for _ in range(megabytes * 16):
        os.write(1, b"x" * 65535 + b"\n")
