"""Proofs: made, and compared in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

from webspool.signatures import keys

MAX_PUBLIC_TRIES = 8


def is_public(algorithm: str) -> bool:
    """Whether the algorithm is one of public keys."""
    return algorithm.startswith(("ed25519", "ecdsa", "rsa"))


def matches(algorithm: str, encoding: str, kind: str, secret: str, message: bytes, given: list[bytes]) -> bool:
    """Whether any of the proofs `given` is one of `secret` over `message`. Raises ValueError for a bad secret."""
    if is_public(algorithm):
        return any([public_fits(algorithm, encoding, kind, secret, message, text) for text in given[:MAX_PUBLIC_TRIES]])
    made = symmetric(algorithm, encoding, kind, secret, message)
    return made is not None and any_equal(given, made)


def public_fits(algorithm: str, encoding: str, kind: str, secret: str, message: bytes, given: bytes) -> bool:
    """Whether `given` is a signature of the key whose public half `secret` is. Raises ValueError for a bad secret."""
    from webspool.signatures import public_keys

    key = public_keys.public_key(algorithm, kind, secret)
    raw = decoded(given, encoding)
    return raw is not None and public_keys.verified(key, algorithm, raw, message)


def public_made(algorithm: str, kind: str, secret: str, message: bytes) -> bytes:
    """A signature with the private key that `secret` is. Raises ValueError when it is none."""
    from webspool.signatures import public_keys

    return public_keys.signature(public_keys.private_key(algorithm, kind, secret), algorithm, message)


def public_key_faults(algorithm: str, kind: str, secret: str) -> None:
    """Raises ValueError, without the secret, when it is no public key for this algorithm."""
    from webspool.signatures import public_keys

    public_keys.public_key(algorithm, kind, secret)


def any_equal(given: Iterable[bytes], made: bytes) -> bool:
    """Whether any is the same; all are compared, each in constant time."""
    found = False
    for text in given:
        found |= hmac.compare_digest(text, made)
    return found


def symmetric(algorithm: str, encoding: str, kind: str, secret: str, message: bytes) -> bytes | None:
    """The proof that both sides can make; None for an empty key."""
    if algorithm == "secret":
        return secret.encode("utf-8", "surrogatepass") or None
    if algorithm == "basic":
        return base64.b64encode(secret.encode("utf-8", "surrogatepass")) or None
    if algorithm.startswith("plain-"):
        return encoded(hashlib.new(algorithm[6:], message).digest(), encoding) if secret else None
    key = keys.decoded(kind, secret)
    return encoded(hmac.digest(key, message, algorithm), encoding) if key else None


def made(algorithm: str, encoding: str, kind: str, secret: str, message: bytes) -> bytes:
    """The sender's proof. Raises ValueError for a secret with which none can be made."""
    if is_public(algorithm):
        return encoded(public_made(algorithm, kind, secret, message), encoding)
    return symmetric(algorithm, encoding, kind, secret, message) or b""


def encoded(digest: bytes, encoding: str) -> bytes:
    """Bytes as "hex", "HEX", "base64" or "base64url" (unpadded)."""
    if encoding == "hex":
        return digest.hex().encode()
    if encoding == "HEX":
        return digest.hex().upper().encode()
    if encoding == "base64url":
        return base64.urlsafe_b64encode(digest).rstrip(b"=")
    return base64.b64encode(digest)


def decoded(text: bytes, encoding: str) -> bytes | None:
    """The bytes of a text in such an encoding; None when it is not in it."""
    try:
        if encoding in ("hex", "HEX"):
            return binascii.unhexlify(text)
        if encoding == "base64url":
            text = text.translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
