"""Source: a named sender of webhooks, how it proves itself, and which event starts which task."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from webspool.addresses import Networks, networks
from webspool.answers import Answer
from webspool.rates import Rate
from webspool.records import Delivery, WebhookRequest
from webspool.routing import Condition, When, flat, several
from webspool.signatures import PRESETS, Scheme, methods_of, near, scheme_of
from webspool.task import Task, takes_one_delivery

LONGEST_ANSWER_SECONDS = 30.0
EVERY = "*"
DEFAULT = "DEFAULT"
KEY = "/<key>"
REFERENCES = ("env:", "file:", "credential:", "literal:")
REFERENCE_HINT = "write env:NAME, file:PATH, credential:NAME, or literal:... for a try"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

Start = Task[Any, Any] | When
Starts = Start | Sequence[Start]


@dataclass(frozen=True, eq=False)
class Source:
    """A named sender of webhooks: its path, its signature scheme and secrets, and which event starts which task.

    `path` is /hooks/<name> unless given; a last segment "<key>" holds the secret of verify="key". `verify` is a
    preset's name or a Scheme, `secrets` references (env:NAME, file:PATH, credential:NAME, literal:...), of which any
    may match; `tokens` are references to what a handshake compares: a verify token, a topic. `on` maps patterns over
    the event type to a task or a list of tasks: "*" is every event, also one without a type, DEFAULT what no other
    pattern took; of a joined type ("issues.opened") the leading part is matched too ("issues"). `when` is a condition
    on all of it, as `when(condition, task)` is on one entry. `redelivery="retry"` runs a dead job again when its
    event is sent once more, "ignore" does not. An event's id keeps copies out for `event_id_days`; where the sender
    gives none, `duplicates="body"` takes the same query and body within `duplicates_window` seconds for a copy.
    `payload="auto"` refuses a body that says it is JSON and is not, "raw" takes any. `event_type(request)` names
    the event where the sender does not. `allow` are the addresses and networks from which it may come, `rate` how
    often, as "100/minute". `answer` is what the sender hears once a webhook is stored, or a function of the
    delivery that is asked for it and gets `answer_seconds`; `answer_fallback` is for when that is late or fails.
    `max_body` is in bytes, `keep_days` and `keep_body_days` are days; None means the instance's own.
    """

    name: str
    _: KW_ONLY
    verify: str | Scheme
    path: str = ""
    secrets: Sequence[str] = field(default=(), repr=False)
    tokens: Sequence[str] = field(default=(), repr=False)
    on: Mapping[str, Starts] = field(default_factory=dict)
    when: str | Callable[[Delivery], Any] | None = None
    methods: Sequence[str] = ("POST",)
    redelivery: str = "retry"
    event_id_days: float = 30.0
    duplicates: str = "event"
    duplicates_window: float = 3600.0
    payload: str = "auto"
    event_type: Callable[[WebhookRequest], str | None] | None = None
    allow: Sequence[str] | None = None
    rate: str | None = None
    answer: Answer | Callable[[Delivery], Any] | None = None
    answer_seconds: float = 2.0
    answer_fallback: Answer | None = None
    max_body: int | None = None
    keep_days: float | None = None
    keep_body_days: float | None = None
    encrypt: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", str(self.path or f"/hooks/{self.name}"))
        object.__setattr__(self, "secrets", several(self.secrets))
        object.__setattr__(self, "tokens", several(self.tokens))
        object.__setattr__(self, "methods", several(self.methods))
        object.__setattr__(self, "allow", None if self.allow is None else several(self.allow))

    @property
    def keyed(self) -> bool:
        """Whether the path's last segment is the secret."""
        return self.path.endswith(KEY)

    @cached_property
    def scheme(self) -> Scheme:
        """The scheme that `verify` is or names, as far as this path can serve it. Raises ValueError without one."""
        scheme = scheme_of(self.verify)
        if scheme is None:
            raise ValueError(f"source {self.name}: verify is {self.verify!r}, which is no scheme")
        return scheme if self.keyed else scheme.without_path()

    @cached_property
    def asking(self) -> frozenset[str]:
        """The methods by which the sender may ask its handshake's question."""
        return methods_of(self.scheme.handshake)

    @cached_property
    def networks(self) -> Networks | None:
        """From where it may come; None: from anywhere. Raises ValueError."""
        return None if self.allow is None else networks(self.allow)

    @cached_property
    def limit(self) -> Rate | None:
        """How often it may come. Raises ValueError."""
        return None if self.rate is None else Rate.of(self.rate)

    @cached_property
    def calls_code(self) -> bool:
        """Whether a function of the user's is asked before the webhook is stored."""
        conditions = [self.when, *(condition and condition.asked for _, condition in flat(self.on.values()))]
        return self.event_type is not None or any(callable(each) for each in conditions)

    @cached_property
    def conditional(self) -> bool:
        """Whether more than the event's type decides what starts."""
        return self.when is not None or any(condition is not None for _, condition in flat(self.on.values()))

    def event_key(self, named: str | None, query: str, body_sha256: str) -> tuple[str | None, float]:
        """What tells the event from others, and for how many seconds a second one with it is a copy of the first."""
        if named is None and self.duplicates == "body":
            digest = hashlib.sha256(f"{body_sha256}?{query}".encode("utf-8", "surrogatepass")).hexdigest()
            return f"body-{digest}", self.duplicates_window
        return named, self.event_id_days * 86400

    def tasks_for(self, event_type: str | None) -> list[Task[Any, Any]]:
        """The tasks that an event of this type may start, each once, in the table's order."""
        return list({task.name: task for task, _ in flat(self._taken(event_type))}.values())

    def chosen(self, delivery: Delivery) -> Chosen:
        """The tasks that this delivery starts: those for its type whose conditions hold."""
        asked = _Asked(delivery)
        if self.when is not None and not asked.holds(self._condition):
            return Chosen([], asked.failed)
        found: dict[str, Task[Any, Any]] = {}
        for task, condition in flat(self._taken(delivery.event_type)):
            if task.name not in found and (condition is None or asked.holds(condition)):
                found[task.name] = task
        return Chosen(list(found.values()), asked.failed)

    @cached_property
    def _condition(self) -> Condition:
        assert self.when is not None
        return Condition(self.when)

    def _taken(self, event_type: str | None) -> list[Starts]:
        names = self._names_of(event_type)
        taken = [starts for pattern, starts in self.on.items() if _takes(pattern, names)]
        return [self.on[DEFAULT]] if not taken and DEFAULT in self.on else taken

    def _names_of(self, event_type: str | None) -> list[str]:
        """What a pattern may match: the type, and of a joined one ("issues.opened") its parts from the first on."""
        if event_type is None or not self.scheme.joins_types:
            return [] if event_type is None else [event_type]
        parts = event_type.split(".")
        return [".".join(parts[: end + 1]) for end in range(len(parts))]

    def faults(self) -> list[str]:
        """What is wrong with this source, a sentence each."""
        found = [*self._address_faults(), *self._verify_faults(), *self._setting_faults(), *self._routing_faults()]
        return [f"source {self.name}: {fault}" for fault in found]

    def _address_faults(self) -> Iterable[str]:
        if not isinstance(self.name, str) or not re.fullmatch(r"[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?", self.name):
            yield f"the name {self.name!r} is not 1 to 64 of a-z, 0-9, - and _, with a letter or digit at both ends"
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", self.path.removesuffix(KEY)):
            yield f'the path {self.path!r} is not like "/hooks/name" or "/hooks/name/<key>"'
        if self.keyed and (scheme := scheme_of(self.verify)) is not None and not scheme.reads_path:
            yield f'the path holds <key>, which verify={self.verify!r} does not look at; use verify="key"'
        if strange := [method for method in self.methods if method not in METHODS]:
            yield f"the method {strange[0]!r} is none of {', '.join(METHODS)}"
        if not self.methods:
            yield "methods is empty, so nothing can be sent"

    def _verify_faults(self) -> Iterable[str]:
        if scheme_of(self.verify) is None:
            yield f"verify is {self.verify!r}, not a Scheme or one of {', '.join(near(self.verify) or PRESETS)}"
            return
        scheme = self.scheme
        yield from (f"verify: {fault}" for fault in scheme.faults())
        if scheme.needs_secret and not self.secrets and not scheme.captures:
            yield f'verify={self.verify!r} needs secrets=["env:..."]; to take anything from anybody say verify="none"'
        if not scheme.needs_secret and self.secrets:
            yield 'secrets are given, but verify="none" looks at none'
        for what, references in (("secret", self.secrets), ("token", self.tokens)):
            for number, reference in enumerate(references, 1):
                if not isinstance(reference, str) or not reference.startswith(REFERENCES):
                    yield f"{what} {number} is not a reference; {REFERENCE_HINT}"
        if self.tokens and scheme.handshake is None:
            yield f"tokens are given, but verify={self.verify!r} has no handshake that compares one"

    def _setting_faults(self) -> Iterable[str]:
        words = {"redelivery": ("retry", "ignore"), "duplicates": ("event", "body"), "payload": ("auto", "raw")}
        for setting, allowed in words.items():
            if getattr(self, setting) not in allowed:
                yield f"{setting} is {getattr(self, setting)!r}, not {' or '.join(map(repr, allowed))}"
        for setting in ("max_body", "keep_days", "keep_body_days"):
            value = getattr(self, setting)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
                yield f"{setting} is {value!r}, not None or a number over 0"
        for setting in ("duplicates_window", "event_id_days"):
            value = getattr(self, setting)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                yield f"{setting} is {value!r}, not a number over 0"
        for setting, read in (("allow", lambda: self.networks), ("rate", lambda: self.limit)):
            try:
                read()
            except ValueError as fault:
                yield f"{setting}: {fault}"
        if self.allow == ():
            yield "allow is empty, so nobody may send; leave it out to let everybody"
        yield from self._answer_faults()
        if self.event_type is not None and not callable(self.event_type):
            yield f"event_type is {self.event_type!r}, not a function of the request"

    def _answer_faults(self) -> Iterable[str]:
        for setting, given in (("answer", self.answer), ("answer_fallback", self.answer_fallback)):
            if isinstance(given, Answer):
                yield from (f"{setting}: {fault}" for fault in given.faults())
            elif given is not None and (setting != "answer" or not callable(given)):
                also = " or a function of the delivery" if setting == "answer" else ""
                yield f"{setting} is {given!r}, not an Answer(...){also}"
        if not isinstance(self.answer_seconds, int | float) or not 0 < self.answer_seconds <= LONGEST_ANSWER_SECONDS:
            yield f"answer_seconds is {self.answer_seconds!r}, not over 0 and at most {LONGEST_ANSWER_SECONDS:g}"
        if self.answer_fallback is not None and not callable(self.answer):
            yield "answer_fallback is given, but answer is no function that could be late or fail"

    def _routing_faults(self) -> Iterable[str]:
        if self.when is not None:
            yield from (f"when: {fault}" for fault in self._condition.faults())
        if not isinstance(self.on, Mapping):
            yield f"on is {self.on!r}, not a table of event types and tasks"
            return
        for pattern, starts in self.on.items():
            if not isinstance(pattern, str):
                yield f"on has the pattern {pattern!r}, which is not text"
            for task, condition in flat([starts]):
                if fault := _unfit(task):
                    yield f"on[{pattern!r}]: {fault}"
                if condition is not None:
                    yield from (f"on[{pattern!r}]: {fault}" for fault in condition.faults())


