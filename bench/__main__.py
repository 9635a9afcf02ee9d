"""Measure webspool on this machine, beside others and by itself: `make bench`. Ratios count, seconds are noisy.

compare (the usual): the same webhook through each stack, in turn and again. flat: the same with a million finished jobs
in the ledger, and without. burst, busy, due, idle, large: webspool alone. report: tables of kept measurements; the
rounds of several files are put together.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from bench.alone import MEASURES as ALONE
from bench.alone import alone
from bench.compare import compare
from bench.flat import flat
from bench.peers import PEERS, USUAL
from bench.slower_disk import NoCompiler
from bench.tables import printed

MEASURES = ("compare", "flat", *ALONE, "report")


def main() -> None:
    given = _options().parse_args()
    found = _joined(given.files) if given.measure == "report" else _measured(given)
    if given.json:
        Path(given.json).write_text(json.dumps(found, default=_plain, indent=1))
    print(printed(found))


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    options.add_argument("measure", nargs="?", choices=MEASURES, default="compare")
    options.add_argument("files", nargs="*", type=Path, help="for report: files written by --json")
    options.add_argument("--seconds", type=float, default=5, help="how long each run lasts")
    options.add_argument("--rounds", type=int, default=3, help="how often each is measured, in turn")
    options.add_argument("--only", help=f"stacks by name, separated by commas: {', '.join(PEERS)}")
    options.add_argument("--all", action="store_true", help="every stack (./run bench --all installs them)")
    options.add_argument(
        "--flush-ms", type=float, default=0.0, help="compare: a disk whose flushes take so long at least"
    )
    options.add_argument("--count", type=int, default=50_000, help="how many webhooks a burst has")
    options.add_argument("--json", help="write what was measured into this file too")
    return options


def _measured(given: argparse.Namespace) -> dict[str, Any]:
    if given.measure == "flat":
        return flat(given.rounds, given.seconds)
    if given.measure != "compare":
        return alone(given.measure, given.seconds, given.count)
    names = list(PEERS) if given.all else list(USUAL)
    if given.only:
        names = given.only.split(",")
        if unknown := set(names) - set(PEERS):
            sys.exit(f"--only: no stack is called {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    try:
        return compare(names, given.rounds, given.seconds, given.flush_ms)
    except NoCompiler as fault:
        sys.exit(str(fault))


def _joined(files: list[Path]) -> dict[str, Any]:
    """Several measurements as one; their rounds count on, so that pairs stay pairs."""
    if not files:
        sys.exit("report: name the files that --json has written")
    found: dict[str, Any] = {}
    for path in files:
        more = json.loads(path.read_text())
        if not found:
            found = more
            continue
        begin = 1 + max(row["round"] for row in found["rounds"])
        found["rounds"] += [row | {"round": row["round"] + begin} for row in more["rounds"]]
        found["noise"] += more["noise"]
        found["machine"]["versions"] |= more["machine"]["versions"]
    return found


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{value!r} cannot be kept as JSON")


if __name__ == "__main__":
    main()
