"""`make fuzz`: each target for so many seconds; exit code 1 when one of them broke a law."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.parsers import TARGETS
from fuzz.requests import LAWS, described
from tests.instances import BIN, Instance
from tests.strangers import CODE_FILES, SETTINGS


def main() -> None:
    asked = argparse.ArgumentParser(prog="./run fuzz", description=__doc__)
    asked.add_argument("--seconds", type=int, default=30, help="for each target (30)")
    asked.add_argument("--only", metavar="NAME,...", help=f"of requests, {', '.join(TARGETS)}")
    given = asked.parse_args()
    chosen = given.only.split(",") if given.only else ["requests", *TARGETS]
    broken = [name for name in chosen if not _holds(name, given.seconds)]
    print(f"broken: {', '.join(broken)}" if broken else f"{len(chosen)} targets held")
    sys.exit(bool(broken))


def _holds(name: str, seconds: int) -> bool:
    print(f"── {name}, {seconds} s", flush=True)
    return _requests(seconds) if name == "requests" else _parser(name, seconds)


def _requests(seconds: int) -> bool:
    """A running instance under what schemathesis makes of its description; its workers outlive it."""
    with tempfile.TemporaryDirectory(prefix="webspool-fuzz-") as folder:
        schema = Path(folder) / "openapi.json"
        schema.write_text(described())
        unlimited = SETTINGS | {"WEBSPOOL_RATE_PER_ADDRESS": "100000000/second"}
        with Instance(Path(folder) / "instance", CODE_FILES, **unlimited) as instance:
            before = instance.processes().workers
            address = ["--url", f"http://127.0.0.1:{instance.port}", "--max-time", str(seconds)]
            command = [BIN / "schemathesis", "run", schema, *address, "--checks", ",".join(LAWS), "--warnings", "off"]
            held = subprocess.run([*command, "--max-response-time", "5"], check=False, cwd=folder).returncode == 0
            alive = instance.processes().workers == before and instance.answers()
            print(f"{len(instance.refusals())} refusals kept, workers {'live' if alive else 'HAVE CHANGED'}")
            return held and alive


def _parser(name: str, seconds: int) -> bool:
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed (it has no wheel for this Python): left out")
        return True
    command = [sys.executable, "-m", "fuzz.instrumented", name, f"-max_total_time={seconds}", "-print_final_stats=1"]
    return subprocess.run([*command, "-verbosity=0"], check=False, timeout=seconds * 3 + 120).returncode == 0


if __name__ == "__main__":
    main()
