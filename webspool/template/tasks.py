"""What is done. A task is your function; a job is one order to run it."""

from webspool import task


@task(concurrency=1, timeout=300)
def auto(delivery):
    """Started by /webhook/<key>: one at a time, in order of arrival."""
    print("got", delivery.data)


@task(max_attempts=8, timeout=300)
def deploy(delivery):
    """Started by a push to a GitHub repository."""
    print("deploying", delivery.data["after"])
