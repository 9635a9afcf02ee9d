"""Debian's nginx with the site that `webspool init --nginx` writes, on its own ports with its own certificate."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import signal
import ssl
import subprocess
from pathlib import Path
from types import TracebackType

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conditions import wait_until
from tests.instances import free_port
from webspool.cli.server_files import TEMPLATE, filled

NAME = "hooks.example.com"
AROUND = """
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 2048; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;

    # as people write it who write no more than they must
    server {{
        listen 127.0.0.1:{bare_port};
        location / {{ proxy_pass http://{upstream}; }}
    }}

    # as if it had logged everybody in as mina
    server {{
        listen 127.0.0.1:{login_port};
        location / {{
            proxy_bind 127.0.0.9;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-User mina;
            proxy_pass http://{upstream};
        }}
    }}
}}
"""


def needs_nginx() -> str:
    """The program; skips where there is none, which in CI is a fault."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        assert os.environ.get("CI") != "true", "nginx is missing"
        pytest.skip("nginx is missing")
    return found


class Nginx:
    """The site in front of an instance that listens at `upstream`, with the values that init would fill in."""

    def __init__(self, folder: Path, upstream: str, max_body: int) -> None:
        self.folder, self.port, self.plain_port = folder, free_port(), free_port()
        self.bare_port, self.login_port = free_port(), free_port()
        self.log = folder / "access.log"
        values = {"directory": str(folder), "upstream": upstream, "address": upstream, "max_body": str(max_body)}
        site = filled((TEMPLATE / "nginx.conf").read_text(), values)
        site = re.sub(r"(?m)^ +listen \[::\].*\n", "", site)
        site = site.replace("listen 443 ", f"listen 127.0.0.1:{self.port} ")
        site = site.replace("listen 80;", f"listen 127.0.0.1:{self.plain_port};")
        site = re.sub(r"/etc/letsencrypt/live/[^/]+/", f"{folder}/", site)
        (folder / "site.conf").write_text(site.replace("/var/log/nginx/webspool.log", str(self.log)))
        around = AROUND.format(folder=folder, upstream=upstream, bare_port=self.bare_port, login_port=self.login_port)
        (folder / "nginx.conf").write_text(around)
        _certify(folder)

    def __enter__(self) -> Nginx:
        self.process = subprocess.Popen(
            [needs_nginx(), "-p", self.folder, "-c", self.folder / "nginx.conf", "-e", self.folder / "error.log"],
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "out.log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        wait_until(self._serves)
        return self

    def __exit__(self, _: type[BaseException] | None, fault: BaseException | None, __: TracebackType | None) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def _serves(self) -> bool:
        assert self.process.poll() is None, (self.folder / "out.log").read_text()
        return (self.folder / "nginx.pid").exists()

    @property
    def trust(self) -> ssl.SSLContext:
        """Trusts the site's certificate and nothing else."""
        return ssl.create_default_context(cafile=str(self.folder / "fullchain.pem"))


def _certify(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
