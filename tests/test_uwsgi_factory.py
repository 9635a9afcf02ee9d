"""An application factory with Flask-SQLAlchemy, under uWSGI: tasks and routes share the app's own extensions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import needs_uwsgi
from tests.instances import Instance

pytest.importorskip("flask_sqlalchemy")

MODELS = """
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

db = SQLAlchemy()


class Push(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    after: Mapped[str]
"""
TASKS = """
from models import Push, db
from webspool import task


@task
def remember(delivery):
    db.session.add(Push(after=delivery.data["after"]))
    db.session.commit()
    return Push.query.count()


@task(max_attempts=1)
def forget_to_commit(delivery):
    db.session.add(Push(after="never"))
    db.session.flush()
"""
FACTORY = """
from pathlib import Path

import tasks
from flask import Flask
from models import Push, db
from webspool import Source, Webspool

hooks = Webspool()
starts = {"push": tasks.remember, "ping": tasks.forget_to_commit}
hooks.add(Source("github", verify="github", secrets=["env:GITHUB_SECRET"], on=starts))


def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{Path(app.root_path) / 'mine.db'}"
    db.init_app(app)
    hooks.init_app(app)
    with app.app_context():
        db.create_all()

    @app.get("/pushes")
    def pushes():
        return [push.after for push in Push.query.order_by(Push.id)]

    return app
"""


def test_a_factory_and_its_database_serve_routes_and_tasks_alike(tmp_path: Path) -> None:
    """Each attempt has a fresh app context: db.session works in it, and what one left open the next does not see."""
    needs_uwsgi()
    code = {"factory.py": FACTORY, "models.py": MODELS, "tasks.py": TASKS}
    with Instance(tmp_path, code, WEBSPOOL_APP="factory:create_app()") as instance:
        for number, (event, after) in enumerate([("push", "one"), ("ping", "-"), ("push", "two")]):
            reply = instance.webhook(f'{{"after": "{after}"}}'.encode(), event=event, id=f"e{number}")
            job = instance.ended(reply.json["jobs"][0])
            assert job["state"] == "succeeded", job["error"]
        assert job["result"] == 2
        assert instance.get("/pushes").json == ["one", "two"]
