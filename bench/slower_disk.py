"""A slower disk than this machine's, as far as flushes go: what is preloaded into a stack lets none be over sooner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("slower_disk.c")


class NoCompiler(RuntimeError):
    """There is none to build with what is preloaded."""


def environ(folder: Path, flush_ms: float) -> dict[str, str]:
    """What a stack is begun with, so that each flush of its processes takes so many milliseconds at least.

    Several flushes at once are none the slower, as on no disk: who flushes for each job is not wronged by it. Raises
    NoCompiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise NoCompiler("--flush-ms needs a C compiler, for what is preloaded into each stack (Debian: gcc libc6-dev)")
    library = folder / "slower_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE], check=True)
    return {"LD_PRELOAD": str(library), "FLUSH_NANOSECONDS": str(round(flush_ms * 1e6))}
