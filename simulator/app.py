"""From a request to its reply: the one place where all parts of the simulator meet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from simulator import going_on, openai_responses, persona, script
from simulator.asks import Ask, Refusal, WrongMethod
from simulator.doors import Doors
from simulator.http import Connection, Request
from simulator.playback import Streamed, Whole
from simulator.recorder import Record, Recorder
from simulator.routes import Route, check, models, route, speaks
from simulator.script import Script, ScriptError
from simulator.standing import Standing
from simulator.stats import Stats
from simulator.wheel import Wheel
from simulator.wire import JSON, Wire, quoted, serial

SCRIPTS_COUNTED = 1024


class Simulator:
    """The whole of it, for one process.

    Args:
        wheel: Where replies wait for their time.
        recorder: Where requests are kept.
        manner: The timing of replies without a script.
        seed: Of the words and of the jitter where no script brings its own.
        hold_ms: How long a `hang` or a `stall` lasts at most.
    """

    def __init__(
        self, wheel: Wheel, recorder: Recorder, manner: Script, seed: int, hold_ms: int
    ) -> None:
        self.connections: set[Connection] = set()
        self._stats = Stats(self.connections)
        self._wheel = wheel
        self._recorder = recorder
        self._standing = Standing()
        self._doors = Doors(recorder, self._stats, self._standing)
        self._manner = manner
        self._seed = seed
        self._hold_ms = hold_ms
        self._struck: OrderedDict[Script, int] = OrderedDict()
        self._numbered: list[bytes] = []

    def connection(self) -> Connection:
        """A new connection for a listening socket."""
        return Connection(self.handle, self.connections)

    def handle(self, request: Request, connection: Connection) -> None:
        """Answer one request, now or in time."""
        self._stats.requests += 1
        path, _, query = request.target.decode("latin-1").partition("?")
        if path.startswith("/_sim") and request.refused is None:
            self._doors.answer(request, connection, path, query)
            return
        record = self._recorder.add(request)
        wire: Wire | None = None
        try:
            if request.refused is not None:
                raise Refusal(*request.refused)
            found = route(request, path, query)
            wire = found.wire
            check(request, wire, found.method, query)
            if found.method == "GET":
                self._models(connection, record, wire, path)
            else:
                self._play(request, connection, record, found)
        except Refusal as refusal:
            self._refuse(connection, record, wire or speaks(request, path), refusal)

    def _refuse(
        self,
        connection: Connection,
        record: Record | None,
        wire: Wire,
        refusal: Refusal,
    ) -> None:
        if record is not None:
            record.outcome = "refused"
        extra = _request_id()
        if isinstance(refusal, WrongMethod):
            extra += f"allow: {', '.join(refusal.allowed)}\r\n".encode()
        connection.respond(refusal.status, wire.error(refusal.status, refusal), JSON, extra)

    def _models(self, connection: Connection, record: Record | None, wire: Wire, path: str) -> None:
        if record is not None:
            record.outcome = "finished"
        connection.respond(200, models(wire, path), JSON, _request_id())

    def _play(
        self,
        request: Request,
        connection: Connection,
        record: Record | None,
        found: Route,
    ) -> None:
        ask = found.wire.read(request.body, found.path)
        orders = self._orders(request, ask, found.wire)
        tokens = self._tokens(orders, ask)
        finish = orders.finish
        if ask.max_tokens is not None and len(tokens) > ask.max_tokens:
            tokens, finish = tokens[: ask.max_tokens], "length"
        seed = self._seed + self._stats.requests if orders.seed is None else orders.seed
        kind = Streamed if ask.stream else Whole
        kind(
            connection=connection,
            wheel=self._wheel,
            stats=self._stats,
            record=record,
            wire=found.wire,
            frames=found.wire.frames(ask),
            script=orders,
            fault=self._fault(orders),
            tokens=tokens,
            finish=finish,
            seed=seed,
            hold_ms=self._hold_ms,
            extra=_request_id() + found.wire.limits(orders.requests_left),
        ).start()

    def _orders(self, request: Request, ask: Ask, wire: Wire) -> Script:
        standing = self._standing.asked(ask.model)
        header = request.header(b"x-simulator")
        try:
            said = script.parse(standing if header is None else header.decode("latin-1"), ask.model)
        except ScriptError as error:
            raise Refusal(400, f"x-simulator: {error}.", param="x-simulator") from error
        if said is None:
            return self._manner
        if said.fault in script.RESPONSES_FAULTS and wire is not openai_responses.WIRE:
            message = f"x-simulator: the fault {said.fault} exists at /v1/responses only."
            raise Refusal(400, message, param="x-simulator")
        return said

    def _fault(self, orders: Script) -> str | None:
        if orders.times is None:
            return orders.fault
        struck = self._struck.pop(orders, 0)
        self._struck[orders] = struck + 1
        if len(self._struck) > SCRIPTS_COUNTED:
            self._struck.popitem(last=False)
        return orders.fault if struck < orders.times else None

    def _tokens(self, orders: Script, ask: Ask) -> Sequence[bytes]:
        if ask.embeds is not None:
            return ()
        begun = going_on.begun(ask.turns)
        count = orders.tokens
        if count is None:
            return self._words(orders, ask, begun)
        numbered = self._numbered
        numbered += [b"t%d " % k for k in range(len(numbered), count)]
        if begun is None:
            return numbered[:count]
        first, missing = going_on.next_token(begun)
        rest = numbered[first:count]
        return [missing, *rest[1:]] if rest else []

    def _words(self, orders: Script, ask: Ask, begun: str | None) -> Sequence[bytes]:
        seed = self._seed if orders.seed is None else orders.seed
        if begun is None:
            text = persona.reply(ask.turns, seed)
        else:
            text = going_on.rest(persona.reply(ask.turns[:-2], seed), begun)
        return [quoted(piece)[1:-1] for piece in persona.pieces(text)]


def _request_id() -> bytes:
    return b"x-request-id: req_sim%08x\r\n" % serial()
