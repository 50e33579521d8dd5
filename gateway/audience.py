"""A gateway's readers, and what becomes of them when their sessions sleep, wake, move or are lost.

A reader is in one of three states. It is *attached* while a host's line brings it events; it is
*dormant* while its session sleeps; and it is *seeking* while its session is looked for anew, since
the host is gone or the session has moved. It comes back from sleep when this gateway sends any
command for the session (its attachment goes first, down the same line, so it misses nothing) or
when a host says that the session woke there.

Which line a reader listens to is checked with every delivery: a host that was given up may live
on and speak, and nobody listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from contracts.commands import Attach, Attached, AwaitWake, Detach, EventBatch, SessionKey
from contracts.errors import Deposed, HostUnavailable, NotFound, TroupeError, Unavailable
from contracts.tasks import spawn, stop
from gateway.line import Line
from gateway.placements import Placements
from gateway.reader import Asking, Reader
from gateway.retry import FIRST_PAUSE_S, jittered, longer

State = dict[SessionKey, list[Reader]]


class Audience:
    """See the module.

    Args:
        placements: Where sessions live.
        calls: Numbers for commands.
        reattach_s: How long a reader looks for its session before it ends.
    """

    def __init__(self, placements: Placements, calls: Iterator[int], *, reattach_s: float) -> None:
        self.attached: State = {}
        self.dormant: State = {}
        self.seeking: State = {}
        self._placements = placements
        self._calls = calls
        self._reattach_s = reattach_s

    async def close(self, error: TroupeError) -> None:
        """End every reader with `error`."""
        states = (self.attached, self.dormant, self.seeking)
        readers = [reader for state in states for found in state.values() for reader in found]
        await stop(*(reader.seeking for reader in readers))
        for reader in readers:
            reader.fail(error)

    # -- attaching --------------------------------------------------------------------------------

    def put_attach(self, line: Line, reader: Reader, before: Line | None = None) -> None:
        """Ask for an attachment; `before`: where to go if the session there turns out older."""
        key = reader.key

        def begin(attached: Attached) -> None:
            if reader.after is not None and attached.epoch < reader.after.epoch:
                self._detach(line, key)
                raise Deposed("That activation is older than what was read.")
            # All of it here: the same parcel may tell that the session moves on.
            reader.asking = None
            self._found(reader)
            reader.begin(attached)
            reader.line = line
            _enter(self.attached, reader)

        command = Attach(next(self._calls), key, *reader.place())
        reader.asking = Asking(line, command.call, line.ask(command, begin), before)

    async def settle(self, reader: Reader) -> None:
        """Wait for the attachment; whatever comes in between, nothing of it stays behind."""
        try:
            if reader.asking is not None:
                await reader.asking.future
        except BaseException:
            self.leave(reader)
            raise

    def _unask(self, reader: Reader) -> None:
        asking, reader.asking = reader.asking, None
        if asking is None:
            return
        if asking.call in asking.line.waiting:
            asking.line.forget(asking.call)
            self._detach(asking.line, reader.key)
        elif asking.future.done() and not asking.future.cancelled():
            asking.future.exception()

    def _detach(self, line: Line, key: SessionKey) -> None:
        """Tell the host that nobody here listens to the session, if that is so."""
        if line.is_lost or any(reader.line is line for reader in self.attached.get(key, ())):
            return
        if not line.attaches(key):
            line.put(Detach(next(self._calls), key))

    def leave(self, reader: Reader) -> None:
        """The reader is closed, in whatever state it is."""
        self._unask(reader)
        if reader.seeking is not None:
            reader.seeking.cancel()
            self._found(reader)
        line, reader.line = reader.line, None
        if line is not None:
            _exit(self.attached, reader)
            self._detach(line, reader.key)
        else:
            _exit(self.dormant, reader)

    # -- sleeping, waking, seeking ----------------------------------------------------------------

    def rouse(self, line: Line, key: SessionKey) -> None:
        """A command goes to a session that slept: its readers go first."""
        for reader in self.dormant.pop(key, ()):
            self._seek(reader, line)

    def _seek(self, reader: Reader, line: Line | None = None, before: Line | None = None) -> None:
        """Attach a reader anew, first by `line`; it must be in no state by now."""
        if line is not None:
            self.put_attach(line, reader, before)
        _enter(self.seeking, reader)
        reader.seeking = spawn(self._find(reader), name="link-seek", on_error=reader.fail_with)

    def _found(self, reader: Reader) -> None:
        reader.seeking = None
        _exit(self.seeking, reader)

    async def _find(self, reader: Reader) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._reattach_s
        pause_s = FIRST_PAUSE_S
        fault: TroupeError | None = None
        while fault is None:
            try:
                async with asyncio.timeout_at(deadline):
                    if reader.asking is None:
                        self.put_attach(await self._placements.line_of(reader.key), reader)
                    if reader.asking is not None:
                        await reader.asking.future
                return
            except TimeoutError:
                fault = _unreachable(1)
            except Unavailable as error:
                self._look_elsewhere(reader)
                if loop.time() + pause_s > deadline:
                    fault = _unreachable(error.retry_after or 1)
                else:
                    await asyncio.sleep(jittered(pause_s))
                    pause_s = longer(pause_s)
            except NotFound as error:
                if reader.asking is None or reader.asking.before is None:
                    fault = error
                else:
                    # It was frozen while the session moved on, and knows nothing of that turn.
                    self._look_elsewhere(reader)
            except TroupeError as error:
                fault = error
        self._unask(reader)
        self._found(reader)
        reader.fail(fault)

    def _look_elsewhere(self, reader: Reader) -> None:
        asking = reader.asking
        self._unask(reader)
        if asking is not None:
            self._placements.forget(reader.key, asking.line)
            if asking.before is not None and not asking.before.is_lost:
                self._placements.learn(reader.key, asking.before)

    def _let_go(self, line: Line, key: SessionKey) -> list[Reader]:
        """The readers of a session that listened to this line; from now on they do not."""
        self._placements.forget(key, line)
        readers = [reader for reader in self.attached.get(key, ()) if reader.line is line]
        for reader in readers:
            _exit(self.attached, reader)
            reader.line = None
        return readers

    # -- what lines tell (Listening) ---------------------------------------------------------------

    def opened(self, line: Line) -> None:
        """Whatever woke there before this line could hear of it is asked after."""
        elsewhere = [
            key
            for key, readers in self.attached.items()
            if any(reader.line is not line for reader in readers)
        ]
        for key in (*self.dormant, *elsewhere):
            line.put(AwaitWake(next(self._calls), key))

    def deliver(self, line: Line, batch: EventBatch) -> None:
        for reader in self.attached.get(batch.key, ()):
            if reader.line is line:
                reader.push(batch.epoch, batch.events)

    def slept(self, line: Line, key: SessionKey) -> None:
        for reader in self._let_go(line, key):
            if reader.lasting:
                _enter(self.dormant, reader)
            else:
                reader.fail(HostUnavailable("The session is gone.", retry_after=1))

    def woke(self, line: Line, key: SessionKey) -> None:
        """Those who sleep come here, and those who still listen to where the session was."""
        attached = list(self.attached.get(key, ()))
        if not (attached or key in self.dormant or key in self.seeking):
            return
        self._placements.learn(key, line)
        self.rouse(line, key)
        for before in {reader.line for reader in attached} - {line, None}:
            assert before is not None
            readers = self._let_go(before, key)
            self._detach(before, key)
            for reader in readers:
                self._seek(reader, line, before)

    def moved(self, line: Line, key: SessionKey) -> None:
        self._strand(self._let_go(line, key), "The session has moved.")

    def lost(self, line: Line, why: str) -> None:
        """The line is gone, and with it whatever was attached by it."""
        for key in list(self.attached):
            self._strand(self._let_go(line, key), why)

    def _strand(self, readers: list[Reader], why: str) -> None:
        for reader in readers:
            if reader.lasting:
                self._seek(reader)
            else:
                reader.fail(HostUnavailable(why, retry_after=1))


def _enter(state: dict[SessionKey, list[Reader]], reader: Reader) -> None:
    state.setdefault(reader.key, []).append(reader)


def _exit(state: dict[SessionKey, list[Reader]], reader: Reader) -> None:
    """Take a reader out of a state, if it is in it."""
    readers = state.get(reader.key)
    if readers is not None and reader in readers:
        readers.remove(reader)
        if not readers:
            del state[reader.key]


def _unreachable(retry_after: float) -> HostUnavailable:
    return HostUnavailable(
        "The session cannot be reached now; it goes on, come back with the cursor.",
        code="stream_interrupted",
        retry_after=retry_after,
    )
