"""CloudEvents 1.0 over HTTP (its HTTP binding, 3.1 and 3.2): one event, whichever way it was sent."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from webspool.errors import UnparsableBody

STRUCTURED = "application/cloudevents+json"
PREFIX = "ce-"


def is_binary(headers: Mapping[str, str]) -> bool:
    """Whether the attributes stand in headers, and the body is the data."""
    return "ce-specversion" in headers


def read_binary(headers: Mapping[str, str], data: Any) -> dict[str, Any]:
    """The event's attributes by name, those of its extensions too, and its `data`."""
    told = {name.lower()[len(PREFIX) :]: unquote(headers[name]) for name in headers if name.lower().startswith(PREFIX)}
    content_type = headers.get("Content-Type")
    return told | ({"datacontenttype": content_type} if content_type else {}) | {"data": data}


def read_structured(event: Any, of: str) -> dict[str, Any]:
    """The same from a body that holds all of it; `data_base64` becomes the bytes it stands for.

    Raises UnparsableBody naming `of`.
    """
    if not isinstance(event, dict) or not isinstance(event.get("specversion"), str):
        raise UnparsableBody(delivery=of, kind="a CloudEvent", why="it is no object with a specversion")
    found = {name: value for name, value in event.items() if name != "data_base64"}
    if "data_base64" in event:
        try:
            found["data"] = base64.b64decode(event["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError) as fault:
            raise UnparsableBody(delivery=of, kind="a CloudEvent", why=f"data_base64 is none: {fault}") from None
    return {"data": None} | found
