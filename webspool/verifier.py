"""Whether a webhook is its sender's: a source's scheme with its secrets, under the address that the sender knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from webspool.certificates import Certificates
from webspool.errors import WebspoolError
from webspool.records import WebhookRequest
from webspool.signatures import Plain, Verdict, certificate_wanted, check
from webspool.source import Source
from webspool.telemetry import Say


@dataclass(frozen=True, slots=True)
class Known:
    """What a source compares with: its secrets, and what a handshake asks for."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    tokens: tuple[str, ...] = field(default=(), repr=False)
    plain: Plain | None = None


class Verifier:
    """Verifies for every source of one instance.

    `resolve` turns a secret's reference into the secret, once per source; `public_url` is the base of the addresses
    that senders know.
    """

    def __init__(self, resolve: Callable[[str], str], say: Say, public_url: str | None = None) -> None:
        self._resolve, self._say, self.public_url = resolve, say, public_url
        self.certificates = Certificates()
        self._known: dict[Source, Known] = {}

    def judge(self, source: Source, request: WebhookRequest, now: float) -> Verdict:
        """Whether the request is the source's sender's; `now` is Unix seconds. May fetch the sender's certificate."""
        known = self.known(source)
        if known.plain is not None:
            return known.plain.check(request)
        scheme, certificates = source.scheme, None
        if scheme.certificate is not None and (address := certificate_wanted(scheme, request)) is not None:
            if (text := self.certificates.get(address)) is None:
                return Verdict(False, "certificate_unavailable")
            certificates = {address: text}
        addressed = self.addressed(source, request)
        return check(scheme, known.secrets, addressed, now, tokens=known.tokens, certificates=certificates)

    def known(self, source: Source) -> Known:
        """The source's secrets and tokens; nothing when one cannot be read, so that nobody is believed."""
        known = self._known.get(source)
        if known is None:
            try:
                secrets, tokens = self._resolved(source.secrets), self._resolved(source.tokens)
                known = Known(secrets, tokens, Plain(source.scheme, secrets) if source.scheme.plain else None)
            except (WebspoolError, ValueError, OSError):
                self._say("secret_unreadable", source=source.name)
                return Known()
            self._known[source] = known
        return known

    def addressed(self, source: Source, request: WebhookRequest) -> WebhookRequest:
        """The request under the address that the sender knows, for a sender that signs it."""
        if self.public_url is None or not source.scheme.reads_url:
            return request
        return replace(request, url=self.public_url.rstrip("/") + request.url)

    def _resolved(self, references: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._resolve(reference) for reference in references)
