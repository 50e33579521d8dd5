"""Any stream, in any pieces, gives the same events."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.sse import SseReader
from contracts.errors import ProviderProtocol

LIMIT = 1 << 20
LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
TEXT = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=("Cs",)))
NOISE = st.sampled_from(
    [b": ping", b":", b"event: delta", b"id: 7", b"retry: 10", b"datax: no", b"x", b"dat"]
)


def events_of(pieces: list[bytes], limit: int = LIMIT) -> list[bytes]:
    reader = SseReader(limit)
    found = [event for piece in pieces for event in reader.feed(piece)]
    return found + reader.close()


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream and what it says, written the ways the standard allows."""
    raw, said = b"\xef\xbb\xbf" if draw(st.booleans()) else b"", []
    for lines in draw(st.lists(st.lists(TEXT, min_size=1, max_size=3), max_size=6)):
        end = draw(LINE_ENDS)
        for line in lines:
            for noise in draw(st.lists(NOISE, max_size=2)):
                raw += noise + end
            colon = b"data:" if not line.startswith(" ") and draw(st.booleans()) else b"data: "
            raw += colon + line.encode() + end
        raw += end * draw(st.integers(1, 2))
        said.append("\n".join(lines).encode())
    return raw, said


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(raw), *(place % (len(raw) + 1) for place in places)})
    return [raw[a:b] for a, b in itertools.pairwise(marks)]


@given(streams(), st.lists(st.integers(min_value=0), max_size=20))
def test_whatever_the_pieces(stream: tuple[bytes, list[bytes]], places: list[int]) -> None:
    raw, said = stream
    assert events_of(cut(raw, places)) == said


@given(streams())
def test_byte_by_byte(stream: tuple[bytes, list[bytes]]) -> None:
    raw, said = stream
    assert events_of([raw[n : n + 1] for n in range(len(raw))]) == said


@given(
    st.lists(st.sampled_from([b"data:", b"data", b" ", b"\n", b"\r", b":", b"\xc3\xa9", b"x"])),
    st.lists(st.integers(min_value=0), max_size=9),
)
def test_pieces_never_matter(parts: list[bytes], places: list[int]) -> None:
    raw = b"".join(parts)
    assert events_of(cut(raw, places)) == events_of([raw])


def test_an_event_is_out_with_its_last_byte() -> None:
    """Nothing is held back until more arrives: not for CRLF, not for a bare CR either."""
    for end in (b"\n", b"\r\n", b"\r"):
        reader = SseReader(LIMIT)
        assert reader.feed(b"data: a" + end + end) == [b"a"]
        assert reader.feed(b"data: b" + end + end) == [b"b"]


def test_a_last_event_without_its_blank_line() -> None:
    assert events_of([b"data: a\n\ndata: b"]) == [b"a", b"b"]
    assert events_of([b"data: a\n\ndata: b\n"]) == [b"a", b"b"]
    assert events_of([b"data: a\n\n: b\n"]) == [b"a"]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: " + b"x" * 101 + b"\n\n"],
        [b"data: " + b"x" * 60, b"x" * 60],
        [b"data: xxxxxxxx\n"] * 13,
        [b":" + b"x" * 60, b"x" * 60],
        [b"data\n"] * 102,
    ],
    ids=["one line", "a line without end", "an event without end", "a comment", "empty lines"],
)
def test_an_event_over_the_limit(pieces: list[bytes]) -> None:
    with pytest.raises(ProviderProtocol, match="more than 100 bytes"):
        events_of(pieces, limit=100)


def test_the_limit_is_on_one_event() -> None:
    pieces = [b"data: " + b"x" * 50 + b"\n\n"] * 50
    assert len(events_of(pieces, limit=100)) == 50
