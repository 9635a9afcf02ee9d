"""A target under atheris, which sees what branches its inputs take: `python -m fuzz.instrumented NAME [options]`."""

from __future__ import annotations

import importlib
import sys

import atheris


def main() -> None:
    with atheris.instrument_imports(include=["webspool"]):
        target = importlib.import_module("fuzz.parsers").TARGETS[sys.argv.pop(1)]

    def once(data: bytes) -> None:
        target(atheris.FuzzedDataProvider(data))

    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
