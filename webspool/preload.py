"""What the master imports before it forks: libraries only, so that its processes share their memory.

Nothing here opens anything, and nothing of the user's is imported.
"""

import gc

import cryptography.hazmat.primitives.hashes
import flask
import flask.views

import webspool
import webspool.extension
import webspool.ledger.sockets
import webspool.loading
import webspool.perform
import webspool.runner

__all__ = ["cryptography", "flask", "webspool"]

gc.collect()
gc.freeze()  # a collection in a process would write into every one of these objects, and so into pages of its own
