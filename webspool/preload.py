"""What the master imports before it forks: libraries only, so that its processes share their memory.

Nothing here opens anything, and nothing of the user's is imported. What is set here of memory they have too.
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
from webspool.allocator import give_back_what_is_large
from webspool.telemetry import writes_to_a_terminal

if writes_to_a_terminal():
    import structlog.dev  # noqa: F401  each process would import it

__all__ = ["flask", "webspool"]

give_back_what_is_large()
gc.collect()
gc.freeze()  # a collection in a process would write into every one of these objects, and so into pages of its own
