"""Conditions on what starts a task: JMESPath over the payload, or a function of the delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import jmespath
from jmespath.exceptions import EmptyExpressionError, JMESPathError, ParseError
from jmespath.functions import Functions, signature
from jmespath.lexer import Lexer

from webspool.records import Delivery
from webspool.task import Task

Tasks = Task[Any, Any] | Sequence[Task[Any, Any]]
F = TypeVar("F", bound=Callable[..., Any])
COMPARATORS = frozenset({"eq", "ne", "lt", "lte", "gt", "gte"})


@dataclass(frozen=True, eq=False)
class Condition:
    """What a delivery must be like: a JMESPath expression over `delivery.data`, or a function of the delivery.

    An expression also has header('NAME'), query('NAME') and event_type(); it holds when it comes to anything but
    null, false, and what is empty.
    """

    asked: str | Callable[[Delivery], Any]

    def holds(self, delivery: Delivery) -> bool:
        """Whether the delivery is so. Raises whatever the function or the expression does."""
        if not isinstance(self.asked, str):
            return bool(self.asked(delivery))
        options = jmespath.Options(custom_functions=_Words(delivery))
        return not _is_false(self._expression.search(delivery.data, options=options))

    def __str__(self) -> str:
        return self.asked if isinstance(self.asked, str) else getattr(self.asked, "__qualname__", repr(self.asked))

    @cached_property
    def _expression(self) -> Any:
        return jmespath.compile(self.asked)

    def faults(self) -> Iterator[str]:
        """What is wrong with it, a sentence each."""
        if not isinstance(self.asked, str):
            if not callable(self.asked):
                yield f"the condition is {self.asked!r}, not a JMESPath text or a function of the delivery"
            return
        try:
            yield from _quoted(self.asked)
            yield from (f"the condition {self.asked!r}: {fault}" for fault in _calls(self._expression.parsed))
        except EmptyExpressionError:
            yield "the condition is empty"
        except ParseError as fault:
            at = fault.lex_position + 1
            yield f"the condition {self.asked!r} cannot be read from its character {at} on{_hint(fault)}"
        except JMESPathError as fault:
            yield f"the condition {self.asked!r}: {fault}"


@dataclass(frozen=True, eq=False)
class When:
    """Tasks that start only when a condition holds: what `when` makes."""

    condition: Condition
    tasks: Tasks


def when(condition: str | Callable[[Delivery], Any], tasks: Tasks) -> When:
    """In the table `on=` of a source: start `tasks` (one or a list) only for deliveries that are so.

    `condition` is a JMESPath expression over the payload, as "ref == 'refs/heads/main'", or a function of the
    `Delivery`. One that raises is told (happening `condition_failed`) and does not hold.
    """
    return When(Condition(condition), tasks)


def _signature(*arguments: dict[str, list[str]]) -> Callable[[F], F]:
    typed: Callable[[F], F] = signature(*arguments)
    return typed


class _Words(Functions):  # type: ignore[misc]
    """What an expression can ask of a delivery beside its payload."""

    def __init__(self, delivery: Delivery | None) -> None:
        self._delivery = delivery

    @_signature({"types": ["string"]})
    def _func_header(self, name: str) -> str | None:
        return None if self._delivery is None else self._delivery.headers.get(name)

    @_signature({"types": ["string"]})
    def _func_query(self, name: str) -> str | None:
        return None if self._delivery is None else self._delivery.query.get(name)

    @_signature()
    def _func_event_type(self) -> str | None:
        return None if self._delivery is None else self._delivery.event_type


def _is_false(value: Any) -> bool:
    """JMESPath's own truth: the number 0 is true."""
    return value is None or value is False or (isinstance(value, str | list | dict) and not value)


def _calls(node: Any) -> Iterator[str]:
    """Functions that are none, or are given too little or too much; JMESPath itself finds out when it is too late."""
    if isinstance(node, dict):
        if node.get("type") == "function_expression":
            yield from _call_faults(node["value"], len(node["children"]))
        yield from _calls(node.get("children", ()))
    elif isinstance(node, list | tuple):
        for each in node:
            yield from _calls(each)


def _call_faults(name: str, given: int) -> Iterator[str]:
    known = _Words.FUNCTION_TABLE.get(name)
    if known is None:
        yield f"there is no function {name}()"
        return
    wanted = known["signature"]
    variadic = bool(wanted) and wanted[-1].get("variadic")
    if given < len(wanted) or (given > len(wanted) and not variadic):
        yield f"{name}() takes {len(wanted)} argument{'' if len(wanted) == 1 else 's'}, not {given}"


def _quoted(expression: str) -> Iterator[str]:
    """Double quotes name a field in JMESPath: compared with one, `ref == "main"` would never hold."""
    before = None
    for token in Lexer().tokenize(expression):
        if before in COMPARATORS and token["type"] == "quoted_identifier":
            at, text = token["start"] + 1, token["value"]
            yield (
                f"the condition {expression!r} compares with a field called {text!r} at its character {at}; "
                f"text stands in single quotes: '{text}'"
            )
        before = token["type"]


def _hint(fault: ParseError) -> str:
    if str(fault.token_type).lower() == "number":
        return f": numbers stand in backticks, as `{fault.token_value}`"
    return f" ({fault.token_value})" if fault.token_value else ": it ends too soon"


def several(given: Any) -> tuple[Any, ...]:
    """One thing, or those of a list, a tuple or a set."""
    return tuple(given) if isinstance(given, list | tuple | set | frozenset) else (given,)


def flat(starts: Iterable[Any]) -> Iterator[tuple[Any, Condition | None]]:
    """Each task of a table's values with its condition, if it has one."""
    for each in starts:
        for start in several(each):
            if isinstance(start, When):
                yield from ((task, start.condition) for task in several(start.tasks))
            else:
                yield start, None
