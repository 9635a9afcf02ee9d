"""Commands that show one thing: `job` with its attempts and output, `delivery` with its body."""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from webspool.cli import printing
from webspool.cli.chosen import chosen_config
from webspool.cli.filters import as_json, expect
from webspool.cli.printing import Column, moment
from webspool.config import Config
from webspool.ledger import reading
from webspool.ledger.output import Piece, read_pieces
from webspool.records import FINISHED
from webspool.redaction import shown_text

FOLLOW_SECONDS = 0.2
LATE_OUTPUT_SECONDS = 1.0
PREVIEW_BYTES = 2000

ATTEMPT_COLUMNS = (
    Column("ATTEMPT", lambda attempt: attempt["number"], right=True),
    Column("OUTCOME", lambda attempt: attempt["outcome"] or "running"),
    Column("STARTED", lambda attempt: moment(attempt["started_at"])),
    Column("SECONDS", lambda attempt: _seconds(attempt["duration_seconds"]), right=True),
    Column("CHARGED", lambda attempt: "yes" if attempt["charged"] else "no"),
    Column(
        "OUTPUT", lambda attempt: f"{attempt['output_bytes']}{' (cut)' if attempt['output_cut'] else ''}", right=True
    ),
    Column("ERROR", lambda attempt: attempt["error"]),
)


def _seconds(duration: float | None) -> str | None:
    return None if duration is None else f"{duration:.3f}"


# ── job ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("--output", is_flag=True, help="What its attempts printed, with line numbers.")
@click.option("--follow", is_flag=True, help="With --output: go on as it prints, until the job is finished.")
@as_json
def job(job_id: str, output: bool, follow: bool, json_wanted: bool) -> None:
    """One job with its attempts, or their output."""
    if follow and not output:
        raise click.UsageError("--follow goes with --output")
    expect(job_id, "job")
    config = chosen_config()
    if output:
        write_output(config, job_id, follow, json_wanted)
        return
    found = reading.job(config, job_id)
    if json_wanted:
        printing.write_json(found)
    else:
        _write_job(found)


def _write_job(found: dict[str, Any]) -> None:
    printing.write_fields(
        [
            ("job", found["id"]),
            ("task", found["task"]),
            ("state", found["state"]),
            ("blocked on", found["blocked_on"]),
            ("asked to stop", "yes" if found["cancelling"] else None),
            ("delivery", found["delivery"]),
            ("source", found["source"]),
            ("type", found["type"]),
            ("replay of", found["parent"]),
            ("trace", found["traceparent"]),
            ("arguments", found["arguments"] and printing.to_json(found["arguments"])),
            ("priority", found["priority"] or None),
            ("key", found["key"]),
            ("created", moment(found["created_at"])),
            ("due", moment(found["due_at"]) if found["state"] == "scheduled" else None),
            ("finished", found["finished_at"] and moment(found["finished_at"])),
            ("result", None if found["result"] is None else printing.to_json(found["result"])),
            ("error", found["error"]),
            ("process", _process(found)),
        ]
    )
    if found["history"]:
        click.echo()
        printing.write_table(found["history"], ATTEMPT_COLUMNS)
    if traceback := next((each["traceback"] for each in reversed(found["history"]) if each["traceback"]), None):
        click.echo("\n" + printing.harmless(traceback).rstrip())


def _process(found: dict[str, Any]) -> int | None:
    """The spooler that runs it."""
    return found["history"][-1]["pid"] if found["state"] == "running" else None


# ── output ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an attempt's output, numbered from 1."""

    attempt: int
    line: int
    at: str | None
    text: str


def write_output(config: Config, job_id: str, follow: bool, json_wanted: bool) -> None:
    """Lines on standard output; which attempt printed them on standard error."""
    attempt = 0
    try:
        for line in output_lines(config, job_id, follow=follow):
            if json_wanted:
                fields = {"attempt": line.attempt, "line": line.line, "at": line.at, "text": line.text}
                click.echo(printing.to_json(fields))
                continue
            if line.attempt != attempt:
                attempt = line.attempt
                printing.say(f"attempt {attempt}:")
            click.echo(f"{line.line:>6}  {printing.harmless(line.text)}")
    except KeyboardInterrupt:
        return
    if not json_wanted and not attempt:
        printing.say("It has printed nothing.")


def output_lines(config: Config, job_id: str, *, follow: bool) -> Iterator[Line]:
    """What the attempts of a job printed, in order; `follow` waits for more until the job is finished."""
    done = 0
    while True:
        found = reading.job(config, job_id)
        fresh = found["history"][done:]
        for attempt in fresh:
            yield from _lines_of(config, job_id, attempt, follow=follow)
        done += len(fresh)
        if not follow or (not fresh and found["state"] in FINISHED):
            return
        if not fresh:
            time.sleep(FOLLOW_SECONDS)


