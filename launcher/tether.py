"""Run a program that dies when its parent does, and, on demand, without root's rights.

    python -I -S tether.py --parent PID --signal N [--not-root] -- program arguments...

The kernel sends signal N when the parent ends, however it ends: no process outlives a parent that
was killed with -9. On systems without prctl the program is simply run; its parent then has to look
for leftovers itself.

`--not-root` is for Postgres, which refuses to be root. It becomes `nobody`, but keeps the one
capability of passing by file permissions, so that neither a user has to be made nor a folder above
the checkout opened. Standard library only, and this file alone: it runs with `-I -S`.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


def main(arguments: list[str]) -> None:
    options, program = _split(arguments)
    if "--not-root" in options and os.geteuid() == 0:
        become_nobody()
    if sys.platform == "linux":
        # After the change of user, which would clear it.
        prctl(PR_SET_PDEATHSIG, int(options["--signal"]))
        if os.getppid() != int(options["--parent"]):
            sys.exit("tether: the parent is gone already")
    os.execvp(program[0], program)  # the very purpose


def _split(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    end = arguments.index("--")
    options: dict[str, str] = {}
    rest = iter(arguments[:end])
    for word in rest:
        options[word] = "" if word == "--not-root" else next(rest)
    return options, arguments[end + 1 :]


def prctl(*values: int) -> int:
    """The system call; -1 where it failed or does not exist."""
    if sys.platform != "linux":
        return -1
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0, 0)][:5]
    return int(ctypes.CDLL(None, use_errno=True).prctl(*padded))


def become_nobody() -> None:
    """Drop root for good, keeping the capability to pass by file permissions where allowed."""
    prctl(PR_SET_KEEPCAPS, 1)
    user, group = nobody()
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    if sys.platform == "linux" and _set_capabilities(1 << CAP_DAC_OVERRIDE):
        # Ambient: without it the capability would end at exec.
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE)


def nobody() -> tuple[int, int]:
    """Ids of the user and group that own nothing."""
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return 65534, 65534
    return entry.pw_uid, entry.pw_gid


def _set_capabilities(mask: int) -> bool:
    """Make `mask` the effective, permitted and inheritable set; False if it may not be had."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    return ctypes.CDLL(None, use_errno=True).capset(header, data) == 0


if __name__ == "__main__":
    main(sys.argv[1:])
