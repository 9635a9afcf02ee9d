"""Who comes in: sessions, tokens, and what a browser must show before it may act.

The cookie holds a random name, signed with the time of its last use; the ledger holds the name's SHA-256. Where a
request seems to come from is never a key: behind a tunnel everything comes from 127.0.0.1.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from urllib.parse import urlsplit

from flask import Request, Response
from itsdangerous import BadSignature, TimestampSigner, URLSafeTimedSerializer

from webspool.config import Config
from webspool.ledger import accounts
from webspool.ledger.accounts import Visitor
from webspool.passwords import digest

IDLE_SECONDS = 8 * 3600
SIGN_AGAIN_SECONDS = 300
PASS_SECONDS = 600
COOKIE, PASS = "webspool_session", "webspool_pass"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


# ── the way here ────────────────────────────────────────────────────────────────────────────────────────────────


def is_https(request: Request, config: Config) -> bool:
    """Whether the browser speaks TLS: to us, to a proxy that is believed, or to the address that WEBSPOOL_PUBLIC_URL
    names."""
    if request.is_secure:
        return True
    if config.trusted_proxies and request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https":
        return True
    public = urlsplit(config.public_url or "")
    return public.scheme == "https" and request.host == public.netloc


def is_on_this_machine(request: Request) -> bool:
    """Whether the address in the browser is of the browser's own machine: what is typed in leaves no machine."""
    return _is_near(urlsplit(f"//{request.host}").hostname or "")


def _is_near(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def may_carry_secrets(request: Request, config: Config) -> bool:
    """Whether a password typed in here is seen by nobody else.

    A proxy may have put another name in the place of ours (nginx does so by itself); the browser's own word stays.
    """
    if (origin := plain_origin(request)) is not None and not _is_near(origin):
        return False
    return is_https(request, config) or is_on_this_machine(request)


def plain_origin(request: Request) -> str | None:
    """The name under which a browser has us over plain http, when it tells; None: it does not, or speaks TLS."""
    origin = urlsplit(request.headers.get("Origin", ""))
    return origin.hostname if origin.scheme == "http" else None


def comes_from_here(request: Request, config: Config) -> bool:
    """Whether a page of ours sent the request, as the browser tells (Sec-Fetch-Site, else Origin)."""
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site is not None:
        return site == "same-origin"
    if origin is None:
        return True
    public = urlsplit(config.public_url or "")
    known = {request.host} | ({public.netloc} if public.netloc else set())
    return urlsplit(origin).netloc in known


# ── sessions and tokens ─────────────────────────────────────────────────────────────────────────────────────────


class Sessions:
    """The cookies of one instance. A new WEBSPOOL_SECRET_KEY or WEBSPOOL_PASSWORD ends what they stand for."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._key = f"{config.secret_key}\0{config.password}".encode("utf-8", "surrogateescape")
        self._signer = TimestampSigner(self._key, salt="webspool session", digest_method=hashlib.sha256)
        self._pass_signer = TimestampSigner(self._key, salt="webspool pass", digest_method=hashlib.sha256)
        self.notes = URLSafeTimedSerializer(
            self._key, salt="webspool note", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def visitor(self, request: Request) -> Visitor | None:
        """Who is logged in and was here within the last hours."""
        found = self._open(request)
        return None if found is None else accounts.visitor_of_session(self._config, digest(found[0]), time.time())

    def _open(self, request: Request) -> tuple[str, float] | None:
        return self._shown(request, COOKIE, self._signer, IDLE_SECONDS)

    def _shown(self, request: Request, name: str, signer: TimestampSigner, seconds: int) -> tuple[str, float] | None:
        """What a cookie holds, and when that was signed; None when it is not ours, or so many seconds old."""
        try:
            held, signed_at = signer.unsign(
                request.cookies.get(self._name(request, name), ""), max_age=seconds, return_timestamp=True
            )
        except BadSignature:
            return None
        return held.decode("utf-8", "replace"), signed_at.timestamp()

    def _name(self, request: Request, name: str = COOKIE) -> str:
        return f"__Host-{name}" if is_https(request, self._config) else name

    def give(self, request: Request, response: Response, secret: str) -> None:
        """Let the browser hold a session."""
        self._set(request, response, COOKIE, self._signer.sign(secret).decode(), IDLE_SECONDS)

    def _set(self, request: Request, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            self._name(request, name),
            value,
            max_age=seconds,
            path="/",
            secure=is_https(request, self._config),
            httponly=True,
            samesite="Lax",
        )

    def give_pass(self, request: Request, response: Response, visitor: Visitor) -> None:
        """Let the live process know for some minutes whom the proxy has let in: it does not see the proxy."""
        held = self._shown(request, PASS, self._pass_signer, PASS_SECONDS)
        if held is None or held[0] != visitor.name or time.time() - held[1] > SIGN_AGAIN_SECONDS:
            self._set(request, response, PASS, self._pass_signer.sign(visitor.name).decode(), PASS_SECONDS)

    def visitor_with_pass(self, request: Request) -> Visitor | None:
        """Whom the dashboard has given a pass; only the live process takes one."""
        if self._config.user_header is None:
            return None
        held = self._shown(request, PASS, self._pass_signer, PASS_SECONDS)
        return None if held is None else accounts.visitor_of_proxy(self._config, held[0])

    def keep_awake(self, request: Request, response: Response) -> None:
        """Sign anew what was signed some minutes ago: the session was used."""
        found = self._open(request)
        if found is not None and time.time() - found[1] > SIGN_AGAIN_SECONDS:
            self.give(request, response, found[0])

    def take(self, request: Request, response: Response) -> None:
        response.delete_cookie(
            self._name(request), path="/", secure=is_https(request, self._config), httponly=True, samesite="Lax"
        )

    def csrf(self, visitor: Visitor) -> str:
        """What a form of this session must send back."""
        whose = visitor.session or f"of the proxy: {visitor.name}"
        return hmac.new(self._key, f"csrf {whose}".encode(), hashlib.sha256).hexdigest()

    def csrf_fits(self, visitor: Visitor, given: str) -> bool:
        return hmac.compare_digest(self.csrf(visitor).encode(), given.encode("utf-8", "surrogateescape"))


def proxied(request: Request, config: Config) -> Visitor | None:
    """Whom the proxy in front has let in: only by the header that WEBSPOOL_USER_HEADER names, and only when the proxy
    itself is the other end of the connection.

    uWSGI joins a header that comes twice, also under a name with underscores, by a comma: a name has none.
    """
    if (
        config.user_header is None
        or config.user_header_from is None
        or not config.user_header_from.hold(request.environ)
    ):
        return None
    name = request.headers.get(config.user_header, "")
    return accounts.visitor_of_proxy(config, name) if accounts.NAME.fullmatch(name) else None


def bearer(request: Request) -> str | None:
    """The token that a program shows."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None
