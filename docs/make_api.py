# ruff: noqa: E501 - texts
"""Writes the description of the API under /dashboard/api/ and its page of the reference: `python docs/make_api.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from webspool.ledger.accounts import ROLES
from webspool.records import Ending, State

ROOT = Path(__file__).parents[1]
FILE = ROOT / "webspool" / "dashboard" / "openapi.json"
PAGE = ROOT / "docs" / "reference" / "api.md"

Schema = dict[str, Any]

# ── words for schemas ───────────────────────────────────────────────────────────────────────────────────────────

TEXT: Schema = {"type": "string"}
YES: Schema = {"type": "boolean"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
SECONDS: Schema = {"type": "number", "minimum": 0}
ANY: Schema = {}
TIME: Schema = {"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
STATE: Schema = {"enum": [str(each) for each in State]}


def id_of(kind: str) -> Schema:
    return {"type": "string", "pattern": f"^{kind}_[0-9a-f]+$"}


def or_null(schema: Schema) -> Schema:
    if "enum" in schema:
        return {"enum": [*schema["enum"], None]}
    return schema | {"type": [schema["type"], "null"]}


def many(schema: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": schema, **more}


def each(schema: Schema) -> Schema:
    """An object with names that are nobody's business here."""
    return {"type": "object", "additionalProperties": schema}


def thing(properties: dict[str, Schema], optional: tuple[str, ...] = (), **more: Any) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties, **more}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


# ── what is told ────────────────────────────────────────────────────────────────────────────────────────────────

