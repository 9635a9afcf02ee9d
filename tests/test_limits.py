"""Laws of limits: counted once for all processes, exactly, in a table that does not grow."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webspool import limits as limits_module
from webspool.limits import HEAD, Limits, Meter
from webspool.rates import Rate
from webspool.telemetry import silent


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meter(tmp_path: Path, clock: Clock) -> Meter:
    return Meter(tmp_path / "var" / "limits", clock)


def test_so_many_may_come_at_once_and_then_evenly(meter: Meter, clock: Clock) -> None:
    """And who has to wait is told for how long, and need not wait longer."""
    rate = Rate.of("6/minute")
    assert [meter.wait("a", rate) for _ in range(6)] == [0.0] * 6
    assert meter.wait("a", rate) == pytest.approx(10.0)
    assert meter.wait("a", rate) == pytest.approx(10.0)
    assert meter.wait("b", rate) == 0.0
    clock.now += 9.9
    assert meter.wait("a", rate) > 0
    clock.now += 0.2
    assert meter.wait("a", rate) == 0.0
    assert meter.wait("a", rate) > 0
    clock.now += 600
    assert [meter.wait("a", rate) == 0.0 for _ in range(7)] == [True] * 6 + [False]


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 5), st.sampled_from(["second", "minute"]))
def test_no_span_holds_more_than_twice_the_rate(
    tmp_path_factory: pytest.TempPathFactory, waits: list[float], count: int, unit: str
) -> None:
    """What the algorithm promises: in any span of its length at most as many as at once, and as many evenly."""
    clock, rate = Clock(), Rate.of(f"{count}/{unit}")
    meter = Meter(tmp_path_factory.mktemp("limits") / "limits", clock)
    came = []
    for wait in waits:
        clock.now += wait
        if meter.wait("a", rate) == 0.0:
            came.append(clock.now)
    for start in came:
        assert sum(start <= at < start + rate.seconds for at in came) <= 2 * count


def test_a_clock_that_began_anew_locks_nobody_out(meter: Meter, clock: Clock) -> None:
    """After a reboot the times of before lie far ahead."""
    rate = Rate.of("1/hour")
    assert meter.wait("a", rate) == 0.0
    clock.now = 5.0
    assert meter.wait("a", rate) == 0.0


def test_the_table_does_not_grow_and_forgets_the_quiet(tmp_path: Path, clock: Clock) -> None:
    """A stranger with ten thousand addresses does not push out who came just now, but for bad luck."""
    meter, rate = Meter(tmp_path / "limits", clock), Rate.of("2/minute")
    for number in range(10_000):
        clock.now += 0.001
        meter.wait(f"stranger {number}", rate)
    assert (tmp_path / "limits").stat().st_size < 200_000
    assert [meter.wait("a", rate) == 0.0 for _ in range(3)] == [True, True, False]


def test_a_file_that_is_no_table_is_made_anew(tmp_path: Path) -> None:
    """Cut short by whatever."""
    (tmp_path / "limits").write_bytes(b"x" * HEAD)
    assert Meter(tmp_path / "limits").wait("a", Rate.of("1/hour")) == 0.0
    assert Meter(tmp_path / "limits").wait("a", Rate.of("1/hour")) > 0
    assert Meter(tmp_path / "other").wait("a", Rate.of("1/hour")) == 0.0
    assert os.name == "nt" or (tmp_path / "other").stat().st_mode & 0o077 == 0


def _come(path: Path, times: int, gate: Any, came: Any) -> None:
    meter, rate = Meter(path), Rate.of("500/day")
    gate.wait()
    came.put(sum(meter.wait("a", rate) == 0.0 for _ in range(times)))


@pytest.mark.skipif(os.name == "nt", reason="there one process serves")
def test_all_processes_and_threads_count_as_one(tmp_path: Path) -> None:
    """Three processes, one of them with threads, come 1500 times: exactly 500 get in."""
    context = multiprocessing.get_context("spawn")
    gate, came = context.Barrier(3), context.Queue()
    others = [context.Process(target=_come, args=(tmp_path / "limits", 500, gate, came)) for _ in range(2)]
    for other in others:
        other.start()
    meter, rate, mine = Meter(tmp_path / "limits"), Rate.of("500/day"), []
    threads = [
        threading.Thread(target=lambda: mine.append(sum(meter.wait("a", rate) == 0.0 for _ in range(125))))
        for _ in range(4)
    ]
    gate.wait()
    for thread in threads:
        thread.start()
    for thread in [*threads, *others]:
        thread.join(30)
    assert sum(mine) + came.get(timeout=5) + came.get(timeout=5) == 500


@pytest.mark.skipif(os.name == "nt", reason="there one process serves")
def test_who_cannot_be_counted_is_let_in_and_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was stopped while it held the lock, a folder that cannot be written: no webhook waits for that."""
    monkeypatch.setattr(limits_module, "LOCK_SECONDS", 0.02)
    told = []
    limits = Limits(tmp_path, Rate.of("1/day"), lambda happening, **facts: told.append(happening))
    assert limits.of_address("192.0.2.7") == 0.0
    assert limits.of_address("192.0.2.7") > 0
    with open(tmp_path / "limits-addresses", "rb") as file:
        limits_module.fcntl.flock(file, limits_module.fcntl.LOCK_EX)
        assert [limits.of_address("192.0.2.7") for _ in range(2)] == [0.0, 0.0]
    assert told == ["limits_unavailable"]
    (tmp_path / "file").touch()
    assert Limits(tmp_path / "file", Rate.of("1/day"), silent).of_address("192.0.2.7") == 0.0


def test_without_a_limit_nothing_is_counted_and_no_file_made(tmp_path: Path) -> None:
    """What is not used costs nothing."""
    limits = Limits(tmp_path, None, silent)
    assert limits.of_address("192.0.2.7") == 0.0
    assert Limits(tmp_path, Rate.of("1/day"), silent).of_address(None) == 0.0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "rate"), [("100/minute", Rate(100, 60)), (" 5 / seconds ", Rate(5, 1))])
def test_a_rate_is_read_as_it_is_said(text: str, rate: Rate) -> None:
    """And said as it is read."""
    assert Rate.of(text) == rate
    assert Rate.of(str(rate)) == rate


@pytest.mark.parametrize("text", ["", "5", "0/minute", "-1/minute", "5/fortnight", "5/m", "x/hour", None, 5])
def test_what_is_no_rate_says_how_one_is_written(text: Any) -> None:
    """At start."""
    with pytest.raises(ValueError, match="as in 100/minute"):
        Rate.of(text)
