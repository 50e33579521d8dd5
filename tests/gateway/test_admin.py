"""The operators' door, and policies put through it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from contracts.errors import TroupeError
from gateway.auth import Doors
from tests.gateway.house import House, Stores, open_house

POET = "agents:\n  poet: {provider: openai, model: verse}\n"
RULES = "rules:\n  - name: verse\n    when: {keywords: rhyme}\n    agent: poet\n"
BASE = "/admin/v1/policies/base"


@pytest.fixture
async def house(stores: Stores) -> AsyncIterator[House]:
    async with open_house(stores) as house:
        await house.database.execute("DELETE FROM policies")
        yield house
        await house.database.execute("DELETE FROM policies")


async def put(house: House, text: str, scope: str = "base", **told: str) -> httpx2.Response:
    return await house.http.put(f"/admin/v1/policies/{scope}", content=text, **told)  # type: ignore[arg-type]


async def models(house: House) -> list[str]:
    return [model.id async for model in await house.client.models.list()]


# -- the door ------------------------------------------------------------------------------------


async def test_without_an_admin_key_it_is_closed_where_the_api_is(stores: Stores) -> None:
    async with open_house(stores, api_keys=("its-key",)) as house:
        answer = await house.http.get(BASE)
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "admin_disabled"
        assert answer.json()["error"]["type"] == "permission_error"


async def test_the_admin_key_opens_it_and_no_other_does(stores: Stores) -> None:
    async with open_house(stores, api_keys=("its-key",), admin_key="operators") as house:
        answer = await house.http.get(BASE)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        bare = await house.http.get(BASE, headers={"authorization": ""})
        assert (bare.status_code, bare.json()["error"]["code"]) == (401, "missing_api_key")
        opened = await house.http.get(BASE, headers={"authorization": "Bearer operators"})
        assert opened.status_code == 200
        assert opened.headers["cache-control"] == "no-store"
        elsewhere = await house.http.get(
            "/v1/models", headers={"authorization": "Bearer operators"}
        )
        assert elsewhere.status_code == 401, "it is no key of the API"


@pytest.mark.parametrize(
    ("client", "headers", "admin_key", "code"),
    [
        ("127.0.0.1", {}, None, None),
        ("127.0.0.1", {"origin": "https://elsewhere.example"}, None, "admin_disabled"),
        ("10.0.0.9", {}, None, "admin_disabled"),
        ("127.0.0.1", {}, "operators", "missing_api_key"),
        ("10.0.0.9", {"authorization": "Bearer operators"}, "operators", None),
    ],
)
def test_an_open_door_is_open_to_this_machine_alone(client, headers, admin_key, code) -> None:
    doors = Doors(open_doors=True, api_keys=(), organization="org_a", admin_key=admin_key)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "client": (client, 1), "headers": raw}
    found = None
    try:
        doors.admit_operator(scope)
    except TroupeError as error:
        found = error.cause_code
    assert found == code


# -- policies ------------------------------------------------------------------------------------


async def test_where_nobody_has_put_one_it_is_empty(house: House) -> None:
    answer = await house.http.get(BASE)
    assert answer.json()["version"] == 0
    assert answer.json()["text"] == ""
    assert (await house.http.get("/admin/v1/policies")).json() == {
        "object": "list",
        "data": [],
        "revision": 0,
        "problem": None,
    }


async def test_a_new_agent_is_there_at_once_and_gone_with_a_rollback(house: House) -> None:
    assert await models(house) == ["echo", "other", "auto"]
    first = await put(house, "")
    told = {"author": "ada", "note": "a poet"}
    answer = await put(house, POET + RULES, params=told)  # type: ignore[arg-type]
    assert answer.status_code == 200
    assert answer.json() == {
        "scope": "base",
        "version": 2,
        "revision": first.json()["revision"] + 1,
    }
    assert answer.headers["etag"] == '"2"'
    assert await models(house) == ["echo", "other", "poet", "auto"]
    shown = (await house.http.get(BASE)).json()
    assert (shown["text"], shown["author"], shown["note"]) == (POET + RULES, "ada", "a poet")

    back = await house.http.post(f"{BASE}/rollback", json={"version": 1, "author": "bob"})
    assert back.json()["version"] == 3
    assert await models(house) == ["echo", "other", "auto"]
    versions = (await house.http.get(f"{BASE}/versions")).json()["data"]
    assert [(v["version"], v["author"], v["rolled_back_to"]) for v in versions] == [
        (3, "bob", 1),
        (2, "ada", None),
        (1, None, None),
    ]
    assert (await house.http.get(f"{BASE}/versions/2")).json()["text"] == POET + RULES
    assert len((await house.http.get(f"{BASE}/versions?limit=1")).json()["data"]) == 1


async def test_a_turn_may_name_an_agent_that_was_just_put(house: House) -> None:
    """The gateway lets it pass; whether a host knows it by then, the host says."""
    asked = {"model": "poet", "messages": [{"role": "user", "content": "hi"}]}
    before = await house.http.post("/v1/chat/completions", json=asked)
    assert before.json()["error"]["code"] == "model_not_found"
    assert "poet" not in str(house.rulebook.standing.agents)
    await put(house, POET)
    assert house.services.knows_agent("poet")


async def test_a_bad_policy_changes_nothing_and_everything_wrong_is_told(house: House) -> None:
    await put(house, POET)
    answer = await put(house, POET + "  other: {provider: opnai}\n" + RULES.replace("poet", "pet"))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_policy")
    assert [(p["scope"], p["line"], p["where"]) for p in error["problems"]] == [
        ("base", 3, "agents.other.model"),
        ("base", 7, "rules[0].agent"),
    ]
    assert "names no agent: pet" in error["problems"][1]["reason"]
    assert (await house.http.get(BASE)).json()["version"] == 1
    assert await models(house) == ["echo", "other", "poet", "auto"]


async def test_what_is_put_must_fit_what_other_scopes_say(house: House) -> None:
    await put(house, POET)
    assert (await put(house, RULES, scope="org_verse")).status_code == 200
    answer = await put(house, "")
    (problem,) = answer.json()["error"]["problems"]
    assert (problem["scope"], problem["line"]) == ("org_verse", 4)
    assert "names no agent: poet" in problem["reason"]
    assert await models(house) == ["echo", "other", "poet", "auto"]


async def test_a_check_says_what_would_hold_and_changes_nothing(house: House) -> None:
    answer = await house.http.post(f"{BASE}/check", content=POET + RULES)
    assert answer.json() == {
        "scope": "base",
        "valid": True,
        "agents": ["echo", "other", "poet"],
        "rules": ["verse", "rest"],
    }
    assert (await house.http.get(BASE)).json()["version"] == 0
    bad = await house.http.post(f"{BASE}/check", content="agents: [")
    assert bad.json()["error"]["problems"][0]["line"] == 1


async def test_a_gateway_that_cannot_have_a_policy_goes_on_and_says_so(
    house: House, stores: Stores
) -> None:
    """As one whose environment lacks what another's has; here somebody wrote past the gateways."""
    revision = (await put(house, POET)).json()["revision"]
    await house.memory.policies.put("base", "agents: [")
    await house.rulebook.watch.look()
    listed = (await house.http.get("/admin/v1/policies")).json()
    assert listed["revision"] == revision
    assert "is not valid YAML" in listed["problem"]
    assert [row["version"] for row in listed["data"]] == [2]
    assert await models(house) == ["echo", "other", "poet", "auto"]
    assert (await put(house, POET)).status_code == 200, "what is put mends it"
    assert (await house.http.get("/admin/v1/policies")).json()["problem"] is None


