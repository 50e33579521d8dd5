"""The admin API as the console meets it, played by a test without any server.

It says what the real one says, in the same shapes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Route

from console import static_directory

CONSOLE_URL = "http://console.test/"

RULES: list[dict[str, Any]] = [
    {
        "name": "angry-gold",
        "from": "org_acme",
        "when": 'user.tier == "gold" && session.failures > 1',
        "agent": "gpt",
        "on_failure": "restart",
    },
    {
        "name": "by-price",
        "from": "org_acme",
        "when": "double(message.metadata.price) > 100.0",
        "agent": "gemini",
    },
    {
        "name": "canary",
        "from": "base",
        "when": "message.length > 40",
        "split": {"by": "user", "agents": {"gpt": 95, "gpt-next": 5}},
    },
    {
        "name": "topics",
        "from": "base",
        "when": 'message.language == "de"',
        "semantic": {
            "embedder": "openai",
            "examples": {"billing": ["Wo ist meine Rechnung?"], "travel": ["Wann geht der Zug?"]},
            "min_score": 0.4,
            "else": "gemini",
        },
    },
    {
        "name": "code",
        "from": "settings",
        "when": {"keywords": ["python", "traceback"], "metadata": {"kind": ["dev", "ops"]}},
        "agent": "gpt",
    },
    {"name": "default", "from": "settings", "when": "else", "agent": "gemini"},
]

FAULT = "no such key: price"

TEXTS = [
    "tier: silver\nrules:\n  - name: by-price\n    when: else\n    agent: gpt\n",
    "tier: gold\nrules:\n  - name: angry-gold\n    when: session.failures > 1\n    agent: gpt\n"
    "  - name: by-price\n    when: double(message.metadata.price) > 100.0\n    agent: gemini\n",
]


def _endpoint(agent: str, number: int, state: str, **more: Any) -> dict[str, Any]:
    return {
        "endpoint": f"{agent}-{number}",
        "agent": agent,
        "model": f"{agent}-large",
        "region": "eu-west",
        "state": state,
        "expected_ms": 412.4,
        "running": 17,
        "asked": 12_345,
        "failed": 3,
        "rate_limited_until": None,
        **more,
    }


@dataclass
class StandIn:
    """What it answers from; a test changes it while the page looks."""

    key: str | None = None
    down: bool = False
    faults: int = 5
    revisions: list[int] = field(default_factory=lambda: [12, 12])
    policy_errors: list[str] = field(default_factory=list)
    versions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    """What was sent to be explained."""
    followed: list[str | None] = field(default_factory=list)
    """The version that each text put was said to follow."""
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for text in TEXTS:
            self.put("org_acme", text, note="as agreed with support", author="ada")

    def put(self, scope: str, text: str, **more: Any) -> dict[str, Any]:
        kept = self.versions.setdefault(scope, [])
        version = {
            "scope": scope,
            "version": len(kept) + 1,
            "revision": 12 + len(kept),
            "text": text,
            "created_at": time.time() - 5,
            "author": None,
            "note": None,
            "rolled_back_to": None,
            **more,
        }
        kept.append(version)
        return version

    async def answer(self, route: Route) -> None:
        """A handler for `page.route`: files from the folder, the rest from here."""
        path = urlsplit(route.request.url).path
        if not path.startswith("/admin/"):
            await _file(route, path)
            return
        self.calls.append(f"{route.request.method} {path}")
        if self.down:
            await route.abort("connectionrefused")
            return
        given = await route.request.header_value("authorization")
        if self.key is not None and given != f"Bearer {self.key}":
            await _refuse(route, 401, "invalid_api_key", "The key is not accepted.")
            return
        await self._admin(route, path.removeprefix("/admin/v1/"))

    async def _admin(self, route: Route, path: str) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        org = query.get("org", [None])[0]
        if path == "routes":
            version = "base.3+org_acme.2" if org else "base.3"
            rules = [rule for rule in RULES if org or rule["from"] != "org_acme"]
            await route.fulfill(json={"org": org, "version": version, "rules": rules})
        elif path == "routes/explain":
            await self._explain(route)
        elif path == "endpoints":
            await route.fulfill(json=self._endpoints())
        elif path == "spend":
            await route.fulfill(json=_spend(org or "org_acme"))
        elif path == "policies":
            newest = [kept[-1] for kept in self.versions.values()]
            await route.fulfill(json={"object": "list", "data": newest})
        elif path.startswith("policies/"):
            await self._policies(route, *path.split("/")[1:])
        else:
            await _refuse(route, 404, "not_found", "There is no such thing.")

    def _endpoints(self) -> dict[str, Any]:
        limited = time.time() + 42
        endpoints = [
            _endpoint("gpt", 1, "closed"),
            _endpoint("gpt", 2, "open", region="us-east", failed=311, expected_ms=None),
            _endpoint("gemini", 1, "closed", rate_limited_until=limited),
            _endpoint("gemini", 2, "probing", region=None),
        ]
        fault = {"reason": FAULT, "count": self.faults, "last": time.time() - 9}
        rules = [
            {
                "rule": rule["name"],
                "source": rule["from"],
                "matched": 20 + at,
                "faults": [fault] if rule["name"] == "by-price" and self.faults else [],
            }
            for at, rule in enumerate(RULES)
        ]
        hosts = [
            {
                "host": f"host-{at}",
                "at": time.time() - 1,
                "revision": revision,
                "rules": rules,
                "policy_errors": self.policy_errors,
            }
            for at, revision in enumerate(self.revisions)
        ]
        return {"hosts": hosts, "endpoints": endpoints}

    async def _explain(self, route: Route) -> None:
        self.asked.append(route.request.post_data_json)
        outcomes = [
            ("no", "the expression is false"),
            ("failed", FAULT),
            ("match", "the expression is true"),
        ]
        path = [
            {
                "rule": rule["name"],
                "from": rule["from"],
                "when": rule["when"],
                "outcome": outcome,
                "why": why,
            }
            for rule, (outcome, why) in zip(RULES, [*outcomes, *[("skipped", "")] * 3], strict=True)
        ]
        await route.fulfill(
            json={
                "version": "base.3+org_acme.2",
                "path": path,
                "leads_to": {"split": RULES[2]["split"]},
                "agent": "gpt",
                "reason": "share 31 of 100, by user",
                "candidates": [],
            }
        )

    async def _policies(self, route: Route, scope: str, *rest: str) -> None:
        kept = self.versions.get(scope, [])
        match (route.request.method, *rest):
            case ("GET", "versions"):
                shown = [
                    {name: value for name, value in version.items() if name != "text"}
                    for version in reversed(kept)
                ]
                await route.fulfill(json={"object": "list", "data": shown})
            case ("GET", "versions", number):
                await route.fulfill(json=kept[int(number) - 1])
            case ("POST", "rollback"):
                back = route.request.post_data_json
                old = kept[back["version"] - 1]
                put = self.put(
                    scope, old["text"], rolled_back_to=back["version"], note=back["note"]
                )
                await route.fulfill(json=put)
            case ("POST", "check") | ("PUT",):
                text = route.request.post_data or ""
                problems = [
                    {
                        "scope": scope,
                        "line": number,
                        "where": f"rules[{number}].agent",
                        "reason": "there is no agent “gtp”; did you mean “gpt”?",
                    }
                    for number, line in enumerate(text.split("\n"), 1)
                    if "gtp" in line
                ]
                if problems:
                    message = "The policy has 1 problem."
                    await _refuse(route, 400, "invalid_policy", message, problems=problems)
                elif rest:
                    await route.fulfill(json={"scope": scope, "valid": True})
                else:
                    self.followed.append(await route.request.header_value("if-match"))
                    note = parse_qs(urlsplit(route.request.url).query).get("note", [None])[0]
                    await route.fulfill(json=self.put(scope, text, note=note))
            case _:
                await _refuse(route, 404, "not_found", "There is no such thing.")


def _spend(org: str) -> dict[str, Any]:
    return {
        "org": org,
        "today_usd": 82.4,
        "month_usd": 612.09,
        "budgets": {
            "org_day": {"soft_usd": 80, "hard_usd": 100},
            "org_month": {"soft_usd": None, "hard_usd": 2000},
        },
        "users": [
            {"user": "ada", "today_usd": 0.0042, "month_usd": 40.5},
            {"user": "grace", "today_usd": 12.25, "month_usd": 310.77},
        ],
    }


async def _refuse(route: Route, status: int, code: str, message: str, **details: Any) -> None:
    error = {"message": message, "type": "invalid_request_error", "code": code, **details}
    await route.fulfill(status=status, json={"error": error})


async def _file(route: Route, path: str) -> None:
    name = "console.html" if path == "/console" else path.removeprefix("/static/")
    file: Path = static_directory() / name
    await route.fulfill(path=file)