JOB = {
    "seq": WHOLE,
    "id": id_of("j"),
    "task": TEXT,
    "state": STATE,
    "blocked_on": or_null(TEXT),
    "attempts": WHOLE,
    "interruptions": WHOLE,
    "priority": {"type": "integer"},
    "key": or_null(TEXT),
    "delivery": or_null(id_of("d")),
    "source": or_null(TEXT),
    "type": or_null(TEXT),
    "created_at": TIME,
    "due_at": TIME,
    "started_at": or_null(TIME),
    "finished_at": or_null(TIME),
    "error": or_null(TEXT),
    "result": ANY,
    "parent": or_null(id_of("j")),
}
ATTEMPT = {
    "id": TEXT,
    "number": WHOLE,
    "outcome": or_null({"enum": [str(ending) for ending in Ending]}),
    "charged": YES,
    "started_at": TIME,
    "ended_at": or_null(TIME),
    "duration_seconds": or_null(SECONDS),
    "error": or_null(TEXT),
    "traceback": or_null(TEXT),
    "exit_code": or_null({"type": "integer"}),
    "signal": or_null({"type": "integer"}),
    "late": or_null(TEXT),
    "output_bytes": WHOLE,
    "output_cut": YES,
    "process": TEXT,
    "pid": or_null(WHOLE),
}
DELIVERY = {
    "seq": WHOLE,
    "id": id_of("d"),
    "source": TEXT,
    "type": or_null(TEXT),
    "event_id": or_null(TEXT),
    "received_at": TIME,
    "status": TEXT,
    "method": TEXT,
    "url": TEXT,
    "remote": or_null(TEXT),
    "body_size": WHOLE,
    "body_sha256": or_null(TEXT),
    "duplicates": WHOLE,
    "parent": or_null(id_of("r")),
    "jobs": many(thing({"id": id_of("j"), "task": TEXT, "state": STATE})),
}
REFUSAL = {
    "seq": WHOLE,
    "id": id_of("r"),
    "source": or_null(TEXT),
    "cause": TEXT,
    "status": WHOLE,
    "method": TEXT,
    "url": TEXT,
    "remote": or_null(TEXT),
    "body_size": WHOLE,
    "received_at": TIME,
}
WEBHOOK = {
    "headers": many(many(TEXT, minItems=2, maxItems=2)),
    "traceparent": or_null(TEXT),
    "body": or_null(TEXT) | {"description": "Null when it is no UTF-8, not kept, or sealed; its bytes: `/body`."},
    "body_is_text": YES,
    "sealed": YES,
}
PAUSE = thing({"name": TEXT, "since": TIME, "actor": TEXT})
ANSWER = {"description": "`done`, `interrupting`, `not_found`, or `not_allowed: why`.", **TEXT}
STATUS = {
    "jobs": thing({str(state): WHOLE for state in State}),
    "deliveries": thing({name: WHOLE for name in ("accepted", "refused", "duplicates", "ignored")}),
    "spool": thing({"files": WHOLE, "oldest_seconds": NUMBER}),
    "processes": thing({name: WHOLE for name in ("workers", "spoolers", "busy", "keeper", "live")}),
    "paused": many(PAUSE),
    "degraded": many(TEXT),
    "troubles": many(thing({"name": TEXT, "times": WHOLE, "first_at": TIME, "last_at": TIME, "facts": each(ANY)})),
    "since": or_null(TIME),
}
OUTPUT = {
    "job": id_of("j"),
    "state": STATE,
    "finished": YES,
    "attempt": or_null(WHOLE),
    "attempts": WHOLE,
    "ended": YES,
    "chunks": many(thing({"number": WHOLE, "line": WHOLE, "at": NUMBER, "text": TEXT})),
    "after": WHOLE,
    "more": YES,
    "error": or_null(TEXT),
    "mark": TEXT,
}
FAILURE = {
    "key": TEXT,
    "task": TEXT,
    "exception": TEXT,
    "error": TEXT,
    "messages": WHOLE,
    "place": or_null(TEXT),
    "jobs": WHOLE,
    "dead": WHOLE,
    "retrying": WHOLE,
    "first_at": TIME,
    "last_at": TIME,
    "example": id_of("j"),
}
SHARES = thing({"p50": or_null(SECONDS), "p95": or_null(SECONDS)})
RATE = or_null({"type": "number", "minimum": 0, "maximum": 1})
SCHEDULED = {
    "seq": WHOLE,
    "id": id_of("j"),
    "task": TEXT,
    "source": or_null(TEXT),
    "delivery": or_null(id_of("d")),
    "attempts": WHOLE,
    "number": WHOLE,
    "key": or_null(TEXT),
    "priority": {"type": "integer"},
    "created_at": TIME,
    "due_at": TIME,
    "due": NUMBER,
    "error": or_null(TEXT),
}
LAST = thing({"id": id_of("d"), "type": or_null(TEXT), "received_at": TIME, "status": TEXT})
SOURCE = {
    "name": TEXT,
    "paused": YES,
    "refusing": YES,
    "last": {"anyOf": [LAST, {"type": "null"}]},
    "accepted": WHOLE,
    "duplicates": WHOLE,
    "refused": WHOLE,
    "refusal_rate": RATE,
    "hours": many(thing({"at": TIME, "accepted": WHOLE, "refused": WHOLE})),
    "accepted_in_week": WHOLE,
    "usual_pause_seconds": or_null(SECONDS),
    "silent": YES,
}
TASK = {
    "name": TEXT,
    "known": YES,
    "paused": YES,
    "policy": each(ANY),
    "ended": WHOLE,
    "failed": WHOLE,
    "failure_rate": RATE,
    "wait_seconds": SHARES,
    "run_seconds": SHARES,
    "hours": many(thing({"at": TIME, "succeeded": WHOLE, "failed": WHOLE})),
    "ever": thing({"ended": WHOLE, "failed": WHOLE, "dead": WHOLE}),
    "running": WHOLE,
}
RUNS = thing({"attempt": TEXT, "id": id_of("j"), "task": TEXT, "started_at": TIME, "pid": WHOLE})
PROCESSES = {
    "instance": thing({"pid": WHOLE, "engine": TEXT, "generation": WHOLE, "since": TIME, "stopping": YES}),
    "keeper": thing({"pid": WHOLE, "since": or_null(TIME), "running": YES}),
    "live": thing({"pid": WHOLE, "viewers": WHOLE}),
    "spoolers": many(
        thing(
            {
                "pid": WHOLE,
                "runner_pid": WHOLE,
                "generation": WHOLE,
                "broken": or_null(TEXT),
                "since": TIME,
                "runs": {"anyOf": [RUNS, {"type": "null"}]},
            }
        )
    ),
    "starts": each(WHOLE),
}
for one in ("instance", "keeper", "live"):
    PROCESSES[one] = {"anyOf": [PROCESSES[one], {"type": "null"}]}