def _lines_of(config: Config, job_id: str, attempt: dict[str, Any], *, follow: bool) -> Iterator[Line]:
    lines, after = _Lines(attempt["number"]), 0
    while True:
        pieces = read_pieces(config.output_path, attempt["id"], after=after)
        for piece in pieces:
            after = piece.number
            yield from lines.take(piece)
        if pieces:
            continue
        if not follow or not _more_may_come(attempt, lines.size):
            yield from lines.close()
            return
        time.sleep(FOLLOW_SECONDS)
        attempt = _now(config, job_id, attempt)


def _more_may_come(attempt: dict[str, Any], size: int) -> bool:
    """The last of an attempt's output is kept a moment after its end."""
    if attempt["ended_at"] is None:
        return True
    age = time.time() - datetime.fromisoformat(attempt["ended_at"]).timestamp()
    return size < attempt["output_bytes"] and not attempt["output_cut"] and age < LATE_OUTPUT_SECONDS


def _now(config: Config, job_id: str, attempt: dict[str, Any]) -> dict[str, Any]:
    history = reading.job(config, job_id)["history"]
    return next((each for each in history if each["id"] == attempt["id"]), attempt)


class _Lines:
    """Pieces of output put together to lines; a letter may be cut by the end of a piece."""

    def __init__(self, attempt: int) -> None:
        self._attempt = attempt
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._begun, self._number, self._at = "", 1, 0.0
        self.size = 0

    def take(self, piece: Piece) -> Iterator[Line]:
        if piece.first_line > self._number:  # pieces between were lost
            yield from self.close()
            self._number = piece.first_line
        self._at = piece.at
        self.size += len(piece.bytes)
        *whole, self._begun = (self._begun + self._decoder.decode(piece.bytes)).split("\n")
        for text in whole:
            yield self._line(text)

    def close(self) -> Iterator[Line]:
        """What was printed without a new line at its end."""
        self._begun += self._decoder.decode(b"", final=True)
        if self._begun:
            yield self._line(self._begun)
        self._begun = ""

    def _line(self, text: str) -> Line:
        line = Line(self._attempt, self._number, reading.rfc3339(self._at), text.removesuffix("\r"))
        self._number += 1
        return line


# ── delivery ────────────────────────────────────────────────────────────────────────────────────────────────────


@click.command()
@click.argument("delivery_id", metavar="ID")
@click.option("--raw", is_flag=True, help="The exact bytes of its body on standard output, nothing else.")
@as_json
def delivery(delivery_id: str, raw: bool, json_wanted: bool) -> None:
    """One delivery, or one refusal (r_...), with its headers and body."""
    kind = expect(delivery_id, "delivery", "refusal")
    config = chosen_config()
    found = reading.delivery(config, delivery_id) if kind == "delivery" else reading.refusal(config, delivery_id)
    if raw:
        _write_raw(found)
    elif json_wanted:
        printing.write_json(reading.readable(found))
    else:
        _write_delivery(found)


def _write_raw(found: dict[str, Any]) -> None:
    if found["body"] is None:
        raise click.ClickException(f"The body of {found['id']} is no longer kept.")
    if len(found["body"]) < found["body_size"]:
        printing.say(f"Of {found['body_size']} bytes the first {len(found['body'])} are kept.")
    click.echo(found["body"], nl=False)


def _why_no_body(found: dict[str, Any]) -> str:
    if found.get("sealed"):
        return ", encrypted; no key of WEBSPOOL_ENCRYPTION_KEY opens them"
    return "" if found["body"] is not None else ", no longer kept"


def _write_delivery(found: dict[str, Any]) -> None:
    refused = "cause" in found
    printing.write_fields(
        [
            ("refusal" if refused else "delivery", found["id"]),
            ("source", found["source"]),
            ("type", found.get("type")),
            ("event id", found.get("event_id")),
            ("refused" if refused else "received", moment(found["received_at"])),
            ("status", f"{found['status']} {found['cause']}" if refused else found["status"]),
            ("request", f"{found['method']} {found['url']}"),
            ("from", found["remote"]),
            ("copies", found.get("duplicates") or None),
            ("replay of", found.get("parent")),
            ("trace", found["traceparent"]),
            ("body", f"{found['body_size']} bytes{_why_no_body(found)}"),
            *(("job", f"{each['id']} {each['task']} {each['state']}") for each in found.get("jobs", ())),
        ]
    )
    click.echo()
    for name, value in found["headers"]:
        click.echo(printing.harmless(f"{name}: {value}"))
    if found["body"]:
        click.echo("\n" + _preview(found["body"]))


def _preview(body: bytes) -> str:
    text = printing.harmless(shown_text(body[:PREVIEW_BYTES].decode("utf-8", "backslashreplace"))).rstrip()
    rest = len(body) - PREVIEW_BYTES
    return f"{text}\n… {rest} bytes more: --raw" if rest > 0 else text
