"""CPU and memory of everything that a server is made of, by kind of process.

A server's processes are the descendants of the one that was started, and whatever else carries
its mark in the environment: Ray and HAProxy detach some of theirs. CPU is what each was last seen
to have used, plus what its ended children were charged with beyond that (`cutime`), so that
backends which come and go between two looks count too.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MARK = "BENCH_MARK"
_TICKS = os.sysconf("SC_CLK_TCK")
_OUTSIDE = "simulator"
_PYTHON = r"^(\S*/)?python[\d.]* (-\S+ )*"
"""The interpreter itself; other programs have it in their paths and arguments."""
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("Postgres", r"^(\S*/)?postgres\b"),
        ("Valkey", r"^(\S*/)?(valkey|redis)-server\b"),
        ("HAProxy", r"^(\S*/)?haproxy\b"),
        (_OUTSIDE, _PYTHON + r"-m simulator\b"),
        ("proxy", _PYTHON + r"-m bench\.proxy\b"),
        ("launcher", _PYTHON + r"-m launcher\b"),
        ("workers' stand-ins", _PYTHON + r"\S*/launcher/entry\.py\b"),
        ("GCS", r"^\S*/gcs_server\b"),
        ("raylet", r"^\S*/raylet( |$)"),
        ("gateway", r"(?i)^ray::ServeReplica:.*gateway"),
        ("router", r"(?i)^ray::ServeReplica:.*router"),
        ("hosts", r"^ray::\w*Host"),
        ("directory", r"^ray::\w*Directory"),
        ("Serve control", r"^ray::(Serve|Proxy|HAProxy)"),
        ("other of Ray", r"^ray::|/ray/|/launcher/quiet_agent\.py\b"),
    )
)


def kind_of(command: str) -> str:
    """What a command line stands for; titles that Ray sets count as command lines."""
    for kind, pattern in _KINDS:
        if pattern.search(command):
            return kind
    return "other"


class Stat(NamedTuple):
    """What /proc/PID/stat says. Ticks of CPU; `started` tells two holders of one pid apart."""

    pid: int
    parent: int
    started: int
    own: int
    waited: int


def parse_stat(text: str) -> Stat:
    """Read one line of /proc/PID/stat; the name in it may hold blanks and parentheses."""
    pid, _, rest = text.partition(" (")
    fields = rest.rpartition(")")[2].split()
    return Stat(
        pid=int(pid),
        parent=int(fields[1]),
        started=int(fields[19]),
        own=int(fields[11]) + int(fields[12]),
        waited=int(fields[13]) + int(fields[14]),
    )


class ProcessUse(NamedTuple):
    """CPU seconds of one process since it began."""

    kind: str
    command: str
    cpu_s: float


def _read(path: Path) -> bytes:
    """The file's content, or nothing where the process is gone or not ours."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


@dataclass(slots=True)
class _Seen:
    """The last look at one process."""

    stat: Stat
    kind: str
    alive: bool = True


