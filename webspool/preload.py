"""What the master imports before it forks: libraries only, so that its processes share their memory.

Nothing here opens anything, and nothing of the user's is imported.
"""

import cryptography.hazmat.primitives.hashes
import flask
import flask.views

import webspool
import webspool.ledger.sockets
import webspool.perform
import webspool.runner

__all__ = ["cryptography", "flask", "webspool"]
