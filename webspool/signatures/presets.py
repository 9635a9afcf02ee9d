"""The table of presets: one row a sender."""

from __future__ import annotations

from collections.abc import Mapping

from webspool.signatures.scheme import Scheme

PRESETS: Mapping[str, Scheme] = {
    "none": Scheme("none", places=()),
    "key": Scheme("secret", places=("path", "query:key")),
    "bearer": Scheme("secret", prefix="Bearer ", places=("header:Authorization",)),
    "github": Scheme(
        "sha256",
        prefix="sha256=",
        places=("header:X-Hub-Signature-256",),
        event_id="header:X-GitHub-Delivery",
        event_type="header:X-GitHub-Event",
    ),
}


def scheme_of(given: object) -> Scheme | None:
    """The scheme that `given` is or names: a preset, or "generic:HASH:ENCODING:PREFIX" in the header X-Signature."""
    if isinstance(given, Scheme):
        return given
    if not isinstance(given, str):
        return None
    return PRESETS.get(given) or _generic(given)


def _generic(name: str) -> Scheme | None:
    match name.split(":", 3):
        case ["generic", algorithm, encoding, prefix]:
            scheme = Scheme(algorithm, encoding, prefix)
            return scheme if scheme.needs_secret and not scheme.sends_secret and not scheme.faults() else None
    return None
