"""webspool as it is delivered: verified, deduplicated, synced, recorded, its output captured."""

from bench.peers.peer import UWSGI, Peer

APP = """
import time

import probe
from flask import Flask, request
from webspool import Source, Webspool, task

app = Flask(__name__)
hooks = Webspool(app)


@task
def hook(delivery):
    probe.work(delivery.data)


@task
def work(facts):
    probe.work(facts)


@task
def nothing(delivery):
    pass


hooks.add(Source("bench", verify="github", secrets=["literal:bench"], on={"push": hook}))
hooks.add(Source("noop", verify="github", secrets=["literal:bench"], on={"push": nothing}))


@app.post("/spool")
def spool():
    given = request.get_json()
    for facts, at in probe.orders(given):
        work.options(at=at).spool(facts=facts)
    return {"ok": True}, 202
"""

INI = """[uwsgi]
exec-asap = webspool --instance "%d" check
ini = exec://webspool --instance "%d" ini
"""

WEBSPOOL = Peer(
    "webspool",
    "webspool",
    {"app.py": APP, "uwsgi.ini": INI, ".env": "WEBSPOOL_BIND=127.0.0.1:{port}\n"},
    (UWSGI,),
)
