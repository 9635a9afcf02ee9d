"""`webspool send`: a signed test webhook to the running instance."""

from __future__ import annotations

import http.client
import socket
from typing import Any
from urllib.parse import urlsplit

import click

from webspool.cli.chosen import chosen_config
from webspool.config import Address, Config
from webspool.errors import WebspoolError
from webspool.loading import load_app, stand_in_for_uwsgi
from webspool.records import Headers, WebhookRequest
from webspool.sample import sample
from webspool.source import Source

SECONDS = 30.0


class NoAnswer(WebspoolError):
    """Nothing answers at {url}: {why}. Is the instance running? Start it: uwsgi --ini uwsgi.ini"""


class NotImportable(WebspoolError):
    """The app {app} cannot be imported: {why}. See where: webspool check"""


class NotSignable(WebspoolError):
    """A webhook of {source} cannot be signed: {why}. Where the source holds a public key, name the private: --secret"""


class UnknownSource(WebspoolError):
    """There is no source {source} in this instance; there are: {known}."""


@click.command()
@click.argument("source")
@click.option("--event", help="The event's type, where the sender names it.")
@click.option("--event-id", help="The event's id; a fresh one each time unless given.")
@click.option("--file", "file", type=click.File("rb"), help="The body; - is standard input.")
@click.option("--data", help="The body as text. Default: {}.")
@click.option("--content-type", default="application/json", show_default=True, help="The body's kind.")
@click.option("--secret", help="A reference to sign with (env:NAME, file:PATH): where the source holds a public key.")
@click.option("--url", help="The instance's base address. Default: where WEBSPOOL_BIND listens.")
def send(
    source: str,
    event: str | None,
    event_id: str | None,
    file: Any,
    data: str | None,
    content_type: str,
    secret: str | None,
    url: str | None,
) -> None:
    """Sign a webhook with the source's own secret, send it to the running instance, print the answer."""
    if file is not None and data is not None:
        raise click.UsageError("give --file or --data, not both")
    body = file.read() if file is not None else (data if data is not None else "{}").encode()
    config = chosen_config()
    known = _source(config, source)
    try:
        signed = sample(
            config, known, body, event_type=event, event_id=event_id, content_type=content_type, secret=secret, url=url
        )
    except ValueError as fault:
        raise NotSignable(source=source, why=fault) from None
    status, answer = _post(signed, config.address, url)
    click.echo(answer.rstrip())
    if not 200 <= status < 300:
        click.echo(f"status {status}", err=True)
        raise SystemExit(1)


def _source(config: Config, name: str) -> Source:
    sources = app_of(config).extensions["webspool"].sources
    known = {each.name: each for each in (sources.values() if hasattr(sources, "values") else sources)}
    if name not in known:
        raise UnknownSource(source=name, known=", ".join(sorted(known)) or "none")
    found: Source = known[name]
    return found


def app_of(config: Config) -> Any:
    """The user's application as it is on disk. Raises NotImportable."""
    stand_in_for_uwsgi(config.directory)
    try:
        return load_app(config)
    except WebspoolError:
        raise
    except Exception as fault:
        raise NotImportable(app=config.app, why=f"{type(fault).__name__}: {fault}") from fault


def _post(request: WebhookRequest, address: Address, url: str | None) -> tuple[int, str]:
    """Send the request. Returns the status and the answer's text. Raises NoAnswer."""
    base = url or address.url
    connection = _to_url(base) if base else _to_socket(address)
    prefix = urlsplit(base).path.rstrip("/") if base else ""
    try:
        connection.request(request.method, prefix + request.url, request.body, dict(_pairs(request)))
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as fault:
        raise NoAnswer(url=base or address, why=fault) from None
    finally:
        connection.close()


def _pairs(request: WebhookRequest) -> tuple[tuple[str, str], ...]:
    return request.headers.pairs if isinstance(request.headers, Headers) else tuple(request.headers.items())


def _to_url(base: str) -> http.client.HTTPConnection:
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.UsageError("--url must begin with http:// or https:// and name a host")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=SECONDS)


def _to_socket(address: Address) -> http.client.HTTPConnection:
    if address.path is None:
        raise click.UsageError("the instance listens at a descriptor handed to it; say where with --url")
    connection = http.client.HTTPConnection("localhost", timeout=SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(SECONDS)
    try:
        connection.sock.connect(str(address.path))
    except OSError as fault:
        raise NoAnswer(url=address, why=fault) from None
    return connection
