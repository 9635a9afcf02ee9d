"""How a sender proves itself, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from webspool.signatures import handshakes, keys
from webspool.signatures.algorithms import public_key_faults
from webspool.signatures.places import is_place, places_in
from webspool.signatures.template import Template, names_in, parsed

HMACS = ("sha1", "sha256", "sha384", "sha512")
PLAIN = tuple(f"plain-{name}" for name in HMACS)
SENT = ("secret", "basic")
PUBLIC = ("ed25519", "ecdsa-p256", "rsa-sha1", "rsa-sha256", "rsa-sha512", "rsa-pss-sha256")
JWTS = ("jwt-hs256", "jwt-hs512", "jwt-rs256", "jwt-ps256", "jwt-es256", "jwt-eddsa")
ALGORITHMS = ("none", *SENT, *HMACS, *PLAIN, *PUBLIC, *JWTS)
ENCODINGS = ("hex", "HEX", "base64", "base64url")
UNITS = ("s", "ms", "iso")
FIELDS = ("body", "method", "url", "decoded_url", "path", "query", "form", "time", "secret", "crc32")
WHOLE_BODY = frozenset({"body", "crc32", "form"})
PROOF_PLACE = '"header:NAME", "query:NAME", "body:FIELD", "other:FIELD" or "path"'


@dataclass(frozen=True)
class Scheme:
    """How a sender proves itself, and where it names its events.

    `algorithm` is "none"; "secret" (the secret itself is sent) or "basic" (as user:password in Base64); the hash of
    an HMAC, "sha1" to "sha512"; "plain-sha256" (a digest over text that holds the secret); a public key's "ed25519",
    "ecdsa-p256", "rsa-sha256", "rsa-pss-sha256"; or a token's "jwt-hs256" and the like. `encoding` ("hex", "HEX",
    "base64", "base64url") and `prefix` are how the proof is written.

    A place is "header:NAME", "query:NAME", "body:FIELD" (dots go deeper, * is every item) or "path" (the last
    segment); "other:FIELD" is the name of the body's first field that is not that one; "a|b" is the first of the two
    that holds something. `places` are where the proof may stand; `separator`
    says that the proof is a list, of which any item with the prefix may match. `event_id` and `event_type` name the
    event; a tuple of places is joined by dots.

    `signed` is what is signed: text with {body}, {method}, {url}, {decoded_url}, {path}, {query}, {form} (names and
    values in order), {header:NAME}, {body:FIELD}, {crc32} of the body, {time}, {secret}; [what stands in brackets] is
    left out when a field in it is absent. `key` says how the secret is written: "utf8", "base64", "hex", "whsec", or
    for public keys "pem" (also bare Base64 of the DER), "hex", "base64", "whpk".

    `time` is the place of the time of signing ("part:t" is an item of the list), `unit` "s", "ms" or "iso",
    `tolerance` seconds to either side of now; 0 means any. `digest` is the place of the body's SHA-256 in
    hexadecimal, for senders that sign an address only. `each` is a body field with a list, of which every item must
    be proven on its own. `handshake` names what the sender asks first; `status` answers a bad proof, `accepted_status`
    a webhook that was accepted, for senders that take no other for a success (204: without a body). `or_else` are
    further ways, any of which may prove. `certificate` is the place of a certificate's address, `hosts` regular
    expressions of which its host must match one.
    """

    algorithm: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""
    places: tuple[str, ...] = ("header:X-Signature",)
    event_id: str | tuple[str, ...] | None = None
    event_type: str | tuple[str, ...] | None = None
    signed: str = "{body}"
    key: str = "utf8"
    separator: str = ""
    time: str | None = None
    unit: str = "s"
    tolerance: float = 300
    digest: str | None = None
    each: str | None = None
    handshake: str | None = None
    status: int = 401
    accepted_status: int = 202
    or_else: tuple[Scheme, ...] = ()
    certificate: str | None = None
    hosts: tuple[str, ...] = ()

    @cached_property
    def ways(self) -> tuple[Scheme, ...]:
        """This scheme and the further ones."""
        return (self, *(way for other in self.or_else for way in other.ways))

    @cached_property
    def plain(self) -> bool:
        """Whether one header holds an HMAC over the raw body, and nothing else is asked."""
        usual = Scheme(self.algorithm, self.encoding, self.prefix, self.places, self.event_id, self.event_type)
        one_header = len(self.places) == 1 and self.places[0].startswith("header:") and "|" not in self.places[0]
        bare = replace(self, status=usual.status, accepted_status=usual.accepted_status)
        return self.algorithm in HMACS and one_header and bare == usual

    @cached_property
    def template(self) -> Template:
        """The parts of what is signed. Raises ValueError when `signed` cannot be read."""
        return parsed(self.signed)

    @property
    def needs_secret(self) -> bool:
        return self.algorithm != "none"

    @cached_property
    def sends_secret(self) -> bool:
        """Whether a request may hold the secret itself, so that its places must not be stored."""
        return any(way.algorithm in SENT for way in self.ways)

    @cached_property
    def secret_places(self) -> tuple[str, ...]:
        """Where a request may hold the secret itself."""
        return tuple(place for way in self.ways if way.algorithm in SENT for place in way.places)

    @cached_property
    def secret_headers(self) -> frozenset[str]:
        """The headers among them, in lower case."""
        return frozenset(place[7:].lower() for place in self.secret_places if place.startswith("header:"))

    @cached_property
    def covers_body(self) -> bool:
        """Whether the proof says that the body arrived whole."""
        return all(way.digest is not None or (way._is_signature and _covers(way)) for way in self.ways)

    @cached_property
    def reads_url(self) -> bool:
        """Whether the proof depends on the address as the sender knows it."""
        return any({"url", "decoded_url"} & set(names_in(way.template)) for way in self.ways)

    @cached_property
    def joins_types(self) -> bool:
        """Whether an event's type is put together from several places."""
        return any(isinstance(way.event_type, tuple) for way in self.ways)

    @property
    def captures(self) -> bool:
        """Whether the sender tells its secret in the handshake, so that a source may wait for it without one."""
        return not handshakes.CAPTURES.isdisjoint((self.handshake or "").split("+"))

    @property
    def asymmetric(self) -> bool:
        """Whether the secret is a public key, with which nothing can be signed."""
        return self.algorithm in PUBLIC or self.algorithm in ("jwt-rs256", "jwt-ps256", "jwt-es256", "jwt-eddsa")

    @property
    def _is_signature(self) -> bool:
        return self.algorithm not in ("none", *SENT, *JWTS)

    @property
    def reads_path(self) -> bool:
        """Whether the secret may be the address's last segment."""
        return any("path" in way.places for way in self.ways)

    def without_path(self) -> Self:
        """This scheme for an address that has no room for a key."""
        if not self.reads_path:
            return self
        kept = tuple(place for place in self.places if place != "path")
        return replace(self, places=kept, or_else=tuple(way.without_path() for way in self.or_else))

    def faults(self) -> list[str]:
        """What is wrong with this scheme, a sentence each."""
        found = [*self._name_faults(), *self._place_faults()]
        if not found:
            found = [*self._signed_faults(), *self._time_faults(), *self._answer_faults()]
        return found + [fault for other in self.or_else for fault in other.faults()]

    def secret_faults(self, secret: str) -> list[str]:
        """What is wrong with a secret for this scheme, a sentence each that does not show it."""
        if not self.needs_secret:
            return []
        found = [fault for way in self.ways if (fault := _secret_fault(way, secret)) is not None]
        return found[:1] if len(found) == len(self.ways) else []

    def _name_faults(self) -> list[str]:
        named = (("algorithm", self.algorithm, ALGORITHMS), ("encoding", self.encoding, ENCODINGS))
        return [
            f"the {what} {given!r} is none of {', '.join(known)}"
            for what, given, known in (*named, ("key", self.key, keys.KINDS), ("unit", self.unit, UNITS))
            if given not in known
        ]

    def _place_faults(self) -> list[str]:
        if self.needs_secret and (not self.places or isinstance(self.places, str)):
            return [f"places is {self.places!r}, not a tuple of places"]
        strange = [place for place in self._all_places() if not is_place(place)]
        return [f"the place {strange[0]!r} is not {PROOF_PLACE}"] if strange else []

    def _all_places(self) -> list[object]:
        named = [*places_in(self.event_id), *places_in(self.event_type)]
        others = [place for place in (self.digest, self.certificate) if place is not None]
        return [*self.places, *named, *others]

    def _signed_faults(self) -> list[str]:
        try:
            names = set(names_in(self.template))
        except ValueError as fault:
            return [str(fault)]
        found = [f"signed has {{{name}}}, which is no field" for name in sorted(names) if not _is_field(name)]
        if self.algorithm in PLAIN and "secret" not in names:
            found.append("a plain digest proves nothing unless signed holds {secret}")
        if "time" in names and self.time is None:
            found.append("signed holds {time}, but time has no place")
        return found

    def _time_faults(self) -> list[str]:
        found = []
        part = self.time is not None and self.time.startswith("part:")
        if self.time is not None and not part and not is_place(self.time):
            found.append(f'the time {self.time!r} is not a place or "part:NAME"')
        if part and not self.separator:
            found.append("time is a part of a list, but separator is empty")
        if not isinstance(self.tolerance, int | float) or self.tolerance < 0:
            found.append(f"tolerance is {self.tolerance!r}, not seconds from 0")
        return found

    def _answer_faults(self) -> list[str]:
        found = []
        if self.status not in range(200, 500):
            found.append(f"status is {self.status!r}, not 200 to 499; a 5xx makes senders try for days")
        if self.accepted_status not in range(200, 300):
            found.append(f"accepted_status is {self.accepted_status!r}, not 200 to 299; the sender would send again")
        if strange := [name for name in (self.handshake or "").split("+") if name and name not in handshakes.KNOWN]:
            found.append(f"the handshake {strange[0]!r} is none of {', '.join(handshakes.KNOWN)}")
        return found


def _is_field(name: str) -> bool:
    return name in FIELDS or name.startswith(("header:", "body:", "query:"))


def _covers(way: Scheme) -> bool:
    return not WHOLE_BODY.isdisjoint(names_in(way.template))


def _secret_fault(way: Scheme, secret: str) -> str | None:
    try:
        if way.asymmetric and way.certificate is None:
            public_key_faults(way.algorithm.removeprefix("jwt-"), way.key, secret)
        elif not keys.decoded(way.key if way.certificate is None else "utf8", secret):
            return "the secret is empty"
    except ValueError as fault:
        return str(fault)
    return None
