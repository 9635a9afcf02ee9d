"""`make model`: every state of each scene, then each rule taken out and the shortest way to what that breaks."""

from __future__ import annotations

import sys
from dataclasses import fields, replace

from chaos.model.explore import explore
from chaos.model.life import Rules
from chaos.model.scenes import LARGE, SHOWN_IN, SMALL


def main() -> None:
    broken = False
    for name, life in (SMALL | LARGE).items():
        found = explore(life)
        broken = broken or found.broken is not None
        verdict = "every law holds" if found.broken is None else _told(found.broken, found.way)
        print(f"{name}: {found.states} states, {found.moves} moves: {verdict}", flush=True)
    for rule in (field.name for field in fields(Rules)):
        life = SMALL[SHOWN_IN[rule]]
        found = explore(replace(life, rules=Rules(**{rule: False})))
        broken = broken or found.broken is None
        print(f"\nwithout {rule}: {_told(found.broken or 'nothing', found.way)}", flush=True)
    sys.exit(broken)


def _told(law: str, way: list[str]) -> str:
    steps = "".join(f"\n  {number}. {move}" for number, move in enumerate(way, 1))
    return f"{law} is broken, in {len(way)} moves:{steps}"


if __name__ == "__main__":
    main()
