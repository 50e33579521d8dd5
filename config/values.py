"""Building blocks of the settings: frozen sections and values that say their unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, StringConstraints

K = TypeVar("K")
V = TypeVar("V")


class Section(BaseModel):
    """A group of settings: frozen, and with no room for keys that mean nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class FrozenDict(dict[K, V]):
    """A dict that refuses to change, so that frozen settings are frozen all the way down."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("settings are frozen")

    __setitem__ = __delitem__ = __ior__ = _refuse  # type: ignore[assignment]
    clear = pop = popitem = setdefault = update = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[FrozenDict[K, V]], tuple[dict[K, V]]]:
        # Unpickling a dict subclass sets items one by one, which `_refuse` would stop.
        return type(self), (dict(self),)

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


Table = Annotated[Mapping[str, V], AfterValidator(FrozenDict)]
"""A mapping from names to values, frozen."""

# Strict: `replicas: true` and `port: "8000"` are mistakes, and pydantic would take both.
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Positive = Annotated[Whole, Field(ge=1)]
Natural = Annotated[Whole, Field(ge=0)]
Seconds = Annotated[Number, Field(gt=0)]
Milliseconds = Annotated[Number, Field(ge=0)]
Port = Annotated[Whole, Field(ge=1, le=65535)]
Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
BaseUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")]
