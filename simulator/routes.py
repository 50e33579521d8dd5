"""Which path is whose: from a request to the protocol that answers it, and its key checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

from simulator import embeddings, gemini_wire, openai_chat, openai_responses, openai_wire
from simulator.asks import Refusal, WrongMethod
from simulator.http import Request
from simulator.wire import Wire, dumps

OPENAI: Mapping[str, Wire] = {
    "/v1/chat/completions": openai_chat.WIRE,
    "/v1/responses": openai_responses.WIRE,
    "/v1/embeddings": embeddings.OPENAI,
}
# The SDK joins its base URL and the path as they are, so a double slash is as good as one.
GEMINI = re.compile(r"/+v1(?:beta|alpha)?/models/([^/:]+):(generateContent|streamGenerateContent)")
GEMINI_EMBEDS = re.compile(r"/+v1(?:beta|alpha)?/models/([^/:]+):(embedContent|batchEmbedContents)")
MODELS = re.compile(r"/+v1(beta|alpha)?/models(?:/([^/:]+))?")
NO_PATH: Mapping[str, str] = {}


class Route(NamedTuple):
    """Where a request goes: `method` is the only one allowed; `path` is what the path says."""

    wire: Wire
    method: str
    path: Mapping[str, str]


def route(request: Request, path: str, query: str) -> Route:
    """Find the protocol of a request. Raises `Refusal` (404, 400)."""
    wire = OPENAI.get(path)
    if wire is not None:
        return Route(wire, "POST", NO_PATH)
    gemini = GEMINI.fullmatch(path)
    if gemini is not None:
        if gemini[2] == "streamGenerateContent" and "alt=sse" not in query.split("&"):
            raise Refusal(400, "The simulator streams with ?alt=sse only.")
        said = {"model": unquote(gemini[1]), "verb": gemini[2]}
        return Route(gemini_wire.WIRE, "POST", said)
    embeds = GEMINI_EMBEDS.fullmatch(path)
    if embeds is not None:
        said = {"model": unquote(embeds[1]), "verb": embeds[2]}
        return Route(embeddings.GEMINI, "POST", said)
    if MODELS.fullmatch(path) is not None:
        return Route(speaks(request, path), "GET", NO_PATH)
    raise Refusal(404, f"Invalid URL ({path})")


def speaks(request: Request, path: str) -> Wire:
    """Whose words a request understands where its path does not decide: `/v1/models` is both's."""
    google = path.lstrip("/").startswith(("v1beta", "v1alpha")) or ":" in path
    if google or request.header(b"x-goog-api-key") is not None:
        return gemini_wire.WIRE
    return openai_chat.WIRE


def check(request: Request, wire: Wire, method: str, query: str) -> None:
    """Raise `Refusal` for a wrong method (405) or a missing key (401); any key will do."""
    allowed = (method, "HEAD") if method == "GET" else (method,)
    if request.method not in allowed:
        raise WrongMethod(request.method, *allowed)
    bearer = (request.header(b"authorization") or b"").partition(b" ")
    if bearer[0].lower() == b"bearer" and bearer[2].strip():
        return
    google = request.header(b"x-goog-api-key") or parse_qs(query).get("key")
    if google and wire in (gemini_wire.WIRE, embeddings.GEMINI):
        return
    raise Refusal(401, "You didn't provide an API key. Any key will do for the simulator.")


def models(wire: Wire, path: str) -> bytes:
    """The body of a list of models, or of the one that the path names."""
    found = MODELS.fullmatch(path)
    name = unquote(found[2]) if found is not None and found[2] else None
    if wire is gemini_wire.WIRE:
        shape, key = gemini_wire.model_object, "models"
    else:
        shape, key = openai_wire.model_object, "data"
    if name is not None:
        return dumps(shape(name))
    every = {key: [shape(model) for model in openai_wire.MODELS]}
    return dumps(every if key == "models" else {"object": "list", **every})
