"""How long text is gathered before it goes on its way: the pace of what nobody waits for."""

from __future__ import annotations

from typing import NamedTuple


class Pace(NamedTuple):
    """Seconds between two steps of one stream: `least_s` while few speak, and no more steps than
    `per_s` a second of all streams together, until `most_s`.

    A step costs the same whatever it carries, and a person reads no faster because others talk; so
    what is merged under load is what costs nobody anything.
    """

    least_s: float
    most_s: float
    per_s: float

    def of(self, streams: int) -> float:
        """The pace of each, with so many of them."""
        return min(max(self.least_s, streams / self.per_s), self.most_s)
