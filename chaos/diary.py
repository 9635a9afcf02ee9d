"""What happened, a JSON line each, in files that the checker reads: `sent`, `effects`, `harm`.

`at` is in seconds of the machine's monotonic clock, which every process has in common.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class Diary:
    """Lines appended to one file, each with one write."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, **facts: Any) -> None:
        os.write(self._file, (json.dumps({"at": time.monotonic(), **facts}) + "\n").encode())

    def close(self) -> None:
        os.close(self._file)
