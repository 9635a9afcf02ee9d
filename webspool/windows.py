"""What Windows tells of a process. `os.kill(pid, 0)`, which asks elsewhere, sends a Ctrl-C there."""

from __future__ import annotations

import ctypes
import sys

_QUERY_LIMITED_INFORMATION = 0x1000
_STILL_ACTIVE = 259


def start_time(pid: int) -> int:
    """When the process started, in units of 100 ns since 1601; 0 when it is gone or not to be asked."""
    if sys.platform != "win32":
        return 0
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel.OpenProcess(_QUERY_LIMITED_INFORMATION, False, pid))
    if not handle:
        return 0
    try:
        code, times = ctypes.c_ulong(), [ctypes.c_ulonglong() for _ in range(4)]
        if not kernel.GetExitCodeProcess(handle, ctypes.byref(code)) or code.value != _STILL_ACTIVE:
            return 0
        return times[0].value if kernel.GetProcessTimes(handle, *map(ctypes.byref, times)) else 0
    finally:
        kernel.CloseHandle(handle)
