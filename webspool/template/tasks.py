"""What is done. A task is your function; a job is one order to run it."""

import ipaddress
import re
import subprocess

from webspool import Discard, task


@task(concurrency=1, timeout=300)
def auto(delivery):
    """Started by /webhook/<key>: one at a time, in order of arrival."""
    print("got", delivery.data)


@task(max_attempts=8, timeout=300)
def deploy(delivery):
    """Started by a push to a GitHub repository."""
    print("deploying", delivery.data["after"])


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
