"""Row 8: clients that hold a server up, beside senders that want to be answered."""

from __future__ import annotations

import time
from dataclasses import replace

from chaos.row import row
from chaos.run import Run
from tests.hostile import MANNERS, Connect, bare, crowd, tls
from tests.nginx_house import NAME, Nginx

WORKERS = 4
MAX_BODY = 26214400
SILENT = ("half a line", "half a body", "a body a byte at a time")
PHASE_SECONDS, BETWEEN_SECONDS = 3.0, 1.5
WAITING_SECONDS = 14.0


@row(
    "8a",
    "hostile clients, no proxy",
    broken="1,000 idle connections, deaf clients, slow ones fewer than workers; then more of them than workers",
    promise="webhooks beside them are acknowledged; with as many slow clients as workers, once those are thrown out",
)
def hostile_clients(run: Run) -> None:
    """Slow headers in the number of the workers are left out: that needs a proxy, as the documentation says."""
    with run.serving(WEBSPOOL_WORKERS=str(WORKERS)) as house, run.load(per_second=30):
        connect = bare(house.instance.port)
        crowds = [("idle", 1000), ("deaf", 100), *((manner, WORKERS - 1) for manner in MANNERS)]
        while run.time_left():
            for manner, number in crowds:
                _beside(run, connect, manner, number, "worker")
        for manner in SILENT:
            with run.harming(f"{WORKERS} clients, {manner},", "worker"), crowd(connect, manner, WORKERS) as made:
                give_up = time.monotonic() + WAITING_SECONDS
                while made.thrown_out < WORKERS and time.monotonic() < give_up:
                    time.sleep(0.1)
                if made.thrown_out < WORKERS:
                    run.breach(f"after {WAITING_SECONDS:g} s {manner} holds a worker still")
            time.sleep(BETWEEN_SECONDS)


@row(
    "8b",
    "hostile clients, nginx",
    broken="the same, a hundred of each at once, in front of nginx with the site of `webspool init --nginx`",
    promise="webhooks beside them are acknowledged",
)
def hostile_clients_behind_nginx(run: Run) -> None:
    """From another address than the senders: nginx limits the requests of each."""
    folder = run.folder / "nginx"
    folder.mkdir()
    with (
        run.serving(WEBSPOOL_TRUSTED_PROXIES="1") as house,
        Nginx(folder, f"127.0.0.1:{house.instance.port}", MAX_BODY) as nginx,
    ):
        run.target = replace(run.target, port=nginx.port, trust=nginx.trust)
        with run.load(per_second=20):
            while run.time_left():
                for manner in MANNERS:
                    _beside(run, tls(nginx.port, nginx.trust, NAME, "127.0.0.7"), manner, 100, "nginx")


def _beside(run: Run, connect: Connect, manner: str, number: int, who: str) -> None:
    before = _acked(run)
    with run.harming(f"{number} clients, {manner},", who), crowd(connect, manner, number):
        time.sleep(PHASE_SECONDS)
        if _acked(run) == before:
            run.breach(f"nobody was answered beside {number} clients, {manner}")
    time.sleep(BETWEEN_SECONDS)


def _acked(run: Run) -> int:
    return (run.evidence / "sent.jsonl").read_text().count('"status": 202')
