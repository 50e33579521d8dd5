"""What is known of an endpoint: whether it is well, how soon it speaks, how much it can take.

One `Health` for each endpoint of a process, whichever agents use it, and one `HealthBook` of them
all, which also hears what other hosts tell. Pure: the caller says what time it is.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple
from weakref import WeakValueDictionary

from contracts.errors import (
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnauthorized,
    TroupeError,
)
from contracts.limits import RateLimits, Word
from contracts.messages import Usage
from routing.circuit import Circuit, Tolerance
from routing.limits import A_WHILE_S, Told, Window

NEWEST = 0.3
"""The newest time to a first token in the average of them."""
_TELLING_S = 1.0
"""Where nothing is known of an endpoint, a silence that was shorter says nothing: one that refused
at once, or has been asked just now, is not quick for that."""
SHARED_S = 1.0
"""A rate limit that is over sooner is not worth telling other hosts."""


class Capacity(NamedTuple):
    """What an endpoint can take from all hosts together. None: not known."""

    max_sessions: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


def least(capacities: Iterable[Capacity]) -> Capacity:
    """What holds where several are said of one endpoint: of each limit the smallest."""
    limits = zip(*capacities, strict=True)
    return Capacity(
        *(min((one for one in said if one is not None), default=None) for said in limits)
    )


def identity(provider: str, base_url: str, model: str, api_key: str | None) -> str:
    """The same endpoint has the same identity in every host; the key cannot be read from it."""
    parts = "\0".join((provider, base_url, model, api_key or ""))
    return hashlib.blake2s(parts.encode(), digest_size=10, person=b"endpoint").hexdigest()


class Others:
    """What the other hosts use of one endpoint, as last heard."""

    __slots__ = ("requests", "running", "tokens")

    def __init__(self) -> None:
        self.requests = self.tokens = self.running = 0


class Fleet:
    """How many hosts share the limits, and whether they hear of each other."""

    __slots__ = ("hosts", "together")

    def __init__(self) -> None:
        self.hosts = 1
        self.together = True


class Asked:
    """One request, until it is over."""

    __slots__ = ("at", "generation", "over", "spoke_at", "tokens")

    def __init__(self, at: float, tokens: int, generation: int) -> None:
        self.at = at
        self.tokens = tokens
        self.generation = generation
        self.spoke_at: float | None = None
        self.over = False


class Health:
    """One endpoint as this host knows it.

    Args:
        fleet: Who shares its limits.
        tolerance: How much it may fail.
        forget_s: Not asked for so long it counts as twice as quick, so that it is asked again.
        chance: Spreads probes.
        on_shut: Called when it is closed here.
    """

    __slots__ = (
        "__weakref__",
        "_ended_at",
        "_fleet",
        "_forget_s",
        "_has_told",
        "_learnt_at",
        "_on_shut",
        "_requests",
        "_shut_elsewhere",
        "_spoke_at",
        "_tokens",
        "_told_requests",
        "_told_shuts",
        "_told_tokens",
        "_told_until",
        "_ttft_s",
        "_waiting",
        "capacity",
        "circuit",
        "others",
        "running",
    )

    def __init__(
        self,
        fleet: Fleet,
        tolerance: Tolerance,
        forget_s: float,
        chance: random.Random,
        on_shut: Callable[[], None] | None = None,
    ) -> None:
        self.capacity = Capacity()
        """By what is in force: see `routing.endpoints.limit`."""
        self.circuit = Circuit(tolerance, chance)
        self._forget_s = forget_s
        self.others = Others()
        self.running = 0
        self._fleet = fleet
        self._on_shut = on_shut
        self._requests = Window()
        self._tokens = Window()
        self._told_requests = Told()
        self._told_tokens = Told()
        self._has_told = False
        self._told_until = 0.0
        self._told_shuts = 0
        self._ttft_s: float | None = None
        self._learnt_at = 0.0
        self._spoke_at = self._ended_at = 0.0
        self._waiting: dict[Asked, None] = {}
        self._shut_elsewhere = False

    # -- before a request -----------------------------------------------------------------------

    def wait_s(self, now: float, tokens: int, leaving: int = 0, *, urgent: bool = False) -> float:
        """Seconds until it may be able to take a request; 0: now.

        Args:
            leaving: How many of those that run are about to go.
            urgent: See `Circuit.wait_s`.
        """
        circuit = self.circuit
        wait = 0.0 if circuit.closed else circuit.wait_s(now, urgent=urgent)
        most, requests, allowed = self.capacity
        others = self.others
        if most is not None:
            limit, elsewhere = self._part(most, others.running)
            if self.running - leaving + elsewhere >= limit:
                wait = max(wait, A_WHILE_S)
        if requests is not None:
            limit, elsewhere = self._part(requests, others.requests)
            wait = max(wait, self._requests.wait_s(now, limit, 1, elsewhere))
        if allowed is not None:
            limit, elsewhere = self._part(allowed, others.tokens)
            wait = max(wait, self._tokens.wait_s(now, limit, tokens, elsewhere))
        if self._has_told:
            wait = max(wait, self._told_requests.wait_s(now, 1))
            wait = max(wait, self._told_tokens.wait_s(now, tokens))
        return wait

    def _part(self, limit: int, elsewhere: int) -> tuple[int, int]:
        """What holds here of a limit, and what others use of that."""
        fleet = self._fleet
        return (limit, elsewhere) if fleet.together else (max(1, limit // fleet.hosts), 0)

    def expected_s(self, now: float) -> float | None:
        """Seconds to a first token, most likely; None: nobody knows."""
        learnt = self._ttft_s
        if learnt is not None:
            learnt *= self._fresh(now)
        if self._waiting:
            # Nobody has heard a word for so long, though somebody waits.
            silence = now - max(next(iter(self._waiting)).at, self._spoke_at)
            if silence > (_TELLING_S if learnt is None else learnt):
                return silence
        return learnt

    def _fresh(self, now: float) -> float:
        """How much of what was learnt last still counts, from 1 down."""
        return 0.5 ** (max(0.0, now - self._learnt_at) / self._forget_s)

    # -- one request ----------------------------------------------------------------------------

    def ask(self, now: float, tokens: int) -> Asked:
        asked = Asked(now, tokens, self.circuit.generation)
        self.circuit.passed(now)
        self.running += 1
        self._waiting[asked] = None
        self._requests.add(now, 1)
        self._tokens.add(now, tokens)
        if self._has_told:
            self._told_requests.take(1)
            self._told_tokens.take(tokens)
        return asked

    def spoke(self, asked: Asked, now: float) -> None:
        """The first token is here."""
        if asked.over or asked.spoke_at is not None:
            return
        asked.spoke_at = self._spoke_at = now
        del self._waiting[asked]
        self._learn(now, now - asked.at)
        self.circuit.spoke(now, asked.generation)

    def done(self, asked: Asked, now: float, usage: Usage | None) -> None:
        """The stream came to its end."""
        if self._over(asked):
            self._ended_at = now
            self.circuit.ended(now, asked.generation)
            if usage is not None:
                used = usage.input_tokens + usage.output_tokens
                self._tokens.correct(asked.at, now, used - asked.tokens)

    def failed(self, asked: Asked, now: float, error: TroupeError) -> bool:
        """The request failed. Returns whether the endpoint is to blame."""
        if not self._over(asked):
            return False
        circuit, generation, spoken = self.circuit, asked.generation, asked.spoke_at is not None
        if not isinstance(error, ProviderError):
            circuit.left(generation)
            return False
        if isinstance(error, ProviderRejected):
            # It has read the request and answered: a sign of life, whatever it thinks of it.
            circuit.spoke(now, generation)
            circuit.left(generation)
            return False
        if not spoken:
            self._tokens.correct(asked.at, now, -asked.tokens)
        if isinstance(error, ProviderRateLimited):
            news = circuit.refused(now, generation, error.retry_after)
        elif isinstance(error, ProviderUnauthorized):
            news = circuit.unauthorized(now, generation)
        else:
            if not spoken:
                self._learn_at_least(now, now - asked.at)
            news = circuit.failed(now, generation, spoken=spoken)
        if news:
            self._shut(elsewhere=False)
        return True

    def left(self, asked: Asked, now: float) -> None:
        """We went away."""
        if self._over(asked):
            if asked.spoke_at is None:
                self._learn_at_least(now, now - asked.at)
            self.circuit.left(asked.generation)

    def unused(self, asked: Asked, now: float) -> None:
        """It was never made: all is as if nobody had asked for a place."""
        if self._over(asked):
            self._requests.correct(asked.at, now, -1)
            self._tokens.correct(asked.at, now, -asked.tokens)
            self._told_requests.give_back(asked.at, 1)
            self._told_tokens.give_back(asked.at, asked.tokens)
            self.circuit.left(asked.generation)

    def told(self, limits: RateLimits, now: float) -> None:
        """What the provider says of its limits, with an answer."""
        for told, left, limit, reset_s in (
            (self._told_requests, *limits[:3]),
            (self._told_tokens, *limits[3:]),
        ):
            if left is None or reset_s is None:
                continue
            told.hear(now, left, limit, reset_s)
            self._has_told = True
            if left <= 0 and (wait := told.wait_s(now, 1)) >= SHARED_S:
                if now >= self._told_until and self._on_shut is not None:
                    self._told_shuts += 1
                    self._on_shut()
                self._told_until = max(self._told_until, now + wait)

    def _over(self, asked: Asked) -> bool:
        if asked.over:
            return False
        asked.over = True
        self.running -= 1
        self._waiting.pop(asked, None)
        return True

    def _learn(self, now: float, ttft_s: float) -> None:
        if self._ttft_s is None:
            self._ttft_s = ttft_s
        else:
            kept = (1.0 - NEWEST) * self._fresh(now)
            self._ttft_s += (1.0 - kept) * (ttft_s - self._ttft_s)
        self._learnt_at = now

    def _learn_at_least(self, now: float, ttft_s: float) -> None:
        if ttft_s > (_TELLING_S if self._ttft_s is None else self._ttft_s):
            self._learn(now, ttft_s)

    def _shut(self, *, elsewhere: bool) -> None:
        # What it did before it failed says nothing of what it does once it is well again.
        self._ttft_s = None
        self._shut_elsewhere = elsewhere
        if not elsewhere and self._on_shut is not None:
            self._on_shut()

    # -- between hosts --------------------------------------------------------------------------

    def word(self, now: float) -> Word:
        """What to tell other hosts. What was heard from one of them is not told on."""
        circuit = self.circuit
        shut_s = ago_s = 0.0
        limited = False
        if not circuit.closed and not self._shut_elsewhere and now < circuit.until:
            shut_s, ago_s, limited = circuit.until - now, now - circuit.opened_at, circuit.limited
        elif now < self._told_until:
            shut_s, limited = self._told_until - now, True
        return Word(
            self._requests.used(now),
            self._tokens.used(now),
            self.running,
            circuit.generation + self._told_shuts,
            round(shut_s, 2),
            round(ago_s, 2),
            limited,
            not circuit.closed and circuit.needs_end,
        )

    def hear_shut(self, now: float, word: Word) -> None:
        """Another host has closed it. A failure that it saw is refuted by what was heard since."""
        circuit = self.circuit
        if circuit.closed:
            heard_at = self._ended_at if word.needs_end else self._spoke_at
            if word.limited or heard_at <= now - word.shut_ago_s:
                # What is shut for longer than failures shut it has a key that is refused.
                long_s = word.shut_s + word.shut_ago_s
                plain = not word.limited and circuit.for_failures(long_s)
                circuit.open(
                    now,
                    for_s=word.shut_s,
                    limited=word.limited,
                    needs_end=word.needs_end,
                    plain=plain,
                )
                self._shut(elsewhere=True)
        elif word.limited and now + word.shut_s > circuit.until:
            # Whatever closed it here is over sooner: from now on it is the other host's to tell.
            circuit.until, circuit.limited, circuit.plain = now + word.shut_s, True, False
            self._shut_elsewhere = True

    def limited_for_s(self, now: float) -> float:
        """Seconds for which a rate limit keeps it from being asked."""
        until = self._told_until
        if self.circuit.limited and not self.circuit.closed:
            until = max(until, self.circuit.until)
        return max(0.0, until - now)


class HealthBook:
    """Every endpoint of a process by its identity, as long as somebody uses it.

    Args:
        tolerance: How much each may fail.
        forget_s: How soon what was learnt of their speed is forgotten by half.
        chance: What draws among endpoints, and spreads hosts' probes.
    """

    def __init__(
        self, tolerance: Tolerance, forget_s: float, chance: random.Random | None = None
    ) -> None:
        self._tolerance = tolerance
        self._forget_s = forget_s
        self.chance = chance or random.Random()
        self.fleet = Fleet()
        self.on_shut: Callable[[], None] | None = None
        """Called when an endpoint is closed: other hosts are to hear of it at once."""
        self._known: WeakValueDictionary[str, Health] = WeakValueDictionary()
        self._heard: dict[tuple[str, str], int] = {}

    def of(self, identity: str) -> Health:
        """The endpoint of this identity."""
        health = self._known.get(identity)
        if health is None:
            health = self._known[identity] = Health(
                self.fleet, self._tolerance, self._forget_s, self.chance, self._shut
            )
        return health

    def __len__(self) -> int:
        return len(self._known)

    def _shut(self) -> None:
        if self.on_shut is not None:
            self.on_shut()

    # -- contracts.limits.Shared ----------------------------------------------------------------

    def words(self, now: float) -> dict[str, Word]:
        return {identity: health.word(now) for identity, health in self._known.items()}

    def hear(self, now: float, others: Mapping[str, Mapping[str, Word]]) -> None:
        self.fleet.hosts = 1 + len(others)
        self.fleet.together = True
        heard: dict[tuple[str, str], int] = {}
        for identity, health in self._known.items():
            requests = tokens = running = 0
            for host, words in others.items():
                word = words.get(identity)
                if word is None:
                    continue
                requests += word.requests
                tokens += word.tokens
                running += word.running
                heard[host, identity] = word.shuts
                if word.shut_s > 0 and self._heard.get((host, identity)) != word.shuts:
                    health.hear_shut(now, word)
            told = health.others
            told.requests, told.tokens, told.running = requests, tokens, running
        self._heard = heard

    def apart(self) -> None:
        self.fleet.together = False
