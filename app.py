"""The instance: which sources may speak, and what each event starts. What is done stands in tasks.py."""

from flask import Flask, render_template

import demo  # demo
import tasks
from webspool import Source, Webspool

app = Flask(__name__)
hooks = Webspool(app)

# The simplest source: whoever knows the key in the address. JSON, a form or the query, all the same to the task.
hooks.add(
    Source(
        "webhook",
        path="/webhook/<key>",
        verify="key",
        secrets=["env:WEBSPOOL_WEBHOOK_KEY"],
        methods=("GET", "POST"),
        on={"*": tasks.auto},
    )
)
# GitHub signs what it sends. A push starts both tasks, every other event only the second.
hooks.add(Source("github", verify="github", secrets=["env:GITHUB_SECRET"], on={"push": tasks.deploy, "*": tasks.audit}))
app.register_blueprint(demo.blueprint)  # demo


@app.get("/")
def home():
    """Alive, how many jobs wait, and what to try next."""
    counts = hooks.counts()
    waiting = sum(counts.get(state, 0) for state in ("scheduled", "queued", "blocked"))
    return render_template("home.html", waiting=waiting, running=counts.get("running", 0))


@app.get("/hello/<name>")
def hello(name):
    return render_template("hello.html", name=name)


if __name__ == "__main__":  # an ordinary PC: one process, tasks run in its threads
    app.run(hooks.config.address.host, hooks.config.address.port)
