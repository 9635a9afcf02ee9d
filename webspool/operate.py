"""The operator's verbs: retry, cancel, discard, pause, resume, replay, run; each job is answered for itself.

An answer is "done", "interrupting" (a running job was told to stop), "not_found", or "not_allowed: why".
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from webspool.ledger.client import Client
from webspool.ledger.operations import Operation
from webspool.ledger.reader import seconds
from webspool.records import Delivery, Headers, WebhookRequest, delivery_of, new_id
from webspool.redaction import MASK, storable
from webspool.sealing import stored_form
from webspool.signatures import Scheme, Verdict, check
from webspool.source import Source
from webspool.task import SpoolRequest

AT_ONCE = 500
UNREAD = frozenset(
    {
        "unknown_source",
        "length_required",
        "length_invalid",
        "request_timeout",
        "payload_too_large",
        "address_not_allowed",
        "address_rate_limited",
    }
)

Judge = Callable[[Source, WebhookRequest, float], Verdict]
Plan = Callable[[Source, Delivery], tuple[Sequence[dict[str, Any]], Sequence[tuple[str, str]]]]
Answered = Iterator[tuple[str, str]]


class Operator:
    """Acts on the ledger in the name of `actor`, who asks from the address `remote` where that is known.

    Everything it does raises LedgerUnavailable: no more was done.
    """

    def __init__(self, client: Client, actor: str, remote: str | None = None) -> None:
        self.client, self.actor = client, actor
        self._who = {"actor": actor} | ({"remote": remote} if remote else {})

    def retry(self, jobs: Sequence[str], *, spread_seconds: float = 0.0) -> Answered:
        """A new round of attempts for each job, the first at once, the others spread over that time."""
        delays = spread(len(jobs), spread_seconds)
        for start in range(0, len(jobs), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            yield from self._act("retry", jobs=list(jobs[some]), delays_seconds=delays[some])

    def cancel(self, jobs: Sequence[str]) -> Answered:
        """End waiting jobs; running ones are interrupted."""
        for start in range(0, len(jobs), AT_ONCE):
            yield from self._act("cancel", jobs=list(jobs[start : start + AT_ONCE]))

    def discard(self, jobs: Sequence[str], reason: str) -> Answered:
        """Declare waiting jobs dead."""
        for start in range(0, len(jobs), AT_ONCE):
            yield from self._act("discard", jobs=list(jobs[start : start + AT_ONCE]), reason=reason)

    def pause(self, names: Sequence[str]) -> Answered:
        """Hold `all`, `task:NAME` or `source:NAME`; `refuse:NAME` holds a source and takes no webhooks of it."""
        return self._act("pause", names=list(names))

    def resume(self, names: Sequence[str]) -> Answered:
        """Let go what a pause held."""
        return self._act("resume", names=list(names))

    def stop(self, instance: str, *, stopping: bool = True) -> None:
        """Let an instance begin no further job, or again; the mark dies with the instance, unlike a pause."""
        self.client.call(Operation(new_id("x"), "stop", {"instance": instance, "stopping": stopping}))

    def renew(self, instance: str, generation: int) -> None:
        """Have an instance's runners replaced by ones of this generation of its code, each between two jobs."""
        self.client.call(Operation(new_id("x"), "renew", {"instance": instance, "generation": generation}))

    def cut(self, instance: str, generation: int) -> int:
        """Cut what older code than this generation runs still, uncharged; returns how many jobs that are."""
        operation = Operation(new_id("x"), "cut", {"instance": instance, "generation": generation})
        return len(self.client.call(operation).values["attempts"])

    def _act(self, verb: str, **given: Any) -> Answered:
        operation = Operation(new_id("x"), "act", {"verb": verb, **self._who, **given})
        yield from self.client.call(operation).values["done"].items()

    def note(self, verb: str, **told: Any) -> None:
        """Keep among the actions what was done by other ways."""
        self.client.call(Operation(new_id("x"), "note", {"verb": verb, **self._who, **told}))

    def run(self, order: SpoolRequest, *, parent: str | None = None) -> dict[str, Any]:
        """A job by hand, of which `parent` is the job that it repeats; returns its id (`job`) and its state.

        The order's own id is the job's: sent twice it is one job.
        """
        return self.run_stored(order.id or new_id("j"), order.stored(), parent=parent)

    def run_stored(self, job: str, stored: Mapping[str, Any], *, parent: str | None = None) -> dict[str, Any]:
        """The same with what a job of the ledger has: `task`, `calling`, `arguments` and when."""
        given = {"id": job, "verb": "spool", "with": {**stored, "parent": parent}}
        return self._order(given, stored["task"], parent)

    def run_webhook(
        self,
        webhook: Mapping[str, Any],
        body: bytes,
        job: Mapping[str, Any],
        *,
        encrypt: bool = False,
        parent: str | None = None,
    ) -> dict[str, Any]:
        """A job (`id`, `task`, and when) for a webhook that nobody sent: `source`, `method`, `url`, `headers`,
        `event_type` and this body become a delivery, for which the operator vouches.

        Returns its `status`, the `delivery` and `jobs`. The job's id names the delivery too: sent twice it is one.
        """
        delivery = f"d_{job['id'].removeprefix('j_')}"
        kept = stored_form(body, delivery, encrypt=encrypt)
        given = {name: webhook[name] for name in ("source", "method", "url", "event_type")} | _by_hand(kept)
        given |= {"headers": Headers(webhook["headers"]).text, "remote": self.actor, "event_id": None}
        given |= {"parent": webhook.get("id"), "jobs": [{**job, "parent": parent}]}
        return self._order({"id": delivery, "verb": "accept", "with": given}, job["task"], parent, kept)

    def _order(self, given: dict[str, Any], task: str, parent: str | None, body: bytes = b"") -> dict[str, Any]:
        told = {**given, **self._who, "task": task, "parent": parent}
        return self.client.call(Operation(new_id("x"), "order", told, body)).values

    def replay(self, webhooks: Collection[Mapping[str, Any]], today: Today, *, spread_seconds: float = 0.0) -> Replayed:
        """New jobs from stored deliveries, new deliveries from stored refusals, by today's routing."""
        begun = time.time()
        for webhook, delay in zip(webhooks, spread(len(webhooks), spread_seconds), strict=True):
            due_at = begun + delay if delay else None
            again = self._accept if webhook["id"].startswith("r_") else self._start_anew
            yield again(webhook, today, due_at)

    def _start_anew(self, delivery: Mapping[str, Any], today: Today, due_at: float | None) -> dict[str, Any]:
        source = today.sources.get(delivery["source"])
        if source is None:
            return _not_allowed(delivery, f"today's app has no source {delivery['source']}")
        if delivery["body"] is None and delivery["body_size"]:
            return _not_allowed(delivery, "its body is no longer kept")
        stored = {**delivery, "headers": Headers(delivery["headers"]).text, "event_type": delivery["type"]}
        jobs = today.jobs(source, delivery_of(delivery["id"], stored, delivery["body"] or b""), due_at)
        if not jobs:
            return _not_allowed(delivery, f"nothing starts on {delivery['type'] or 'an event without a type'} today")
        given = {"delivery": delivery["id"], "jobs": jobs, **self._who}
        answer = self.client.call(Operation(new_id("x"), "replay", given)).values
        return {"id": delivery["id"], **answer}

    def _accept(self, refusal: Mapping[str, Any], today: Today, due_at: float | None) -> dict[str, Any]:
        """A refused webhook becomes a delivery when its proof fits today's secrets, or the operator vouches for it."""
        if why := _unusable(refusal, today):
            return _not_allowed(refusal, why)
        source, body = today.sources[refusal["source"]], refusal["body"] or b""
        headers = Headers(refusal["headers"])
        request = WebhookRequest(refusal["method"], refusal["url"], headers, body)
        if not today.vouched and (why := today.unproven(source, request, seconds(refusal["received_at"]))):
            return _not_allowed(refusal, f"{why}; if you know that it is its sender's: --vouch")
        event_id, event_type = _named(source, request)
        delivery = new_id("d")
        kept = stored_form(body, delivery, encrypt=source.encrypt)
        given = {name: refusal[name] for name in ("source", "method", "url", "remote")} | _by_hand(kept)
        given |= {"headers": headers.text, "event_id": event_id, "event_type": event_type, "parent": refusal["id"]}
        given["jobs"] = today.jobs(source, delivery_of(refusal["id"], given, body), due_at)
        answer = self.client.call(Operation(delivery, "accept", given, kept)).values
        return {"id": refusal["id"], **answer}


