"""The sender's verb: the bytes of a webhook become a durable delivery with its jobs, and a reply."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from webspool import traces
from webspool.addresses import within
from webspool.answering import Answerer
from webspool.body_files import remove_body, write_body
from webspool.captured import CapturedSecrets
from webspool.certificates import opened
from webspool.disk import Disk, Room
from webspool.errors import BodySealed, LedgerRefused, LedgerUnavailable, UnparsableBody
from webspool.ledger.operations import Answer, Operation
from webspool.limits import Limits
from webspool.payloads import media_type, says_json
from webspool.rates import Rate
from webspool.records import Delivery, WebhookRequest, delivery_of, ids_behind, new_id
from webspool.redaction import safe_headers, safe_url, storable
from webspool.sealing import stored_form
from webspool.signatures import Answer as Greeting
from webspool.signatures import Verdict
from webspool.source import Chosen, Source
from webspool.task import Task
from webspool.telemetry import Say
from webspool.verifier import Verifier

INLINE_BYTES = 64 << 10
KEPT_OF_A_REFUSAL_BYTES = 64 << 10
PARSED_BYTES = 1 << 20
RETRY_AFTER_SECONDS = 5
PAUSED_RETRY_AFTER_SECONDS = 60.0

JSON = "application/json"
PROBLEM = "application/problem+json"

STATUSES = {"accepted": 202, "held": 202, "ignored": 200, "duplicate": 200, "retried": 202}
REFUSALS = {
    "unknown_source": (404, "No source has this address."),
    "method_not_allowed": (405, "This source does not take this method."),
    "length_required": (411, "Say how long the body is: Content-Length, or chunks."),
    "length_invalid": (400, "Content-Length is not one number."),
    "request_timeout": (408, "The body did not arrive in time."),
    "payload_too_large": (413, "The body is larger than this source takes."),
    "address_not_allowed": (403, "This source does not take webhooks from this address."),
    "rate_limited": (429, "This source sends more often than it may; send it again later."),
    "address_rate_limited": (429, "Too much comes from this address; send it again later."),
    "unparsable_body": (400, "The body is not the JSON it says it is."),
    "signature_missing": (401, "The proof that this source asks for is missing."),
    "signature_invalid": (401, "The proof does not fit the body and the secret."),
    "timestamp_outside_window": (401, "The time of signing is too far from now."),
    "certificate_unavailable": (503, "The certificate to check with cannot be had; send it again."),
    "source_paused": (503, "The operator has paused this source; send it again later."),
    "confirmation_failed": (503, "The subscription cannot be confirmed now; send it again."),
    "ledger_unavailable": (503, "Nothing was stored; send it again."),
}


Planned = tuple[dict[str, Any], ...]

UNPROVEN = ("signature_missing", "signature_invalid", "timestamp_outside_window")


class Ledger(Protocol):
    """Where operations are made durable: `call` raises LedgerUnavailable, for `tell` nobody waits."""

    def call(self, operation: Operation, /) -> Answer: ...
    def tell(self, operation: Operation, /) -> bool: ...


@dataclass(slots=True)  # not frozen, as an Outcome
class Reply:
    """What the sender is answered: `payload` as JSON, or a handshake's own `body`."""

    status: int
    payload: dict[str, Any]
    headers: dict[str, str]
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Away:
    """Why a request is not even read: its cause, and after how many seconds it may come again (0: never)."""

    cause: str
    wait: float = 0.0


