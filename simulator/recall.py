"""What the persona remembers: facts that a person stated, and answers to questions about them.

It remembers nothing by itself. All it knows was in the messages of this very request, so its
answers prove which history it was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from simulator.asks import Turn

LOOK_AT_CHARACTERS = 2_000
"""Of each message: the persona hears people out, but not for megabytes."""
LOOK_AT_MESSAGES = 200
SHOWN_MESSAGES = 12

_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
_CLAUSE = re.compile(
    r"(?:,|\band\b|\bbut\b)\s+(?=(?:i|i'm|i've|my|please|can|could|what|how|tell|remember)\b)",
    re.IGNORECASE,
)
_NAME = re.compile(
    r"(?i:\bmy name is|\bmy name's|\bcall me|\bi am called|\bi'm called)\s+"
    r"([^\W\d_][\w'-]*(?: [A-Z][\w'-]+){0,2})"
)
_SELF = re.compile(
    r"(?i:^(?:(?:hi|hello|hey)(?: there)?[\s,!.]+)?(?:i am|i'm|it's|this is)) ([A-Z]\w+)[.!]*$"
)
_MINE = re.compile(
    r"\bmy ((?:[\w'-]+ ){0,3}?[\w'-]+) (?:is|are|was) (?:called |named )?(.+)",
    re.IGNORECASE,
)
_TASTE = re.compile(
    r"\bi (?:really |also |absolutely |do )*"
    r"(like|love|enjoy|adore|hate|dislike|don't like|do not like|can't stand) (.+)",
    re.IGNORECASE,
)
_LIFE = re.compile(
    r"\bi (live in|work as|work at|work for|study|come from|have|own|play) (.+)",
    re.IGNORECASE,
)
_FROM = re.compile(r"\b(?:i'm|i am) from (.+)", re.IGNORECASE)
_AGE = re.compile(r"\b(?:i'm|i am) (\d{1,3})(?: years old)?\s*[.!]*$", re.IGNORECASE)
_NOTE = re.compile(
    r"(?<!you )(?<!i )\bremember(?: that| this)?[:,]?\s+(.{2,200})",
    re.IGNORECASE | re.DOTALL,
)
_AMERICAN = re.compile(r"\b(colo|favo|flavo|neighbo)r")
_DISLIKED = ("hate", "dislike", "don't like", "do not like", "can't stand")


@dataclass(slots=True)
class Facts:
    """What was stated; a later statement replaces an earlier one about the same thing."""

    name: str | None = None
    mine: dict[str, str] = field(default_factory=dict[str, str])
    """`favourite colour` -> `blue`"""
    life: dict[str, str] = field(default_factory=dict[str, str])
    """`live in` -> `Porto`"""
    likes: list[str] = field(default_factory=list[str])
    dislikes: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])

    def lines(self) -> list[str]:
        """Everything, each as one line of markdown in the second person."""
        lines = [f"Your name is **{self.name}**"] if self.name else []
        lines += [f"Your {thing} is **{value}**" for thing, value in self.mine.items()]
        lines += [f"You {what} **{value}**" for what, value in self.life.items()]
        lines += [f"You like **{thing}**" for thing in self.likes]
        lines += [f"You don't like **{thing}**" for thing in self.dislikes]
        return lines + [f"You asked me to remember: *{note}*" for note in self.notes]


def said_by_user(turns: Sequence[Turn]) -> list[str]:
    """The user's messages, oldest first."""
    return [turn.text for turn in turns if turn.speaker == "user"]


def facts_in(messages: Sequence[str], known: Facts | None = None) -> Facts:
    """What these messages state, on top of what is `known`, which stays as it is."""
    facts = deepcopy(known) if known is not None else Facts()
    for message in messages[-LOOK_AT_MESSAGES:]:
        text = message.replace("\u2019", "'")
        note = _NOTE.search(text)
        if note is not None and not text.rstrip().endswith("?"):
            _add(facts.notes, note[1])
        for clause in _statements(text):
            _take(facts, clause)
    return facts


