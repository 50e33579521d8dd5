from __future__ import annotations

from pathlib import Path

import pytest

from config.load import load
from launcher import plan as plan_module
from launcher.places import Places
from launcher.plan import Plan, cpus_for, make_plan
from launcher.summary import shown_host, summary


def plan_for(folder: Path, **environ: str) -> Plan:
    settings = load({"PORT": "8123", **environ})
    return make_plan(settings, Places(folder, 8123, folder / ".troupe"), 20_000)


def test_with_nothing_set_all_is_embedded_and_simulated(tmp_path: Path) -> None:
    plan = plan_for(tmp_path)
    assert plan.wanted == ["postgres", "valkey"]
    assert plan.simulated
    assert plan.environ["TROUPE_SIMULATOR__URL"] == "http://127.0.0.1:20000"
    assert plan.environ["PORT"] == "8123"
    text = summary(plan, 6.12)
    assert "Troupe is up at http://127.0.0.1:8123 after 6.1 s" in text
    assert "gpt     simulated; OPENAI_API_KEY makes it real" in text
    assert "embedded Postgres and Valkey" in text
    assert "no key asked" in text


def test_a_key_makes_an_agent_real(tmp_path: Path) -> None:
    text = summary(plan_for(tmp_path, OPENAI_API_KEY="sk-secret"), 1)
    assert "gpt     real: gpt-5.4-mini at https://api.openai.com/v1" in text
    assert "gemini  simulated" in text
    assert "sk-secret" not in text


def test_a_key_does_not_help_where_everything_is_to_be_simulated(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, OPENAI_API_KEY="sk-secret", TROUPE_SIMULATOR__MODE="always")
    assert plan.simulated
    assert "gpt     simulated" in summary(plan, 1)


def test_outside_servers_are_not_started(tmp_path: Path) -> None:
    plan = plan_for(
        tmp_path, DATABASE_URL="postgresql://db/troupe", REDIS_URL="redis://cache:6379/0"
    )
    assert plan.wanted == []
    assert "DATABASE_URL" not in plan.environ, "it comes with the rest of the environment"
    assert "your own servers" in summary(plan, 1)


def test_a_simulator_that_runs_elsewhere_is_not_started(tmp_path: Path) -> None:
    assert not plan_for(tmp_path, TROUPE_SIMULATOR__URL="http://127.0.0.1:9").simulated


def test_the_dashboard_is_a_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "none; LAUNCHER_DASHBOARD=1" in summary(plan_for(tmp_path), 1)
    monkeypatch.setenv(plan_module.DASHBOARD, "1")
    plan = plan_for(tmp_path)
    assert plan.driver_command()[-1] == "20005"
    assert "http://127.0.0.1:20005" in summary(plan, 1)


def test_ray_is_told_of_enough_cpus_for_what_reserves_some() -> None:
    settings = load({"TROUPE_HOSTS__COUNT": "5", "TROUPE_HOSTS__CPUS": "1"})
    once = 5 * 1 + settings.gateway.replicas * settings.gateway.cpus
    assert cpus_for(settings) > 2 * once, "a deployment starts before the former has gone"


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("name", "name")],
)
def test_the_address_shown_is_one_that_a_browser_opens(host: str, shown: str) -> None:
    assert shown_host(host) == shown
