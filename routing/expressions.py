"""Conditions in CEL: compiled once, with all that can be known to be wrong; then asked.

Patterns are given as literals. They are compiled with RE2, once, and the expression that runs
has their numbers in their place: CEL's own `matches` compiles its pattern with every message.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import cel

from contracts.decisions import RoutingInput
from routing.facts import LAZY, Facts, Field
from routing.patterns import BadPattern, Pattern, fold, glob, keywords, regex
from routing.scan import MAX_CHARS, PATTERNS, ZONES, Call, Token, scan, spanned
from routing.wording import line, shown

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PLACE = re.compile(r"<input>:(\d+):(\d+): (.*)")
_REASON_CHARS = 120
_UNFIT = "asks of values what their kinds cannot do"

# The library logs every failure of a function; rules log theirs once, in words of their own.
logging.getLogger("cel").setLevel(logging.CRITICAL + 1)


class BadExpression(ValueError):
    """The expression cannot be a condition; `reasons` say why."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


class Failed(Exception):
    """The expression has no answer for this message; the text says why."""


class Library:
    """What the expressions of one set of rules share: functions, patterns, fields in use."""

    def __init__(self) -> None:
        self.patterns: list[Pattern] = []
        self.eager: tuple[Field, ...] = ()
        self.functions: dict[str, Callable[..., Any]] = {
            "troupe_matches": self._matches,
            "troupe_words": self._words,
            "troupe_glob": self._matches,
            "hour": _hour,
            "weekday": _weekday,
            "get": _get,
            "lower": _lower,
        }

    def keep(self, pattern: Pattern) -> int:
        """The number by which an expression has the pattern."""
        self.patterns.append(pattern)
        return len(self.patterns) - 1

    def needs(self, fields: Collection[Field]) -> None:
        """These are looked at by one more expression."""
        self.eager = tuple({*self.eager, *fields} - LAZY)

    def _matches(self, text: str, number: int) -> bool:
        return self.patterns[number].search(text) is not None

    def _words(self, text: str, number: int) -> bool:
        return self.patterns[number].search(fold(text)) is not None


class Expression:
    """One compiled expression."""

    __slots__ = ("_lazy", "_library", "_program", "constant", "key", "source")

    def __init__(
        self, source: str, key: str, program: cel.Program, fields: Collection[Field], lib: Library
    ) -> None:
        """Only `expression` may call this."""
        self.source = source
        self.key = key
        """Equal for expressions that say the same in the same words."""
        self.constant: bool | None = None
        """What it always is, where it looks at nothing."""
        self._program = program
        self._lazy = tuple(LAZY.intersection(fields))
        self._library = lib

    def match(self, facts: Facts) -> str | None:
        """Why it holds, or None. Raises `Failed`."""
        return f"{shown(self.source)} holds" if self.holds(facts) else None

    def holds(self, facts: Facts) -> bool:
        """Raises `Failed`."""
        library = self._library
        context = facts.context(library.functions, library.eager, self._lazy)
        value = _run(self._program, context)
        if value is True or value is False:
            return value
        raise Failed(f"gives {_kind(value)}, not yes or no")


def expression(source: str, library: Library) -> Expression:
    """Compile a condition. Raises `BadExpression` with everything that is wrong."""
    if not source.strip():
        raise BadExpression(["is empty; write `else` to take the rest"])
    if len(source) > MAX_CHARS:
        raise BadExpression([f"is longer than {MAX_CHARS:,} characters"])
    _parsed(source)
    found = scan(source)
    pieces: list[tuple[int, int, str]] = []
    for call in found.calls:
        found.faults += _literal(call, source, library, pieces)
    if found.faults:
        raise BadExpression(found.faults)
    text = source
    for start, end, new in sorted(pieces, reverse=True):
        text = text[:start] + new + text[end:]
    made = Expression(source, found.words, _parsed(text), found.fields, library)
    library.needs(found.fields)
    _tried(made, bool(found.fields))
    return made


def _parsed(source: str) -> cel.Program:
    try:
        return cel.compile(source)
    except ValueError as error:
        raise BadExpression([_where(str(error))]) from None
    except BaseException as error:  # noqa: BLE001 - a panic of the library is nothing less
        raise _panic(error, BadExpression(["cannot be parsed"])) from None


def _where(text: str) -> str:
    """The first mistake that the parser found, with line and column."""
    place = _PLACE.search(text)
    if place is None:
        return "cannot be parsed"
    line, column, what = place.groups()
    what = what.removeprefix("Syntax error: ").split(" expecting {")[0]
    return f"line {line}, column {column}: {what[:_REASON_CHARS]}"


