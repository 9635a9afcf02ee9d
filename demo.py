"""Four ways to run something in the background, side by side; docs/explanation.md weighs them.

/thread              a thread of Python's: gone when the process ends
/uwsgi_thread        uWSGI's @thread: the same, in one line
/uwsgi_spool         a task of ours: durable, tried again, seen and steered
/uwsgi_spool_dropin  uWSGI's @spool with one import changed: durable too, fed with a dictionary of bytes
"""

import hmac
import threading
import time
from http import HTTPStatus

from flask import Blueprint, abort, current_app, jsonify, request

from webspool import SPOOL_OK, SPOOL_RETRY, task, uwsgidecorators

blueprint = Blueprint("demo", __name__)


def work(seconds):
    """Something slow."""
    for second in range(1, seconds + 1):
        print(f"Working... {second}/{seconds}", flush=True)
        time.sleep(1)


@blueprint.route("/thread", defaults={"seconds": 5}, methods=["GET", "POST"])
@blueprint.route("/thread/<int:seconds>", methods=["GET", "POST"])
def thread(seconds):
    threading.Thread(target=work, args=(seconds,), daemon=True).start()
    return started("thread", seconds, durable=False)


@blueprint.route("/uwsgi_thread", defaults={"seconds": 5}, methods=["GET", "POST"])
@blueprint.route("/uwsgi_thread/<int:seconds>", methods=["GET", "POST"])
def uwsgi_thread(seconds):
    try:
        uwsgidecorators.thread(work)(seconds)
    except uwsgidecorators.NotHere as why:
        abort(problem(501, "needs_uwsgi", str(why)))
    return started("uwsgi_thread", seconds, durable=False)


@task(name="demo_work", timeout=120)
def work_as_task(seconds):
    work(seconds)


@blueprint.route("/uwsgi_spool", defaults={"seconds": 5}, methods=["GET", "POST"])
@blueprint.route("/uwsgi_spool/<int:seconds>", methods=["GET", "POST"])
def uwsgi_spool(seconds):
    job = work_as_task.spool(seconds=seconds, at=asked_time())
    return started("uwsgi_spool", seconds, durable=True, job=job.id)


def prepare_spooler_args(**kwargs):
    """uWSGI's spooler takes a dictionary of bytes."""
    return {name.encode(): str(value).encode() for name, value in kwargs.items()}


@uwsgidecorators.spool(name="demo_work_dropin", timeout=120)
def work_from_bytes(args):
    try:
        work(int(args["seconds"]))
    except OSError:
        return SPOOL_RETRY
    return SPOOL_OK


@blueprint.route("/uwsgi_spool_dropin", defaults={"seconds": 5}, methods=["GET", "POST"])
@blueprint.route("/uwsgi_spool_dropin/<int:seconds>", methods=["GET", "POST"])
def uwsgi_spool_dropin(seconds):
    job = work_from_bytes.spool(prepare_spooler_args(seconds=seconds, at=asked_time() or ""))
    return started("uwsgi_spool_dropin", seconds, durable=True, job=job.id)


def started(way, seconds, **more):
    return jsonify({"started": True, "way": way, "seconds": seconds, **more}), 202


def asked_time():
    """When ?delay=3 is, as Unix seconds; None without it."""
    try:
        delay = float(request.args.get("delay", "0"))
    except ValueError:
        delay = -1.0
    if not 0 <= delay <= 3600:
        abort(problem(400, "delay_out_of_range", "delay is a number of seconds, 0 to 3600"))
    return time.time() + delay if delay else None


@blueprint.before_request
def ask_for_the_key():
    key = current_app.extensions["webspool"].config.webhook_key or ""
    bearer = request.headers.get("Authorization", "").partition("Bearer ")[2]
    given = request.headers.get("X-Webspool-Key") or bearer or request.args.get("key", "")
    if not given:
        return problem(401, "signature_missing", "send the key: ?key=, X-Webspool-Key, or Authorization: Bearer")
    if not key or not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), key.encode()):
        return problem(401, "signature_invalid", "this is not the key in .env, WEBSPOOL_WEBHOOK_KEY")
    return None


@blueprint.before_request
def limit_the_seconds():
    if not 1 <= request.view_args["seconds"] <= 60:
        return problem(400, "seconds_out_of_range", "the number of seconds in the path is 1 to 60")
    return None


def problem(status, cause, detail):
    """An error as RFC 9457 has it."""
    title = HTTPStatus(status).phrase
    answer = jsonify({"type": "about:blank", "title": title, "status": status, "detail": detail, "cause": cause})
    answer.status_code, answer.mimetype = status, "application/problem+json"
    return answer