def _statements(text: str) -> Iterator[str]:
    for sentence in _SENTENCE.findall(text):
        if not sentence.endswith("?"):
            yield from (clause.strip() for clause in _CLAUSE.split(sentence))


def _take(facts: Facts, clause: str) -> None:
    name = _NAME.search(clause) or _SELF.search(clause)
    if name is not None:
        facts.name = name[1][0].upper() + name[1][1:]
        return
    if mine := _MINE.search(clause):
        facts.mine[mine[1].lower()] = _clean(mine[2])
    elif taste := _TASTE.search(clause):
        disliked = taste[1].lower() in _DISLIKED
        _add(facts.dislikes if disliked else facts.likes, taste[2])
    elif life := _LIFE.search(clause):
        facts.life[life[1].lower()] = _clean(life[2])
    elif origin := _FROM.search(clause):
        facts.life["come from"] = _clean(origin[1])
    elif age := _AGE.search(clause):
        facts.mine["age"] = age[1]


def _clean(text: str) -> str:
    return text.strip().rstrip(".!,;").strip()[:120]


def _add(things: list[str], thing: str) -> None:
    thing = _clean(thing)
    if thing and thing not in things:
        things.append(thing)


def answer(question: str, turns: Sequence[Turn], known: Facts) -> str | None:
    """Answer a question about the conversation or the person; None if it is not one.

    Args:
        question: The last user message.
        turns: The whole conversation, oldest first.
        known: What was stated before the question.
    """
    asked = re.sub(r"\s+", " ", question).replace("\u2019", "'").lower()
    earlier = said_by_user(turns)[:-1]
    for pattern, tell in _QUESTIONS:
        found = pattern.search(asked)
        if found is not None:
            return tell(found, earlier, known, turns)
    return None


def _quote(text: str) -> str:
    short = re.sub(r"\s+", " ", text).strip()
    short = short if len(short) <= 300 else f"{short[:300]}…"
    return f"> {short}"


def _tell_name(_: re.Match[str], earlier: Sequence[str], facts: Facts, __: Sequence[Turn]) -> str:
    if facts.name:
        return f"Your name is **{facts.name}**. I was paying attention. 😊"
    return "You haven't told me your name yet. What shall I call you?"


def _tell_first(_: re.Match[str], earlier: Sequence[str], __: Facts, ___: Sequence[Turn]) -> str:
    if not earlier:
        return "This *is* the first thing you've said to me."
    return f"The first thing you said was:\n\n{_quote(earlier[0])}"


def _tell_last(_: re.Match[str], earlier: Sequence[str], __: Facts, ___: Sequence[Turn]) -> str:
    if not earlier:
        return "Nothing before this: your question opened the conversation."
    return f"Just before this you said:\n\n{_quote(earlier[-1])}"


def _tell_mine(_: re.Match[str], __: Sequence[str], ___: Facts, turns: Sequence[Turn]) -> str:
    replies = [turn.text for turn in turns if turn.speaker == "assistant"]
    if not replies:
        return "I haven't said anything yet. This is my first answer."
    return f"My last answer was:\n\n{_quote(replies[-1])}"


def _tell_count(_: re.Match[str], earlier: Sequence[str], __: Facts, ___: Sequence[Turn]) -> str:
    count = len(earlier) + 1
    return f"You've sent me **{count}** message{'s' if count > 1 else ''}, this one included."


def _tell_notes(_: re.Match[str], __: Sequence[str], facts: Facts, ___: Sequence[Turn]) -> str:
    if not facts.notes:
        return "You haven't asked me to remember anything so far."
    return "You asked me to remember:\n\n" + "\n".join(f"- {note}" for note in facts.notes)


def _tell_all(_: re.Match[str], earlier: Sequence[str], facts: Facts, ___: Sequence[Turn]) -> str:
    lines = facts.lines()
    if lines:
        return "Here is what I know about you:\n\n" + "\n".join(f"- {line}" for line in lines)
    if earlier:
        return (
            f"You've told me little about yourself so far. You began with:\n\n{_quote(earlier[0])}"
        )
    return "Nothing yet, we've only just met. Tell me your name, or something you like."


