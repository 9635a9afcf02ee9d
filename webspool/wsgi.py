"""What uWSGI's workers serve: the user's application, or 503 and its fault in the log when it cannot be imported."""

from __future__ import annotations

import gc
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any, cast

from webspool import instance
from webspool.config import Config
from webspool.engines.listening import end_when_deaf
from webspool.ledger import standing
from webspool.loading import load_app
from webspool.service_manager import notify
from webspool.telemetry import teller

READY_SECONDS = 10.0
LOOKS_EVERY_SECONDS = 0.02

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

BODY = b'{"type":"about:blank","title":"Service Unavailable","status":503,"cause":"app_unavailable"}\n'
HEADERS = [
    ("Content-Type", "application/problem+json"),
    ("Content-Length", str(len(BODY))),
    ("Retry-After", "10"),
]


def _application() -> WSGI:
    """The user's application. `SystemExit` in app.py would make uWSGI respawn the worker for ever, so all is caught."""
    try:
        config = instance.config()
        loaded = cast(WSGI, load_app(config, instance.release(config).folder))
        gc.collect()
        gc.freeze()  # what was imported lives as long as the worker: no collection has to look at it again
    except BaseException as fault:
        notify(f"STATUS=the app cannot be imported: {type(fault).__name__}")
        teller("worker")("app_unavailable", why=f"{type(fault).__name__}: {fault}", traceback=traceback.format_exc())
        return _unavailable
    end_when_deaf(teller("worker"))
    threading.Thread(target=_tell_that_it_serves, args=(config,), name="webspool start", daemon=True).start()
    return loaded


def _tell_that_it_serves(config: Config) -> None:
    """The first worker may be here before the keeper has made the ledger; what lasts does not hold up a start."""
    give_up = time.monotonic() + READY_SECONDS
    while standing.unready(config) and time.monotonic() < give_up:
        time.sleep(LOOKS_EVERY_SECONDS)
    notify("READY=1", "STATUS=serving")


def _unavailable(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("503 Service Unavailable", HEADERS)
    return [BODY]


application = _application()
