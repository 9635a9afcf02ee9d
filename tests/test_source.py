"""Laws of sources: which event starts which task, and what is wrong with a source before anything starts."""

from __future__ import annotations

import pytest

from webspool.policy import Policy
from webspool.signatures import PRESETS, Scheme
from webspool.source import Source
from webspool.task import Task


def made(name: str, function=lambda delivery: None) -> Task:
    return Task(function, name, Policy())


deploy, audit, alert, label = made("deploy"), made("audit"), made("alert"), made("label")


def source(**settings) -> Source:
    return Source("github", **({"verify": "github", "secrets": ["env:GITHUB_SECRET"]} | settings))


def named(tasks: list[Task]) -> list[str]:
    return [task.name for task in tasks]


@pytest.mark.parametrize(
    ("event_type", "started"),
    [
        ("push", ["deploy", "audit"]),
        ("pull_request.opened", ["label", "deploy", "audit"]),
        ("Push", ["audit"]),
        ("star", ["audit"]),
        (None, ["audit"]),
    ],
)
def test_every_pattern_that_matches_starts_its_tasks_once_in_the_tables_order(event_type, started):
    """Patterns are fnmatch over the type, and case matters."""
    table = {"push": deploy, "pull_*": [label, deploy], "*.opened": (deploy, label), "*": audit}
    assert named(source(on=table).tasks_for(event_type)) == started


@pytest.mark.parametrize(("event_type", "started"), [("push", ["deploy"]), ("star", ["alert"]), (None, ["alert"])])
def test_default_starts_what_no_other_pattern_took(event_type, started):
    """Wherever it stands in the table; an event type that is called DEFAULT is no pattern's business."""
    assert named(source(on={"DEFAULT": alert, "push": deploy}).tasks_for(event_type)) == started


def test_star_takes_every_event_so_that_default_gets_none():
    """`*` is a pattern like the others."""
    assert named(source(on={"*": audit, "DEFAULT": alert}).tasks_for("star")) == ["audit"]


def test_an_event_that_no_pattern_takes_starts_nothing():
    """Ignored, not refused."""
    assert source(on={"push": deploy, "?*": []}).tasks_for("star") == []
    assert source().tasks_for(None) == []


def test_a_source_stands_at_its_name_unless_told_otherwise():
    """The path may hold the key as its last segment."""
    assert source().path == "/hooks/github"
    assert not source().keyed
    keyed = Source("webhook", verify="key", secrets="env:WEBSPOOL_WEBHOOK_KEY", path="/webhook/<key>")
    assert keyed.keyed
    assert keyed.secrets == ("env:WEBSPOOL_WEBHOOK_KEY",)
    assert keyed.faults() == []


def test_a_key_is_looked_for_where_the_path_has_room_for_it():
    """Without <key> in the path the key is in the query, or missing."""
    assert Source("a", verify="key", secrets=["env:K"]).scheme.places == ("query:key", "query:token")
    assert Source("a", verify="key", secrets=["env:K"], path="/a/<key>").scheme.reads_path


def test_verify_must_be_said():
    """Closed by default: no source is open because somebody forgot a line."""
    with pytest.raises(TypeError, match="verify"):
        Source("open")  # type: ignore[call-arg]
    assert Source("open", verify="none").faults() == []


def test_a_whole_source_has_no_faults():
    """The example of the README."""
    assert source(on={"push": deploy, "*": [audit, alert]}).faults() == []
    assert source(verify=Scheme(), methods=["GET", "POST"], keep_days=0.5, max_body=10).faults() == []
    assert source().scheme is PRESETS["github"]


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"verify": "gihtub"}, "verify is 'gihtub', not a Scheme or one of github"),
        ({"verify": "no-such-thing"}, "not a Scheme or one of none, key, bearer, github"),
        ({"verify": None}, "verify is None"),
        ({"verify": Scheme("md5")}, "verify: the algorithm 'md5'"),
        ({"secrets": []}, 'needs secrets=["env:..."]'),
        ({"verify": "none"}, 'verify="none" looks at none'),
        ({"secrets": ["hunter2"]}, "secret 1 is not a reference; write env:NAME, file:PATH, credential:NAME"),
        ({"secrets": ["env:A", None]}, "secret 2 is not a reference"),
        ({"path": "hooks"}, "the path 'hooks'"),
        ({"path": "/hooks/<int:key>"}, "the path '/hooks/<int:key>'"),
        ({"path": "/a?b"}, "the path '/a?b'"),
        ({"path": "/webhook/<key>"}, "the path holds <key>"),
        ({"methods": ["post"]}, "the method 'post'"),
        ({"methods": []}, "methods is empty"),
        ({"redelivery": "maybe"}, "redelivery is 'maybe', not 'retry' or 'ignore'"),
        ({"payload": "json"}, "payload is 'json'"),
        ({"duplicates": "yes"}, "duplicates is 'yes', not 'event' or 'body'"),
        ({"duplicates_window": 0}, "duplicates_window is 0"),
        ({"event_id_days": True}, "event_id_days is True"),
        ({"allow": ["192.0.2.1/24"]}, "allow: '192.0.2.1/24' is an address with a mask; write 192.0.2.0/24"),
        ({"allow": []}, "allow is empty"),
        ({"rate": "often"}, "rate: write a number and second"),
        ({"max_body": 0}, "max_body is 0"),
        ({"keep_days": "30"}, "keep_days is '30'"),
        ({"event_type": "type"}, "event_type is 'type'"),
        ({"on": deploy}, "not a table"),
        ({"on": {1: deploy}}, "the pattern 1"),
        ({"on": {"push": print}}, "on['push']: print is not a task; decorate it with @task"),
        ({"on": {"push": ["deploy"]}}, "on['push']: 'deploy' is not a task"),
        ({"on": {"push": deploy.options(delay=5)}}, "on['push']: the task deploy has a time of its own"),
        ({"verify": Scheme("secret", places=("path",))}, "verify: places is ()"),
        ({"on": {"push": made("two", lambda a, b: None)}}, "on['push']: the task two"),
        ({"on": {"push": [deploy, made("zero", lambda: None)]}}, "on['push']: the task zero"),
    ],
)
def test_a_source_that_cannot_work_says_why(settings, hint):
    """Each fault names the source, and none shows a secret."""
    faults = source(**settings).faults()
    assert any(fault.startswith("source github: ") and hint in fault for fault in faults), faults
    assert "hunter2" not in "".join(faults)


@pytest.mark.parametrize("name", ["", "GitHub", "a b", "-a", "a/b", "é", "a" * 65, 7, None])
def test_a_sources_name_is_fit_for_an_address(name):
    """Lower-case and URL-safe."""
    assert any("the name" in fault for fault in Source(name, verify="none").faults())


def test_all_faults_are_told_at_once():
    """One start, every line to mend."""
    assert len(source(secrets=["a", "b"], payload="x", on={"a": 1}).faults()) == 4


def test_a_source_shows_no_secret():
    """Not even a literal: one, in a traceback or a log line."""
    assert "hunter2" not in repr(source(secrets=["literal:hunter2"]))
