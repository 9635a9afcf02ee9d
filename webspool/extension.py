"""Webspool(app): the only place where the parts meet; the routes that webhooks take, and who takes spooled jobs."""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request

from webspool import dashboard, engines, tracing
from webspool.addresses import client_of
from webspool.alerts.watch import Watch
from webspool.answering import Answerer
from webspool.config import Config, load, make_env
from webspool.disk import Disk
from webspool.door import Door, Rest, answered, endpoint_of, json_line
from webspool.errors import ConfigurationError, InstanceRunning, LedgerRefused, LedgerUnavailable, NotFound
from webspool.handle import Job, job
from webspool.intake import Environ, Refused, read_body, throw_away_body, webhook
from webspool.keep import Folders, Keeper, Retention
from webspool.keep.room import RoomMaker
from webspool.ledger import standing
from webspool.ledger.client import Client
from webspool.ledger.inbox import Inbox
from webspool.ledger.operations import Operation
from webspool.limits import Limits
from webspool.live.beside import serve_beside
from webspool.perform import Performer, Post, Runner
from webspool.processes import Identity
from webspool.receive import Away, Receiver, Reply, problem
from webspool.records import new_id
from webspool.sealing import use_keys
from webspool.settings import NEW_KEY_HINT
from webspool.source import METHODS, Source
from webspool.task import SpoolRequest, registry
from webspool.telemetry import Say, teller
from webspool.werkzeug_server import tell_when_serving

BEGIN_AGAIN_SECONDS = 5.0


