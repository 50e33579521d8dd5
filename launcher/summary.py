"""What a person reads once it is up: where, who answers, whether it is real, and how to stop it."""

from __future__ import annotations

from config.agents import Agent
from config.settings import Settings
from launcher.plan import DASHBOARD, Plan

NAMES = {"postgres": "Postgres", "valkey": "Valkey"}


def summary(plan: Plan, took_s: float) -> str:
    """A few lines; the first one holds the address."""
    settings, places = plan.settings, plan.places
    address = f"http://{shown_host(settings.gateway.host)}:{places.port}"
    embedded = " and ".join(NAMES[name] for name in plan.wanted)
    rows = [
        ("chat page", f"{address}/"),
        ("API", f"{address}/v1, {'no key asked' if settings.open else 'bearer key asked'}"),
        *agent_rows(settings),
        ("data", f"{places.state}, embedded {embedded}" if embedded else "your own servers"),
        ("logs", str(plan.logs)),
        ("dashboard", dashboard(plan)),
    ]
    lines = "\n".join(f"  {title:<10} {text}".rstrip() for title, text in rows)
    return f"\nTroupe is up at {address} after {took_s:.1f} s\n\n{lines}\n\nCtrl-C stops it.\n"


def dashboard(plan: Plan) -> str:
    if plan.dashboard:
        return f"http://127.0.0.1:{plan.ports.dashboard}"
    return f"none; {DASHBOARD}=1 starts Ray with its own"


def agent_rows(settings: Settings) -> list[tuple[str, str]]:
    """One row an agent."""
    agents = {name: standing(settings, agent) for name, agent in settings.agents.items()}
    agents["auto"] = "one of these, as the rules have it"
    width = max(len(name) for name in agents)
    rows = [f"{name:<{width}}  {text}" for name, text in agents.items()]
    return [("agents" if index == 0 else "", row) for index, row in enumerate(rows)]


def standing(settings: Settings, agent: Agent) -> str:
    """Whether an agent is real, and what would make it so."""
    provider = settings.providers[agent.provider]
    if agent.simulated or settings.simulator.mode == "always":
        wish = "" if not agent.simulated else f"; {provider.api_key_env[0]} makes it real"
        return f"simulated{wish}"
    real = [endpoint for endpoint in agent.endpoints if not endpoint.simulated]
    first, count = real[0], len(agent.endpoints)
    provider = settings.providers[first.provider or agent.provider]
    more = "" if count == 1 else f", {len(real)} of {count} endpoints"
    return f"real: {first.model or agent.model} at {first.base_url or provider.base_url}{more}"


def shown_host(host: str) -> str:
    """The host to put in an address that a browser on this machine opens."""
    if host in ("0.0.0.0", "::", ""):  # compared, not listened on
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
