"""The dashboard's page of failures: grouped, and acted on by the group."""

from __future__ import annotations

from tests.visitors import Visited, visited

__all__ = ["visited"]


def test_failures_are_grouped_and_a_group_is_retried_once_its_count_is_confirmed(visited: Visited) -> None:
    """Those of one error stand in one row; retrying it asks for the count, and leaves the other groups dead."""
    same = [visited.dead("ValueError: no such branch"), visited.dead("ValueError: no such branch")]
    other = visited.dead("OSError: <b>full</b>")
    visitor = visited.operator()
    page = visitor.page("/failures")
    assert page.count("<tr data-row>") == 2
    assert "OSError: &lt;b&gt;full" in page
    form = {"verb": "retry", "all": "1", "state": "dead", "error": "ValueError: no such branch"}
    asked = visitor.post("/jobs/act", form)
    assert "Retry 2 jobs?" in asked.text
    assert [visited.state(job) for job in same] == ["dead", "dead"]
    assert visitor.told(visitor.post("/jobs/act", form | {"sure": "1"})) == "2 begin again."
    assert visited.state(other) == "dead"


def test_a_filter_of_failures_that_cannot_be_read_is_shown_back(visited: Visited) -> None:
    """With its fault, and no group."""
    visited.dead("ValueError: no")
    page = visited.operator().page("/failures?since=nonsense")
    assert 'value="nonsense"' in page
    assert "<tr data-row>" not in page
