"""The instance that is harmed: a webhook of any type starts the task of that name."""

from flask import Flask

import tasks
from webspool import Source, Webspool
from webspool.task import registry

app = Flask(__name__)
hooks = Webspool(app)
on = {name: task.options(priority=1000) if name == "probe" else task for name, task in registry.tasks.items()}
for path, view in getattr(tasks, "ROUTES", {}).items():  # what a row adds
    app.add_url_rule(path, view_func=view)
hooks.add(Source("github", verify="github", secrets=["env:GITHUB_SECRET"], on=on))
