"""The keeper's verb: write the ledger in batches, release what is due, rescue what was lost."""

from webspool.keep.keeper import Folders, Keeper
from webspool.keep.prune import Retention

__all__ = ["Folders", "Keeper", "Retention"]
