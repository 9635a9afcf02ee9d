"""A wall clock that a test sets and a disk whose flushes fail, for every process of an instance: preloaded C."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "shim.c"


class Shim:
    """`environ` is what an instance is launched with; `folder` is the shim's own."""

    def __init__(self, folder: Path) -> None:
        self._library, self._clock, self._failing = folder / "shim.so", folder / "clock", folder / "failing"
        self._clock.write_bytes(bytes(8))
        compiler = shutil.which("cc")
        if compiler is None:
            assert "CI" not in os.environ, "a C compiler is missing"
            pytest.skip("there is no C compiler")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", self._library, SOURCE], check=True)

    @property
    def environ(self) -> dict[str, str]:
        where = {"SHIM_CLOCK": str(self._clock), "SHIM_EIO": str(self._failing), "SHIM_EIO_PATH": "/ledger.db"}
        return {"LD_PRELOAD": str(self._library)} | where

    def set_clock(self, ahead_seconds: int) -> None:
        """Every process's wall clock is so far ahead of the machine's from now on, or behind."""
        with open(self._clock, "r+b") as file:  # the same file: it is mapped
            file.write(struct.pack("=q", ahead_seconds))

    @contextmanager
    def failing_flushes(self) -> Iterator[None]:
        """Every flush of the ledger and its log fails."""
        self._failing.touch()
        try:
            yield
        finally:
            self._failing.unlink()
