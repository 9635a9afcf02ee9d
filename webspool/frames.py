"""Frames between webspool's own processes: two lengths (4 bytes each, big-endian), a message, raw bytes.

A message is MessagePack, as long as that can hold it; what it cannot (lone surrogates, very long numbers) goes as ASCII
JSON, which begins with another byte.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import msgspec

LARGEST_FRAME = 64 << 20

_LENGTHS = struct.Struct(">II")
_HEAD = _LENGTHS.size
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_from_json = json.JSONDecoder().decode

Frame = tuple[dict[str, Any], bytes]


def encode(message: dict[str, Any], body: bytes = b"") -> bytes:
    """A message and its raw bytes as one frame. Infinity travels. Raises ValueError over 64 MiB."""
    return join(packed(message), body)


def packed(message: dict[str, Any]) -> bytes:
    """A message without its frame."""
    try:
        return _pack(message)
    except (UnicodeEncodeError, OverflowError):
        return _to_json(message).encode("ascii")


def join(text: bytes, body: bytes) -> bytes:
    """A message that is packed already and its raw bytes as one frame. Raises ValueError over 64 MiB."""
    if _HEAD + len(text) + len(body) > LARGEST_FRAME:
        raise ValueError(f"a frame of {_HEAD + len(text) + len(body)} bytes is over the limit of {LARGEST_FRAME}")
    return b"".join((_LENGTHS.pack(len(text), len(body)), text, body))


def first(data: bytes, at: int) -> tuple[dict[str, Any] | None, int]:
    """The message that begins there, and where what follows its frame begins; None while it is not all there."""
    if len(data) < at + _HEAD:
        return None, at
    text, body = _LENGTHS.unpack_from(data, at)
    behind = at + _HEAD + text + body
    return (_message(data[at + _HEAD : at + _HEAD + text]), behind) if behind <= len(data) else (None, at)


class Decoder:
    """Frames out of a stream that arrives in pieces of any size; at most `limit` bytes each, lengths included.

    After a ValueError the stream has lost its place: the connection is to be closed.
    """

    def __init__(self, limit: int = LARGEST_FRAME) -> None:
        self.limit = limit
        self._pending = bytearray()
        self._wanted = _HEAD

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order. Raises ValueError on what is no frame or too large."""
        if self._pending:
            return self._continue(data)
        if len(data) >= _HEAD:
            text, body = _LENGTHS.unpack_from(data)
            if _HEAD + text + body == len(data) <= self.limit:
                return [(_message(data[_HEAD : _HEAD + text]), bytes(data[_HEAD + text :]))]
        self._pending += data
        return self._complete_ones()

    def _continue(self, data: bytes) -> list[Frame]:
        self._pending += data
        return self._complete_ones() if len(self._pending) >= self._wanted else []

    def _complete_ones(self) -> list[Frame]:
        frames: list[Frame] = []
        at = 0
        with memoryview(self._pending) as view:
            while len(view) - at >= _HEAD:
                text, body = _LENGTHS.unpack_from(view, at)
                self._wanted = _HEAD + text + body
                if self._wanted > self.limit:
                    raise ValueError(f"a frame of {self._wanted} bytes is over the limit of {self.limit}")
                if len(view) - at < self._wanted:
                    break
                middle = at + _HEAD + text
                frames.append((_message(bytes(view[at + _HEAD : middle])), bytes(view[middle : middle + body])))
                at += self._wanted
                self._wanted = _HEAD
            else:
                self._wanted = _HEAD
        del self._pending[:at]
        return frames


def _message(text: bytes) -> dict[str, Any]:
    try:
        message = _from_json(text.decode("ascii")) if text[:1] == b"{" else _unpack(text)
    except RecursionError:
        raise ValueError("a frame's message nests too deeply") from None
    except msgspec.DecodeError as fault:
        raise ValueError(f"a frame holds no message: {fault}") from None
    if not isinstance(message, dict):
        raise ValueError("a frame's message is no object")
    return message
