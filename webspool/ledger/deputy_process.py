"""The inside of a deputy: a process that runs no code of the app's and writes what it is asked to over its stdin."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path += sys.argv[2:]

from webspool import frames
from webspool.errors import WebspoolError
from webspool.ledger.anchor import Anchor
from webspool.ledger.direct import OwnHand
from webspool.ledger.operations import Operation

IDLE_SECONDS = 10.0
LOOK_SECONDS = 1.0
RECEIVED_AT_ONCE = 1 << 16


def main() -> None:
    """Write for the process that began this one, until that is gone or wants nothing any more.

    What asks the instance to stop is meant for others: who began this one may have something to write still.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    connection = socket.socket(fileno=0)
    connection.sendall(b".")  # it has begun
    serve(connection, Path(sys.argv[1]))


def serve(connection: socket.socket, ledger: Path) -> None:
    """Answer what comes over the connection, until it ends or has been silent for ten seconds."""
    hand, anchor, decoder = OwnHand(ledger), Anchor(ledger), frames.Decoder()
    connection.settimeout(LOOK_SECONDS)
    idle = 0.0
    while idle < IDLE_SECONDS:
        anchor.look()
        try:
            data = connection.recv(RECEIVED_AT_ONCE)
            if not data:
                break
            for message, body in decoder.feed(data):
                connection.sendall(_answer(hand, Operation.from_frame(message, body)))
            idle = 0.0
        except TimeoutError:
            idle += LOOK_SECONDS
        except OSError:  # nobody hears it
            break
    anchor.let_go()


def _answer(hand: OwnHand, operation: Operation) -> bytes:
    told: dict[str, Any] = {"id": operation.id}
    try:
        answer = hand.write(operation, operation.deadline)
    except WebspoolError as fault:
        return frames.encode(told | {"why": getattr(fault, "why", str(fault))})
    except Exception as fault:
        return frames.encode(told | {"why": f"{type(fault).__name__}: {fault}"})
    return frames.encode(told | {"is": answer.values}, answer.body)


if __name__ == "__main__":
    main()
