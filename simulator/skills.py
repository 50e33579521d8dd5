"""Little things the persona can do on request: count, list, reckon, write code, tell stories.

Each skill looks at the message and answers, or gives None and leaves it to the next one. All
words come from fixed stocks, chosen by the `Random` it is given.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from random import Random

from simulator.stock import (
    ENDINGS,
    HAIKU,
    IDEAS,
    JOKES,
    LISTS,
    OPENINGS,
    PYTHON_BY_TOPIC,
    SNIPPETS,
    TURNS,
    VERSES,
)

COUNT_LIMIT = 200
LIST_LIMIT = 20
NUMBER_LIMIT = 10**15
_FENCE = "```"

_COUNT = re.compile(
    r"\bcount(?: up| down| back(?:wards)?)?(?: for me)?"
    r"(?: from (-?\d{1,4}))?(?: down)? to (-?\d{1,6})\b"
)
_SUM_LEAD = re.compile(
    r"^(?:and |so )?(?:(?:what(?:'s| is)|how much is|calculate|compute|solve)\s+)"
)
_SUM = re.compile(r"[\d\s.+\-*/()]*\d\s*[+\-*/]\s*[\d(][\d\s.+\-*/()]*")
_SUM_WORDS = {
    " plus ": "+",
    " minus ": "-",
    " times ": "*",
    " divided by ": "/",
    " x ": "*",
}
_LIST = re.compile(
    r"\b(?:list|name|give me|suggest|tell me|show me)\b(?: me)?(?: some| a few| (\d{1,3}))? ?"
    r"([a-z' -]{3,60})"
)
_NUMBER_WORDS = {
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "ten": "10",
}
_TOPIC = re.compile(r"\b(?:about|on|of|for) (?:an? |my )?([\w' -]{2,40})")
_CODE = re.compile(r"\b(?:code|function|script|program|snippet|example|query|write|show)\b")
_SAY = re.compile(
    r"^(?:please )?(?:say|repeat|echo)(?: after me)?[:,]? (.{1,2000})$",
    re.IGNORECASE | re.DOTALL,
)
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b,
}


def answer(message: str, random: Random, hero: str | None) -> str | None:
    """What the first skill that feels meant makes of `message`.

    Args:
        message: The user's, as written.
        random: Chooses among the stock.
        hero: Who a story is about where the message names nobody.
    """
    text = re.sub(r"\s+", " ", message).strip()
    echo = _SAY.match(text)
    if echo is not None:
        return echo[1].strip().strip("\"'")
    low = text.lower()
    for word, digit in _NUMBER_WORDS.items():
        low = re.sub(rf"\b{word}\b", digit, low)
    for skill in (_count, _reckon, _code, _table):
        said = skill(low)
        if said is not None:
            return said
    return _write(low, random, hero) or _list(low, random)


def _count(low: str) -> str | None:
    found = _COUNT.search(low)
    if found is None:
        return None
    start, end = int(found[1] or 1), int(found[2])
    if "back" in low or "down" in low:
        start, end = max(start, end), min(start, end)
    step = 1 if end >= start else -1
    numbers = list(range(start, end + step, step))
    shown = ", ".join(map(str, numbers[:COUNT_LIMIT]))
    if len(numbers) > COUNT_LIMIT:
        return f"{shown} … and so on to {end}. I'll spare us the rest!"
    return f"{shown}. Done!"


def _reckon(low: str) -> str | None:
    text = _SUM_LEAD.sub("", low).rstrip("?=. !").replace("\u00d7", "*").replace("\u00f7", "/")
    for word, sign in _SUM_WORDS.items():
        text = text.replace(word, sign)
    if len(text) > 60 or _SUM.fullmatch(text) is None:
        return None
    try:
        value = _value(ast.parse(text.strip(), mode="eval").body)
    except ZeroDivisionError:
        return "Dividing by zero is where even I draw the line. 🙂"
    except (SyntaxError, ValueError, OverflowError):
        return None
    shown = f"{value:,.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"
    return f"{re.sub(r' +', ' ', text).strip()} = **{shown}**"


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        value = _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = -_value(node.operand)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        value = node.value
    else:
        raise ValueError("no such arithmetic here")
    if abs(value) > NUMBER_LIMIT:
        raise ValueError("too large")
    return value


def _code(low: str) -> str | None:
    if _CODE.search(low) is None:
        return None
    named = [name for name in SNIPPETS if re.search(rf"\b{re.escape(name)}\b", low)]
    topic = next((topic for topic in PYTHON_BY_TOPIC if topic in low), None)
    if not named and topic is None and not re.search(r"\b(?:code|function|snippet)\b", low):
        return None
    language = named[0] if named else "python"
    if language == "python" and topic is not None:
        body = PYTHON_BY_TOPIC[topic]
    else:
        body = SNIPPETS[language]
    return (
        f"Here is a small piece of {language}:\n\n{_FENCE}{language}\n{body}\n{_FENCE}\n\n"
        "Shall I explain it line by line?"
    )


def _table(low: str) -> str | None:
    if not re.search(r"\btable\b", low):
        return None
    if re.search(r"\b(?:multiplication|times)\b", low):
        size = range(1, 6)
        head = "| \u00d7 | " + " | ".join(f"**{n}**" for n in size) + " |"
        rows = [f"| **{a}** | " + " | ".join(str(a * b) for b in size) + " |" for a in size]
        return "\n".join([head, "|---" * 6 + "|", *rows])
    return (
        "| Planet | Moons | A word for it |\n|---|---|---|\n| Mercury | 0 | swift |\n"
        "| Earth | 1 | home |\n| Mars | 2 | rusty |\n| Neptune | 16 | far |\n\n"
        "A small table. Tell me what the next one should compare."
    )


def _write(low: str, random: Random, hero: str | None) -> str | None:
    found = _TOPIC.search(low)
    topic = found[1].strip() if found is not None else None
    if re.search(r"\bhaiku\b", low):
        return _verse(random.choice(HAIKU), topic or "this quiet moment")
    if re.search(r"\b(?:poem|verse|rhyme|song|limerick)\b", low):
        verses = random.sample(VERSES, 3)
        return "\n\n".join(_verse(verse, topic or "small things") for verse in verses)
    if re.search(r"\b(?:joke|funny|make me laugh)\b", low):
        return random.choice(JOKES)
    if re.search(r"\b(?:story|tale|something long|long text|long answer)\b", low):
        middle = random.sample(TURNS, 5 if "long" in low else 3)
        parts = [random.choice(OPENINGS), *middle, random.choice(ENDINGS)]
        name, what = hero or "Mira", topic or "a lantern that would not go out"
        return "\n\n".join(part.format(hero=name, topic=what) for part in parts)
    return None


def _verse(verse: str, topic: str) -> str:
    return "  \n".join(f"*{line}*" for line in verse.format(topic=topic).splitlines())


def _list(low: str, random: Random) -> str | None:
    found = _LIST.search(low)
    if found is None:
        return None
    what = found[2].strip()
    stock = next((items for key, items in LISTS.items() if key in what), None)
    if stock is None and not re.search(r"\b(?:ideas?|ways?|tips?|things?|reasons?)\b", what):
        return None
    wanted = min(int(found[1] or 5), LIST_LIMIT)
    items = stock if stock is not None else IDEAS
    chosen = random.sample(items, min(wanted, len(items)))
    lines = "\n".join(f"{n}. {item}" for n, item in enumerate(chosen, 1))
    short = "" if len(chosen) == wanted else f"\n\n(That is all {len(chosen)} I know!)"
    return f"With pleasure:\n\n{lines}{short}"
