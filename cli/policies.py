"""`troupe policies`: documents shown, checked, put and rolled back."""

from __future__ import annotations

import getpass
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from cli.api import Api
from cli.screen import Screen, when

MAX_BYTES = 4 << 20


class BadFile(Exception):
    """A file that cannot be sent; one sentence for a person."""


def show(api: Api, given: Namespace, out: Screen) -> None:
    """The text as it was put, so that it can be written to a file."""
    path = f"policies/{given.scope}"
    found = api.get(path if given.version is None else f"{path}/versions/{given.version}")
    out.json(found) if given.json else out.raw(found["text"])


def names(api: Api, given: Namespace, out: Screen) -> None:
    found = api.get("policies")
    _versions(found, given, out)
    if found["problem"] and not given.json:
        out.line(f"not in force at this gateway: {found['problem']}", "bad")


def versions(api: Api, given: Namespace, out: Screen) -> None:
    _versions(api.get(f"policies/{given.scope}/versions", limit=given.limit), given, out)


def check(api: Api, given: Namespace, out: Screen) -> None:
    found = api.send("POST", f"policies/{given.scope}/check", read(given.file))
    if given.json:
        out.json(found)
        return
    out.line(f"{given.file}: valid for {given.scope}", "good")
    out.line(f"agents: {', '.join(found['agents'])}")
    out.line(f"rules:  {', '.join(found['rules'])}")


def apply(api: Api, given: Namespace, out: Screen) -> None:
    found = api.send(
        "PUT",
        f"policies/{given.scope}",
        read(given.file),
        follows=given.follows,
        author=given.author or author(),
        note=given.note,
    )
    _put(found, given, out)


def rollback(api: Api, given: Namespace, out: Screen) -> None:
    body = {"version": given.version, "author": given.author or author(), "note": given.note}
    _put(api.post(f"policies/{given.scope}/rollback", body), given, out)


def read(file: str) -> str:
    """A document. Raises `BadFile`."""
    try:
        content = Path(file).read_bytes()
        if len(content) > MAX_BYTES:
            raise BadFile(f"{file}: is too long to be a policy")
        return content.decode()
    except OSError as error:
        raise BadFile(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadFile(f"{file}: is not UTF-8") from None


def author() -> str | None:
    """Who sits at this terminal, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return os.environ.get("USER")


def _put(found: dict[str, Any], given: Namespace, out: Screen) -> None:
    if given.json:
        out.json(found)
    else:
        out.line(f"{found['scope']} is at version {found['version']}", "good")


def _versions(found: dict[str, Any], given: Namespace, out: Screen) -> None:
    if given.json:
        out.json(found)
        return
    out.table(
        ("SCOPE", "VERSION", "WHEN", "AUTHOR", "REPEATS", "NOTE"),
        [
            (
                row["scope"],
                row["version"],
                when(row["created_at"]),
                row["author"],
                row["rolled_back_to"],
                row["note"],
            )
            for row in found["data"]
        ],
    )
