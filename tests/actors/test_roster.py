"""Which hosts there should be: by names alone, and old ones go only when new ones can take over."""

from __future__ import annotations

from actors.roster import Member, Roster, is_host, parse
from contracts.hosts import HostAddress

PATIENCE_S = 10.0


def roster(wanted: int = 2, generation: int = 20) -> Roster:
    return Roster(generation, wanted, PATIENCE_S)


def up(member: Member, node: str = "n1") -> Member:
    member.address = HostAddress(f"id-{member.name}", "127.0.0.1", 1, "secret")
    member.node = node
    return member


def names(members: list[Member]) -> list[str]:
    return [member.name for member in members]


def test_a_name_says_whose_host_it_is() -> None:
    assert parse("host-20-3") == (20, 3)
    assert parse("host-1") == parse("host-x-y") == (0, 0)
    assert is_host("host-20-3") and not is_host("directory")


def test_names_are_used_once_whoever_remembers_them() -> None:
    first = roster()
    assert first.add(first.new_name()).name == "host-20-1"
    assert first.add(first.new_name()).name == "host-20-2"
    first.members.pop("host-20-2")
    assert first.new_name() == "host-20-3"
    again = roster()
    for name in ("host-20-7", "host-20-2", "host-19-30"):
        again.add(name)
    assert again.new_name() == "host-20-8"


def test_as_many_are_missing_as_neither_run_nor_start() -> None:
    hosts = roster(wanted=3)
    hosts.add("host-19-1")
    assert hosts.missing == 3
    starting = hosts.add(hosts.new_name())
    assert hosts.missing == 2 and not hosts.complete
    up(starting).draining = True
    assert hosts.missing == 3, "one that drains is replaced before it is gone"
    for _ in range(3):
        up(hosts.add(hosts.new_name()))
    assert hosts.missing == 0 and hosts.complete


def test_old_hosts_stay_until_the_new_ones_are_up() -> None:
    hosts = roster()
    for name in ("host-19-1", "host-19-2"):
        up(hosts.add(name))
    first, second = (hosts.add(hosts.new_name()), hosts.add("host-20-2"))
    assert hosts.outdated(0) == []
    up(first)
    assert hosts.outdated(0) == []
    up(second)
    assert names(hosts.outdated(0)) == ["host-19-1", "host-19-2"]


def test_after_a_while_one_new_host_is_enough() -> None:
    hosts = roster()
    up(hosts.add("host-19-1"))
    up(hosts.add(hosts.new_name()))
    hosts.add(hosts.new_name())
    assert hosts.outdated(PATIENCE_S - 1) == []
    assert names(hosts.outdated(PATIENCE_S)) == ["host-19-1"]


def test_where_there_is_no_place_old_hosts_give_up_theirs_one_by_one() -> None:
    hosts = roster()
    old = [up(hosts.add(name)) for name in ("host-19-1", "host-19-2")]
    hosts.add(hosts.new_name())
    assert hosts.outdated(PATIENCE_S) == old[:1]
    old[0].draining = True
    assert hosts.outdated(PATIENCE_S) == []
    hosts.members.pop(old[0].name)
    assert hosts.outdated(PATIENCE_S) == old[1:]


def test_hosts_on_nodes_that_go_are_found_once() -> None:
    hosts = roster()
    here, there = up(hosts.add("host-20-1"), "n1"), up(hosts.add("host-20-2"), "n2")
    assert hosts.on_nodes({"n1": 0, "n3": 0}) == [here]
    here.draining = True
    assert hosts.on_nodes({"n1": 0, "n2": 0}) == [there]


def test_for_a_host_whose_node_goes_another_one_is_up_first() -> None:
    hosts = roster(wanted=1)
    leaving = up(hosts.add("host-20-1"))
    assert hosts.complete and hosts.missing == 0
    leaving.leaving = True
    assert hosts.missing == 1 and not hosts.complete
    new = hosts.add(hosts.new_name())
    assert hosts.missing == 0 and not hosts.complete
    up(new, "n2")
    assert hosts.complete
    assert hosts.outdated(PATIENCE_S) == [], "it is no host of an older deployment"


def test_addresses_are_those_of_hosts_that_are_up() -> None:
    hosts = roster()
    member = up(hosts.add("host-20-1"))
    hosts.add("host-20-2")
    assert [address.host_id for address in hosts.addresses] == ["id-host-20-1"]
    assert hosts.by_id("id-host-20-1") is member
    assert hosts.by_id("id-host-20-2") is None
