"""The dashboard's pages: what is in the ledger is found, shown as text and nothing else, and steered with a count."""

from __future__ import annotations

import html
import json
import re

import pytest

from tests.furnished import SUCCEEDED, failed
from tests.visitors import Visited, visited
from webspool.dashboard import deliveries
from webspool.ledger import reading
from webspool.ledger.reading import Filters
from webspool.policy import Policy
from webspool.records import State

__all__ = ["visited"]

EVIL = "<script>alert(1)</script>"


def shown_ids(page: str) -> list[str]:
    return re.findall(r'<tr id="([djr]_\w+)"', page)


# ── overview ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_overview_tells_how_the_instance_stands(visited: Visited) -> None:
    """Numbers by state, what is degraded, what happened, the newest of each kind."""
    visited.dead()
    visited.deliver("audit")
    visited.refuse()
    page = visited.operator().page()
    assert "the keeper is down" in page
    assert re.search(r"Dead</h2><p class=\"big\">1<", page)
    assert re.search(r"Waiting</h2><p class=\"big\">1<", page)
    assert "the longest for" in page
    assert "failed 1</span>" in page
    assert "accepted 1</span>" in page


@pytest.mark.parametrize("chosen", ["1h", "24h", "7d", "nonsense"])
def test_the_overview_looks_back_as_far_as_asked(visited: Visited, chosen: str) -> None:
    """What happened is found in each range; one that there is none of is the shortest."""
    visited.deliver("deploy")
    visited.run(SUCCEEDED)
    page = visited.operator().page(f"/?range={chosen}")
    assert "succeeded 1</span>" in page
    assert page.count('class="line p99" d="M') == 2


# ── jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_jobs_are_found_by_the_filters_of_the_commands(visited: Visited) -> None:
    """Each in the address, all together, and what was asked stands in the form again."""
    dead = visited.dead("ValueError: no such branch")
    waiting = visited.spool("audit", month=11)
    visitor = visited.operator()
    assert shown_ids(visitor.page("/jobs")) == [waiting, dead]
    assert shown_ids(visitor.page("/jobs?state=dead")) == [dead]
    assert shown_ids(visitor.page("/jobs?state=dead&state=queued")) == [waiting, dead]
    assert shown_ids(visitor.page("/jobs?task=audit")) == [waiting]
    assert shown_ids(visitor.page("/jobs?error=BRANCH")) == [dead]
    assert shown_ids(visitor.page("/jobs?text=month")) == [waiting]
    assert shown_ids(visitor.page("/jobs?since=2h&until=1h")) == []
    assert shown_ids(visitor.page("/jobs?since=1h")) == [waiting, dead]
    assert 'value="BRANCH"' in visitor.page("/jobs?error=BRANCH")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("since=yesterday", "no time; write 2026-01-31T12:00:00Z"),
        ("state=asleep", "is no state; there are"),
        ("limit=0", "limit is a number from 1"),
        ("after=x", "after is a number"),
        (f"error={'x' * 600}", "longer than 500 letters"),
    ],
)
def test_a_filter_that_cannot_be_read_is_shown_back_with_its_fault(visited: Visited, query: str, told: str) -> None:
    """And nothing is listed meanwhile: all would be the wrong answer."""
    visited.spool()
    answer = visited.operator().get(f"/jobs?{query}")
    assert answer.status_code == 400
    assert told in html.unescape(answer.text)
    assert shown_ids(answer.text) == []


def test_a_long_list_is_read_page_by_page(visited: Visited) -> None:
    """Each job once, newest first, whatever the filters, also when a page ends in the middle of what was searched."""
    jobs = [visited.spool("deploy", number=number) for number in range(7)]
    visitor = visited.operator()
    for narrowed in ("", "text=number&", "state=queued&", "source=none&"):
        seen, path = list[str](), f"/jobs?{narrowed}limit=3"
        while path:
            page = visitor.page(path)
            seen += shown_ids(page)
            more = re.search(r'href="/dashboard([^"]+)" rel="next"', page)
            path = html.unescape(more[1]) + "&limit=3" if more else ""
        assert seen == ([] if "source" in narrowed else jobs[::-1]), narrowed


def test_what_strangers_wrote_is_text(visited: Visited) -> None:
    """Markup in payloads, types, errors, arguments and output is shown, never made part of the page."""
    delivery = visited.deliver("deploy", event_type=EVIL, body=json.dumps({"a": EVIL}).encode())
    job = visited.run(failed(f"ValueError: {EVIL}"), Policy(max_attempts=1), output=EVIL.encode())
    spooled = visited.spool("audit", text=EVIL)
    visitor = visited.operator()
    for path in ("/", "/jobs", "/deliveries", f"/deliveries/{delivery}", f"/jobs/{job}", f"/jobs/{spooled}"):
        page = visitor.page(path)
        assert EVIL not in page, path
    assert html.escape(EVIL) in visitor.page(f"/jobs/{job}")


