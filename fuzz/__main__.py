"""`make fuzz`: each target for so many seconds; exit code 1 when one of them broke a law."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fuzz.parsers import TARGETS
from fuzz.requests import DASHBOARD, LAWS, described
from tests.instances import BIN, Instance
from tests.strangers import CODE_FILES, SETTINGS


def main() -> None:
    asked = argparse.ArgumentParser(prog="./run fuzz", description=__doc__)
    asked.add_argument("--seconds", type=int, default=30, help="for each target (30)")
    asked.add_argument("--only", metavar="NAME,...", help=f"of requests, api, {', '.join(TARGETS)}")
    given = asked.parse_args()
    chosen = given.only.split(",") if given.only else ["requests", "api", *TARGETS]
    broken = [name for name in chosen if not _holds(name, given.seconds)]
    print(f"broken: {', '.join(broken)}" if broken else f"{len(chosen)} targets held")
    sys.exit(bool(broken))


def _holds(name: str, seconds: int) -> bool:
    print(f"── {name}, {seconds} s", flush=True)
    match name:
        case "requests":
            return _requests(seconds)
        case "api":
            return _api(seconds)
        case _:
            return _parser(name, seconds)


def _requests(seconds: int) -> bool:
    """A running instance under what schemathesis makes of its description; its workers outlive it."""
    with _instance(CODE_FILES, WEBSPOOL_RATE_PER_ADDRESS="100000000/second") as instance:
        schema = instance.directory / "asked.json"
        schema.write_text(described())
        held = _asked(instance, schema, seconds)
        print(f"{len(instance.refusals())} refusals kept")
        return held


def _api(seconds: int) -> bool:
    """The API of the dashboard, with an operator's token, on an instance where something of everything is there."""
    with _instance({}, WEBSPOOL_SECRET_KEY="s" * 32) as instance:
        for number in range(3):
            instance.webhook(b'{"n": %d}' % number)
        instance.spool("fail", times=9)
        token = instance.command("token", "add", "fuzz", "--role", "operator").stdout.strip()
        return _asked(instance, DASHBOARD, seconds, "/dashboard/api", "-H", f"Authorization: Bearer {token}")


@contextmanager
def _instance(code: Mapping[str, str], **settings: str) -> Iterator[Instance]:
    with (
        tempfile.TemporaryDirectory(prefix="webspool-fuzz-") as folder,
        Instance(Path(folder) / "instance", code, **SETTINGS | settings) as instance,
    ):
        yield instance


def _asked(instance: Instance, schema: Path, seconds: int, below: str = "", *more: str) -> bool:
    """Whether all was answered as the description says, and the workers outlived it."""
    before = instance.processes().workers
    address = ["--url", f"http://127.0.0.1:{instance.port}{below}", "--max-time", str(seconds), *more]
    command = [BIN / "schemathesis", "run", schema, *address, "--checks", ",".join(LAWS), "--warnings", "off"]
    command += ["--max-response-time", "5"]
    held = subprocess.run(command, check=False, cwd=instance.directory).returncode == 0
    alive = instance.processes().workers == before and instance.answers()
    print(f"workers {'live' if alive else 'HAVE CHANGED'}")
    return held and alive


def _parser(name: str, seconds: int) -> bool:
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed (it has no wheel for this Python): left out")
        return True
    command = [sys.executable, "-m", "fuzz.instrumented", name, f"-max_total_time={seconds}", "-print_final_stats=1"]
    return subprocess.run([*command, "-verbosity=0"], check=False, timeout=seconds * 3 + 120).returncode == 0


if __name__ == "__main__":
    main()
