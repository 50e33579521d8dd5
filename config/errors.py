"""What is wrong with the settings, all of it at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong.

    `source` is where to mend it: a file with its line, or an environment variable. `key` is the
    dotted path of the setting, empty where the file as a whole is meant. Never holds a secret.
    """

    source: str
    key: str
    reason: str


class SettingsError(Exception):
    """The settings do not allow a start. Its text is meant to be printed as it is."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(dict.fromkeys(problems), key=_place))
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        things = "1 setting is wrong" if count == 1 else f"{count} settings are wrong"
        lines = [f"Troupe cannot start: {things}."]
        for source, group in groupby(self.problems, key=lambda problem: problem.source):
            lines += ["", f"  {source}"]
            for _, key, reason in group:
                lines.append(f"    {key}: {reason}" if key else f"    {reason}")
        return "\n".join(lines)


def _place(problem: Problem) -> tuple[str, int]:
    """Files by line, so that one run through each mends it."""
    name, _, line = problem.source.rpartition(":")
    return (name, int(line)) if name and line.isdecimal() else (problem.source, 0)


def did_you_mean(word: str, choices: Sequence[str], cutoff: float = 0.6) -> str:
    """`; did you mean X?` where one of the choices is close, else nothing."""
    close = difflib.get_close_matches(word, choices, n=1, cutoff=cutoff)
    return f"; did you mean `{close[0]}`?" if close else ""
