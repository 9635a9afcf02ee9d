"""How a sender proves itself, as data."""

from __future__ import annotations

from dataclasses import dataclass

HASHES = ("sha1", "sha256", "sha512")
ALGORITHMS = ("none", "secret", *HASHES)
ENCODINGS = ("hex", "base64")


@dataclass(frozen=True)
class Scheme:
    """How a sender proves itself, and where it names its events.

    `algorithm` is "none", "secret" (the secret itself is sent) or the hash of an HMAC over the raw body: "sha1",
    "sha256", "sha512"; `encoding` ("hex", "base64") and `prefix` are how its digest is written. A place is
    "header:NAME", "query:NAME" or "path" (the last segment); `places` are where the proof may stand.
    """

    algorithm: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""
    places: tuple[str, ...] = ("header:X-Signature",)
    event_id: str | None = None
    event_type: str | None = None

    @property
    def needs_secret(self) -> bool:
        return self.algorithm != "none"

    @property
    def sends_secret(self) -> bool:
        """Whether a request holds the secret itself, so that its places must not be stored."""
        return self.algorithm == "secret"

    def faults(self) -> list[str]:
        """What is wrong with this scheme, a sentence each."""
        found = []
        if self.algorithm not in ALGORITHMS:
            found.append(f"the algorithm {self.algorithm!r} is none of {', '.join(ALGORITHMS)}")
        if self.encoding not in ENCODINGS:
            found.append(f"the encoding {self.encoding!r} is none of {', '.join(ENCODINGS)}")
        if self.needs_secret and (not self.places or isinstance(self.places, str)):
            found.append(f"places is {self.places!r}, not a tuple of places")
        elif strange := [place for place in self._all_places() if not _is_place(place)]:
            found.append(f'the place {strange[0]!r} is not "header:NAME", "query:NAME" or "path"')
        return found

    def _all_places(self) -> list[object]:
        return [*self.places, *(place for place in (self.event_id, self.event_type) if place is not None)]


def _is_place(place: object) -> bool:
    if not isinstance(place, str):
        return False
    kind, _, name = place.partition(":")
    return place == "path" or (kind in ("header", "query") and bool(name))
