"""Reads off what a provider's SDK would send, without sending it.

The SDKs know credentials, addresses, versions and headers, and change them with the provider.
They are asked once per client to make a request, over their public method and with a transport of
ours in place of the network: the request it is handed is the template of all that follow. So
nothing private of an SDK is touched, and what differs per turn (the model, the body) is put in
by us, for an SDK's own request costs milliseconds of CPU and its pool does not carry hundreds of
streams.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import httpx2
from multidict import CIMultiDict

# Stands where the model's name goes, in case an SDK puts it into the address.
MODEL = "model-goes-here"

# What belongs to the SDK's own transport, or describes it, is not ours to repeat.
_DROPPED = frozenset({"host", "connection", "content-length", "accept-encoding"})
_DROPPED_PREFIXES = ("x-stainless-", "x-server-timeout")


@dataclass(frozen=True, slots=True)
class Template:
    """An address, with `MODEL` in it where the API wants that, and headers. Holds the key."""

    url: str
    headers: CIMultiDict[str]

    def __repr__(self) -> str:
        return f"Template(url={self.url!r})"


class _Catch(httpx2.BaseTransport):
    """Answers every request with an empty stream and keeps the request."""

    def __init__(self, reply: bytes) -> None:
        self.request: httpx2.Request | None = None
        self._reply = reply

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.request = request
        head = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=head, content=self._reply, request=request)


def caught(ask: Callable[[httpx2.Client], None], reply: bytes) -> httpx2.Request:
    """The request that `ask` makes its SDK send through the given client.

    Args:
        ask: Builds the SDK's client on this HTTP client, sends one streaming request, reads the
            answer to its end.
        reply: The body of the shortest stream that the SDK takes for an answer.
    """
    catch = _Catch(reply)
    with httpx2.Client(transport=catch, trust_env=False) as client:
        ask(client)
    if catch.request is None:
        raise RuntimeError("the SDK sent nothing")
    return catch.request


def template_of(request: httpx2.Request) -> Template:
    """The template a caught request makes: its address and the headers that are not transport's."""
    headers = CIMultiDict[str]()
    for name, value in request.headers.items():
        if name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES):
            headers.add(name, value)
    # A compressed stream arrives in blocks: tokens would wait for the compressor.
    headers["accept-encoding"] = "identity"
    return Template(str(request.url), headers)
