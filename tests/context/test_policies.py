"""Policies in Postgres: versions, revisions, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from context.memory import ContextMemory
from context.policies import Policies
from contracts.errors import Conflict, NotFound
from contracts.policies import BASE


@pytest.fixture
async def policies(memory: ContextMemory, database: str) -> AsyncIterator[Policies]:
    connection = await asyncpg.connect(database)
    await connection.execute("DELETE FROM policies")
    yield memory.policies
    await connection.close()


async def test_versions_count_for_each_scope_and_revisions_over_all(policies: Policies) -> None:
    assert await policies.newest(BASE) is None
    first = await policies.put(BASE, "rules: []", author="ada", note="begin")
    other = await policies.put("org_a", "tier: gold")
    second = await policies.put(BASE, "agents: {}", rolled_back_to=1)
    assert [(p.scope, p.version) for p in (first, other, second)] == [
        (BASE, 1),
        ("org_a", 1),
        (BASE, 2),
    ]
    assert first.revision < other.revision < second.revision
    assert (first.text, first.author, first.note) == ("rules: []", "ada", "begin")
    assert await policies.newest(BASE) == second
    assert second.rolled_back_to == 1
    assert await policies.version(BASE, 1) == first
    assert await policies.versions(BASE, 10) == [second, first]
    assert await policies.versions(BASE, 1) == [second]


async def test_only_what_changed_since_is_newer(policies: Policies) -> None:
    await policies.put(BASE, "1")
    seen = await policies.put("org_a", "2")
    assert await policies.newer(seen.revision) == []
    await policies.put("org_a", "3")
    last = await policies.put("org_a", "4")
    assert await policies.newer(seen.revision) == [last], "only the newest of each scope"
    assert {(p.scope, p.version) for p in await policies.newer(0)} == {(BASE, 1), ("org_a", 3)}


async def test_what_has_changed_meanwhile_is_not_overwritten(policies: Policies) -> None:
    first = await policies.put(BASE, "1", expected=0)
    for stale in (0, 2):
        with pytest.raises(Conflict) as caught:
            await policies.put(BASE, "2", expected=stale)
        assert caught.value.cause_code == "policy_changed"
    other = await policies.put("org_a", "x", expected=0)
    with pytest.raises(Conflict):
        await policies.put(BASE, "2", expected=1, after=first.revision)
    assert (await policies.put(BASE, "2", expected=1, after=other.revision)).version == 2


async def test_of_those_that_come_at_once_one_is_kept(policies: Policies) -> None:
    seen = (await policies.put(BASE, "0")).revision
    puts = [policies.put(f"org_{n}", "x", after=seen) for n in range(6)]
    done = await asyncio.gather(*puts, return_exceptions=True)
    assert sum(isinstance(one, Conflict) for one in done) == 5
    assert len(await policies.newer(seen)) == 1


async def test_those_that_come_at_once_all_have_a_version(policies: Policies) -> None:
    done = await asyncio.gather(*(policies.put(BASE, str(n)) for n in range(8)))
    assert sorted(policy.version for policy in done) == list(range(1, 9))
    by_version = sorted(done, key=lambda policy: policy.version)
    revisions = [policy.revision for policy in by_version]
    assert revisions == sorted(revisions)


async def test_a_version_that_is_not_there(policies: Policies) -> None:
    with pytest.raises(NotFound):
        await policies.version(BASE, 1)
