"""Keys for every preset: what the sender signs with, what the source is given, and a wrong one."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from webspool.records import WebhookRequest
from webspool.signatures import PRESETS, Scheme, check, sign
from webspool.signatures.engine import Verdict

PEM, PKCS8, SPKI = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.PublicFormat
RAW = serialization.Encoding.Raw
PLAIN = serialization.NoEncryption()
CERTIFICATES = {
    "paypal": "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-7a8abba8",
    "aws-sns": "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123abcd.pem",
}
PLACES = {"paypal": "header:PAYPAL-CERT-URL", "aws-sns": "body:SigningCertURL"}


@dataclass(frozen=True)
class Keys:
    """`signing` makes proofs that `checking` believes."""

    signing: str
    checking: str
    wrong: str
    private_key: str | None = None
    certificates: dict[str, str] = field(default_factory=dict)


def private_text(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.private_bytes(PEM, PKCS8, PLAIN).decode()


def public_text(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(PEM, SPKI.SubjectPublicKeyInfo).decode()


def _certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sender.test")])
    begins = datetime(2023, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, begins, begins + timedelta(days=9000))
    return made.sign(key, hashes.SHA256()).public_bytes(PEM).decode()


RSA_KEY, OTHER_RSA_KEY = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC_KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
ED_KEYS = [ed25519.Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2)]
ED_HEX = [key.public_key().public_bytes(RAW, SPKI.Raw).hex() for key in ED_KEYS]
CERTIFICATE = _certificate(RSA_KEY)
WHSEC = ["whsec_" + base64.b64encode(bytes([number]) * 24).decode() for number in (1, 2)]


def keys_of(scheme: str | Scheme) -> Keys:
    """A signing, a checking and a wrong secret."""
    known = PRESETS.get(scheme) if isinstance(scheme, str) else scheme
    if scheme in CERTIFICATES:
        pem = {CERTIFICATES[str(scheme)]: CERTIFICATE}
        return Keys("WH-19973", "WH-19973", "WH-0", private_text(RSA_KEY), pem)
    match known:
        case Scheme(algorithm="rsa-sha256"):
            return Keys(private_text(RSA_KEY), public_text(RSA_KEY), public_text(OTHER_RSA_KEY))
        case Scheme(algorithm="ed25519", key="base64"):
            checking, wrong = (base64.b64encode(bytes.fromhex(each)).decode() for each in ED_HEX)
            return Keys(private_text(ED_KEYS[0]), checking, wrong)
        case Scheme(algorithm="ed25519"):
            return Keys(private_text(ED_KEYS[0]), ED_HEX[0], ED_HEX[1])
        case Scheme(algorithm="ecdsa-p256"):
            return Keys(private_text(EC_KEYS[0]), public_text(EC_KEYS[0]), public_text(EC_KEYS[1]))
        case Scheme(key="whsec"):
            return Keys(WHSEC[0], WHSEC[0], WHSEC[1])
        case Scheme(key="hex"):
            return Keys("0a" * 32, "0A" * 32, "0b" * 32)
    return Keys("s3cret-s3cret", "s3cret-s3cret", "0ther-0ther")


def signed(scheme: str | Scheme, request: WebhookRequest, now: float, **names: str) -> WebhookRequest:
    """The request as the sender would send it."""
    keys = keys_of(scheme)
    request = furnished(scheme, request)
    if scheme == "adyen":
        names = {}  # its ids stand in items
    return sign(scheme, keys.signing, request, now=now, private_key=keys.private_key, **names)


def furnished(scheme: str | Scheme, request: WebhookRequest) -> WebhookRequest:
    """The request with what this sender's own body and headers must hold to be signed."""
    if scheme == "aws-sns":
        said = '{"Message":"hi","Timestamp":"2023-11-14T22:13:20.000Z","TopicArn":"WH-19973","SigningCertURL":"%s",'
        names = '"Type":"Notification","SignatureVersion":"1","MessageId":"m-1"}'
        return replace(request, body=(said % CERTIFICATES["aws-sns"] + names).encode())
    if scheme == "paypal":
        headers = dict(request.headers.pairs) | {  # type: ignore[attr-defined]
            "PAYPAL-CERT-URL": CERTIFICATES["paypal"],
            "PAYPAL-TRANSMISSION-ID": "t-1",
        }
        return replace(request, headers=headers)
    return request


def judged(scheme: str | Scheme, secrets: object, request: WebhookRequest, now: float) -> Verdict:
    """`check` with the certificates at hand."""
    return check(scheme, secrets, request, now, certificates=keys_of(scheme).certificates)  # type: ignore[arg-type]
