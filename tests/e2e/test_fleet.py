"""Hosts and the Directory are killed, frozen, replaced and drained; sessions answer all the while.

All of it happens to one instance, in the order of this file.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from websockets.sync.client import connect

from tests.support.fixtures import scripted_agents
from tests.support.operator import Operator
from tests.support.simulator import SimulatorProcess
from tests.support.troupe import RunningTroupe

LIMIT_S = 60.0
COUNT = 8
SLOWLY = "".join(f"t{n} " for n in range(150))

pytestmark = [pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def fleet(
    simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningTroupe]:
    state = tmp_path_factory.mktemp("fleet") / "state"
    environ = {
        "TROUPE_SIMULATOR__URL": simulator.url,
        # How long Serve lets a former gateway stay without a request, in case a load balancer has
        # not noticed yet; there is none here.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        **scripted_agents(),
    }
    with RunningTroupe(state, environ) as running:
        yield running


@pytest.fixture(scope="module")
def operator(fleet: RunningTroupe) -> Iterator[Operator]:
    with Operator(fleet) as operator:
        yield operator


@pytest.fixture(scope="module")
def client(fleet: RunningTroupe) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{fleet.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def sessions(client: openai.OpenAI) -> list[str]:
    """Sessions that know their own number, active on the hosts."""
    return [born(client, number) for number in range(COUNT)]


def born(client: openai.OpenAI, number: int) -> str:
    session = client.conversations.create().id
    client.responses.create(model="gpt", input=f"My name is N{number}.", conversation=session)
    return session


def all_answer(client: openai.OpenAI, sessions: list[str]) -> None:
    """Every session still knows who it is."""

    def name(session: str) -> str:
        asked = "What is my name?"
        return client.responses.create(model="gpt", input=asked, conversation=session).output_text

    with ThreadPoolExecutor(len(sessions)) as pool:
        answers = list(pool.map(name, sessions))
    assert [f"N{number}" in answer for number, answer in enumerate(answers)] == [True] * COUNT


def epoch(fleet: RunningTroupe, session: str) -> int:
    """Of the session's activation."""
    with connect(f"ws://127.0.0.1:{fleet.port}/v1/conversations/{session}/ws") as socket:
        socket.send(json.dumps({"type": "session.open"}))
        return json.loads(socket.recv(timeout=LIMIT_S))["epoch"]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.1)


def test_a_directory_that_was_killed_knows_again_where_sessions_live(
    fleet: RunningTroupe, operator: Operator, client: openai.OpenAI, sessions: list[str]
) -> None:
    homes, epochs = operator.where(*sessions), [epoch(fleet, each) for each in sessions]
    assert len(set(homes)) == 2, "they are spread over both hosts"
    before = operator.actors()
    os.kill(before["directory"], signal.SIGKILL)
    until(lambda: operator.actors().get("directory", 0) not in (0, before["directory"]), "it is up")
    until(lambda: len(operator.loads()) == 2, "both hosts have answered it")
    assert operator.where(*sessions) == homes
    all_answer(client, sessions)
    assert [epoch(fleet, each) for each in sessions] == epochs, "none was activated anew"
    assert operator.hosts() == {k: pid for k, pid in before.items() if k != "directory"}


def test_a_directory_that_was_killed_revives_hosts(
    operator: Operator, client: openai.OpenAI, sessions: list[str]
) -> None:
    """Whoever comes to be the Directory watches over the hosts, not only the one that made them."""
    before, ids = operator.actors(), set(operator.loads())
    name, pid = next((name, pid) for name, pid in before.items() if name.startswith("host-"))
    os.kill(pid, signal.SIGKILL)
    all_answer(client, sessions)
    until(lambda: operator.hosts().get(name, pid) != pid, "Ray has started it anew")
    until(lambda: len(operator.loads()) == 2, "it is taken in again")
    assert len(set(operator.loads()) - ids) == 1, "as another host"


def test_a_frozen_host_is_left_and_does_not_take_its_sessions_back(
    fleet: RunningTroupe, operator: Operator, client: openai.OpenAI, sessions: list[str]
) -> None:
    frozen_id = operator.where(sessions[0])[0]
    name = operator.by_id()[frozen_id]
    pid = operator.hosts()[name]
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: answers(client, sessions[0]), "it is answered elsewhere")
        home = operator.where(sessions[0])[0]
        assert home != frozen_id
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: frozen_id in operator.loads(), "the thawed host is taken in again")
    assert operator.hosts()[name] == pid, "it is the same process"
    assert operator.where(sessions[0])[0] == home
    all_answer(client, sessions)
    assert operator.where(sessions[0])[0] == home


def answers(client: openai.OpenAI, session: str) -> bool:
    try:
        client.responses.create(model="gpt", input="Still there?", conversation=session)
    except openai.APIStatusError:
        return False
    return True


def test_a_deployment_brings_hosts_of_its_own_and_lets_the_old_ones_end(
    fleet: RunningTroupe, operator: Operator, client: openai.OpenAI, sessions: list[str]
) -> None:
    """Fewer of them than before, since that is how a fleet is made smaller."""
    before, epochs = operator.hosts(), [epoch(fleet, each) for each in sessions]
    with ThreadPoolExecutor(1) as pool:
        stream = client.responses.create(
            model="slow", input="count", conversation=sessions[0], stream=True
        )
        first = next(stream)
        deploying = pool.submit(operator.deploy, TROUPE_HOSTS__COUNT="1")
        events = [first, *stream]
        generation = deploying.result()
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == SLOWLY
    until(lambda: not before.keys() & operator.hosts().keys(), "the old ones have ended")
    assert list(operator.hosts()) == [f"host-{generation}-1"]
    all_answer(client, sessions)
    moved = [epoch(fleet, each) for each in sessions]
    assert all(after > before for before, after in zip(epochs, moved, strict=True))


def test_hosts_leave_a_node_that_is_about_to_go_for_another_one(
    operator: Operator, client: openai.OpenAI, sessions: list[str]
) -> None:
    """The node itself stays: it has the Directory and the gateway on it."""
    operator.add_node()
    before = operator.hosts()
    assert before
    operator.drain_node(600)
    until(lambda: not before.keys() & operator.hosts().keys(), "they have ended")
    until(lambda: len(operator.loads()) == len(before), "others are there in their place")
    all_answer(client, sessions)
