"""What the master imports before it forks: libraries only, so that its processes share their memory.

Nothing here opens anything, and nothing of the user's is imported.
"""

import gc

import flask
import flask.views

import webspool
import webspool.extension
import webspool.ledger.sockets
import webspool.loading
import webspool.perform
import webspool.runner
from webspool.telemetry import writes_to_a_terminal

if writes_to_a_terminal():
    import structlog.dev  # noqa: F401  each process would import it

__all__ = ["flask", "webspool"]

gc.collect()
gc.freeze()  # a collection in a process would write into every one of these objects, and so into pages of its own
