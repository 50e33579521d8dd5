"""The plot: latency, cost and memory over the number of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.figures import Found, Result, Sleep, Storm, Wake
from bench.verdict import (
    ADDED_P95_MS_AT_1000,
    KB_PER_SESSION,
    STORM_ADDED_RATIO,
    TURN_P95_MS_AT_2000,
    WAKE_TOGETHER_MS,
)

_COLOURS = {"troupe": "#b3432b", "proxy": "#4a6b8a"}


def drawable(found: Found) -> bool:
    """Whether there is anything that a picture shows better than a line of text."""
    return bool(found.results or found.wakes or found.sleeps or found.storms)


def draw(found: Found, title: str, path: Path) -> None:
    """Write a PNG with a panel for each thing that was measured."""
    rest = bool(found.wakes) + bool(found.sleeps)
    rows = 2 * bool(found.results) + bool(rest) + len(found.storms)
    # Typed loosely: matplotlib's own annotations are partial.
    figure: Any = Figure(figsize=(11, 3.75 * rows), layout="constrained")
    figure.suptitle(title, fontsize=10)
    panels: list[Any] = list(figure.subplots(rows, 2, squeeze=False).flat)
    if found.results:
        _load(panels[:4], found.results)
    for place, storm in enumerate(reversed(found.storms), 1):
        _storm(panels[len(panels) - 2 * place :], storm)
    above = panels[: len(panels) - 2 * len(found.storms)]
    lowest = above[-2:] if rest else []
    if found.wakes:
        _wakes(lowest.pop(0), found.wakes)
    if found.sleeps:
        _sleep(lowest.pop(0), found.sleeps[-1])
    for axis in lowest:
        axis.set_axis_off()
        panels.remove(axis)
    for axis in panels:
        axis.grid(alpha=0.25)
        axis.legend(fontsize=7)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_figure(path, dpi=120)


def _load(panels: Sequence[Any], results: Sequence[Result]) -> None:
    """Latency, cost and memory of sessions at work."""
    added, turn, cost, memory = panels
    for target, colour in _COLOURS.items():
        mine = [one for one in results if one.target == target]
        if not mine:
            continue
        sessions = [one.sessions for one in mine]
        for percent, style in (("p50", ":"), ("p95", "-"), ("p99", "--")):
            values = [max(one.added_ms[percent], 0.1) for one in mine]
            added.plot(
                sessions, values, style, color=colour, marker="o", ms=3, label=f"{target} {percent}"
            )
        turns = [one.turn_ms["p95"] for one in mine]
        turn.plot(sessions, turns, color=colour, marker="o", ms=3, label=target)
        kilobytes = [one.idle["kb_per_session"] for one in mine]
        memory.plot(sessions, kilobytes, color=colour, marker="o", ms=3, label=target)
    _costs(cost, results)
    added.plot(1000, ADDED_P95_MS_AT_1000, "v", color="black", label="limit, p95")
    turn.plot(2000, TURN_P95_MS_AT_2000, "v", color="black", label="limit")
    memory.axhline(KB_PER_SESSION, color="black", lw=0.8, ls=":", label="limit")
    added.set(title="added time to first token (ms)", yscale="log", xlabel="sessions")
    turn.set(title="turn time, p95 (ms)", xlabel="sessions", ylim=(0, None))
    memory.set(title="memory of an idle session (KB)", xlabel="sessions", ylim=(0, None))


def _costs(axis: Any, results: Sequence[Result]) -> None:
    """Stacked bars: CPU-ms a turn by kind of process, both targets at each count."""
    shown = {kind for one in results for kind, ms in one.cpu_ms_by_kind.items() if ms >= 0.05}
    kinds = sorted(shown - {"proxy"})
    colours = {kind: f"C{index % 10}" for index, kind in enumerate(kinds)} | {
        "proxy": _COLOURS["proxy"]
    }
    for place, one in enumerate(results):
        bottom = 0.0
        for kind, figure in one.cpu_ms_by_kind.items():
            axis.bar(place, figure, bottom=bottom, color=colours.get(kind, "black"), width=0.7)
            bottom += figure
    for kind, colour in colours.items():
        axis.bar(0, 0, color=colour, label=kind)
    names = [f"{one.target}\n{one.sessions}" for one in results]
    axis.set_xticks(range(len(names)), names, fontsize=7)
    axis.set(title="CPU-ms a turn, all server processes")


def _wakes(axis: Any, wakes: Sequence[Wake]) -> None:
    """Bars: p95 of waking, and of as many bare round trips, by where it is seen from."""
    for place, wake in enumerate(wakes):
        axis.bar(place, wake.ms["p95"], color=_COLOURS["troupe"], width=0.7)
        if wake.bare_ms is not None:
            axis.bar(place, wake.bare_ms["p95"], color=_COLOURS["proxy"], width=0.4)
    axis.bar(0, 0, color=_COLOURS["troupe"], label="p95")
    axis.bar(0, 0, color=_COLOURS["proxy"], label="p95 of its bare round trips")
    axis.axhline(WAKE_TOGETHER_MS, color="black", lw=0.8, ls=":", label="limit, in a host")
    names = [f"{wake.seen}\n{wake.source}\n{wake.at_once}" for wake in wakes]
    axis.set_xticks(range(len(names)), names, fontsize=6)
    axis.set(title="waking (ms)", yscale="log")


def _sleep(axis: Any, sleep: Sleep) -> None:
    """Stacked bars: memory of a sleeping session by kind of process."""
    for place, cost in enumerate((sleep.plain, sleep.offering)):
        bottom = 0.0
        by_kind: dict[str, float] = cost["kb_per_session_by_kind"]
        for index, (kind, kb) in enumerate(sorted(by_kind.items())):
            label = kind if place == 0 and kb > 0 else None
            axis.bar(place, max(kb, 0.0), bottom=bottom, color=f"C{index % 10}", label=label)
            bottom += max(kb, 0.0)
    axis.axhline(KB_PER_SESSION, color="black", lw=0.8, ls=":", label="limit")
    axis.set_xticks([0, 1], ["plain", "offering compression"], fontsize=7)
    axis.set(title=f"memory of a sleeping session, {sleep.sockets} of them (KB)")


def _storm(panels: Sequence[Any], storm: Storm) -> None:
    """What each endpoint was asked over time, and what the sessions noticed."""
    asked, noticed = panels[:2]
    for index, one in enumerate(storm.endpoints):
        seconds = range(len(one.per_s))
        asked.plot(seconds, one.per_s, color=f"C{index}", label=f"{one.endpoint}: {one.words}")
        if one.began_s is not None:
            asked.axvline(one.began_s, color=f"C{index}", lw=0.8, ls=":")
    asked.set(title="storm: requests a second, by endpoint", xlabel="s", ylim=(0, None))
    figures = [(name, one.added_ms) for name, one in (("calm", storm.calm), ("storm", storm.storm))]
    for place, (_, added) in enumerate(figures):
        for shift, percent in enumerate(("p50", "p95", "p99")):
            noticed.bar(place + 0.25 * (shift - 1), added[percent], color=f"C{shift}", width=0.22)
    for shift, percent in enumerate(("p50", "p95", "p99")):
        noticed.bar(0, 0, color=f"C{shift}", label=percent)
    limit = storm.calm.added_ms["p95"] * STORM_ADDED_RATIO
    noticed.axhline(limit, color="black", lw=0.8, ls=":", label="limit, p95")
    noticed.set_xticks([0, 1], [name for name, _ in figures], fontsize=7)
    noticed.set(title="storm: added time to first token (ms)", yscale="log")
