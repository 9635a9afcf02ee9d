"""Celery on Redis, which flushes once a second; four processes, as it comes, without a result backend."""

from bench.peers.peer import BIN, FLASK, FRONT, REDIS, UWSGI, Peer

TASKS = """
import json

import probe
from celery import Celery

celery = Celery("tasks", broker="redis://127.0.0.1:{redis}/0")
celery.conf.task_ignore_result = True


@celery.task(name="hook")
def hook(payload):
    probe.work(json.loads(payload))
"""

APP = """
from tasks import hook


@app.post("/hooks/bench")
def receive():
    hook.delay(request.get_data(as_text=True))
    return {"ok": True}, 202
"""

CELERY = Peer(
    "celery",
    "Celery, Redis (everysec)",
    {"app.py": FLASK + APP, "tasks.py": TASKS, "uwsgi.ini": FRONT},
    (UWSGI, REDIS, (str(BIN / "celery"), "-A", "tasks", "worker", "-c", "4", "--loglevel", "warning")),
    modules=("celery", "redis"),
    programs=("redis-server",),
)
