"""Running a task by hand: what it takes, by its function's signature, and an order made of what somebody typed."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from webspool.errors import ArgumentsDoNotFit, UnparsableBody
from webspool.moments import read_due, read_length
from webspool.payloads import parse_json
from webspool.routing import flat
from webspool.sample import kind_of, method_of
from webspool.source import Source
from webspool.task import Options, SpoolRequest, Task, bound, not_json

WHOLE = re.compile(r"[+-]?\d{1,300}")
TRUE, FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
PASSED_ON = ("args", "kwargs")
SHORTEST_LINE = 3


class Kind(StrEnum):
    """What may be typed for a parameter."""

    TEXT = "text"
    INTEGER = "whole number"
    NUMBER = "number"
    TRUTH = "yes or no"
    CHOICE = "one of"
    LIST = "JSON list"
    OBJECT = "JSON object"
    ANY = "JSON or text"


PLAIN = {str: Kind.TEXT, int: Kind.INTEGER, float: Kind.NUMBER, bool: Kind.TRUTH, list: Kind.LIST, dict: Kind.OBJECT}
TYPES: Mapping[Kind, tuple[type, ...]] = {
    Kind.TEXT: (str,),
    Kind.INTEGER: (int,),
    Kind.NUMBER: (int, float),
    Kind.TRUTH: (bool,),
    Kind.LIST: (list,),
    Kind.OBJECT: (dict,),
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a task. `declared`: its kind is written down, not guessed from its default."""

    name: str
    kind: Kind
    required: bool
    default: Any = None
    choices: tuple[Any, ...] = ()
    nullable: bool = False
    declared: bool = True

    @property
    def shown_default(self) -> str:
        """What is taken when nothing is typed, as it would be typed."""
        if self.required:
            return ""
        if isinstance(self.default, str):
            return self.default
        try:
            return json.dumps(self.default)
        except (TypeError, ValueError):
            return repr(self.default)

    def read(self, text: str) -> Any:
        """The value that a text means here. Raises ValueError."""
        if self.nullable and text == "null":
            return None
        match self.kind:
            case Kind.TEXT:
                return text
            case Kind.INTEGER:
                if not WHOLE.fullmatch(text.strip()):
                    raise ValueError(f"{text!r} is no whole number")
                return int(text)
            case Kind.NUMBER:
                return _number(text)
            case Kind.TRUTH:
                return _truth(text)
            case Kind.CHOICE:
                return self._chosen(text)
            case _:
                return self._parsed(text)

    def _chosen(self, text: str) -> Any:
        for choice in self.choices:
            if text == (choice if isinstance(choice, str) else json.dumps(choice)):
                return choice
        raise ValueError(f"{text!r} is none of {', '.join(map(str, self.choices))}")

    def _parsed(self, text: str) -> Any:
        try:
            value = parse_json(text.encode("utf-8", "surrogatepass"), self.name)
        except UnparsableBody as fault:
            if self.kind is Kind.ANY:
                return text
            raise ValueError(f"it is no {self.kind}: {fault.why}") from None
        if why := self.fault_in(value):
            raise ValueError(why)
        return value

    def fault_in(self, value: Any) -> str | None:
        """Why a value is not of this kind, or None."""
        if value is None:
            return None if self.nullable or not self.required else "it is null"
        if self.kind is Kind.CHOICE:
            return None if value in self.choices else f"{value!r} is none of {', '.join(map(str, self.choices))}"
        types = TYPES.get(self.kind)
        fits = types is None or (isinstance(value, types) and (self.kind is Kind.TRUTH or not isinstance(value, bool)))
        return None if fits or not self.declared else f"{value!r} is no {self.kind}"


def _number(text: str) -> int | float:
    if WHOLE.fullmatch(text.strip()):
        return int(text)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no number")
    return value


def _truth(text: str) -> bool:
    if (word := text.strip().lower()) not in TRUE | FALSE:
        raise ValueError(f"{text!r} is neither yes nor no")
    return word in TRUE


# ── what a task takes ───────────────────────────────────────────────────────────────────────────────────────────


def parameters_of(task: Task[Any, Any]) -> tuple[Parameter, ...]:
    """The arguments that a task can be given by name, in their order."""
    return tuple(
        _parameter(each)
        for each in signature_of(task).parameters.values()
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    )


def takes_more(task: Task[Any, Any]) -> bool:
    """Whether the task takes arguments of any name (`**more`)."""
    return any(each.kind is each.VAR_KEYWORD for each in signature_of(task).parameters.values())


def takes_bytes(task: Task[Any, Any]) -> bool:
    """Whether the task is one of uwsgidecorators, called with one dictionary of texts."""
    return task.bare_returns and tuple(signature_of(task).parameters) != PASSED_ON


def sources_of(task: Task[Any, Any], sources: Iterable[Source]) -> list[Source]:
    """The sources whose events start the task: it is called with their deliveries."""
    return [each for each in sources if any(task.name == one.name for one, _ in flat(each.on.values()))]


def summary_of(task: Task[Any, Any]) -> str:
    """The first line of what the task's function says of itself."""
    text = (inspect.getdoc(task.function) or "").strip()
    line = next(iter(text.splitlines()), "")
    return line if len(line) >= SHORTEST_LINE else ""


