"""What counts as a ticket that a spooler can take."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from webspool.engines.spool import SpoolEngine, holder
from webspool.engines.taking import set_aside
from webspool.spool_files import NAME, waiting
from webspool.telemetry import unheard

PACKET = b"\x11\x11\x00\x00\x08\x00webspool\x04\x00come"


def test_a_ticket_that_was_set_aside_is_no_ticket_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut may leave one cut short: counted on for ever, it would keep a spooler from ever coming."""
    written: list[object] = []
    uwsgi = SimpleNamespace(spooler_pids=list, spool=written.append)
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    whole, torn = tmp_path / f"{NAME}box_1_1", tmp_path / f"{NAME}box_2_2"
    whole.write_bytes(PACKET)
    torn.write_bytes(PACKET[:-2])
    assert {holder(each) for each in waiting(tmp_path)} == {0}
    set_aside(torn, tmp_path)
    assert torn.is_symlink()
    assert os.path.exists(torn)
    assert waiting(tmp_path) == [whole]
    SpoolEngine(tmp_path, 2, unheard).wake(1)
    assert len(written) == 1
