"""The plot: how long running answers were silent after each kind of fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.stats import percentile
from chaos.conductor import Outcome
from chaos.silence import silences

_COLOUR = "#b3432b"
_PROMISE_S = 2.0
_LEAST_S = 0.02


def draw(outcome: Outcome, title: str, path: Path) -> None:
    """Write a PNG with a row of points for each fault; p50 and p95 are marked."""
    silent_s = silences(outcome.answers, outcome.strikes)
    found = {fault: times for fault, times in silent_s.items() if times}
    # Typed loosely: matplotlib's own annotations are partial.
    figure: Any = Figure(figsize=(9, 1.5 + 0.45 * len(found)), layout="constrained")
    figure.suptitle(title, fontsize=10)
    axis: Any = figure.subplots()
    for row, times in enumerate(found.values()):
        shown = [max(time, _LEAST_S) for time in times]
        axis.plot(shown, [row] * len(shown), "|", color=_COLOUR, ms=9, alpha=0.35)
        axis.plot(percentile(shown, 50), row, "o", color="black", ms=4)
        axis.plot(percentile(shown, 95), row, "D", color="black", ms=5)
    axis.plot([], [], "o", color="black", ms=4, label="p50")
    axis.plot([], [], "D", color="black", ms=5, label="p95")
    axis.axvline(_PROMISE_S, color="black", lw=0.8, ls=":", label="limit, p95 of host and gateway")
    axis.set_yticks(range(len(found)), [f"{fault} ({len(found[fault])})" for fault in found])
    axis.set(xscale="log", xlabel="longest silence of a running answer (s)")
    axis.invert_yaxis()
    axis.grid(alpha=0.25)
    axis.legend(fontsize=7)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_figure(path, dpi=120)
