"""The instance under test: a source of each kind, and a route by which any task is spooled."""

import os
import time
from urllib.parse import unquote_to_bytes

from flask import Flask, jsonify, request

import tasks
from webspool import Source, Webspool, job
from webspool.task import registry

app = Flask(__name__)
hooks = Webspool(app)

KEY, GITHUB = ["env:WEBSPOOL_WEBHOOK_KEY"], ["env:GITHUB_SECRET"]
hooks.add(
    Source("webhook", path="/webhook/<key>", verify="key", secrets=KEY, methods=["GET", "POST"], on={"*": tasks.take})
)
hooks.add(Source("github", verify="github", secrets=GITHUB, on={"push": tasks.push, "*": tasks.see}))
hooks.add(Source("reader", verify="github", secrets=GITHUB, on={"*": tasks.read_json}))
hooks.add(Source("small", verify="github", secrets=GITHUB, max_body=1000, on={"*": tasks.see}))
hooks.add(Source("quiet", verify="none", on={"never": tasks.see}))
hooks.add(Source("open", verify="none", on={"*": tasks.see}))


@app.post("/spool/<name>")
def spool(name):
    given = request.get_json()
    options = {
        option: given.pop(f"_{option}") for option in ("at", "delay", "priority", "key") if f"_{option}" in given
    }
    ordered = registry.tasks[name].options(**options).spool(**given)
    return {"job": ordered.id}, 202


@app.post("/spool_bytes/<name>")
def spool_bytes(name):
    """uWSGI's own form, as code written for it makes it."""
    given = dict(pair.split("=") for pair in request.get_data(as_text=True).split("&"))
    given = {key.encode(): unquote_to_bytes(value) for key, value in given.items()}
    return {"job": registry.tasks[name].spool(given).id}, 202


@app.get("/result/<job_id>")
def result(job_id):
    found = job(job_id)
    return {"state": found.wait(20), "result": found.result}


@app.get("/close_everything")
def close_everything():
    """As code does that thinks it is a daemon."""
    os.closerange(3, 1024)
    return {}


@app.get("/greet/<name>")
def greet(name):
    return {"name": name}


@app.get("/slow/<gate>")
def slow(gate):
    """Answers once the gate is open; a stop must not cut it."""
    tasks.HERE.joinpath(f"inside-{gate}").touch()
    while not tasks.HERE.joinpath(f"gate-{gate}").exists():
        time.sleep(0.005)
    return jsonify(pid=os.getpid())
