"""The embedded servers, for real: shared by instances, kept up, and gone with the last of them."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import psutil
import pytest
from redis.asyncio import Redis

from launcher import places as places_module
from launcher.places import Places
from launcher.servers import Hold, ServersFailed, urls
from tests.house.paths import ROOT

BOTH = ["postgres", "valkey"]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    short = Path(tempfile.mkdtemp(prefix="tr-", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    monkeypatch.setattr(places_module, "LONGEST_SHARED", 1000)
    return Places(ROOT, 8000, tmp_path / "state")


@pytest.fixture
async def news() -> list[str]:
    return []


@pytest.fixture
async def hold(places: Places, news: list[str]) -> AsyncIterator[Hold]:
    held = Hold(news.append)
    await held.open(places, BOTH)
    yield held
    await held.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


async def ask(places: Places, query: str) -> object:
    connection = await asyncpg.connect(urls(places)["DATABASE_URL"])
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def pid_of_postgres(places: Places) -> int:
    return int((places.state / "postgres-18" / "postmaster.pid").read_text().split()[0])


async def test_they_are_up_with_the_promises_that_are_built_on(places: Places, hold: Hold) -> None:
    assert await ask(places, "show synchronous_commit") == "on"
    assert await ask(places, "show fsync") == "on"
    assert await ask(places, "show jit") == "off"
    assert await ask(places, "show listen_addresses") == ""
    redis = Redis.from_url(urls(places)["REDIS_URL"])
    assert await redis.config_get("appendonly") == {"appendonly": "no"}
    assert (await redis.config_get("maxmemory-policy"))["maxmemory-policy"] == "volatile-ttl"
    await redis.aclose()


async def test_a_second_instance_shares_them_and_the_last_one_stops_them(
    places: Places, hold: Hold
) -> None:
    pid = pid_of_postgres(places)
    other = Hold(lambda text: None)
    await other.open(places, BOTH)
    assert other.keeper is None, "there is a keeper already"
    assert pid_of_postgres(places) == pid
    await hold.close()
    assert await ask(places, "select 1") == 1, "the other instance still needs them"
    await other.close()
    assert hold.keeper is not None
    hold.keeper.wait()
    assert not psutil.pid_exists(pid)
    assert not (places.state / "postgres-18" / "postmaster.pid").exists(), (
        "it did not stop in order"
    )


async def test_data_are_there_the_next_time(places: Places) -> None:
    for query in ("create table kept as select 42 as number", "select number from kept"):
        hold = Hold(lambda text: None)
        await hold.open(places, BOTH)
        answer = await ask(places, query)
        await hold.close()
    assert answer == 42


async def test_what_valkey_holds_is_there_the_next_time(places: Places) -> None:
    """Turns that a restart of everything interrupts go on from it."""
    for kept in (None, b"so far"):
        hold = Hold(lambda text: None)
        await hold.open(places, ["valkey"])
        async with Redis.from_url(urls(places)["REDIS_URL"]) as redis:
            assert await redis.get("said") == kept
            await redis.set("said", "so far", ex=3600)
        await hold.close()


async def test_an_instance_that_is_killed_needs_them_no_more(places: Places) -> None:
    code = (
        "import asyncio, sys, tempfile\n"
        "from pathlib import Path\n"
        "from launcher import places\n"
        "from launcher.servers import Hold\n"
        "tempfile.tempdir, places.LONGEST_SHARED = sys.argv[1], 1000\n"
        "async def main():\n"
        "    hold = Hold(lambda text: None)\n"
        "    mine = places.Places(Path(sys.argv[2]), 8000, Path(sys.argv[3]))\n"
        "    await hold.open(mine, ['postgres'])\n"
        "    print('up', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    words = [str(tempfile.tempdir), str(ROOT), str(places.state)]
    instance = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, *words), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert instance.stdout is not None
    assert await instance.stdout.readline() == b"up\n"
    pid = pid_of_postgres(places)
    instance.kill()
    await instance.wait()
    await until(lambda: not psutil.pid_exists(pid))


async def test_a_killed_server_is_started_again(
    places: Places, hold: Hold, news: list[str]
) -> None:
    before = pid_of_postgres(places)
    psutil.Process(before).send_signal(signal.SIGKILL)
    await until(lambda: any("Postgres again" in line for line in news))

    await until_postgres_answers(places)
    assert pid_of_postgres(places) != before
    assert not hold.ended.is_set()


async def test_postgres_is_started_again_though_a_backend_outlives_it(
    places: Places, hold: Hold, news: list[str]
) -> None:
    """A busy backend notices the end of its postmaster when its statement is over, not before."""
    connection = await asyncpg.connect(urls(places)["DATABASE_URL"])
    backend = psutil.Process(connection.get_server_pid())
    busy = asyncio.ensure_future(
        connection.fetchval("select count(*) from generate_series(1, 8000000)")
    )
    await until(lambda: "SELECT" in " ".join(backend.cmdline()))
    psutil.Process(pid_of_postgres(places)).kill()
    await until(lambda: any("Postgres again" in line for line in news))
    assert backend.is_running(), "it was no hindrance"
    await until_postgres_answers(places)
    assert not hold.ended.is_set()
    await asyncio.wait({busy})
    connection.terminate()


async def until_postgres_answers(places: Places) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                if await ask(places, "select 1") == 1:
                    return
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)


async def test_a_killed_keeper_takes_them_along_and_says_so(places: Places) -> None:
    hold = Hold(lambda text: None)
    await hold.open(places, BOTH)
    pid = pid_of_postgres(places)
    assert hold.keeper is not None
    hold.keeper.kill()
    await until(hold.ended.is_set)
    await until(lambda: not psutil.pid_exists(pid))
    await hold.close()
    hold.keeper.wait()


async def test_a_server_that_cannot_start_is_a_sentence(places: Places) -> None:
    data = places.state / "postgres-18"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9.6\n")
    hold = Hold(lambda text: None)
    with pytest.raises(ServersFailed, match=r"Postgres did not start; see .*postgres\.log"):
        await hold.open(places, ["postgres"])
    await hold.close()
