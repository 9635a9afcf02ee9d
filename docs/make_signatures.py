"""Writes docs/reference/signatures.md from the table of presets: `python docs/make_signatures.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from webspool.signatures.presets import SENDERS
from webspool.signatures.scheme import ALGORITHMS, ENCODINGS, FIELDS, Scheme
from webspool.signatures.senders import Sender

PAGE = Path(__file__).parent / "reference" / "signatures.md"

BEGIN = """# Signatures

<!-- Written by docs/make_signatures.py from the table of presets; change the table, not this page. -->

How a sender proves itself is data: a `Scheme`. A source names a preset, `verify="stripe"`, or holds a scheme of its
own, `verify=Scheme(...)`. One engine checks by it and signs by it: `webspool send SOURCE` sends what the sender
would.

```python
from webspool import Scheme, Source

acme = Scheme(
    algorithm="sha256",
    encoding="base64",
    prefix="v1=",
    places=("header:Acme-Signature",),
    separator=",",  # t=1700000000,v1=...,v1=...
    time="part:t",
    tolerance=300,
    signed="{time}.{body}",
    event_id="body:id",
    event_type="body:type",
)
source = Source("acme", verify=acme, secrets=["env:ACME_SECRET", "env:ACME_OLD_SECRET"])
```

Any of the source's `secrets` may match, so one is changed without a gap: add the new one, change it at the sender,
remove the old one. `tokens` are what a handshake compares: a verify token, a topic, an origin. A scheme or a secret
that cannot work is told at start. `verify="generic:sha256:hex:sha256="` is an HMAC over the raw body in the header
`X-Signature`, with this hash, encoding and prefix.

## Fields of a scheme

| field | default | |
|---|---|---|
"""

ABOUT = {
    "algorithm": "one of " + ", ".join(f"`{name}`" for name in ALGORITHMS),
    "encoding": "how the proof is written: " + ", ".join(f"`{name}`" for name in ENCODINGS),
    "prefix": "what stands before the proof",
    "places": "where the proof may stand",
    "event_id": "the place of the sender's own id; several are joined by dots",
    "event_type": "the place of the event's type; several are joined by dots",
    "signed": "what is signed: text with "
    + ", ".join(f"`{{{name}}}`" for name in FIELDS)
    + ", `{header:NAME}`, `{query:NAME}`, `{body:FIELD}`; `[...]` is left out when a field in it is absent",
    "key": "how the secret is written: `utf8`, `base64`, `base64url`, `hex`, `whsec`, `whpk`, `pem`",
    "separator": "the proof is a list, of which any item with the prefix may match",
    "time": "the place of the time of signing; `part:t` is an item of the list",
    "unit": "how it is written: `s`, `ms`, `iso`",
    "tolerance": "seconds to either side of now; 0 is any time",
    "digest": "the place of the body's SHA-256, for senders that sign an address only",
    "each": "a field with a list, of which every item must be proven on its own",
    "handshake": "what the sender asks first, and what is answered by itself",
    "status": "the answer to a proof that does not fit",
    "accepted_status": "the answer to an accepted webhook, for a sender that takes no other for a success",
    "or_else": "further schemes, any of which may prove",
    "certificate": "the place of the address of the certificate to check with",
    "hosts": "regular expressions, of which that address' host must match one",
}

MIDDLE = """
A place is `header:NAME`, `query:NAME`, `body:FIELD` (dots go deeper, `*` is every item of a list, a number one of
them; JSON or a form), `other:FIELD` (the name of the body's first field that is not that one) or `path` (the last
segment). `a|b` is the first that holds something.

For public keys the secret is the public key: PEM, a certificate, bare Base64, or as `key` says. A public key signs
nothing, so `webspool send` wants the private one: `--secret file:PATH`.

{url} is the address as the sender knows it: `WEBSPOOL_PUBLIC_URL` and the path; without that setting the `Host`
header is believed, with and without the usual port.

## Presets

A preset answers to its further names too, in any case and with `-`, `_` or nothing between words: `whatsapp`,
`standardwebhooks`, `SNS`. A type that is put together from several places (`issues` and `opened`: `issues.opened`) is
matched in `on=` whole or by its leading part: `issues`, `issues.*`, `issues.opened`.

An event without an id of its own, of a sender that signs a time, is known by the digest of both. *documentation
only*: built from what the sender documents, not yet held against something the sender made.

| preset | sender | proof | signed | window | event id | event type | handshake | secret | proven by |
|---|---|---|---|---|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    fields = "".join(f"| `{name}` | `{default!r}` | {ABOUT[name]} |\n" for name, default in defaults())
    return BEGIN + fields + MIDDLE + "".join(f"| {' | '.join(cells(sender))} |\n" for sender in SENDERS)


def defaults() -> Iterator[tuple[str, object]]:
    """Each field of a scheme with its default."""
    usual = Scheme()
    return ((name, getattr(usual, name)) for name in Scheme.__dataclass_fields__)


def cells(sender: Sender) -> Iterator[str]:
    """One row."""
    scheme = sender.scheme
    yield f"`{sender.name}`"
    yield sender.title + (f" (also {', '.join(f'`{name}`' for name in sender.aliases)})" if sender.aliases else "")
    yield "; or ".join(dict.fromkeys(proof(way) for way in scheme.ways)) if scheme.needs_secret else "none"
    signs = [
        way.signed
        for way in scheme.ways
        if way.algorithm not in ("none", "secret", "basic") and "jwt" not in way.algorithm
    ]
    yield "; or ".join(f"`{escaped(text)}`" for text in dict.fromkeys(signs)) or "nothing"
    yield f"{scheme.tolerance:g} s" if scheme.time and scheme.tolerance else "none"
    yield named(scheme.event_id)
    yield named(scheme.event_type)
    yield f"`{scheme.handshake}`" if scheme.handshake else ""
    yield sender.secret
    yield sender.proven


def signs_text(way: Scheme) -> bool:
    """Whether the proof is made over `signed`."""
    return way.algorithm not in ("none", "secret", "basic") and not way.algorithm.startswith("jwt")


def proof(way: Scheme) -> str:
    """Algorithm, encoding, prefix and place."""
    encoding = "" if way.algorithm in ("secret", "basic") or "jwt" in way.algorithm else f" {way.encoding}"
    prefix = f" `{escaped(way.prefix)}`" if way.prefix else ""
    return f"{way.algorithm}{encoding}{prefix} in {', '.join(f'`{escaped(place)}`' for place in way.places)}"


def named(places: str | tuple[str, ...] | None) -> str:
    """The places of a name."""
    given = (places,) if isinstance(places, str) else places or ()
    return " . ".join(f"`{escaped(place)}`" for place in given)


def escaped(text: str) -> str:
    """Text that does not end a table's cell."""
    return text.replace("|", "\\|").replace("\n", "\\n")


if __name__ == "__main__":
    PAGE.write_text(page())
