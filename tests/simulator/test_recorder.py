"""What was sent is shown as it was sent, without secrets, and never without bound."""

from __future__ import annotations

import json
from typing import Any

import httpx2

from simulator.http import Request
from simulator.recorder import Recorder
from tests.support.simulator import SimulatorProcess

BODY: dict[str, Any] = {"model": "scripted.tokens-1", "input": "Grüße", "metadata": {"a": "b"}}


def sent(body: bytes) -> Request:
    request = Request()
    request.method = "POST"
    request.target = b"/v1/responses"
    request.body = body
    return request


async def records(http: httpx2.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    return (await http.get(f"/_sim/requests{query}")).json()["requests"]


async def test_a_request_is_shown_with_its_body_and_headers(http: httpx2.AsyncClient) -> None:
    await http.post("/v1/responses?a=1", json=BODY, headers={"X-Simulator": "seed=3"})
    (shown,) = await records(http)
    assert shown["method"] == "POST"
    assert shown["path"] == "/v1/responses?a=1"
    assert shown["body"] == BODY
    assert shown["headers"]["x-simulator"] == "seed=3"
    assert shown["headers"]["content-type"] == "application/json"
    assert shown["outcome"] == "finished"


async def test_secrets_are_never_shown(http: httpx2.AsyncClient) -> None:
    secret = "sk-very-secret"
    headers = {
        "authorization": f"Bearer {secret}",
        "x-goog-api-key": secret,
        "api-key": secret,
        "cookie": f"session={secret}",
    }
    await http.post(f"/v1beta/models/m:generateContent?key={secret}&x=1", headers=headers)
    page = (await http.get("/_sim/requests")).text
    assert secret not in page
    (shown,) = json.loads(page)["requests"]
    assert {shown["headers"][name] for name in headers} == {"[redacted]"}
    assert shown["path"].endswith("?key=[redacted]&x=1")


async def test_refusals_are_recorded_with_what_was_wrong(http: httpx2.AsyncClient) -> None:
    await http.post("/v1/responses", content=b"{not json")
    (shown,) = await records(http)
    assert shown["body"] == "{not json"
    assert shown["outcome"] == "refused"


async def test_the_newest_come_last_and_the_doors_are_not_recorded(
    http: httpx2.AsyncClient,
) -> None:
    for n in range(5):
        await http.get(f"/v1/models/m{n}")
    paths = [record["path"] for record in await records(http, "?limit=2")]
    assert paths == ["/v1/models/m3", "/v1/models/m4"]
    assert await records(http, "?limit=0") == []
    assert len(await records(http)) == 5
    await http.delete("/_sim/requests")
    assert await records(http) == []


async def test_recording_can_be_turned_off() -> None:
    with SimulatorProcess(args=("--record", "0")) as simulator:
        async with httpx2.AsyncClient(base_url=simulator.url) as client:
            await client.get("/v1/models", headers={"authorization": "Bearer k"})
            assert await records(client) == []


async def test_the_starter_speaks_for_the_process() -> None:
    with SimulatorProcess() as simulator:
        async with httpx2.AsyncClient(base_url=simulator.url) as client:
            await client.get("/v1/models", headers={"authorization": "Bearer k"})
        assert [record["path"] for record in simulator.requests()] == ["/v1/models"]
        simulator.clear()
        assert simulator.requests(limit=5) == []
        assert simulator.stats()["started"] == 0


def test_the_ring_is_bounded_in_number() -> None:
    recorder = Recorder(3)
    for n in range(10):
        recorder.add(sent(b"%d" % n))
    assert [record["body"] for record in recorder.newest(10)] == [7, 8, 9]
    assert [record["number"] for record in recorder.newest(2)] == [9, 10]


def test_the_ring_is_bounded_in_bytes_but_keeps_the_newest() -> None:
    recorder = Recorder(100, bytes_limit=25)
    for letter in (b"a", b"b", b"c"):
        recorder.add(sent(letter * 10))
    assert [record["body"] for record in recorder.newest(10)] == ["b" * 10, "c" * 10]
    recorder.add(sent(b"d" * 1000))
    assert [record["body"] for record in recorder.newest(10)] == ["d" * 1000]
    recorder.clear()
    recorder.add(sent(b"e" * 10))
    recorder.add(sent(b"f" * 10))
    assert len(recorder.newest(10)) == 2


def test_a_body_that_is_no_text_is_shown_as_well_as_can_be() -> None:
    recorder = Recorder(1)
    recorder.add(sent(b"\xff\xfeabc"))
    assert recorder.newest(1)[0]["body"] == "\ufffd\ufffdabc"
