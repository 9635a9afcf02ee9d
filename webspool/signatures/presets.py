"""The table of presets: every sender's row, and the schemes that a name spells out."""

from __future__ import annotations

from collections.abc import Mapping

from webspool.signatures.further_senders import FURTHER
from webspool.signatures.payment_senders import PAYMENTS
from webspool.signatures.scheme import Scheme
from webspool.signatures.senders import FIRST, Sender

SENDERS: tuple[Sender, ...] = (*FIRST, *FURTHER, *PAYMENTS)
PRESETS: Mapping[str, Scheme] = {sender.name: sender.scheme for sender in SENDERS}


def scheme_of(given: object) -> Scheme | None:
    """The scheme that `given` is or names: a preset, or "generic:HASH:ENCODING:PREFIX" in the header X-Signature."""
    if isinstance(given, Scheme):
        return given
    if not isinstance(given, str):
        return None
    return PRESETS.get(given) or _generic(given)


def _generic(name: str) -> Scheme | None:
    match name.split(":", 3):
        case ["generic", algorithm, encoding, prefix] if algorithm.startswith("sha"):
            scheme = Scheme(algorithm, encoding, prefix)
            return None if scheme.faults() else scheme
    return None