@pytest.mark.parametrize("tag", ['"1"', "1"])
async def test_a_version_that_is_no_longer_the_newest_is_not_followed(
    house: House, tag: str
) -> None:
    await put(house, "")
    followed = await put(house, POET, headers={"if-match": tag})  # type: ignore[arg-type]
    assert followed.status_code == 200
    stale = await put(house, "", headers={"if-match": tag})  # type: ignore[arg-type]
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "policy_changed")
    assert stale.headers["x-should-retry"] == "false"
    assert await models(house) == ["echo", "other", "poet", "auto"]


async def test_another_gateway_sees_it_at_its_next_look(house: House, stores: Stores) -> None:
    async with open_house(stores) as other:
        await put(house, POET)
        assert "poet" not in other.rulebook.standing.agents
        await other.rulebook.watch.look()
        assert "poet" in await models(other)


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("GET", "/admin/v1/policies/Base", None, 400, "invalid_value"),
        ("GET", "/admin/v1/policies/org_", None, 400, "invalid_value"),
        ("GET", f"{BASE}/versions/1", None, 404, "not_found"),
        ("GET", f"{BASE}/versions/0", None, 400, "invalid_value"),
        ("PUT", BASE, b"\xff\xfe", 400, "invalid_characters"),
        ("PUT", BASE, b"tier: \x00", 400, "invalid_characters"),
        ("PUT", BASE, b"x" * 300_000, 413, "policy_too_large"),
        ("PUT", "/admin/v1/policies/org_a", b"agents: {}", 400, "invalid_policy"),
        ("PUT", f"{BASE}?who=me", b"", 400, "unknown_parameter"),
        ("POST", f"{BASE}/rollback", b"{}", 400, "missing_required_parameter"),
        ("POST", f"{BASE}/rollback", b'{"version": 9}', 404, "not_found"),
        ("DELETE", BASE, None, 405, "method_not_allowed"),
        ("GET", "/admin/v1/none", None, 404, "unknown_url"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(
    house: House, method: str, path: str, content: bytes | None, status: int, code: str
) -> None:
    headers = {"content-type": "application/json"}
    answer = await house.http.request(method, path, content=content, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert await house.database.fetchval("SELECT count(*) FROM policies") == 0
