"""The plot: latency, cost and memory over the number of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.figures import Result
from bench.verdict import ADDED_P95_MS_AT_1000, KB_PER_SESSION, TURN_P95_MS_AT_2000

_COLOURS = {"troupe": "#b3432b", "proxy": "#4a6b8a"}


def draw(results: Sequence[Result], title: str, path: Path) -> None:
    """Write a PNG with four panels."""
    # Typed loosely: matplotlib's own annotations are partial.
    figure: Any = Figure(figsize=(11, 7.5), layout="constrained")
    figure.suptitle(title, fontsize=10)
    panels: list[Any] = list(figure.subplots(2, 2).flat)
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
    for axis in panels:
        axis.grid(alpha=0.25)
        axis.legend(fontsize=7)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_figure(path, dpi=120)


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
