"""Frames: what goes in comes out, whatever the pieces in which it arrives."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webspool import frames

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MESSAGE = st.dictionaries(st.text(), JSON, max_size=4)
FRAME = st.tuples(MESSAGE, st.binary(max_size=200))


@given(st.lists(FRAME, max_size=6), st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_frames_survive_any_cutting_of_the_stream(sent, sizes):
    """However the stream is cut into pieces, the same frames come out in the same order."""
    stream = b"".join(frames.encode(message, body) for message, body in sent)
    decoder, received, at, turn = frames.Decoder(), [], 0, 0
    while at < len(stream):
        piece = stream[at : at + sizes[turn % len(sizes)]]
        at, turn = at + len(piece), turn + 1
        received += decoder.feed(piece)
    assert received == sent


@given(st.lists(FRAME, min_size=1, max_size=6))
def test_many_frames_in_one_piece_come_out_at_once(sent):
    """One recv may hold many frames; one feed hands them all out."""
    assert frames.Decoder().feed(b"".join(frames.encode(*frame) for frame in sent)) == sent


def test_bodies_come_out_as_bytes():
    """Both the quick and the gathering path hand out real bytes, never views of a buffer that changes."""
    frame = frames.encode({"a": 1}, b"raw")
    decoder = frames.Decoder()
    quick = decoder.feed(frame)
    slow = decoder.feed(frame[:5]) + decoder.feed(frame[5:])
    assert quick == slow == [({"a": 1}, b"raw")]
    assert {type(body) for _, body in quick + slow} == {bytes}


@pytest.mark.parametrize("message", [{"t": "\udcff é"}, {"n": 1 << 70}, {"\udcff": [-(1 << 64)]}])
def test_what_messagepack_cannot_hold_travels_too(message):
    """Undecodable bytes held as surrogates (PEP 383) and endless numbers go through a frame unharmed."""
    frame = frames.encode(message)
    assert frame[8:].isascii()
    assert frames.Decoder().feed(frame) == [(message, b"")]


def test_an_infinite_deadline_travels():
    """An operation without a deadline holds infinity."""
    assert frames.Decoder().feed(frames.encode({"deadline": math.inf})) == [({"deadline": math.inf}, b"")]


@pytest.mark.parametrize("cut", [0, 8, 20])
def test_a_frame_over_the_limit_is_refused_before_it_is_gathered(cut):
    """The announced length decides, whether the frame comes whole or in pieces."""
    frame = frames.encode({"a": 1}, bytes(100))
    decoder = frames.Decoder(limit=len(frame) - 1)
    with pytest.raises(ValueError, match="over the limit"):
        decoder.feed(frame[:cut] if cut else frame)


def test_a_frame_over_the_limit_is_not_made():
    """What the other side would refuse is refused where it is made."""
    with pytest.raises(ValueError, match="over the limit"):
        frames.encode({}, bytes(frames.LARGEST_FRAME))


@pytest.mark.parametrize(
    "text",
    [b"[]", b"{", b"\xff", b"", b"[" * 100_000, b'{"a":' * 100_000, b"\x90", b"\x81\xa1a\x91", b"\x91" * 100_000],
)
def test_what_is_no_message_is_refused(text):
    """Nonsense on the wire is a ValueError, never another exception."""
    frame = struct.pack(">II", len(text), 0) + text
    for pieces in ([frame], [frame[:3], frame[3:]]):
        decoder = frames.Decoder()
        with pytest.raises(ValueError, match=r".+"):
            [decoder.feed(piece) for piece in pieces]
