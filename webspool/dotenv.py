"""The `.env` file: one KEY=value a line, quotes and comments, no interpolation; every bad line told at once."""

from __future__ import annotations

import re

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def parse(text: str) -> tuple[dict[str, str], list[str]]:
    """The values of a `.env` text, and its faults, each naming its line.

    Unquoted values end at a ` #` comment and are stripped; 'single quotes' hold text as it stands; "double quotes"
    know the escapes \\n \\t \\" \\\\ and \\$.
    """
    values: dict[str, str] = {}
    first_seen: dict[str, int] = {}
    faults: list[str] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        try:
            pair = _pair(line.strip())
        except ValueError as fault:
            faults.append(f"line {number}: {fault}")
            continue
        if pair is None:
            continue
        key, value = pair
        if key in first_seen:
            faults.append(f"line {number}: {key} was given in line {first_seen[key]} already; keep one of them")
        first_seen.setdefault(key, number)
        values.setdefault(key, value)
    return values, faults


def _pair(line: str) -> tuple[str, str] | None:
    if not line or line.startswith("#"):
        return None
    key, equals, rest = line.removeprefix("export ").partition("=")
    if not equals:
        raise ValueError("this is no KEY=value")
    if not KEY.match(key):
        raise ValueError("the name before = must be letters, digits and _, with no space around the =")
    return key, _value(rest)


def _value(rest: str) -> str:
    if "\0" in rest:
        raise ValueError("there is a NUL character in the value")
    if rest[:1] in (" ", "\t"):
        raise ValueError("there is a space after the =; remove it, or quote the value")
    match rest[:1]:
        case "'":
            value, after = _single(rest[1:])
        case '"':
            value, after = _double(rest[1:])
        case _:
            return re.split(r"\s#", rest, maxsplit=1)[0].strip() if not rest.startswith("#") else ""
    if after.strip() and not after.lstrip().startswith("#"):
        raise ValueError("there is text after the closing quote")
    return value


def _single(rest: str) -> tuple[str, str]:
    value, quote, after = rest.partition("'")
    if not quote:
        raise ValueError("the closing ' is missing")
    return value, after


def _double(rest: str) -> tuple[str, str]:
    characters = iter(range(len(rest)))
    value = ""
    for at in characters:
        if rest[at] == '"':
            return value, rest[at + 1 :]
        if rest[at] != "\\":
            value += rest[at]
            continue
        escaped = rest[next(characters, at) : at + 2]
        if escaped not in ESCAPES:
            raise ValueError(f'\\{escaped} is no escape; in "double quotes" write \\\\ for a backslash')
        value += ESCAPES[escaped]
    raise ValueError('the closing " is missing')
