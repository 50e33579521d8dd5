"""StreamingAgent: one request, one stream of text, one end, over whatever wire a provider speaks.

The story of a stream: it takes one of the agent's places (or is refused), sends what the wire
wrote, waits for the head of the answer under `first_token_s`, then hands every read to the wire's
reader and yields the text that came out, one str per read. How the stream ends is the reader's
word: bytes may stop for any reason, but only a reader that saw its provider's terminal marker has
an `End`. Once it has one, nothing that happens to the connection later takes it back. An answer
that goes on from what another stream said is asked for and joined here, for all wires alike
(`agents.joint`).

Each stream has one watchdog for silence, which may be longer before the first text than after it,
and for its total time. It is a timer that looks at the
time of the last read about once a second, instead of one that is set anew with every token: at
forty tokens a turn that would be a tenth of the reader's CPU.

A stream that is closed or cancelled drops its connection at once: that is what tells a provider
to stop, and stops the bill. One that ended gives its connection back to the pool; where the last
bytes of the HTTP framing are still on their way, a timer holds it (and the place) for a moment.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from io import BytesIO
from typing import NamedTuple, Protocol

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from agents.joint import JointReader, asked_to_go_on
from agents.pool import Client
from agents.rates import rate_limits
from agents.spec import AgentSpec
from agents.translate import Translator
from contracts.agents import End, ModelRequest
from contracts.errors import (
    Busy,
    ProviderError,
    ProviderInterrupted,
    ProviderTimeout,
    ProviderUnavailable,
)
from contracts.limits import RateLimits

SILENT_S = 3.0
"""A stream that has spoken and then says nothing for so long counts as silent."""
_LINGER_S = 1.0
_LIMITS_S = 0.05
"""Heads that come sooner after another one are not read for limits: a busy endpoint has many."""
_PULSE_S = 1.0
_ERROR_BYTES = 64 * 1024
_ERROR_BODY_S = 2.0
_LARGE_BYTES = 1 << 20
# RuntimeError is what aiohttp raises for a connection or session that was closed under a reader.
TRANSPORT_ERRORS = (aiohttp.ClientError, OSError, RuntimeError)


class Ask(NamedTuple):
    """One HTTP POST."""

    url: URL
    headers: CIMultiDict[str]
    body: bytes


class Reader(Protocol):
    """Reads one stream. Pure: bytes in, text out."""

    @property
    def outcome(self) -> End | ProviderError | None:
        """Set when the stream is over, well or badly; what comes after is not read."""
        ...

    def feed(self, data: bytes) -> str:
        """The text in this read; empty if there is none. Never raises: it sets `outcome`."""
        ...

    def close(self) -> str:
        """The bytes have stopped: what text is left. Sets `outcome` to the end if that was said;
        otherwise the caller knows better why there is none.
        """
        ...


class Wire(Protocol):
    """One provider's API: how to ask and how to read. Serves all streams of an agent."""

    @property
    def media_type(self) -> str:
        """What a streamed answer's Content-Type is."""
        ...

    def ask(self, request: ModelRequest) -> Ask:
        """The POST for this request, whose `said` is among its messages by now."""
        ...

    def reader(self) -> Reader:
        """A fresh reader."""
        ...


