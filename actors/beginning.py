"""How a turn begins: whether it makes sense in this session, what rules see of it, its record.

Nothing here changes the session.
"""

from __future__ import annotations

from actors.desk import Seat
from contracts.commands import InputItem, TurnRequest
from contracts.decisions import Decision, RoutingInput
from contracts.errors import Conflict, InvalidRequest
from contracts.ids import MESSAGE, new_id
from contracts.memory import SessionState
from contracts.messages import Message, ResponseRecord


def replaced_by(asked: TurnRequest, state: SessionState) -> Message | None:
    """The answer that a turn is to replace. Raises if it is not the conversation's last."""
    if asked.regenerate is None:
        return None
    if asked.regenerate != state.last_response_id:
        raise Conflict(
            "Only the last response can be answered anew; fork the conversation to change"
            " an earlier one.",
            param="regenerate",
            code="conversation_advanced",
        )
    if asked.input:
        raise InvalidRequest(
            "To regenerate is to answer the same input: leave `input` out.",
            param="input",
            code="mutually_exclusive_parameters",
        )
    for message in reversed(state.messages):
        if message.response_id == asked.regenerate and message.role == "assistant":
            return message
    return None


def question(asked: TurnRequest, state: SessionState, replaced: Message | None) -> str:
    """The text that rules look at. Raises what is wrong with the request in this session."""
    previous = asked.previous_response_id
    if previous is not None and previous != state.last_response_id:
        raise Conflict(
            "The conversation has gone on since that response.",
            param="previous_response_id",
            code="conversation_advanced",
        )
    if asked.input:
        return asked.input[-1].text
    standing = [message for message in state.messages[-2:] if message is not replaced]
    if not standing or standing[-1].role == "assistant":
        raise Conflict(
            "`input` is empty, and the conversation has nothing that waits for an answer.",
            param="input",
            code="nothing_to_answer",
        )
    return standing[-1].text


def facts(
    asked: TurnRequest, state: SessionState, text: str, now: float, tier: str
) -> RoutingInput:
    """What rules may look at."""
    return RoutingInput(
        text=text,
        metadata={**state.metadata, **asked.metadata},
        user=asked.user or state.user,
        now=now,
        org_id=state.key.org_id,
        org_tier=tier,
        session_id=state.key.session_id,
        turn=state.turns + 1,
        messages=state.position,
        agent=state.agent,
        failures=state.failures,
        background=asked.background,
        regenerate=asked.regenerate is not None,
    )


def record_of(
    asked: TurnRequest,
    state: SessionState,
    seat: Seat,
    decision: Decision,
    replaced: Message | None,
    now: float,
) -> ResponseRecord:
    """The record of a turn that waits to begin."""
    return ResponseRecord(
        id=asked.response_id,
        session_id=state.key.session_id,
        status="queued",
        model=asked.model,
        agent=seat.name,
        created_at=now,
        item_id=new_id(MESSAGE),
        epoch=state.epoch,
        client_id=asked.client_id,
        user=asked.user,
        previous_response_id=asked.previous_response_id,
        instructions=asked.instructions,
        temperature=asked.temperature,
        top_p=asked.top_p,
        max_output_tokens=asked.max_output_tokens,
        background=asked.background,
        metadata=dict(asked.metadata),
        decision=decision.as_dict(),
        replaces=replaced and replaced.id,
    )


def messages_of(
    items: tuple[InputItem, ...], position: int, now: float, response_id: str | None
) -> list[Message]:
    """The messages that these items become after `position`."""
    return [
        Message(new_id(MESSAGE), position + n, item.role, item.text, now, response_id)
        for n, item in enumerate(items, start=1)
    ]


def locked() -> Conflict:
    """A turn is running, and what was asked cannot wait for it."""
    return Conflict(
        "A turn is running in this conversation.", code="conversation_locked", retry_after=1
    )
