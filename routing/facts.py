"""What conditions look at: the facts of one message, each made ready once, and only if asked for.

`FIELDS` is all that an expression may name. What a fact costs is paid by the first rule that
looks at it: copying a message into CEL's values, guessing its language, folding its letters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from cel import Context

from contracts.decisions import RoutingInput
from routing.languages import language
from routing.patterns import encodable, fold

NOW = "now"
MAX_ATTACHMENTS = 100
MAX_VALUE_CHARS = 1_000
"""Of one value in an attachment: what rules ask for is short, what is attached may not be."""
INT64 = 2**63

Field = tuple[str, str]
"""A variable and its field; `now` has none: `("now", "")`."""


class Facts:
    """The facts of one message."""

    __slots__ = ("_context", "_folded", "_known", "_metadata", "_text", "given")

    def __init__(self, given: RoutingInput) -> None:
        self.given = given
        self._text: str | None = None
        self._folded: str | None = None
        self._metadata: dict[str, str] | None = None
        self._context: Context | None = None
        self._known: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """The message as it can be searched."""
        if self._text is None:
            self._text = encodable(self.given.text)
        return self._text

    @property
    def folded(self) -> str:
        """The message as words are found in it."""
        if self._folded is None:
            self._folded = fold(self.text)
        return self._folded

    @property
    def metadata(self) -> dict[str, str]:
        if self._metadata is None:
            pairs = self.given.metadata.items()
            self._metadata = {encodable(key): encodable(value) for key, value in pairs}
        return self._metadata

    def context(
        self,
        functions: dict[str, Callable[..., Any]],
        eager: Iterable[Field],
        lazy: Iterable[Field] = (),
    ) -> Context:
        """CEL's values of these fields.

        All expressions of a set share `functions` and `eager`, so the values are copied once;
        `lazy` are those that cost more and that only this expression looks at.
        """
        context = self._context
        if context is None:
            for field in eager:
                self._learn(field)
            context = self._context = Context(variables=self._known, functions=functions)
        for field in lazy:
            if field[1] not in self._known.get(field[0], ()):
                self._learn(field)
                context.add_variable(field[0], self._known[field[0]])
        return context

    def _learn(self, field: Field) -> None:
        variable, name = field
        if variable == NOW:
            self._known[NOW] = datetime.fromtimestamp(self.given.now, UTC)
        else:
            self._known.setdefault(variable, {})[name] = FIELDS[variable][name](self)


def _plain(value: Any) -> Any:
    """A value of an attachment as CEL can hold it; what is nested is left out."""
    if isinstance(value, str):
        return encodable(value[:MAX_VALUE_CHARS])
    if isinstance(value, bool | float) or (isinstance(value, int) and -INT64 <= value < INT64):
        return value
    return None


def _attachments(facts: Facts) -> list[dict[str, Any]]:
    return [
        {encodable(key[:MAX_VALUE_CHARS]): _plain(value) for key, value in one.items()}
        for one in facts.given.attachments[:MAX_ATTACHMENTS]
    ]


def _tier(facts: Facts) -> str:
    return facts.metadata.get("tier", "")


FIELDS: Mapping[str, Mapping[str, Callable[[Facts], Any]]] = {
    "message": {
        "text": lambda facts: facts.text,
        "length": lambda facts: len(facts.given.text),
        "words": lambda facts: len(facts.given.text.split()),
        "language": lambda facts: language(facts.given.text),
        "attachments": _attachments,
        "metadata": lambda facts: facts.metadata,
    },
    "session": {
        "id": lambda facts: encodable(facts.given.session_id),
        "metadata": lambda facts: facts.metadata,
        "turns": lambda facts: facts.given.turn - 1,
        "messages": lambda facts: facts.given.messages,
        "agent": lambda facts: encodable(facts.given.agent or ""),
        "failures": lambda facts: facts.given.failures,
    },
    "user": {
        "id": lambda facts: encodable(facts.given.user or ""),
        "tier": _tier,
    },
    "org": {
        "id": lambda facts: encodable(facts.given.org_id),
        "tier": lambda facts: encodable(facts.given.org_tier),
    },
    "turn": {
        "number": lambda facts: facts.given.turn,
        "background": lambda facts: facts.given.background,
        "regenerate": lambda facts: facts.given.regenerate,
    },
}
"""Every variable and its fields. Their kinds are fixed: who is nobody is an empty text."""

LAZY: frozenset[Field] = frozenset(
    {("message", "language"), ("message", "words"), ("message", "attachments")}
)
"""What is worked out only when a rule that looks at it has its turn."""
