"""Orders on their way from the ledger to a runner, and outcomes on their way back, as frames.

An order is put together once, by whoever claims it in the ledger; spoolers hand its bytes on as they are.
"""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from webspool import frames
from webspool.records import Delivery, Ending, Headers, Order, Outcome

_PLAIN = ("result", "error", "traceback", "after_seconds", "charge", "cut", "exit_code", "signal")
_PLAIN_ONES = frozenset(_PLAIN)
_plain_of = attrgetter(*_PLAIN)
_DEFAULTS = _plain_of(Outcome(Ending.SUCCEEDED))
_ENDINGS = {ending.value: ending for ending in Ending}
_DELIVERY = ("id", "source", "method", "url", "received_at", "event_id", "event_type")
_HOW = struct.Struct(">dB")
"""What follows an order's body in its frame: its time limit, and how many orders lie ready or its own place there."""

R = TypeVar("R")


class Packed(msgspec.Struct, frozen=True):
    """An order as bytes. `bodies` is the folder of what is too large for the ledger's rows."""

    job: str
    task: str
    attempt: str
    number: int
    text: bytes
    body: bytes
    bodies: Path

    def unpacked(self) -> Order:
        """The order itself, for a runner in this process."""
        ((message, body),) = frames.Decoder().feed(frames.join(self.text, self.body))
        return _order(message, body, self.bodies)


def packed(
    values: Sequence[Any], arguments: str | None, delivery: Sequence[Any] | None = None, file: bool | str = False
) -> bytes:
    """An order's message without its body.

    `values` are job, task, attempt, number, calling and the time of its creation; `arguments` is JSON text;
    `delivery` is id, source, method, url, time, event id, event type, and its headers as JSON text; `file` is where its
    body lies, True: in the folder for such, under the delivery's id.
    """
    return frames.packed({"order": values, "arguments": arguments, "delivery": delivery, "file": file})


def order_frame(order: Order | Packed, *, limit: float, row: int = 0) -> bytes:
    """An order as a frame. `limit`: when TimeLimitExceeded is due, in seconds of the monotonic clock (infinity: never);
    or below zero, how many seconds after the task begins. `row`: how many further ones lie in the runner's queue; of
    one that lies there, its place in the row, from 1.
    """
    text, body = (order.text, order.body) if isinstance(order, Packed) else _parts(order)
    return frames.join(text, body + _HOW.pack(limit, row))


def place_in_row(frame: bytes) -> int:
    """The place of an order that lay in a runner's queue."""
    return int(_HOW.unpack_from(frame, len(frame) - _HOW.size)[1])


def _parts(order: Order) -> tuple[bytes, bytes]:
    values = (order.job, order.task, order.attempt, order.number, order.calling, order.created_at)
    arguments, delivery = json.dumps(order.arguments), order.delivery
    if delivery is None:
        return packed(values, arguments), b""
    headers = delivery.headers
    text = headers.text if isinstance(headers, Headers) else Headers(headers).text
    told = [*(getattr(delivery, name) for name in _DELIVERY), text]
    stored = delivery.stored_body
    if isinstance(stored, bytes):
        return packed(values, arguments, told), stored
    return packed(values, arguments, told, str(stored)), b""


class Ordered(msgspec.Struct, frozen=True):
    """What a runner is to do; `row` as for `order_frame`."""

    order: Order
    limit: float
    row: int

    def deadline(self) -> float:
        """When its time is up if it begins now, in seconds of the monotonic clock."""
        return self.limit if self.limit >= 0 or math.isinf(self.limit) else time.monotonic() - self.limit


def ordered(message: dict[str, Any], body: bytes, bodies: Path) -> Ordered:
    """What `order_frame` wrote."""
    limit, row = _HOW.unpack_from(body, len(body) - _HOW.size)
    return Ordered(_order(message, body[: -_HOW.size], bodies), limit, row)


def _order(message: dict[str, Any], body: bytes, bodies: Path) -> Order:
    job, task, attempt, number, calling, created_at = message["order"]
    arguments = json.loads(message["arguments"]) if message["arguments"] else {}
    delivery = None if message["delivery"] is None else _delivery(message["delivery"], message["file"], body, bodies)
    made = {
        "job": job,
        "task": task,
        "attempt": attempt,
        "number": number,
        "calling": calling,
        "arguments": arguments,
        "delivery": delivery,
        "created_at": created_at,
    }
    return _record(Order, made)


def _delivery(values: Sequence[Any], file: bool | str, body: bytes, bodies: Path) -> Delivery:
    id, source, method, url, received_at, event_id, event_type, headers = values
    made = {
        "id": id,
        "source": source,
        "method": method,
        "url": url,
        "headers": Headers.stored(headers),
        "received_at": received_at,
        "event_id": event_id,
        "event_type": event_type,
        "stored_body": body if not file else bodies / id if file is True else Path(file),
    }
    return _record(Delivery, made)


def _record(kind: type[R], values: dict[str, Any]) -> R:
    """A frozen record with all of its fields. Its own `__init__` sets them one by one, and takes four times as long."""
    record = object.__new__(kind)
    object.__setattr__(record, "__dict__", values)
    return record


def outcome_frame(attempt: str, outcome: Outcome, left: str | None, began_at: float, ended_at: float) -> bytes:
    """An outcome as a frame; `left` says what the task left running, which ends the runner. Times are Unix seconds."""
    message: dict[str, Any] = {"attempt": attempt, "ending": outcome.ending, "times": (began_at, ended_at)}
    plain = _plain_of(outcome)
    if plain != _DEFAULTS:
        told = zip(_PLAIN, plain, _DEFAULTS, strict=True)
        message.update({name: value for name, value, default in told if value != default})
    if left is not None:
        message["left"] = left
    return frames.encode(message)


def outcome_of(message: dict[str, Any]) -> Outcome:
    """The outcome that `outcome_frame` wrote."""
    began_at, ended_at = message["times"]
    outcome = Outcome(_ENDINGS[message["ending"]], began_at=began_at, ended_at=ended_at)
    for name in _PLAIN_ONES.intersection(message):
        setattr(outcome, name, message[name])
    return outcome
