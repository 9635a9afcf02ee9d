"""python -m typist tutorial: a fresh clone in an empty folder, everything typed for real, with a stopwatch."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from typist import ready
from typist.pages import PAGES, ROOT, blocks
from typist.pc import OnPC
from typist.server import Administrator, Fresh, base
from typist.terminal import Terminal
from typist.tutorial import Reader

PORT = 8000
CACHE = Path.home() / ".cache" / "webspool-typist"


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run type", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    tutorial = commands.add_parser("tutorial", help="the whole tutorial on a fresh clone, with its real waits")
    tutorial.add_argument("--uncached", action="store_true", help="pip downloads everything anew")
    tutorial.add_argument("--port", type=int, default=PORT)
    pc = commands.add_parser("pc", help="the whole tutorial as on a PC without uWSGI and what only Unix has")
    pc.add_argument("--port", type=int, default=PORT)
    server = commands.add_parser("server", help="the page on servers in a fresh Debian; needs root and debootstrap")
    server.add_argument("--cache", type=Path, default=CACHE, help="where the unpacked Debian is kept")
    commands.add_parser("not-run", help="the blocks of the pages that are not run, and why")
    given = parser.parse_args()
    match given.command:
        case "tutorial":
            type_tutorial(Reader, given.port, uncached=given.uncached)
        case "pc":
            type_tutorial(OnPC, given.port, uncached=False)
        case "server":
            type_server(given.cache)
        case "not-run":
            print(*(f"{block}: {block.not_run}" for page in PAGES for block in blocks(page) if block.not_run), sep="\n")


def type_tutorial(kind: type[Reader], port: int, *, uncached: bool) -> None:
    """In a folder of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="webspool-tutorial-") as name:
        folder = Path(name)
        clone = folder / "webspool"
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", clone], check=True)
        environ = ready.environ(folder / "home") | ready.pip(uncached=uncached)
        if port != PORT:
            environ["WEBSPOOL_BIND"] = f"127.0.0.1:{port}"
        with Terminal(clone, environ) as first, Terminal(folder, environ) as second:
            timed(kind(first, second, clone, port))


def type_server(cache: Path) -> None:
    """In a copy of the unpacked Debian."""
    with tempfile.TemporaryDirectory(prefix="webspool-server-") as name:
        folder = Path(name)
        with Fresh(folder, base(cache)) as machine:
            timed(Administrator(machine))


def timed(person: Reader | Administrator) -> None:
    """Go through the page; tell what was reached when, and what it stumbled over."""
    try:
        person.go()
    except AssertionError as fault:
        traceback.print_exc()
        sys.exit(f"stumbled: {fault}")
    finally:
        for what, seconds in person.told:
            print(f"{seconds:7.1f} s  {what}")


main()
