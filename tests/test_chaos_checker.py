"""The checker of `make chaos` is independent of webspool, and sees every kind of broken promise."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from chaos import checker
from chaos.checker import Evidence, judged

CHECKER = Path(checker.__file__)
TIME = "2026-01-01T00:00:0{}.000Z"
AT = checker._unix(TIME.format(0))

Facts = dict[str, Any]


def sent(event: str, order: str, at: float, status: int | None = 202, jobs: Sequence[str] = (), **facts: Any) -> Facts:
    answer = {
        "status": status,
        "delivery": f"d_{event}" if jobs else None,
        "jobs": list(jobs),
        "said": None,
        "cause": None,
    }
    return {"sent": at, "at": at + 0.1, "event": event, "order": order, "sha256": "x", **answer, **facts}


def ran(what: str, job: str, at: float, number: int = 1, **facts: Any) -> Facts:
    return {"what": what, "job": job, "at": at, "number": number, "event": job[2:], "sha256": "x", **facts}


def job(id: str, state: str = "succeeded", attempts: int = 1, error: str | None = None) -> Facts:
    return {"id": id, "task": id, "state": state, "attempts": attempts, "error": error}


def kill(who: str, pid: int, at: float) -> Facts:
    return {"what": "SIGKILL", "who": who, "pid": pid, "at": at, "time": AT + at}


def tried(number: int, error: str | None) -> Facts:
    about = {"number": number, "error": error, "charged": True, "outcome": "interrupted" if error else "succeeded"}
    return about | {"started_at": TIME.format(1), "ended_at": TIME.format(2)}


def good() -> Facts:
    """A run in which a spooler was killed, a job was tried again, another ended dead as ordered, and a probe came."""
    return {
        "sent": [
            sent("a", "quick", 0.0, jobs=["j_a"]),
            sent("a", "quick", 0.5, status=200, jobs=["j_a"], said="duplicate"),
            sent("b", "failing", 0.2, jobs=["j_b"]),
            sent("c", "quick", 0.3, status=503),
            sent("p", "probe", 3.0, jobs=["j_p"]),
        ],
        "effects": [
            ran("began", "j_a", 0.1),
            ran("began", "j_a", 2.0, 2),
            ran("done", "j_a", 2.1, 2),
            ran("began", "j_b", 0.3),
            ran("began", "j_p", 3.05),
            ran("done", "j_p", 3.2),
        ],
        "harm": [kill("spooler", 7, 1.5)],
        "orders": {
            "quick": {"limit": 2, "dead_by": None},
            "failing": {"limit": 1, "dead_by": "ordered to fail"},
            "probe": {"limit": 2, "dead_by": None},
        },
        "jobs": {
            "j_a": job("j_a", attempts=2),
            "j_b": job("j_b", "dead", error="1 of 1 attempts spent: ordered to fail"),
            "j_p": job("j_p"),
        },
        "deliveries": [{"id": f"d_{name}", "event_id": name, "jobs": [{"id": f"j_{name}"}]} for name in "abp"],
        "history": lambda job: [tried(1, "its spooler 7 was killed"), tried(2, None)],
    }


def test_what_is_good_is_kept() -> None:
    """The figures are counted, and no law complains."""
    found = judged(Evidence(**good()))
    assert found["breaches"] == []
    assert (found["requests"], found["events"], found["acked"], found["duplicates"]) == (5, 4, 3, 1)
    assert found["longest_recovery"] == pytest.approx(1.7)


def lose_a_delivery(facts: Facts) -> None:
    del facts["deliveries"][0], facts["jobs"]["j_a"]
    facts["effects"] = [line for line in facts["effects"] if line["job"] != "j_a"]


def store_twice(facts: Facts) -> None:
    facts["deliveries"].append({"id": "d_other", "event_id": "c", "jobs": []})
    facts["deliveries"].append({"id": "d_again", "event_id": "c", "jobs": []})


def leave_one_running(facts: Facts) -> None:
    facts["jobs"]["j_p"]["state"] = "running"


def do_nothing(facts: Facts) -> None:
    facts["effects"] = [line for line in facts["effects"] if (line["job"], line["what"]) != ("j_a", "done")]


def run_unknown(facts: Facts) -> None:
    facts["effects"].append(ran("began", "j_a", 1.0) | {"job": "j_unknown"})


def run_twice(facts: Facts) -> None:
    facts["effects"].append(ran("began", "j_p", 3.1))


def try_too_often(facts: Facts) -> None:
    facts["jobs"]["j_p"]["attempts"] = 3


def die_without_cause(facts: Facts) -> None:
    facts["jobs"]["j_p"] |= {"state": "dead", "error": "its process was killed by SIGKILL"}
    facts["history"] = lambda job: [tried(1, "its process was killed by SIGKILL")]


def accuse_the_innocent(facts: Facts) -> None:
    facts["history"] = lambda job: [tried(1, "its spooler 8 was killed"), tried(2, None)]


def answer_500(facts: Facts) -> None:
    facts["sent"][3]["status"] = 500


def promise_in_a_503(facts: Facts) -> None:
    facts["sent"][3]["delivery"] = "d_c"


def damage_the_ledger(facts: Facts) -> None:
    facts["integrity"] = "row 7 missing from index"


def never_recover(facts: Facts) -> None:
    facts["harm"].append(kill("keeper", 9, 3.1))


BROKEN: list[tuple[Callable[[Facts], None], Callable[[Evidence], Any]]] = [
    (lose_a_delivery, checker.what_was_acked_is_there_once),
    (store_twice, checker.an_event_is_stored_once),
    (leave_one_running, checker.every_job_has_ended),
    (do_nothing, checker.what_succeeded_took_effect),
    (run_unknown, checker.what_ran_is_in_the_ledger),
    (run_twice, checker.an_attempt_runs_once),
    (try_too_often, checker.attempts_keep_their_limit),
    (die_without_cause, checker.the_dead_have_a_cause),
    (accuse_the_innocent, checker.the_charged_were_killed),
    (answer_500, checker.answers_are_honest),
    (promise_in_a_503, checker.answers_are_honest),
    (damage_the_ledger, checker.the_ledger_is_whole),
    (never_recover, checker.it_recovers_by_itself),
]


@pytest.mark.parametrize(("breaking", "law"), BROKEN, ids=lambda each: each.__name__)
def test_each_law_sees_its_breach(breaking: Callable[[Facts], None], law: Callable[[Evidence], Any]) -> None:
    """And every law is broken by one of these."""
    facts = deepcopy(good())
    breaking(facts)
    assert any(breach.startswith(f"{law.__name__}: ") for breach in judged(Evidence(**facts))["breaches"])
    assert {law for _, law in BROKEN} == set(checker.LAWS)


def test_the_checker_imports_nothing_of_webspool() -> None:
    """Only the standard library; apsw in a process of its own."""
    imported = set()
    for node in ast.walk(ast.parse(CHECKER.read_text())):
        if isinstance(node, ast.Import):
            imported |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert not imported & {"webspool", "tests", "chaos", "apsw"}
