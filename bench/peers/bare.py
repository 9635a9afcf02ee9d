"""uWSGI's own spooler, as it is; and with the file and its folder synced before the answer, as a 2xx would ask."""

from bench.peers.peer import FLASK, FRONT, UWSGI, Peer

APP = """
import json
import os

import probe
import uwsgi


@app.post("/hooks/bench")
def hook():
    keep(uwsgi.spool({b"payload": request.get_data()}))
    return {"ok": True}, 202


@app.post("/spool")
def spool():
    for facts, at in probe.orders(request.get_json()):
        order = {b"payload": json.dumps(facts).encode()}
        if at:
            order[b"at"] = str(int(at)).encode()
        keep(uwsgi.spool(order))
    return {"ok": True}, 202


def run(order):
    probe.work(json.loads(order[b"payload"]))
    return uwsgi.SPOOL_OK


uwsgi.spooler = run
"""

UNKEPT = """
def keep(path):
    pass
"""

KEPT = """
def keep(path):
    for each in (path, os.path.dirname(path)):
        try:
            descriptor = os.open(each, os.O_RDONLY)
        except FileNotFoundError:  # it has run already
            continue
        os.fsync(descriptor)
        os.close(descriptor)
"""

SPOOLER = """spooler = {directory}/my_spools
spooler-processes = 4
spooler-frequency = 1
spooler-quiet = true
"""


def _bare(key: str, title: str, keep: str) -> Peer:
    return Peer(key, title, {"app.py": FLASK + APP + keep, "uwsgi.ini": FRONT + SPOOLER}, (UWSGI,))


BARE = _bare("bare", "bare spooler, nothing durable", UNKEPT)
BARE_FSYNC = _bare("bare-fsync", "bare spooler + fsync of file and folder", KEPT)