class Processes:
    """All processes of one server, watched over time.

    Args:
        root: The process that was started.
        mark: Value of the environment variable `MARK` that it was started with.
        proc: Where the kernel shows processes; another folder in tests.
    """

    def __init__(self, root: int, mark: str | None = None, proc: Path = Path("/proc")) -> None:
        self._root = root
        self._mark = f"{MARK}={mark}".encode() if mark else None
        self._proc = proc
        self._seen: dict[tuple[int, int], _Seen] = {}
        self._marked: dict[tuple[int, int], bool] = {}

    def look(self) -> None:
        """Note what every process has used until now. Call it often enough to see most die."""
        members = {(stat.pid, stat.started): stat for stat in self._members()}
        for key, seen in self._seen.items():
            seen.alive = key in members
        for key, stat in members.items():
            kind = kind_of(self._command(stat.pid))
            self._seen[key] = _Seen(stat, kind)

    def cpu_s(self) -> Counter[str]:
        """CPU seconds used so far as of the last look, by kind, the ended included."""
        ticks: Counter[str] = Counter()
        ended: Counter[int] = Counter()
        for seen in self._seen.values():
            ticks[seen.kind] += seen.stat.own
            if not seen.alive:
                ended[seen.stat.parent] += seen.stat.own + seen.stat.waited
        for seen in self._seen.values():
            charged = seen.stat.waited - ended[seen.stat.pid]
            ticks[seen.kind] += max(0, charged)
        del ticks[_OUTSIDE]
        return Counter({kind: used / _TICKS for kind, used in ticks.items()})

    def pss_kb(self) -> Counter[str]:
        """Proportional memory now, swap included, by kind: shared pages are counted once.

        Pages of files are left out. They do not grow with sessions, and how many of them are a
        process's share depends on whatever else runs on the machine.
        """
        sizes: Counter[str] = Counter()
        for stat in self._members():
            kind = kind_of(self._command(stat.pid))
            if kind != _OUTSIDE:
                sizes[kind] += parse_pss(_read(self._proc / str(stat.pid) / "smaps_rollup"))
        return sizes

    def count(self) -> int:
        """How many processes there are."""
        return len(self._members())

    def pids(self) -> list[int]:
        """All of them, the one that was started included if it lives."""
        return [stat.pid for stat in self._members()]

    def listing(self) -> list[ProcessUse]:
        """Every process seen, the busiest first."""
        uses = [
            ProcessUse(
                seen.kind,
                self._command(seen.stat.pid)[:120] if seen.alive else "(ended)",
                (seen.stat.own + seen.stat.waited) / _TICKS,
            )
            for seen in self._seen.values()
        ]
        return sorted(uses, key=lambda use: -use.cpu_s)

    def _members(self) -> list[Stat]:
        stats: dict[int, Stat] = {}
        children: defaultdict[int, list[int]] = defaultdict(list)
        for entry in os.listdir(self._proc):
            if entry.isdigit() and (text := _read(self._proc / entry / "stat")):
                stat = parse_stat(text.decode(errors="replace"))
                stats[stat.pid] = stat
                children[stat.parent].append(stat.pid)
        found: dict[int, Stat] = {}
        queue = [self._root, *(pid for pid, stat in stats.items() if self._is_marked(stat))]
        while queue:
            pid = queue.pop()
            if pid in stats and pid not in found:
                found[pid] = stats[pid]
                queue += children[pid]
        return list(found.values())

    def _is_marked(self, stat: Stat) -> bool:
        if self._mark is None:
            return False
        key = (stat.pid, stat.started)
        if key not in self._marked:
            environ = _read(self._proc / str(stat.pid) / "environ")
            self._marked[key] = self._mark in environ.split(b"\0")
        return self._marked[key]

    def _command(self, pid: int) -> str:
        words = _read(self._proc / str(pid) / "cmdline").split(b"\0")
        return b" ".join(words).strip().decode(errors="replace")


def parse_pss(text: bytes) -> int:
    """KiB of anonymous, shared and swapped memory in /proc/PID/smaps_rollup; all Pss if it says
    no more (before Linux 5.4).
    """
    sizes = {line.split()[0]: int(line.split()[1]) for line in text.splitlines() if b"Pss" in line}
    if b"Pss_Anon:" in sizes:
        sizes[b"Pss:"] = sizes[b"Pss_Anon:"] + sizes.get(b"Pss_Shmem:", 0)
    return sizes.get(b"Pss:", 0) + sizes.get(b"SwapPss:", 0)


def cpu_of(pid: int) -> float:
    """CPU seconds of one process until now; 0 once it is gone."""
    text = _read(Path(f"/proc/{pid}/stat"))
    return parse_stat(text.decode(errors="replace")).own / _TICKS if text else 0.0


def machine_cpu_s() -> tuple[float, float]:
    """CPU seconds that the whole machine has been busy, and robbed of by its host (steal)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    busy = sum(fields[:3]) + sum(fields[5:7])
    return busy / _TICKS, fields[7] / _TICKS