@dataclass(frozen=True, slots=True)
class Chosen:
    """The tasks that a delivery starts, and the conditions that could not be asked: (condition, fault)."""

    tasks: list[Task[Any, Any]]
    failed: list[tuple[str, str]]


class _Asked:
    """Asks each condition once; one that raises does not hold."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._answers: dict[Condition, bool] = {}
        self.failed: list[tuple[str, str]] = []

    def holds(self, condition: Condition) -> bool:
        if condition not in self._answers:
            self._answers[condition] = self._ask(condition)
        return self._answers[condition]

    def _ask(self, condition: Condition) -> bool:
        try:
            return condition.holds(self._delivery)
        except Exception as fault:  # the user's condition; what it trips over was sent by a stranger
            self.failed.append((str(condition), f"{type(fault).__name__}: {fault}"))
            return False


def _takes(pattern: str, names: Sequence[str]) -> bool:
    if pattern == EVERY:
        return True
    return pattern != DEFAULT and any(fnmatchcase(name, pattern) for name in names)


def _unfit(task: object) -> str | None:
    if isinstance(task, Task):
        if task.options_given.due_at is not None:
            return f"the task {task.name} has a time of its own, which would be the same for every delivery"
        return takes_one_delivery(task)
    hint = "; decorate it with @task" if callable(task) else ""
    return f"{getattr(task, '__name__', repr(task))} is not a task{hint}"
