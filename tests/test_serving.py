"""What uWSGI's workers hold their requests to: the guard over code that cannot be interrupted."""

from __future__ import annotations

import subprocess
import sys

import pytest

GUARDED = """
import time
from webspool.engines.serving import Guard

guard = Guard()
{code}
print("went on")
"""

CASES = {
    "alone": ("with guard.over(0.2): time.sleep(60)", 1),
    "another's end does not lift it": ("with guard.over(0.2):\n    with guard.over(50): pass\n    time.sleep(60)", 1),
    "another's longer time does not stretch it": ("with guard.over(0.2), guard.over(50): time.sleep(60)", 1),
    "over in time": ("with guard.over(0.2), guard.over(0.3): pass\ntime.sleep(0.5)", 0),
}


@pytest.mark.parametrize(("code", "status"), CASES.values(), ids=CASES)
def test_a_guard_goes_by_the_soonest_of_all_that_are_guarded(code: str, status: int) -> None:
    """Python has one such timer a process, and a worker serves several requests at once."""
    told = subprocess.run(
        [sys.executable, "-c", GUARDED.format(code=code)], capture_output=True, text=True, timeout=50, check=False
    )
    assert (told.returncode, "went on" in told.stdout, "Timeout" in told.stderr) == (status, not status, bool(status))
