"""Where a rule leads: to an agent, to one of several by share, or to whom a model names."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from hashlib import blake2b
from typing import Literal, NamedTuple

from contracts.decisions import Classifier, RoutingInput, Semantic
from routing.wording import listed, meant

MAX_AGENTS = 50
MAX_WEIGHT = 1_000_000
MAX_EXAMPLES = 500
MAX_EXAMPLE_CHARS = 2_000
MAX_MEANING_CHARS = 500
MAX_INSTRUCTIONS_CHARS = 4_000
MAX_TIMEOUT_S = 30.0


class Split(NamedTuple):
    """Agents by share, `weights` in any unit; who is asked depends on user or session alone."""

    by: Literal["user", "session"]
    weights: tuple[tuple[str, int], ...]

    def agent(self, rule: str, given: RoutingInput) -> str:
        """The same for the same user (or session), and another draw for each rule.

        A person who is not known is told by the session, and what has none by its text. The shares
        lie side by side, so a share that grows takes from its neighbours and nobody else moves.
        """
        who = given.user if self.by == "user" and given.user else given.session_id or given.text
        drawn = blake2b(f"{rule}\0{who}".encode("utf-8", "surrogatepass"), digest_size=8)
        point = int.from_bytes(drawn.digest(), "big") * sum(w for _, w in self.weights) >> 64
        for agent, weight in self.weights:
            point -= weight
            if point < 0:
                return agent
        raise AssertionError("a point lies below the sum of all weights")


class Ask(NamedTuple):
    """A question to a model whose labels are agents, and who answers where it does not say."""

    question: Semantic | Classifier
    otherwise: str

    @property
    def kind(self) -> str:
        """`semantic` or `classifier`."""
        return "semantic" if isinstance(self.question, Semantic) else "classifier"

    @property
    def labels(self) -> tuple[str, ...]:
        """Every agent that it may lead to by an answer, once."""
        question = self.question
        pairs = question.examples if isinstance(question, Semantic) else question.answers
        return tuple(dict.fromkeys(label for label, _ in pairs))


Target = str | Split | Ask
"""An agent's name, or one of the others."""


def told(target: Target) -> str:
    """A target in words."""
    if isinstance(target, str):
        return target
    if isinstance(target, Split):
        shares = ", ".join(f"{agent} {weight}" for agent, weight in target.weights)
        return f"a split by {target.by}: {shares}"
    return f"a {target.kind} between {', '.join(target.labels)}, else {target.otherwise}"


def faults_of(
    target: Target, agents: Collection[str], embedders: Collection[str] | None
) -> Iterator[tuple[str, str]]:
    """What is wrong with a target: pairs of field and reason."""
    if isinstance(target, str):
        yield from _unknown("agent", target, agents)
    elif isinstance(target, Split):
        yield from _split(target, agents)
    else:
        yield from _ask(target, agents, embedders)


def _unknown(field: str, name: str, agents: Collection[str]) -> Iterator[tuple[str, str]]:
    if name not in agents:
        hint = meant(name, agents)
        yield field, f"names no agent: {name}; there is {listed(agents)}{hint}"


def _split(split: Split, agents: Collection[str]) -> Iterator[tuple[str, str]]:
    if len(split.weights) > MAX_AGENTS:
        yield "split.agents", f"has more than {MAX_AGENTS} agents"
        return
    for agent, weight in split.weights:
        yield from _unknown("split.agents", agent, agents)
        if not 0 <= weight <= MAX_WEIGHT:
            yield "split.agents", f"gives {agent} a weight outside 0 to {MAX_WEIGHT:,}"
    if sum(weight for _, weight in split.weights) <= 0:
        yield "split.agents", "has no weight above 0"


def _ask(
    ask: Ask, agents: Collection[str], embedders: Collection[str] | None
) -> Iterator[tuple[str, str]]:
    question = ask.question
    if isinstance(question, Semantic):
        yield from _semantic(question, agents, embedders)
    else:
        yield from _classifier(question, agents)
    if not 0 < question.timeout_s <= MAX_TIMEOUT_S:
        yield f"{ask.kind}.timeout_ms", f"must be above 0 and at most {MAX_TIMEOUT_S * 1000:g}"
    yield from _unknown(f"{ask.kind}.else", ask.otherwise, agents)


def _semantic(
    question: Semantic, agents: Collection[str], embedders: Collection[str] | None
) -> Iterator[tuple[str, str]]:
    field = "semantic.examples"
    if embedders is not None and question.embedder and question.embedder not in embedders:
        hint = meant(question.embedder, embedders)
        known = f"; there is {listed(embedders)}" if embedders else ""
        yield "semantic.embedder", f"names no embedder: {question.embedder}{known}{hint}"
    if not question.examples:
        yield field, "has no example"
    if len(question.examples) > MAX_EXAMPLES:
        yield field, f"has more than {MAX_EXAMPLES} examples"
        return
    for label in dict.fromkeys(label for label, _ in question.examples):
        yield from _unknown(field, label, agents)
    if any(not text.strip() for _, text in question.examples):
        yield field, "has an empty example"
    if any(len(text) > MAX_EXAMPLE_CHARS for _, text in question.examples):
        yield field, f"has an example longer than {MAX_EXAMPLE_CHARS:,} characters"
    if not -1 <= question.min_score <= 1:
        yield "semantic.min_score", "must be from -1 to 1"


def _classifier(question: Classifier, agents: Collection[str]) -> Iterator[tuple[str, str]]:
    """Asking an agent goes through no rule, so a classifier may lead to the agent that it asks."""
    field = "classifier.answers"
    yield from _unknown("classifier.agent", question.agent, agents)
    if len(question.answers) < 2:
        yield field, "has fewer than two answers to choose from"
    if len(question.answers) > MAX_AGENTS:
        yield field, f"has more than {MAX_AGENTS} answers"
        return
    for label, meaning in question.answers:
        yield from _unknown(field, label, agents)
        if not meaning.strip():
            yield field, f"does not say what {label} means"
        if len(meaning) > MAX_MEANING_CHARS:
            yield field, f"says more than {MAX_MEANING_CHARS} characters of {label}"
    if len(question.instructions or "") > MAX_INSTRUCTIONS_CHARS:
        what = f"is longer than {MAX_INSTRUCTIONS_CHARS:,} characters"
        yield "classifier.instructions", what
