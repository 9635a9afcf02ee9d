"""Where the model begins: small scenes that a test looks through in seconds, and the same with more faults.

With everything at once the states are too many; copies of a webhook and rivals for a job do not meet, so that each has
a scene of its own, and a third has the whole way.
"""

from __future__ import annotations

from chaos.model.life import Life
from chaos.model.state import Disk, Spooler, State

QUEUED = Disk(deliveries=1, job="queued")

COPIES = State(spoolers=())
RIVALS = State(now=QUEUED, flushed=QUEUED, workers=())
WHOLE_WAY = State(workers=("idle",), spoolers=(Spooler(),))


def _faults(begin: State, crashes: int, stops: int, cuts: int) -> State:
    return begin._replace(crashes=crashes, stops=stops, cuts=cuts)


SMALL = {
    "two copies, 2 crashes, a stop, a power cut": Life(_faults(COPIES, 2, 1, 1)),
    "two spoolers, 1 attempt, a crash": Life(_faults(RIVALS, 1, 0, 0), most=1),
    "one way through, 1 attempt, a crash": Life(_faults(WHOLE_WAY, 1, 0, 0), most=1),
}
LARGE = {
    "two copies, 3 crashes, 2 stops, 2 power cuts": Life(_faults(COPIES, 3, 2, 2)),
    "two spoolers, 2 attempts, a crash, a stop": Life(_faults(RIVALS, 1, 1, 0), most=2),
    "two spoolers, 1 attempt, a crash, a power cut": Life(_faults(RIVALS, 1, 0, 1), most=1),
    "one way through, 2 attempts, a crash, a stop, a power cut": Life(_faults(WHOLE_WAY, 1, 1, 1), most=2),
}
SHOWN_IN = {
    "commit_before_answer": "two copies, 2 crashes, a stop, a power cut",
    "accepts_are_flushed": "two copies, 2 crashes, a stop, a power cut",
    "what_was_there_is_flushed": "two copies, 2 crashes, a stop, a power cut",
    "ids_are_idempotent": "two copies, 2 crashes, a stop, a power cut",
    "deadline_under_the_lock": "one way through, 1 attempt, a crash",
    "counted_before_the_call": "one way through, 1 attempt, a crash",
    "called_before_the_end": "one way through, 1 attempt, a crash",
    "ghosts_are_closed": "one way through, 1 attempt, a crash",
    "the_dead_are_rescued": "one way through, 1 attempt, a crash",
}
"""The scene in which each rule is missed; in the first one found the way is short."""
