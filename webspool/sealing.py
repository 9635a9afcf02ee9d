"""Bodies encrypted at rest: AES-256-GCM (RFC 5116) under a key of the configuration, bound to the record's id.

What is stored begins with a mark, so that nothing else has to say which bodies are sealed. A body that begins like the
mark by itself is stored behind a mark of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from webspool.errors import BodySealed

MARK = b"webspool\x00"
SEALED, PLAIN = MARK + b"s1\x00", MARK + b"p1\x00"
NONCE_BYTES, KEY_BYTES = 12, 32


class Keyring:
    """The first key seals, any of them opens: a new one is put in front while old bodies are there."""

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._keys = tuple(keys)

    def seal(self, body: bytes, id: str) -> bytes:
        """The body as it is stored under that id. Raises BodySealed without a key."""
        if not self._keys:
            raise BodySealed(id=id, why="there is no key to encrypt with: WEBSPOOL_ENCRYPTION_KEY is not set")
        nonce = os.urandom(NONCE_BYTES)
        sealed: bytes = _cipher(self._keys[0]).encrypt(nonce, body, id.encode())
        return SEALED + nonce + sealed

    def unseal(self, stored: bytes, id: str) -> bytes:
        """The body that was stored under that id. Raises BodySealed when no key opens it."""
        if not stored.startswith((SEALED, PLAIN)):
            return stored
        if stored.startswith(PLAIN):
            return stored[len(PLAIN) :]
        from cryptography.exceptions import InvalidTag

        start = len(SEALED) + NONCE_BYTES
        for key in self._keys:
            try:
                return bytes(_cipher(key).decrypt(stored[len(SEALED) : start], stored[start:], id.encode()))
            except (InvalidTag, ValueError):
                continue
        raise BodySealed(id=id, why="no key of WEBSPOOL_ENCRYPTION_KEY opens it")


def plain(body: bytes) -> bytes:
    """A body that is not to be encrypted, as it is stored."""
    return PLAIN + body if body.startswith(MARK) else body


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


_of_this_process = Keyring()


def use_keys(keys: Iterable[bytes]) -> None:
    """The keys of the instance to which this process belongs."""
    global _of_this_process
    _of_this_process = Keyring(keys)


def stored_form(body: bytes, id: str, *, encrypt: bool) -> bytes:
    """A body as this process's instance stores it. Raises BodySealed when it is to be encrypted and there is no key."""
    return _of_this_process.seal(body, id) if encrypt else plain(body)


def unsealed(stored: bytes, id: str) -> bytes:
    """The body that this process's instance has stored so. Raises BodySealed when no key opens it."""
    return _of_this_process.unseal(stored, id)
