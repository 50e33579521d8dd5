"""What every provider adapter must do, as tests; a new provider passes them or is not one.

Use: write a class with the attributes of `Provider`, and in a test module

    @pytest.fixture
    def provider(): ...

    class TestMine(Conformance):
        pass

The provider stands for a server that does as it is told. A script is a handful of named numbers
and words: `tokens` (numbered: token k is `t{k} `), `ttft_ms`, `gap_ms`, `finish` (`stop`,
`length`, `content_filter`), `fault` (one of `FAULTS`) and `at` (after how many tokens). Asked to go
on with an answer that it began, it goes on with the next number, and `at` counts from there.
"""

from __future__ import annotations

import asyncio
import pickle
import traceback
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, cast

import psutil
import pytest

from agents.joint import GO_ON
from agents.registry import build
from agents.spec import AgentSpec
from contracts.agents import Agent, End, ModelRequest
from contracts.errors import (
    Busy,
    ProviderError,
    ProviderInterrupted,
    ProviderProtocol,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnauthorized,
    ProviderUnavailable,
)
from contracts.messages import Message, Role, Usage

KEY = "sk-conformance-5up3r53cr3t-0123456789"
PATIENCE_S = 60.0
"""How long a test waits for what must happen. Never asserted, only a way out of a hang."""

BEFORE_THE_ANSWER: dict[str, type[ProviderError]] = {
    "rate_limit": ProviderRateLimited,
    "overloaded": ProviderUnavailable,
    "server_error": ProviderUnavailable,
    "unauthorized": ProviderUnauthorized,
    "bad_request": ProviderRejected,
    "reset": ProviderUnavailable,
    "close": ProviderUnavailable,
    "hang": ProviderTimeout,
}
WITHIN_THE_ANSWER: dict[str, type[ProviderError]] = {
    "in_band_error": ProviderUnavailable,
    "stall": ProviderTimeout,
    "abort": ProviderInterrupted,
    "truncate": ProviderInterrupted,
    "malformed": ProviderProtocol,
}
FAULTS = BEFORE_THE_ANSWER | WITHIN_THE_ANSWER
SILENT = ("hang", "stall")
SILENCE_S = 1.0
"""How long a silent provider is borne; long enough for a busy machine to get to the silence."""


@dataclass(frozen=True)
class Heard:
    """What the provider was asked, in words that are no provider's."""

    model: str
    system: str | None
    turns: list[tuple[str, str]]
    """(role, text) with the roles `user` and `assistant`."""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None


class Provider(Protocol):
    """A provider as the suite sees it."""

    spec: AgentSpec
    """A spec that reaches the server; the suite changes limits and the key in copies."""

    def model(self, **script: int | str) -> str:
        """The model name that makes the server play this script."""
        ...

    async def heard(self) -> list[Heard]:
        """Every question since the last `forget`, oldest first."""
        ...

    async def forget(self) -> None:
        """Forget the questions."""
        ...

    async def running(self) -> int:
        """How many answers the server is in the middle of."""
        ...

    @property
    def port(self) -> int:
        """Where the server listens."""
        ...


def said(*turns: tuple[str, str]) -> tuple[Message, ...]:
    """A conversation."""
    return tuple(
        Message(f"msg_{n}", n, cast(Role, role), text, 0.0)
        for n, (role, text) in enumerate(turns, start=1)
    )


def tokens(count: int) -> str:
    """What a scripted answer of this many tokens says."""
    return "".join(f"t{k} " for k in range(count))


def spec_with(spec: AgentSpec, **changes: Any) -> AgentSpec:
    """A copy with changes, and with the suite's key unless it says otherwise."""
    names = AgentSpec.__dataclass_fields__
    values = {name: getattr(spec, name) for name in names}
    return AgentSpec(**{**values, "api_key": KEY, **changes})


async def collect(agent: Agent, request: ModelRequest) -> tuple[list[str], list[End]]:
    """All of a stream: its texts and its ends. Checks what holds for every item."""
    texts: list[str] = []
    ends: list[End] = []
    async with asyncio.timeout(PATIENCE_S):
        async for item in agent.stream(request):
            assert not ends, "something came after the end"
            if isinstance(item, End):
                ends.append(item)
            else:
                assert item, "an empty delta"
                texts.append(item)
    return texts, ends


