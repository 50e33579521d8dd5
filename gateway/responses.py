"""The Responses API: a turn asked for, read, resumed, ended.

A turn belongs to its session, not to the request that asked for it. Whoever leaves may come back
for the rest; only `cancel` ends it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from typing import Annotated, TypeVar

from fastapi import APIRouter, Header, Path, Query
from starlette.responses import Response

from contracts.commands import Accepted, SessionKey, TurnRequest
from contracts.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    TroupeError,
    Unavailable,
)
from contracts.ids import MESSAGE, RESPONSE, SESSION, new_id
from contracts.messages import ENDED, ResponseRecord
from gateway.answers import ItemList, ResponseObject
from gateway.call import Call, Caller, StrictRoute, answer, naming, well_formed
from gateway.document import FAILURES, ok, ok_or_stream
from gateway.fields import limited
from gateway.follow import Follower
from gateway.lists import item_page, page_of
from gateway.presence import while_present
from gateway.projection import Projector, response_object, sse_error
from gateway.requests import CreateResponse, ListQuery, RetrieveQuery
from gateway.sse import KEEP_ALIVE, EventStream, or_quiet
from gateway.turns import IDEMPOTENCY_KEY, require_agent, turn_from_response

T = TypeVar("T")
router = APIRouter(route_class=StrictRoute, tags=["Responses"], responses=FAILURES)

_LOOK_S = 1.0
"""How long a look at a response waits for its session; the store's word is the next best."""

ResponseId = Annotated[str, Path(description="As in a response's `id`.")]


@router.post("/v1/responses", operation_id="createResponse", responses=ok_or_stream(ResponseObject))
async def create(
    call: Caller,
    body: CreateResponse,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias=IDEMPOTENCY_KEY,
            pattern="^[ -~]+$",
            description="Of two requests with one key in one conversation, the second gets 409.",
            json_schema_extra=limited(maxLength="id_chars"),
        ),
    ] = None,
) -> Response:
    """Say something to an agent and get its answer, whole or as it comes.

    Without `conversation` and `previous_response_id` a new conversation begins. A failure of the
    agent's provider is a response whose `status` is `failed`: what was said stays said.
    """
    limits = call.services.options.limits
    turn = turn_from_response(limits, body, idempotency_key)
    require_agent(call.services, turn.model)
    if body.stream:
        call.services.drain.admit()
    if body.background and not body.stream:
        accepted = await _begin(call, body, turn, call.services.link.submit)
        return answer(response_object(await _accepted(call, accepted, turn)))
    accepted, reader = await _begin(call, body, turn, call.services.link.start)
    follower = Follower(reader, turn.response_id)
    if body.stream:
        try:
            record = await _accepted(call, accepted, turn)
        except BaseException:
            follower.close()
            raise
        return _stream(call, follower, record, -1)
    try:
        record = await while_present(call.request.receive, follower.ended(), name="wait")
    finally:
        follower.close()
    return answer(response_object(record))


@router.get(
    "/v1/responses/{response_id}",
    operation_id="retrieveResponse",
    responses=ok_or_stream(ResponseObject),
)
async def retrieve(
    call: Caller,
    response_id: ResponseId,
    query: Annotated[RetrieveQuery, Query()],
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            pattern="^[0-9]{1,9}$",
            description="As `starting_after`; what a browser's EventSource sends.",
        ),
    ] = None,
) -> Response:
    """A response as it is now, or the stream of its events from a place on."""
    record = await _record(call, response_id)
    if not query.stream:
        return answer(response_object(await _live(call, record)))
    call.services.drain.admit()
    after = query.starting_after
    if after is None:
        after = -1 if last_event_id is None else int(last_event_id)
    key = SessionKey(call.principal.org_id, record.session_id)
    reader = await call.services.link.attach(key, response_id=record.id, number=after)
    return _stream(call, Follower(reader, record.id), record, after)


@router.post(
    "/v1/responses/{response_id}/cancel",
    operation_id="cancelResponse",
    responses=ok(ResponseObject),
)
async def cancel(call: Caller, response_id: ResponseId) -> Response:
    """End a response that is queued or running; one that has ended stays as it is."""
    record = await _record(call, response_id)
    if record.status not in ENDED:
        key = SessionKey(call.principal.org_id, record.session_id)
        try:
            record = await call.services.link.cancel(key, record.id)
        except NotFound:  # it ended meanwhile
            record = await _record(call, response_id)
    return answer(response_object(record))


@router.get(
    "/v1/responses/{response_id}/input_items",
    operation_id="listInputItems",
    responses=ok(ItemList),
)
async def input_items(
    call: Caller, response_id: ResponseId, query: Annotated[ListQuery, Query()]
) -> Response:
    """What was said to get this response."""
    page = page_of(query, call.services.options.limits, MESSAGE)
    response_id = well_formed(response_id, RESPONSE, "response_id")
    with naming("response_id"):
        rows, more = await call.services.records.input_items(
            call.principal.org_id,
            response_id,
            after=page.after,
            limit=page.limit,
            ascending=page.ascending,
        )
    return answer(item_page(rows, more))


# -- which session ----------------------------------------------------------------------------


