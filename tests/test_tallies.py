"""What happened by the minute, the quarter and the hour: kept by name and for all together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.furnished import SUCCEEDED, Furnished, failed
from webspool.ledger import tallies
from webspool.ledger.tallies import RANGES


@pytest.mark.parametrize("name", RANGES)
def test_a_chart_adds_up_tasks_and_sources_and_nothing_else(tmp_path: Path, name: str) -> None:
    """The starts of processes and the keeper's own numbers are no part of it."""
    house = Furnished(tmp_path)
    house.deliver("deploy")
    house.run(SUCCEEDED)
    house.spool("audit")
    house.run(failed())
    points = tallies.series(house.config, RANGES[name])
    assert len(points) == RANGES[name].seconds // RANGES[name].point
    last = tallies.Tally(0.0, tallies.added(points[-2].counts, points[-1].counts))  # a minute may end in between
    assert (last.accepted, last.succeeded, last.failed, last.started) == (1, 1, 1, 0)
    assert sum(last.counts["run_seconds"].values()) == 2
    by_name = tallies.by_name(house.config, RANGES[name])
    assert (by_name["task:deploy"].succeeded, by_name["task:audit"].failed, by_name["source:github"].accepted) == (
        1,
        1,
        1,
    )
