"""Conditions in CEL: compiled once, with all that can be known to be wrong; then asked.

Patterns are given as literals. They are compiled with RE2, once, and the expression that runs
has their numbers in their place: CEL's own `matches` compiles its pattern with every message. Those
that are looked for in the message or the user's id share one pass (`routing.sieve`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any, cast
from zoneinfo import ZoneInfoNotFoundError

import cel

from contracts.decisions import RoutingInput
from routing.facts import FIELDS, Facts, flat
from routing.library import Library, Sought, Subject, sought, zone
from routing.patterns import BadPattern, Pattern, glob, keywords, regex
from routing.scan import MAX_CHARS, PATTERNS, ZONES, Call, Token, Use, scan, spanned
from routing.wording import line, shown

_PLACE = re.compile(r"<input>:(\d+):(\d+): (.*)")
_REASON_CHARS = 120
_UNFIT = "asks of values what their kinds cannot do"

# The library logs every failure of a function; rules log theirs once, in words of their own.
logging.getLogger("cel").setLevel(logging.CRITICAL + 1)


Piece = tuple[int, int, str]
"""From where to where of the source, and what stands there instead."""


class BadExpression(ValueError):
    """The expression cannot be a condition; `reasons` say why."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


class Failed(Exception):
    """The expression has no answer for this message; the text says why."""


class Expression:
    """One compiled expression."""

    __slots__ = (
        "__weakref__",
        "_execute",
        "_why",
        "constant",
        "key",
        "keywords",
        "names",
        "patterns",
        "source",
    )

    def __init__(
        self,
        source: str,
        key: str,
        program: cel.Program,
        names: tuple[str, ...],
        patterns: tuple[Sought, ...],
    ) -> None:
        """Only `expression` may call this."""
        self.source = source
        self.key = key
        """Equal for expressions that say the same in the same words."""
        self.constant: bool | None = None
        """What it always is, where it looks at nothing."""
        self._execute = program.execute
        self.names = frozenset(names)
        """The facts that it looks at, as `routing.facts.flat` names them."""
        self.patterns = patterns
        self.keywords: tuple[str, ...] = ()
        """Where it asks for one of these words in the message, and for nothing else."""
        self._why = f"{shown(source)} holds"

    def match(self, facts: Facts) -> str | None:
        """Why it holds, or None. Raises `Failed`."""
        # Hundreds of these may be asked for one message, so it is all done here.
        if not facts.known or not self.names <= facts.known:
            facts.learn(self.names)
        try:
            value = self._execute(facts.values)
        except BaseException as error:  # noqa: BLE001 - `_failure` gives back what is not its own
            raise _failure(error) from None
        if value is False:
            return None
        if value is True:
            return self._why
        raise Failed(f"gives {_kind(value)}, not yes or no")


def expression(source: str) -> Expression:
    """Compile a condition. Raises `BadExpression` with everything that is wrong."""
    if not source.strip():
        raise BadExpression(["is empty; write `else` to take the rest"])
    if len(source) > MAX_CHARS:
        raise BadExpression([f"is longer than {MAX_CHARS:,} characters"])
    _parsed(source)
    found = scan(source)
    pieces: list[Piece] = []
    patterns: list[Sought] = []
    for call in found.calls:
        found.faults += _rewritten(call, source, patterns, pieces)
    if found.faults:
        raise BadExpression(found.faults)
    calls = tuple(pieces)
    pieces += ((*use[1:], use.name) for use in found.fields if not _within(use, calls))
    text = source
    for start, end, new in sorted(pieces, reverse=True):
        text = text[:start] + new + text[end:]
    names = tuple(dict.fromkeys(use.name for use in found.fields))
    made = Expression(source, found.words, _parsed(text), names, tuple(patterns))
    made.keywords = _keywords(source, found.calls)
    _tried(made, bool(names))
    return made


def _within(use: Use, pieces: Sequence[Piece]) -> bool:
    return any(start <= use.start and use.end <= end for start, end, _ in pieces)


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


def _rewritten(
    call: Call, source: str, patterns: list[Sought], pieces: list[Piece]
) -> Iterator[str]:
    """Compile the pattern or time zone of a call, and say what is to stand in its place.

    Yields what is wrong with it.
    """
    if call.name == "get" and call.subject and [token.kind for token in call.last] == ["text"]:
        # The same in CEL's own words, which spares a way through Python.
        key = call.last[0].text
        of = _flattened(call)
        pieces.append((call.start, call.end, f'({key} in {of} ? {of}[{key}] : "")'))
    if call.name not in PATTERNS | ZONES or not call.last:
        return
    many = call.name == "words"
    written = _value(call.last, source, many)
    if written is None:
        kind = "text in quotes, or a list of them" if many else "text in quotes"
        yield f"calls `{call.name}`, whose last value must be {kind}"
    elif call.name in ZONES:
        try:
            zone(written[0])
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield f"names the time zone {shown(written[0])}, which there is not"
    else:
        try:
            pattern = _pattern(call.name, written)
        except BadPattern as error:
            what = shown(written[0]) if len(written) == 1 else "a list"
            yield f"calls `{call.name}` with {what}, which {_said(error)}"
            return
        pieces += _placed(call, pattern, patterns)


def _flattened(call: Call) -> str:
    """The subject of a call as it stands when the expression runs."""
    names = [token.text for token in call.subject]
    if names[0] in FIELDS and len(names) > 2:
        return "".join((flat(names[0], names[2]), *names[3:]))
    return call.of


def _placed(call: Call, pattern: Pattern, patterns: list[Sought]) -> Iterator[Piece]:
    """The call with the pattern's number in the pattern's place."""
    words = call.name == "words"
    subject: Subject | None = None
    if call.of == "message.text":
        subject = "folded" if words else "text"
    elif call.of == "user.id" and not words:
        subject = "user"
    placed = sought(subject, pattern)
    patterns.append(placed)
    if subject is not None:
        yield call.start, call.end, f"troupe_in_{subject}({placed.number})"
    else:
        yield *spanned((call.at,)), "troupe_words_in" if words else "troupe_in"
        yield *spanned(call.last), str(placed.number)


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


def _keywords(source: str, calls: Sequence[Call]) -> tuple[str, ...]:
    """The words that a call looks for in the message, where the expression is that call alone."""
    for call in calls[:1]:
        alone = not source[: call.start].strip() and not source[call.end :].strip()
        if alone and call.name == "words" and call.of == "message.text":
            return tuple(_value(call.last, source, many=True) or ())
    return ()


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
    library = Library(made.patterns)
    for sample in _SAMPLES:
        try:
            value = made.match(Facts(sample, library)) is not None
        except Failed as error:
            if str(error) == _UNFIT or str(error).startswith("gives "):
                raise BadExpression([str(error)]) from None
            if not looks:
                raise BadExpression([f"never has an answer: {error}"]) from None
            continue
        if not looks:
            made.constant = value


def _failure(error: BaseException) -> BaseException:
    """Why a rule has no answer. What ends a program is no reason and comes back as it was."""
    if isinstance(error, KeyError):
        return Failed(f"there is no {shown(str(error.args[0]))} in it")
    if isinstance(error, TypeError):
        return Failed(_UNFIT)
    if isinstance(error, ZeroDivisionError):
        return Failed("divides by zero")
    if isinstance(error, Exception):
        return Failed(_said_by(error))
    return _panic(error, Failed("the engine gave up on it"))


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
