"""Forms without JavaScript that mean PUT or DELETE: by their body, only as POST, and with all that an action needs."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest

from tests.visitors import Visited, visited
from webspool.dashboard.methods import LARGEST, Methods

__all__ = ["visited"]

FORM = "application/x-www-form-urlencoded"


def passed(method: str, body: bytes, kind: str = FORM, query: str = "", **more: Any) -> tuple[str, bytes]:
    """The method and the body that the application is asked with."""
    seen: list[tuple[str, bytes]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append((environ["REQUEST_METHOD"], environ["wsgi.input"].read()))
        return []

    environ = {"REQUEST_METHOD": method, "CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body)), "QUERY_STRING": query}
    Methods(application)(environ | {"wsgi.input": BytesIO(body)} | more, lambda *_: None)
    return seen[0]


@pytest.mark.parametrize("word", ["PUT", "DELETE"])
def test_a_form_says_what_it_means(word: str) -> None:
    """And arrives whole."""
    body = f"a=1&_method={word}&b=2".encode()
    assert passed("POST", body) == (word, body)
    assert passed("POST", body, f"{FORM}; charset=utf-8") == (word, body)


@pytest.mark.parametrize(
    ("method", "body", "more"),
    [
        ("POST", b"a=1", {"query": "_method=DELETE"}),
        ("POST", b"a=1", {"HTTP_X_HTTP_METHOD_OVERRIDE": "DELETE"}),
        ("GET", b"_method=DELETE", {}),
        ("HEAD", b"_method=DELETE", {}),
        ("PATCH", b"_method=DELETE", {}),
        ("POST", b"_method=DELETE", {"kind": "application/json"}),
        ("POST", b"_method=DELETE", {"kind": "text/plain"}),
        ("POST", b"_method=DELETE", {"kind": "multipart/form-data; boundary=x"}),
        ("POST", b"_method=DELETE", {"kind": ""}),
        ("POST", b"_method=delete", {}),
        ("POST", b"_method=GET", {}),
        ("POST", b"_method=", {}),
        ("POST", b"_method=PUT&_method=DELETE", {}),
        ("POST", b"_method=DELETE&a=" + b"x" * LARGEST, {}),
        ("POST", b"_method=DELETE", {"CONTENT_LENGTH": "-1"}),
        ("POST", b"_method=DELETE", {"CONTENT_LENGTH": ""}),
        ("POST", b"\xff%&;=_method", {}),
    ],
    ids=str,
)
def test_everything_else_passes_as_it_came(method: str, body: bytes, more: dict[str, Any]) -> None:
    """No address, no header, no other kind of body changes a method, and a GET stays one."""
    assert passed(method, body, **more) == (method, body)


def test_a_pause_is_put_and_deleted_by_a_form(visited: Visited) -> None:
    """With the word of the page, by who may act; then the page from which it came is shown."""
    visitor = visited.operator()
    form = {"_method": "PUT", "back": "/dashboard/tasks"}
    path = "/api/pauses/task:deploy"
    assert visitor.post(path, form, csrf="").status_code == 403
    assert visited.query("SELECT name FROM pause") == []
    put = visitor.post(path, form)
    assert put.headers["Location"].startswith("/dashboard/tasks?told=")
    assert visited.query("SELECT name FROM pause") == [("task:deploy",)]
    assert visitor.told(visitor.post(path, form | {"_method": "DELETE"})) == "task:deploy: done."
    assert visited.query("SELECT name FROM pause") == []
    assert visitor.post(path, {"back": "/dashboard/tasks"}).status_code == 405
    assert visitor.post(f"{path}?_method=PUT", {}).status_code == 405
