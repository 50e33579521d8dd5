"""The embedded Postgres: how it is made, started and stopped. Used by `keeper` alone.

It listens on a Unix socket in a folder of this user, so no port is taken and no password needed.
Its data stay in `.troupe/` and survive everything that Postgres survives.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

DATABASE = "troupe"
USER = "troupe"
SOCKET_PORT = 5432
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700" if os.geteuid() else "0777",
    # As root the server is another user; the folder around the socket is closed to others.
    "max_connections": "100",
    "shared_buffers": "64MB",
    "huge_pages": "off",
    "jit": "off",  # statements here are short; compiling them costs more than it saves
    "io_method": "sync",  # no worker processes for reads that memory answers
    "max_logical_replication_workers": "0",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "512MB",
    "autovacuum_naptime": "60s",
    "synchronous_commit": "on",  # acknowledged means durable
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def url(sockets: Path) -> str:
    """What `DATABASE_URL` is set to."""
    return f"postgresql://{USER}@/{DATABASE}?host={sockets}&port={SOCKET_PORT}"


def make_command(programs: Path, data: Path) -> list[str]:
    """Makes the data folder, once."""
    return [
        str(programs / "initdb"),
        f"--pgdata={data}",
        f"--username={USER}",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--locale=C.UTF-8",
        "--auth=trust",
    ]


def run_command(programs: Path, data: Path, sockets: Path) -> list[str]:
    """Runs the server in the foreground."""
    command = [str(programs / "postgres"), "-D", str(data), "-k", str(sockets)]
    for name, value in SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    return command


def is_ready(data: Path, pid: int) -> bool:
    """Whether the server of this pid takes connections; it says so in its pid file."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def create_database(programs: Path, sockets: Path) -> None:
    """Make the database if it is not there.

    Raises:
        subprocess.CalledProcessError: with what the tool said in `stderr`.
    """
    address = [f"--host={sockets}", f"--port={SOCKET_PORT}", f"--username={USER}"]
    found = subprocess.run(  # fixed programs of our own environment
        [
            str(programs / "psql"),
            *address,
            "--dbname=postgres",
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            f"--command=select 1 from pg_database where datname = '{DATABASE}'",
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if found.stdout.strip() != "1":
        subprocess.run(
            [str(programs / "createdb"), *address, DATABASE],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