class StreamingAgent:
    """The port `contracts.agents.Agent` for a provider that streams over HTTP.

    Args:
        spec: Names and limits.
        wire: The provider's API.
        client: Where requests go out; shared.
        give_back: Called once, by `aclose`.
        errors: Speaks for this agent.
    """

    def __init__(
        self,
        spec: AgentSpec,
        wire: Wire,
        client: Client,
        give_back: Callable[[], Awaitable[None]],
        errors: Translator,
    ) -> None:
        self.spec = spec
        self.client = client
        self._wire = wire
        self._give_back = give_back
        self._errors = errors
        self.on_limits: Callable[[RateLimits], None] | None = None
        """Told what an answer's head says of the provider's rate limits."""
        self._running = 0
        self._silent = 0
        self._limits_due = 0.0
        self._lingering: set[Callable[[], None]] = set()
        self._closed = False

    @property
    def running(self) -> int:
        """Places taken: streams under way, and those whose connection is not free yet."""
        return self._running

    def silent(self) -> int:
        """Streams that stopped in their middle, seconds ago; a time-out may end them."""
        return self._silent

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | End, None]:
        """See `contracts.agents.Agent.stream`.

        Raises:
            Busy: `max_sessions` streams are under way; nothing was sent.
            ProviderError: whatever the provider did.
        """
        ask = self._wire.ask(asked_to_go_on(request))
        self._take_place()
        begun = asyncio.get_running_loop().time()
        response: aiohttp.ClientResponse | None = None
        watchdog: Watchdog | None = None
        outcome: End | ProviderError | None = None
        try:
            response = await self._open(ask)
            reader: Reader = self._wire.reader()
            if request.said:
                reader = JointReader(reader, request.said)
            deadline = begun + self.spec.total_timeout_s
            watchdog = Watchdog(response, begun, self._first_token_s, deadline, self._note_silent)
            readany, now = response.content.readany, watchdog.now
            while outcome is None:
                broken: Exception | None = None
                try:
                    data = await readany()
                except TRANSPORT_ERRORS as error:
                    data, broken = b"", error
                if text := reader.feed(data) if data else reader.close():
                    watchdog.last = math.inf  # until the caller comes back, nobody is waited for
                    watchdog.idle_s, watchdog.spoken = self.spec.timeout_s, True
                    yield text
                    if self.spec.pace_s and reader.outcome is None:
                        await _rest(response, self.spec.pace_s)
                watchdog.last = now()
                outcome = reader.outcome
                if outcome is None and not data:
                    outcome = self._unfinished(broken, watchdog)
        finally:
            if watchdog is not None:
                watchdog.stop()
            self._leave(response, well=isinstance(outcome, End))
        # Only here, with the place free again: who has the end may not ask for more.
        if isinstance(outcome, End):
            yield outcome
        elif outcome is not None:
            raise outcome

    async def aclose(self) -> None:
        """Give the connections back; the last agent of a pool closes them, and what streams on
        them breaks. Idempotent.
        """
        if not self._closed:
            self._closed = True
            for free in list(self._lingering):
                free()
            await self._give_back()

    async def _open(self, ask: Ask) -> aiohttp.ClientResponse:
        """Send the request and wait for the head of a stream."""
        session = self.client.session()
        if session is None:
            raise self._errors.error(ProviderUnavailable, "the agent is closed")
        limit_s = min(self._first_token_s, self.spec.total_timeout_s)
        waiting = asyncio.timeout(limit_s)
        try:
            async with waiting:
                response = await session.post(
                    ask.url,
                    # aiohttp warns of large bytes, whose one write could hold the loop.
                    data=ask.body if len(ask.body) < _LARGE_BYTES else BytesIO(ask.body),
                    headers=ask.headers,
                    # A redirect would take the key to another server.
                    allow_redirects=False,
                )
        except TRANSPORT_ERRORS as error:
            if waiting.expired():
                why = f"no answer within {limit_s:g} s"
                raise self._errors.error(ProviderTimeout, why) from None
            raise self._errors.transport(error, begun=False) from None
        self._hear_limits(response)
        if response.status == 200 and self._streams(response):
            return response
        try:
            raise await self._refusal(response)
        finally:
            response.close()

    @property
    def _first_token_s(self) -> float:
        first_s = self.spec.first_token_s
        return self.spec.timeout_s if first_s is None else first_s

    def _hear_limits(self, response: aiohttp.ClientResponse) -> None:
        now = asyncio.get_running_loop().time()
        if self.on_limits is None or (response.status == 200 and now < self._limits_due):
            return
        self._limits_due = now + _LIMITS_S
        limits = rate_limits(response.headers)
        if limits is not None:
            self.on_limits(limits)

    def _note_silent(self, change: int) -> None:
        self._silent += change

    def _streams(self, response: aiohttp.ClientResponse) -> bool:
        """Whether the body is a stream. One whole JSON object is not, whatever its status."""
        media_type = response.headers.get("Content-Type", "")
        return not media_type.startswith("application/json") or media_type.startswith(
            self._wire.media_type
        )

    async def _refusal(self, response: aiohttp.ClientResponse) -> ProviderError:
        """What the answer says in place of a stream."""
        body = await refusal_body(response)
        if response.status == 200:
            return self._errors.not_a_stream(body)
        return self._errors.status(response.status, response.headers, body)

    def _unfinished(self, broken: Exception | None, watchdog: Watchdog) -> ProviderError:
        """Why the bytes stopped before the end."""
        if watchdog.expired is not None:
            return self._errors.error(ProviderTimeout, watchdog.expired)
        if broken is not None:
            return self._errors.transport(broken, begun=True)
        return self._errors.error(ProviderInterrupted, "it ended without saying why")

    def _take_place(self) -> None:
        if self._running >= self.spec.max_sessions:
            raise Busy(
                f"Agent '{self.spec.name}' is answering as many sessions as it may"
                f" ({self.spec.max_sessions}). Try again shortly.",
                code="agent_busy",
                retry_after=1.0,
            )
        self._running += 1

    def _leave(self, response: aiohttp.ClientResponse | None, *, well: bool) -> None:
        """Free the stream's place and connection: at once, or once the framing is through."""
        if response is None or not well or response.content.is_eof():
            self._running -= 1
            if response is not None and not well:
                response.close()
            return

        def free() -> None:
            nonlocal response
            if response is not None:
                timer.cancel()
                self._lingering.discard(free)
                if not response.content.is_eof():
                    response.close()
                response = None
                self._running -= 1

        self._lingering.add(free)
        timer = asyncio.get_running_loop().call_later(_LINGER_S, free)
        response.content.on_eof(free)


