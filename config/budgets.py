"""Settings of money: what models cost, and what may be spent.

The same shapes stand in the settings and in the policies that operators put while Troupe runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from config.values import Number, Positive, Seconds, Section
from contracts import money

B = TypeVar("B", bound="Budgets")
Dollars = Annotated[Number, Field(ge=0, le=1e9)]


class Price(Section):
    """US dollars for a million tokens."""

    input_usd: Dollars = Field(description="US dollars for a million tokens of input.")
    output_usd: Dollars = Field(
        description="US dollars for a million tokens of output, thinking included."
    )
    cached_usd: Dollars | None = Field(
        default=None,
        description="US dollars for a million tokens of input that the provider had cached. None: "
        "as any input.",
    )

    def plain(self) -> money.Price:
        return money.Price(self.input_usd, self.output_usd, self.cached_usd)


class Limit(Section):
    """What may be spent, in US dollars; None: as much as it takes."""

    soft_usd: Dollars | None = Field(
        default=None,
        description="US dollars beyond which turns go on, and their responses say so.",
    )
    hard_usd: Dollars | None = Field(
        default=None, description="US dollars at which further turns are refused with 429."
    )

    @field_validator("hard_usd")
    @classmethod
    def _not_below_soft(cls, hard: float | None, info: ValidationInfo) -> float | None:
        soft = info.data.get("soft_usd")
        if hard is not None and soft is not None and hard < soft:
            reason = "must be at least soft_usd, which is {soft}"
            raise PydanticCustomError("below_soft", reason, {"soft": f"{soft:g}"})
        return hard

    def plain(self) -> money.Limit:
        return money.Limit(_nano(self.soft_usd), _nano(self.hard_usd))


class Budgets(Section):
    """What turns, sessions, users and organizations may spend. Days and months are UTC's."""

    turn: Limit = Field(
        default=Limit(),
        description="One turn. Its hard limit also bounds the length of its answer, by the price.",
    )
    session: Limit = Field(default=Limit(), description="One conversation, ever.")
    user_day: Limit = Field(default=Limit(), description="One user, today.")
    user_month: Limit = Field(default=Limit(), description="One user, this month.")
    org_day: Limit = Field(default=Limit(), description="One organization, today.")
    org_month: Limit = Field(default=Limit(), description="One organization, this month.")

    def over(self, under: B) -> B:
        """Those of `under`, but for what is said here."""
        return under.model_copy(
            update={name: getattr(self, name) for name in self.model_fields_set}
        )

    def plain(self) -> money.Budgets:
        """As hosts take them."""
        return money.Budgets(*(getattr(self, name).plain() for name in money.Budgets._fields))


class SpendingLimits(Budgets):
    """What may be spent where no policy says otherwise, in US dollars; days and months are UTC's.

    Without limits nobody is asked what was spent.
    """

    refresh_s: Seconds = Field(
        description="Seconds that a host goes by the sums it knows, and what it has spent since; "
        "by so much another host's spending is noticed late."
    )
    remembered: Positive = Field(
        description="Users and organizations whose sums a host remembers; those of others are "
        "asked for anew. While Postgres is away, what so many have spent beside stored turns waits "
        "to be counted."
    )
    keep_days: Positive = Field(description="Days that the sums of a day are kept.")


def prices_of(table: Mapping[str, Price]) -> dict[str, money.Price]:
    """The price table as `routing.prices` takes it."""
    return {name: price.plain() for name, price in table.items()}


def _nano(usd: float | None) -> int | None:
    return None if usd is None else money.nano(usd)
