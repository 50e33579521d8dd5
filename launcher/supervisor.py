"""`make run`: one instance of Troupe on this machine, from nothing to answering, and down again.

    supervisor ── keeper ── Postgres, Valkey           (shared with other instances of the checkout)
        ├── simulator                                  (stands in for providers without a key)
        ├── nursery ── Ray's workers: controller, proxies, gateways, hosts
        └── driver ── Ray's GCS and raylet

Everything starts at once; where each thing listens is settled before any of it runs (`plan`), so
nobody waits to be told an address. Only the deployment waits, for the servers and the simulator.

Whatever happens, nothing stays: all of it is tethered to this process by the kernel, and on an
orderly way down this process takes it apart itself and then looks for what is left.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import signal
from collections.abc import Coroutine
from typing import IO, Any

from config.settings import Settings
from contracts.tasks import spawn, stop
from launcher import processes
from launcher.console import Console
from launcher.places import InUse, Places, Ports, claim_ports, is_free, lock, write_secret
from launcher.plan import Plan, make_plan
from launcher.servers import Hold, ServersFailed
from launcher.summary import summary

START_TIMEOUT_S = 180.0
DRAIN_S = 5.0
"""How long running turns may take to end at most: somebody waits at a terminal. The others go on
when the instance is up again."""
CLOSE_S = 5.0
"""How long hosts may take to close after that."""
END_S = 2.0
RESTARTS = 5
RESTART_PAUSE_S = 0.5
LAPS = {
    "ray.init": "Ray is up",
    "serve's controller": "Serve is up; starting gateways and hosts",
}


class StartFailed(Exception):
    """The instance did not come up, or did not stay up; one sentence for a person."""


class Stopped(Exception):
    """A person or the system asked for the end."""


class Supervisor:
    """One instance; `run` returns its exit code.

    Args:
        settings: As loaded; the embedded servers and the simulator are added here.
        places: Its folders and port.
        console: Where a person is told what happens.
    """

    def __init__(self, settings: Settings, places: Places, console: Console) -> None:
        self._settings = settings
        self._places = places
        self._console = console
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._forced = asyncio.Event()
        self._drained = asyncio.Event()
        self._up = asyncio.Event()
        self._hold: Hold | None = None
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: list[asyncio.Task[Any]] = []

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._signalled)
        processes.on_hangup(0, lambda: loop.call_soon_threadsafe(self._hung_up))
        processes.adopt_orphans()
        try:
            held, ports = self._claim()
        except InUse as error:
            self._console.plain(f"troupe: {error}")
            return 1
        code = 0
        try:
            plan = make_plan(self._settings, self._places, ports.first)
            await self._unless_ended(self._start(plan))
            self._console.plain(summary(plan, self._console.elapsed_s))
            await self._end
        except Stopped:
            pass
        except (StartFailed, ServersFailed) as error:
            self._console.plain(f"troupe: {error}")
            code = 1
        finally:
            await self._take_down()
            held.close()
            ports.held.close()
        return 1 if self._forced.is_set() else code

    def _signalled(self) -> None:
        if self._end.done():
            self._forced.set()
            return
        self._console.say("Stopping; once more ends it at once")
        self._end.set_exception(Stopped())

    def _hung_up(self) -> None:
        if not self._end.done():
            self._signalled()

    def _fail(self, reason: str) -> None:
        if not self._end.done():
            self._end.set_exception(StartFailed(reason))

    async def _unless_ended(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, or raise why it is to end first."""
        task = spawn(work, name="start", on_error=lambda _: None)
        await asyncio.wait({task, self._end}, return_when=asyncio.FIRST_COMPLETED)
        if self._end.done():
            await stop(task)
            self._end.result()
        task.result()

    def _claim(self) -> tuple[IO[str], Ports]:
        """Make sure that nobody else is this instance, and clear away what a killed one left."""
        places = self._places
        held = lock(places.instance_lock)
        if held is None:
            raise InUse(f"Troupe runs from this folder on port {places.port} already.")
        try:
            processes.sweep(places.marker)
            if not is_free(places.port, self._settings.gateway.host):
                raise InUse(
                    f"Port {places.port} is taken by another program; choose another one: "
                    f"make run PORT={places.port + 1}"
                )
            shutil.rmtree(places.scratch, ignore_errors=True)
            places.scratch.mkdir(mode=0o700)
            write_secret(places.token, secrets.token_hex(32))
            return held, claim_ports(places.marker)
        except BaseException:
            held.close()
            raise

    async def _start(self, plan: Plan) -> None:
        self._console.say(f"Starting Troupe on port {plan.places.port}")
        shutil.rmtree(plan.logs, ignore_errors=True)
        plan.logs.mkdir(parents=True)
        (plan.logs / "ray").symlink_to(plan.places.scratch / "session_latest" / "logs")
        # The longest way first: what everything of Ray's is forked from.
        if plan.forks:
            await self._run(plan, "nursery", plan.nursery_command(), death_signal=signal.SIGTERM)
        driver = await self._run(plan, "driver", plan.driver_command(), listens=True, talks=True)
        self._later(self._hear_driver(plan, driver), "driver's words")
        ready: list[Coroutine[Any, Any, None]] = []
        if plan.wanted:
            self._hold = Hold(self._console.say)
            ready.append(self._hold.open(plan.places, plan.wanted))
        if plan.simulated:
            ready.append(self._start_simulator(plan))
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await asyncio.gather(*ready)
                if self._hold is not None:
                    self._later(self._watch_servers(self._hold), "servers' end")
                self._order("go")
                await self._up.wait()
        except TimeoutError:
            raise StartFailed(
                f"It is not up after {START_TIMEOUT_S:.0f} s; see {plan.logs}"
            ) from None

    async def _run(
        self,
        plan: Plan,
        name: str,
        command: list[str],
        *,
        vital: bool = True,
        **options: Any,
    ) -> asyncio.subprocess.Process:
        """Start a process of the instance. Without a vital one it cannot go on."""
        process = await processes.start(
            command,
            log=plan.logs / f"{name}.log",
            environ=plan.environ,
            cwd=plan.places.checkout,
            **options,
        )
        self._running[name] = process
        if vital:
            self._later(self._watch(process, name, plan), f"{name}'s end")
        return process

    async def _watch(self, process: asyncio.subprocess.Process, name: str, plan: Plan) -> None:
        code = await process.wait()
        self._fail(f"The {name} ended unexpectedly ({code}); see {plan.logs / name}.log")

    async def _watch_servers(self, hold: Hold) -> None:
        await hold.ended.wait()
        self._fail(f"The embedded servers are gone: {hold.reason}")

    async def _hear_driver(self, plan: Plan, driver: asyncio.subprocess.Process) -> None:
        assert driver.stdout is not None
        async for line in driver.stdout:
            heard = json.loads(line)
            match heard["event"]:
                case "lap" if heard["part"] in LAPS:
                    self._console.say(LAPS[heard["part"]])
                case "up":
                    self._up.set()
                case "drained":
                    self._drained.set()
                case "failed":
                    log = plan.logs / "driver.log"
                    self._fail(f"The application did not start: {heard['reason']}; see {log}")
                case _:
                    pass
            with (plan.logs / "laps.jsonl").open("ab") as laps:
                laps.write(line)

    def _order(self, words: str) -> None:
        driver = self._running["driver"]
        assert driver.stdin is not None
        driver.stdin.write(words.encode() + b"\n")

    async def _start_simulator(self, plan: Plan) -> None:
        ready = asyncio.Event()
        self._later(self._keep_simulator(plan, ready), "simulator")
        await ready.wait()

    async def _keep_simulator(self, plan: Plan, ready: asyncio.Event) -> None:
        """Run the simulator, again if it ends: it stands in for providers, which come back too."""
        for _ in range(RESTARTS):
            process = await self._run(
                plan, "simulator", plan.simulator_command(), vital=False, talks=True
            )
            assert process.stdout is not None
            async for line in process.stdout:
                if line.startswith(b"simulator ready"):
                    ready.set()
            code = await process.wait()
            self._console.say(f"The simulator ended ({code}); see {plan.logs}/simulator.log")
            await asyncio.sleep(RESTART_PAUSE_S)
        self._fail(f"The simulator ended {RESTARTS} times; see {plan.logs}/simulator.log")

    def _later(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(spawn(work, name=name, on_error=self._broke))

    def _broke(self, error: BaseException) -> None:
        self._fail(f"The launcher itself failed: {error!r}")

    async def _take_down(self) -> None:
        """From the outside in: no new work, running turns, Ray, the simulator, the servers."""
        driver = self._running.get("driver")
        if self._up.is_set() and driver is not None and driver.returncode is None:
            await self._drain()
        await stop(*self._tasks)
        # Ray as a whole, hard: Serve's own way down takes half a minute and keeps nothing that
        # matters, since hosts have let go and all that was acknowledged is in Postgres.
        for name, number in (
            ("driver", signal.SIGKILL),
            ("nursery", signal.SIGTERM),
            ("simulator", signal.SIGTERM),
        ):
            if process := self._running.get(name):
                await processes.stop(process, number, END_S)
        keeper = None if self._hold is None else self._hold.keeper
        spare = [] if keeper is None else [keeper.pid]
        left = await asyncio.to_thread(processes.sweep, self._places.marker, spare)
        if self._hold is not None:
            await self._hold.close()
        if left:
            self._console.plain(f"troupe: these processes would not end: {', '.join(left)}")
        self._console.say("Stopped")

    async def _drain(self) -> None:
        self._console.say("Letting running turns end")
        deadline_s = min(DRAIN_S, self._settings.hosts.drain_s)
        forced = spawn(self._forced.wait(), name="forced")
        drained = spawn(self._drained.wait(), name="drained")
        try:
            self._order(f"drain {deadline_s}")
        except OSError:
            self._drained.set()
        await asyncio.wait(
            {forced, drained}, timeout=deadline_s + CLOSE_S, return_when=asyncio.FIRST_COMPLETED
        )
        await stop(forced, drained)
