"""Live output: what browsers and `curl` follow, served by a process that no webhook and no task waits for.

Viewers ask for what follows the last chunk they have, one answer at a time: who reads nothing costs nothing, and who
comes back after a break misses nothing and sees nothing twice.
"""

PATH = "/live"
SOCKET = f"{PATH}/ws"
EVENTS = f"{PATH}/events"

__all__ = ["EVENTS", "PATH", "SOCKET"]
