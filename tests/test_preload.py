"""What every process of an instance carries, since the master imports it before it forks."""

import subprocess
import sys

HEAVY = {"asyncio", "attr", "cryptography", "gevent", "greenlet", "rich", "sqlite3", "structlog"}


def test_the_master_imports_nothing_that_few_processes_need() -> None:
    code = f"import sys, webspool.preload; print(*sorted({HEAVY} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
