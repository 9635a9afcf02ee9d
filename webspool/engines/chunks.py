"""A chunked body from a server that hands it over through wsgi.input, as Werkzeug's, gunicorn and waitress do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

READ_AT_ONCE = 1 << 16


def read_to_the_end(environ: Mapping[str, Any], cap: int, seconds: float) -> bytes:
    """The body, at most one byte over `cap`. Raises TimeoutError after `seconds`, OSError when broken.

    The seconds are looked at between two reads: how long one may take is the server's own timeout.
    """
    if not environ.get("wsgi.input_terminated"):
        raise OSError("this server does not tell where a chunked body ends")
    body, give_up = bytearray(), time.monotonic() + seconds
    while len(body) <= cap and (data := environ["wsgi.input"].read(min(READ_AT_ONCE, cap + 1 - len(body)))):
        body += data
        if time.monotonic() > give_up:
            raise TimeoutError
    return bytes(body)
