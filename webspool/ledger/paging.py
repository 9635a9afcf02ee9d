"""Which rows a page of a list has, found without reading a long past: first among the newest, then by an index.

A list is narrowed by filters, newest first. What most rows have is found among the newest; what few have is found by
what tells these few apart: their state, their error, their source and type. Only a text is looked for in every row.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from webspool.ledger.reader import STATEMENTS, Reader
from webspool.records import State

PAGE = 500
NEAR = 3000
FEW = 5000
KINDS_AT_MOST = 1000
COMMON = {State.SUCCEEDED}
"""The states without an index of their own: nearly every job comes to have one of them."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which jobs, deliveries or refusals: each given field narrows. Times are Unix seconds, `until` excluded.

    `type` is a pattern (`push*`); `error` and `text` are looked for inside (the error; arguments and payload).
    `after`, `upto` and `down_to` are numbers (`seq`): older than that one, not newer, not older.
    """

    states: Sequence[State] = ()
    task: str | None = None
    source: str | None = None
    type: str | None = None
    since: float | None = None
    until: float | None = None
    error: str | None = None
    text: str | None = None
    after: int | None = None
    upto: int | None = None
    down_to: int | None = None
    limit: int = PAGE

    def values(self) -> dict[str, Any]:
        """What is bound in the statements. Stored JSON may spell text with escapes, so both forms are looked for."""
        escaped = None if self.text is None else json.dumps(self.text)[1:-1]
        names = ("task", "source", "type", "since", "until", "error", "text", "after", "upto", "down_to")
        return {name: getattr(self, name) for name in names} | {"escaped": escaped}

    @property
    def of_deliveries(self) -> bool:
        """Whether a job is asked for something that only its delivery knows."""
        return self.type is not None or self.text is not None


def narrowed(kind: str, filters: Filters, *, states: bool = True) -> list[str]:
    """The fragments of the fields that are given."""
    given = [name for name, value in filters.values().items() if value is not None and name != "escaped"]
    found = [STATEMENTS[name] for each in given if (name := f"{kind}_where_{each}") in STATEMENTS]
    if kind == "job" and filters.states and states:
        found.append(_in_states(filters.states))
    return found


def _in_states(states: Sequence[State]) -> str:
    """Written out, not bound: only so can SQLite use the indexes that hold one state."""
    return f"job.state IN ({', '.join(repr(State(state).value) for state in states)})"


def found_jobs(reader: Reader, filters: Filters) -> list[int]:
    """The `seq` of the jobs of a page."""
    return _near_or_far(
        reader, "job", _with_delivery("job_found_any", filters), narrowed("job", filters), filters, _jobs
    )


def found_deliveries(reader: Reader, filters: Filters) -> list[int]:
    """The `seq` of the deliveries of a page; `states`, `task` and `error` ask for such a job of them."""
    fragments = narrowed("delivery", filters)
    if of_jobs := narrowed("job", _of_jobs(filters)):
        fragments.append(STATEMENTS["delivery_where_has_job"].format(job=" AND ".join(of_jobs)))
    return _near_or_far(reader, "delivery", "delivery_found_any", fragments, filters, _deliveries)


def _of_jobs(filters: Filters) -> Filters:
    return Filters(states=filters.states, task=filters.task, error=filters.error)


def _near_or_far(
    reader: Reader, kind: str, statement: str, fragments: list[str], filters: Filters, far: Any
) -> list[int]:
    """A page that is full of the newest rows is right: nothing older comes before them."""
    places = [each for each in (filters.after, filters.upto) if each is not None]
    if len(fragments) == len(places) or filters.down_to is not None:  # every row fits, or few are asked about
        return _seqs(reader, kind, [_select(statement, fragments)], filters)
    newest = (reader.one(f"{kind}_newest") or {})["seq"] or 0
    near = min(newest, *places, newest) - NEAR
    select = _select(statement, [*fragments, STATEMENTS[f"{kind}_where_near"]])
    found = _seqs(reader, kind, [select], filters, near=near)
    if len(found) >= filters.limit or near <= 0:
        return found
    more: list[int] = far(reader, filters, _select(statement, fragments))
    return more


# ── the way to few among many ───────────────────────────────────────────────────────────────────────────────────


def _jobs(reader: Reader, filters: Filters, plain: str) -> list[int]:
    if select := _by_state_or_error(filters):
        return _seqs(reader, "job", select, filters)
    fragments = narrowed("job", filters)
    if (kinds := _kinds(reader, filters)) and _are_few(reader, kinds):
        return _of_kinds(reader, "job", _select("job_found_by_delivery", fragments), kinds, filters)
    return _seqs(reader, "job", [plain], filters)


def _by_state_or_error(filters: Filters, what: str = "seq") -> list[str]:
    """How jobs are found that an index holds for their state or their error; nothing when none does."""
    if filters.states and not set(filters.states) & COMMON:
        fragments = narrowed("job", filters, states=False)
        return [
            _select(_with_delivery(_found_in(state), filters), fragments, what=what, state=State(state).value)
            for state in dict.fromkeys(filters.states)
        ]
    if filters.error is not None:
        return [_select(_with_delivery("job_found_with_error", filters), narrowed("job", filters), what=what)]
    return []


def _found_in(state: State) -> str:
    """The statement: what runs is found by its open attempts, the rest by an index of the state."""
    return "job_found_running" if state == State.RUNNING else "job_found_in_state"


def _deliveries(reader: Reader, filters: Filters, plain: str) -> list[int]:
    of_jobs = _of_jobs(filters)
    jobs = _by_state_or_error(of_jobs, "delivery")
    if not jobs and filters.task is not None and _task_is_rare(reader, filters.task):
        jobs = [_select("job_found_any", narrowed("job", of_jobs), what="delivery")]
    if jobs:
        is_of_jobs = STATEMENTS["delivery_where_is_of_jobs"].format(jobs=" UNION ALL ".join(jobs))
        select = _select("delivery_found_any", [*narrowed("delivery", filters), is_of_jobs])
        return _seqs(reader, "delivery", [select], filters)
    if kinds := _kinds(reader, filters):
        select = plain.replace(STATEMENTS["delivery_found_any"], STATEMENTS["delivery_found_of_kind"], 1)
        return _of_kinds(reader, "delivery", select, kinds, filters)
    return _seqs(reader, "delivery", [plain], filters)


def _task_is_rare(reader: Reader, task: str) -> bool:
    return bool((reader.one("job_count_of_task", task=task, most=FEW) or {})["number"] < FEW)


def _kinds(reader: Reader, filters: Filters) -> list[tuple[str, str | None]]:
    """The sources and types of what has come that fit; nothing when that is not asked for, or there are too many."""
    if filters.source is None and filters.type is None:
        return []
    sources = [row["source"] for row in reader.all("delivery_sources", most=KINDS_AT_MOST)]
    fitting = [source for source in sources if filters.source in (None, source)]
    found = [(source, name) for source in fitting for name in _types(reader, source, filters)]
    if not found:
        return [(filters.source or "", "")]  # there is none: looked for where nothing is
    return found if max(len(sources), len(found)) < KINDS_AT_MOST else []


def _types(reader: Reader, source: str, filters: Filters) -> Iterator[str | None]:
    if filters.type is None:
        yield None
    for row in reader.all("delivery_types", source=source, most=KINDS_AT_MOST):
        if filters.type is None or reader.fits(row["type"], filters.type):
            yield row["type"]


def _are_few(reader: Reader, kinds: Sequence[tuple[str, str | None]]) -> bool:
    left = FEW
    for source, name in kinds:
        row = reader.one("delivery_count_of_kind", kind_source=source, kind_type=name, most=left) or {}
        left -= row["number"]
        if left <= 0:
            return False
    return True


def _of_kinds(
    reader: Reader, kind: str, select: str, kinds: Sequence[tuple[str, str | None]], filters: Filters
) -> list[int]:
    found = (
        seq
        for source, name in kinds
        for seq in _seqs(reader, kind, [select], filters, kind_source=source, kind_type=name)
    )
    return heapq.nlargest(filters.limit, set(found))


# ── statements ──────────────────────────────────────────────────────────────────────────────────────────────────


def _with_delivery(statement: str, filters: Filters) -> str:
    return f"{statement}_with_delivery" if filters.of_deliveries else statement


def _select(statement: str, fragments: Sequence[str], *, what: str = "seq", state: str = "") -> str:
    return " AND ".join([STATEMENTS[statement].format(what=what, state=state), *fragments])


def _seqs(reader: Reader, kind: str, selects: Sequence[str], filters: Filters, **more: Any) -> list[int]:
    """The newest that these find together; each is asked for itself, so that none sorts what another finds."""
    ordered = f" ORDER BY {kind}.seq DESC LIMIT :limit"
    values = filters.values() | {"limit": filters.limit} | more
    found = (seq for select in selects for seq in reader.column(select + ordered, values))
    return list(found) if len(selects) == 1 else heapq.nlargest(filters.limit, found)
