"""The window of a conversation that a model is shown: as much of its end as the budget takes.

Pure. A window is the conversation's end, from some message on, without holes; only if what was
said since the last question does not fit whole, that question stands before what does. System and
developer messages before everything else are standing orders rather than history; they stay in
front as long as they leave room for the question.

Where what is left out was summed up before, the summary stands in its place: after the standing
orders, before the history that it does not cover.
"""

from __future__ import annotations

from collections.abc import Sequence

from context.tokens import MESSAGE_OVERHEAD, at_most, estimate
from contracts.memory import Summary
from contracts.messages import Message

_REPLY = 3
"""Tokens with which every provider opens the reply."""

SUMMED_UP = "Summary of the conversation so far, of which the newest messages follow:\n\n"
"""What stands before a summary."""


def cost(message: Message) -> int:
    """Estimated tokens of one message, marks around it included."""
    return estimate(message.text) + MESSAGE_OVERHEAD


def window(
    messages: Sequence[Message],
    budget_tokens: int,
    instructions: str | None = None,
    summary: Summary | None = None,
) -> list[Message]:
    """The messages to send, in order, within the budget by estimate.

    The last user message (the last message, if there is none) is always among them, even if it
    alone is over the budget: the provider then says so itself. A conversation that fits is sent
    as it is; one that was cut does not begin with an assistant's message if there is a user's in
    it, since that would be an answer without its question.

    Args:
        messages: The conversation, oldest first.
        budget_tokens: What instructions and messages may cost together.
        instructions: Sent beside the messages, and counted.
        summary: Of the conversation's beginning. It is used where not all of the conversation is
            sent, in place of the messages that it covers, as a developer's message.
    """
    room = budget_tokens - _REPLY
    if instructions:
        room -= at_most(len(instructions)) + MESSAGE_OVERHEAD
    # What the store did not load is not sent either.
    whole = summary is None or not messages or messages[0].position == 1
    bound = sum(at_most(len(message.text)) + MESSAGE_OVERHEAD for message in messages)
    if whole and bound <= room:
        # Everything fits whatever its characters are, and nothing needs measuring.
        return list(messages)
    if instructions:
        room += at_most(len(instructions)) - estimate(instructions)
    if summary is not None and not (whole and sum(map(cost, messages)) <= room):
        note = Message("", summary.covers_to, "developer", SUMMED_UP + summary.text, 0.0)
        if shown := _cut(messages, room, note):
            return shown
    return _cut(messages, room)


def _cut(messages: Sequence[Message], room: int, note: Message | None = None) -> list[Message]:
    """The window; with a note, none if that does not fit in."""
    orders = standing_orders(messages)
    history = messages[orders:]
    asked = _last_question(history)
    if note is not None:
        # Only what the note covers goes, and never the question.
        since = [message for message in history[:asked] if message.position > note.position]
        asked, history = len(since), [*since, *history[asked:]]
    if history:
        room -= cost(history[asked])
    kept_orders: list[Message] = []
    for order in messages[:orders]:
        price = cost(order)
        if price <= room:
            kept_orders.append(order)
            room -= price
    if note is not None:
        if cost(note) > room:
            return []
        room -= cost(note)
        kept_orders.append(note)
    kept: list[Message] = []
    for index in range(len(history) - 1, -1, -1):
        message = history[index]
        if index == asked:
            kept.append(message)
            continue
        price = cost(message)
        if price > room:
            if index > asked:
                # What was said since the question does not fit whole; the question must.
                kept.append(history[asked])
            break
        room -= price
        kept.append(message)
    kept.reverse()
    if note is None and len(kept_orders) + len(kept) == len(messages):
        return list(messages)
    return _begun_right(kept_orders + kept)


def _begun_right(messages: list[Message]) -> list[Message]:
    """Without the assistant's messages before the first user message, if there is one."""
    roles = [message.role for message in messages]
    first = roles.index("user") if "user" in roles else 0
    return [m for m in messages[:first] if m.role != "assistant"] + messages[first:]


def standing_orders(messages: Sequence[Message]) -> int:
    """How many messages of the beginning are orders rather than history."""
    count = 0
    for message in messages[:-1]:
        if message.role not in ("system", "developer"):
            break
        count += 1
    return count


def _last_question(messages: Sequence[Message]) -> int:
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "user":
            return index
    return len(messages) - 1
