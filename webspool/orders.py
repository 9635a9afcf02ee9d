"""What a spooler and its runner say to each other: orders one way, outcomes the other, as frames."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from webspool import frames
from webspool.records import Delivery, Ending, Headers, Order, Outcome

_PLAIN = ("result", "error", "traceback", "after_seconds", "charge", "cut", "exit_code", "signal")
_DEFAULTS = {field.name: field.default for field in fields(Outcome)}
_DELIVERY = tuple(field.name for field in fields(Delivery) if field.name not in ("headers", "stored_body"))
_ORDER = tuple(field.name for field in fields(Order) if field.name != "delivery")


def order_frame(order: Order, deadline: float) -> bytes:
    """An order as a frame; `deadline` is when TimeLimitExceeded is due, on the monotonic clock (infinity: never)."""
    message: dict[str, Any] = {"order": {name: getattr(order, name) for name in _ORDER}, "deadline": deadline}
    if order.delivery is None:
        return frames.encode(message)
    body = order.delivery.stored_body
    message["delivery"] = _delivery_values(order.delivery)
    message["body"] = None if isinstance(body, bytes) else str(body)
    return frames.encode(message, body if isinstance(body, bytes) else b"")


def order_of(message: dict[str, Any], body: bytes) -> tuple[Order, float]:
    """The order and the deadline that `order_frame` wrote."""
    delivery = None
    if "delivery" in message:
        delivery = _delivery_of(message["delivery"], body if message["body"] is None else Path(message["body"]))
    return Order(**message["order"], delivery=delivery), message["deadline"]


def _delivery_values(delivery: Delivery) -> tuple[Any, ...]:
    headers = delivery.headers
    text = headers.text if isinstance(headers, Headers) else Headers(headers).text
    return [getattr(delivery, name) for name in _DELIVERY], text


def _delivery_of(values: list[Any], body: bytes | Path) -> Delivery:
    plain, headers = values
    return Delivery(**dict(zip(_DELIVERY, plain, strict=True)), headers=Headers.stored(headers), stored_body=body)


def outcome_frame(attempt: str, outcome: Outcome, left: str | None) -> bytes:
    """An outcome as a frame; `left` says what the task left running, which ends the runner."""
    message: dict[str, Any] = {"attempt": attempt, "ending": outcome.ending.value}
    for name in _PLAIN:
        value = getattr(outcome, name)
        if value != _DEFAULTS[name]:
            message[name] = value
    if left is not None:
        message["left"] = left
    return frames.encode(message)


def outcome_of(message: dict[str, Any]) -> Outcome:
    """The outcome that `outcome_frame` wrote."""
    given = {name: message[name] for name in _PLAIN if name in message}
    return Outcome(Ending(message["ending"]), **given)
