"""What an attempt printed, as text in numbered chunks: letters that a piece cuts in two are put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from webspool.config import Config
from webspool.errors import NotFound
from webspool.ledger import reading
from webspool.ledger.output import Piece, read_pieces
from webspool.records import FINISHED

PIECES_AT_ONCE = 64
LONGEST_LETTER = 4
SHOWN_BYTES = 128 << 10


def job_output(config: Config, job_id: str, attempt: int | None, after: int) -> dict[str, Any]:
    """What that attempt of a job (None: its last one) printed after chunk number `after`, and how the job stands.

    `mark` is another word whenever something else than the chunks has changed. Raises NotFound.
    """
    job = reading.job(config, job_id)
    history = job["history"]
    chosen = _chosen(history, attempt)
    if chosen is None and attempt is not None:
        raise NotFound(kind="attempt", id=f"{attempt} of {job_id}")
    ended = chosen is not None and chosen["ended_at"] is not None
    found = chunks(config, chosen["id"], after, ended=ended) if chosen else []
    return {
        "job": job["id"],
        "state": job["state"],
        "error": job["error"],
        "finished": job["state"] in FINISHED,
        "attempt": chosen["number"] if chosen else None,
        "attempts": len(history),
        "ended": ended,
        "chunks": [asdict(chunk) for chunk in found],
        "after": found[-1].number if found else after,
        "more": len(found) == PIECES_AT_ONCE,
        "mark": f"{job['state']} {len(history)} {ended}",
    }


def _chosen(history: list[dict[str, Any]], number: int | None) -> dict[str, Any] | None:
    if number is None:
        return history[-1] if history else None
    return next((each for each in history if each["number"] == number), None)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some text of the output: `number` is that of its piece, `line` the line in which it begins, from 1."""

    number: int
    line: int
    at: float
    text: str


def chunks(config: Config, attempt: str, after: int, *, ended: bool) -> list[Chunk]:
    """The chunks that follow number `after`, at most 64; a letter that is not whole yet waits for the next."""
    low = max(after - LONGEST_LETTER, 0)
    before = read_pieces(config.output_path, attempt, after=low, most=after - low) if after else []
    carried = _unfinished(b"".join(piece.bytes for piece in before if piece.number <= after))
    pieces = read_pieces(config.output_path, attempt, after=after, most=PIECES_AT_ONCE)
    found = []
    for place, piece in enumerate(pieces):
        data, last = carried + piece.bytes, ended and place + 1 == len(pieces) < PIECES_AT_ONCE
        carried = b"" if last else _unfinished(data)
        text = data[: len(data) - len(carried)].decode("utf-8", "replace")
        found.append(Chunk(piece.number, piece.first_line, piece.at, text))
    return found


def _unfinished(data: bytes) -> bytes:
    """The beginning of a letter at the end of the bytes (RFC 3629, 3)."""
    for back in range(1, min(LONGEST_LETTER, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 2 if byte & 0xE0 == 0xC0 else 3 if byte & 0xF0 == 0xE0 else 4 if byte & 0xF8 == 0xF0 else 1
        return data[-back:] if length > back else b""
    return b""


def last_text(config: Config, attempt: str) -> tuple[str, bool]:
    """The end of an attempt's output as text, and whether something before it is left out."""
    data, cut = b"", False
    for piece in every_piece(config, attempt):
        data += piece.bytes
        if len(data) > 2 * SHOWN_BYTES:
            data, cut = data[-SHOWN_BYTES:], True
    cut = cut or len(data) > SHOWN_BYTES
    return data[-SHOWN_BYTES:].decode("utf-8", "replace"), cut


def every_piece(config: Config, attempt: str) -> Iterable[Piece]:
    """All the pieces, a few at a time."""
    after = 0
    while pieces := read_pieces(config.output_path, attempt, after=after, most=PIECES_AT_ONCE):
        yield from pieces
        after = pieces[-1].number
