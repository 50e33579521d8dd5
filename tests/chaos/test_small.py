"""The same run as `make chaos`, small: real processes die while twenty sessions talk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from chaos import check, report
from chaos.conductor import Outcome, against
from chaos.faults import Target
from chaos.instance import Instance
from chaos.plan import Plan
from chaos.silence import silences
from tests.support.simulator import SimulatorProcess
from tests.support.troupe import RunningTroupe

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(480)]

PLAN = replace(
    Plan(),
    sessions=20,
    seconds=0,
    faults=("host", "valkey", "gateway", "amnesia"),
    calm_s=1.0,
    think_s=0.5,
    ttft_ms=100,
    gap_ms=40,
    tokens=40,
)


@pytest.fixture(scope="module")
def instance(
    simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Instance]:
    state = tmp_path_factory.mktemp("chaos") / "state"
    environ = {
        "TROUPE_SIMULATOR__URL": simulator.url,
        "OPENAI_API_KEY": "chaos",
        "OPENAI_BASE_URL": simulator.openai_url,
        "TROUPE_AGENTS__GPT__MODEL": PLAN.provider_model,
        "TROUPE_GATEWAY__REPLICAS": str(PLAN.gateways),
        "TROUPE_HOSTS__COUNT": str(PLAN.hosts),
    }
    with RunningTroupe(state, environ) as running:
        yield Instance(running.url, running.processes()[0].pid)


async def test_nothing_is_lost_or_doubled(instance: Instance, tmp_path: Path) -> None:
    target = Target(instance, Random(PLAN.seed), PLAN.freeze_s, None)
    outcome: Outcome = await against(PLAN, target, print)
    print(report.table(outcome))
    assert outcome.unwell == []
    assert [strike.fault for strike in outcome.strikes] == list(PLAN.faults)
    running = silences(outcome.answers, outcome.strikes)
    assert all(running[fault] for fault in PLAN.faults), "a fault met no running answer"
    legs = {leg for answer in outcome.answers for leg in answer.legs}
    assert {"continue", "restart"} <= legs, "no answer went on elsewhere"
    assert len(outcome.answers) >= 2 * PLAN.sessions
    assert check.count(outcome.findings) == dict.fromkeys(check.COUNTED, 0)
    assert report.passed(outcome)
