"""The Responses API as the stock client uses it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from contracts.agents import End
from contracts.errors import ProviderUnavailable
from contracts.ids import RESPONSE, SESSION, new_id
from contracts.messages import Usage
from tests.gateway.house import House, Stores, eventually, open_house


async def collect(stream: Any) -> list[Any]:
    return [event async for event in stream]


async def ask(house: House, *tokens: str, **fields: Any) -> Response:
    house.agent.answer(*tokens)
    return await house.client.responses.create(**{"model": "echo", "input": "hi", **fields})


def text_of(events: list[ResponseStreamEvent]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


async def test_an_answer_comes_whole(house: House) -> None:
    response = await ask(house, "Hel", "lo", metadata={"a": "b"}, temperature=0.5, user="ann")
    assert response.output_text == "Hello"
    assert response.status == "completed"
    assert (response.model, response.metadata, response.temperature) == ("echo", {"a": "b"}, 0.5)
    assert response.usage is not None
    assert response.usage.output_tokens == 2
    assert response.conversation is not None
    again = await house.client.responses.retrieve(response.id)
    assert again.model_dump() == response.model_dump()


async def test_an_answer_comes_as_it_is_said(house: House) -> None:
    stream = await house.client.responses.create(model="echo", input="hi", stream=True)
    seen: list[Any] = []
    async with asyncio.timeout(30):
        house.agent.say("one ")
        async for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta" and event.delta == "one ":
                house.agent.answer("two")  # the first token was here before the second was said
    assert text_of(seen) == "one two"
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert seen[-1].type == "response.completed"
    assert seen[-1].response.output_text == "one two"


async def test_auto_lets_the_rules_choose_and_says_so(house: House) -> None:
    response = await ask(house, "x", model="auto")
    assert response.model == "echo"
    assert response.troupe["rule"] == "rest"  # type: ignore[attr-defined]


async def test_a_conversation_is_remembered(house: House) -> None:
    first = await ask(house, "Hello Ann.", input="I am Ann.")
    assert first.conversation is not None
    second = await ask(house, "Ann.", input="Who am I?", conversation=first.conversation.id)
    third = await ask(
        house, "Yes.", input="Sure?", conversation={"id": first.conversation.id}, instructions="!"
    )
    assert second.conversation == third.conversation == first.conversation
    said = [(message.role, message.text) for message in house.agent.requests[-1].messages]
    assert said == [
        ("user", "I am Ann."),
        ("assistant", "Hello Ann."),
        ("user", "Who am I?"),
        ("assistant", "Ann."),
        ("user", "Sure?"),
    ]
    assert house.agent.requests[-1].instructions == "!"


async def test_previous_response_id_goes_on_in_the_same_conversation(house: House) -> None:
    first = await ask(house, "A", input="1")
    second = await ask(house, "B", input="2", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert second.conversation == first.conversation
    assert [message.text for message in house.agent.requests[-1].messages] == ["1", "A", "2"]


async def test_going_on_from_an_earlier_response_forks_the_conversation(house: House) -> None:
    first = await ask(house, "A", input="1")
    second = await ask(house, "B", input="2", previous_response_id=first.id)
    other = await ask(house, "C", input="3", previous_response_id=first.id)
    assert other.conversation != first.conversation == second.conversation
    assert [message.text for message in house.agent.requests[-1].messages] == ["1", "A", "3"]
    further = await ask(house, "D", input="4", previous_response_id=other.id)
    assert further.conversation == other.conversation
    last = [message.text for message in house.agent.requests[-1].messages]
    assert last == ["1", "A", "3", "C", "4"]


@pytest.mark.parametrize("background", [False, True])
async def test_of_two_who_go_on_at_once_one_forks(house: House, background: bool) -> None:
    first = await ask(house, "A", input="1")
    house.agent.answer("B")
    house.agent.answer("C")
    asked: dict[str, Any] = {"previous_response_id": first.id, "background": background}
    both = await asyncio.gather(
        *(house.client.responses.create(model="echo", input=text, **asked) for text in "23")
    )
    places = [response.conversation for response in both]
    assert places.count(first.conversation) == 1
    for response in both:
        await eventually(lambda response=response: house.status(response.id), "completed")
    said = {tuple(m.text for m in request.messages) for request in house.agent.requests[1:]}
    assert {("1", "A", "2"), ("1", "A", "3")} <= said


async def test_a_list_of_messages_is_input(house: House) -> None:
    parts = [{"type": "input_text", "text": "two "}, {"type": "input_text", "text": "parts"}]
    response = await ask(
        house,
        "ok",
        input=[
            {"role": "system", "content": "Be kind."},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Hi!"}]},
            {"type": "message", "role": "user", "content": parts},
        ],
    )
    said = [(message.role, message.text) for message in house.agent.requests[-1].messages]
    assert said == [("system", "Be kind."), ("assistant", "Hi!"), ("user", "two parts")]
    items = await house.client.responses.input_items.list(response.id, order="asc")
    assert [item.role for item in items.data] == ["system", "assistant", "user"]  # type: ignore[union-attr]


async def test_input_items_come_in_pages(house: House) -> None:
    said = [{"role": "user", "content": str(n)} for n in range(5)]
    response = await ask(house, "ok", input=said)
    pages = await house.client.responses.input_items.list(response.id, limit=2)
    found = [item.content[0].text async for item in pages]  # type: ignore[union-attr]
    assert found == ["4", "3", "2", "1", "0"]


# -- resuming ---------------------------------------------------------------------------------


async def test_a_stream_resumes_anywhere_without_a_gap_or_a_double(house: House) -> None:
    house.agent.answer("a ", "b ", "c ", "d")
    whole = await collect(
        await house.client.responses.create(model="echo", input="hi", stream=True)
    )
    expected = [event.model_dump() for event in whole]
    for after in range(-1, len(whole) + 2):
        rest = await collect(
            await house.client.responses.retrieve(
                whole[0].response.id, stream=True, starting_after=after
            )
        )
        assert [event.model_dump() for event in rest] == expected[after + 1 :], f"after {after}"


async def test_a_running_stream_resumes_anywhere_without_a_gap_or_a_double(house: House) -> None:
    tokens = [f"t{n} " for n in range(8)]
    stream = await house.client.responses.create(model="echo", input="hi", stream=True)
    seen: list[Any] = []
    resumed: list[asyncio.Task[list[Any]]] = []
    house.agent.say(tokens[0])
    said = 1
    async for event in stream:
        seen.append(event)
        if event.type != "response.output_text.delta":
            continue
        # At each token somebody comes who has seen just so much, or one event less.
        for after in (event.sequence_number, event.sequence_number - 1):
            reading = house.client.responses.retrieve(
                seen[0].response.id, stream=True, starting_after=after
            )
            resumed.append(asyncio.ensure_future(_read(reading)))
        if said < len(tokens):
            house.agent.say(tokens[said])
            said += 1
        else:
            house.agent.answer()
    assert text_of(seen) == "".join(tokens)
    whole = [event.model_dump() for event in seen]
    for task in resumed:
        rest = [event.model_dump() for event in await task]
        assert rest == whole[len(whole) - len(rest) :]
        assert rest[0]["sequence_number"] >= 4 - 1
    starts = sorted([(await task)[0].sequence_number for task in resumed])
    numbers = [e.sequence_number for e in seen if e.type == "response.output_text.delta"]
    assert starts == sorted([*numbers, *(number + 1 for number in numbers)])


async def _read(stream: Any) -> list[Any]:
    return await collect(await stream)


async def test_a_browser_resumes_by_last_event_id(house: House) -> None:
    response = await ask(house, "a", "b")
    path = f"/v1/responses/{response.id}"
    whole = (await house.http.get(path, params={"stream": "true"})).text
    ids = [int(line[4:]) for line in whole.splitlines() if line.startswith("id: ")]
    assert ids == list(range(len(ids)))
    for after in ids[:-1]:
        answer = await house.http.get(
            path, params={"stream": "true"}, headers={"last-event-id": str(after)}
        )
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.text == whole[whole.index("event: ", whole.index(f"id: {after}\n")) :]


async def test_the_turn_outlives_its_client(house: House) -> None:
    stream = await house.client.responses.create(model="echo", input="hi", stream=True)
    house.agent.say("one ")
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
    response_id = await _only_response(house)
    await stream.close()
    await eventually(lambda: not house.readers())
    house.agent.answer("two")
    rest = await collect(
        await house.client.responses.retrieve(response_id, stream=True, starting_after=4)
    )
    assert text_of(rest) == "two"
    assert rest[-1].response.output_text == "one two"


async def test_whoever_waits_for_the_whole_may_leave_too(house: House) -> None:
    waiting = asyncio.ensure_future(house.client.responses.create(model="echo", input="hi"))
    await eventually(lambda: house.readers() == 1)
    await eventually(lambda: _statuses(house), ["queued"])
    waiting.cancel()
    await eventually(lambda: not house.readers())
    house.agent.answer("late")
    response_id = await _only_response(house)
    await eventually(lambda: house.status(response_id), "completed")
    assert (await house.client.responses.retrieve(response_id)).output_text == "late"


async def _statuses(house: House) -> list[str]:
    return [status for _, status in await house.responses()]


async def _only_response(house: House) -> str:
    [(response_id, _)] = await house.responses()
    return response_id


async def test_a_silent_stream_shows_signs_of_life(stores: Stores) -> None:
    async with open_house(stores, keepalive_s=0.05) as house:
        body = {"model": "echo", "input": "hi", "stream": True}
        async with (
            asyncio.timeout(20),
            house.http.stream("POST", "/v1/responses", json=body) as answer,
        ):
            assert answer.headers["x-accel-buffering"] == "no"
            assert "no-cache" in answer.headers["cache-control"]
            text = ""
            async for chunk in answer.aiter_text():
                text += chunk
                if text.endswith(": keep-alive\n" * 2):
                    house.agent.answer("done")
        assert "response.completed" in text


async def test_signs_of_life_do_not_disturb_the_stock_client(stores: Stores) -> None:
    async with open_house(stores, keepalive_s=0.02) as house:
        stream = await house.client.responses.create(model="echo", input="hi", stream=True)
        seen: list[Any] = []
        async for event in stream:
            seen.append(event)
            if event.type == "response.in_progress" or event.type.endswith("text.delta"):
                await asyncio.sleep(0.1)  # several comments are on their way
                if len(seen) < 6:
                    house.agent.say("word ")
                else:
                    house.agent.answer()
        assert text_of(seen) == "word word "
        assert [event.sequence_number for event in seen] == list(range(len(seen)))


# -- background, cancel, failure --------------------------------------------------------------


async def test_a_background_response_is_looked_at_while_it_runs(house: House) -> None:
    queued = await house.client.responses.create(model="echo", input="hi", background=True)
    assert queued.status in ("queued", "in_progress")
    assert queued.background

    async def status() -> str | None:
        return (await house.client.responses.retrieve(queued.id)).status

    await eventually(status, "in_progress")
    house.agent.answer("done")
    await eventually(status, "completed")
    assert (await house.client.responses.retrieve(queued.id)).output_text == "done"


async def test_a_turn_waits_for_the_one_before(house: House) -> None:
    first = await house.client.responses.create(model="echo", input="1", background=True)
    assert first.conversation is not None
    second = await house.client.responses.create(
        model="echo", input="2", background=True, conversation=first.conversation.id
    )
    assert (await house.client.responses.retrieve(second.id)).status == "queued"
    house.agent.answer("A")
    house.agent.answer("B")
    events = await collect(await house.client.responses.retrieve(second.id, stream=True))
    assert text_of(events) == "B"
    assert [message.text for message in house.agent.requests[-1].messages] == ["1", "A", "2"]


async def test_cancel_ends_a_turn_and_keeps_what_was_said(house: House) -> None:
    stream = await house.client.responses.create(model="echo", input="hi", stream=True)
    house.agent.say("so far")
    seen: list[Any] = []
    async for event in stream:
        seen.append(event)
        if event.type == "response.output_text.delta":
            cancelled = await house.client.responses.cancel(seen[0].response.id)
            assert cancelled.status == "cancelled"
            assert cancelled.output_text == "so far"
    assert seen[-1].type == "response.cancelled"
    assert house.agent.open == 0, "the provider's stream is closed"
    again = await house.client.responses.cancel(seen[0].response.id)
    assert again.status == "cancelled"


async def test_cancelling_what_has_ended_changes_nothing(house: House) -> None:
    response = await ask(house, "done")
    assert (await house.client.responses.cancel(response.id)).model_dump() == response.model_dump()


async def test_a_turn_that_waits_can_be_cancelled(house: House) -> None:
    first = await house.client.responses.create(model="echo", input="1", background=True)
    assert first.conversation is not None
    second = await house.client.responses.create(
        model="echo", input="2", background=True, conversation=first.conversation.id
    )
    assert (await house.client.responses.cancel(second.id)).status == "cancelled"
    house.agent.answer("A")
    events = await collect(await house.client.responses.retrieve(first.id, stream=True))
    assert events[-1].type == "response.completed"
    assert len(house.agent.requests) == 1


async def test_a_failed_turn_is_a_failed_response(house: House) -> None:
    away = ProviderUnavailable("The provider is away.")
    house.agent.say("so ")
    async for event in await house.client.responses.create(model="echo", input="hi", stream=True):
        if event.type == "response.output_text.delta":
            house.agent.say(away, away)
    response = await house.client.responses.retrieve(event.response.id)
    assert response.status == "failed"
    assert response.error is not None
    assert response.error.code == "provider_unavailable"
    assert response.output_text == "so "


async def test_an_answer_cut_short_says_why(house: House) -> None:
    house.agent.say("long", End("length", Usage(1, 1)))
    events = await collect(
        await house.client.responses.create(model="echo", input="hi", stream=True)
    )
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"


async def test_one_key_makes_one_turn(house: House) -> None:
    conversation = await house.client.conversations.create()
    given: dict[str, Any] = {
        "conversation": conversation.id,
        "extra_headers": {"Idempotency-Key": "abc"},
    }
    first = await ask(house, "A", **given)
    with pytest.raises(openai.ConflictError) as caught:
        await house.client.responses.create(model="echo", input="hi", **given)
    assert caught.value.code == "duplicate_id"
    assert caught.value.param == "Idempotency-Key"
    body: Any = caught.value.body
    assert body["response_id"] == first.id
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert await house.responses() == [(first.id, "completed")]


async def test_a_full_mailbox_is_a_429(house: House) -> None:
    first = await house.client.responses.create(model="echo", input="1", background=True)
    assert first.conversation is not None
    given: dict[str, Any] = {"model": "echo", "input": "x", "background": True}
    for _ in range(2):
        await house.client.responses.create(conversation=first.conversation.id, **given)
    with pytest.raises(openai.RateLimitError) as caught:
        await house.client.responses.create(conversation=first.conversation.id, **given)
    assert caught.value.code == "mailbox_full"
    assert caught.value.response.headers["retry-after"] == "1"


# -- hosts come and go ------------------------------------------------------------------------


async def test_a_stream_survives_the_loss_of_its_pipe(house: House) -> None:
    house.agent.say("one ")
    stream = await house.client.responses.create(model="echo", input="hi", stream=True)
    seen: list[Any] = []
    async for event in stream:
        seen.append(event)
        if event.type == "response.output_text.delta" and event.delta == "one ":
            await house.break_pipes()
            house.agent.answer("two")
    assert text_of(seen) == "one two"
    assert [event.sequence_number for event in seen] == list(range(len(seen)))


async def test_a_stream_whose_session_is_nowhere_says_so_in_band(stores: Stores) -> None:
    async with open_house(stores, reattach_s=0.2) as house:
        house.agent.say("one ")
        stream = await house.client.responses.create(model="echo", input="hi", stream=True)
        seen: list[Any] = []
        async for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                house.hosts.up = False
                await house.break_pipes()
        assert seen[-1].type == "error"
        assert seen[-1].code == "stream_interrupted"
        assert seen[-1].sequence_number == seen[-2].sequence_number
        assert seen[-1].request_id.startswith("req_")


async def test_no_host_is_a_503_and_nothing_is_done(stores: Stores) -> None:
    async with open_house(stores, call_timeout_s=0.5) as house:
        house.hosts.up = False
        with pytest.raises(openai.InternalServerError) as caught:
            await house.client.responses.create(model="echo", input="hi")
        assert caught.value.status_code == 503
        assert caught.value.code == "host_unavailable"
        assert await house.responses() == []


# -- what is not there ------------------------------------------------------------------------

ABSENT = [
    ("GET", "/v1/responses/{}"),
    ("GET", "/v1/responses/{}?stream=true"),
    ("POST", "/v1/responses/{}/cancel"),
    ("GET", "/v1/responses/{}/input_items"),
]


async def test_an_unknown_response_is_a_404(house: House) -> None:
    for name in (new_id(RESPONSE), "resp_x", "x", "%00", "%F0%9F%99%82", "resp_" + "0" * 500):
        for method, path in ABSENT:
            answer = await house.http.request(method, path.format(name))
            assert answer.status_code == 404
            error = answer.json()["error"]
            assert (error["code"], error["param"]) == ("not_found", "response_id"), path


async def test_a_foreign_response_is_as_unknown(house: House, stores: Stores) -> None:
    response = await ask(house, "secret")
    async with open_house(stores) as stranger:
        for method, path in ABSENT:
            answer = await stranger.http.request(method, path.format(response.id))
            assert answer.status_code == 404
            unknown = await stranger.http.request(method, path.format(new_id(RESPONSE)))
            theirs, nobodys = answer.json()["error"], unknown.json()["error"]
            assert {**theirs, "request_id": ""} == {**nobodys, "request_id": ""}
        for field, name in (
            ("previous_response_id", response.id),
            ("conversation", response.conversation.id if response.conversation else ""),
        ):
            answer = await stranger.http.post(
                "/v1/responses", json={"model": "echo", "input": "hi", field: name}
            )
            assert (answer.status_code, answer.json()["error"]["param"]) == (404, field)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        pytest.param("conversation", new_id(SESSION), id="no such conversation"),
        ("conversation", "nonsense"),
        pytest.param("previous_response_id", new_id(RESPONSE), id="no such response"),
        ("previous_response_id", "nonsense"),
    ],
)
async def test_an_unknown_place_to_go_on_is_a_404(house: House, field: str, name: str) -> None:
    for extra in ({}, {"stream": True}, {"background": True}):
        answer = await house.http.post(
            "/v1/responses", json={"model": "echo", "input": "hi", field: name, **extra}
        )
        assert answer.status_code == 404
        assert answer.json()["error"]["param"] == field
    assert await house.data() == [[], [], [], []]


async def test_a_stream_has_its_request_id(house: House) -> None:
    house.agent.answer("x")
    answer: httpx2.Response = await house.http.post(
        "/v1/responses",
        json={"model": "echo", "input": "hi", "stream": True},
        headers={"x-request-id": "mine-1"},
    )
    assert answer.headers["x-request-id"] == "mine-1"
