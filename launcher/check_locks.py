"""Part of `make check`: what the requirement files promise.

Each entry is one exact version with hashes; no host is named, so that whatever registry a machine
uses is the one that is asked; and every dependency of `pyproject.toml` is in them, so that a
forgotten `make lock` shows.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
PINNED = re.compile(r"([a-z0-9][a-z0-9._-]*)(\[[^\]]+\])?==[^ ;]+( ; [^\\]+)?")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def main() -> int:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    run = project["project"]["dependencies"]
    wanted: dict[str, list[Any]] = {
        "run.txt": run,
        "dev.txt": [*run, *project["dependency-groups"]["dev"]],
        "uv.txt": ["uv"],
    }
    faults: list[str] = []
    for file, dependencies in wanted.items():
        text = (CHECKOUT / "requirements" / file).read_text()
        faults += [f"requirements/{file}: {fault}" for fault in faults_in(text, dependencies)]
    for fault in faults:
        print(fault)  # noqa: T201
    return 1 if faults else 0


def faults_in(text: str, dependencies: list[str]) -> Iterator[str]:
    """What is wrong with one requirement file."""
    found: set[str] = set()
    for entry in entries(text):
        requirement, *hashes = entry.split(" --hash=")
        match = PINNED.fullmatch(requirement.strip())
        if match is None:
            yield f"`{requirement.strip()}` is not one package with one exact version"
            continue
        found.add(normal(match[1]))
        if not hashes:
            yield f"{match[1]} has no hash"
    if "://" in text or re.search(r"^\s*--(?!hash)", text, re.MULTILINE):
        yield "it names a host or an option; both are the installing machine's business"
    for dependency in dependencies:
        match = NAME.match(dependency)
        if match and normal(match[0]) not in found:
            yield f"{match[0]} is missing; run make lock"


def entries(text: str) -> Iterator[str]:
    """One requirement each, its continued lines joined."""
    lines = [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    for entry in "\n".join(lines).replace("\\\n", " ").splitlines():
        yield re.sub(r"\s+", " ", entry).strip()


def normal(name: str) -> str:
    """A package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
