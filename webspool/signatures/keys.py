"""Secrets as keys: how each is written, and what is wrong with one."""

from __future__ import annotations

import base64
import binascii

KINDS = ("utf8", "base64", "base64url", "hex", "whsec", "whpk", "pem")
PREFIXES = {"whsec": ("whsec_",), "whpk": ("whpk_", "whsk_")}
OTHERS = ("whsec_", "whpk_", "whsk_")


def decoded(kind: str, secret: str) -> bytes:
    """The key's bytes. Raises ValueError, without the secret, when it is not written as `kind`."""
    if kind == "utf8":
        return secret.encode("utf-8", "surrogatepass")
    if kind in PREFIXES:
        return _base64(_without_prefix(secret, kind))
    if kind == "hex":
        return _hex(secret)
    return _base64(secret)


def _without_prefix(secret: str, kind: str) -> str:
    own = PREFIXES[kind]
    for prefix in OTHERS:
        if secret.startswith(prefix):
            if prefix not in own:
                raise ValueError(f"the secret begins with {prefix}, not with {own[0]}")
            return secret[len(prefix) :]
    if kind == "whpk":
        raise ValueError("the secret does not begin with whpk_")
    return secret


def _hex(secret: str) -> bytes:
    try:
        return bytes.fromhex(secret)
    except ValueError:
        raise ValueError("the secret is not hexadecimal") from None


def _base64(secret: str) -> bytes:
    try:
        text = secret.strip().encode("ascii").translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise ValueError("the secret is not Base64") from None
