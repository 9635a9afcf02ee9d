"""What is done. Everything printed here is kept with the job and passed on to the terminal."""

from webspool import task


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
