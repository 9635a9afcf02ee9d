"""JSON Web Tokens (RFC 7519) as proofs: one algorithm a scheme, never the one that the token asks for."""

from __future__ import annotations

import hmac
import json
from typing import Any

from webspool.errors import UnparsableBody
from webspool.payloads import parse_json
from webspool.signatures import keys
from webspool.signatures.algorithms import decoded, encoded, public_fits, public_made

MAX_BYTES = 16 << 10
SECONDS = 300


def claims_of(token: bytes, algorithm: str, kind: str, secret: str) -> dict[str, Any] | None:
    """What a token says, when `secret` signed it; None when not. Raises ValueError for a bad secret."""
    parts = token.split(b".")
    if len(parts) != 3 or len(token) > MAX_BYTES:
        return None
    header, claims, proof = _object(parts[0]), _object(parts[1]), decoded(parts[2], "base64url")
    name = algorithm.removeprefix("jwt-")
    if header is None or claims is None or proof is None or "crit" in header:
        return None
    if not isinstance(given := header.get("alg"), str) or given.lower() != name:
        return None
    return claims if _fits(name, kind, secret, parts[0] + b"." + parts[1], proof) else None


def timely(claims: dict[str, Any], now: float, tolerance: float) -> bool:
    """Whether a token is of this time, as far as it says; `tolerance` is in seconds."""
    bounds = [claims.get(name) for name in ("exp", "nbf")]
    if any(isinstance(bound, bool) or not isinstance(bound, int | float | None) for bound in bounds):
        return False
    expires, begins = bounds
    return (expires is None or now <= expires + tolerance) and (begins is None or now >= begins - tolerance)


def token_for(claims: dict[str, Any], algorithm: str, kind: str, secret: str) -> bytes:
    """A signed token. Raises ValueError for a secret with which none can be made."""
    name = algorithm.removeprefix("jwt-")
    shown = "EdDSA" if name == "eddsa" else name.upper()
    text = b".".join(encoded(json.dumps(each).encode(), "base64url") for each in ({"alg": shown, "typ": "JWT"}, claims))
    return text + b"." + encoded(_proof(name, kind, secret, text), "base64url")


def _object(part: bytes) -> dict[str, Any] | None:
    text = decoded(part, "base64url")
    try:
        found = None if text is None else parse_json(text, "the token")
    except UnparsableBody:
        return None
    return found if isinstance(found, dict) else None


def _fits(name: str, kind: str, secret: str, text: bytes, proof: bytes) -> bool:
    if not name.startswith("hs"):
        return public_fits(name, "base64url", kind, secret, text, encoded(proof, "base64url"))
    key = keys.decoded(kind, secret)
    return bool(key) and hmac.compare_digest(proof, hmac.digest(key, text, f"sha{name[2:]}"))


def _proof(name: str, kind: str, secret: str, text: bytes) -> bytes:
    if not name.startswith("hs"):
        return public_made(name, kind, secret, text)
    return hmac.digest(keys.decoded(kind, secret), text, f"sha{name[2:]}")
