"""RQ on Redis, which flushes once a second; a pool of four workers, which fork for each job."""

from bench.peers.peer import BIN, FLASK, FRONT, REDIS, UWSGI, Peer

TASKS = """
import json

import probe


def hook(payload):
    probe.work(json.loads(payload))
"""

APP = """
from redis import Redis
from rq import Queue
from tasks import hook

queue = Queue("bench", connection=Redis(port={redis}))


@app.post("/hooks/bench")
def receive():
    queue.enqueue(hook, request.get_data(as_text=True), result_ttl=0)
    return {"ok": True}, 202
"""

POOL = (str(BIN / "rq"), "worker-pool", "bench", "-n", "4", "--url", "redis://127.0.0.1:{redis}", "--quiet")

RQ = Peer(
    "rq",
    "RQ, Redis (everysec)",
    {"app.py": FLASK + APP, "tasks.py": TASKS, "uwsgi.ini": FRONT},
    (UWSGI, REDIS, POOL),
    modules=("rq", "redis"),
    programs=("redis-server",),
)