async def failure(agent: Agent, request: ModelRequest) -> tuple[str, ProviderError]:
    """The text that came before a stream failed, and how it failed."""
    text = ""
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for item in agent.stream(request):
                assert not isinstance(item, End), "an end before a failure"
                text += item
    except ProviderError as error:
        check_error(error)
        return text, error
    pytest.fail(f"the stream stopped without an end and without an error, after {text!r}")


def check_error(error: ProviderError, *secrets: str) -> None:
    """What holds for every error: it travels, it names its cause, it tells no secret."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert error.message.endswith((".", "…"))
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.as_dict())
    for secret in (KEY, KEY[8:-4], *secrets):
        assert secret not in shown


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what must come to be."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.01)


def sockets_to(port: int) -> int:
    """This process's connections to a port of this machine."""
    return sum(
        1
        for link in psutil.Process().net_connections("tcp")
        if link.raddr and link.raddr.port == port and link.status == psutil.CONN_ESTABLISHED
    )


class Conformance:
    """The suite. Needs the fixture `provider`."""

    @pytest.fixture(autouse=True)
    async def _clean(self, provider: Provider) -> None:
        await provider.forget()

    def ask(self, provider: Provider, **script: int | str) -> ModelRequest:
        return ModelRequest(provider.model(**script), said(("user", "Say something.")))

    def endless(self, provider: Provider, spoken: int, gap_ms: int = 10) -> ModelRequest:
        """An answer that says this many tokens soon, and is not over while a test lasts."""
        if spoken == 0:
            return self.ask(provider, tokens=1, ttft_ms=60_000)
        return self.ask(provider, tokens=6000, gap_ms=gap_ms)

    async def test_text_in_order_then_one_end(self, provider: Provider) -> None:
        agent = build(spec_with(provider.spec))
        try:
            texts, ends = await collect(agent, self.ask(provider, tokens=50))
            assert "".join(texts) == tokens(50)
            assert [end.reason for end in ends] == ["stop"]
        finally:
            await agent.aclose()

    async def test_deltas_come_as_they_are_said(self, provider: Provider) -> None:
        """The first word is out while the provider is still in the middle of its answer."""
        agent = build(spec_with(provider.spec))
        try:
            stream = cast(Any, agent.stream(self.endless(provider, 1)))
            async with asyncio.timeout(PATIENCE_S), aclosing(stream):
                assert (await anext(stream)).startswith("t0 ")
                assert await provider.running() == 1
        finally:
            await agent.aclose()

    async def test_usage(self, provider: Provider) -> None:
        agent = build(spec_with(provider.spec))
        try:
            _, [end] = await collect(agent, self.ask(provider, tokens=7))
            assert isinstance(end.usage, Usage)
            assert end.usage.output_tokens == 7
            assert end.usage.input_tokens > 0
        finally:
            await agent.aclose()

    @pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
    async def test_why_it_stopped(self, provider: Provider, finish: str) -> None:
        agent = build(spec_with(provider.spec))
        try:
            _, [end] = await collect(agent, self.ask(provider, tokens=2, finish=finish))
            assert end.reason == finish
        finally:
            await agent.aclose()

    async def test_an_answer_without_a_word(self, provider: Provider) -> None:
        agent = build(spec_with(provider.spec))
        try:
            texts, ends = await collect(agent, self.ask(provider, tokens=0))
            assert (texts, len(ends)) == ([], 1)
        finally:
            await agent.aclose()

    async def test_the_conversation_is_sent(self, provider: Provider) -> None:
        agent = build(spec_with(provider.spec))
        turns = (("user", "My name is Zoë 🦊."), ("assistant", "Hello Zoë."), ("user", "And?"))
        model = provider.model(tokens=1)
        try:
            await collect(agent, ModelRequest(model, said(*turns), instructions="Be brief: ≤ 3."))
            await collect(agent, ModelRequest(model, said(*turns)))
        finally:
            await agent.aclose()
        with_system, without = await provider.heard()
        assert with_system.model == without.model == model
        assert with_system.turns == without.turns == list(turns)
        assert (with_system.system, without.system) == ("Be brief: ≤ 3.", None)

    @pytest.mark.parametrize("role", ["system", "developer"])
    async def test_instructions_inside_the_conversation(
        self, provider: Provider, role: str
    ) -> None:
        agent = build(spec_with(provider.spec))
        turns = (("user", "Hi."), (role, "Now in French."), ("user", "And?"))
        try:
            await collect(agent, ModelRequest(provider.model(tokens=1), said(*turns)))
        finally:
            await agent.aclose()
        [heard] = await provider.heard()
        assert heard.turns == [("user", "Hi."), ("user", "And?")]
        assert heard.system == "Now in French."

    async def test_the_settings_are_sent(self, provider: Provider) -> None:
        agent = build(spec_with(provider.spec))
        model, asked = provider.model(tokens=1), said(("user", "Hi."))
        try:
            request = ModelRequest(model, asked, temperature=0.0, top_p=0.25, max_output_tokens=321)
            await collect(agent, request)
            await collect(agent, ModelRequest(model, asked))
        finally:
            await agent.aclose()
        given, default = await provider.heard()
        assert (given.temperature, given.top_p, given.max_tokens) == (0.0, 0.25, 321)
        assert (default.temperature, default.top_p, default.max_tokens) == (None, None, None)

    async def test_a_begun_answer_goes_on(self, provider: Provider) -> None:
        """What was said is sent word for word, and what comes back is the rest and nothing else."""
        agent = build(spec_with(provider.spec))
        turns = (("user", "Hi."), ("assistant", "Hello."), ("user", "Say something."))
        model = provider.model(tokens=9)
        request = ModelRequest(model, said(*turns), instructions="Be brief.", said=tokens(4))
        try:
            texts, [end] = await collect(agent, request)
        finally:
            await agent.aclose()
        assert tokens(4) + "".join(texts) == tokens(9)
        assert end.reason == "stop"
        [heard] = await provider.heard()
        assert heard.turns == [*turns, ("assistant", tokens(4)), ("user", GO_ON)]
        assert heard.system == "Be brief."

    async def test_a_continuation_that_breaks_says_what_came(self, provider: Provider) -> None:
        agent = build(spec_with(provider.spec))
        model = provider.model(tokens=9, fault="truncate", at=2)
        request = ModelRequest(model, said(("user", "Hi.")), said=tokens(4))
        try:
            text, error = await failure(agent, request)
        finally:
            await agent.aclose()
        assert tokens(4) + text == tokens(6)
        assert type(error) is ProviderInterrupted

    @pytest.mark.parametrize("fault", BEFORE_THE_ANSWER)
    async def test_a_fault_before_the_answer(self, provider: Provider, fault: str) -> None:
        agent = build(
            spec_with(provider.spec, timeout_s=SILENCE_S if fault in SILENT else PATIENCE_S)
        )
        try:
            text, error = await failure(agent, self.ask(provider, tokens=3, fault=fault))
        finally:
            await agent.aclose()
        assert text == ""
        assert type(error) is BEFORE_THE_ANSWER[fault]
        assert len(await provider.heard()) == 1, "an adapter never retries"

    @pytest.mark.parametrize("at", [0, 1, 5])
    @pytest.mark.parametrize("fault", WITHIN_THE_ANSWER)
    async def test_a_fault_within_the_answer(self, provider: Provider, fault: str, at: int) -> None:
        # What is said before the silence may take as long as it likes to begin.
        limits = {"timeout_s": SILENCE_S, "first_token_s": PATIENCE_S if at else SILENCE_S}
        agent = build(spec_with(provider.spec, **(limits if fault in SILENT else {})))
        try:
            text, error = await failure(agent, self.ask(provider, tokens=9, fault=fault, at=at))
        finally:
            await agent.aclose()
        assert type(error) is WITHIN_THE_ANSWER[fault]
        if fault == "abort":
            # A reset may overtake what was sent before it.
            assert tokens(at).startswith(text)
        else:
            assert text == tokens(at)
        assert len(await provider.heard()) == 1, "an adapter never retries"

    @pytest.mark.parametrize("fault", ["rate_limit", "overloaded"])
    async def test_when_to_come_back(self, provider: Provider, fault: str) -> None:
        agent = build(spec_with(provider.spec))
        try:
            request = self.ask(provider, tokens=1, fault=fault, retry_after_s=7)
            _, error = await failure(agent, request)
        finally:
            await agent.aclose()
        assert error.retry_after == 7.0

    async def test_nobody_listens(self, provider: Provider, unused_tcp_port: int) -> None:
        base_url = f"http://127.0.0.1:{unused_tcp_port}"
        agent = build(spec_with(provider.spec, base_url=base_url))
        try:
            _, error = await failure(agent, self.ask(provider, tokens=1))
        finally:
            await agent.aclose()
        assert type(error) is ProviderUnavailable

    @pytest.mark.parametrize(
        ("how", "after"), [("cancel", 0), ("cancel", 1), ("cancel", 5), ("close", 1), ("close", 5)]
    )
    async def test_leaving_drops_the_connection(
        self, provider: Provider, how: str, after: int
    ) -> None:
        agent = build(spec_with(provider.spec))
        request = self.endless(provider, after)
        reached = asyncio.Event()

        async def listen() -> None:
            text = ""
            async with aclosing(cast(Any, agent.stream(request))) as stream:
                async for item in stream:
                    text += item
                    if text.startswith(tokens(after)):
                        reached.set()
                        if how == "close":
                            return

        async def idle() -> bool:
            return await provider.running() == 0 and sockets_to(provider.port) == before

        async def busy() -> bool:
            return await provider.running() == 1

        before = sockets_to(provider.port)
        task = asyncio.ensure_future(listen())
        try:
            if after:
                async with asyncio.timeout(PATIENCE_S):
                    await reached.wait()
            if how == "cancel":
                await until(busy)
                task.cancel()
            await asyncio.wait([task])
            await until(idle)
        finally:
            await agent.aclose()

    async def test_two_hundred_that_leave_leave_nothing_behind(self, provider: Provider) -> None:
        agent = build(spec_with(provider.spec))
        sockets, known = sockets_to(provider.port), asyncio.all_tasks()

        async def listen(n: int) -> None:
            # So slowly that the tokens of so many leave time to look at them.
            request = self.endless(provider, n % 2, gap_ms=100)
            async with aclosing(cast(Any, agent.stream(request))) as stream:
                async for _ in stream:
                    pass

        async def busy() -> bool:
            return await provider.running() == 200

        async def idle() -> bool:
            return (
                await provider.running() == 0
                and sockets_to(provider.port) == sockets
                and asyncio.all_tasks() <= known
            )

        tasks = [asyncio.ensure_future(listen(n)) for n in range(200)]
        try:
            await until(busy)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await until(idle)
            texts, _ = await collect(agent, self.ask(provider, tokens=3))
            assert "".join(texts) == tokens(3)
        finally:
            await agent.aclose()
        await until(idle)

    async def test_many_at_once(self, provider: Provider) -> None:
        """All are in the middle of their answers at the same time, or the barrier never opens."""
        agent = build(spec_with(provider.spec))
        together = asyncio.Barrier(150)

        async def listen() -> str:
            text = ""
            request = self.ask(provider, tokens=40, ttft_ms=20, gap_ms=5)
            async for item in agent.stream(request):
                if isinstance(item, str):
                    if not text:
                        await together.wait()
                    text += item
            return text

        try:
            async with asyncio.timeout(PATIENCE_S):
                texts = await asyncio.gather(*(listen() for _ in range(150)))
        finally:
            await agent.aclose()
        assert set(texts) == {tokens(40)}

    async def test_one_too_many(self, provider: Provider) -> None:
        agent = build(spec_with(provider.spec, max_sessions=2))
        request = self.ask(provider, tokens=3, fault="stall", at=1)
        streams = [cast(Any, agent.stream(request)) for _ in range(2)]
        try:
            async with asyncio.timeout(PATIENCE_S):
                for stream in streams:
                    assert await anext(stream) == "t0 "
                with pytest.raises(Busy) as caught:
                    await anext(agent.stream(request))
                assert (caught.value.cause_code, caught.value.retry_after) == ("agent_busy", 1.0)
                assert len(await provider.heard()) == 2, "nothing is sent for one too many"
                for stream in streams:
                    await stream.aclose()
                texts, _ = await collect(agent, self.ask(provider, tokens=2))
                assert "".join(texts) == tokens(2)
        finally:
            await agent.aclose()

    async def test_closing_the_agent_ends_its_streams(self, provider: Provider) -> None:
        agent = build(spec_with(provider.spec))
        request = self.ask(provider, tokens=3, fault="stall", at=1)
        stream = cast(Any, agent.stream(request))
        async with asyncio.timeout(PATIENCE_S), aclosing(stream):
            assert await anext(stream) == "t0 "
            await agent.aclose()
            await agent.aclose()
            with pytest.raises(ProviderInterrupted):
                await anext(stream)
        _, error = await failure(agent, request)
        assert type(error) is ProviderUnavailable
