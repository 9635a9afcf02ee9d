"""What of a request is not stored: headers, path segments and query fields that hold a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import unquote

import msgspec

from webspool.records import Headers
from webspool.signatures import Scheme

MASK = "***"
NUL = "\\u0000"
"""As JSON writes one. So it writes a backslash before these letters, too: then it is looked at once more."""
SECRET_WORDS = ("authorization", "cookie", "token", "secret", "password", "api-key", "apikey", "access-key", "auth-key")
URL_HEADERS = frozenset(
    {"referer", "x-original-url", "x-original-uri", "x-forwarded-uri", "x-rewrite-url", "x-envoy-original-path"}
)
KEY_FIELDS = frozenset({"key", "sig", "signature", "auth"})
JSON_FIELD = re.compile(r'("([^"\\\n]{1,100})"\s*:\s*)("(?:[^"\\]|\\.)*"?|-?[0-9][0-9.eE+-]*)')
FORM_FIELD = re.compile(r"(?m)((?:^|&)([A-Za-z0-9_.%[\]-]{1,100})=)[^&\s\"{}]+")
HUB_PLACE = "query:hub.verify_token"
LIKE_A_KEY = re.compile(r"(?<=/)(?=[^/]*[0-9A-Z])[^/]{16,}(?=/|$)")


def safe_headers(headers: Mapping[str, str], scheme: Scheme | None) -> str:
    """The header fields to store, as JSON, with the values of those that hold a secret masked.

    A signature is kept (it is no secret, and says why a webhook was refused), unless the scheme sends the secret.
    """
    own = frozenset() if scheme is None else scheme.secret_headers
    pairs = headers.pairs if isinstance(headers, Headers) else headers.items()
    safe = [(name, MASK if _names_a_secret(name) or name.lower() in own else value) for name, value in pairs]
    try:
        text = msgspec.json.encode(safe).decode()
    except UnicodeEncodeError:  # lone surrogates
        text = ""
    if not text or NUL in text:
        text = msgspec.json.encode([(storable(name), storable(value)) for name, value in safe]).decode()
    return text


def safe_url(url: str, scheme: Scheme | None) -> str:
    """The URL to store. Of an unknown scheme (no source has the address) whatever may be a key is masked."""
    if scheme is not None and not scheme.sends_secret and scheme.handshake is None:
        return storable(url)
    path, mark, query = url.partition("#")[0].partition("?")
    return storable(_safe_path(path, scheme) + mark + "&".join(_safe_field(pair, scheme) for pair in query.split("&")))


def shown_text(text: str) -> str:
    """A body as it may be shown: values of JSON and form fields that are named like a secret are masked.

    It is for eyes only: what tasks get, and what `--raw` writes, is the body as it came.
    """
    text = JSON_FIELD.sub(lambda found: f'{found[1]}"{MASK}"' if _names_a_secret(found[2]) else found[0], text)
    return FORM_FIELD.sub(lambda found: found[1] + MASK if _names_a_secret(unquote(found[2])) else found[0], text)


def storable(text: str) -> str:
    """Text that every database takes: no lone surrogates, no NUL."""
    if text.isascii():
        return text.replace("\0", "\ufffd") if "\0" in text else text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


@lru_cache(maxsize=512)
def _names_a_secret(name: str) -> bool:
    lower = name.lower().replace("_", "-")
    return lower in URL_HEADERS or any(word in lower for word in SECRET_WORDS)


def _safe_path(path: str, scheme: Scheme | None) -> str:
    if scheme is None:
        return LIKE_A_KEY.sub(MASK, path)
    if "path" not in scheme.secret_places:
        return path
    return f"{LIKE_A_KEY.sub(MASK, path.rpartition('/')[0])}/{MASK}"  # a stranger may put more behind the key


def _safe_field(pair: str, scheme: Scheme | None) -> str:
    name, mark, value = pair.partition("=")
    plain = unquote(name)
    if scheme is None:
        secret = _names_a_secret(plain) or plain.lower() in KEY_FIELDS
    else:
        secret = f"query:{plain}" in (*scheme.secret_places, HUB_PLACE)
    return f"{name}{mark}{MASK}" if secret and value else pair
