"""An instance directory whose ledger is filled by real operations, without a keeper."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from webspool.cli import main
from webspool.config import load
from webspool.ledger.client import Client
from webspool.ledger.database import Database
from webspool.ledger.operations import Operation, ending
from webspool.ledger.output import Piece, write_directly
from webspool.ledger.refusals import Refusals
from webspool.policy import Policy, Standing, judge
from webspool.processes import Identity, host_name
from webspool.records import Ending, Outcome, new_id

SUCCEEDED = Outcome(Ending.SUCCEEDED, result='{"done": 3}')
APP = """
from flask import Flask
from webspool import Source, Webspool, task

@task
def deploy(delivery): ...

@task
def audit(delivery): ...

app = Flask(__name__)
Webspool(app).add(Source("github", verify="github", secrets=["literal:s"], on={"push": deploy, "*": audit}))
"""
AGING = {
    "refusal": ("at",),
    "delivery": ("received_at",),
    "job": ("created_at", "started_at", "finished_at"),
    "attempt": ("started_at", "ended_at"),
    "event_key": ("first_at", "until"),
}


def failed(error: str = "ValueError: no such branch", **more: Any) -> Outcome:
    return Outcome(Ending.FAILED, error=error, traceback=f"Traceback\n{error}", **more)


class Furnished:
    """One instance and what was done to its ledger. `run` acts as this very process."""

    def __init__(self, directory: Path, tasks: Sequence[str] = ("deploy", "audit")) -> None:
        self.directory = directory
        (directory / "uwsgi.ini").touch()
        (directory / "app.py").write_text(APP)
        (directory / "my_spools").mkdir()
        self.config = load(directory, {})
        self.client = Client(self.config.ledger_path, self.config.output_path, None)
        self.me = Identity.of(os.getpid())
        if tasks:
            self.config.var.mkdir()
            self.serve(tasks)

    def serve(self, tasks: Sequence[str]) -> None:
        """An instance of one spooler, whose master is this process."""
        entry = {"host": host_name(), "boot": self.me.boot, "pid": self.me.pid, "start": self.me.start}
        self.call("start", {**entry, "engine": "spool"}, id=str(self.me))
        joined = {"process": str(self.me), "instance": str(self.me), "pid": self.me.pid, "start": self.me.start}
        policies = {name: Policy(jitter=0).as_dict() for name in tasks}
        self.call("join", {**joined, "runner_pid": 0, "runner_start": 0, "generation": 1, "tasks": policies})

    def call(self, verb: str, arguments: dict[str, Any], body: bytes = b"", id: str | None = None) -> dict[str, Any]:
        return self.client.call(Operation(id or new_id("x"), verb, arguments, body)).values

    def deliver(
        self,
        *tasks: str,
        source: str = "github",
        event_type: str | None = "push",
        event_id: str | None = None,
        body: bytes = b"{}",
        body_file: bool = False,
        headers: Sequence[list[str]] = (),
    ) -> str:
        """An accepted webhook that starts these tasks; returns the delivery's id."""
        arguments = {
            "source": source,
            "method": "POST",
            "url": f"/hooks/{source}",
            "headers": json.dumps([["Content-Type", "application/json"], *headers]),
            "remote": "192.0.2.1",
            "event_id": event_id,
            "event_type": event_type,
            "body_size": len(body),
            "body_sha256": hashlib.sha256(body).hexdigest(),
            "body_file": body_file,
            "redelivery": "retry",
            "jobs": [{"id": new_id("j"), "task": task} for task in tasks],
        }
        delivery = new_id("d")
        if body_file:
            (self.config.var / "bodies").mkdir(exist_ok=True)
            (self.config.var / "bodies" / delivery).write_bytes(body)
        self.call("accept", arguments, b"" if body_file else body, id=delivery)
        return delivery

    def spool(self, task: str = "deploy", due_at: float | None = None, **arguments: Any) -> str:
        """A job of the instance's own code; returns its id."""
        given = {"task": task, "calling": "keywords", "arguments": json.dumps(arguments), "due_at": due_at}
        answer: str = self.call("spool", {**given, "priority": 0, "key": None}, id=new_id("j"))["job"]
        return answer

    def begin(self) -> dict[str, Any]:
        """Claim the next job; returns its order."""
        claim = {"attempt": new_id("a"), "process": str(self.me), "instance": str(self.me), "generation": 1}
        order: dict[str, Any] = self.call("turn", {"end": None, "claim": claim})["order"]
        return order

    def finish(self, order: dict[str, Any], outcome: Outcome, policy: Policy | None = None, output: bytes = b"") -> str:
        """End the attempt of an order, by the rules; returns the job's id."""
        verdict = judge(outcome, policy or Policy(jitter=0), Standing(order["attempts"], order["interruptions"]))
        if output:
            write_directly(self.config.output_path, [Piece(order["attempt"], 1, 1, 0.0, output)])
        ended = ending(order["attempt"], outcome, verdict) | {"output_bytes": len(output)}
        self.call("turn", {"end": ended, "claim": None})
        job: str = order["job"]
        return job

    def run(self, outcome: Outcome = SUCCEEDED, policy: Policy | None = None, output: bytes = b"") -> str:
        return self.finish(self.begin(), outcome, policy, output)

    def dead(self, error: str = "ValueError: no such branch", task: str = "deploy") -> str:
        """A job that has spent its one attempt."""
        self.spool(task)
        return self.run(failed(error), Policy(max_attempts=1))

    def refuse(self, cause: str = "signature_invalid", body: bytes = b"{}", **given: Any) -> str:
        """A refused webhook, as the keeper writes it; returns its id. It is signed with what is the secret today."""
        headers = [["Content-Type", "application/json"], ["X-GitHub-Event", "push"], ["X-GitHub-Delivery", "e-1"]]
        headers += [["X-Hub-Signature-256", "sha256=" + hmac.digest(b"s", body, "sha256").hex()]]
        arguments = {"source": "github", "cause": cause, "status": 401, "method": "POST", "url": "/hooks/github"}
        arguments |= {"headers": headers, "remote": "192.0.2.9", "body_size": len(body), **given}
        arguments["headers"] = json.dumps(arguments["headers"])
        refusals, refusal = Refusals(), new_id("r")
        refusals.add([Operation(refusal, "refuse", arguments, body)])
        database = Database(self.config.ledger_path)
        with database.transaction(flush=False) as tx:
            refusals.flush(tx)
        database.close()
        return refusal

    def age(self, days: float) -> None:
        """Let everything have happened that much earlier."""
        database = Database(self.config.ledger_path)
        for table, columns in AGING.items():
            moved = ", ".join(f"{column} = {column} - {days * 86400}" for column in columns)
            database.connection.execute(f"UPDATE {table} SET {moved}")
        database.close()

    def files(self) -> set[str]:
        """Every file and folder of the instance."""
        return {str(path.relative_to(self.directory)) for path in self.directory.rglob("*")}

    # ── the command line ────────────────────────────────────────────────────────────────────────────────────────

    def webspool(self, *words: str, input: str | None = None) -> Result:
        """Run a command in this process."""
        return CliRunner().invoke(main, ["--instance", str(self.directory), *words], input=input)

    def json(self, *words: str) -> Any:
        """What a command that succeeds writes with --json."""
        result = self.webspool(*words, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)
