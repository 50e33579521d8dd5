"""The load generator: a process of its own that holds all sockets and keeps the clock.

It is driven by JSON lines on stdin and answers each with one JSON line on stdout:

    {"do": "open", "paths": [...], "at_once": 64, "timeout_s": 60, "offer": false}
        -> {"opened": 100, "failed": {"reason": count}, "compressed": 0}
    {"do": "once", "spread_s": 5, "timeout_s": 60, "first": 0, "count": null}
        -> {"outcomes": {"ok": 100}, "turn_ms": [...], "accepted_ms": [...], "woke": 0}
        one turn for each of these sessions, spread over time; "spread_s" null: one after the other
    {"do": "run", "begin": T, "warm_s": 8, "window_s": 40, "drain_s": 30, "think_s": 5, "seed": 1,
     "talking": null}
        -> the figures of `Window.figures`; "talking": so many of the sessions, the others listen
    {"do": "close"} -> {"closed": 100}

Times are CLOCK_MONOTONIC seconds, which all processes of a machine share: the conductor can read
CPU counters at the very instants at which the window opens and closes.

A turn belongs to the window in which it was sent. What is still running when the drain is over
ends as a timeout; nothing is thrown away.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import orjson
import uvloop

from bench.client import OK, Session, Turn, now
from bench.frames import BROWSERS_OFFER
from bench.window import Window

_LAG_PERIOD_S = 0.05


class Load:
    """All sessions of this process. Owns their think times and their window."""

    def __init__(self, url: str, headers: dict[str, str], model: str, tokens: int) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._headers, self._model, self._tokens = headers, model, tokens
        self._loop = asyncio.get_running_loop()
        self._sessions: list[Session] = []
        self._waiting: dict[Session, asyncio.Future[str]] = {}
        self._window: Window | None = None
        self._random = random.Random(0)
        self._think_s = 0.0
        self._lost: Counter[str] = Counter()
        self._gaps = 0
        self._lag_ms: list[float] = []

    def opened(self, session: Session) -> None:
        self._tell(session, OK)

    def lost(self, session: Session, reason: str) -> None:
        self._lost[reason] += 1
        self._tell(session, reason)

    def gap(self, session: Session) -> None:
        self._gaps += 1

    def ended(self, session: Session, turn: Turn) -> None:
        window = self._window
        if window is None:
            self._tell(session, turn.outcome)
            return
        window.add(turn)
        self._think(session)

    async def open(
        self, paths: list[str], at_once: int, timeout_s: float, offer: bool
    ) -> dict[str, Any]:
        """Open a socket to each path, at most `at_once` handshakes at a time.

        Args:
            offer: Offer compression, as browsers do.
        """
        gate = asyncio.Semaphore(at_once)
        first = len(self._sessions)
        headers = {**self._headers, **BROWSERS_OFFER} if offer else self._headers

        async def one(number: int, path: str) -> str:
            async with gate:
                session = Session(
                    self, number, f"{self._host}:{self._port}", path, headers, self._model
                )
                heard = self._waiting[session] = self._loop.create_future()
                try:
                    async with asyncio.timeout(timeout_s):
                        await self._loop.create_connection(lambda: session, self._host, self._port)
                        outcome = await heard
                except (TimeoutError, OSError) as error:
                    outcome = repr(error)
                if outcome == OK:
                    self._sessions.append(session)
                else:
                    session.close()
                return outcome

        outcomes = await asyncio.gather(*(one(first + i, path) for i, path in enumerate(paths)))
        failed = Counter(outcome for outcome in outcomes if outcome != OK)
        self._sessions.sort(key=lambda session: session.number)
        return {
            "opened": len(paths) - failed.total(),
            "failed": dict(failed),
            "compressed": sum(session.is_compressed for session in self._sessions[first:]),
        }

    async def once(
        self, spread_s: float | None, timeout_s: float, first: int, count: int | None
    ) -> dict[str, Any]:
        """One turn for each of some sessions, started evenly over `spread_s`.

        Args:
            spread_s: None: each starts when the one before it is over.
            first: Index of the first session.
            count: How many; None: all from there on.
        """
        sessions = self._sessions[first : None if count is None else first + count]
        turns: list[Turn] = []

        async def one(after_s: float, session: Session) -> str:
            await asyncio.sleep(after_s)
            if not session.is_open:
                return "socket lost"
            heard = self._waiting[session] = self._loop.create_future()
            turn = session.start("What do you remember of this?")
            try:
                async with asyncio.timeout(timeout_s):
                    outcome = await heard
            except TimeoutError:
                return session.give_up()
            turns.append(turn)
            return outcome

        if spread_s is None:
            outcomes = [await one(0.0, session) for session in sessions]
        else:
            after_s = spread_s / max(1, len(sessions))
            outcomes = await asyncio.gather(*(one(after_s * i, s) for i, s in enumerate(sessions)))
        return {
            "outcomes": dict(Counter(outcomes)),
            "turn_ms": [(turn.done - turn.sent) * 1000 for turn in turns],
            "accepted_ms": [(turn.accepted - turn.sent) * 1000 for turn in turns if turn.accepted],
            "woke": sum(turn.woke for turn in turns),
        }

    async def run(
        self,
        begin: float,
        warm_s: float,
        window_s: float,
        drain_s: float,
        think_s: float,
        seed: int,
        talking: int | None,
    ) -> dict[str, Any]:
        """The load itself: think, ask, read, again; counted while the window is open."""
        window = Window(begin + warm_s, begin + warm_s + window_s, self._tokens)
        self._window, self._think_s, self._random = window, think_s, random.Random(seed)
        self._gaps, self._lost = 0, Counter()
        await asyncio.sleep(max(0.0, begin - now()))
        for session in self._sessions[:talking]:
            self._think(session)
        await asyncio.sleep(window.opens - now())
        self._lag_ms = []
        self._watch_lag(self._loop.time(), now() + window_s)
        await asyncio.sleep(window.closes - now())
        window.closed()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await window.settled.wait()
        for session in self._sessions:
            if session.turn is not None and window.counts(session.turn):
                session.give_up()
        self._window = None
        return {
            **window.figures(),
            "lag_ms": self._lag_ms,
            "sockets_lost": dict(self._lost),
            "seq_gaps": self._gaps,
        }

    def close(self) -> dict[str, Any]:
        """Close all sockets."""
        closed = len(self._sessions)
        for session in self._sessions:
            session.close()
        self._sessions, self._waiting = [], {}
        return {"closed": closed}

    def _think(self, session: Session) -> None:
        self._loop.call_later(self._random.expovariate(1 / self._think_s), self._ask, session)

    def _ask(self, session: Session) -> None:
        window = self._window
        if window is None or now() >= window.closes or not session.is_open or session.turn:
            return
        session.start(f"Question {session.turns + 1} of session {session.number}, please.")
        if session.turn is not None and window.counts(session.turn):
            window.begun()

    def _watch_lag(self, due: float, until: float) -> None:
        """Sample by how much a timer of this loop is late: a late clock measures nothing."""
        self._lag_ms.append(max(0.0, self._loop.time() - due) * 1000)
        if now() < until:
            due = self._loop.time() + _LAG_PERIOD_S
            self._loop.call_at(due, self._watch_lag, due, until)

    def _tell(self, session: Session, outcome: str) -> None:
        heard = self._waiting.pop(session, None)
        if heard is not None and not heard.done():
            heard.set_result(outcome)


async def serve(load: Load) -> None:
    """Answer commands until stdin ends."""
    lines = asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    while line := await lines.readline():
        command: dict[str, Any] = orjson.loads(line)
        what = command.pop("do")
        if what == "open":
            answer = await load.open(**command)
        elif what == "once":
            answer = await load.once(**command)
        elif what == "run":
            answer = await load.run(**command)
        else:
            answer = load.close()
        sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
        sys.stdout.buffer.flush()


def main() -> None:
    """Run one generator process."""
    parser = argparse.ArgumentParser(prog="python -m bench.load")
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--headers", type=orjson.loads, default={})
    options = parser.parse_args()

    async def go() -> None:
        await serve(Load(options.url, options.headers, options.model, options.tokens))

    uvloop.run(go())


if __name__ == "__main__":
    main()
