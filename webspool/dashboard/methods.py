"""Forms know GET and POST only: one that says `_method=PUT` or `DELETE` in its body is taken by its word."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

from webspool.payloads import media_type

FIELD, METHODS = "_method", ("PUT", "DELETE")
FORM = "application/x-www-form-urlencoded"
LARGEST = 16 << 10

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Methods:
    """Stands before an application and changes the method of such forms; everything else passes as it came.

    An address changes nothing (a link would do then what only a form may), nor does a header or another kind of body.
    """

    def __init__(self, behind: WSGI) -> None:
        self._behind = behind

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "POST" and (length := _length_of_form(environ)):
            body = environ["wsgi.input"].read(length)
            method = _method_in(body)
            environ = environ | {"wsgi.input": BytesIO(body)} | ({"REQUEST_METHOD": method} if method else {})
        return self._behind(environ, start_response)


def _length_of_form(environ: dict[str, Any]) -> int:
    """How many bytes a form is that may say so; 0: it is none, or larger than such forms are."""
    kind = media_type(environ.get("CONTENT_TYPE", ""))
    length = environ.get("CONTENT_LENGTH", "")
    if kind != FORM or not length.isdecimal() or len(length) > 6:
        return 0
    return int(length) if int(length) <= LARGEST else 0


def _method_in(body: bytes) -> str | None:
    """What the form says, when it says so once."""
    try:
        named = [value for name, value in parse_qsl(body.decode("latin-1"), keep_blank_values=True) if name == FIELD]
    except ValueError:
        return None
    return named[0] if len(named) == 1 and named[0] in METHODS else None
