"""What the model is made of: the ledger, who asks it for what, and everything that is so at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

DEAD = -1
Id = tuple[int, int]
"""An attempt: the spooler that asked for it, and a number."""


class Disk(NamedTuple):
    """The ledger: how many deliveries the event has, and its job with the open attempt and whose it is."""

    deliveries: int = 0
    job: str = "none"
    attempt: Id | None = None
    owner: int = DEAD
    charged: int = 0
    closed: frozenset[Id] = frozenset()


class Operation(NamedTuple):
    """An accept of a worker's, or a spooler's turn: the end of one attempt, and the claim of another."""

    who: str
    number: int
    end: Id | None = None
    outcome: str = ""
    claim: Id | None = None


class Spooler(NamedTuple):
    """`phase`: free, asked, direct, ordered, calling. `end`: an attempt called and not recorded, with its outcome."""

    phase: str = "free"
    operation: Operation | None = None
    end: Id | None = None
    outcome: str = ""
    order: Id | None = None


class State(NamedTuple):
    """`flushing` is what the keeper's flush that is under way brings to the disk: what was committed when it began.
    `owed` is the answer that it has to give next, or after that flush; `behind` one that needs another flush.
    """

    now: Disk = Disk()
    flushed: Disk = Disk()
    keeper: str = "up"
    transaction: Operation | None = None
    owed: tuple[Operation, bool] | None = None
    behind: tuple[Operation, bool] | None = None
    flushing: Disk | None = None
    inbox: frozenset[tuple[Operation, bool]] = frozenset()
    workers: tuple[str, ...] = ("idle", "idle")
    spoolers: tuple[Spooler, ...] = (Spooler(), Spooler())
    crashes: int = 1
    stops: int = 1
    cuts: int = 1
    runs: int = 0
    done: bool = False
    excuses: int = 0


# ── attempts and their names ────────────────────────────────────────────────────────────────────────────────────────


def fresh(state: State, number: int) -> Id:
    known = set(_ids(state))
    return next((number, each) for each in range(99) if (number, each) not in known)


def _ids(state: State) -> Iterator[Id]:
    """Every attempt that anybody speaks of, in an order of its own."""
    operations = [each.operation for each in state.spoolers] + [state.transaction, state.owed and state.owed[0]]
    operations += [entry[0] for entry in sorted(state.inbox, key=str)]
    found = [disk.attempt for disk in (state.now, state.flushed, state.flushing) if disk is not None]
    found += [each for spooler in state.spoolers for each in (spooler.end, spooler.order)]
    found += [each for operation in operations if operation for each in (operation.end, operation.claim)]
    yield from (each for each in found if each is not None)


def renamed(state: State) -> State:
    """The same state, its attempts numbered as they are met: what they are called makes no other state.

    Closed attempts of which nobody speaks any more are forgotten.
    """
    names: dict[Id | None, Id | None] = {None: None}
    counts: dict[int, int] = {}
    for spooler, number in _ids(state):
        if (spooler, number) not in names:
            names[spooler, number] = (spooler, counts.get(spooler, 0))
            counts[spooler] = counts.get(spooler, 0) + 1
    closed = [disk.closed for disk in (state.now, state.flushed, state.flushing) if disk is not None]
    if all(old == new for old, new in names.items()) and not frozenset().union(*closed) - names.keys():
        return state

    def operation(each: Operation | None) -> Operation | None:
        return each and each._replace(end=names[each.end], claim=names[each.claim])

    def disk(each: Disk) -> Disk:
        closed = frozenset(name for old in each.closed if (name := names.get(old)))
        return each._replace(attempt=names[each.attempt], closed=closed)

    return state._replace(
        now=disk(state.now),
        flushed=disk(state.flushed),
        flushing=state.flushing and disk(state.flushing),
        transaction=operation(state.transaction),
        owed=state.owed and (operation(state.owed[0]), state.owed[1]),
        inbox=frozenset((operation(entry), late) for entry, late in state.inbox),
        spoolers=tuple(
            each._replace(operation=operation(each.operation), end=names[each.end], order=names[each.order])
            for each in state.spoolers
        ),
    )
