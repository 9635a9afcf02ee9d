"""What every process of an instance carries, since the master imports it before it forks."""

import platform
import subprocess
import sys

import pytest

HEAVY = {"asyncio", "attr", "cryptography", "gevent", "greenlet", "rich", "sqlite3", "structlog"}


def test_the_master_imports_nothing_that_few_processes_need() -> None:
    code = f"import sys, webspool.preload; print(*sorted({HEAVY} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


RETAINING = """
import os, sys, threading
from webspool.allocator import give_back_what_is_large

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (25 << 20)

if sys.argv[1] == "asked":
    give_back_what_is_large()
before, done = resident(), threading.Barrier(5)

def hold():
    for _ in range(3):
        body = bytes(bytearray(25 << 20))
        del body
    done.wait()
    threading.Event().wait()

threads = [threading.Thread(target=hold, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
done.wait()
print(resident() - before, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what glibc does by itself")
def test_threads_do_not_keep_the_memory_of_the_large_body_that_they_had_last() -> None:
    """glibc by itself would keep one of 25 MiB for each of them."""
    kept = {
        how: float(subprocess.run([sys.executable, "-c", RETAINING, how], capture_output=True, check=True).stdout)
        for how in ("asked", "not asked")
    }
    assert kept["asked"] < 0.5 < kept["not asked"]