def _tell_recap(_: re.Match[str], earlier: Sequence[str], __: Facts, ___: Sequence[Turn]) -> str:
    if not earlier:
        return "There is nothing to sum up yet: this is where we begin."
    shown = earlier[-SHOWN_MESSAGES:]
    start = len(earlier) - len(shown) + 1
    lines = [f"{n}. {_quote(text)[2:122]}" for n, text in enumerate(shown, start)]
    return f"So far you've said {len(earlier)} things:\n\n" + "\n".join(lines)


def _tell_taste(found: re.Match[str], __: Sequence[str], facts: Facts, ___: Sequence[Turn]) -> str:
    disliked = found[1] in ("hate", "dislike")
    things = facts.dislikes if disliked else facts.likes
    verb = "don't like" if disliked else "like"
    if not things:
        return f"You haven't told me what you {verb}."
    return f"You told me that you {verb} {_and([f'**{thing}**' for thing in things])}."


def _tell_life(found: re.Match[str], __: Sequence[str], facts: Facts, ___: Sequence[Turn]) -> str:
    word = next(group for group in found.groups() if group)
    for what, value in facts.life.items():
        if word.split()[0] in what or (word == "from" and what == "come from"):
            return f"You {what} **{value}**, you told me."
    return "You haven't told me that."


def _tell_thing(found: re.Match[str], __: Sequence[str], facts: Facts, ___: Sequence[Turn]) -> str:
    thing = "age" if found[0].startswith("how old") else found[1].strip()
    sought = _AMERICAN.sub(r"\1ur", thing)
    for known, value in facts.mine.items():
        spelled = _AMERICAN.sub(r"\1ur", known)
        if sought in spelled or spelled in sought:
            return f"Your {known} is **{value}**, as you told me."
    return f"You haven't told me anything about your {thing}."


def _and(things: Sequence[str]) -> str:
    return things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"


_QUESTIONS = [
    (re.compile(pattern), tell)
    for pattern, tell in (
        (
            r"\b(?:what|who|know|remember|say|tell me|guess|forgot).*\bmy name\b",
            _tell_name,
        ),
        (r"\bwho am i\b|\bwhat am i called\b", _tell_name),
        (
            r"\bwhat did i (?:ask|tell) you to remember|\bwhat should you remember",
            _tell_notes,
        ),
        (
            r"\bfirst (?:thing|message|question|words?|sentence)\b.*\?|\bdid i .*\bfirst\b",
            _tell_first,
        ),
        (r"\bmy (?:very )?first (?:message|question|words?)\b", _tell_first),
        (
            r"\b(?:what|how) did you (?:just )?(?:say|answer|tell|reply)|\byour last answer",
            _tell_mine,
        ),
        (r"\bwhat did i (?:just )?(?:say|ask|tell|write)", _tell_last),
        (r"\bmy (?:last|previous) (?:message|question)", _tell_last),
        (r"\bhow many (?:messages|questions|things)\b.*\b(?:i|we)\b", _tell_count),
        (
            r"\b(?:summari[sz]e|recap|sum up)\b.*\b(?:conversation|chat|this|we|far)",
            _tell_recap,
        ),
        (r"\bwhat have (?:i|we) (?:said|talked|discussed|been)", _tell_recap),
        (r"\b(?:what|everything|all) (?:do )?you (?:know|remember)\b", _tell_all),
        (r"\b(?:do you remember me|what have i told you|about me\?)", _tell_all),
        (r"\bwhat do i (like|love|enjoy|hate|dislike)\b", _tell_taste),
        (
            r"\b(?:where|who|what) do i (live|work|study|own|play|have)|\bwhere am i (from)",
            _tell_life,
        ),
        (r"\bwhere do i (come from)", _tell_life),
        (r"\bhow old am i\b", _tell_thing),
        (r"\b(?:what|which|who)(?:'s| is| are| was) my ([\w' -]{2,60})", _tell_thing),
    )
]
