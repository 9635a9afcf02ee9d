"""Secrets as keys: how each is written, and what is wrong with one."""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import load_pem_x509_certificate

KINDS = ("utf8", "base64", "base64url", "hex", "whsec", "whpk", "pem")
PREFIXES = {"whsec": ("whsec_",), "whpk": ("whpk_", "whsk_")}
OTHERS = ("whsec_", "whpk_", "whsk_")
CLASSES: dict[str, tuple[type, type]] = {
    "ed25519": (ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey),
    "eddsa": (ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey),
    "ecdsa": (ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey),
    "es256": (ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey),
}
RSA = (rsa.RSAPublicKey, rsa.RSAPrivateKey)
BEGIN = "-----BEGIN "


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


def usable(algorithm: str, kind: str, secret: str) -> None:
    """Raises ValueError when the secret is no key for this algorithm."""
    if algorithm.startswith("jwt-hs"):
        if not decoded(kind, secret):
            raise ValueError("the secret is empty")
        return
    public_key(algorithm, kind, secret)


@lru_cache(maxsize=64)
def public_key(algorithm: str, kind: str, secret: str) -> Any:
    """The public key, also of a private one or a certificate. Raises ValueError when it is none."""
    key = _loaded(kind, secret, _raw_public)
    return _of_class(algorithm, key.public_key() if hasattr(key, "public_key") else key, 0)


@lru_cache(maxsize=64)
def private_key(algorithm: str, kind: str, secret: str) -> Any:
    """The private key to sign with: PEM, or for Ed25519 its 32 bytes. Raises ValueError when it is none."""
    return _of_class(algorithm, _loaded(kind, secret, _raw_private), 1)


def _of_class(algorithm: str, key: Any, which: int) -> Any:
    name = algorithm.removeprefix("jwt-").partition("-")[0]
    wanted = CLASSES.get(name, RSA)[which]
    if not isinstance(key, wanted):
        raise ValueError(f"the secret is no {('public', 'private')[which]} key for {algorithm}")
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey) and key.curve.name != "secp256r1":
        raise ValueError("the secret is a key of another curve than P-256")
    return key


def _loaded(kind: str, secret: str, raw: Any) -> Any:
    try:
        if secret.lstrip().startswith(BEGIN):
            return _pem(secret.strip().encode())
        return raw(decoded(kind, secret), kind)
    except (UnsupportedAlgorithm, TypeError, ValueError) as fault:
        told = str(fault) if str(fault).startswith("the secret ") else "the secret is no key that can be read"
        raise ValueError(told) from None


def _pem(text: bytes) -> Any:
    if b"BEGIN CERTIFICATE" in text:
        return load_pem_x509_certificate(text).public_key()
    if b"PRIVATE KEY" in text:
        return serialization.load_pem_private_key(text, None)
    return serialization.load_pem_public_key(text)


def _raw_public(text: bytes, kind: str) -> Any:
    if kind == "pem":
        return serialization.load_der_public_key(text)
    return ed25519.Ed25519PublicKey.from_public_bytes(text)


def _raw_private(text: bytes, kind: str) -> Any:
    if kind == "pem":
        return serialization.load_der_private_key(text, None)
    return ed25519.Ed25519PrivateKey.from_private_bytes(text[:32] if len(text) == 64 else text)
