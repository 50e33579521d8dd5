from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.simulator import SimulatorProcess

pytest.register_assert_rewrite("tests.agents.conformance")


@pytest.fixture(scope="session")
def agents_simulator() -> Iterator[SimulatorProcess]:
    """One simulator for all tests of adapters."""
    with SimulatorProcess() as simulator:
        yield simulator