# ── one job ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_is_told_with_its_attempts_and_their_output(visited: Visited) -> None:
    """Each attempt can be chosen; the last one is shown."""
    job = visited.spool("deploy", month=11)
    visited.run(failed(), output=b"first try\n")
    visitor = visited.operator()
    page = visitor.page(f"/jobs/{job}")
    assert "ValueError: no such branch" in page
    assert "first try" in page
    assert "Traceback" in page
    assert "&#34;month&#34;: 11" in page
    assert "Begin now" in page
    assert visitor.get(f"/jobs/{job}/output?attempt=1").data == b"first try\n"
    assert visitor.get(f"/jobs/{job}/output?attempt=2").status_code == 404
    assert visitor.get("/jobs/j_1").status_code == 404


@pytest.mark.parametrize(
    "output",
    [
        b"\xff\xfe\x80 broken \xe2\x82",
        b"\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J\x1bPq#0\x1b\\ plain \x07\x08\x00",
        ("안녕" * 400_000).encode(),
        b"\n" * 100_000,
    ],
    ids=["invalid", "escapes", "large", "lines"],
)
def test_output_of_any_kind_is_shown_and_can_be_kept(visited: Visited, output: bytes) -> None:
    """A megabyte, broken letters, a terminal's commands: the page holds text, the download the very bytes."""
    job = visited.spool()
    visited.run(output=output)
    visitor = visited.operator()
    page = visitor.page(f"/jobs/{job}")
    assert len(page) < 600_000
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", page)
    assert visitor.get(f"/jobs/{job}/output?attempt=1").data == output
    kept = visitor.get(f"/jobs/{job}/output?attempt=1").headers
    assert kept["Content-Type"] == "application/octet-stream"
    assert kept["Content-Disposition"].startswith("attachment")


def test_output_comes_in_chunks_after_the_last_one_known(visited: Visited) -> None:
    """A letter that a chunk cuts in two arrives whole, in the later one; nothing is missed, nothing repeated."""
    job, order = visited.spool(), visited.begin()
    text = "가나다 €uro 👍 end"
    data = text.encode()
    visitor = visited.operator()
    path, got, after = f"/api/jobs/{job}/output", "", 0
    assert json.loads(visitor.page(path)) | {"chunks": []} == {
        "job": job, "state": "running", "error": None, "finished": False, "attempt": 1, "attempts": 1, "ended": False,
        "chunks": [], "after": 0, "more": False, "mark": "running 1 False",
    }  # fmt: skip
    for number, byte in enumerate(data, 1):
        visited.print(order["attempt"], number, bytes([byte]))
        if number % 3 == 0:
            told = json.loads(visitor.page(f"{path}?after={after}"))
            got, after = got + "".join(chunk["text"] for chunk in told["chunks"]), told["after"]
            assert after == number
            assert data.startswith(got.encode())
    visited.finish(order, SUCCEEDED)
    told = json.loads(visitor.page(f"{path}?after={after}"))
    assert got + "".join(chunk["text"] for chunk in told["chunks"]) == text
    assert told["ended"]
    assert told["finished"]
    assert visitor.get(f"{path}?after=x").status_code == 400
    assert visitor.get(f"{path}?attempt=9").status_code == 404


def test_what_holds_a_job_back_is_told_in_words(visited: Visited) -> None:
    """With the page where it is steered."""
    visited.call("act", {"verb": "pause", "actor": "anna", "names": ["task:deploy"]})
    held, unknown = visited.spool("deploy"), visited.spool("gone")
    visitor = visited.operator()
    assert re.search(r"The task deploy is paused\. <a href=\"/dashboard/tasks\">", visitor.page(f"/jobs/{held}"))
    assert "The running code does not know the task gone." in visitor.page(f"/jobs/{unknown}")
    assert re.search(r'<a href="/dashboard/tasks">task:deploy is paused by anna', visitor.page("/"))


# ── actions ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_several_jobs_are_acted_on_once_their_number_is_confirmed(visited: Visited) -> None:
    """The page in between does nothing."""
    jobs = [visited.dead() for _ in range(3)]
    visitor = visited.operator()
    asked = visitor.post("/jobs/act", {"verb": "retry", "id": jobs})
    assert asked.status_code == 200
    assert "Retry 3 jobs?" in asked.text
    assert [visited.state(job) for job in jobs] == ["dead"] * 3
    done = visitor.post("/jobs/act", {"verb": "retry", "id": jobs, "sure": "1", "spread": "0"})
    assert visitor.told(done) == "3 begin again."
    assert [visited.state(job) for job in jobs] == ["queued"] * 3


