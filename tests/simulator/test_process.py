"""The process: how it says that it is ready, and how it leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from tests.simulator.raw import connect, post
from tests.support.simulator import ROOT, SimulatorProcess


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly_even_with_a_stream_open(sign: signal.Signals) -> None:
    simulator = SimulatorProcess(stop_limit_s=60).start()
    try:
        async with connect(simulator.port) as wire:
            wire.send(post("chat", "tokens=100000;gap_ms=10"))
            assert (await wire.head())[0] == 200
            os.kill(simulator.pid, sign)
            with pytest.raises(ConnectionError):
                while await wire.some():
                    pass
                raise ConnectionResetError
    finally:
        code = await asyncio.to_thread(simulator.stop)
    assert code == 0


def test_it_leaves_with_its_owner() -> None:
    command = [sys.executable, "-m", "simulator", "--port", "0", "--watch-stdin"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().startswith("simulator ready on http://127.0.0.1:")
        process.stdin.close()
        assert process.stdout.read() == ""
        assert process.wait(20) == 0


def test_a_taken_port_is_an_error_in_words() -> None:
    with SimulatorProcess() as simulator:
        again = subprocess.run(
            [sys.executable, "-m", "simulator", "--port", str(simulator.port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert again.returncode == 1
        assert again.stdout == ""
        assert "address already in use" in again.stderr
        assert "Traceback" not in again.stderr
        with pytest.raises(RuntimeError, match="did not start"):
            SimulatorProcess(port=simulator.port).start()


@pytest.mark.parametrize("argument", ["--port=-1", "--gap-ms=x", "--record=-3", "--speed=1"])
def test_a_wrong_argument_is_told(argument: str) -> None:
    command = [sys.executable, "-m", "simulator", "--port", "0", argument]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 2
    assert argument.partition("=")[0] in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_chooses_a_port_and_says_which() -> None:
    with SimulatorProcess() as one, SimulatorProcess() as two:
        assert one.port != two.port
        assert one.url == f"http://127.0.0.1:{one.port}"
        assert one.openai_url == f"{one.url}/v1"


async def test_manner_and_seed_come_from_the_command_line() -> None:
    args = ("--ttft-ms", "0", "--gap-ms", "0", "--jitter-ms", "0", "--seed")
    texts: list[bytes] = []
    for seed in ("1", "1", "2", "3", "4"):
        with SimulatorProcess(args=(*args, seed)) as simulator:
            async with connect(simulator.port) as wire:
                data = post("gemini", "", stream=False, text="tell me a long story")
                wire.send(data.replace(b"x-simulator: \r\n", b""))
                texts.append((await wire.answer())[2].split(b'"text":')[1])
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1
