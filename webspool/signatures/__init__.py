"""Verification as data: a scheme says how a sender proves itself, one small engine checks it and signs like it."""

from webspool.signatures.engine import Answer, Verdict, check, sign
from webspool.signatures.presets import PRESETS, scheme_of
from webspool.signatures.scheme import Scheme

__all__ = ["PRESETS", "Answer", "Scheme", "Verdict", "check", "scheme_of", "sign"]
