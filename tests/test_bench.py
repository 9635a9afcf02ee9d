"""The bench works: it is run for a moment, tells what it skips, and claims nothing on a machine that is not still."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bench.__main__
from bench import compare as comparing
from bench import slower_disk
from bench.alone import gaps
from bench.filled import Filling, Size
from bench.flat import pruning
from bench.lists import config_of, questions
from bench.noise import Noise
from bench.peers import PEERS, Peer
from bench.stacks import Run
from bench.tables import COLUMNS, printed
from tests.instances import runs
from webspool.ledger import reading
from webspool.ledger.reading import Filters
from webspool.records import State

STILL = Noise(spread=1.05, others=0.01, stolen=0.0, load=0.2)
MACHINE = {
    "date": "2026-01-31",
    "processors": 2,
    "system": "Linux 6",
    "python": "3.11",
    "python_ms": 5.0,
    "fsync_ms": 0.2,
    "versions": {},
}


def row(stack: str, number: int, value: float) -> dict[str, object]:
    return {"stack": stack, "round": number, "behind": False} | dict.fromkeys(COLUMNS, value)


def told(noise: Noise, rounds: list[dict[str, object]]) -> str:
    return printed({"what": "compare", "machine": MACHINE, "noise": [STILL, noise], "rounds": rounds})


@pytest.fixture
def wrk() -> None:
    if shutil.which("wrk") is None:
        assert not os.environ.get("CI"), "CI has to install wrk"
        pytest.skip("wrk is not installed")


@pytest.mark.usefixtures("wrk")
def test_a_round_measures_both_stacks_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure is there, every webhook was answered and run, every process and folder is gone."""
    pids: set[int] = set()
    folders: list[Path] = []

    def stop(stack: comparing.Stack) -> None:
        pids.update(stack.pids())
        folders.append(stack.directory)
        end(stack)

    end = comparing.end
    monkeypatch.setattr(comparing, "end", stop)
    found = comparing.compare(["webspool", "bare"], rounds=1, seconds=0.25)
    assert [each["stack"] for each in found["rounds"]] == ["webspool", "bare"]
    for each in found["rounds"]:
        assert all(0 < each[column] < float("inf") for column in COLUMNS), each
        assert (each["refused"], each["not_answered"], each["behind"]) == (0, 0, False)
    assert len(pids) > 15
    assert not any(runs(pid) for pid in pids)
    assert not any(folder.exists() for folder in folders)


def test_a_peer_that_is_not_installed_is_skipped_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names what is missing, and the others are measured."""
    lacking = Peer("lacking", "The missing one", {}, (), modules=("no_such_module",), programs=("no-such-program",))
    monkeypatch.setitem(PEERS, "lacking", lacking)
    found = comparing.compare(["lacking"], rounds=2, seconds=0.1)
    line = next(line for line in capsys.readouterr().out.splitlines() if "missing one" in line)
    assert all(word in line for word in ("skipped", "no_such_module", "no-such-program"))
    assert found["rounds"] == []
    assert "2 processors" in printed(found | {"machine": MACHINE})


def test_a_peer_that_does_not_start_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its last words are shown."""
    broken = Peer("broken", "The broken one", {}, (("sh", "-c", "echo no such luck; exit 3"),))
    monkeypatch.setitem(PEERS, "broken", broken)
    found = comparing.compare(["broken"], rounds=1, seconds=0.1)
    assert found["rounds"] == []
    assert "no such luck" in capsys.readouterr().out


def test_a_table_pairs_what_was_measured_in_the_same_round() -> None:
    """Ratios are those of the pairs, not of the medians."""
    rounds = [row("webspool", 0, 30), row("bare", 0, 10), row("webspool", 1, 8), row("bare", 1, 4)]
    text = told(STILL, rounds)
    assert "2.50 (2.00 to 3.00)" in text
    assert "19.0 (8.0 to 30.0)" in text
    assert "NOT STILL" not in text


@pytest.mark.parametrize(
    "noise",
    [Noise(2.0, 0.0, 0.0, 0.1), Noise(1.0, 0.9, 0.0, 0.1), Noise(1.0, 0.0, 0.3, 0.1)],
    ids=["uneven", "others", "stolen"],
)
def test_a_busy_machine_is_told_first_and_no_ratio_is(noise: Noise) -> None:
    """One such moment in the whole measurement is enough."""
    text = told(noise, [row("webspool", 0, 30), row("bare", 0, 10)])
    assert text.startswith("THIS MACHINE WAS NOT STILL")
    assert "3.00" not in text
    assert "Ratios are not told" in text


def test_a_filled_ledger_is_one_and_answers_every_question_of_the_bench(tmp_path: Path) -> None:
    """As many of each as was asked for, in a ledger that webspool reads and prunes."""
    ledger = tmp_path / "ledger.db"
    Filling(ledger, Size(finished=600, later=40, dead=6)).fill()
    config = config_of(ledger, tmp_path / "reading")
    counted = reading.status(config)["jobs"]
    assert (counted["succeeded"], counted["scheduled"], counted["dead"]) == (600, 40, 6)
    for state in (State.SUCCEEDED, State.SCHEDULED, State.DEAD):
        assert len(reading.jobs(config, Filters(states=(state,), limit=1000))) == counted[state]
    for question in questions(config).values():
        question()
    assert sum(map(len, reading.deliveries(config, Filters(source="rare")))) > 0
    bitten = pruning(ledger)
    assert 0 < bitten["rows"]["gone"] < 2 * 606
    assert bitten["keys"]["bites"] > 1
    assert bitten["keys"]["gone"] == 0


FLUSHING = """
import os, sys, tempfile, time
with tempfile.TemporaryFile() as file:
    for flush in (os.fsync, os.fdatasync):
        began = time.monotonic()
        flush(file.fileno())
        print(time.monotonic() - began)
    try:
        os.fsync(9999)
    except OSError as fault:
        print(fault.errno)
"""


def test_a_slower_disk_takes_its_time_for_each_flush_and_fails_as_the_true_one(tmp_path: Path) -> None:
    """At least so long: never less, whatever the true disk does."""
    if shutil.which("cc") is None:
        assert not os.environ.get("CI"), "CI has to install a C compiler"
        pytest.skip("there is no C compiler")
    environ = os.environ | slower_disk.environ(tmp_path, 20.0)
    said = subprocess.run([sys.executable, "-c", FLUSHING], env=environ, capture_output=True, text=True, check=True)
    fsync, fdatasync, fault = said.stdout.split()
    assert min(float(fsync), float(fdatasync)) >= 0.02
    assert int(fault) == errno.EBADF


def test_a_slower_disk_without_a_compiler_is_told(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """What is missing, before anything is measured."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "webspool", "--flush-ms", "1"])
    with pytest.raises(SystemExit, match="C compiler"):
        bench.__main__.main()
    assert capsys.readouterr().out == ""


def test_a_gap_lies_between_two_runs_of_one_process() -> None:
    """Runs of others in between count for nothing."""
    runs = [Run(0, 1.0, 2.0, 7), Run(0, 1.5, 3.0, 8), Run(0, 2.5, 4.0, 7), Run(0, 3.1, 3.2, 8)]
    assert gaps(runs) == pytest.approx([0.5, 0.1])
