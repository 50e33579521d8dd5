"""What every request meets first: its id, the door, the limits, the log, the policy of pages."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from typing import Any

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from gateway.app import build_app
from gateway.options import GatewayOptions
from tests.gateway.house import House, Stores, eventually, open_house

BODY = {"model": "echo", "input": "hi"}
REQUEST_ID = re.compile(r"req_[0-9a-f]{32}")


# -- ids and headers --------------------------------------------------------------------------


async def test_each_answer_has_a_request_id(house: House) -> None:
    seen: set[str] = set()
    for method, path in [
        ("GET", "/v1/models"),
        ("GET", "/nowhere"),
        ("GET", "/"),
        ("PUT", "/v1/x"),
    ]:
        answer = await house.http.request(method, path)
        request_id = answer.headers["x-request-id"]
        assert REQUEST_ID.fullmatch(request_id)
        seen.add(request_id)
        if answer.status_code >= 400:
            assert answer.json()["error"]["request_id"] == request_id
    assert len(seen) == 4


@pytest.mark.parametrize("given", ["a", "A.b:c-d_9", "x" * 128])
async def test_a_sane_request_id_is_taken_over(house: House, given: str) -> None:
    answer = await house.http.get("/v1/models/none", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given
    assert answer.json()["error"]["request_id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "<script>", "a\tb", 'a"b'])
async def test_any_other_is_replaced(house: House, given: str) -> None:
    answer = await house.http.get("/v1/models", headers={"x-request-id": given})
    assert REQUEST_ID.fullmatch(answer.headers["x-request-id"])


@pytest.mark.parametrize("page", ["/", "/console"])
async def test_pages_may_load_nothing_foreign(house: House, page: str) -> None:
    answer = await house.http.get(page)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    for rule in ["default-src 'self'", "script-src 'self'", "frame-ancestors 'none'"]:
        assert rule in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_files_are_asked_about_and_not_sent_twice(house: House) -> None:
    first = await house.http.get("/static/index.html")
    assert first.headers["cache-control"] == "no-cache"
    again = await house.http.get(
        "/static/index.html", headers={"if-none-match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    head = await house.http.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(first.content))


@pytest.mark.parametrize("path", ["/static/none.js", "/static/../app.py", "/static/%2e%2e/app.py"])
async def test_what_is_not_a_file_is_a_404(house: House, path: str) -> None:
    answer = await house.http.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown_url"


async def test_answers_of_the_api_are_not_cached(house: House) -> None:
    assert (await house.http.get("/v1/models")).headers["cache-control"] == "no-store"


async def test_other_methods_are_refused_by_name(house: House) -> None:
    answer = await house.http.delete("/v1/responses/resp_x")
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "method_not_allowed"
    assert "GET" in answer.headers["allow"]


# -- the door ---------------------------------------------------------------------------------


async def test_behind_the_door_everything_needs_the_key(stores: Stores) -> None:
    async with open_house(stores, api_keys=("secret-key",)) as house:
        assert [model.id async for model in await house.client.models.list()] == [
            "echo",
            "other",
            "auto",
        ]
        house.http.headers.pop("authorization")
        for method, path in [
            ("GET", "/v1/models"),
            ("POST", "/v1/responses"),
            ("POST", "/v1/tickets"),
            ("GET", "/v1/none"),
            ("DELETE", "/v1/models"),
        ]:
            for headers in ({}, {"authorization": "Bearer wrong"}):
                answer = await house.http.request(method, path, headers=headers)
                assert answer.status_code == 401, path
                assert answer.json()["error"]["type"] == "authentication_error"
                assert answer.headers["www-authenticate"].startswith("Bearer")
        for path in ("/", "/healthz", "/readyz", "/openapi.json", "/static/index.html"):
            assert (await house.http.get(path)).status_code == 200, path


async def test_an_open_door_is_shut_for_foreign_pages(house: House) -> None:
    for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
        answer = await house.http.get("/v1/models", headers=headers)
        assert answer.status_code == 401


async def test_a_ticket_is_issued_for_a_short_while(house: House) -> None:
    answer = (await house.http.post("/v1/tickets")).json()
    assert set(answer) == {"ticket", "expires_at"}
    other = (await house.http.post("/v1/tickets", json={})).json()
    assert other["ticket"] != answer["ticket"]


# -- limits -----------------------------------------------------------------------------------


async def test_a_body_over_the_limit_is_refused_unread(stores: Stores) -> None:
    async with open_house(stores, body_bytes=1000) as house:
        body = b'{"model":"echo","input":"%s"}' % (b"x" * 2000)
        json_type = {"content-type": "application/json"}

        async def in_pieces() -> Any:
            for at in range(0, len(body), 100):
                yield body[at : at + 100]

        for content in (body, in_pieces()):
            answer = await house.http.post("/v1/responses", content=content, headers=json_type)
            assert answer.status_code == 413
            error = answer.json()["error"]
            assert (error["code"], error["limit"]) == ("request_too_large", 1000)
        assert await house.data() == [[], [], [], []]
        just = b'{"model":"echo","input":"%s"}' % (b"x" * 973)
        assert len(just) == 1000
        house.agent.answer("ok")
        answer = await house.http.post("/v1/responses", content=just, headers=json_type)
        assert answer.status_code == 200


async def test_a_body_that_does_not_arrive_is_given_up(stores: Stores) -> None:
    async with open_house(stores, body_timeout_s=0.1) as house:
        reader, writer = await asyncio.open_connection(*_address(house))
        writer.write(
            b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
            b"Content-Type: application/json\r\n\r\n{"
        )
        head = await reader.readuntil(b"\r\n")
        assert b" 408 " in head
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_leaves_in_mid_body_does_nothing(house: House) -> None:
    _, writer = await asyncio.open_connection(*_address(house))
    writer.write(b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await house.http.get("/healthz")).status_code == 200
    assert await house.data() == [[], [], [], []]


async def test_no_more_is_served_at_once_than_the_limit(stores: Stores) -> None:
    async with open_house(stores, open_requests=2) as house:
        streams = [
            await house.client.responses.create(model="echo", input="hi", stream=True)
            for _ in range(2)
        ]
        answer = await house.http.get("/v1/models")
        assert answer.status_code == 429
        assert answer.json()["error"]["code"] == "gateway_full"
        assert answer.headers["retry-after"] == "1"
        assert (await house.http.get("/healthz")).status_code == 200
        for stream in streams:
            await stream.close()

        async def status() -> int:
            return (await house.http.get("/v1/models")).status_code

        await eventually(status, 200)


async def test_a_client_that_takes_nothing_is_cut(stores: Stores) -> None:
    async with open_house(stores, send_timeout_s=0.2, answer_chars=100_000_000) as house:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, _address(house))
        body = b'{"model":"echo","input":"hi","stream":true}'
        client.send(
            b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
            b"Content-Type: application/json\r\n\r\n%s" % (len(body), body)
        )
        await eventually(house.readers, 1)
        while house.readers():
            house.agent.say("x" * 200_000)
            await asyncio.sleep(0.01)
        [(response_id, status)] = await house.responses()
        assert status == "queued", "the turn goes on without it"
        assert (await house.client.responses.cancel(response_id)).status == "cancelled"
        client.close()


# -- CORS -------------------------------------------------------------------------------------

PREFLIGHT = {
    "origin": "https://ui.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


async def test_pages_of_other_origins_are_kept_out(house: House) -> None:
    answer = await house.http.options("/v1/responses", headers=PREFLIGHT)
    assert "access-control-allow-origin" not in answer.headers


async def test_but_for_those_that_are_named(stores: Stores) -> None:
    async with open_house(stores, cors_origins=("https://ui.example",)) as house:
        answer = await house.http.options("/v1/responses", headers=PREFLIGHT)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://ui.example"
        answer = await house.http.get("/v1/models", headers={"origin": "https://ui.example"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://ui.example"
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        other = await house.http.options(
            "/v1/responses", headers={**PREFLIGHT, "origin": "https://evil.example"}
        )
        assert "access-control-allow-origin" not in other.headers


# -- the log ----------------------------------------------------------------------------------


async def test_one_line_for_each_request(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "troupe.access")
    house.agent.answer(*["t "] * 50)
    await house.http.post("/v1/responses", json={**BODY, "stream": True})
    await house.http.get("/v1/none%0A2026 forged?ticket=secret", headers={"x-request-id": "mine"})
    await eventually(lambda: len(_access(caplog)), 2)
    first, second = _access(caplog)
    assert first.startswith("POST /v1/responses 200 ")
    assert second.startswith("GET /v1/none%0A2026%20forged 404 ")
    assert second.endswith(" 127.0.0.1 mine")
    assert "secret" not in second


def _access(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "troupe.access"]


async def test_the_unforeseen_is_logged_and_not_told(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: object, **fields: object) -> None:
        raise RuntimeError("the password is 1234")

    monkeypatch.setattr(house.services.records, "sessions", broken)
    answer = await house.http.get("/v1/conversations")
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert error["code"] == "internal_error"
    assert "1234" not in answer.text
    assert answer.headers["x-should-retry"] == "false"
    [told] = [
        record
        for record in caplog.records
        if record.exc_info and record.name.startswith("troupe.gateway")
    ]
    assert error["request_id"] in told.getMessage()
    assert "1234" in str(told.exc_info)


async def test_what_breaks_outside_the_framework_is_a_500_too(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(*args: object) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr("gateway.edge.Edge._body", body)
    answer = await house.http.get("/v1/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")


async def test_serves_own_headers_are_taken_off(house: House) -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    edge: Any = build_app(house.services)
    edge._app = app
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(edge), base_url="http://localhost"
    ) as http:
        await http.get(
            "/healthz",
            headers={"X-Request-Timeout-Seconds": "1", "x-request-disconnect-disabled": "1"},
        )
    [headers] = seen
    assert b"x-request-timeout-seconds" not in headers
    assert b"x-request-disconnect-disabled" not in headers
    assert b"host" in headers


# -- health, models ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("away", "status", "code"),
    [
        ({}, "ok", 200),
        ({"redis": "does not answer"}, "degraded", 200),
        ({"postgres": "does not answer"}, "unavailable", 503),
        ({"hosts": "none is up"}, "unavailable", 503),
        ({"redis": "x", "hosts": "x"}, "unavailable", 503),
    ],
)
async def test_readiness_tells_the_truth_of_each_part(
    house: House, away: dict[str, str], status: str, code: int
) -> None:
    house.health.update(away)
    answer = await house.http.get("/readyz")
    assert answer.status_code == code
    assert answer.json() == {
        "status": status,
        "dependencies": {"postgres": "ok", "redis": "ok", "hosts": "ok", **away},
    }
    assert (await house.http.get("/healthz")).json() == {"status": "ok"}


async def test_models_are_the_agents_and_auto(house: House) -> None:
    models = {model.id: model async for model in await house.client.models.list()}
    assert list(models) == ["echo", "other", "auto"]
    echo = await house.client.models.retrieve("echo")
    assert echo == models["echo"]
    assert echo.owned_by == "openai"
    assert echo.troupe == {"description": "Says what it hears.", "simulated": True}  # type: ignore[attr-defined]
    answer = await house.http.get("/v1/models/nobody")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


def test_the_defaults_keep_everybody_out() -> None:
    assert not GatewayOptions().open_doors


def _address(house: House) -> tuple[str, int]:
    host, port = house.url.removeprefix("http://").split(":")
    return host, int(port)
