"""Verification as data: a scheme says how a sender proves itself, one small engine checks it and signs like it."""

from webspool.signatures.engine import Plain, Verdict, certificate_wanted, check, named
from webspool.signatures.handshakes import Answer, methods_of
from webspool.signatures.presets import PRESETS, near, scheme_of
from webspool.signatures.scheme import Scheme
from webspool.signatures.signer import sign

__all__ = [
    "PRESETS",
    "Answer",
    "Plain",
    "Scheme",
    "Verdict",
    "certificate_wanted",
    "check",
    "methods_of",
    "named",
    "near",
    "scheme_of",
    "sign",
]
