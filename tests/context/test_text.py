"""What no database can hold is taken out, and nothing else."""

from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from context.text import storable, storable_cuts

anything = st.text(
    alphabet=st.one_of(st.characters(), st.sampled_from("\x00\ud800\udfffab")), max_size=60
)


@given(anything)
def test_the_rest_stays_in_order(text: str) -> None:
    kept = storable(text)
    kept.encode()
    assert "\x00" not in kept
    assert kept == "".join(c for c in text if c != "\x00" and not 0xD800 <= ord(c) <= 0xDFFF)


@given(anything, st.lists(st.integers(0, 60)))
def test_a_streamed_text_keeps_its_number_of_pieces(text: str, ends: list[int]) -> None:
    bounds = sorted({min(end, len(text)) for end in ends} | {0, len(text)})
    cuts = [b - a for a, b in pairwise(bounds)]
    kept, lengths = storable_cuts(text, cuts)
    assert kept == storable(text)
    assert len(lengths) == len(cuts)
    starts = [0, *accumulate(lengths)]
    for piece, start, length in zip(pairwise(bounds), starts, lengths, strict=False):
        assert kept[start : start + length] == storable(text[piece[0] : piece[1]])


def test_clean_text_is_the_very_same() -> None:
    text = "Straße, 東京, 🎉"
    assert storable(text) is text
    assert storable_cuts(text, [3, len(text) - 3]) == (text, [3, len(text) - 3])
