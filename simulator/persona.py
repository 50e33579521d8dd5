"""What an unscripted reply says: friendly, varied, and about what was said before.

The same messages and the same seed give the same words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from simulator import memo, recall, skills, sorter, stock
from simulator.asks import Turn

ABOUT = (
    "I'm a **simulated assistant**: no model, no key, no cost, just a friendly stand-in that "
    "streams like a real one. I know only what you tell me in this conversation, but that I do "
    "remember. Try me:\n\n"
    "- *My name is …* and later *What is my name?*\n"
    "- *I like …*, *remember that …*, *what do you know about me?*\n"
    "- *What did I say first?* or *Summarize our conversation*\n"
    "- *Count to 20*, *what is 12 * 7?*, *list 5 animals*\n"
    "- *Write a python function for fibonacci*, *a poem about rain*, *tell me a long story*\n\n"
    "Give this agent a provider's key, and a real model will answer in my place."
)
QUIET = "I'm listening. 🙂 Say something, and I'll do my best to answer."

_PIECE = re.compile(r"\s*\S{1,12}|\s+$")
_ABOUT = re.compile(
    r"\b(?:who|what) are you\b|\bwhat can you do\b|\byour name\b|\bhelp me\?*$|^help\b|"
    r"\bare you (?:a |an )?(?:real|bot|robot|ai|human|model|simulat)",
)
_PROMPT = re.compile(r"\byour (?:system )?(?:instructions|prompt)\b|\bhow were you told\b")
_TALK = (
    (
        re.compile(r"^(?:hi|hello|hey|good (?:morning|evening|day|afternoon))\b"),
        stock.GREETINGS,
    ),
    (re.compile(r"\b(?:thanks|thank you|thx|cheers)\b"), stock.THANKS),
    (re.compile(r"\b(?:bye|goodbye|see you|good night)\b"), stock.FAREWELLS),
    (
        re.compile(r"\bhow are you\b|\bhow do you do\b|\bhow's it going\b"),
        stock.FEELINGS,
    ),
)
_DULL_WORDS = """
    about again also been being could does doing from have into just know like make many more
    much need please really should some tell than that their them then there these they thing
    things think this those want were what when where which while will with would your you're
    explain write give show what's how's can't don't
"""
_DULL = frozenset(_DULL_WORDS.split())


def reply(turns: Sequence[Turn], seed: int) -> str:
    """Answer the last user message of a conversation. Never empty.

    Args:
        turns: All of it, oldest first.
        seed: Chooses among words that say the same.
    """
    if (summary := memo.memo(turns)) is not None:
        return summary
    if (chosen := sorter.choice(turns)) is not None:
        return chosen
    told = [Turn("user", line) for turn in turns for line in memo.heard(turn)]
    turns = [*told, *turns]
    turns = [Turn(turn.speaker, turn.text[: recall.LOOK_AT_CHARACTERS]) for turn in turns]
    said = recall.said_by_user(turns)
    if not said or not said[-1].strip():
        return QUIET
    last = said[-1]
    random = Random(f"{seed}/{len(turns)}/{last}")
    before = recall.facts_in(said[:-1])
    facts = recall.facts_in([last], before)
    noted = _noted(before, facts, random)
    answer = recall.answer(last, turns, before) or _about(last, turns)
    # "Remember that the code is 4711" is not a wish for code.
    if answer is None and facts.notes == before.notes:
        answer = skills.answer(last, random, facts.name)
    if answer is not None:
        return f"{noted}\n\n{answer}" if noted else answer
    talk = _small_talk(last, random, facts, greeted=bool(noted), first=len(said) == 1)
    if noted:
        return f"{noted} {talk or random.choice(stock.FOLLOW_UPS)}"
    return talk or _musing(said, facts, random)


def _about(last: str, turns: Sequence[Turn]) -> str | None:
    low = last.lower()
    if _PROMPT.search(low):
        orders = " ".join(turn.text for turn in turns if turn.speaker == "system").strip()
        if orders:
            return f"I was told:\n\n> {orders[:1000]}"
        return "Nobody gave me any instructions. I make it up as I go along."
    return ABOUT if _ABOUT.search(low) else None


def _noted(before: recall.Facts, facts: recall.Facts, random: Random) -> str:
    """A word about what the last message added to what is known, or nothing."""
    if facts.name and facts.name != before.name:
        if before.name:
            return f"**{facts.name}** then, no longer {before.name}. I'll remember!"
        return f"Nice to meet you, **{facts.name}**! 👋"
    if facts == before:
        return ""
    new = [line for line in facts.lines() if line not in before.lines()]
    word = random.choice(stock.NOTED).format(name=_called(facts, random))
    return f"{word} {new[-1]}." if new else word


def _called(facts: recall.Facts, random: Random) -> str:
    return f", {facts.name}" if facts.name and random.random() < 0.7 else ""


def _small_talk(
    last: str, random: Random, facts: recall.Facts, *, greeted: bool, first: bool
) -> str | None:
    low = last.lower().strip()[:200]
    for pattern, phrases in _TALK:
        if pattern.search(low):
            if phrases is stock.GREETINGS and greeted:
                return random.choice(stock.FOLLOW_UPS)
            words = random.choice(phrases).format(name=_called(facts, random))
            if phrases is stock.GREETINGS and first:
                words += " (Say *help* to see what I can do.)"
            return words
    return None


def _musing(said: Sequence[str], facts: recall.Facts, random: Random) -> str:
    last = said[-1]
    topic = _topic(last)
    short = re.sub(r"\s+", " ", last).strip()
    short = short if len(short) <= 80 else f"{short[:80]}…"
    phrases = stock.MUSINGS if topic else stock.MUSINGS[-1:]
    opening = random.choice(phrases).format(topic=topic, said=short, name=_called(facts, random))
    parts = [opening, random.choice(stock.BODIES)]
    link = _link(said, facts, topic, random)
    if link:
        parts.append(link)
    parts.append(random.choice(stock.CLOSINGS))
    return "\n\n".join(parts)


def _topic(text: str) -> str:
    words = re.findall(r"[^\W\d_][\w'-]{3,}", text)
    telling = [word for word in words if word.lower() not in _DULL]
    return max(telling, key=len, default="")[:40]


def _link(said: Sequence[str], facts: recall.Facts, topic: str, random: Random) -> str:
    """A thread back to something earlier, so that one can see that it was not forgotten."""
    for message in reversed(said[:-1]):
        if topic and topic.lower() in message.lower():
            return f"You brought up {topic} before, too: *\u201c{message.strip()[:120]}\u201d*"
    if facts.likes and random.random() < 0.6:
        return f"And since you like **{random.choice(facts.likes)}**, you may see it differently."
    if len(said) > 2 and random.random() < 0.5:
        return f"We've come a long way since you opened with *\u201c{said[0].strip()[:120]}\u201d*."
    return ""


def pieces(text: str) -> list[str]:
    """Cut a text into token-like pieces that give it back when joined."""
    return _PIECE.findall(text)