def signature_of(task: Task[Any, Any]) -> inspect.Signature:
    """The signature with its annotations read, where they can be."""
    for evaluated in (True, False):
        try:
            return inspect.signature(task.function, eval_str=evaluated)
        except Exception:  # noqa: S112 - an annotation is any code of the user's; a builtin may have no signature
            continue
    return inspect.Signature([inspect.Parameter("arguments", inspect.Parameter.VAR_KEYWORD)])


def _parameter(given: inspect.Parameter) -> Parameter:
    required = given.default is given.empty
    default = None if required else given.default
    kind, choices, nullable = _declared(given.annotation)
    if kind is None:
        guessed = PLAIN.get(type(default), Kind.ANY)
        return Parameter(given.name, guessed, required, default, (), True, declared=False)
    return Parameter(given.name, kind, required, default, choices, nullable)


def _declared(annotation: Any) -> tuple[Kind | None, tuple[Any, ...], bool]:
    """The kind that an annotation names, its choices, and whether it may be None; no kind: it says nothing plain."""
    if get_origin(annotation) in (Union, UnionType):
        kinds = [each for each in get_args(annotation) if each is not NoneType]
        kind, choices, _ = _declared(kinds[0]) if len(kinds) == 1 else (Kind.ANY, (), False)
        return kind, choices, NoneType in get_args(annotation)
    if get_origin(annotation) is Literal and not any(map(not_json, get_args(annotation))):
        return Kind.CHOICE, get_args(annotation), None in get_args(annotation)
    plain = get_origin(annotation) or annotation
    return (PLAIN.get(plain) if isinstance(plain, type) else None), (), False


# ── an order ────────────────────────────────────────────────────────────────────────────────────────────────────


def order_of_texts(task: Task[Any, Any], texts: Mapping[str, str], options: Options) -> SpoolRequest:
    """An order with what was typed for each argument. Raises ArgumentsDoNotFit, `faults` of it by argument."""
    if takes_bytes(task):
        return SpoolRequest(task, "bytes", dict(texts), options)
    known = {each.name: each for each in parameters_of(task)}
    values, faults = dict[str, Any](), dict[str, str]()
    for name, text in texts.items():
        try:
            values[name] = known.get(name, Parameter(name, Kind.ANY, False)).read(text)
        except ValueError as fault:
            faults[name] = str(fault)
    return _ordered(task, values, options, faults)


def order_of_json(task: Task[Any, Any], text: str | bytes, options: Options) -> SpoolRequest:
    """An order whose arguments are a JSON object. Raises ArgumentsDoNotFit."""
    return order_of(task, json_object(text, task.name), options)


def json_object(text: str | bytes, task: str) -> dict[str, Any]:
    """Arguments that are written as a JSON object. Raises ArgumentsDoNotFit."""
    given = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        values = parse_json(given, task)
    except UnparsableBody as fault:
        raise ArgumentsDoNotFit(task=task, why=f"they are no JSON: {fault.why}") from None
    if not isinstance(values, dict):
        raise ArgumentsDoNotFit(task=task, why="they are no JSON object: {...}")
    return values


def order_of(task: Task[Any, Any], values: Mapping[str, Any], options: Options) -> SpoolRequest:
    """An order with these arguments. Raises ArgumentsDoNotFit."""
    if not takes_bytes(task):
        return _ordered(task, dict(values), options, {})
    faults = {name: f"{value!r} is no text" for name, value in values.items() if not isinstance(value, str)}
    if faults:
        raise _unfit(task, faults)
    return SpoolRequest(task, "bytes", dict(values), options)


def _ordered(task: Task[Any, Any], values: dict[str, Any], options: Options, faults: dict[str, str]) -> SpoolRequest:
    for each in parameters_of(task):
        if each.name in values and each.name not in faults and (fault := each.fault_in(values[each.name])):
            faults[each.name] = fault
        elif each.required and each.name not in values and each.name not in faults:
            faults[each.name] = "it is needed"
    if faults:
        raise _unfit(task, faults)
    return SpoolRequest(task, "keywords", bound(task, values), options)


def _unfit(task: Task[Any, Any], faults: Mapping[str, str]) -> ArgumentsDoNotFit:
    why = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
    return ArgumentsDoNotFit(task=task.name, why=why, faults=faults)


def options_of_texts(task: Task[Any, Any], texts: Mapping[str, str]) -> Options:
    """When and how, as typed: `at` a time, `delay` a length of time (90, 10m, 2h), `priority`, `key`.

    Raises ArgumentsDoNotFit, `faults` of it by option.
    """
    faults, given = dict[str, str](), dict[str, Any]()
    readers: dict[str, Callable[[str], Any]] = {"at": read_due, "delay": read_length, "priority": _priority, "key": str}
    for name, read in readers.items():
        if text := texts.get(name, "").strip():
            try:
                given[name] = read(text)
            except ValueError as fault:
                faults[name] = str(fault)
    if "at" in given and "delay" in given:
        faults["delay"] = "give at or delay, not both"
    if faults:
        raise _unfit(task, faults)
    return task.options(**given).options_given


def _priority(text: str) -> int:
    if not WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def webhook_of(source: Source, event_type: str | None, payload: bytes) -> dict[str, Any]:
    """A webhook of that source which nobody sent, without its body."""
    return {
        "source": source.name,
        "method": method_of(source),
        "url": source.path,
        "headers": [["Content-Type", kind_of(payload)]],
        "event_type": event_type,
    }
