"""Every reachable state of the model, the laws that hold in each, and the way to one in which a law is broken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from chaos.model.life import FINAL, Life
from chaos.model.state import State, renamed

Law = Callable[[Life, State], bool]


def a_2xx_is_on_disk(life: Life, state: State) -> bool:
    """What a sender was told is stored, and would survive a power cut."""
    return "acked" not in state.workers or bool(state.now.deliveries and state.flushed.deliveries)


def an_event_is_accepted_once(life: Life, state: State) -> bool:
    """However many copies of it came."""
    return state.now.deliveries <= 1


def a_job_runs_in_one_place(life: Life, state: State) -> bool:
    """Never twice at the same time."""
    return sum(spooler.phase == "calling" for spooler in state.spoolers) <= 1


def it_runs_again_only_for_a_reason(life: Life, state: State) -> bool:
    """The attempt failed, its process was killed, or the power went; whatever became of the keeper is none."""
    return state.runs <= 1 + state.excuses


def attempts_are_counted_first(life: Life, state: State) -> bool:
    """So that a task which kills its process cannot loop; a power cut may take a count back."""
    return state.cuts < life.begin.cuts or state.runs <= state.now.charged <= life.most


def what_succeeded_was_done(life: Life, state: State) -> bool:
    """The end is recorded when the task has returned."""
    return state.now.job != "succeeded" or state.done


LAWS: tuple[Law, ...] = (
    a_2xx_is_on_disk,
    an_event_is_accepted_once,
    a_job_runs_in_one_place,
    it_runs_again_only_for_a_reason,
    attempts_are_counted_first,
    what_succeeded_was_done,
)
ENDS = "every_accepted_job_can_reach_its_end"


def is_good(state: State) -> bool:
    """Every copy was answered (or its worker killed), and the job of what was accepted has ended."""
    ended = not state.now.deliveries or not state.spoolers or state.now.job in ("succeeded", "dead")
    return ended and all(phase in FINAL for phase in state.workers)


@dataclass
class Explored:
    """What was found: how many states and moves, and if a law is broken, which, and the moves that lead there."""

    states: int = 0
    moves: int = 0
    broken: str | None = None
    way: list[str] = field(default_factory=list)


def explore(life: Life) -> Explored:
    """Breadth first, so that a way to a breach is a shortest one."""
    found = Explored()
    came: dict[State, tuple[State, str] | None] = {life.begin: None}
    before: dict[State, list[State]] = {}
    waiting = deque([life.begin])
    while waiting:
        state = waiting.popleft()
        if broken := next((law for law in LAWS if not law(life, state)), None):
            return Explored(len(came), found.moves, broken.__name__, _way(came, state))
        for fault, moves in ((False, life.moves(state)), (True, life.faults(state))):
            for told, after in moves:
                found.moves += 1
                after = renamed(after)
                if not fault:
                    before.setdefault(after, []).append(state)
                if after not in came:
                    came[after] = (state, told)
                    waiting.append(after)
    found.states = len(came)
    if stuck := next(iter(_never_good(came, before)), None):
        found.broken, found.way = ENDS, _way(came, stuck)
    return found


def _never_good(came: dict[State, tuple[State, str] | None], before: dict[State, list[State]]) -> list[State]:
    """The states from which no moves, with no further fault, lead to a good one; nearest first."""
    reached = {state for state in came if is_good(state)}
    waiting = list(reached)
    while waiting:
        for state in before.get(waiting.pop(), ()):
            if state not in reached:
                reached.add(state)
                waiting.append(state)
    return [state for state in came if state not in reached]


def _way(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    told: list[str] = []
    while (step := came[state]) is not None:
        state, move = step
        told.append(move)
    return told[::-1]
