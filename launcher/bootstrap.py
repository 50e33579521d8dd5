"""Sets up this checkout's virtual environment, then becomes what is to run in it.

    python3 -I launcher/bootstrap.py run|dev PYTHON-ARGUMENTS...

It needs Python and its pip, nothing else: the standard library alone, this file alone. Everything
is installed from requirement files with hashes, wheels only, so nothing is ever compiled. `run` is
what an instance needs, `dev` that and what tests and checks need; an environment that has `dev`
serves both. With everything in place it costs some ten milliseconds. Of several at once, one works
and the others wait for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST = (3, 11)
CHECKOUT = Path(__file__).resolve().parent.parent
STATE = CHECKOUT / ".troupe"
VENV = CHECKOUT / ".venv"
STAMP = VENV / "troupe-stamp.json"
KINDS = ("run", "dev")
ATTEMPTS = 3
TICK_S = 5.0
BEGAN = "LAUNCHER_BEGAN"


class SetupFailed(Exception):
    """It cannot be set up; one sentence for a person."""


def main(arguments: list[str]) -> None:
    began = time.time()
    kind, command = arguments[0], arguments[1:]
    if sys.version_info < OLDEST:
        wanted, found = (".".join(map(str, v[:2])) for v in (OLDEST, tuple(sys.version_info)))
        sys.exit(
            f"troupe: Python {wanted} or newer is needed, and {sys.executable} is {found}; "
            "choose one with make PYTHON=/path/to/python3"
        )
    try:
        if not is_ready(kind):
            set_up(kind, began)
    except SetupFailed as error:
        sys.exit(f"troupe: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    python = str(VENV / "bin" / "python")
    environ = {key: text for key, text in os.environ.items() if key not in ("PYTHONHOME",)}
    environ.pop("PYTHONPATH", None)
    os.chdir(CHECKOUT)
    os.execve(python, [python, *command], {**environ, BEGAN: str(began)})


def wanted_hash(kind: str) -> str:
    """Stands for what must be installed."""
    return hashlib.sha256((CHECKOUT / "requirements" / f"{kind}.txt").read_bytes()).hexdigest()


def is_ready(kind: str) -> bool:
    """Whether the environment holds all of it."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return False
    return stamp.get(kind) == wanted_hash(kind) and (VENV / "bin" / "python").exists()


def set_up(kind: str, began: float) -> None:
    """Install it, unless someone else just does."""
    STATE.mkdir(exist_ok=True)
    with (STATE / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(began, "Another make is installing here; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if is_ready(kind):
            return
        # What a colleague's tests need is not taken away by running the application.
        if kind == "run" and (VENV / "bin" / "pytest").exists():
            kind = "dev"
        uv = ensure_uv(began)
        if not (VENV / "bin" / "python").exists():
            say(began, "Step 2 of 3: making .venv")
            shutil.rmtree(VENV, ignore_errors=True)
            run(
                [uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(VENV)],
                began,
            )
        say(began, f"Step 3 of 3: installing what it needs ({kind}) into .venv")
        STAMP.unlink(missing_ok=True)
        requirements = CHECKOUT / "requirements" / f"{kind}.txt"
        compiling = ["--compile-bytecode"] if os.environ.get("PYTHONDONTWRITEBYTECODE") else []
        run(
            [
                *(uv, "pip", "sync", "--quiet", "--python", str(VENV / "bin" / "python")),
                *("--require-hashes", "--only-binary", ":all:", *compiling, str(requirements)),
            ],
            began=began,
            attempts=ATTEMPTS,
        )
        kinds = KINDS if kind == "dev" else (kind,)
        draft = STAMP.with_suffix(".draft")
        draft.write_text(json.dumps({each: wanted_hash(each) for each in kinds}))
        draft.replace(STAMP)
        say(began, "Everything is installed")


def ensure_uv(began: float) -> str:
    """The installer, itself installed by pip with its hash, into a folder of its own."""
    requirements = CHECKOUT / "requirements" / "uv.txt"
    version = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = STATE / f"uv-{version}"
    program = folder / "bin" / "uv"
    if program.exists():
        return str(program)
    say(began, "Step 1 of 3: fetching the installer (uv)")
    draft = STATE / "uv.draft"
    shutil.rmtree(draft, ignore_errors=True)
    pip = find_pip(draft)
    run(
        [
            *(*pip, "install", "--quiet", "--disable-pip-version-check", "--no-deps"),
            "--root-user-action=ignore",
            *("--require-hashes", "--only-binary", ":all:", "--no-compile"),
            *("--target", str(draft), "--requirement", str(requirements)),
        ],
        began=began,
        attempts=ATTEMPTS,
    )
    shutil.rmtree(folder, ignore_errors=True)
    draft.replace(folder)
    return str(program)


def find_pip(scratch: Path) -> list[str]:
    """How to call pip: Python's own, or that of a throw-away environment."""
    own = [sys.executable, "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, check=False).returncode == 0:
        return own
    folder = scratch.with_name("pip.draft")
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(folder)], capture_output=True, check=False
    )
    if made.returncode == 0:
        return [str(folder / "bin" / "python"), "-m", "pip"]
    raise SetupFailed(
        f"{sys.executable} has neither pip nor venv; install one of them "
        "(on Debian: apt-get install python3-venv)"
    )


def run(command: list[str], began: float, attempts: int = 1) -> None:
    """Run a step; those that download are tried again."""
    for attempt in range(1, attempts + 1):
        with subprocess.Popen(command, env=environment()) as process:
            while True:
                try:
                    code = process.wait(TICK_S)
                    break
                except subprocess.TimeoutExpired:
                    say(began, "  still at it")
        if code == 0:
            return
        if attempt < attempts:
            say(began, f"That failed; trying again ({attempt + 1} of {attempts})")
            time.sleep(2.0 * attempt)
    raise SetupFailed(f"this failed, see above: {' '.join(command)}")


def environment() -> dict[str, str]:
    """For pip and uv: what a person configured for pip holds for uv as well."""
    environ = dict(os.environ)
    for name in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET"):
        environ.pop(name, None)
    # A constraint has no hash, and everything here has one.
    environ["PIP_CONSTRAINT"] = ""
    environ["UV_PYTHON_DOWNLOADS"] = "never"
    environ.setdefault("UV_HTTP_TIMEOUT", "120")
    if "PIP_INDEX_URL" in environ:
        environ.setdefault("UV_DEFAULT_INDEX", environ["PIP_INDEX_URL"])
    if "PIP_CERT" in environ:
        environ.setdefault("SSL_CERT_FILE", environ["PIP_CERT"])
    home = environ.get("HOME", "")
    if not home or not os.access(home, os.W_OK):
        environ.setdefault("UV_CACHE_DIR", str(STATE / "uv-cache"))
    return environ


def say(began: float, text: str) -> None:
    print(f"{time.time() - began:6.1f} s  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
