"""The ledger's write-ahead log, flushed by a descriptor of our own, apart from the commit: jobs need not wait for it.

SQLite with `synchronous = NORMAL` commits without a flush, and flushes the log itself before it copies it and when it
begins it anew (https://sqlite.org/pragma.html#pragma_synchronous). It locks the database file and its shared memory,
never the log, so that closing this descriptor drops no lock of ours.
"""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Log:
    """The log of a ledger that a connection of this process has opened and read: as long as that is open it stays.

    Linux tells of a failed write whoever had the file open by then: to be opened before what is to be flushed.
    Raises OSError.
    """

    def __init__(self, ledger: Path) -> None:
        path = ledger.with_name(f"{ledger.name}-wal")
        self._descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))

    def flush(self) -> None:
        """Have on disk all that was committed before. Raises OSError: then nobody knows what of it is."""
        if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync(2) there leaves it in the disk's own memory
            fcntl.fcntl(self._descriptor, fcntl.F_FULLFSYNC)
        elif hasattr(os, "fdatasync"):
            os.fdatasync(self._descriptor)
        else:
            os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)
