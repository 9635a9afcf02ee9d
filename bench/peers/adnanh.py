"""adnanh/webhook, which starts a program for each webhook and keeps nothing; here a shell script that tells the time.

It verifies the signature as we do. Nothing bounds how many programs run at once.
"""

import json

from bench.peers.peer import Peer

RULE = {"type": "payload-hmac-sha256", "secret": "bench"}
HOOKS = [
    {
        "id": "bench",
        "execute-command": "DIRECTORY/run.sh",
        "pass-arguments-to-command": [{"source": "payload", "name": "sent"}],
        "trigger-rule": {"match": RULE | {"parameter": {"source": "header", "name": "X-Hub-Signature-256"}}},
    }
]

RUN = """#!/bin/bash
began=$EPOCHREALTIME
printf '%s %s %s %07d\\n' "$1" "$began" "$EPOCHREALTIME" $$ >>"${0%/*}/told"
"""

ADNANH = Peer(
    "adnanh",
    "adnanh/webhook, nothing durable",
    {"hooks.json": json.dumps(HOOKS).replace("DIRECTORY", "{directory}"), "run.sh": RUN},
    (("webhook", "-hooks", "hooks.json", "-ip", "127.0.0.1", "-port", "{port}"),),
    programs=("webhook", "bash"),
)
