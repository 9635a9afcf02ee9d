"""What is read from the ledger: jobs, deliveries, refusals. Times come out as RFC 3339, durations in seconds.

Lists are newest first, a page at a time: `Filters.limit` of them, after the one whose `seq` is `Filters.after`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from webspool import traces
from webspool.config import Config
from webspool.errors import BodySealed, NotFound
from webspool.ledger.paging import PAGE, Filters, found_deliveries, found_jobs, narrowed
from webspool.ledger.reader import STATEMENTS, Reader, bodies_folder, exists, read, rfc3339, seconds
from webspool.ledger.standing import (
    happenings,
    keeper,
    running_by_spooler,
    running_jobs,
    serving,
    status,
    unready,
    waiting_tasks,
)
from webspool.sealing import Keyring

Found = dict[str, Any]


Page = Callable[[Config, Filters], list[Found]]


def every(page: Page, config: Config, filters: Filters) -> Iterator[Found]:
    """All that fits the filters, page by page; no transaction stays open meanwhile."""
    filters = replace(filters, limit=PAGE)
    while found := page(config, filters):
        yield from found
        if len(found) < PAGE:
            return
        filters = replace(filters, after=found[-1]["seq"])


def position(config: Config, kind: str, given: str) -> int:
    """The `seq` of a job, delivery or refusal (`kind`). Raises NotFound."""
    found = read(config, lambda reader: reader.one(f"{kind}_seq", id=given))
    if found is None:
        raise NotFound(kind=kind, id=given)
    return int(found["seq"])


# ── jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def jobs(config: Config, filters: Filters) -> list[Found]:
    """A page of jobs."""
    return [_job(row) for row in _jobs(config, "jobs", filters)]


def job_ids(config: Config, filters: Filters) -> list[Found]:
    """A page of jobs, their `seq` and `id` only."""
    return _jobs(config, "job_ids", filters)


def _jobs(config: Config, statement: str, filters: Filters) -> list[Found]:
    return read(config, lambda reader: _page(reader, statement, "job", found_jobs(reader, filters)))


def job(config: Config, job_id: str) -> Found:
    """One job with its arguments and its attempts (`history`, oldest first). Raises NotFound."""

    def work(reader: Reader) -> Found:
        found = reader.all("jobs", _where("job", ["id"]), id=job_id)
        if not found:
            raise NotFound(kind="job", id=job_id)
        more = reader.one("job_more", id=job_id) or {}
        more["arguments"] = _json(more["arguments"])
        more["cancelling"] = bool(more["cancelling"])
        more["traceparent"] = _traceparent(json.loads(more.pop("headers") or "[]"))
        history = [_attempt(row) for row in reader.all("attempts_of_job", job=job_id)]
        return _job(found[0]) | more | {"history": history}

    return read(config, work)


def copies(config: Config, job_id: str) -> list[Found]:
    """The jobs that were made from this one, newest first."""
    return read(config, lambda reader: reader.all("copies_of_job", id=job_id))


def _job(row: Found) -> Found:
    return _timed(row) | {"result": _json(row["result"])}


def _attempt(row: Found) -> Found:
    return _timed(row) | {"charged": bool(row["charged"]), "output_cut": bool(row["output_cut"])}


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


# ── deliveries and refusals ─────────────────────────────────────────────────────────────────────────────────────


def deliveries(config: Config, filters: Filters) -> list[Found]:
    """A page of deliveries, each with its jobs' states. `states`, `task` and `error` ask for such a job of it."""

    def work(reader: Reader) -> list[Found]:
        rows = _page(reader, "deliveries", "delivery", found_deliveries(reader, filters))
        return [_timed(row) | {"jobs": reader.all("jobs_of_delivery", delivery=row["id"])} for row in rows]

    return read(config, work)


def delivery(config: Config, delivery_id: str) -> Found:
    """One delivery with its headers, its body (None when it is not kept) and its jobs. Raises NotFound."""

    def work(reader: Reader) -> Found:
        found = _whole(reader, "deliveries", "delivery", delivery_id)
        return found | {"jobs": reader.all("jobs_of_delivery", delivery=delivery_id)}

    return _with_body(config, read(config, work))


def refusals(config: Config, filters: Filters) -> list[Found]:
    """A page of refused webhooks; `error` looks into the cause."""
    where = joined(narrowed("refusal", filters)) + _space(STATEMENTS["refusal_order"])
    rows = read(config, lambda reader: reader.all("refusals", where, **filters.values(), limit=filters.limit))
    return [_timed(row) for row in rows]


def refusal(config: Config, refusal_id: str) -> Found:
    """One refused webhook with its headers and what was kept of its body. Raises NotFound."""
    return _with_body(config, read(config, lambda reader: _whole(reader, "refusals", "refusal", refusal_id)))


def _whole(reader: Reader, statement: str, kind: str, given: str) -> Found:
    found = reader.all(statement, _where(kind, ["id"]), id=given)
    if not found:
        raise NotFound(kind=kind, id=given)
    more = reader.one(f"{kind}_more", id=given) or {}
    headers = json.loads(more["headers"])
    return _timed(found[0]) | more | {"headers": headers, "traceparent": _traceparent(headers)}


def _traceparent(headers: list[list[str]]) -> str | None:
    """The sender's place in a trace, when it told a valid one."""
    found = traces.read(next((value for name, value in headers if name.lower() == traces.HEADER), None))
    return None if found is None else str(found)


def _with_body(config: Config, found: Found) -> Found:
    body = found["body"]
    if found.pop("body_file"):
        body = _body_of_file(bodies_folder(config) / found["id"])
    try:
        return found | {"body": None if body is None else Keyring(config.encryption_key).unseal(body, found["id"])}
    except BodySealed:
        return found | {"body": None, "sealed": True}


def readable(found: Found) -> Found:
    """A delivery or refusal as JSON can carry it: its body as text, or None with `body_is_text` false."""
    try:
        body = None if found["body"] is None else found["body"].decode()
    except UnicodeDecodeError:
        body = None
    return found | {"body": body, "body_is_text": body is not None}


def _body_of_file(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


# ── statements ──────────────────────────────────────────────────────────────────────────────────────────────────


def _page(reader: Reader, statement: str, kind: str, seqs: list[int]) -> list[Found]:
    """The rows of a page that has been found."""
    where = _where(kind, ["page"]) + _space(STATEMENTS[f"{kind}_order"])
    return reader.all(statement, where, page=json.dumps(seqs), limit=len(seqs))


def _where(kind: str, names: Sequence[str]) -> str:
    return joined([STATEMENTS[f"{kind}_where_{name}"] for name in names])


def joined(fragments: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(fragments)}" if fragments else ""


def _space(text: str) -> str:
    return f" {text}"


def _timed(row: Found) -> Found:
    return {name: rfc3339(value) if name.endswith("_at") else value for name, value in row.items()}


__all__ = [
    "Filters",
    "copies",
    "deliveries",
    "delivery",
    "every",
    "exists",
    "happenings",
    "job",
    "job_ids",
    "jobs",
    "keeper",
    "position",
    "readable",
    "refusal",
    "refusals",
    "rfc3339",
    "running_by_spooler",
    "running_jobs",
    "seconds",
    "serving",
    "status",
    "unready",
    "waiting_tasks",
]
