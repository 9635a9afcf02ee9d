"""The same reads and actions as JSON, under /dashboard/api/, as openapi.json beside this folder describes them."""

from webspool.dashboard.api import actions, reads, running, surveying
from webspool.dashboard.api.answers import answered, blueprint, problem

__all__ = ["actions", "answered", "blueprint", "problem", "reads", "running", "surveying"]
