"""What counts as a ticket that a spooler can take."""

from __future__ import annotations

from pathlib import Path

from webspool.engines.spool import holder, spool_files
from webspool.engines.taking import set_aside
from webspool.spool_files import NAME

TICKET = b"\x11\x11\x00\x00\x08\x00webspool\x04\x00come"


def test_a_ticket_that_was_set_aside_is_no_ticket_any_more(tmp_path: Path) -> None:
    """A power cut may leave one cut short: counted on for ever, it would keep a spooler from ever coming."""
    whole, torn = tmp_path / f"{NAME}box_1_1", tmp_path / f"{NAME}box_2_2"
    whole.write_bytes(TICKET)
    torn.write_bytes(TICKET[:-2])
    assert {holder(each) for each in spool_files(tmp_path)} == {0}
    set_aside(torn, tmp_path)
    assert torn.is_symlink()
    assert spool_files(tmp_path) == [whole]
