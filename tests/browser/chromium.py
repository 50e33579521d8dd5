"""The browser that the page's tests drive: Debian's Chromium, installed where that is allowed.

Playwright's own browsers are not used: they come from a server that is no package registry.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

EXECUTABLE = Path("/usr/bin/chromium")
INSTALL_TIMEOUT_S = 600

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class NoBrowser(Exception):
    """There is no Chromium here and none may be installed; the message says why."""


def chromium() -> str:
    """The browser's path, after installing it if need be. Raises `NoBrowser`."""
    if not EXECUTABLE.exists():
        _install()
    return str(EXECUTABLE)


def _install() -> None:
    apt = shutil.which("apt-get")
    if apt is None:
        raise NoBrowser("no Chromium at /usr/bin/chromium, and no apt-get to install it with")
    if os.geteuid() != 0:
        raise NoBrowser("no Chromium at /usr/bin/chromium, and only root may install it")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        [apt, "update"],
        [apt, "install", "-y", "--no-install-recommends", "chromium", "fonts-liberation"],
    ):
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise NoBrowser(f"{' '.join(command)} failed: {done.stderr.strip()[-400:]}")
    if not EXECUTABLE.exists():
        raise NoBrowser("apt-get installed chromium, but not at /usr/bin/chromium")
