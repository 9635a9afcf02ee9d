"""Sentences that are made in English below the pages, and told in the visitor's language where their form is known."""

from __future__ import annotations

import re
from functools import cache

from webspool.dashboard.words import language, later, say


def retell(sentence: str, /) -> str:
    """The sentence in the visitor's language; as it is when it is of no known form, or long."""
    if language() == "en" or len(sentence) > LONGEST:
        return sentence
    for form, pattern in _patterns():
        if found := pattern.fullmatch(sentence):
            return say(form, **{name: retell(value) for name, value in found.groupdict().items()})
    return say(sentence)


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Each form with a pattern whose groups are its {names}; those that say the most themselves come first."""
    forms = sorted(FORMS, key=lambda form: -len(NAMES.sub("", form)))
    return [(form, re.compile(ESCAPED.sub(r"(?P<\1>.+?)", re.escape(form)), re.DOTALL)) for form in forms]


LONGEST = 2000
NAMES, ESCAPED = re.compile(r"{\w+}"), re.compile(r"\\{(\w+)\\}")

# What `webspool status` has under degraded, why an action was not done, what is wrong with a filter or an argument.
FORMS = (
    later("there is no ledger yet at {path}; the first start of the instance makes it"),
    later("nothing serves this ledger: jobs wait until an instance is started"),
    later("the keeper is down: every process writes the ledger directly"),
    later("the instance is draining: webspool drain was called, it begins no further job (webspool drain --undo)"),
    later("no spooler has come into its claim loop: jobs wait"),
    later("{n} files in {folder} are not webspool's and are left alone: {names}"),
    later("spooler {pid} rests: {why}"),
    later("the runner of spooler {pid} cannot import the app ({why}); the spooler {then}"),
    later("{waits} for the task {task}, which the running code does not know"),
    later("1 job waits"),
    later("{n} jobs wait"),
    later("the clock jumped {seconds} s {way} at {time}: waits go on by the time that passes"),
    later("the disk is low: {room} (WEBSPOOL_MIN_FREE_BYTES={floor}); output is cut short, old bodies go"),
    later("the disk is nearly full: {room} (WEBSPOOL_MIN_FREE_BYTES={floor}); webhooks are answered 503"),
    later("the spool {folder} is not there; the keeper makes it anew, where it can"),
    later("the spool {folder} cannot be read and written: a spooler that ends may not be replaced"),
    later("the disk of the ledger failed to write ({why}): nothing is accepted until the keeper has recovered it"),
    later("there is no ledger at {path}"),
    later("the ledger {path} cannot be written by user {user}"),
    later("the body of its delivery is no longer kept"),
    later("its body is no longer kept"),
    later("today's app has no source {source}"),
    later("nothing starts on {type} today"),
    later("{why}; if you know that it is its sender's: --vouch"),
    later("it does not fit today's secrets either ({cause})"),
    later("it was refused ({cause}) before its body was read"),
    later("of its body of {size} bytes only {kept} are kept"),
    later("{text} is no time; write 2026-01-31T12:00:00Z, or how long ago: 90s, 30m, 2h, 7d"),
    later("{text} is no time; write 2026-01-31T12:00:00Z"),
    later("{name} is longer than {n} letters"),
    later("{name} is a number from {low} to {high}"),
    later("{text} is no state; there are {states}"),
    later("{value} is no {kind}"),
    later("{value} is none of {choices}"),
    later("{value} is neither yes nor no"),
    later("it is no {kind}: {why}"),
    later("it is null"),
    later("it is needed"),
    later("they are no JSON: {why}"),
    later("they are no JSON object: {...}"),
    later("give at or delay, not both"),
    later("it is {state}"),
    later("There is no {kind} {id} in the ledger."),
    later("{id} is a {kind}; {hint}."),
    later("{id} cannot be {verb}: it is {state}."),
    later("The ledger {ledger} could not be written: {why}. Nothing was stored; try again."),
    later("The ledger {ledger} is not opened: {why}."),
)
# What may stand in them.
PARTS = (
    later("goes on with the code that it had"),
    later("runs nothing"),
    later("ahead"),
    later("back"),
    later("an event without a type"),
    later("done"),
    later("interrupting"),
    later("not_found"),
    later("paused already"),
    later("not paused"),
    later("job"),
    later("delivery"),
    later("refusal"),
    later("attempt"),
    later("what it was sent with as the secret is not kept, so that it cannot be checked again"),
    later("it only asks a question, which its sender has to ask again"),
)
