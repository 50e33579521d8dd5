"""`python -m simulator --port P`: start, say so in one line, serve until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import resource
import signal
import sys

import uvloop

from simulator.app import Simulator
from simulator.http import Connection
from simulator.recorder import Recorder
from simulator.script import Script
from simulator.wheel import Wheel

BACKLOG = 4096
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulator", description=__doc__)
    parser.add_argument("--port", type=_natural, required=True, help="0 lets the system choose")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--record", type=_natural, default=1000, metavar="N", help="requests kept; 0: none"
    )
    manner = parser.add_argument_group("how it talks where no script says otherwise")
    manner.add_argument("--ttft-ms", type=_natural, default=350, help="until the first token")
    manner.add_argument("--gap-ms", type=_natural, default=25, help="from one token to the next")
    manner.add_argument(
        "--jitter-ms", type=_natural, default=20, help="lateness, at most, per token"
    )
    manner.add_argument("--seed", type=_natural, default=0, help="same seed, same words")
    parser.add_argument(
        "--hold-ms",
        type=_natural,
        default=600_000,
        help="how long a hang or a stall lasts at most",
    )
    parser.add_argument(
        "--watch-stdin", action="store_true", help="stop when standard input is closed"
    )
    return parser.parse_args()


def _allow_many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    manner = Script(ttft_ms=options.ttft_ms, gap_ms=options.gap_ms, jitter_ms=options.jitter_ms)
    simulator = Simulator(
        Wheel(loop), Recorder(options.record), manner, options.seed, options.hold_ms
    )
    server = await loop.create_server(
        simulator.connection, options.host, options.port, backlog=BACKLOG
    )
    if options.watch_stdin:
        await loop.connect_read_pipe(lambda: _Watch(stop), sys.stdin)
    port = server.sockets[0].getsockname()[1]
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"simulator ready on http://{host}:{port}", flush=True)  # noqa: T201
    gc.collect()
    gc.freeze()
    await stop.wait()
    for number in SIGNALS:
        # Whoever asks twice must not turn a clean end into a death by signal.
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    server.close()
    _drop(simulator.connections)
    await server.wait_closed()


def _drop(connections: set[Connection]) -> None:
    for connection in list(connections):
        connection.reset()


class _Watch(asyncio.Protocol):
    """Sets `stop` once the other end of a pipe is closed."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop.set()


def main() -> int:
    """Run until SIGTERM, SIGINT or the end of standard input."""
    options = _arguments()
    _allow_many_files()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(options))
    except OSError as error:
        print(f"simulator: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
