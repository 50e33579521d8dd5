"""What a request comes down to, in whichever protocol it came: the noun `Ask`, and `Refusal`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

import orjson

Speaker = Literal["user", "assistant", "system"]
CHARACTERS_A_TOKEN = 4
TOKENS_A_TURN = 3


class Refusal(Exception):
    """The request is wrong (4xx). Each protocol puts it into its own error body."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


class WrongMethod(Refusal):
    """405; `allowed` is what the path takes."""

    def __init__(self, method: str, *allowed: str) -> None:
        super().__init__(405, f"Not allowed to {method} here; use {' or '.join(allowed)}.")
        self.allowed = allowed


class Turn(NamedTuple):
    """One message as it was sent; what is not text in it is left out."""

    speaker: Speaker
    text: str


class Embeds(NamedTuple):
    """Texts whose vectors are asked for. `batch` tells a list of one from one alone."""

    texts: list[str]
    dimensions: int
    base64: bool = False
    batch: bool = True


@dataclass(slots=True)
class Ask:
    """One question to the model.

    `turns` are oldest first; system and developer messages are among them, instructions that
    came apart from the messages lead them. `max_tokens` None: no limit. With `embeds` no answer is
    asked for, but vectors.
    """

    model: str
    turns: list[Turn] = field(default_factory=list[Turn])
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    embeds: Embeds | None = None

    def input_tokens(self) -> int:
        """About what a tokenizer would count."""
        turns = self.turns
        characters = sum([len(turn.text) for turn in turns])
        if self.embeds is not None:
            characters += sum(map(len, self.embeds.texts))
        return characters // CHARACTERS_A_TOKEN + TOKENS_A_TURN * len(turns)


def body_of(raw: bytes) -> dict[str, Any]:
    """The JSON object in a request's body."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"We could not parse the JSON body of your request: {error}") from error
    if not isinstance(body, dict):
        raise Refusal(400, "The body of the request must be a JSON object.")
    return cast("dict[str, Any]", body)


def model_of(body: Mapping[str, Any]) -> str:
    """The required field `model`."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Refusal(400, "you must provide a model parameter", param="model")
    return model


def speaker_of(role: object, speakers: Mapping[str, Speaker]) -> Speaker | None:
    """Who a role is, or None if it is no role of this protocol."""
    return speakers.get(role) if isinstance(role, str) else None


def limit_of(body: Mapping[str, Any], *names: str) -> int | None:
    """The first limit on output tokens that is given under one of its names."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise Refusal(400, f"'{name}' must be a positive integer.", param=name)
        return value
    return None


def text_of(content: object, param: str) -> str:
    """The text of a message: a string, or parts of which those with a text count."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise Refusal(400, f"'{param}' must be a string or an array of parts.", param=param)
    return "".join(_texts(cast("Iterable[object]", content), param))


def _texts(parts: Iterable[object], param: str) -> Iterable[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            text = cast("dict[str, object]", part).get("text")
            if isinstance(text, str):
                yield text
        else:
            raise Refusal(400, f"'{param}' has a part that is no object.", param=param)