ACTION = {
    "id": id_of("x"),
    "at": TIME,
    "actor": TEXT,
    "remote": or_null(TEXT),
    "verb": TEXT,
    "of": many(TEXT),
    "number": WHOLE,
    "came_to": each(WHOLE),
    "made": many(TEXT),
    "note": or_null(TEXT),
}
REPLAYED = {
    "id": {"type": "string", "pattern": "^[dr]_[0-9a-f]+$"},
    "status": TEXT,
    "delivery": or_null(id_of("d")),
    "jobs": many(thing({"id": id_of("j"), "task": TEXT, "state": STATE})),
    "answer": {"description": "The same as `status`.", **TEXT},
}


def page_of(name: str, schema: str) -> Schema:
    more = {"description": "Goes on behind this page, as `after`; null: that was all.", **or_null(TEXT)}
    back = {"description": "How far back a text was looked for when time was up; `next` goes on.", **or_null(TIME)}
    return thing({name: many(ref(schema)), "next": more, "back_to": back})


SCHEMAS: dict[str, Schema] = {
    "Status": thing(STATUS),
    "Job": thing(JOB),
    "JobWithHistory": thing(
        JOB
        | {"calling": TEXT, "arguments": ANY, "number": WHOLE, "base": WHOLE, "cancelling": YES}
        | {"traceparent": or_null(TEXT)}
        | {"history": many(ref("Attempt"))}
    ),
    "Attempt": thing(ATTEMPT),
    "Jobs": page_of("jobs", "Job"),
    "Output": thing(OUTPUT),
    "Failures": thing({"failures": many(thing(FAILURE))}),
    "Delivery": thing(DELIVERY),
    "DeliveryWithBody": thing(DELIVERY | WEBHOOK, optional=("sealed",)),
    "Deliveries": page_of("deliveries", "Delivery"),
    "Refusal": thing(REFUSAL),
    "RefusalWithBody": thing(REFUSAL | WEBHOOK, optional=("sealed",)),
    "Refusals": page_of("refusals", "Refusal"),
    "Pauses": thing({"pauses": many(PAUSE)}),
    "Answer": thing({"id": id_of("j"), "answer": ANSWER}),
    "Answers": thing({"answers": many(ref("Answer")), "more": YES, "upto": or_null(WHOLE)}),
    "Held": thing({"name": TEXT, "answer": {"enum": ["done", "paused already", "not paused"]}}),
    "Scheduled": thing({"jobs": many(thing(SCHEDULED)), "next": or_null(TEXT)}),
    "Sources": thing({"sources": many(thing(SOURCE))}),
    "Tasks": thing({"tasks": many(thing(TASK))}),
    "Processes": thing(PROCESSES),
    "Actions": thing({"actions": many(thing(ACTION)), "next": or_null(TEXT), "back_to": or_null(TIME)}),
    "Sent": thing({"delivery": or_null(id_of("d")), "status": TEXT, "jobs": many(id_of("j"))}),
    "Ordered": thing({"job": id_of("j"), "state": STATE}),
    "Replayed": thing(REPLAYED),
    "ReplayedMany": thing({"answers": many(ref("Replayed")), "more": YES, "upto": or_null(WHOLE)}),
    "OpenAPI": {"type": "object"},
}

# ── what is asked ───────────────────────────────────────────────────────────────────────────────────────────────

PARAMETERS: dict[str, tuple[str, Schema, Any]] = {
    "state": ("Jobs in that state; may be repeated.", many(STATE), ["dead"]),
    "task": ("Jobs of the task of that name.", TEXT, "deploy"),
    "source": ("What came from the source of that name.", TEXT, "github"),
    "type": ("Events of that type; `*` stands for anything.", TEXT, "push*"),
    "since": ("Not before: RFC 3339, or `30m`, `2h`, `7d` ago.", TEXT, "2h"),
    "until": ("Before: a time written in the same ways.", TEXT, "2026-01-31T12:00:00Z"),
    "error": ("With that text in the error (of refusals: in the cause), in upper or lower case.", TEXT, "timeout"),
    "text": ("With exactly that text in the payload or the arguments.", TEXT, "main"),
    "limit": ("At most so many, 1 to 500; 50 unless given.", {"type": "integer", "minimum": 1, "maximum": 500}, 10),
    "after": ("Go on behind there: the `next` of the page before.", TEXT, "100"),
    "actor": ("With that text in who did it.", TEXT, "token:"),
    "verb": ("What was done: `retry`, `pause`, `log_in` ...", TEXT, "retry"),
    "attempt": ("The number of an attempt; the last one unless given.", WHOLE, 1),
}
OF_JOBS = ("state", "task", "source", "type", "since", "until", "error", "text")
OF_FAILURES = ("task", "source", "error", "since", "until")
OF_DELIVERIES = ("source", "type", "text", "since", "until")
OF_REFUSALS = ("source", "error", "text", "since", "until")
PAGED = ("after", "limit")