def _literal(
    call: Call, source: str, library: Library, pieces: list[tuple[int, int, str]]
) -> Iterator[str]:
    """Compile the pattern or time zone of a call, and have its number put in its place."""
    if call.name not in PATTERNS | ZONES or not call.last:
        return
    many = call.name == "words"
    written = _value(call.last, source, many)
    if written is None:
        kind = "text in quotes, or a list of them" if many else "text in quotes"
        yield f"calls `{call.name}`, whose last value must be {kind}"
    elif call.name in ZONES:
        try:
            _zone(written[0])
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield f"names the time zone {shown(written[0])}, which there is not"
    else:
        try:
            pattern = _pattern(call.name, written)
        except BadPattern as error:
            what = shown(written[0]) if len(written) == 1 else "a list"
            yield f"calls `{call.name}` with {what}, which {_said(error)}"
            return
        pieces.append((*spanned((call.at,)), f"troupe_{call.name}"))
        pieces.append((*spanned(call.last), str(library.keep(pattern))))


def _said(error: BadPattern) -> str:
    text = str(error)
    known = text.startswith(("is ", "has ", "cannot "))
    return text if known else f"cannot be compiled: {text}"


def _pattern(name: str, written: Sequence[str]) -> Pattern:
    if name == "matches":
        return regex(written[0])
    if name == "words":
        return keywords(written)
    return glob(written[0])


def _value(part: Sequence[Token], source: str, many: bool) -> list[str] | None:
    """The text or texts that these words are, if they are nothing else."""
    inner = part
    if many and len(part) > 2 and part[0].text == "[" and part[-1].text == "]":
        inner = [token for token in part[1:-1] if token.text != ","]
    elif len(part) != 1:
        return None
    if any(token.kind != "text" for token in inner):
        return None
    start, end = spanned(part)
    value = cel.compile(source[start:end]).execute()
    values = cast("list[Any]", value if isinstance(value, list) else [value])
    return values if all(isinstance(one, str) for one in values) else None


_SAMPLES = (
    RoutingInput("", now=1_700_000_000.0),
    RoutingInput(
        "Can you help me with the invoice from last week?",
        {"tier": "gold"},
        "u1",
        now=1_700_000_000.0,
        org_id="org_a",
        org_tier="gold",
        session_id="conv_a",
        turn=3,
        messages=4,
        agent="a",
        failures=1,
        attachments=({"type": "image"},),
    ),
)


def _tried(made: Expression, looks: bool) -> None:
    """Run it on messages like any other: what is no condition for them is none at all.

    What these messages lack, another may have; but the kinds of the fields never change.
    """
    for sample in _SAMPLES:
        try:
            value = made.holds(Facts(sample))
        except Failed as error:
            if str(error) == _UNFIT or str(error).startswith("gives "):
                raise BadExpression([str(error)]) from None
            if not looks:
                raise BadExpression([f"never has an answer: {error}"]) from None
            continue
        if not looks:
            made.constant = value


def _run(program: cel.Program, context: cel.Context) -> Any:
    try:
        return program.execute(context)
    except KeyError as error:
        raise Failed(f"there is no {shown(str(error.args[0]))} in it") from None
    except TypeError:
        raise Failed(_UNFIT) from None
    except ZeroDivisionError:
        raise Failed("divides by zero") from None
    except Exception as error:  # noqa: BLE001 - whatever it was, the rule has no answer
        raise Failed(_said_by(error)) from None
    except BaseException as error:  # noqa: BLE001 - as above
        raise _panic(error, Failed("the engine gave up on it")) from None


def _said_by(error: Exception) -> str:
    text = str(error)
    # Names were checked when it was compiled, so what is "undefined" is a function for this kind.
    if "Python function call failed" in text or text.startswith("Undefined"):
        return _UNFIT
    return line(text.split(". Check")[0], _REASON_CHARS)


def _panic(error: BaseException, instead: Exception) -> BaseException:
    """A panic of the library is a failure like others, though Python does not count it as one."""
    return instead if type(error).__name__ == "PanicException" else error


def _kind(value: object) -> str:
    kinds: dict[type, str] = {
        str: "text",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "a mapping",
    }
    return kinds.get(type(value), "nothing" if value is None else "another kind of value")


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _hour(now: datetime, zone: str = "UTC") -> int:
    return now.astimezone(_zone(zone)).hour


def _weekday(now: datetime, zone: str = "UTC") -> str:
    return DAYS[now.astimezone(_zone(zone)).weekday()]


def _get(pairs: dict[str, Any], key: str) -> Any:
    return pairs.get(key, "")


def _lower(text: str) -> str:
    return text.lower()