class Webspool:
    """An instance's extension of a Flask app: `Webspool(app)`, or `Webspool()` and `init_app(app)` in a factory.

    Raises ConfigurationError when the instance's environment is not usable.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self.sources: dict[str, Source] = {}
        self._by_path: dict[str, Source] = {}
        self._doubled: list[str] = []
        self._begin_again = 0.0
        self.app: Flask | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Serve this app's sources, and take the jobs that its code spools."""
        self.app = app
        self.say = teller("worker")
        config = load(instance_directory(app))
        self.use(config, engines.choose(config, self.say, Verbs(config, self.say)))
        if (spans := tracing.begin(config, self.say)) is not None:
            self.receive = spans.timed(self.receive)  # type: ignore[method-assign]
        app.extensions["webspool"] = self
        registry.bind(self)
        app.url_map.converters["webspool_rest"] = Rest
        self._route_ours(app)
        for source in self.sources.values():
            self._route(app, source)
        door = Door(app, self.source_at, self.receive)
        door.hang()
        if self.engine.in_process:
            serve_beside(app, self)
        dashboard.mount(app, self)
        self.engine.attach(app)
        if self.engine.in_process:
            tell_when_serving()
            door.do_first(self._begin_at_request)

    def use(self, config: Config, engine: engines.Engine) -> None:
        """Go by this configuration and this engine from now on."""
        self.config, self.engine = config, engine
        use_keys(config.encryption_key)
        self.client: Client = engine.client
        self.receiver = Receiver(
            self.client,
            config.secret,
            config.var / "bodies",
            max_body=config.max_body,
            say=self.say,
            public_url=config.public_url,
            limits=Limits(config.var, config.rate_per_address, self.say),
            answerer=Answerer(self.say, self._context, engine.guarded),
            disk=Disk.of(config),
        )

    def begin(self) -> None:
        """Run jobs in this process, as `app.run()` and `flask run` do by themselves; under uWSGI the spoolers do.

        The first time `.env` is written. Raises InstanceRunning when another process runs this instance.
        """
        if self.engine.in_process and "WEBSPOOL_ENV_FILE" not in os.environ and make_env(self.config.directory):
            self.say("env_written", file=str(self.config.directory / ".env"))
            self.use(load(self.config.directory), self.engine)
        self.engine.begin()

    def _begin_at_request(self) -> None:
        """A server that does not say when it begins to serve begins here.

        Beside another process that runs jobs this one is a way to the ledger only, and now and then tries to take over.
        """
        if time.monotonic() < self._begin_again:
            return
        try:
            self.begin()
            self._begin_again = float("inf")
        except (InstanceRunning, LedgerUnavailable) as fault:
            self._begin_again = time.monotonic() + BEGIN_AGAIN_SECONDS
            self.say("not_begun", why=str(fault))

    def add(self, source: Source) -> Source:
        """Let a source speak: its webhooks are received under its path."""
        if source.name in self.sources or source.path in self._by_path:
            self._doubled.append(f"source {source.name}: another source has its name or its path {source.path}")
            return source
        self.sources[source.name] = self._by_path[source.path] = source
        if self.app is not None:
            self._route(self.app, source)
        return source

    def faults(self, *, credentials: bool = True) -> list[str]:
        """What is wrong with the sources and their secrets, a sentence each.

        `credentials` False: those that systemd hands to the service alone are not looked at.
        """
        found = list(self._doubled)
        for source in self.sources.values():
            found += source.faults() or self._secret_faults(source, credentials)
            if source.encrypt and not self.config.encryption_key:
                found.append(f"source {source.name}: encrypt=True needs WEBSPOOL_ENCRYPTION_KEY; {NEW_KEY_HINT}")
        return found

    def _secret_faults(self, source: Source, credentials: bool) -> list[str]:
        found = []
        for number, reference in enumerate((*source.secrets, *source.tokens), 1):
            if reference.startswith("credential:") and not credentials:
                continue
            try:
                secret = self.config.secret(reference)
            except ConfigurationError as fault:
                found.append(f"source {source.name}: {fault.where}: {'; '.join(fault.faults)}")
                continue
            if number <= len(source.secrets):
                found += [
                    f"source {source.name}: secret {number}: {fault}" for fault in source.scheme.secret_faults(secret)
                ]
        return found

    def hints(self) -> list[str]:
        """What is no fault and yet may not be meant, a sentence each."""
        return [*self._hints_of_addresses(), *self._hints_of_users()]

    def _hints_of_users(self) -> list[str]:
        peers = self.config.user_header_from
        if self.config.user_header is None or peers is None or not peers.hold_this_machine:
            return []
        return [
            "WEBSPOOL_USER_HEADER_FROM holds addresses of this machine: every program and every tunnel here can "
            f"name any user by {self.config.user_header}. A proxy that comes by a unix socket is alone there: "
            "WEBSPOOL_BIND=var/http.sock, WEBSPOOL_USER_HEADER_FROM=unix"
        ]

    def _hints_of_addresses(self) -> list[str]:
        by_address = [f"allow= of the source {each.name}" for each in self.sources.values() if each.allow]
        by_address += ["WEBSPOOL_RATE_PER_ADDRESS"] if self.config.rate_per_address else []
        if not by_address or self.config.trusted_proxies:
            return []
        return [
            f"{', '.join(by_address)}: goes by the connection's address, and behind a proxy, a tunnel or NAT everybody "
            "has the same; WEBSPOOL_TRUSTED_PROXIES=1 believes the one that a proxy tells"
        ]

    def counts(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        counted: dict[str, int] = standing.status(self.config)["jobs"]
        return counted

    # ── what the instance's own code spools ─────────────────────────────────────────────────────────────────────

    def spool(self, order: SpoolRequest) -> Job:
        """Make a spooled job durable. Raises LedgerUnavailable: it was not stored."""
        answer = self.client.call(Operation(order.id or new_id("j"), "spool", order.stored()))
        self.say("job_spooled", task=order.task.name, job=answer.values["job"])
        return Job(answer.values["job"], self.config)

    # ── webhooks ────────────────────────────────────────────────────────────────────────────────────────────────

    def source_at(self, path: str) -> Source | None:
        """The source of exactly this path."""
        return self._by_path.get(path)

    def receive(self, source: Source, environ: Environ) -> Reply:
        """One webhook, from the raw bytes to the answer."""
        remote = self._remote(environ)
        if away := self.receiver.turned_away(source, remote):
            return self._turn_away(source, environ, remote, away)
        try:
            body = read_body(environ, source, self._cap(source), self.engine)
        except Refused as refused:
            return self.receiver.refuse(source, refused.cause, webhook(environ, b""), remote)
        return self.receiver.receive(source, webhook(environ, body), remote)

    def _remote(self, environ: Environ) -> str | None:
        return client_of(environ, self.config.trusted_proxies, self.config.proxy_header)

    def _turn_away(self, source: Source | None, environ: Environ, remote: str | None, away: Away) -> Reply:
        throw_away_body(environ)
        return self.receiver.refuse(source, away.cause, webhook(environ, b""), remote, wait=away.wait)

    def _context(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.app is None else self.app.app_context()

    def _cap(self, source: Source) -> int:
        """The largest body, in bytes: the source's, and Flask's own limit where the app has one."""
        assert self.app is not None
        limit: int | None = self.app.config.get("MAX_CONTENT_LENGTH")
        cap = self.receiver.cap(source)
        return cap if limit is None else min(cap, limit)

    # ── routes ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _route(self, app: Flask, source: Source) -> None:
        view = partial(self._receive, source)
        path = source.path.removesuffix("<key>") + "<webspool_rest:_key>" if source.keyed else source.path
        app.add_url_rule(path, endpoint_of(source), view, methods=METHODS, provide_automatic_options=False)

    def _route_ours(self, app: Flask) -> None:
        app.add_url_rule("/hooks/<webspool_rest:_rest>", "webspool.unknown", self._unknown, methods=METHODS)
        app.add_url_rule("/healthz", "webspool.healthz", lambda: jsonify({"status": "ok"}))
        app.add_url_rule("/readyz", "webspool.readyz", self._ready)
        app.add_url_rule("/metrics", "webspool.metrics", self._metrics)
        app.add_url_rule("/jobs/<job_id>", "webspool.job", self._job)
        app.register_error_handler(LedgerUnavailable, _not_stored)

    def _receive(self, source: Source, _key: str = "") -> Response:
        return answered(self.receive(source, request.environ))

    def _unknown(self, _rest: str) -> Response:
        remote = self._remote(request.environ)
        away = self.receiver.turned_away(None, remote) or Away("unknown_source")
        return answered(self._turn_away(None, request.environ, remote, away))

    def _ready(self) -> Response:
        reasons = standing.unready(self.config) or self._write_faults()
        return Response(json_line({"ready": not reasons, "reasons": reasons}), 503 if reasons else 200, mimetype=JSON)

    def _write_faults(self) -> list[str]:
        """Why the ledger cannot be written: told by trying, on the way that webhooks take."""
        try:
            self.client.call(Operation(new_id("h"), "ping", {}))
        except (LedgerUnavailable, LedgerRefused) as fault:
            return [f"the ledger cannot be written: {fault.why}"]
        return []

    def _metrics(self) -> Response:
        """For whoever has the token; wherever a request seems to come from, it has to show one."""
        if (why := self._unshown(request.headers.get("Authorization", ""))) is not None:
            payload = {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": why}
            text = json_line(payload | {"cause": "token_required"})
            return Response(text, 401, {"WWW-Authenticate": "Bearer"}, mimetype="application/problem+json")
        from webspool.metrics import CONTENT_TYPE, exposition

        try:
            return Response(exposition(self.config), content_type=CONTENT_TYPE)
        except (LedgerUnavailable, LedgerRefused):
            return answered(problem("ledger_unavailable", headers={"Retry-After": "5"}))

    def _unshown(self, authorization: str) -> str | None:
        """Why the metrics are not shown to who shows this, or None."""
        token, (kind, _, given) = self.config.metrics_token, authorization.partition(" ")
        if not token:
            return "WEBSPOOL_METRICS_TOKEN is not set, so nobody can read the metrics; set it in .env."
        if kind.lower() != "bearer" or not hmac.compare_digest(
            given.strip().encode("utf-8", "replace"), token.encode()
        ):
            return "Show the token of WEBSPOOL_METRICS_TOKEN: Authorization: Bearer ..."
        return None

    def _job(self, job_id: str) -> Response:
        try:
            found = job(job_id, self.config)
            return Response(json_line({"id": found.id, "state": found.state, "result": found.result}), mimetype=JSON)
        except NotFound as fault:
            payload = {"type": "about:blank", "title": "Not Found", "status": 404, "detail": str(fault)}
            return Response(json_line(payload | {"cause": "unknown_job"}), 404, mimetype="application/problem+json")
        except (LedgerUnavailable, LedgerRefused):
            return answered(problem("ledger_unavailable", headers={"Retry-After": "5"}))


JSON = "application/json"


@dataclass(frozen=True)
class Verbs:
    """What an engine in whose own process jobs run is given to run."""

    config: Config
    say: Say

    def keeper(self, inbox: Inbox, master: Identity) -> Keeper:
        config = self.config
        folders = Folders(config.ledger_path, config.output_path, config.var / "bodies")
        keeper = Keeper(folders, inbox, Awake(), self.say, str(master), Retention(days=config.retention_days))
        keeper.chores.append(Watch(config, self.say).look)
        keeper.chores.append(RoomMaker(Disk.of(config), keeper.remover.remove, keeper.transact, self.say).look)
        return keeper

    def performer(
        self,
        client: Client,
        master: Identity,
        name: str,
        start_runner: Callable[[], Runner],
        clock: Callable[[], float] = time.time,
    ) -> Performer:
        post = Post(name, str(master), master.pid, master.start, self.config.var / "bodies")
        return Performer(client, post, start_runner, self.say, clock, Disk.of(self.config).output_cap)


class Awake:
    """The waker of threads, which come into their claim loop by themselves."""

    def wake(self, present: int) -> None:
        """Nobody sleeps."""


def instance_directory(app: Flask) -> Path:
    """WEBSPOOL_INSTANCE, else the working directory when it holds uwsgi.ini, else the app's own folder."""
    given = os.environ.get("WEBSPOOL_INSTANCE")
    if given:
        return Path(given)
    here = Path.cwd()
    return here if (here / "uwsgi.ini").is_file() else Path(app.root_path)


def _not_stored(fault: LedgerUnavailable) -> Response:
    """A route of the user's spooled a job that could not be stored: the client is told to come again."""
    return answered(problem("ledger_unavailable", detail=str(fault), headers={"Retry-After": "5"}))


__all__ = ["Config", "Webspool"]
