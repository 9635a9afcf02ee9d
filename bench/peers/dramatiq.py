"""Dramatiq on Redis, which flushes once a second; four processes of one thread each."""

from bench.peers.peer import BIN, FLASK, FRONT, REDIS, UWSGI, Peer

TASKS = """
import json

import dramatiq
import probe
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url="redis://127.0.0.1:{redis}/0"))


@dramatiq.actor
def hook(payload):
    probe.work(json.loads(payload))
"""

APP = """
from tasks import hook


@app.post("/hooks/bench")
def receive():
    hook.send(request.get_data(as_text=True))
    return {"ok": True}, 202
"""

DRAMATIQ = Peer(
    "dramatiq",
    "Dramatiq, Redis (everysec)",
    {"app.py": FLASK + APP, "tasks.py": TASKS, "uwsgi.ini": FRONT},
    (UWSGI, REDIS, (str(BIN / "dramatiq"), "tasks", "-p", "4", "-t", "1")),
    modules=("dramatiq", "redis"),
    programs=("redis-server",),
)
