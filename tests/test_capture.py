"""What an attempt prints is handed on soon to those who watch, and in few pieces."""

from __future__ import annotations

import pytest

from webspool import capture
from webspool.capture import LARGEST_PIECE, Capture
from webspool.ledger.output import Piece


class Time:
    """A clock that goes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(capture, "time", clock)
    return clock


def captured() -> tuple[Capture, list[bytes]]:
    kept: list[bytes] = []

    def keep(piece: Piece) -> None:
        kept.append(piece.bytes)

    return Capture("a_1", "", 1 << 20, keep, lambda text: None), kept


def test_what_a_short_job_prints_goes_with_its_end(clock: Time) -> None:
    """Before the first tenth of a second nothing is handed on, so that it costs no message of its own."""
    output, kept = captured()
    output.take(b"one\n")
    clock.now += 0.09
    output.take(b"two\n")
    assert kept == []
    last = output.close()
    assert last is not None
    assert last.bytes == b"one\ntwo\n"


def test_a_line_after_a_pause_is_handed_on_at_once(clock: Time) -> None:
    """Those that follow it closely wait for the next tenth of a second, together."""
    output, kept = captured()
    output.take(b"one\n")
    output.hand_on()
    clock.now += 0.1
    output.take(b"two\n")
    assert kept == [b"one\n", b"two\n"]
    output.take(b"three\n")
    clock.now += 0.05
    output.take(b"four\n")
    assert kept[2:] == []
    output.hand_on()
    assert kept[2:] == [b"three\nfour\n"]
    assert output.close() is None


def test_a_job_that_has_been_silent_is_heard_at_once(clock: Time) -> None:
    """Its first line too."""
    output, kept = captured()
    output.hand_on()
    output.take(b"one\n")
    assert kept == [b"one\n"]


def test_what_is_large_is_handed_on_in_pieces(clock: Time) -> None:
    """Whatever the time."""
    output, kept = captured()
    output.take(b"x" * (LARGEST_PIECE + 1))
    assert kept == [b"x" * LARGEST_PIECE]