class Receiver:
    """Receives for every source of one instance.

    `resolve` turns a secret's reference into the secret, once per source; `bodies` is the folder of what is too big
    for the ledger's rows; `max_body` is in bytes; `public_url` is the base of the addresses that senders know; when
    the `disk` is full nothing is accepted; `limits` count who comes too often; the `answerer`
    asks sources for answers of their own.
    """

    def __init__(
        self,
        ledger: Ledger,
        resolve: Callable[[str], str],
        bodies: Path,
        *,
        max_body: int,
        say: Say,
        public_url: str | None = None,
        disk: Disk | None = None,
        limits: Limits | None = None,
        answerer: Answerer | None = None,
    ) -> None:
        self.ledger, self.bodies, self.max_body, self.say, self.disk = ledger, bodies, max_body, say, disk
        self.limits, self.answerer = limits, answerer
        self.verifier = Verifier(resolve, say, public_url)
        self.captured = CapturedSecrets(bodies.parent / "captured")
        self.visit: Callable[[str], bool] = opened
        self._retention_told: set[Source] = set()

    def turned_away(self, source: Source | None, remote: str | None) -> Away | None:
        """Why nothing is even read of a request from this address, or None. `source` None: nobody has the path."""
        if source is not None and source.networks is not None and not within(remote, source.networks):
            return Away("address_not_allowed")
        wait = 0.0 if self.limits is None else self.limits.of_address(remote)
        return Away("address_rate_limited", wait) if wait else None

    def receive(self, source: Source, request: WebhookRequest, remote: str | None) -> Reply:
        """Verify a webhook and make it durable. Never raises for anything a sender does."""
        if request.method not in source.methods and request.method not in source.asking:
            return self.refuse(source, "method_not_allowed", request, remote)
        if len(request.body) > self.cap(source):
            return self.refuse(source, "payload_too_large", request, remote)
        verdict = self.verifier.judge(source, request, time.time())
        if not verdict.accepted:
            return self.refuse(source, verdict.cause or "signature_invalid", request, remote)
        if verdict.reply is not None:
            return self._greeted(source, verdict.reply)
        if request.method not in source.methods:  # this method is only for asking
            return self.refuse(source, "method_not_allowed", request, remote)
        if source.limit is not None and (wait := self._wait(source.name, source.limit)):
            return self.refuse(source, "rate_limited", request, remote, wait=wait)
        if fault := _unreadable(source, request):
            return self.refuse(source, "unparsable_body", request, remote, detail=fault)
        return self._accept(source, request, verdict, remote)

    def refuse(
        self,
        source: Source | None,
        cause: str,
        request: WebhookRequest,
        remote: str | None,
        *,
        detail: str | None = None,
        wait: float = 0.0,
    ) -> Reply:
        """The answer to a webhook that is not accepted; the operator is told. `source` None: nobody has the address.

        `wait` is after how many seconds it may be sent again, 0: the same again would be refused too.
        """
        scheme = None if source is None else source.scheme
        status = scheme.status if scheme is not None and cause in UNPROVEN else REFUSALS[cause][0]
        arguments = {
            "source": "" if source is None else source.name,
            "cause": cause,
            "status": status,
            "method": storable(request.method),
            "url": safe_url(request.url, scheme),
            "headers": safe_headers(request.headers, scheme),
            "remote": remote,
            "body_size": len(request.body),
        }
        refusal = new_id("r")
        body = self._kept(source, refusal, request.body[:KEPT_OF_A_REFUSAL_BYTES])
        self.ledger.tell(Operation(refusal, "refuse", arguments, body))
        self.say("webhook_refused", refusal=refusal, source=arguments["source"], cause=cause, remote=remote)
        headers = {"Allow": ", ".join(source.methods)} if source is not None and status == 405 else {}
        if wait:
            headers["Retry-After"] = str(math.ceil(wait))
        return problem(cause, detail=detail, headers=headers, status=status)

    def _wait(self, source: str, limit: Rate) -> float:
        return 0.0 if self.limits is None else self.limits.of_source(source, limit)

    def cap(self, source: Source) -> int:
        """The largest body this source takes, in bytes."""
        return self.max_body if source.max_body is None else source.max_body

    def _greeted(self, source: Source, answer: Greeting) -> Reply:
        """The answer to a sender's question, once what it brought is kept and what it wants opened is."""
        if answer.captured is not None:
            try:
                self.captured.keep(source.name, answer.captured)
            except OSError as fault:
                return self._unavailable(source, fault)
            self.say("secret_captured", source=source.name)
        if answer.visit is not None and not self.visit(answer.visit):
            self.say("subscription_unconfirmed", source=source.name)
            return problem("confirmation_failed", headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
        return Reply(answer.status, {}, answer.headers, answer.body)

    def _unavailable(self, source: Source, fault: Exception) -> Reply:
        self.say("ledger_unavailable", source=source.name, error=str(fault))
        return problem("ledger_unavailable", headers={"Retry-After": str(RETRY_AFTER_SECONDS)})

    def _accept(self, source: Source, request: WebhookRequest, verdict: Verdict, remote: str | None) -> Reply:
        event_type = self._type_of(source, request, verdict)
        body_sha256 = hashlib.sha256(request.body).hexdigest()
        query = request.url.partition("?")[2]
        event_id, seconds = source.event_key(verdict.event_id, query, body_sha256)
        arguments: dict[str, Any] = {
            "source": source.name,
            "method": storable(request.method),
            "url": safe_url(request.url, source.scheme),
            "headers": safe_headers(request.headers, source.scheme),
            "remote": remote,
            "event_id": None if event_id is None else storable(event_id),
            "event_id_seconds": seconds,
            "event_type": event_type,
            "redelivery": source.redelivery,
        }
        if source not in self._retention_told:  # the keeper does not know app.py: it hears by the first webhook
            arguments["keep"] = [source.keep_days, source.keep_body_days]
        delivery = new_id("d")
        arguments["jobs"] = self._jobs(source, delivery, arguments, request)
        try:
            body = stored_form(request.body, delivery, encrypt=source.encrypt)
            changed = len(body) != len(request.body)
            arguments["body_size"] = len(body)
            arguments["body_sha256"] = hashlib.sha256(body).hexdigest() if changed else body_sha256
            arguments["body_file"] = len(body) > INLINE_BYTES
            answer = self._store(delivery, arguments, body)
        except (LedgerUnavailable, LedgerRefused, BodySealed) as fault:
            return self._unavailable(source, fault)
        if answer["delivery"] == delivery:
            self._retention_told.add(source)
        if answer["status"] == "refused":
            return self.refuse(source, "source_paused", request, remote, wait=PAUSED_RETRY_AFTER_SECONDS)
        self._tell_stored(source, event_type, answer, request)
        if source.answer is not None and self.answerer is not None:
            found = self.answerer.answer(source, delivery_of(answer["delivery"], arguments, request.body))
            if found is not None:
                return Reply(found.status, {}, found.fields(), found.content())
        return stored(answer, source.scheme.accepted_status)

    def _kept(self, source: Source | None, refusal: str, body: bytes) -> bytes:
        """What is kept of a refused body: nothing that a source wants encrypted and cannot have so."""
        try:
            return stored_form(body, refusal, encrypt=source is not None and source.encrypt)
        except BodySealed:
            return b""

    def _jobs(
        self, source: Source, delivery: str, arguments: dict[str, Any], request: WebhookRequest
    ) -> list[dict[str, Any]]:
        if source.conditional:
            chosen = self._chosen(source, delivery_of(delivery, arguments, request.body))
            planned = tuple(_planned(task) for task in chosen.tasks)
            for condition, fault in chosen.failed:
                self.say("condition_failed", source=source.name, delivery=delivery, condition=condition, fault=fault)
        else:
            planned = plan(source, arguments["event_type"])
        ids = ids_behind(delivery, "j", len(planned))
        return [{"id": id} | job for id, job in zip(ids, planned, strict=True)]

    def _chosen(self, source: Source, delivery: Delivery) -> Chosen:
        if self.answerer is not None and source.calls_code:
            return self.answerer.chosen(source, delivery)
        return source.chosen(delivery)

    def _type_of(self, source: Source, request: WebhookRequest, verdict: Verdict) -> str | None:
        named = verdict.event_type
        if source.event_type is not None:
            try:
                named = source.event_type(request)
            except Exception as fault:  # the user's function; what it trips over was sent by a stranger
                self.say("event_type_failed", source=source.name, error=repr(fault))
                return None
        return storable(named) if isinstance(named, str) and named else None

    def _store(self, delivery: str, arguments: dict[str, Any], body: bytes) -> dict[str, Any]:
        if self.disk is not None and self.disk.room is Room.FULL:  # what is left is for the ends of accepted jobs
            raise LedgerUnavailable(ledger=self.bodies.parent, why=f"its disk is nearly full: {self.disk.free}")
        if not arguments["body_file"]:
            return self.ledger.call(Operation(delivery, "accept", arguments, body)).values
        path = write_body(self.bodies, delivery, body)  # stays when the call fails: its commit may yet have happened
        answer = self.ledger.call(Operation(delivery, "accept", arguments)).values
        if answer["delivery"] != delivery:
            remove_body(path)
        return answer

    def _tell_stored(
        self, source: Source, event_type: str | None, answer: dict[str, Any], request: WebhookRequest
    ) -> None:
        told: dict[str, Any] = {"delivery": answer["delivery"], "source": source.name, "event_type": event_type}
        told["jobs"] = [job["id"] for job in answer["jobs"]]
        if trace := traces.read(request.headers.get(traces.HEADER)):
            told["traceparent"] = str(trace)
        self.say(f"delivery_{answer['status']}", **told)


@lru_cache(maxsize=256)
def plan(source: Source, event_type: str | None) -> Planned:
    """The jobs that an event of this type starts, but for their ids."""
    return tuple(_planned(task) for task in source.tasks_for(event_type))


def plan_of(source: Source, delivery: Delivery) -> tuple[Planned, list[tuple[str, str]]]:
    """The jobs that this delivery starts, and the conditions that could not be asked."""
    if not source.conditional:
        return plan(source, delivery.event_type), []
    chosen = source.chosen(delivery)
    return tuple(_planned(task) for task in chosen.tasks), chosen.failed


def _planned(task: Task[Any, Any]) -> dict[str, Any]:
    options = task.options_given
    return {"task": task.name, "priority": options.priority, "key": options.key}


def _unreadable(source: Source, request: WebhookRequest) -> str | None:
    """Why a body that says it is JSON is not, or None. A large one would take several times its size to find out."""
    content_type = media_type(request.headers.get("Content-Type", ""))
    if source.payload == "raw" or not says_json(content_type) or len(request.body) > PARSED_BYTES:
        return None
    try:
        request.json  # noqa: B018 - parsed once, and found here and by whoever routes it
    except UnparsableBody as fault:
        return str(fault)
    return None


def stored(answer: dict[str, Any], accepted_status: int = 202) -> Reply:
    """The reply to a webhook that is in the ledger: a duplicate is told how its first delivery's jobs stand.

    `accepted_status` is what the sender takes for a success; 204 has no body.
    """
    status, jobs = answer["status"], answer["jobs"]
    told = jobs if status in ("duplicate", "retried") else [job["id"] for job in jobs]
    headers = {"Content-Type": JSON}
    if jobs:
        headers["Location"] = f"/jobs/{jobs[0]['id']}"
    code = accepted_status if accepted_status == 204 or STATUSES[status] == 202 else STATUSES[status]
    if code == 204:
        return Reply(code, {}, {}, b"")
    return Reply(code, {"delivery": answer["delivery"], "status": status, "jobs": told}, headers)


def problem(
    cause: str, *, detail: str | None = None, headers: dict[str, str] | None = None, status: int | None = None
) -> Reply:
    """A refusal's reply (RFC 9457); it never tells what would have been right."""
    usual_status, usual = REFUSALS[cause]
    status = status or usual_status
    title = HTTPStatus(status).phrase
    payload = {"type": "about:blank", "title": title, "status": status, "detail": detail or usual, "cause": cause}
    return Reply(status, payload, {"Content-Type": PROBLEM, **(headers or {})})
