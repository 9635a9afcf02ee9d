"""Which sources may speak, and what each event starts."""

from flask import Flask

import tasks
from webspool import Source, Webspool

app = Flask(__name__)
hooks = Webspool(app)

# GET or POST to /webhook/<key>; the key is WEBSPOOL_WEBHOOK_KEY in .env
hooks.add(
    Source(
        "webhook",
        path="/webhook/<key>",
        verify="key",
        secrets=["env:WEBSPOOL_WEBHOOK_KEY"],
        methods=["GET", "POST"],
        on={"*": tasks.auto},
    )
)

# POST to /hooks/github; type GITHUB_SECRET of .env into GitHub: Settings, Webhooks, Secret
hooks.add(Source("github", verify="github", secrets=["env:GITHUB_SECRET"], on={"push": tasks.deploy}))


@app.get("/")
def alive():
    return {"alive": True, "jobs": hooks.counts()}


if __name__ == "__main__":
    app.run(hooks.config.address.host, hooks.config.address.port)
