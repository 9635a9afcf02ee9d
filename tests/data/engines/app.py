"""The instance on which every engine keeps the same laws."""

from flask import Flask, g, request

import tasks
from webspool import Source, Webspool
from webspool.task import registry

app = Flask(__name__)
hooks = Webspool(app)
hooks.add(Source("github", verify="github", secrets=["env:GITHUB_SECRET"], on={"push": tasks.see, "*": tasks.audit}))


@app.post("/spool/<name>")
def spool(name):
    given = request.get_json()
    options = {key: given.pop(f"_{key}") for key in ("at", "delay", "priority", "key") if f"_{key}" in given}
    return {"job": registry.tasks[name].options(**options).spool(**given).id}, 202


@app.post("/run/<float:seconds>")
def run(seconds):
    """The inline engine runs when told, and time passes when told."""
    hooks.engine.advance(seconds)
    return {"ran": len(hooks.engine.run())}


@app.teardown_appcontext
def count_contexts(_fault):
    g.pop("mark", None)


if __name__ == "__main__":
    app.run(hooks.config.address.host, hooks.config.address.port)
