"""Laws of keeping: a source says for how long its deliveries and bodies are kept; what waits is never touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations import accept, act, refuse
from tests.plain_ledger import DISCARDED, Ledger, replay
from webspool.keep import prune
from webspool.keep.prune import DAY, Gone, Pruner, Retention
from webspool.ledger.refusals import Refusals


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger.db")
    yield made
    made.database.close()


def pruned(ledger: Ledger, retention: Retention = Retention()) -> Gone:  # noqa: B008
    """One whole round."""
    pruner, gone = Pruner(retention, ledger.path.parent / "bodies"), Gone()
    while not pruner.rests:
        with ledger.database.transaction(flush=False) as tx:
            bite = pruner.bite(tx)
        gone.bodies += bite.bodies
        gone.jobs += bite.jobs
        gone.deliveries += bite.deliveries
    return gone


def after(ledger: Ledger, days: float) -> dict[str, bytes | None]:
    """The bodies that are left so many days later, by source."""
    ledger.now += days * DAY
    pruned(ledger)
    return {row["source"]: row["body"] for row in ledger.seen().delivery}


def finished(ledger: Ledger, source: str, keep: list[float | None] | None = None) -> None:
    ledger.accept("free", source=source, **({} if keep is None else {"keep": keep}))
    ledger.run()


def test_a_source_keeps_its_deliveries_for_its_own_days(ledger: Ledger) -> None:
    """Shorter or longer than the instance's 30; the others as ever, with their jobs."""
    for source, keep in (("usual", None), ("short", [7.0, None]), ("long", [60.0, None])):
        finished(ledger, source, keep)
    assert after(ledger, 6.9).keys() == {"usual", "short", "long"}
    assert after(ledger, 0.2).keys() == {"usual", "long"}
    assert after(ledger, 24).keys() == {"long"}
    assert {job["source"] for job in ledger.seen().job} == {"long"}
    assert after(ledger, 30) == {}
    assert ledger.seen().job == []


def test_what_is_dead_goes_by_its_sources_days_too_and_what_waits_stays(ledger: Ledger) -> None:
    """Whoever asks for seven days means all of it; a job that has not ended is nobody's to delete."""
    ledger.accept("free", source="short", keep=[7.0, 1.0])
    ledger.run(DISCARDED)
    ledger.accept("free", source="waits", keep=[7.0, 1.0])
    assert after(ledger, 8) == {"waits": b"x"}
    assert [job["source"] for job in ledger.seen().job] == ["waits"]


def test_bodies_go_before_their_deliveries(ledger: Ledger) -> None:
    """The row stays and says how large it was; a file is named to be removed; an empty body has nothing to lose."""
    finished(ledger, "short", [None, 1.0])
    finished(ledger, "usual")
    ledger.accept("free", source="file", keep=[None, 1.0], body_file=True, body=b"")
    ledger.run()
    file = ledger.seen().delivery[-1]["id"]
    assert set(after(ledger, 0.9).values()) == {b"x", None}
    ledger.now += 0.2 * DAY
    assert pruned(ledger).bodies == [file]
    rows = {row["source"]: (row["body"], row["body_file"], row["body_size"]) for row in ledger.seen().delivery}
    assert (rows["short"], rows["usual"]) == ((None, 0, 1), (b"x", 0, 1))
    assert rows["file"][1] == 0
    assert pruned(ledger).bodies == []


def test_a_job_whose_body_is_gone_is_not_run_again(ledger: Ledger) -> None:
    """Not by an operator, not by a replay, not by the sender's next copy: it would run on nothing."""
    operation = accept("free", event_id="e", keep=[None, 1.0])
    (job,) = ledger.do(operation).values["jobs"]
    ledger.run(DISCARDED)
    after(ledger, 2)
    assert "no longer kept" in ledger.do(act("retry", job["id"])).values["done"][job["id"]]
    assert "no longer kept" in ledger.do(replay(operation.id, "j_again")).values["status"]
    again = ledger.do(accept("free", event_id="e")).values
    assert (again["status"], again["jobs"][0]["state"]) == ("duplicate", "dead")


def test_a_source_that_says_no_more_goes_back_to_the_usual(ledger: Ledger) -> None:
    """What holds is what its last webhook's process said."""
    finished(ledger, "short", [7.0, 1.0])
    finished(ledger, "short", [None, None])
    assert after(ledger, 8) == {"short": b"x"}
    assert ledger.seen().delivery[0]["body"] == b"x"


def test_event_keys_go_when_their_time_is_over_wherever_they_lie(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some keys a bite, of all sources; with the key goes that its event was seen, the delivery has its own days."""
    monkeypatch.setattr(prune, "KEYS_IN_A_BITE", 3)
    for source in ("a", "b", "c"):
        for number in range(4):
            ledger.accept("free", source=source, event_id=f"lasting-{number}", event_id_seconds=9 * DAY)
            ledger.accept("free", source=source, event_id=f"short-{number}", event_id_seconds=DAY)
    ledger.now += 2 * DAY
    pruned(ledger)
    left = [(row["source"], row["event_id"]) for row in ledger.seen().event_key]
    assert left == [(source, f"lasting-{number}") for source in ("a", "b", "c") for number in range(4)]
    ledger.now += 8 * DAY
    pruned(ledger)
    assert ledger.seen().event_key == []
    assert len(ledger.seen().delivery) == 24


def test_refusals_are_counted_by_source_and_cause(ledger: Ledger) -> None:
    """All of them, also those of which nothing is kept."""
    refusals = Refusals()
    refusals.add([refuse("signature_invalid")] * 250 + [refuse("unknown_source", source="")])
    with ledger.database.transaction(flush=False) as tx:
        refusals.flush(tx)
    counted = dict(ledger.database.connection.execute("SELECT name, value FROM counter WHERE name GLOB 'refused.*'"))
    assert counted == {"refused.github.signature_invalid": 250, "refused..unknown_source": 1}
