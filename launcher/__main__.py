"""`python -m launcher run [--port N]`: what `make run` runs once everything is installed."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path

from launcher.console import Console
from launcher.places import STATE, Places

BEGAN = "LAUNCHER_BEGAN"
"""Unix seconds at which `make` began, so that the time shown is the time a person waited."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="launcher", description="Run Troupe on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="start an instance, and stop it with Ctrl-C")
    run.add_argument("--port", type=port, help="where to listen; the settings' port otherwise")
    options = parser.parse_args(arguments)
    return start(options.port)


def port(text: str) -> int:
    """A port that a server can be given."""
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError("must be from 1 to 65535")
    return number


def start(chosen: int | None) -> int:
    """One instance, until it is stopped."""
    from config.errors import SettingsError
    from config.load import load
    from launcher.plan import PORT_SETTING
    from launcher.supervisor import Supervisor

    console = Console(began=_began())
    checkout = Path(__file__).resolve().parent.parent
    environ = dict(os.environ)
    if chosen is not None:
        environ.pop(PORT_SETTING, None)
        environ["PORT"] = str(chosen)
    try:
        settings = load(environ)
    except SettingsError as error:
        console.plain(f"troupe: {error}")
        return 2
    state = Path(os.environ.get(STATE) or checkout / ".troupe").absolute()
    places = Places(checkout, settings.gateway.port, state)

    async def supervise() -> int:
        return await Supervisor(settings, places, console).run()

    return asyncio.run(supervise())


def _began() -> float | None:
    """The beginning on the monotonic clock."""
    said = os.environ.pop(BEGAN, "")
    try:
        return time.monotonic() - max(0.0, time.time() - float(said))
    except ValueError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
