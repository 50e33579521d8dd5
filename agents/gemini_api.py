"""The Gemini API (Google AI Studio's: a key, no project).

The SDK writes the template (`agents.sdk`): address, API version, key and client headers. Bodies
and streams are ours (`agents.wire_gemini`), and so is the transport, for three more reasons than
its cost: wherever aiohttp can be imported the SDK silently changes to a transport with other
timeouts and a hidden retry that sleeps for seconds; its default pool makes stream 101 wait without
a limit; and its parser takes a comment line for a broken stream. The tests hold our bodies and
readings against the SDK's.
"""

from __future__ import annotations

import httpx2
from google import genai
from google.genai import types

from agents.assembly import assemble
from agents.embedding import HttpEmbedder, assemble_embedder
from agents.sdk import MODEL, Template, caught, template_of
from agents.spec import AgentSpec, EmbedderSpec
from agents.streaming import StreamingAgent
from agents.wire_gemini import GeminiWire
from agents.wire_gemini_embeddings import GeminiEmbeddings
from contracts.errors import InvalidRequest


def build(spec: AgentSpec) -> StreamingAgent:
    """An agent on `streamGenerateContent`.

    Raises:
        InvalidRequest: `api` is set, as there is no choice here, or there is no key.
    """
    if spec.api is not None:
        why = f"Agent '{spec.name}': the gemini provider has one API; leave api out."
        raise InvalidRequest(why, param="api")
    return assemble(
        spec,
        api="generate",
        template=lambda key: _template(key, spec.base_url, embeds=False),
        wire=lambda template, errors: GeminiWire(template, errors, spec.max_event_bytes),
    )


def build_embedder(spec: EmbedderSpec) -> HttpEmbedder:
    """An embedder on `batchEmbedContents`.

    Raises:
        InvalidRequest: there is no key.
    """
    return assemble_embedder(
        spec,
        template=lambda key: _template(key, spec.base_url, embeds=True),
        wire=lambda template: GeminiEmbeddings(template, spec),
    )


def _template(api_key: str, base_url: str | None, *, embeds: bool) -> Template:
    def ask(http: httpx2.Client) -> None:
        # One of our own, never used, since the SDK's would start a task of its own to close itself
        # whenever it is collected inside a running loop.
        unused = httpx2.AsyncClient(transport=httpx2.AsyncBaseTransport(), trust_env=False)
        client = genai.Client(
            api_key=api_key,
            vertexai=False,  # whatever the environment says: this adapter speaks the other API
            http_options=types.HttpOptions(
                base_url=base_url, httpx_client=http, httpx_async_client=unused
            ),
        )
        if embeds:
            client.models.embed_content(model=MODEL, contents=["x"])
        else:
            list(client.models.generate_content_stream(model=MODEL, contents="x"))

    return template_of(caught(ask, reply=b"{}" if embeds else b"data: {}\r\n\r\n"))