FIELDS: dict[str, tuple[str, Schema]] = {
    "ids": ("Which ones.", many({"type": "string", "pattern": "^[djr]_[0-9a-f]{1,64}$"}, minItems=1)),
    "confirm": ("How many it may be: the `count` that the refusal without it told.", WHOLE),
    "upto": ("Nothing newer: the `upto` that was told with the count.", WHOLE),
    "spread_seconds": ("Begin them evenly over that time.", {"type": "number", "minimum": 0, "maximum": 31536000}),
    "reason": ("Kept as the jobs' error.", {"type": "string", "minLength": 1, "maxLength": 500}),
    "arguments": ("By name; of a task that no webhook starts.", {"type": "object"}),
    "payload": ("The webhook's JSON; to run a task: one that webhooks start.", ANY),
    "source": ("As if it came from that source; the first that starts the task unless given.", TEXT),
    "type": ("The event's type.", {"type": "string", "minLength": 1, "maxLength": 200}),
    "at": ("Not before that time.", {"type": "string", "format": "date-time"}),
    "delay_seconds": ("Not before so long from now.", SECONDS),
    "priority": ("Higher ones are begun first.", {"type": "integer"}),
    "key": ("Of jobs of the task with the same key one runs at a time.", {"type": "string", "maxLength": 200}),
    "id": ("The job's id, made by you: sent twice it is one job.", {"type": "string", "pattern": "^j_[0-9a-f]{32}$"}),
    "vouch": ("Take it although its proof does not fit, or cannot be checked again.", YES),
}
BY_FILTER = ("ids", "filter", "confirm", "upto")

CAUSES: dict[str, tuple[int, str]] = {
    "unknown_parameter": (400, "The address has a parameter that it does not take."),
    "repeated_parameter": (400, "A parameter stands there more than once."),
    "bad_filter": (400, "A filter cannot be read; `faults` says by name why."),
    "bad_after": (400, "`after` is nothing that `next` or `after` told."),
    "unparsable_body": (400, "The body is no JSON object."),
    "unknown_field": (400, "The JSON has a field that is not read here."),
    "bad_field": (400, "A field is not what it should be, or is missing."),
    "login_required": (401, "No token, or one that opens nothing."),
    "arguments_do_not_fit": (400, "The task takes other arguments; `faults` says by name why."),
    "viewer": (403, "The token is a viewer's: it may look, not act."),
    "not_from_here": (403, "A browser's session asks without the CSRF word, or from another page."),
    "not_found": (404, "There is nothing of that id or name."),
    "not_allowed": (409, "What happened meanwhile forbids it; `answer` says what, as the commands do."),
    "cannot_sign": (409, "The source's secret cannot sign: it is a public key, or not there."),
    "confirm_count": (409, "`count` fit and would be acted on: send it again with `confirm` and `upto`."),
    "body_gone": (410, "The body is no longer kept, or no key here opens it."),
    "request_entity_too_large": (413, "The body is longer than 2 MiB."),
    "unsupported_media_type": (415, "The body is not sent as `application/json`."),
    "ledger_unavailable": (503, "The ledger cannot be read or written; `answers` is what was done before, of several."),
}
READING = ("unknown_parameter", "repeated_parameter", "login_required", "ledger_unavailable")
ACTING = (
    *READING,
    "unparsable_body",
    "unknown_field",
    "viewer",
    "not_from_here",
    "request_entity_too_large",
    "unsupported_media_type",
)
PROBLEM = thing(
    {
        "type": TEXT,
        "title": TEXT,
        "status": WHOLE,
        "detail": TEXT,
        "cause": {"enum": list(CAUSES)},
        "faults": each(TEXT),
        "count": WHOLE,
        "upto": WHOLE,
        "more": YES,
        "answer": TEXT,
        "answers": many({"type": "object"}),
    },
    optional=("faults", "count", "upto", "more", "answer", "answers"),
    description="RFC 9457",
)