def test_all_that_match_are_acted_on_and_none_that_came_later(visited: Visited) -> None:
    """The number is told before, and what is confirmed is what was counted."""
    old = [visited.dead("KeyError: x") for _ in range(3)]
    other = visited.dead("ValueError: y")
    visitor = visited.operator()
    asked = visitor.post("/jobs/act", {"verb": "retry", "all": "1", "error": "keyerror", "state": "dead"})
    assert "Retry 3 jobs?" in asked.text
    upto = re.search(r'name="upto" value="(\d+)"', asked.text)
    assert upto is not None
    later = visited.dead("KeyError: x")
    sent = {"verb": "retry", "all": "1", "error": "keyerror", "state": "dead", "sure": "1", "upto": upto[1]}
    assert visitor.told(visitor.post("/jobs/act", sent)) == "3 begin again."
    assert [visited.state(job) for job in (*old, other, later)] == ["queued"] * 3 + ["dead"] * 2


def test_an_action_of_a_page_that_is_old_is_told_what_happened_meanwhile(visited: Visited) -> None:
    """Nothing is done a second time."""
    job = visited.spool()
    visited.run()
    visitor = visited.operator()
    told = visitor.told(visitor.post("/jobs/act", {"verb": "cancel", "id": job}))
    assert told == "1 left as they were: it is succeeded."
    assert visited.state(job) == "succeeded"
    gone = visitor.post("/jobs/act", {"verb": "retry", "id": "j_none"})
    assert "no longer there" in visitor.told(gone)
    assert visitor.told(visitor.post("/jobs/act", {"verb": "retry"})) == "Nothing was selected."
    assert visitor.post("/jobs/act", {"verb": "burn", "id": job}).status_code == 400


def test_waiting_jobs_are_cancelled_and_discarded(visited: Visited) -> None:
    """Each action is kept with who did it."""
    first, second = visited.spool(), visited.spool()
    visitor = visited.operator()
    visitor.post("/jobs/act", {"verb": "cancel", "id": first})
    visitor.post("/jobs/act", {"verb": "discard", "id": second, "sure": "1", "reason": "of no use"})
    assert visited.state(first) == State.CANCELLED
    assert visited.state(second) == State.DEAD
    assert "of no use" in visitor.page(f"/jobs/{second}")
    actors = {actor for (actor,) in visited.query("SELECT actor FROM action WHERE verb IN ('cancel', 'discard')")}
    assert actors == {"dashboard:operator"}


# ── deliveries ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_delivery_is_told_and_replayed(visited: Visited) -> None:
    """With its body as it reads best, as a command, and its jobs."""
    delivery = visited.deliver("audit", body=b'{"after":"abc","who":"\xeb\x82\x98"}')
    visitor = visited.operator()
    page = html.unescape(visitor.page(f"/deliveries/{delivery}"))
    assert '"who": "나"' in page
    assert "curl -X POST http://localhost/hooks/github -H 'Content-Type: application/json' --data-binary" in page
    done = visitor.post("/replay", {"id": delivery})
    assert visitor.told(done) == "1 replayed, 2 jobs begun."
    assert visitor.get(f"/deliveries/{delivery}/body").data == b'{"after":"abc","who":"\xeb\x82\x98"}'
    assert shown_ids(visitor.page("/deliveries?text=abc")) == [delivery]
    assert shown_ids(visitor.page("/deliveries?source=stripe")) == []


def test_a_refusal_is_told_with_its_cause_and_accepted_after_all(visited: Visited) -> None:
    """The operator vouches for it."""
    refusal = visited.refuse()
    visitor = visited.operator()
    assert shown_ids(visitor.page("/refusals?error=signature_invalid")) == [refusal]
    page = visitor.page(f"/refusals/{refusal}")
    assert "The proof does not fit the body and the secret." in page
    assert visitor.told(visitor.post("/replay", {"id": refusal})) == "1 replayed, 2 jobs begun."
    spoilt = visited.refuse("payload_too_large")
    assert "before its body was read" in visitor.told(visitor.post("/replay", {"id": spoilt}))


def test_all_webhooks_that_match_are_replayed_once_their_number_is_confirmed(
    visited: Visited, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oldest first, those that were counted; too many are not acted on."""
    found = [visited.deliver("deploy", event_type="push") for _ in range(3)]
    visited.deliver("deploy", source="gone", event_type="push")
    visited.deliver("audit", event_type="ping")
    visitor = visited.operator()
    form = {"all": "1", "kind": "delivery", "source": "github", "type": "push"}
    asked = visitor.post("/replay", form)
    assert "Replay 3 webhooks?" in asked.text
    assert re.findall(r'name="id" value="(d_\w+)"', asked.text) == found
    assert visitor.told(visitor.post("/replay", {"id": found, "spread": "60"})) == "3 replayed, 6 jobs begun."
    due = [job["due_at"] for job in reading.jobs(visited.config, Filters(states=(State.SCHEDULED,)))]
    assert len(due) == 4
    refusal = visited.refuse()
    asked = visitor.post("/replay", {"all": "1", "kind": "refusal", "source": "github"})
    assert re.findall(r'name="id" value="(r_\w+)"', asked.text) == [refusal]
    monkeypatch.setattr(deliveries, "AT_ONCE", 2)
    assert "More than 2 match" in visitor.told(visitor.post("/replay", form))
    assert "is no time" in html.unescape(visitor.told(visitor.post("/replay", form | {"since": "x"})))
