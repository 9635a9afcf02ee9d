"""What is done. Everything printed here is kept with the job and passed on to the terminal."""

import ipaddress
import re
import subprocess

from webspool import Discard, task


@task(concurrency=1)  # one at a time, begun in the order of arrival
def auto(delivery):
    """Whatever comes in at /webhook/<key>."""
    print("auto:", delivery.data)


@task(max_attempts=8, timeout=300)
def deploy(delivery):
    """A push to GitHub."""
    print("deploying", delivery.data.get("after"))


@task
def audit(delivery):
    """Every event of GitHub."""
    print(delivery.event_type, delivery.event_id, f"{len(delivery.body)} bytes")


@task
def report(month):
    """Spooled by your own code: tasks.report.spool(month=11), or .spool(month=11, delay=60)."""
    print("the report of month", month)
    return {"month": month, "pages": 3}


HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")


@task(max_attempts=1, timeout=60)  # for the dashboard's page Run, and: webspool run ping host=example.org --follow
def ping(host: str):
    """Five pings to a host, each shown as it comes."""
    if not HOST.fullmatch(host) and not is_address(host):
        raise Discard(f"{host!r} is no host's name and no address")
    command = ["ping", "-c", "5", host]  # a list, so no shell reads it; a host never begins with "-"
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        raise Discard("there is no program ping here; on Debian or Ubuntu: apt-get install iputils-ping") from None
    with process:
        for line in process.stdout:
            print(line, end="", flush=True)
    if process.returncode:
        raise RuntimeError(f"ping {host} ended with exit code {process.returncode}")


def is_address(text):
    """Whether it is an IPv4 or IPv6 address."""
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False
