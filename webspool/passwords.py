"""Passwords as they are kept, and the secrets that sessions and tokens are."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from werkzeug.security import check_password_hash, generate_password_hash

HASHES = ("scrypt:", "pbkdf2:")
NOBODY = "scrypt:32768:8:1$AAAAAAAAAAAAAAAA$" + "0" * 128
BEGINNING = "wsp_"  # by which those who look for leaked secrets know a token


def hashed(password: str) -> str:
    """A password as the ledger keeps it."""
    return generate_password_hash(password)


def fits(known: str | None, given: str) -> bool:
    """Whether the password is the one that is kept, hashed or plain; as slow where there is none (None)."""
    kept = NOBODY if known is None else known
    if kept.startswith(HASHES):
        return check_password_hash(kept, given) and known is not None
    return hmac.compare_digest(kept.encode("utf-8", "surrogateescape"), given.encode("utf-8", "surrogateescape"))


def digest(secret: str) -> str:
    """What the ledger knows of a session's name or a token."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def new_secret() -> str:
    """What nobody guesses: 256 bits."""
    return secrets.token_urlsafe(32)


def new_token() -> str:
    """What a program shows to be let in."""
    return BEGINNING + new_secret()
