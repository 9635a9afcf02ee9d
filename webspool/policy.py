"""A task's policy, and what an attempt's outcome means for its job. Pure: no clock, no I/O."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import msgspec

from webspool.records import Ending, Outcome, State

MAX_INTERRUPTIONS = 20


@dataclass(frozen=True, slots=True)
class Policy:
    """How a task is tried. Durations are seconds; None switches a limit off.

    `max_attempts` charged attempts, `timeout` until TimeLimitExceeded is raised inside the task, `grace` more until
    its process is killed; waits of `first_wait` doubling up to `longest_wait`, each varied by the fraction
    `jitter`; `max_age` after which a job is not tried again; `concurrency` jobs of the task at a time.
    """

    max_attempts: int = 20
    timeout: float | None = 600.0
    grace: float = 10.0
    first_wait: float = 5.0
    longest_wait: float = 3600.0
    jitter: float = 0.2
    max_age: float | None = None
    concurrency: int | None = None

    @property
    def limit(self) -> float:
        """The timeout; infinite where there is none."""
        return math.inf if self.timeout is None else self.timeout

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Policy:
        """The policy those values describe; names of another version are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    def faults(self) -> list[str]:
        """What is wrong with these values, a sentence each."""
        found = []
        if not _whole(self.max_attempts) or self.max_attempts < 1:
            found.append(f"max_attempts is {self.max_attempts!r}, not a whole number from 1")
        if self.concurrency is not None and (not _whole(self.concurrency) or self.concurrency < 1):
            found.append(f"concurrency is {self.concurrency!r}, not None or a whole number from 1")
        for name in ("timeout", "max_age"):
            value = getattr(self, name)
            if value is not None and not _positive(value):
                found.append(f"{name} is {value!r}, not None or a number of seconds over 0")
        for name in ("grace", "first_wait", "longest_wait"):
            if not _number(getattr(self, name)) or getattr(self, name) < 0:
                found.append(f"{name} is {getattr(self, name)!r}, not a number of seconds from 0")
        if not _number(self.jitter) or not 0 <= self.jitter < 1:
            found.append(f"jitter is {self.jitter!r}, not a fraction from 0 to below 1")
        return found


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def _positive(value: object) -> bool:
    return _number(value) and value > 0  # type: ignore[operator]


class Standing(msgspec.Struct, frozen=True):
    """What a job had behind it when the attempt ended.

    `attempts` are the charged ones of its current round, this one included; `interruptions` are the cuts before
    this one; `age_seconds` is counted from its creation.
    """

    attempts: int
    interruptions: int = 0
    age_seconds: float = 0.0


class Verdict(NamedTuple):
    """What the job becomes: its next state, the wait before it may run again, whether the attempt is charged."""

    state: State
    wait_seconds: float = 0.0
    charged: bool = True
    cut: bool = False
    cause: str | None = None


_SUCCEEDED, _DONE = Ending.SUCCEEDED, Verdict(State.SUCCEEDED)
"""Looked up once: Python 3.11 takes as long to find a member of an Enum as to make a record."""


def wait_seconds(policy: Policy, attempt: int, *, chance: Callable[[], float] = random.random) -> float:
    """The wait after the charged attempt of that number (from 1): doubling, capped, varied by the jitter."""
    wait = min(policy.first_wait * 2.0 ** min(attempt - 1, 60), policy.longest_wait)
    return wait * (1 + policy.jitter * (2 * chance() - 1))


def judge(
    outcome: Outcome, policy: Policy, standing: Standing, *, chance: Callable[[], float] = random.random
) -> Verdict:
    """What `outcome` means for the job; the only place where that is decided."""
    if outcome.ending is _SUCCEEDED:
        return _DONE
    match outcome:
        case Outcome(ending=Ending.DISCARDED):
            return Verdict(State.DEAD, cause=outcome.error)
        case Outcome(ending=Ending.INTERRUPTED, charge=False, cut=False):
            return Verdict(State.CANCELLED, charged=False, cause=outcome.error)
        case Outcome(cut=True):
            return _after_a_cut(outcome, policy, standing)
        case Outcome(ending=Ending.SNOOZED, charge=False):
            return _again(outcome, policy, standing, wait=outcome.after_seconds or 0.0, charged=False)
        case Outcome(after_seconds=float() | int() as after):
            return _again(outcome, policy, standing, wait=after, charged=True)
        case _:
            wait = wait_seconds(policy, standing.attempts, chance=chance)
            return _again(outcome, policy, standing, wait=wait, charged=True)


def _after_a_cut(outcome: Outcome, policy: Policy, standing: Standing) -> Verdict:
    if policy.max_attempts == 1 and outcome.charge:
        return Verdict(State.DEAD, cause=f"{outcome.error}; max_attempts=1 forbids a second run")
    if standing.interruptions + 1 >= MAX_INTERRUPTIONS:
        return Verdict(State.DEAD, charged=False, cut=True, cause=f"cut {MAX_INTERRUPTIONS} times: {outcome.error}")
    return Verdict(State.QUEUED, charged=False, cut=True, cause=outcome.error)


def _again(outcome: Outcome, policy: Policy, standing: Standing, *, wait: float, charged: bool) -> Verdict:
    if charged and standing.attempts >= policy.max_attempts:
        cause = f"{standing.attempts} of {policy.max_attempts} attempts spent: {outcome.error}"
        return Verdict(State.DEAD, cause=cause)
    if policy.max_age is not None and standing.age_seconds + wait > policy.max_age:
        return Verdict(State.DEAD, charged=charged, cause=f"older than {policy.max_age:g} s: {outcome.error}")
    return Verdict(State.SCHEDULED, max(wait, 0.0), charged=charged, cause=outcome.error)
