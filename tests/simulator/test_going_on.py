"""Asked to go on with a begun answer, the simulator gives the rest of the very same one."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import going_on, persona
from simulator.asks import Turn
from tests.simulator.clock import PATIENT

ORDER = "You were interrupted. Please continue from your last character."
ASKED = [Turn("user", "Hello, tell me a long story about a fox")]


def numbered(count: int) -> str:
    return "".join(f"t{k} " for k in range(count))


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([*ASKED, Turn("assistant", "Once"), Turn("user", ORDER)], "Once"),
        ([*ASKED, Turn("assistant", ""), Turn("system", ORDER)], ""),
        ([Turn("assistant", "Once"), Turn("user", "Go on, you were cut off")], "Once"),
        ([*ASKED, Turn("assistant", "Once"), Turn("user", "Please continue.")], None),
        ([*ASKED, Turn("assistant", "Once"), Turn("user", "I was interrupted.")], None),
        ([*ASKED, Turn("assistant", "Once"), Turn("user", ORDER + "x" * 1000)], None),
        ([*ASKED, Turn("assistant", "Once"), Turn("assistant", ORDER)], None),
        ([*ASKED, Turn("user", ORDER)], None),
        ([Turn("user", ORDER)], None),
        ([], None),
    ],
)
def test_what_is_such_a_request(turns: list[Turn], expected: str | None) -> None:
    assert going_on.begun(turns) == expected


@PATIENT
@given(st.integers(1, 2000), st.integers(0, 10_000))
def test_numbers_go_on_from_any_character(count: int, place: int) -> None:
    whole = numbered(count)
    begun = whole[: min(place, len(whole) - 1)]
    number, missing = going_on.next_token(begun)
    rest = missing.decode() + "".join(f"t{k} " for k in range(number + 1, count))
    assert begun + rest == whole


def test_after_another_text_counting_begins_at_nought() -> None:
    assert going_on.next_token("It was a dark and stormy ") == (0, b"t0 ")


@PATIENT
@given(st.integers(0, 5000), st.integers(0, 5))
def test_a_reply_goes_on_from_any_character(place: int, seed: int) -> None:
    whole = persona.reply(ASKED, seed)
    begun = whole[:place]
    assert begun + going_on.rest(whole, begun) == whole


@pytest.mark.parametrize(("begun", "between"), [("Elsewhere", " "), ("Elsewhere\n", "")])
def test_a_strange_beginning_is_followed_by_a_new_sentence(begun: str, between: str) -> None:
    assert going_on.rest("Hello!", begun) == f"{between}Hello!"


async def answer(http: httpx2.AsyncClient, model: str, *said: str, limit: int = 5000) -> Any:
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]
    body = {"model": model, "messages": messages, "max_tokens": limit}
    reply = await http.post("/v1/chat/completions", content=json.dumps(body))
    return reply.json()


def text_in(reply: Any) -> str:
    return reply["choices"][0]["message"]["content"]


async def test_over_the_wire(http: httpx2.AsyncClient) -> None:
    model = "scripted.tokens-12"
    whole = text_in(await answer(http, model, "hi"))
    assert whole == numbered(12)
    # A limit counts what is new, as the model's own does.
    for place in (0, 1, 7, len(whole) - 1, len(whole)):
        rest = await answer(http, model, "hi", whole[:place], ORDER)
        assert whole[:place] + text_in(rest) == whole
        assert rest["choices"][0]["finish_reason"] == "stop"
    cut = await answer(http, model, "hi", whole[:7], ORDER, limit=2)
    assert text_in(cut) == "2 t3 "
    assert cut["choices"][0]["finish_reason"] == "length"
    assert cut["usage"]["completion_tokens"] == 2


async def test_words_over_the_wire(http: httpx2.AsyncClient) -> None:
    asked = "Write a poem about rain"
    whole = text_in(await answer(http, "simulated", asked))
    begun = whole[: len(whole) // 2]
    assert len(begun) > 20
    assert begun + text_in(await answer(http, "simulated", asked, begun, ORDER)) == whole
    assert text_in(await answer(http, "simulated", asked, whole, ORDER)) == ""
    assert text_in(await answer(http, "simulated", asked, "Mist,", ORDER)) == f" {whole}"
