"""Proofs: made, and compared in constant time. One function for each kind of algorithm, both ways."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from webspool.signatures import keys

MAX_PUBLIC_TRIES = 8
HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - what Amazon SNS signs with unless told otherwise
    "sha256": hashes.SHA256(),
    "sha512": hashes.SHA512(),
}


def matches(algorithm: str, encoding: str, kind: str, secret: str, message: bytes, given: list[bytes]) -> bool:
    """Whether any of the proofs `given` is one of `secret` over `message`. Raises ValueError for a bad secret."""
    if algorithm.startswith(("ed25519", "ecdsa", "rsa")):
        key = keys.public_key(algorithm, kind, secret)
        tried = given[:MAX_PUBLIC_TRIES]
        return any([verified(key, algorithm, raw, message) for raw in map(_raw(encoding), tried) if raw is not None])
    made = symmetric(algorithm, encoding, kind, secret, message)
    return made is not None and any_equal(given, made)


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
    if algorithm.startswith(("ed25519", "ecdsa", "rsa")):
        return encoded(signature(keys.private_key(algorithm, kind, secret), algorithm, message), encoding)
    return symmetric(algorithm, encoding, kind, secret, message) or b""


def signature(key: Any, algorithm: str, message: bytes) -> bytes:
    """A private key's signature."""
    if algorithm in ("ed25519", "eddsa"):
        return bytes(key.sign(message))
    if algorithm in ("ecdsa-p256", "es256"):
        return bytes(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return bytes(key.sign(message, _padding(algorithm), _hash(algorithm)))


def verified(key: Any, algorithm: str, given: bytes, message: bytes) -> bool:
    """Whether a signature is the public key's."""
    try:
        if algorithm in ("ed25519", "eddsa"):
            key.verify(given, message)
        elif algorithm in ("ecdsa-p256", "es256"):
            key.verify(given, message, ec.ECDSA(hashes.SHA256()))
        else:
            key.verify(given, message, _padding(algorithm), _hash(algorithm))
    except (InvalidSignature, ValueError):
        return False
    return True


def _hash(algorithm: str) -> hashes.HashAlgorithm:
    return HASHES.get(algorithm.rpartition("-")[2], HASHES["sha256"])


def _padding(algorithm: str) -> padding.AsymmetricPadding:
    if algorithm in ("rsa-pss-sha256", "ps256"):
        return padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256().digest_size)
    return padding.PKCS1v15()


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


def _raw(encoding: str) -> Any:
    return lambda text: decoded(text, encoding)
