"""What conditions look at: the facts of one message, each made ready once, and only if asked for.

`FIELDS` is all that an expression may name. What a fact costs is paid by the first rule that
looks at it: copying a message into CEL's values, guessing its language, folding its letters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from cel import Context

from contracts.decisions import RoutingInput
from routing.languages import language
from routing.library import FUNCTIONS, Library, Subject
from routing.patterns import encodable, fold

NOW = "now"
FLAT = "__"
"""Between variable and field in the names of `flat`."""
MAX_ATTACHMENTS = 100
MAX_VALUE_CHARS = 1_000
"""Of one value in an attachment: what rules ask for is short, what is attached may not be."""
INT64 = 2**63


class Texts:
    """What patterns are looked for in, and which of one library's were found."""

    __slots__ = ("_data", "_folded", "_found", "_library", "_text", "given")

    def __init__(self, given: RoutingInput, library: Library) -> None:
        self.given = given
        self._library = library
        self._text: str | None = None
        self._folded: str | None = None
        self._data: dict[Subject, bytes] = {}
        self._found: dict[Subject, tuple[bytes, frozenset[int] | None]] = {}

    def turn_to(self, library: Library) -> None:
        """The patterns of these numbers are meant from now on."""
        if library is not self._library:
            self._library = library
            self._found.clear()

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

    def has(self, subject: Subject, number: int) -> bool:
        """Whether the pattern of that number is in the subject.

        All are looked for at once, by the first that asks.
        """
        sieve = self._library.sieves[subject]
        known = self._found.get(subject)
        if known is None:
            data = self._data.get(subject)
            if data is None:
                data = self._data[subject] = self._encoded(subject)
            known = self._found[subject] = data, sieve.found(data)
        return sieve.has(number, *known)

    def within(self, text: str, number: int) -> bool:
        """Whether it is in a text of the expression's own."""
        return self._library.patterns[number].search(text) is not None

    def words_within(self, text: str, number: int) -> bool:
        """Likewise, for words."""
        return self._library.patterns[number].search(fold(text)) is not None

    def _encoded(self, subject: Subject) -> bytes:
        if subject == "text":
            return self.text.encode()
        if subject == "folded":
            return self.folded.encode()
        return encodable(self.given.user or "").encode()


class Facts:
    """The facts of one message."""

    __slots__ = ("_metadata", "given", "known", "texts", "values")

    def __init__(self, given: RoutingInput, library: Library) -> None:
        self.given = given
        self.texts = Texts(given, library)
        """For conditions whose patterns the library has; see `Texts.turn_to`."""
        self.known: set[str] = set()
        """Names (see `flat`) of what is in `values`."""
        self.values: Context
        """As expressions see them; there once something was learned."""
        self._metadata: dict[str, str] | None = None

    def learn(self, names: Iterable[str]) -> None:
        """Have these among `values`."""
        if not self.known:
            # Nothing in it may lead back to these facts: the garbage collector does not see into
            # the engine, and would never free either.
            texts = self.texts
            self.values = Context(
                functions={
                    **FUNCTIONS,
                    "troupe_in_text": partial(texts.has, "text"),
                    "troupe_in_folded": partial(texts.has, "folded"),
                    "troupe_in_user": partial(texts.has, "user"),
                    "troupe_in": texts.within,
                    "troupe_words_in": texts.words_within,
                }
            )
        for name in names:
            if name not in self.known:
                self.known.add(name)
                self.values.add_variable(name, _VALUES[name](self))

    @property
    def metadata(self) -> dict[str, str]:
        if self._metadata is None:
            pairs = self.given.metadata.items()
            self._metadata = {encodable(key): encodable(value) for key, value in pairs}
        return self._metadata


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
        "text": lambda facts: facts.texts.text,
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


def flat(variable: str, field: str) -> str:
    """The name that a field has when an expression runs: each is a variable of its own, so that
    it is copied when the first rule looks at it, and not with all others.
    """
    return f"{variable}{FLAT}{field}" if field else variable


DEAR = frozenset({flat("message", "language"), flat("message", "words")})
"""What takes longer the longer the message is."""

_VALUES: Mapping[str, Callable[[Facts], Any]] = {
    NOW: lambda facts: datetime.fromtimestamp(facts.given.now, UTC),
    **{
        flat(variable, field): value
        for variable, fields in FIELDS.items()
        for field, value in fields.items()
    },
}