def filter_of(names: tuple[str, ...]) -> Schema:
    """Those that an address takes too, as an object."""
    properties = {name: PARAMETERS[name][1] for name in names}
    if "state" in properties:
        properties["state"] = {"anyOf": [STATE, many(STATE)]}
    described = {name: {"description": PARAMETERS[name][0], **schema} for name, schema in properties.items()}
    return {"type": "object", "minProperties": 1, "additionalProperties": False, "properties": described}


def asks(*names: str, filters: tuple[str, ...] = (), required: tuple[str, ...] = ()) -> Schema:
    known = FIELDS | {"filter": ("Those that fit, at least one word.", filter_of(filters))}
    properties = {name: {"description": known[name][0], **known[name][1]} for name in names}
    choice = {"oneOf": [{"required": ["ids"]}, {"required": ["filter"]}]} if filters else {}
    found = {"type": "object", "additionalProperties": False, "properties": properties, **choice}
    return found | ({"required": list(required)} if required else {})


def read(summary: str, answer: str, *query: str, causes: tuple[str, ...] = ()) -> Schema:
    return {"summary": summary, "answer": answer, "query": query, "causes": (*READING, *causes)}


def act(summary: str, answer: str, body: Schema | None = None, causes: tuple[str, ...] = ()) -> Schema:
    return {"summary": summary, "answer": answer, "body": body, "causes": (*ACTING, *causes)}


MANY = ("bad_field", "bad_filter", "confirm_count")
ONE = ("not_found", "not_allowed")
SPREAD = (*BY_FILTER, "spread_seconds")

OPERATIONS: dict[tuple[str, str], Schema] = {
    ("get", "/openapi.json"): read("This description.", "OpenAPI"),
    ("get", "/status"): read("The instance at a glance, as `webspool status --json`.", "Status"),
    ("get", "/jobs"): read("Jobs, newest first.", "Jobs", *OF_JOBS, *PAGED, causes=("bad_filter",)),
    ("get", "/jobs/{job_id}"): read("One job with its attempts.", "JobWithHistory", causes=("not_found",)),
    ("get", "/jobs/{job_id}/output"): read(
        "What an attempt printed, chunk by chunk: ask again with the `after` that was told.",
        "Output",
        "attempt",
        "after",
        causes=("bad_after", "not_found"),
    ),
    ("get", "/failures"): read(
        "Dead and retrying jobs by task, exception and place.", "Failures", *OF_FAILURES, causes=("bad_filter",)
    ),
    ("get", "/deliveries"): read(
        "Accepted webhooks, newest first.", "Deliveries", *OF_DELIVERIES, *PAGED, causes=("bad_filter",)
    ),
    ("get", "/deliveries/{delivery_id}"): read(
        "One delivery with headers and body.", "DeliveryWithBody", causes=("not_found",)
    ),
    ("get", "/deliveries/{delivery_id}/body"): read("The bytes of its body.", "", causes=("not_found", "body_gone")),
    ("get", "/refusals"): read(
        "Refused webhooks, newest first.", "Refusals", *OF_REFUSALS, *PAGED, causes=("bad_filter",)
    ),
    ("get", "/refusals/{refusal_id}"): read(
        "One refusal with headers and what is kept of its body.", "RefusalWithBody", causes=("not_found",)
    ),
    ("get", "/refusals/{refusal_id}/body"): read(
        "The bytes that are kept of its body.", "", causes=("not_found", "body_gone")
    ),
    ("get", "/scheduled"): read(
        "Jobs that wait for their time, due soonest first.",
        "Scheduled",
        "task",
        "source",
        *PAGED,
        causes=("bad_filter", "bad_after"),
    ),
    ("get", "/sources"): read("Sources: the last delivery, a day in numbers, whether held or silent.", "Sources"),
    ("get", "/tasks"): read("Tasks: the policy, a day in numbers, what runs, whether held.", "Tasks"),
    ("get", "/processes"): read("The processes of the instance, and what each runs.", "Processes"),
    ("get", "/audit"): read(
        "What was done, by whom, and what it came to, newest first.",
        "Actions",
        "actor",
        "verb",
        "text",
        "since",
        "until",
        *PAGED,
        causes=("bad_filter", "bad_after"),
    ),
    ("get", "/pauses"): read("What is held.", "Pauses"),
    ("put", "/pauses/{name}"): act(
        "Hold `all`, `task:NAME` or `source:NAME`; `refuse:NAME` also takes no webhooks of that source.",
        "Held",
        causes=("not_found",),
    ),
    ("delete", "/pauses/{name}"): act("Let go what that pause held.", "Held", causes=("not_found",)),
    ("post", "/jobs/{job_id}/retry"): act("A new round of attempts for a job that ended.", "Answer", causes=ONE),
    ("post", "/jobs/{job_id}/cancel"): act("End a job that waits; interrupt one that runs.", "Answer", causes=ONE),
    ("post", "/jobs/{job_id}/discard"): act(
        "Declare a waiting job dead.", "Answer", asks("reason"), causes=(*ONE, "bad_field")
    ),
    ("post", "/jobs/retry"): act(
        "Retry jobs: those named, or the dead ones that fit (others with `state`).",
        "Answers",
        asks(*SPREAD, filters=OF_JOBS),
        causes=MANY,
    ),
    ("post", "/jobs/cancel"): act(
        "Cancel jobs: those named, or all that fit.", "Answers", asks(*BY_FILTER, filters=OF_JOBS), causes=MANY
    ),
    ("post", "/jobs/discard"): act(
        "Declare waiting jobs dead: those named, or all that fit.",
        "Answers",
        asks(*BY_FILTER, "reason", filters=OF_JOBS),
        causes=MANY,
    ),
    ("post", "/tasks/{name}/run"): act(
        "Run a task once: with `arguments`, or where webhooks start it with a `payload`, as `webspool run` does.",
        "Ordered",
        asks("arguments", "source", "type", "payload", "at", "delay_seconds", "priority", "key", "id"),
        causes=(*ONE, "bad_field", "arguments_do_not_fit"),
    ),
    ("post", "/sources/{name}/send"): act(
        "A test webhook, signed with the source's own secret and received as if its sender had sent it.",
        "Sent",
        asks("type", "payload"),
        causes=(*ONE, "bad_field", "cannot_sign"),
    ),
    ("post", "/deliveries/{delivery_id}/replay"): act(
        "New jobs from a delivery, by the routing of the code that runs.", "Replayed", causes=ONE
    ),
    ("post", "/refusals/{refusal_id}/replay"): act(
        "A delivery from a refusal whose proof fits today's secrets, or for which you vouch.",
        "Replayed",
        asks("vouch"),
        causes=(*ONE, "bad_field"),
    ),
    ("post", "/deliveries/replay"): act(
        "Replay deliveries: those named, or the newest 500 that fit; `upto` goes on with the older ones.",
        "ReplayedMany",
        asks(*SPREAD, filters=OF_DELIVERIES),
        causes=(*MANY, "not_found"),
    ),
    ("post", "/refusals/replay"): act(
        "Replay refusals, in the same way.",
        "ReplayedMany",
        asks(*SPREAD, "vouch", filters=OF_REFUSALS),
        causes=(*MANY, "not_found"),
    ),
}

