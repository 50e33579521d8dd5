"""Fixtures that several suites share: one of each server and one running Troupe a test session."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.asking import asking_rules
from tests.support.letterbox import Letterbox
from tests.support.simulator import SimulatorProcess
from tests.support.stores import PostgresServer, ValkeyServer
from tests.support.troupe import RunningTroupe

SCRIPTED = {
    "NUMBERED": "scripted.ttft_ms-100.gap_ms-20.tokens-60",
    "SLOW": "scripted.ttft_ms-200.gap_ms-40.tokens-150",
    "LONG": "scripted.ttft_ms-200.gap_ms-80.tokens-150",
    "BROKEN": "scripted.ttft_ms-100.gap_ms-20.tokens-40.fault-abort.at-8",
}


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Shared: ask it for a database of your own, and leave the server itself alone."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    """Shared: what is in it may be wiped at any time; stop or freeze one of your own."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatorProcess]:
    """A provider that remembers what it was sent."""
    with SimulatorProcess() as running:
        yield running


def scripted_agents() -> dict[str, str]:
    """Settings for agents that say what tests can count."""
    environ: dict[str, str] = {}
    for name, model in SCRIPTED.items():
        environ[f"TROUPE_AGENTS__{name}__PROVIDER"] = "openai"
        environ[f"TROUPE_AGENTS__{name}__MODEL"] = model
    # One that breaks off and stays broken: nobody goes on, and its circuits, one for each endpoint,
    # take longer to open than the tests are about to ask it.
    broken = [{"model": f"{SCRIPTED['BROKEN']}.seed-{number}"} for number in range(8)]
    environ["TROUPE_AGENTS__BROKEN__ENDPOINTS"] = json.dumps(broken)
    environ["TROUPE_AGENTS__BROKEN__ATTEMPTS"] = "1"
    return environ


@pytest.fixture(scope="session")
def letterbox() -> Iterator[Letterbox]:
    """A webhook endpoint that the running Troupe tells of turns in the background."""
    with Letterbox() as letterbox:
        yield letterbox


@pytest.fixture(scope="session")
def troupe(
    simulator: SimulatorProcess, letterbox: Letterbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningTroupe]:
    """All of it, as `make run` starts it, with embedded servers of its own."""
    state = tmp_path_factory.mktemp("troupe") / "state"
    environ = {
        "TROUPE_SIMULATOR__URL": simulator.url,
        **scripted_agents(),
        **asking_rules(),
        **letterbox.environ(),
    }
    with RunningTroupe(state, environ) as running:
        yield running
