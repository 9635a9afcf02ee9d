"""What webhooks order: each is an event of that type, and starts the task of that name in `chaos/instance/tasks.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """How often it is sent (`weight`), how often it may be tried, and how its jobs end.

    `dead_by`: a text in the error of its jobs, all of which are to end dead by their own doing. None: they succeed;
    one that ends dead all the same needs a cause that the killer's log confirms. `body_bytes`: how large its body is.
    """

    weight: int
    limit: int = 20
    dead_by: str | None = None
    body_bytes: int = 200


ORDERS = {
    "quick": Order(60),
    "large": Order(8, body_bytes=150_000),
    "slow": Order(5),
    "limited": Order(8),
    "flaky": Order(9),
    "failing": Order(5, limit=3, dead_by="ordered to fail"),
    "suicidal": Order(2, limit=2, dead_by="SIGKILL"),
}
PROBE = "probe"