Replayed = Iterator[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Today:
    """The code and the secrets as they are now: the sources by name, which jobs a delivery starts, who is believed.

    `vouched`: the operator takes the word of refused webhooks for true.
    """

    sources: Mapping[str, Source]
    plan: Plan
    judge: Judge
    vouched: bool = False

    def jobs(self, source: Source, delivery: Delivery, due_at: float | None) -> list[dict[str, Any]]:
        planned, _ = self.plan(source, delivery)
        return [{"id": new_id("j"), "due_at": due_at} | job for job in planned]

    def unproven(self, source: Source, request: WebhookRequest, received_at: float) -> str | None:
        """Why a webhook is not its sender's, seen with today's secrets as if it arrived at that time, or None."""
        if source.scheme.sends_secret:
            return "what it was sent with as the secret is not kept, so that it cannot be checked again"
        verdict = self.judge(source, request, received_at)
        if verdict.reply is not None:
            return "it only asks a question, which its sender has to ask again"
        return None if verdict.accepted else f"it does not fit today's secrets either ({verdict.cause})"


def spread(number: int, seconds: float) -> list[float]:
    """When each of so many begins, in seconds from now: evenly over that time, the first at once."""
    return [seconds * each / number for each in range(number)]


def _by_hand(kept: bytes) -> dict[str, Any]:
    """What a delivery has that comes by an operator: its body in the ledger, and no redelivery."""
    sha256 = hashlib.sha256(kept).hexdigest()
    return {"body_size": len(kept), "body_sha256": sha256, "body_file": False, "redelivery": "ignore"}


def _not_allowed(webhook: Mapping[str, Any], why: str) -> dict[str, Any]:
    return {"id": webhook["id"], "status": f"not_allowed: {why}", "delivery": None, "jobs": []}


def _unusable(refusal: Mapping[str, Any], today: Today) -> str | None:
    """Why a refusal cannot become a delivery, or None."""
    kept, headers = len(refusal["body"] or b""), Headers(refusal["headers"])
    if refusal["cause"] in UNREAD or (not kept and "Transfer-Encoding" in headers):
        return f"it was refused ({refusal['cause']}) before its body was read"
    if kept < refusal["body_size"]:
        return f"of its body of {refusal['body_size']} bytes only {kept} are kept"
    if refusal["source"] not in today.sources:
        return f"today's app has no source {refusal['source']}"
    return None


def _named(source: Source, request: WebhookRequest) -> tuple[str | None, str | None]:
    """The event's id and type where the source's scheme reads them, without asking for the proof."""
    scheme: Scheme = replace(source.scheme, algorithm="none")
    verdict = check(scheme, (), request, time.time())
    return _plain(verdict.event_id), _plain(_type(source, request, verdict.event_type))


def _type(source: Source, request: WebhookRequest, named: str | None) -> str | None:
    if source.event_type is None:
        return named
    try:
        found = source.event_type(request)
    except Exception:  # the user's function; what it trips over was sent by a stranger
        return None
    return found if isinstance(found, str) else None


def _plain(name: str | None) -> str | None:
    return storable(name) if name and name != MASK else None
