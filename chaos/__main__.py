"""`make chaos`: play the rows of the matrix and print what came of each; exit code 1 when a promise was broken."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from chaos.row import Row, all_rows
from chaos.run import Run, outcome
from chaos.table import table

MINUTES = 1.0


def main() -> None:
    given = options()
    chosen = [row for row in all_rows() if given.rows is None or _is_chosen(row, given.rows.split(","))]
    if not chosen:
        sys.exit(f"no such row; there are: {', '.join(row.number for row in all_rows())}")
    outcomes = []
    for row in chosen:
        print(f"row {row.number}, {row.name}, seed {given.seed}: {row.promise}", file=sys.stderr)
        outcomes.append((row, played(row, given.minutes * 60, given.seed, keep=given.keep)))
        print(told(outcomes[-1][1]), file=sys.stderr)
    print(table(outcomes))
    sys.exit(any(found["breaches"] for _, found in outcomes))


def options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(prog="./run chaos", description=__doc__)
    asked.add_argument("--rows", metavar="1,2,...", help="which; 4 is 4a and 4b too. Default: all")
    asked.add_argument("--minutes", type=float, default=MINUTES, help="how long the harm of each row lasts (1)")
    asked.add_argument("--seed", type=int, default=random.randrange(10**6), help="of what is left to chance")
    asked.add_argument("--keep", type=Path, metavar="FOLDER", help="keep instance and evidence of each row in there")
    return asked.parse_args()


def _is_chosen(row: Row, wanted: list[str]) -> bool:
    return any(row.number == number or row.number.rstrip("abcdefghijklmnopqrstuvwxyz") == number for number in wanted)


def played(row: Row, seconds: float, seed: int, *, keep: Path | None = None) -> dict[str, Any]:
    """Play one row in a folder that goes afterwards, unless its instance and evidence are to be kept in there."""
    folder = Path(tempfile.mkdtemp(prefix=f"chaos{row.number}-", dir="/tmp"))
    try:
        return outcome(Run(row, folder, seconds, random.Random(f"{row.number} {seed}")))
    finally:
        if keep is not None:
            shutil.copytree(folder, keep / f"row-{row.number}", dirs_exist_ok=True, symlinks=True, ignore=_no_sockets)
        shutil.rmtree(folder, ignore_errors=True)


def _no_sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not (Path(folder, name).is_file() or Path(folder, name).is_dir())]


def told(found: dict[str, Any]) -> str:
    return "\n".join(f"  {name}: {value}" for name, value in found.items() if name != "breaches" or value)


if __name__ == "__main__":
    main()
