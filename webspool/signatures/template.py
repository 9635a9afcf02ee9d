"""What is signed, as text with fields in braces and optional groups in brackets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

TOKEN = re.compile(r"\{([^{}\[\]]+)\}|([\[\]])|([^{}\[\]]+)")


@dataclass(frozen=True, slots=True)
class Field:
    """A part that the request fills."""

    name: str


@dataclass(frozen=True, slots=True)
class Group:
    """Parts that are left out together when one of their fields is absent."""

    parts: Template


Template = tuple[bytes | Field | Group, ...]


@lru_cache(maxsize=256)
def parsed(text: str) -> Template:
    """The parts of a template. Raises ValueError when a brace or bracket has no other."""
    outer: list[bytes | Field | Group] = []
    inner: list[bytes | Field | Group] | None = None
    position = 0
    for token in TOKEN.finditer(text):
        if token.start() != position:
            break
        position = token.end()
        name, bracket, plain = token.groups()
        if bracket == "[" and inner is None:
            inner = []
        elif bracket == "]" and inner is not None:
            outer.append(Group(tuple(inner)))
            inner = None
        elif bracket:
            raise ValueError(f"signed is {text!r}: a bracket too many")
        else:
            (outer if inner is None else inner).append(Field(name) if name else plain.encode())
    if position != len(text) or inner is not None:
        raise ValueError(f"signed is {text!r}: a brace or bracket has no other")
    return tuple(outer)


def names_in(template: Template) -> Iterator[str]:
    """The fields that a template holds."""
    for part in template:
        if isinstance(part, Field):
            yield part.name
        elif isinstance(part, Group):
            yield from names_in(part.parts)


def filled(template: Template, value_of: Callable[[str], bytes | None]) -> bytes | None:
    """The template with its fields, or None when one outside of brackets is absent."""
    found: list[bytes] = []
    for part in template:
        if isinstance(part, Group):
            found.append(filled(part.parts, value_of) or b"")
            continue
        value = part if isinstance(part, bytes) else value_of(part.name)
        if value is None:
            return None
        found.append(value)
    return b"".join(found)
