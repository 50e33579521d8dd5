"""What we sign, OpenAI's own client verifies."""

from __future__ import annotations

import json
import time

import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from contracts.errors import InvalidRequest
from errands.signing import headers_of, key_of

BODY = json.dumps(
    {
        "id": "evt_1",
        "object": "event",
        "type": "response.completed",
        "created_at": 1_795_000_000,
        "data": {"id": "resp_1"},
    }
).encode()


@pytest.mark.parametrize("secret", ["whsec_dGhlIHNlY3JldCBvZiB0aGUgc2hvcA==", "a plain secret, ö"])
def test_the_stock_client_verifies_it(secret: str) -> None:
    client = OpenAI(api_key="none", webhook_secret=secret)
    now = int(time.time())
    headers = headers_of(key_of(secret), "evt_1", now, BODY)
    event = client.webhooks.unwrap(BODY, headers)
    assert (event.type, event.data.id) == ("response.completed", "resp_1")  # type: ignore[union-attr]
    for name, body, wrong in [
        ("webhook-id", BODY, "evt_2"),
        ("webhook-timestamp", BODY, str(now - 1)),
        ("webhook-signature", BODY, "v1,AAAA"),
        ("webhook-id", BODY + b" ", "evt_1"),
    ]:
        with pytest.raises(InvalidWebhookSignatureError):
            client.webhooks.unwrap(body, {**headers, name: wrong})
    with pytest.raises(InvalidWebhookSignatureError):
        client.webhooks.unwrap(BODY, headers, secret="another secret")


def test_a_secret_that_says_it_is_base64_and_is_not_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        key_of("whsec_not base64")
