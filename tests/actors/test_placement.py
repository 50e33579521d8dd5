"""Placement: sticky, even, forgetful within bounds, and never deceived by an older activation."""

from __future__ import annotations

from random import Random

import pytest

from actors.placement import Placement
from contracts.commands import SessionKey
from contracts.errors import HostUnavailable


def key(n: int) -> SessionKey:
    return SessionKey("org_default", f"conv_{n}")


def placement(*hosts: str, limit: int = 10_000, capacity: int = 100_000) -> Placement:
    placed = Placement(limit, capacity, Random(1))
    for host in hosts:
        placed.enlist(host, {}, generation=1)
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
    placed.report("busy", 100, {}, [])
    assert {placed.locate(key(n)) for n in range(20)} == {"idle"}


def test_full_hosts_are_drawn_only_where_all_are_full() -> None:
    placed = placement(*"abcdefgh", capacity=1)
    assert {placed.locate(key(n)) for n in range(8)} == set("abcdefgh")
    assert placed.locate(key(8)) in set("abcdefgh")


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
    assert placed.report(home, 500, {key(1): 3}, []) == []
    assert placed.locate(key(1)) == home
    assert placed.report(home, 500, {}, [key(1)]) == []
    assert placed.locate(key(1)) == other


def test_what_one_host_released_stays_where_another_holds_it() -> None:
    placed = placement("a", "b")
    placed.report("a", 1, {key(1): 3}, [])
    placed.report("b", 1, {key(1): 4}, [])
    placed.report("a", 0, {}, [key(1)])
    placed.report("b", 500, {}, [])
    assert placed.locate(key(1)) == "b"


def test_an_unknown_host_is_asked_for_what_it_holds() -> None:
    placed = placement("a")
    assert placed.report("b", 7, {key(1): 1}, []) is None
    assert placed.locate(key(1)) == "a"
    placed.enlist("b", {key(2): 1, key(3): 5}, generation=1)
    assert placed.locate(key(2)) == "b"
    assert placed.hosts["b"] == 2


def test_of_two_claims_the_higher_epoch_wins_and_the_other_host_is_told() -> None:
    placed = placement("a", "b")
    placed.report("a", 1, {key(1): 3}, [])
    assert placed.report("b", 1, {key(1): 4}, []) == []
    assert placed.locate(key(1)) == "b"
    assert placed.report("a", 1, {}, []) == [key(1)]
    assert placed.report("a", 1, {}, []) == [], "told once"


def test_an_older_claim_never_takes_a_session_back() -> None:
    placed = placement("a", "b")
    placed.report("b", 1, {key(1): 4}, [])
    assert placed.report("a", 1, {key(1): 3}, []) == [key(1)]
    assert placed.locate(key(1)) == "b"


def test_a_thawed_host_keeps_what_nobody_else_got() -> None:
    placed = placement("a", "b")
    placed.report("a", 3, {key(1): 3, key(2): 3, key(3): 3}, [])
    placed.remove("a")
    assert placed.locate(key(1)) == placed.locate(key(2)) == "b"
    placed.report("b", 2, {key(1): 4}, [])
    placed.enlist("a", {key(1): 3, key(2): 3, key(3): 3}, generation=1)
    # 1 is active at b, 2 is on its way there, 3 was asked for by nobody.
    assert [placed.locate(key(n)) for n in (1, 2, 3)] == ["b", "b", "a"]
    assert placed.report("a", 3, {}, []) == [key(1)]
    # Once b says that it has 2 after all, a is told.
    placed.report("b", 2, {key(2): 4}, [])
    placed.report("a", 3, {key(2): 3}, [])
    assert placed.locate(key(2)) == "b"


def test_nothing_new_comes_to_a_host_that_drains() -> None:
    placed = placement("a", "b")
    held = next(n for n in range(50) if placed.locate(key(n)) == "a")
    on_the_way = next(n for n in range(held + 1, 50) if placed.locate(key(n)) == "a")
    placed.report("a", 1, {key(held): 1}, [])
    placed.drain("a")
    placed.report("b", 1000, {}, [])
    assert placed.locate(key(held)) == "a", "it is active there, and lives on until it goes"
    assert placed.locate(key(on_the_way)) == "b"
    assert {placed.locate(key(n)) for n in range(100, 120)} == {"b"}
    placed.drain("b")
    with pytest.raises(HostUnavailable):
        placed.locate(key(200))


def test_newcomers_go_to_the_newest_generation_that_is_up() -> None:
    placed = placement("old")
    placed.report("old", 1, {key(1): 1}, [])
    placed.enlist("new", {}, generation=2)
    placed.report("new", 1000, {}, [])
    assert {placed.locate(key(n)) for n in range(10, 30)} == {"new"}
    assert placed.locate(key(1)) == "old"
    placed.remove("new")
    assert placed.locate(key(10)) == "old"


def test_memory_is_bounded() -> None:
    placed = placement("a", limit=10)
    for n in range(25):
        placed.locate(key(n))
    assert len(placed._homes) == 10
