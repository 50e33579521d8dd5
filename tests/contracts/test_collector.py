from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from contracts.collector import YOUNG, settle


@pytest.fixture
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_what_is_there_is_set_aside_and_what_comes_is_still_collected() -> None:
    old: list[object] = []
    settle()
    new: list[object] = []
    looked_at = {id(one) for one in gc.get_objects()}
    assert id(new) in looked_at and id(old) not in looked_at
    assert gc.get_threshold()[0] == YOUNG
    for _ in range(100):
        ring: list[object] = []
        ring.append(ring)
        del ring
    assert gc.collect() >= 100
