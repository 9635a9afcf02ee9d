"""What the tests of your own app need: jobs that run when told, a clock that stands still, signed webhooks."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from webspool.config import Config
from webspool.engines.inline import InlineEngine, Ran
from webspool.extension import Verbs, Webspool
from webspool.records import Headers, WebhookRequest
from webspool.signatures import named, sign
from webspool.source import Source
from webspool.task import registry
from webspool.telemetry import silent


@contextmanager
def inline(app: Any) -> Iterator[InlineEngine]:
    """The app's instance with a ledger that is thrown away, and an engine that runs jobs when told.

    As a fixture: `@pytest.fixture` over `with inline(app) as jobs: yield jobs`.
    """
    instance: Webspool = app.extensions["webspool"]
    usual = instance.config, instance.engine, registry.instance, registry.clock
    with tempfile.TemporaryDirectory(prefix="webspool-", ignore_cleanup_errors=True) as scratch:
        config = _elsewhere(instance.config, Path(scratch))
        engine = InlineEngine(config, Verbs(config, silent))
        engine.attach(app)
        instance.use(config, engine)
        registry.bind(instance)
        try:
            yield engine
        finally:
            engine.close()
            instance.use(*usual[:2])
            registry.bind(usual[2])
            registry.clock = usual[3]


@dataclass(frozen=True, kw_only=True)
class _Elsewhere(Config):
    """The configuration of an instance that keeps nothing in its own directory."""

    scratch: Path

    @property
    def var(self) -> Path:
        return self.scratch

    @property
    def ledger_path(self) -> Path:
        return self.scratch / "ledger.db"


def _elsewhere(config: Config, scratch: Path) -> _Elsewhere:
    given = {each.name: getattr(config, each.name) for each in fields(Config)}
    return _Elsewhere(**given | {"min_free_bytes": 0}, scratch=scratch)


def signed_request(
    source: Source | str,
    body: bytes | str | dict[str, Any] | list[Any] = b"{}",
    *,
    event: str | None = None,
    event_id: str | None = None,
    secret: str | None = None,
    content_type: str = "application/json",
    method: str | None = None,
) -> dict[str, Any]:
    """A webhook as its sender would send it, as the keyword arguments of `app.test_client().open(...)`.

    `source` is a Source or its name in the bound instance. A body that is a dict or list goes as JSON. `secret` is the
    secret itself (default: the source's first), another one makes a forgery. `event_id` is a fresh one unless given.
    """
    known = _source(source)
    used = secret if secret is not None else _secret(known)
    request = WebhookRequest(
        method or ("POST" if "POST" in known.methods else known.methods[0]),
        known.path,
        Headers([("Content-Type", content_type)]),
        _bytes(body),
    )
    names = event_id or (None if named(known.verify, request)[0] else str(uuid4()))
    base = _instance().config.public_url if isinstance(registry.instance, Webspool) else None
    signed = sign(known.verify, used, request, event_id=names, event_type=event, base=(base or "").rstrip("/"))
    headers = list(cast(Headers, signed.headers).pairs)
    return {"path": signed.url, "method": signed.method, "headers": headers, "data": signed.body}


def _source(source: Source | str) -> Source:
    return source if isinstance(source, Source) else _instance().sources[source]


def _secret(source: Source) -> str:
    return _instance().config.secret(source.secrets[0]) if source.secrets else ""


def _instance() -> Webspool:
    if not isinstance(registry.instance, Webspool):
        raise RuntimeError("no instance is bound: make one with Webspool(app), or give secret= and a Source")
    return registry.instance


def _bytes(body: bytes | str | dict[str, Any] | list[Any]) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()


__all__ = ["InlineEngine", "Ran", "inline", "signed_request"]
