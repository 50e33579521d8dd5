"""`make test`, `make check`, `make format`, `make lock`: which tools run, in which order."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
COVERAGE = CHECKOUT / ".troupe" / "coverage"
REQUIREMENTS = CHECKOUT / "requirements"
WORKERS = min(6, (os.cpu_count() or 1) + 1)
"""Test processes. One more than there are cores, since most of what a test does is wait."""


def main(arguments: list[str]) -> int:
    chores = {"test": test, "check": check, "format": mend, "lock": lock}
    chore, *rest = arguments
    os.chdir(CHECKOUT)
    return chores[chore](rest)


def test(words: list[str]) -> int:
    """All tests under coverage, or those that the words select without."""
    python = str(BIN / "python")
    # Before pytest, since it takes longer than a test may.
    subprocess.run([python, "-m", "tests.support.browser"], check=False)
    if not words:
        shutil.rmtree(COVERAGE, ignore_errors=True)
        COVERAGE.mkdir(parents=True, exist_ok=True)
        words = ["--cov", "--cov-report=term:skip-covered", f"-n={WORKERS}"]
        words += ["--dist=loadscope", "--no-loadscope-reorder"]
    # In this one's place, so that what is told to end is pytest, which takes its servers down.
    os.execv(python, [python, "-m", "pytest", *words])


def check(words: list[str]) -> int:
    """Everything that can be said without running it; all of it, then what failed."""
    del words
    steps = {
        "format": ["ruff", "format", "--check", "."],
        "lint": ["ruff", "check", "."],
        "types": ["basedpyright"],
        "imports": ["lint-imports", "--no-cache"],
        "cluster.yaml": ["python", "-m", "launcher.check_cluster"],
        "requirements": ["python", "-m", "launcher.check_locks"],
    }
    failed: list[str] = []
    for name, (program, *arguments) in steps.items():
        began = time.monotonic()
        done = subprocess.run(
            [str(BIN / program), *arguments],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        verdict = "ok" if done.returncode == 0 else "FAILED"
        print(f"{name:<13} {verdict} ({time.monotonic() - began:.1f} s)", flush=True)  # noqa: T201
        if done.returncode != 0:
            print(done.stdout, flush=True)  # noqa: T201
            failed.append(name)
    if failed:
        print(f"make check: {', '.join(failed)} failed")  # noqa: T201
    return 1 if failed else 0


def mend(words: list[str]) -> int:
    """Format, and mend what the linter can."""
    del words
    ruff = str(BIN / "ruff")
    return call([ruff, "check", "--fix-only", "."]) or call([ruff, "format", "."])


def lock(words: list[str]) -> int:
    """The requirement files anew; `--upgrade` for newer versions."""
    (uv,) = sorted((CHECKOUT / ".troupe").glob("uv-*/bin/uv"))[-1:]
    usual = [
        *("--universal", "--python-version", "3.11", "--generate-hashes", "--quiet"),
        *("--no-emit-index-url", "--no-emit-find-links"),
        *("--custom-compile-command", "make lock", *words),
    ]
    pyproject = str(CHECKOUT / "pyproject.toml")
    run, dev = str(REQUIREMENTS / "run.txt"), str(REQUIREMENTS / "dev.txt")
    compiling = [str(uv), "pip", "compile"]
    return (
        call([*compiling, pyproject, *usual, "-o", run])
        or call([*compiling, pyproject, "--group", "dev", *usual, "-c", run, "-o", dev])
        or call(
            [*compiling, *usual, str(REQUIREMENTS / "uv.in"), "-o", str(REQUIREMENTS / "uv.txt")]
        )
    )


def call(command: list[str]) -> int:
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