async def refusal_body(response: aiohttp.ClientResponse) -> bytes:
    """What stands in place of an answer; what is withheld of it is not waited for."""
    body = b""
    with suppress(*TRANSPORT_ERRORS):
        async with asyncio.timeout(_ERROR_BODY_S):
            while len(body) < _ERROR_BYTES and (data := await response.content.readany()):
                body += data
    return body


async def _rest(response: aiohttp.ClientResponse, pace_s: float) -> None:
    """Leave what comes to the kernel for a while; a read for each token is what a stream costs.

    The text that was read is on its way, so nobody waits for it; only the next read, and with it
    the end, comes up to `pace_s` later.
    """
    connection = response.connection
    transport = connection.transport if connection is not None else None
    if transport is None or transport.is_closing():
        return
    transport.pause_reading()
    await asyncio.sleep(pace_s)
    if not transport.is_closing():
        transport.resume_reading()


class Watchdog:
    """Closes a response that is silent for too long, lasts too long, or is dead.

    Whoever reads sets `last` to `now()` after every read, and to infinity while it does not read;
    with the first text it also sets `spoken`, and `idle_s` to what holds from then on.

    A dead one is a connection that closed without its reader being told: aiohttp does that when
    the framing of a body breaks in the middle. A silence of one pulse is reason enough to look.
    """

    __slots__ = (
        "_deadline",
        "_is_silent",
        "_loop",
        "_note_silent",
        "_response",
        "_timer",
        "expired",
        "idle_s",
        "last",
        "now",
        "spoken",
    )

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        begun: float,
        idle_s: float,
        deadline: float,
        note_silent: Callable[[int], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self.last = begun
        self.idle_s = idle_s
        self._deadline = deadline
        self.spoken = False
        """The first text is there: from now on silence is reported as well, by `note_silent`."""
        self._response = response
        self._note_silent = note_silent
        self._is_silent = False
        self.expired: str | None = None
        """Why it struck, as a clause; None while it has not, or if it found a dead connection."""
        self._wait(self.now())

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()
        self._tell(silent=False)

    def _wait(self, now: float) -> None:
        due = min(min(self.last, now) + self.idle_s, self._deadline, now + _PULSE_S)
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        now = self.now()
        silence = now - self.last
        if now >= self._deadline:
            self.expired = "its answer was not complete in time"
        elif silence >= self.idle_s:
            self.expired = f"not a byte for {self.idle_s:g} s"
        elif silence < _PULSE_S or not self._dead():
            self._tell(silent=self.spoken and silence >= SILENT_S)
            self._wait(now)
            return
        # Wakes the reader with an error, which it takes for ours if `expired` is set.
        self._response.close()

    def _tell(self, *, silent: bool) -> None:
        if silent != self._is_silent:
            self._is_silent = silent
            self._note_silent(1 if silent else -1)

    def _dead(self) -> bool:
        connection = self._response.connection
        if connection is None:  # given back: the body is complete
            return False
        transport = connection.transport
        return transport is None or transport.is_closing()
