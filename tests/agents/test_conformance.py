"""Every registered provider against the simulator."""

from __future__ import annotations

import pytest

from agents.registry import PROVIDERS
from tests.agents.conformance import Conformance
from tests.agents.simulated import SIMULATED, SimulatedProvider
from tests.support.simulator import SimulatorProcess


@pytest.fixture(params=SIMULATED)
def provider(
    request: pytest.FixtureRequest, agents_simulator: SimulatorProcess
) -> SimulatedProvider:
    return SIMULATED[request.param](agents_simulator)


class TestEveryProvider(Conformance):
    """The suite, once per provider."""


def test_no_provider_is_left_out() -> None:
    assert {name.partition("-")[0] for name in SIMULATED} == set(PROVIDERS)
