"""Reads the words of a CEL expression: what it looks at, and what it must not do.

The CEL library parses and runs expressions but does not show what it parsed, and a name that is
wrong it finds only when the name is reached. So the words are read here as well, after the library
has taken the expression as valid CEL. What runs on the event loop that hundreds of sessions share
must be short by its form: no loop within a loop, none over the message, nothing deep or long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from routing.facts import FIELDS, FLAT, NOW, flat
from routing.wording import meant

MAX_CHARS = 2_000
MAX_DEPTH = 32
MAX_LOOPS = 8
MAX_SUMS = 8
LOOPS = frozenset({"all", "exists", "exists_one", "filter", "map"})
"""CEL's macros that go through a list or mapping."""
OURS: dict[str, tuple[int, int]] = {
    "matches": (1, 1),
    "words": (1, 1),
    "glob": (1, 1),
    "hour": (0, 1),
    "weekday": (0, 1),
    "get": (1, 1),
    "lower": (0, 0),
}
"""Functions that are Troupe's own, each with the fewest and most arguments after its subject."""
BUILT_IN = frozenset(
    [
        "size",
        "contains",
        "startsWith",
        "endsWith",
        "has",
        "string",
        "int",
        "uint",
        "double",
        "bytes",
        "timestamp",
        "duration",
        "dyn",
        "type",
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
    ]
)
VALUES = frozenset({"true", "false", "null", "in"})
PATTERNS = frozenset({"matches", "words", "glob"})
ZONES = frozenset({"hour", "weekday"})

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<text>[bB]?[rR][bB]?(?:\"{3}(?s:.*?)\"{3}|'{3}(?s:.*?)'{3}|"[^"\n]*"|'[^'\n]*')
      |[bB]?(?:\"{3}(?s:(?:[^\\]|\\.)*?)\"{3}|'{3}(?s:(?:[^\\]|\\.)*?)'{3}
      |"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
  | (?P<number>(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<mark>&&|\|\||[<>=!]=|(?s:.))
    """,
    re.VERBOSE,
)
_CLOSES = {")": "(", "]": "[", "}": "{"}


class Token(NamedTuple):
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class Call(NamedTuple):
    """A use of one of our functions.

    `subject` is what it is asked of, where that is a name or a name's field; `last` is its last
    argument, if it has one besides. The whole call stands from `start` to `end`.
    """

    name: str
    at: Token
    subject: tuple[Token, ...]
    last: tuple[Token, ...]
    start: int
    end: int

    @property
    def of(self) -> str:
        """The subject as it would be written."""
        return "".join(token.text for token in self.subject)


class Use(NamedTuple):
    """A fact that is looked at, by its name for `routing.facts`, and from where to where."""

    name: str
    start: int
    end: int


@dataclass(slots=True)
class Scan:
    """What is in an expression."""

    fields: list[Use] = field(default_factory=list["Use"])
    calls: list[Call] = field(default_factory=list[Call])
    faults: list[str] = field(default_factory=list[str])
    words: str = ""
    """The expression with one space between any two words, to compare it by."""


@dataclass(slots=True)
class _Open:
    """A bracket that is not closed yet."""

    mark: str
    call: Token | None = None
    method: bool = False
    bound: str | None = None
    commas: list[int] = field(default_factory=list[int])
    first: int = 0

    @property
    def loop(self) -> bool:
        return self.method and self.call is not None and self.call.text in LOOPS


def scan(source: str) -> Scan:
    """Read an expression that the CEL library has parsed."""
    return _Reader(source).read()


def tokens(source: str) -> Iterator[Token]:
    """Its words, without spaces and comments."""
    for match in _TOKEN.finditer(source):
        kind = match.lastgroup or ""
        if kind != "space":
            yield Token(kind, match.group(), match.start())


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = tuple(tokens(source))
        self.open: list[_Open] = []
        self.found = Scan(words=" ".join(token.text for token in self.tokens))

    def read(self) -> Scan:
        depth = loops = sums = 0
        for index, token in enumerate(self.tokens):
            if token.kind == "name":
                self._name(index, token)
            elif token.text in ("(", "[", "{"):
                loops += self._opened(index, token)
                depth = max(depth, len(self.open))
            elif token.text in _CLOSES and token.kind == "mark" and self.open:
                self._closed(index)
            elif token.text == "," and self.open:
                self.open[-1].commas.append(index)
            elif token.text == "+":
                sums += 1
        if depth > MAX_DEPTH:
            self._fault(f"has more than {MAX_DEPTH} brackets within each other")
        if loops > MAX_LOOPS:
            self._fault(f"goes through lists more than {MAX_LOOPS} times")
        if sums > MAX_SUMS:
            self._fault(f"has more than {MAX_SUMS} times `+`")
        return self.found

    def _fault(self, reason: str) -> None:
        if reason not in self.found.faults:
            self.found.faults.append(reason)

    def _text(self, index: int) -> str:
        return self.tokens[index].text if 0 <= index < len(self.tokens) else ""

    def _opened(self, index: int, token: Token) -> int:
        before = self.tokens[index - 1] if index else None
        opened = _Open(token.text, first=index + 1)
        if token.text == "(" and before and before.kind == "name" and before.text not in VALUES:
            opened.call = before
            opened.method = self._text(index - 2) == "."
        elif token.text == "{" and before and before.kind == "name" and before.text not in VALUES:
            self._fault(f"makes a `{before.text}`, which rules cannot")
        if opened.loop and opened.call:
            if any(outer.loop for outer in self.open):
                self._fault(f"has `{opened.call.text}` within another loop")
            opened.bound = self._text(index + 1)
            if opened.bound in FIELDS or opened.bound == NOW or FLAT in opened.bound:
                self._fault(f"uses `{opened.bound}` for an entry, which is a name of its own")
        self.open.append(opened)
        return int(opened.loop)

    def _closed(self, index: int) -> None:
        closed = self.open.pop()
        if closed.call is None or closed.loop:
            return
        name, call = closed.call.text, closed.call
        if name not in OURS:
            if name not in BUILT_IN:
                known = [*BUILT_IN, *OURS, *LOOPS]
                self._fault(f"calls `{name}`, which is no function{meant(name, known)}")
            return
        starts = [closed.first, *(comma + 1 for comma in closed.commas)]
        count = len(starts) if closed.first < index else 0
        fewest, most = OURS[name]
        taken = count - (0 if closed.method else 1)
        if not fewest <= taken <= most:
            what = "nothing" if most == 0 else "one value"
            self._fault(f"calls `{name}`, which takes {what} after its subject")
            return
        last = self.tokens[starts[-1] : index] if taken else ()
        at = closed.first - 2
        if closed.method:
            subject = self._chain(at - 2)
        else:
            subject = self.tokens[closed.first : closed.commas[0] if closed.commas else index]
            if len(subject) != len(self._chain(closed.first + len(subject) - 1)):
                subject = ()
        start = subject[0].start if subject and closed.method else call.start
        self.found.calls.append(Call(name, call, subject, last, start, self.tokens[index].end))

    def _chain(self, last: int) -> tuple[Token, ...]:
        """The names with points between them that end here; empty if they are part of more."""
        first = last
        while self._is_name(first) and self._text(first - 1) == "." and self._is_name(first - 2):
            first -= 2
        if not self._is_name(first) or self._text(first - 1) == ".":
            return ()
        return self.tokens[first : last + 1]

    def _is_name(self, index: int) -> bool:
        return 0 <= index < len(self.tokens) and self.tokens[index].kind == "name"

    def _name(self, index: int, token: Token) -> None:
        name = token.text
        if name in VALUES or self._text(index - 1) == "." or self._text(index + 1) in ("(", "{"):
            return
        if any(outer.bound == name for outer in self.open):
            return
        if name == NOW:
            self.found.fields.append(Use(NOW, token.start, token.end))
        elif name in FIELDS:
            self._field(index, name)
        else:
            known = [*FIELDS, NOW, *(["else"] if len(self.tokens) == 1 else [])]
            self._fault(f"names `{name}`, which is no variable{meant(name, known)}")

    def _field(self, index: int, variable: str) -> None:
        known = FIELDS[variable]
        follows, name, last = self._text(index + 1), None, index
        if follows == "." and self._text(index + 3) != "(":
            name, last = self._text(index + 2), index + 2
        elif follows == "[" and self._text(index + 3) == "]":
            name, last = self._text(index + 2).strip("\"'"), index + 3
        if name is None:
            self._fault(f"names `{variable}` without one of its fields: {', '.join(known)}")
        elif name not in known:
            hint = meant(name, known)
            self._fault(f"names `{variable}.{name[:64]}`, which is no field{hint}")
        else:
            if (variable, name) == ("message", "text") and any(outer.loop for outer in self.open):
                self._fault("reads `message.text` in a loop; `words` and `matches` need none")
            if self._text(index - 2) == "has" and self._text(last + 1) == ")":
                self._fault(f"asks whether there is `{variable}.{name}`, which there always is")
            use = Use(flat(variable, name), self.tokens[index].start, self.tokens[last].end)
            self.found.fields.append(use)


def operands(source: str) -> list[str]:
    """What the outermost `&&` join; nothing where something else is outermost."""
    depth, begin = 0, 0
    parts: list[str] = []
    for token in tokens(source):
        if token.kind != "mark":
            continue
        if token.text in "([{":
            depth += 1
        elif token.text in ")]}":
            depth -= 1
        elif depth == 0 and token.text in ("||", "?"):
            return []
        elif depth == 0 and token.text == "&&":
            parts.append(source[begin : token.start].strip())
            begin = token.end
    return [*parts, source[begin:].strip()] if parts else []


def spanned(part: Sequence[Token]) -> tuple[int, int]:
    """Where these words begin and end."""
    return part[0].start, part[-1].end
