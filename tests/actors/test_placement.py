"""Placement: sticky, even, forgetful within bounds."""

from __future__ import annotations

from random import Random

import pytest

from actors.placement import Placement
from contracts.commands import SessionKey
from contracts.errors import HostUnavailable


def key(n: int) -> SessionKey:
    return SessionKey("org_default", f"conv_{n}")


def placement(*hosts: str, limit: int = 10_000) -> Placement:
    placed = Placement(limit, Random(1))
    for host in hosts:
        placed.register(host, [])
    return placed


def test_nobody_is_up() -> None:
    with pytest.raises(HostUnavailable):
        placement().locate(key(1))


def test_a_session_stays_where_it_is() -> None:
    placed = placement("a", "b", "c")
    homes = {n: placed.locate(key(n)) for n in range(50)}
    assert {n: placed.locate(key(n)) for n in range(50)} == homes


def test_newcomers_spread_evenly() -> None:
    placed = placement("a", "b", "c", "d")
    for n in range(400):
        placed.locate(key(n))
    loads = placed.hosts.values()
    assert sum(loads) == 400
    assert max(loads) - min(loads) <= 8


def test_of_two_hosts_the_less_loaded_one_is_taken() -> None:
    placed = placement("busy", "idle")
    placed.report("busy", 100, [])
    assert {placed.locate(key(n)) for n in range(20)} == {"idle"}


def test_a_lost_host_gives_its_sessions_up() -> None:
    placed = placement("a", "b")
    homes = {n: placed.locate(key(n)) for n in range(20)}
    assert set(homes.values()) == {"a", "b"}
    placed.remove("a")
    assert {placed.locate(key(n)) for n in range(20)} == {"b"}
    kept = [n for n, home in homes.items() if home == "b"]
    assert all(placed.locate(key(n)) == "b" for n in kept)


def test_a_released_session_may_be_placed_anew() -> None:
    placed = placement("a", "b")
    home = placed.locate(key(1))
    other = "b" if home == "a" else "a"
    assert placed.report(home, 500, [key(1)])
    assert placed.locate(key(1)) == other


def test_an_unknown_host_is_told_to_register_and_brings_its_sessions() -> None:
    placed = placement("a")
    assert not placed.report("b", 7, [])
    placed.register("b", [key(1), key(2)])
    assert placed.locate(key(1)) == "b"
    assert placed.hosts["b"] == 2


def test_memory_is_bounded() -> None:
    placed = placement("a", limit=10)
    for n in range(25):
        placed.locate(key(n))
    assert len(placed._homes) == 10
