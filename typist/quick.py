"""The command `webspool` without its start-up: a process that has imported it and forks for each call.

For tests that type hundreds of commands. Each call has its own process, folder, environment, input and output; only the
imports are shared. What is typed for the stopwatch takes the real command.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

CALL = """#!{python} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({path!r})
    told = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(asked, [len(told).to_bytes(4, "big") + told], [0, 1, 2])
    asked.shutdown(socket.SHUT_WR)
    ended = asked.recv(1)
sys.exit(ended[0] if ended else "webspool ended without a word")
"""


def install(folder: Path, path: Path) -> None:
    """Write the command to `folder`, which goes before others on PATH."""
    folder.mkdir(exist_ok=True)
    command = folder / "webspool"
    command.write_text(CALL.format(python=sys.executable, path=str(path)))
    command.chmod(0o755)


def serve(path: str) -> None:
    """Answer calls until this process is ended."""
    import webspool.cli
    import webspool.extension
    import webspool.loading

    for name in webspool.cli.COMMANDS.values():
        __import__(name.partition(":")[0])
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen(16)
        while True:
            asked, _ = door.accept()
            if os.fork() == 0:
                _answer(asked)
            asked.close()
            while _reaped():
                pass


def _reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False


def _answer(asked: socket.socket) -> None:
    """Be the command, in a process of its own; its exit code goes back."""
    words, folder, environ = _told(asked)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.argv = ["webspool", *words]
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
        setattr(sys, f"__{name}__", getattr(sys, name))
    code = 70
    try:
        from webspool.cli import main

        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        asked.sendall(bytes([code]))
        os._exit(code)


def _told(asked: socket.socket) -> tuple[list[str], str, dict[str, str]]:
    told, handed, _, _ = socket.recv_fds(asked, 1 << 20, 3)
    for number, descriptor in enumerate(handed):
        os.dup2(descriptor, number)
        os.close(descriptor)
    while piece := asked.recv(1 << 20):
        told += piece
    words, folder, environ = json.loads(told[4:])
    return words, folder, environ


if __name__ == "__main__":
    serve(sys.argv[1])