async def _session_for(call: Call, body: CreateResponse) -> SessionKey:
    """The conversation a turn belongs to, made if there is none. Raises `NotFound`."""
    if body.conversation is not None and body.previous_response_id is not None:
        raise InvalidRequest(
            "Give `conversation` or `previous_response_id`, not both.",
            param="previous_response_id",
            code="mutually_exclusive_parameters",
        )
    if body.regenerate is not None and body.previous_response_id is not None:
        raise InvalidRequest(
            "Give `regenerate` or `previous_response_id`, not both.",
            param="regenerate",
            code="mutually_exclusive_parameters",
        )
    if body.conversation is not None:
        given = body.conversation
        return call.key(given if isinstance(given, str) else given.id, "conversation")
    if body.previous_response_id is not None:
        previous = well_formed(body.previous_response_id, RESPONSE, "previous_response_id")
        return await call.services.records.continuation(call.principal.org_id, previous)
    if body.regenerate is not None:
        regenerated = well_formed(body.regenerate, RESPONSE, "regenerate")
        record = await call.services.records.response(call.principal.org_id, regenerated)
        return SessionKey(call.principal.org_id, record.session_id)
    if not body.input:
        raise InvalidRequest(
            "`input` is empty, and a new conversation has nothing that waits for an answer.",
            param="input",
            code="nothing_to_answer",
        )
    key = SessionKey(call.principal.org_id, new_id(SESSION))
    await call.services.records.create_session(key, user=None, metadata={}, items=())
    return key


async def _begin(
    call: Call,
    body: CreateResponse,
    turn: TurnRequest,
    begin: Callable[[SessionKey, TurnRequest], Awaitable[T]],
) -> T:
    """Begin the turn in the session it belongs to."""
    with _naming_the_place(body):
        try:
            return await _begin_once(call, body, turn, begin)
        except Conflict as error:
            if error.cause_code != "conversation_advanced" or body.regenerate is not None:
                raise
        # Somebody else went on first: this one goes its own way from that response.
        return await _begin_once(call, body, turn, begin)


async def _begin_once(
    call: Call,
    body: CreateResponse,
    turn: TurnRequest,
    begin: Callable[[SessionKey, TurnRequest], Awaitable[T]],
) -> T:
    key = await _session_for(call, body)
    try:
        return await begin(key, turn)
    except Unavailable:
        if _has_no_place(body):
            # Nobody was told of the session. If the turn was taken after all, it is left alone.
            with suppress(Unavailable):
                await call.services.records.discard_unused(key)
        raise


async def _accepted(call: Call, accepted: Accepted | None, turn: TurnRequest) -> ResponseRecord:
    """The response of a turn that was accepted, by whichever try."""
    if accepted is not None:
        return accepted.record
    return await call.services.records.response(call.principal.org_id, turn.response_id)


@contextmanager
def _naming_the_place(body: CreateResponse) -> Generator[None, None, None]:
    field = "previous_response_id"
    if body.conversation is not None:
        field = "conversation"
    elif body.regenerate is not None:
        field = "regenerate"
    with naming(field):
        try:
            yield
        except Conflict as error:
            if error.cause_code == "duplicate_id":
                error.param = IDEMPOTENCY_KEY
            error.param = error.param or field
            raise


def _has_no_place(body: CreateResponse) -> bool:
    """Whether a conversation is made for it."""
    return (body.conversation, body.previous_response_id, body.regenerate) == (None, None, None)


# -- reading ----------------------------------------------------------------------------------


async def _record(call: Call, response_id: str) -> ResponseRecord:
    response_id = well_formed(response_id, RESPONSE, "response_id")
    with naming("response_id"):
        return await call.services.records.response(call.principal.org_id, response_id)


async def _live(call: Call, record: ResponseRecord) -> ResponseRecord:
    """What the store cannot know of a turn that has not ended: ask its session.

    This also wakes a session whose host died, which then settles what that host left behind.
    """
    if record.status in ENDED:
        return record
    link = call.services.link
    key = SessionKey(call.principal.org_id, record.session_id)
    try:
        reader = await link.attach(key, response_id=record.id, within_s=_LOOK_S)
    except Unavailable:
        return record
    except NotFound:  # it ended between the two questions
        return await _record(call, record.id)
    reader.close()
    for _, event in reader.take():
        if event.kind in ("started", "ended") and event.response_id == record.id:
            record = event.data
    return record


def _stream(call: Call, follower: Follower, record: ResponseRecord, after: int) -> Response:
    options = call.services.options
    chunks = _events(follower, record, after, options.keepalive_s, call.request_id)
    drain = call.services.drain
    drain.enter(follower)

    def release() -> None:
        drain.exit(follower)
        follower.close()

    return EventStream(chunks, send_timeout_s=options.send_timeout_s, release=release)


async def _events(
    follower: Follower, record: ResponseRecord, after: int, keepalive_s: float, request_id: str
) -> AsyncGenerator[bytes, None]:
    projector = Projector(record, after)
    try:
        while True:
            events = await or_quiet(follower.next(), keepalive_s)
            if events is None:
                yield KEEP_ALIVE
                continue
            chunk = projector.encode(events)
            if chunk:
                yield chunk
            if events[-1].kind == "ended":
                return
    except TroupeError as error:
        yield sse_error(error, request_id, projector.last)
