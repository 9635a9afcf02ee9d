"""The targets of `make fuzz`, for a moment each, with bytes that hypothesis makes: they hold, and they can fail."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.parsers import TARGETS
from fuzz.requests import SOURCES, described
from tests.strangers import APP


class Provider:
    """What atheris gives a target, out of plain bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def ConsumeBytes(self, count: int) -> bytes:
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def ConsumeIntInRange(self, low: int, high: int) -> int:
        return low + int.from_bytes(self.ConsumeBytes(2), "big") % (high - low + 1)

    def ConsumeUnicode(self, count: int) -> str:
        return self.ConsumeBytes(count).decode("utf-8", "surrogateescape")

    def remaining_bytes(self) -> int:
        return len(self._data)


@pytest.mark.parametrize("name", TARGETS)
@settings(deadline=None)
@given(data=st.binary(max_size=400))
def test_a_target_keeps_its_law(name: str, data: bytes) -> None:
    """Whatever the bytes."""
    TARGETS[name](Provider(data))


def test_a_broken_law_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that raises what it should not ends the run."""
    monkeypatch.setattr("fuzz.parsers.parse_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        TARGETS["payloads"](Provider(b"\0\0{}"))


def test_the_sources_that_are_asked_are_there() -> None:
    """All but one, which nobody has."""
    enum = json.loads(described())["paths"]["/hooks/{source}"]["post"]["parameters"][0]["schema"]["enum"]
    assert enum == SOURCES
    assert [name for name in SOURCES if f'Source("{name}"' not in APP] == ["nobody"]
