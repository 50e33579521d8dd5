"""Settings of the rules: what each asks of a message, and where it leads."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from config.values import Milliseconds, Name, Natural, Number, Section, Table, Text
from contracts.messages import FailurePolicy

OneOrMore = Text | Annotated[tuple[Text, ...], Field(min_length=1)]
ELSE = "else"
TARGETS = ("agent", "split", "semantic", "classifier")


class When(Section):
    """What a rule asks of a message. All that is given must hold; of a list, one entry."""

    regex: OneOrMore | None = Field(
        default=None,
        description="Regular expression(s) in RE2's syntax, found anywhere in the message; "
        "matching takes time linear in the message, whatever the expression.",
    )
    keywords: OneOrMore | None = Field(
        default=None, description="Word(s) or phrase(s), matched whole and in any case."
    )
    metadata: Table[OneOrMore] | None = Field(
        default=None,
        description="Key → value(s) that the request's or conversation's metadata must have.",
    )
    user: OneOrMore | None = Field(
        default=None, description="The user's id(s); `*` and `?` stand for any text or character."
    )


class Split(Section):
    """Several agents, each with its share of users or conversations: a canary, a comparison."""

    by: Literal["user", "session"] = Field(
        description="What always gets the same agent: a user, or a conversation. Who sends no "
        "user is told by the conversation."
    )
    agents: Annotated[Table[Natural], Field(min_length=1)] = Field(
        description="Agent → weight, in any unit; 0 takes an agent out and leaves the others."
    )


class Semantic(Section):
    """The agent whose examples the message is nearest to."""

    embedder: Name | None = Field(
        default=None, description="Whose vectors are compared. None: the settings' first embedder."
    )
    examples: Annotated[
        Table[Annotated[tuple[Text, ...], Field(min_length=1)]], Field(min_length=1)
    ] = Field(description="Agent → messages that it should get.")
    min_score: Annotated[Number, Field(ge=-1, le=1)] = Field(
        default=0.5,
        description="Cosine from -1 to 1 that the nearest example must reach; embedders differ "
        "in what is near.",
    )
    timeout_ms: Annotated[Milliseconds, Field(gt=0)] = Field(
        default=1_000, description="Milliseconds to wait for it before `else` answers."
    )
    otherwise: Name = Field(
        alias=ELSE, description="The agent where no example is near, or nobody can tell in time."
    )


class Classifier(Section):
    """The agent that a small model names."""

    agent: Name = Field(description="The agent that is asked; one that is small and quick.")
    answers: Annotated[Table[Text], Field(min_length=2)] = Field(
        description="Agent → what it means that it is named, in a sentence for the model."
    )
    instructions: Text | None = Field(
        default=None, description="What the model is told besides. None: nothing."
    )
    timeout_ms: Annotated[Milliseconds, Field(gt=0)] = Field(
        default=2_000, description="Milliseconds to wait for it before `else` answers."
    )
    otherwise: Name = Field(
        alias=ELSE, description="The agent where the model names none, or not in time."
    )


class Rule(Section):
    """One line of the ordered list that `model: auto` goes through; the first match wins. It leads
    to one of `agent`, `split`, `semantic` and `classifier`.
    """

    name: Name = Field(description="Shown on the response and in the log.")
    when: When | Text = Field(
        description="`else` for whatever got this far, as the last rule must; an expression in "
        "CEL (see routing.md); or the usual conditions as a mapping."
    )
    agent: Name | None = Field(default=None, description="The agent that answers.")
    split: Split | None = Field(default=None, description="Agents by share.")
    semantic: Semantic | None = Field(default=None, description="Agents by likeness to examples.")
    classifier: Classifier | None = Field(default=None, description="Agents by a model's word.")
    sticky: Annotated[bool, Field(strict=True)] | None = Field(
        default=None,
        description="Whether a conversation that has an agent stays with it where this rule "
        "matches. None: with `else` it does, with other rules not.",
    )
    on_failure: FailurePolicy | None = Field(
        default=None,
        description="What becomes of a begun answer whose provider fails: `continue`, `restart` "
        "or `stop`. None: the agent's own holds.",
    )

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) != 1:
            listed = ", ".join(given) or "none"
            raise PydanticCustomError(
                "one_target",
                "must lead to one of {targets}; has {listed}",
                {"targets": ", ".join(TARGETS), "listed": listed},
            )
        return self
