"""The spool engine as a uWSGI worker sees it: the keeper's socket, and uWSGI's own reading of chunks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from webspool.config import Config
from webspool.ledger.client import Client
from webspool.ledger.sockets import SocketRoute


class UwsgiEngine:
    """Spoolers and keeper are processes of their own; a worker only needs the way to the ledger."""

    in_process = False

    def __init__(self, config: Config) -> None:
        self.client = Client(config.ledger_path, config.output_path, SocketRoute(config.keeper_dir))

    def attach(self, app: Any) -> None:
        """Tasks run in their runners, with an app of their own."""

    def begin(self) -> None:
        """uWSGI has begun everything else."""

    def read_chunked(self, environ: Mapping[str, Any], cap: int, seconds: float) -> bytes:
        """The chunks as uWSGI reads them: with no option set they do not come through wsgi.input."""
        import uwsgi

        body = bytearray()
        give_up = time.monotonic() + seconds
        while len(body) <= cap:
            left = int(give_up - time.monotonic())
            if left <= 0:
                raise TimeoutError
            chunk = uwsgi.chunked_read(left)
            if not chunk:
                break
            body += chunk
        return bytes(body)
