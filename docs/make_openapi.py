"""Writes docs/reference/openapi.json, the doors for senders and watchers: `python docs/make_openapi.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import webspool
from webspool.receive import REFUSALS, STATUSES
from webspool.records import State

PAGE = Path(__file__).parent / "reference" / "openapi.json"

JOB = {
    "type": "object",
    "required": ["id", "task", "state"],
    "properties": {
        "id": {"type": "string"},
        "task": {"type": "string"},
        "state": {"enum": [str(each) for each in State]},
    },
}
SCHEMAS: dict[str, Any] = {
    "Stored": {
        "type": "object",
        "required": ["delivery", "status", "jobs"],
        "properties": {
            "delivery": {"type": "string", "pattern": "^d_[0-9a-f]{32}$"},
            "status": {"enum": list(STATUSES)},
            "jobs": {
                "description": "Ids; of a duplicate each job with its state.",
                "type": "array",
                "items": {"anyOf": [{"type": "string", "pattern": "^j_[0-9a-f]{32}$"}, JOB]},
            },
        },
    },
    "Problem": {
        "description": "RFC 9457",
        "type": "object",
        "required": ["type", "title", "status", "detail", "cause"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "cause": {"enum": [*REFUSALS, "unknown_job"]},
        },
    },
    "Health": {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}},
    "Readiness": {
        "type": "object",
        "required": ["ready", "reasons"],
        "properties": {"ready": {"type": "boolean"}, "reasons": {"type": "array", "items": {"type": "string"}}},
    },
    "Job": {
        "type": "object",
        "required": ["id", "state", "result"],
        "properties": {"id": {"type": "string"}, "state": {"enum": [str(each) for each in State]}, "result": {}},
    },
}
TEXT = {"type": "object", "additionalProperties": {"type": "string"}}
BODIES: dict[str, Any] = {
    "application/json": {"schema": {}},
    "application/x-www-form-urlencoded": {"schema": TEXT},
    "multipart/form-data": {"schema": TEXT},
    "text/plain": {"schema": {"type": "string"}},
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}


def description() -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "webspool",
            "version": webspool_version(),
            "description": "What an instance answers to senders. A source may have a path, methods and "
            "answers of its own; what its sender asks first is answered as that sender wants it.",
        },
        "paths": {
            "/hooks/{source}": {"post": webhook()},
            "/healthz": {"get": watched("Whether a worker answers.", {"200": "Health"})},
            "/readyz": {"get": watched("Whether webhooks can be stored.", {"200": "Readiness", "503": "Readiness"})},
            "/jobs/{job}": {"get": job()},
        },
        "components": {"schemas": SCHEMAS},
    }


def webspool_version() -> str:
    project = (Path(webspool.__path__[0]).parent / "pyproject.toml").read_text()
    return next(line.partition('"')[2].rstrip('"') for line in project.splitlines() if line.startswith("version"))


def webhook() -> dict[str, Any]:
    stored = {status: [name for name, each in STATUSES.items() if each == status] for status in STATUSES.values()}
    refused: dict[int, list[str]] = {}
    for cause, (status, _) in REFUSALS.items():
        refused.setdefault(status, []).append(cause)
    return {
        "summary": "A webhook: verified, made durable, then answered.",
        "operationId": "receive",
        "parameters": [named("source", "The source's name.")],
        "requestBody": {"content": BODIES},
        "responses": {
            **{str(status): answer(", ".join(names), "Stored") for status, names in sorted(stored.items())},
            **{str(status): problem(causes) for status, causes in sorted(refused.items())},
        },
    }


def job() -> dict[str, Any]:
    return {
        "summary": "A job's state and result; the id is the key.",
        "operationId": "job",
        "parameters": [named("job", "As a webhook's answer or `.spool()` gave it.")],
        "responses": {
            "200": answer("How it stands.", "Job"),
            "404": problem(["unknown_job"]),
            "503": problem(["ledger_unavailable"]),
        },
    }


def watched(summary: str, responses: dict[str, str]) -> dict[str, Any]:
    return {"summary": summary, "responses": {status: answer(summary, name) for status, name in responses.items()}}


def named(name: str, meaning: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": meaning, "schema": {"type": "string"}}


def answer(meaning: str, schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": meaning, "content": content}


def problem(causes: list[str]) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": ", ".join(causes), "content": content}


def page() -> str:
    return json.dumps(description(), indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
