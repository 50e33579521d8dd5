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
from typing import Protocol

from agents.answer import Answer, TransportError
from agents.joint import JointReader, asked_to_go_on
from agents.pool import Ask, Client
from agents.rates import rate_limits
from agents.spec import AgentSpec
from agents.translate import Translator
from contracts.agents import End, ModelRequest
from contracts.errors import (
    Busy,
    ProviderError,
    ProviderInterrupted,
    ProviderProtocol,
    ProviderTimeout,
    ProviderUnavailable,
)
from contracts.limits import RateLimits

_LINGER_S = 1.0
_LIMITS_S = 0.05
"""Heads that come sooner after another one are not read for limits: a busy endpoint has many."""
_PULSE_S = 1.0
_ERROR_BYTES = 64 * 1024
_ERROR_BODY_S = 2.0
TRANSPORT_ERRORS = (TransportError, OSError)


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
        answer: Answer | None = None
        watchdog: Watchdog | None = None
        outcome: End | ProviderError | None = None
        try:
            answer = await self._open(ask)
            reader: Reader = self._wire.reader()
            if request.said:
                reader = JointReader(reader, request.said)
            deadline = begun + self.spec.total_timeout_s
            watchdog = Watchdog(
                answer,
                begun,
                self._first_token_s,
                deadline,
                self.spec.silent_s,
                self._note_silent,
            )
            read, now = answer.read, watchdog.now
            rest_s = 0.0
            while outcome is None:
                broken: TransportError | None = None
                try:
                    data = await read(rest_s)
                except TransportError as error:
                    data, broken = b"", error
                rest_s = 0.0
                if text := reader.feed(data) if data else reader.close():
                    watchdog.last = math.inf  # until the caller comes back, nobody is waited for
                    watchdog.idle_s, watchdog.spoken = self.spec.timeout_s, True
                    yield text
                    # The text is on its way, so nobody waits for what comes next; only that, and
                    # with it the end, is read up to so much later.
                    rest_s = self.spec.pace_s
                watchdog.last = now() + rest_s
                outcome = reader.outcome
                if outcome is None and not data:
                    outcome = self._unfinished(broken, watchdog)
        finally:
            if watchdog is not None:
                watchdog.stop()
            self._leave(answer, well=isinstance(outcome, End))
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

    async def _open(self, ask: Ask) -> Answer:
        """Send the request and wait for the head of a stream."""
        if self.client.closed:
            raise self._errors.error(ProviderUnavailable, "the agent is closed")
        limit_s = min(self._first_token_s, self.spec.total_timeout_s)
        waiting = asyncio.timeout(limit_s)
        answer: Answer | None = None
        streams = False
        try:
            async with waiting:
                answer = await self.client.post(ask)
                await answer.head()
            self._hear_limits(answer)
            streams = answer.status == 200 and self._streams(answer)
            if not streams:
                raise await self._refusal(answer)
            return answer
        except TRANSPORT_ERRORS as error:
            if waiting.expired():
                why = f"no answer within {limit_s:g} s"
                raise self._errors.error(ProviderTimeout, why) from None
            raise self._errors.transport(error, begun=False) from None
        finally:
            if answer is not None and not streams:
                answer.close()

    @property
    def _first_token_s(self) -> float:
        first_s = self.spec.first_token_s
        return self.spec.timeout_s if first_s is None else first_s

    def _hear_limits(self, answer: Answer) -> None:
        now = asyncio.get_running_loop().time()
        if self.on_limits is None or (answer.status == 200 and now < self._limits_due):
            return
        self._limits_due = now + _LIMITS_S
        limits = rate_limits(answer.headers)
        if limits is not None:
            self.on_limits(limits)

    def _note_silent(self, change: int) -> None:
        self._silent += change

    def _streams(self, answer: Answer) -> bool:
        """Whether the body is a stream. One whole JSON object is not, nor what is compressed."""
        if _compression(answer):
            return False
        media_type = answer.header(b"content-type")
        return not media_type.startswith("application/json") or media_type.startswith(
            self._wire.media_type
        )

    async def _refusal(self, answer: Answer) -> ProviderError:
        """What the answer says in place of a stream."""
        body = await refusal_body(answer)
        if answer.status == 200:
            if compression := _compression(answer):
                why = f"it sends {compression[:40]!r}, which was not asked for"
                return self._errors.error(ProviderProtocol, why)
            return self._errors.not_a_stream(body)
        return self._errors.status(answer.status, answer.headers, body)

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

    def _leave(self, answer: Answer | None, *, well: bool) -> None:
        """Free the stream's place and connection: at once, or once the framing is through."""
        if answer is None or not well or answer.complete:
            self._running -= 1
            if answer is not None:
                answer.close()
            return

        def free() -> None:
            nonlocal answer
            if answer is not None:
                timer.cancel()
                self._lingering.discard(free)
                answer.close()
                answer = None
                self._running -= 1

        self._lingering.add(free)
        timer = asyncio.get_running_loop().call_later(_LINGER_S, free)
        answer.on_complete(free)


def _compression(answer: Answer) -> str:
    """How its body is compressed; empty if it is not."""
    encoding = answer.header(b"content-encoding")
    return "" if encoding == "identity" else encoding


async def refusal_body(answer: Answer) -> bytes:
    """What stands in place of an answer; what is withheld of it is not waited for."""
    body = b""
    with suppress(*TRANSPORT_ERRORS):
        async with asyncio.timeout(_ERROR_BODY_S):
            while len(body) < _ERROR_BYTES and (data := await answer.read()):
                body += data
    return body


class Watchdog:
    """Closes an answer that is silent for too long, or lasts too long.

    Whoever reads sets `last` to `now()` after every read, and to infinity while it does not read;
    with the first text it also sets `spoken`, and `idle_s` to what holds from then on.
    """

    __slots__ = (
        "_answer",
        "_deadline",
        "_is_silent",
        "_loop",
        "_note_silent",
        "_silent_s",
        "_timer",
        "expired",
        "idle_s",
        "last",
        "now",
        "spoken",
    )

    def __init__(
        self,
        answer: Answer,
        begun: float,
        idle_s: float,
        deadline: float,
        silent_s: float,
        note_silent: Callable[[int], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self.last = begun
        self.idle_s = idle_s
        self._deadline = deadline
        self.spoken = False
        """The first text is there: from now on silence is reported as well, by `note_silent`."""
        self._answer = answer
        self._silent_s = silent_s
        self._note_silent = note_silent
        self._is_silent = False
        self.expired: str | None = None
        """Why it struck, as a clause; None while it has not."""
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
        else:
            self._tell(silent=self.spoken and silence >= self._silent_s)
            self._wait(now)
            return
        # Wakes the reader with an error, which it takes for ours, since `expired` is set.
        self._answer.close()

    def _tell(self, *, silent: bool) -> None:
        if silent != self._is_silent:
            self._is_silent = silent
            self._note_silent(1 if silent else -1)
