"""The OpenAI API, and every server that speaks it: Ollama, vLLM, a proxy.

The SDK writes the template (`agents.sdk`): address, bearer key, organization and project, the
headers that `OPENAI_CUSTOM_HEADERS` adds. Bodies and streams are ours (`agents.wire_openai`): the
SDK needs 10 ms of CPU to read forty tokens, and its connection pool does not carry hundreds of
streams. The tests hold both against the SDK: its own body for the same conversation, its own
reading of the same stream.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx2
import openai

from agents.assembly import assemble
from agents.embedding import HttpEmbedder, assemble_embedder
from agents.sdk import MODEL, Template, caught, template_of
from agents.spec import AgentSpec, EmbedderSpec
from agents.streaming import StreamingAgent, Wire
from agents.translate import Translator
from agents.wire_openai import ChatWire, ResponsesWire
from agents.wire_openai_embeddings import OpenAIEmbeddings
from contracts.errors import InvalidRequest

APIS = ("chat", "responses")
_NO_EVENTS = b"data: [DONE]\n\n"
_NO_VECTORS = b'{"data":[{"embedding":"","index":0}]}'


def build(spec: AgentSpec) -> StreamingAgent:
    """An agent on chat completions, or on responses with `api="responses"`.

    Raises:
        InvalidRequest: `api` is neither, or there is no key.
    """
    api = spec.api or "chat"
    if api not in APIS:
        why = f"Agent '{spec.name}': api is one of {', '.join(APIS)}, not {api!r}."
        raise InvalidRequest(why, param="api")

    def wire(template: Template, errors: Translator) -> Wire:
        if api == "responses":
            return ResponsesWire(template, errors, spec.max_event_bytes)
        host = urlsplit(template.url).hostname or ""
        own = host == "openai.com" or host.endswith(".openai.com")
        return ChatWire(template, errors, spec.max_event_bytes, own=own)

    return assemble(
        spec, api=api, template=lambda key: _template(key, spec.base_url, api), wire=wire
    )


def build_embedder(spec: EmbedderSpec) -> HttpEmbedder:
    """An embedder on `POST /embeddings`.

    Raises:
        InvalidRequest: there is no key.
    """
    return assemble_embedder(
        spec,
        template=lambda key: _template(key, spec.base_url, "embeddings"),
        wire=lambda template: OpenAIEmbeddings(template, spec),
    )


def _template(api_key: str, base_url: str | None, api: str) -> Template:
    def ask(http: httpx2.Client) -> None:
        client = openai.OpenAI(api_key=api_key, base_url=base_url, http_client=http, max_retries=0)
        if api == "embeddings":
            client.embeddings.create(model=MODEL, input=["x"])
        elif api == "responses":
            list(client.responses.create(model=MODEL, input="", stream=True))
        else:
            list(client.chat.completions.create(model=MODEL, messages=[], stream=True))

    return template_of(caught(ask, reply=_NO_VECTORS if api == "embeddings" else _NO_EVENTS))
