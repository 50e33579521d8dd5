"""What a run leaves behind: a table for the terminal, and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.report import aligned
from bench.stats import percentile
from chaos.check import count, verdict
from chaos.conductor import Outcome
from chaos.silence import silences

_SHOWN = 12


def passed(outcome: Outcome) -> bool:
    """Whether every count is 0, something was counted, and the run itself went well."""
    counts = count(outcome.findings)
    return verdict(counts, _answered(outcome)) and not outcome.unwell


def table(outcome: Outcome) -> str:
    """All that a person wants to know."""
    parts = [
        _counts(outcome),
        _faults(outcome),
        _list("Not well", outcome.unwell),
        _list("Findings", _found(outcome)),
        _list("Reconnects and repeats", [f"{n} x {what}" for what, n in outcome.troubles.items()]),
    ]
    return "\n\n".join(part for part in parts if part)


def _counts(outcome: Outcome) -> str:
    messages = sum(len(record.messages) for record, _ in outcome.sessions)
    kinds = Counter(record.kind for record, _ in outcome.sessions)
    legs = Counter(leg for answer in outcome.answers for leg in answer.legs)
    went_on = ", ".join(f"{many} x {leg}" for leg, many in sorted(legs.items())) or "none"
    lines = [
        ["sessions", f"{sum(kinds.values())}"],
        *([f"  {kind}", str(many)] for kind, many in sorted(kinds.items())),
        ["messages said", str(messages)],
        ["answers", str(_answered(outcome))],
        ["answers that went on elsewhere", went_on],
        ["faults", str(len(outcome.strikes))],
        *([what, str(many)] for what, many in count(outcome.findings).items()),
    ]
    return aligned(lines)


def _faults(outcome: Outcome) -> str:
    """Silence of running answers after each kind of fault, in seconds."""
    rows = [["fault", "struck", "running answers", "p50 s", "p95 s", "max s", "all back, max s"]]
    for fault, times in silences(outcome.answers, outcome.strikes).items():
        mine = [strike for strike in outcome.strikes if strike.fault == fault]
        backs = [strike.back_s for strike in mine if strike.back_s is not None]
        figures = [percentile(times, 50), percentile(times, 95), max(times, default=float("nan"))]
        rows.append(
            [
                fault,
                str(len(mine)),
                str(len(times)),
                *(f"{figure:.2f}" for figure in figures),
                f"{max(backs):.1f}" if backs else "",
            ]
        )
    return aligned(rows)


def _found(outcome: Outcome) -> list[str]:
    """The first findings of each kind."""
    shown: list[str] = []
    seen: Counter[str] = Counter()
    for finding in outcome.findings:
        seen[finding.what] += 1
        if seen[finding.what] <= _SHOWN:
            where = f"{finding.session_id} {finding.response_id or ''}"
            shown.append(f"{finding.what}: {where}: {finding.detail}")
    left = [f"{what}: {n - _SHOWN} more" for what, n in seen.items() if n > _SHOWN]
    return shown + left


def _list(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""


def _answered(outcome: Outcome) -> int:
    return sum(len(stored.answers) for _, stored in outcome.sessions)


def document(outcome: Outcome, machine: dict[str, Any], began: str) -> dict[str, Any]:
    """Everything, ready for JSON; transcripts are left out but for those with findings."""
    bad = {finding.session_id for finding in outcome.findings}
    return {
        "began": began,
        "machine": machine,
        "plan": {**asdict(outcome.plan), "out": str(outcome.plan.out)},
        "passed": passed(outcome),
        "counts": count(outcome.findings),
        "sessions": len(outcome.sessions),
        "answers": _answered(outcome),
        "findings": [finding._asdict() for finding in outcome.findings],
        "unwell": outcome.unwell,
        "troubles": outcome.troubles,
        "strikes": [strike._asdict() for strike in outcome.strikes],
        "silences_s": silences(outcome.answers, outcome.strikes),
        "evidence": [
            {"record": asdict(record), "stored": asdict(stored)}
            for record, stored in outcome.sessions
            if record.session_id in bad
        ],
    }
