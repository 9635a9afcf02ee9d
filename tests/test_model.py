"""Every state of the life of a job, in small scenes, and each of its rules taken out once (`make model`: larger)."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from chaos.model.explore import ENDS, LAWS, explore
from chaos.model.life import Rules
from chaos.model.scenes import SHOWN_IN, SMALL

RULES = [field.name for field in fields(Rules)]
BREAKS = {
    "commit_before_answer": "a_2xx_is_on_disk",
    "accepts_are_flushed": "a_2xx_is_on_disk",
    "what_was_there_is_flushed": "a_2xx_is_on_disk",
    "ids_are_idempotent": "an_event_is_accepted_once",
    "deadline_under_the_lock": "it_runs_again_only_for_a_reason",
    "counted_before_the_call": "attempts_are_counted_first",
    "called_before_the_end": "what_succeeded_was_done",
    "ghosts_are_closed": ENDS,
    "the_dead_are_rescued": ENDS,
}


@pytest.mark.parametrize("scene", SMALL)
def test_in_every_state_every_law_holds(scene: str) -> None:
    """And the job of what was accepted can always reach its end."""
    found = explore(SMALL[scene])
    assert found.broken is None, found.way
    assert found.states > 1000


@pytest.mark.parametrize("rule", RULES)
def test_without_a_rule_a_law_is_broken(rule: str) -> None:
    """The shortest way there is told."""
    scene = SMALL[SHOWN_IN[rule]]
    found = explore(replace(scene, rules=Rules(**{rule: False})))
    assert found.broken == BREAKS[rule]
    assert len(found.way) > 2
    assert set(BREAKS.values()) <= {law.__name__ for law in LAWS} | {ENDS}
