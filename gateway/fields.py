"""The kinds of fields that request bodies are made of.

What a field accepts stands in its JSON schema too, so that `/openapi.json` tells the truth. Limits
that are settings are checked by `gateway.turns` and `gateway.conversations`; in a schema they are
marks (`x-limits`), which `gateway.document` replaces by their values.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from gateway.text import CLEAN_PATTERN, FORBIDDEN_MESSAGE, is_clean

LIMITS = "x-limits"


class Body(BaseModel):
    """A JSON object whose fields are all known and of the very type."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def _clean(value: str) -> str:
    if not is_clean(value):
        raise PydanticCustomError("invalid_characters", FORBIDDEN_MESSAGE)  # type: ignore[arg-type]
    return value


def limited(**limits: str) -> dict[str, Any]:
    """Marks a schema: the keyword's value is the `InputLimits` field of this name."""
    return {LIMITS: limits}


Clean = Annotated[str, AfterValidator(_clean), Field(json_schema_extra={"pattern": CLEAN_PATTERN})]
"""Text without control characters."""

Said = Annotated[Clean, Field(min_length=1, json_schema_extra=limited(maxLength="message_chars"))]
"""What somebody says."""

Name = Annotated[Clean, Field(min_length=1, json_schema_extra=limited(maxLength="id_chars"))]
"""A name that a caller chooses, or one that it was given."""

Metadata = Annotated[
    dict[Clean, Clean],
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": CLEAN_PATTERN, **limited(maxLength="metadata_key_chars")},
            "additionalProperties": {
                "type": "string",
                "pattern": CLEAN_PATTERN,
                **limited(maxLength="metadata_value_chars"),
            },
            **limited(maxProperties="metadata_pairs"),
        }
    ),
]
"""Pairs of strings that are kept with an object."""

Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(ge=0, le=1)]


def whole(value: Any) -> Any:
    """JSON has one kind of number: 16.0 is 16."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Tokens = Annotated[int, Field(ge=1, le=2_147_483_647), BeforeValidator(whole)]


class Only:
    """A parameter of OpenAI's API that is accepted where it asks for what Troupe does anyway.

    Args:
        allowed: These values, told apart as JSON tells them apart.
    """

    def __init__(self, *allowed: Any) -> None:
        self._allowed = allowed

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"enum": list(self._allowed)}

    def _check(self, value: Any) -> Any:
        for allowed in self._allowed:
            # JSON's true is not 1, Python's is.
            if value == allowed and isinstance(value, bool) == isinstance(allowed, bool):
                return value
        raise PydanticCustomError("unsupported_parameter", "This value is not supported")


def _text_or_list(value: Any) -> str | None:
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list) else None


TEXT_OR_LIST = Discriminator(
    _text_or_list,
    custom_error_type="invalid_type",
    custom_error_message="Input should be a string or a list",
)
"""Chooses between the tags `text` and `list`, so that an error speaks of one branch alone."""