# ── the file ────────────────────────────────────────────────────────────────────────────────────────────────────


def description() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for (method, path), asked in OPERATIONS.items():
        paths.setdefault(path, {})[method] = operation(method, path, asked)
    schemes = {
        "token": {"type": "http", "scheme": "bearer", "description": "`webspool token add NAME`"},
        "session": {"type": "apiKey", "in": "cookie", "name": "webspool_session", "description": "A page's own."},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "webspool, to see and to steer",
            "version": version(),
            "description": "What the dashboard shows and does, as JSON. Reading takes the role viewer, the rest the "
            "role operator. A browser's session also needs the header X-CSRF-Token where it acts.",
        },
        "servers": [{"url": "/dashboard/api"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {"schemas": SCHEMAS | {"Problem": PROBLEM}, "securitySchemes": schemes},
    }


def version() -> str:
    project = (ROOT / "pyproject.toml").read_text()
    return next(line.partition('"')[2].rstrip('"') for line in project.splitlines() if line.startswith("version"))


def operation(method: str, path: str, asked: Schema) -> dict[str, Any]:
    words = [word for word in path.replace(".", "/").split("/") if word and not word.startswith("{")]
    one = "one" if path.endswith("}") else ""
    inside = [named("path", word[1:-1], TEXT) for word in path.split("/") if word.startswith("{")]
    query = [parameter(name) for name in asked.get("query", ())]
    found = {
        "summary": asked["summary"],
        "operationId": "_".join([method, *words, *([one] if one else [])]) + ("_of_one" if "}/" in path else ""),
        "x-role": ROLES[0] if method == "get" else ROLES[1],
        "parameters": inside + query,
        "responses": {"200": content(asked["answer"])} | problems(asked["causes"]),
    }
    if asked.get("body"):
        found["requestBody"] = {"content": {"application/json": {"schema": asked["body"]}}}
    return found


def named(place: str, name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": place, "required": True, "schema": schema}


def parameter(name: str) -> dict[str, Any]:
    meaning, schema, example = PARAMETERS[name]
    return {"name": name, "in": "query", "description": meaning, "schema": schema, "example": example}


def content(schema: str) -> dict[str, Any]:
    if not schema:
        octets = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        return {"description": "The bytes.", "content": octets}
    return {"description": schema, "content": {"application/json": {"schema": ref(schema)}}}


def problems(causes: tuple[str, ...]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for cause in CAUSES:
        if cause in causes:
            by_status.setdefault(CAUSES[cause][0], []).append(cause)
    told = {"application/problem+json": {"schema": ref("Problem")}}
    return {str(status): {"description": ", ".join(names), "content": told} for status, names in by_status.items()}


def file() -> str:
    """JSON with an operation, a schema a line: what has changed can be read."""
    return written(description(), 0, {"paths": 3, "components": 3}) + "\n"


def written(value: Any, depth: int, deeper: dict[str, int], most: int = 1) -> str:
    if not isinstance(value, dict) or depth >= most:
        return json.dumps(value)
    inner = [
        f"{' ' * (depth + 1)}{json.dumps(name)}: {written(each, depth + 1, {}, deeper.get(name, most))}"
        for name, each in value.items()
    ]
    return "{\n" + ",\n".join(inner) + "\n" + " " * depth + "}"


# ── the page ────────────────────────────────────────────────────────────────────────────────────────────────────

ABOVE = """# The API

What the dashboard shows and does, as JSON, under `/dashboard/api/`. The shapes are those of the commands' `--json`: what you know from
`webspool job ID --json` is what `/dashboard/api/jobs/ID` answers. The API describes itself, as OpenAPI 3.1, at `/dashboard/api/openapi.json`.
This page is made from that description.

```sh
TOKEN=$(webspool token add mine --role operator)
curl -H "Authorization: Bearer $TOKEN" 'http://127.0.0.1:8000/dashboard/api/jobs?state=dead'
```

- **Tokens**: `webspool token add` prints one. A viewer's reads, an operator's also acts. A browser that is logged in may ask as well; where it
  acts, it sends its page's CSRF word as `X-CSRF-Token`. A form without JavaScript may say `_method=PUT` or `_method=DELETE` in its body (never in
  its address), with the word as `csrf` and the page to return to as `back`.
- **Pages**: lists are newest first (what is scheduled: next first). `next` goes on behind the page, as `after`; it is null at the end. While a
  text is looked for, a page may be short, even empty, and still have a `next`.
- **What is not known is refused**: a misspelt parameter or field would act on more than was meant, so it is a 400.
- **Acting on all that fit**: send `filter`; the answer is 409 `confirm_count` with `count` and `upto`. Send the same again with `confirm` (that
  count) and `upto`, and it is done to those, at most so many, and to nothing that came later.
- Times are RFC 3339 in UTC with milliseconds, durations seconds.

## Addresses

| method | address | | parameters or fields |
|---|---|---|---|
"""
BETWEEN = """
## Problems

Errors are RFC 9457 `application/problem+json` with `type`, `title`, `status`, `detail`, and a `cause`:

| cause | status | |
|---|---|---|
"""


def page() -> str:
    rows = [row(method, path, asked) for (method, path), asked in OPERATIONS.items()]
    causes = [f"| `{cause}` | {status} | {meaning} |" for cause, (status, meaning) in CAUSES.items()]
    return ABOVE + "\n".join(rows) + "\n" + BETWEEN + "\n".join(causes) + "\n"


def row(method: str, path: str, asked: Schema) -> str:
    fields = asked["body"]["properties"] if asked.get("body") else {}
    names = ", ".join(f"`{name}`" for name in (*asked.get("query", ()), *fields))
    return f"| {method.upper()} | `{path}` | {asked['summary']} | {names} |"


if __name__ == "__main__":
    FILE.write_text(file())
    PAGE.write_text(page())
