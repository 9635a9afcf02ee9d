"""What an attempt's outcome means for its job."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webspool.policy import MAX_INTERRUPTIONS, Policy, Standing, Verdict, judge, wait_seconds
from webspool.records import FINISHED, LEGAL_MOVES, Ending, Outcome, State

PLAIN = Policy(max_attempts=3, jitter=0.0)
FAILED = Outcome(Ending.FAILED, error="ValueError: no")
CUT = Outcome(Ending.INTERRUPTED, error="drained", cut=True)

policies = st.builds(
    Policy,
    max_attempts=st.integers(1, 50),
    first_wait=st.floats(0, 1e4),
    longest_wait=st.floats(0, 1e6),
    jitter=st.floats(0, 0.99),
    max_age=st.none() | st.floats(0.1, 1e6),
)
outcomes = st.builds(
    Outcome,
    ending=st.sampled_from(Ending),
    error=st.just("why"),
    after_seconds=st.none() | st.floats(-10, 1e6),
    charge=st.booleans(),
    cut=st.booleans(),
)
standings = st.builds(
    Standing,
    attempts=st.integers(1, 60),
    interruptions=st.integers(0, 30),
    age_seconds=st.floats(0, 1e7),
)


@given(outcomes, policies, standings, st.floats(0, 1))
def test_every_outcome_has_a_legal_verdict_that_can_be_stored(
    outcome: Outcome, policy: Policy, standing: Standing, chance: float
) -> None:
    """Whatever ended, the job moves on legally, after a finite wait that is not negative."""
    verdict = judge(outcome, policy, standing, chance=lambda: chance)
    assert verdict.state in LEGAL_MOVES[State.RUNNING]
    assert 0 <= verdict.wait_seconds < math.inf
    assert verdict.wait_seconds == 0 or verdict.state == State.SCHEDULED


@given(outcomes, policies, standings)
def test_a_job_whose_attempts_are_spent_is_not_tried_again(
    outcome: Outcome, policy: Policy, standing: Standing
) -> None:
    """The charged attempts of a round never exceed max_attempts."""
    verdict = judge(outcome, policy, standing)
    if verdict.charged and standing.attempts >= policy.max_attempts:
        assert verdict.state in FINISHED


@given(st.integers(1, 2000), policies, st.floats(0, 1))
def test_waits_double_up_to_the_longest_and_vary_by_the_jitter(attempt: int, policy: Policy, chance: float) -> None:
    """However many attempts, the wait stays within the longest one and its jitter."""
    wait = wait_seconds(policy, attempt, chance=lambda: chance)
    plain = min(policy.first_wait * 2.0 ** (attempt - 1 if attempt < 60 else 60), policy.longest_wait)
    assert plain * (1 - policy.jitter) <= wait * (1 + 1e-9) + 1e-9
    assert wait <= plain * (1 + policy.jitter) * (1 + 1e-9)


@pytest.mark.parametrize(("attempt", "wait"), [(1, 5), (2, 10), (3, 20), (10, 2560), (11, 3600), (19, 3600)])
def test_the_default_waits_are_those_of_the_design(attempt: int, wait: float) -> None:
    """5 s doubling to 1 h."""
    assert wait_seconds(Policy(jitter=0.0), attempt) == wait


def test_the_defaults_outlive_ten_hours_of_a_broken_dependency() -> None:
    """Twenty attempts with the default waits span about ten hours."""
    policy = Policy(jitter=0.0)
    assert 9.5 < sum(wait_seconds(policy, number) for number in range(1, policy.max_attempts)) / 3600 < 11


TABLE: list[tuple[str, Outcome, Policy, Standing, Verdict]] = [
    ("what returned has succeeded", Outcome(Ending.SUCCEEDED), PLAIN, Standing(3), Verdict(State.SUCCEEDED)),
    (
        "what failed is tried again after its wait",
        FAILED,
        PLAIN,
        Standing(2),
        Verdict(State.SCHEDULED, 10.0, cause="ValueError: no"),
    ),
    (
        "the last attempt's failure is death",
        FAILED,
        PLAIN,
        Standing(3),
        Verdict(State.DEAD, cause="3 of 3 attempts spent: ValueError: no"),
    ),
    (
        "a timeout is charged like a failure",
        Outcome(Ending.TIMED_OUT, error="over 5 s"),
        PLAIN,
        Standing(1),
        Verdict(State.SCHEDULED, 5.0, cause="over 5 s"),
    ),
    (
        "a killed process is charged like a failure",
        Outcome(Ending.INTERRUPTED, error="signal 9", signal=9),
        PLAIN,
        Standing(3),
        Verdict(State.DEAD, cause="3 of 3 attempts spent: signal 9"),
    ),
    (
        "what is discarded is dead at once",
        Outcome(Ending.DISCARDED, error="useless"),
        PLAIN,
        Standing(1),
        Verdict(State.DEAD, cause="useless"),
    ),
    (
        "a snooze waits as long as it asked, and is charged",
        Outcome(Ending.SNOOZED, error="later", after_seconds=7.0),
        PLAIN,
        Standing(1),
        Verdict(State.SCHEDULED, 7.0, cause="later"),
    ),
    (
        "a charged snooze of the last attempt is death",
        Outcome(Ending.SNOOZED, error="later", after_seconds=7.0),
        PLAIN,
        Standing(3),
        Verdict(State.DEAD, cause="3 of 3 attempts spent: later"),
    ),
    (
        "an uncharged snooze never spends attempts",
        Outcome(Ending.SNOOZED, error="polled", after_seconds=7.0, charge=False),
        PLAIN,
        Standing(3),
        Verdict(State.SCHEDULED, 7.0, charged=False, cause="polled"),
    ),
    (
        "an uncharged snooze is bounded by max_age",
        Outcome(Ending.SNOOZED, error="polled", after_seconds=7.0, charge=False),
        Policy(max_age=60),
        Standing(1, age_seconds=54),
        Verdict(State.DEAD, charged=False, cause="older than 60 s: polled"),
    ),
    (
        "a wait in the past is none",
        Outcome(Ending.SNOOZED, error="now", after_seconds=-3.0),
        PLAIN,
        Standing(1),
        Verdict(State.SCHEDULED, 0.0, cause="now"),
    ),
    (
        "what would be too old at its next try is dead now",
        FAILED,
        Policy(max_age=60, jitter=0.0),
        Standing(1, age_seconds=56),
        Verdict(State.DEAD, cause="older than 60 s: ValueError: no"),
    ),
    (
        "a cut is not charged and runs again at once",
        CUT,
        PLAIN,
        Standing(3, interruptions=5),
        Verdict(State.QUEUED, charged=False, cut=True, cause="drained"),
    ),
    (
        "the twentieth cut is death, with that cause",
        CUT,
        PLAIN,
        Standing(1, interruptions=MAX_INTERRUPTIONS - 1),
        Verdict(State.DEAD, charged=False, cut=True, cause="cut 20 times: drained"),
    ),
    (
        "what an operator interrupted is cancelled and not charged",
        Outcome(Ending.INTERRUPTED, error="cancelled while it ran", charge=False),
        PLAIN,
        Standing(3),
        Verdict(State.CANCELLED, charged=False, cause="cancelled while it ran"),
    ),
    (
        "with one attempt a cut is charged: never run twice is meant",
        CUT,
        Policy(max_attempts=1),
        Standing(1),
        Verdict(State.DEAD, cause="drained; max_attempts=1 forbids a second run"),
    ),
]


@pytest.mark.parametrize(
    ("outcome", "policy", "standing", "verdict"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_an_outcome_means_what_the_table_says(
    outcome: Outcome, policy: Policy, standing: Standing, verdict: Verdict
) -> None:
    """The design's table of endings, row by row."""
    assert judge(outcome, policy, standing) == verdict


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_attempts", 0),
        ("max_attempts", True),
        ("max_attempts", 2.0),
        ("concurrency", 0),
        ("concurrency", "2"),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", math.nan),
        ("timeout", math.inf),
        ("max_age", "1 h"),
        ("grace", -0.1),
        ("grace", None),
        ("first_wait", math.inf),
        ("longest_wait", math.nan),
        ("jitter", 1),
        ("jitter", -0.1),
    ],
)
def test_a_value_that_cannot_be_kept_is_a_fault_by_name(name: str, value: Any) -> None:
    """Each fault names the setting and the value."""
    (fault,) = Policy(**{name: value}).faults()
    assert name in fault
    assert repr(value) in fault


def test_all_faults_are_told_at_once() -> None:
    """Not the first one only."""
    assert len(Policy(max_attempts=0, timeout=-1, jitter=2, grace=-1).faults()) == 4


@given(policies)
def test_a_policy_travels_as_a_dictionary_and_a_newer_one_is_read_by_older_code(policy: Policy) -> None:
    """What this version does not know is left out."""
    assert policy.faults() == []
    assert Policy.from_dict(policy.as_dict() | {"of_tomorrow": 1}) == policy
