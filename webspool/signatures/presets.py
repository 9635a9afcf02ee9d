"""The table of presets: every sender's row, and the schemes that a name spells out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache

from webspool.signatures.further_senders import FURTHER
from webspool.signatures.media_senders import MEDIA
from webspool.signatures.payment_senders import PAYMENTS
from webspool.signatures.scheme import HMACS, Scheme
from webspool.signatures.senders import FIRST, Sender

SENDERS: tuple[Sender, ...] = (*FIRST, *FURTHER, *PAYMENTS, *MEDIA)
PRESETS: Mapping[str, Scheme] = {sender.name: sender.scheme for sender in SENDERS}
GENERIC = ("generic", "hmac")


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


KNOWN: Mapping[str, Scheme] = {
    _squeezed(name): sender.scheme for sender in SENDERS for name in (*sender.aliases, sender.name)
}


def scheme_of(given: object) -> Scheme | None:
    """The scheme that `given` is or names; None when it names none.

    A name is a preset's, one of its other names, in any case and with - or _ or nothing between its words; or
    "generic:HASH:ENCODING:PREFIX", an HMAC over the body in the header X-Signature, of which the last parts may be
    left out.
    """
    if isinstance(given, Scheme):
        return given
    return _named(given) if isinstance(given, str) else None


def near(name: object) -> list[str]:
    """The presets that somebody may have meant, the likeliest first."""
    written = {other: sender.name for sender in SENDERS for other in (*sender.aliases, sender.name)}
    found = get_close_matches(name.lower(), written, n=5, cutoff=0.6) if isinstance(name, str) else []
    return list(dict.fromkeys(written[each] for each in found))


@lru_cache(maxsize=256)
def _named(name: str) -> Scheme | None:
    return PRESETS.get(name) or _generic(name) or KNOWN.get(_squeezed(name))


def _generic(name: str) -> Scheme | None:
    kind, *parts = name.split(":", 3)
    if kind.lower() not in GENERIC:
        return None
    algorithm, encoding, prefix = (*parts, *("sha256", "hex", "")[len(parts) :])
    algorithm = algorithm.lower().removeprefix("hmac-").replace("sha-", "sha")
    scheme = Scheme(algorithm, encoding, prefix)
    return scheme if algorithm in HMACS and not scheme.faults() else None
