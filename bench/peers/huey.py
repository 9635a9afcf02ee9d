"""Huey on SQLite with four worker processes; with `fsync` its commits are flushed (PRAGMA synchronous=FULL)."""

from bench.peers.peer import BIN, FLASK, FRONT, UWSGI, Peer

TASKS = """
import json

import probe
from huey import SqliteHuey

huey = SqliteHuey(filename="huey.db", results=False, fsync={fsync})


@huey.task()
def hook(payload):
    probe.work(json.loads(payload))


huey.storage.close()  # what a fork would share
"""

APP = """
from tasks import hook


@app.post("/hooks/bench")
def receive():
    hook(request.get_data(as_text=True))
    return {"ok": True}, 202
"""

CONSUMER = (str(BIN / "huey_consumer"), "tasks.huey", "-w", "4", "-k", "process")


def _huey(key: str, title: str, fsync: bool) -> Peer:
    files = {"app.py": FLASK + APP, "tasks.py": TASKS.replace("{fsync}", str(fsync)), "uwsgi.ini": FRONT}
    return Peer(key, title, files, (UWSGI, CONSUMER), modules=("huey",))


HUEY = _huey("huey", "Huey, SQLite, no fsync", False)
HUEY_FSYNC = _huey("huey-fsync", "Huey, SQLite, fsync", True)
