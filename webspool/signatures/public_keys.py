"""Public keys: loading, signing, verifying. Apart: `cryptography` is slow to import, and few senders need it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509 import load_pem_x509_certificate

from webspool.signatures.keys import decoded

CLASSES: dict[str, tuple[type, type]] = {
    "ed25519": (ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey),
    "eddsa": (ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey),
    "ecdsa": (ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey),
    "es256": (ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey),
}
RSA = (rsa.RSAPublicKey, rsa.RSAPrivateKey)
BEGIN = "-----BEGIN "
HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - what Amazon SNS signs with unless told otherwise
    "sha512": hashes.SHA512(),
}


@lru_cache(maxsize=64)
def public_key(algorithm: str, kind: str, secret: str) -> Any:
    """The public key, also of a private one in PEM or a certificate. Raises ValueError when it is none."""
    if secret.startswith("whsk_"):
        raise ValueError("the secret is a private key; give the source the public one, whpk_")
    key = _loaded(kind, secret, _raw_public)
    return _of_class(algorithm, key.public_key() if hasattr(key, "public_key") else key, 0)


@lru_cache(maxsize=64)
def private_key(algorithm: str, kind: str, secret: str) -> Any:
    """The private key to sign with: PEM, or for Ed25519 its 32 bytes. Raises ValueError when it is none."""
    if secret.startswith("whpk_"):
        raise ValueError("the secret is a public key")
    return _of_class(algorithm, _loaded(kind, secret, _raw_private), 1)


def signature(key: Any, algorithm: str, message: bytes) -> bytes:
    """A private key's signature."""
    if algorithm in ("ed25519", "eddsa"):
        return bytes(key.sign(message))
    if algorithm == "es256":  # RFC 7518, 3.4: the two numbers one after the other
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)
    if algorithm == "ecdsa-p256":
        return bytes(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return bytes(key.sign(message, _padding(algorithm), _hash(algorithm)))


def verified(key: Any, algorithm: str, given: bytes, message: bytes) -> bool:
    """Whether a signature is the public key's."""
    try:
        if algorithm in ("ed25519", "eddsa"):
            key.verify(given, message)
        elif algorithm == "es256":
            key.verify(_der(given), message, ec.ECDSA(hashes.SHA256()))
        elif algorithm == "ecdsa-p256":
            key.verify(given, message, ec.ECDSA(hashes.SHA256()))
        else:
            key.verify(given, message, _padding(algorithm), _hash(algorithm))
    except (InvalidSignature, ValueError):
        return False
    return True


def _der(proof: bytes) -> bytes:
    if len(proof) != 64:
        raise ValueError("not two numbers of 32 bytes")
    return encode_dss_signature(int.from_bytes(proof[:32]), int.from_bytes(proof[32:]))


def _hash(algorithm: str) -> hashes.HashAlgorithm:
    return HASHES.get(algorithm.rpartition("-")[2], hashes.SHA256())


def _padding(algorithm: str) -> padding.AsymmetricPadding:
    if algorithm in ("rsa-pss-sha256", "ps256"):
        return padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256().digest_size)
    return padding.PKCS1v15()


def _of_class(algorithm: str, key: Any, which: int) -> Any:
    wanted = CLASSES.get(algorithm.partition("-")[0], RSA)[which]
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
