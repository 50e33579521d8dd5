from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.simulator import SimulatorProcess


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(args=("--ttft-ms", "0", "--gap-ms", "0", "--jitter-ms", "0")) as process:
        process.clear()
        yield process
