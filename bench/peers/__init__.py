"""The stacks that are compared, one a file. Each gets the same webhook and runs the same task in four consumers."""

from bench.peers.adnanh import ADNANH
from bench.peers.bare import BARE, BARE_FSYNC
from bench.peers.celery import CELERY
from bench.peers.dramatiq import DRAMATIQ
from bench.peers.huey import HUEY, HUEY_FSYNC
from bench.peers.ours import WEBSPOOL
from bench.peers.peer import PATH, Peer
from bench.peers.rq import RQ

PEERS = {peer.key: peer for peer in (WEBSPOOL, BARE, BARE_FSYNC, HUEY, HUEY_FSYNC, DRAMATIQ, CELERY, RQ, ADNANH)}
USUAL = ("webspool", "bare", "bare-fsync", "huey", "huey-fsync")

__all__ = ["PATH", "PEERS", "USUAL", "Peer"]
