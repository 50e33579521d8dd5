"""Where rules lead: shares that hold and stay, models that are asked in time or not at all."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decisions import Classifier, Decision, Found, RoutingInput, Semantic
from contracts.errors import ProviderTimeout
from routing.decide import decide
from routing.rules import RuleSpec, compile_rules, faults_in
from routing.targets import MAX_EXAMPLES, Ask, Split, told

AGENTS = ("gpt", "gemini", "local")
ELSE = RuleSpec("rest", "gpt")
NEAREST = Ask(
    Semantic("default", (("gemini", "translate this"), ("local", "add it up")), 0.5, 0.05), "gpt"
)
SORTED = Ask(Classifier("local", (("gemini", "texts"), ("gpt", "code")), None, 0.05), "local")


class Answers:
    """An oracle that says what it is told, or that never says anything."""

    def __init__(self, found: Found | Exception | None) -> None:
        self.found = found
        self.asked: list[tuple[Semantic | Classifier, str]] = []
        self.left = 0

    async def nearest(self, question: Semantic, text: str) -> Found:
        return await self._answer(question, text)

    async def classify(self, question: Classifier, text: str) -> Found:
        return await self._answer(question, text)

    async def _answer(self, question: Semantic | Classifier, text: str) -> Found:
        self.asked.append((question, text))
        if self.found is None:
            try:
                await asyncio.Event().wait()
            finally:
                self.left += 1
        if isinstance(self.found, Exception):
            raise self.found
        assert self.found is not None
        return self.found


async def led(target, oracle=None, message: RoutingInput | None = None, **rule) -> Decision:
    rules = compile_rules([RuleSpec("r", target, "user.id != 'x'", **rule), ELSE], AGENTS)
    return await decide(rules, AGENTS, "auto", message or RoutingInput("hello", user="u"), oracle)


# -- shares ---------------------------------------------------------------------------------------


def test_a_split_gives_each_agent_its_share():
    split = Split("user", (("gpt", 90), ("gemini", 10), ("local", 0)))
    drawn = Counter(split.agent("r", RoutingInput("", user=f"user-{n}")) for n in range(20_000))
    assert set(drawn) == {"gpt", "gemini"}
    assert 0.08 < drawn["gemini"] / 20_000 < 0.12


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=4).filter(any),
    st.text(st.characters(codec=None), min_size=1, max_size=20),
    st.text(st.characters(codec=None), max_size=20),
)
def test_the_same_person_always_gets_the_same_agent(weights, user, text):
    split = Split("user", tuple((f"a{n}", weight) for n, weight in enumerate(weights)))
    first = split.agent("r", RoutingInput("hello", user=user, session_id="s1"))
    again = RoutingInput(text, {"k": text}, user, 5.0, session_id="s2", turn=7, agent="a0")
    assert split.agent("r", again) == first
    assert dict(split.weights)[first] > 0
    assert Split("user", tuple((a, w * 7) for a, w in split.weights)).agent("r", again) == first


def test_a_share_that_grows_moves_nobody_between_the_others():
    before = Split("session", (("gpt", 90), ("gemini", 10)))
    after = Split("session", (("gpt", 70), ("gemini", 30)))
    moved = Counter()
    for number in range(5_000):
        message = RoutingInput("", user="same", session_id=f"conv_{number}")
        moved[before.agent("r", message), after.agent("r", message)] += 1
    assert moved["gemini", "gpt"] == 0
    assert 0.17 < moved["gpt", "gemini"] / 5_000 < 0.23


def test_each_rule_draws_anew_and_who_is_not_known_is_told_by_the_conversation():
    split = Split("user", (("gpt", 1), ("gemini", 1)))

    def drawn(rule: str, **facts) -> list[str]:
        return [
            split.agent(rule, RoutingInput(**{k: f(n) for k, f in facts.items()}))
            for n in range(200)
        ]

    users = {"text": lambda n: "", "user": lambda n: f"u{n}", "session_id": lambda n: "s"}
    assert drawn("one", **users) != drawn("two", **users)
    sessions = {"text": lambda n: f"t{n}", "session_id": lambda n: f"s{n}"}
    nobody = {"text": lambda n: "", "session_id": lambda n: f"s{n}"}
    assert drawn("one", **sessions) == drawn("one", **nobody)
    assert len(set(drawn("one", **nobody))) == 2
    assert len(set(drawn("one", text=lambda n: f"t{n}"))) == 2, "what has neither, by its text"


async def test_a_split_says_why():
    decision = await led(Split("user", (("gemini", 1),)), on_failure="stop")
    assert decision == Decision(
        "gemini",
        "r",
        "Rule r: \"user.id != 'x'\" holds; its split by user gives gemini.",
        version="0",
        on_failure="stop",
    )


# -- models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "found", "agent", "asked", "why"),
    [
        (
            NEAREST,
            Found("local", 0.87654),
            "local",
            {"kind": "semantic", "score": 0.8765, "label": "local"},
            "it is nearest to the examples of local",
        ),
        (
            NEAREST,
            Found(None, 0.2),
            "gpt",
            {"kind": "semantic", "score": 0.2, "fallback": "nothing fits"},
            "nothing fits, so gpt answers",
        ),
        (
            NEAREST,
            Found("gpt", 0.9),
            "gpt",
            {"kind": "semantic", "score": 0.9, "fallback": "the answer is none of those"},
            "the answer is none of those, so gpt answers",
        ),
        (
            SORTED,
            Found("gemini"),
            "gemini",
            {"kind": "classifier", "label": "gemini"},
            "local says gemini",
        ),
        (
            SORTED,
            ProviderTimeout("slow"),
            "local",
            {"kind": "classifier", "fallback": "no answer (provider_timeout)"},
            "no answer (provider_timeout), so local answers",
        ),
        (
            SORTED,
            None,
            "local",
            {"kind": "classifier", "fallback": "no answer within 50 ms"},
            "no answer within 50 ms, so local answers",
        ),
    ],
)
async def test_a_model_is_asked_in_its_time(target, found, agent, asked, why):
    oracle = Answers(found)
    decision = await led(target, oracle)
    assert oracle.asked == [(target.question, "hello")]
    assert (decision.agent, decision.rule, decision.asked) == (agent, "r", asked)
    assert decision.reason == f"Rule r: \"user.id != 'x'\" holds; {why}."
    assert oracle.left == (found is None), "who was not waited for was told"


async def test_where_nobody_can_ask_the_rest_answers():
    decision = await led(NEAREST)
    assert decision.agent == "gpt"
    assert decision.asked == {"kind": "semantic", "fallback": "no model can be asked here"}


async def test_what_is_no_error_of_ours_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        await led(NEAREST, Answers(ZeroDivisionError()))


# -- conversations that stay ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sticky", "agent", "answers", "kept"),
    [
        (True, "local", "local", True),
        (True, "gpt", "gpt", False),
        (True, "gone", "gpt", False),
        (True, None, "gpt", False),
        (False, "local", "gpt", False),
        (None, "local", "gpt", False),
    ],
)
async def test_a_sticky_rule_keeps_the_agent_that_there_is(sticky, agent, answers, kept):
    message = RoutingInput("hello", user="u", agent=agent)
    decision = await led("gpt", None, message, sticky=sticky)
    assert (decision.agent, decision.kept) == (answers, kept)
    assert ("stays with local" in decision.reason) is kept


@pytest.mark.parametrize(("sticky", "answers"), [(None, "local"), (True, "local"), (False, "gpt")])
async def test_the_rule_that_takes_the_rest_keeps_it_unless_it_says_so(sticky, answers):
    rules = compile_rules([RuleSpec("rest", "gpt", None, sticky)], AGENTS)
    decision = await decide(rules, AGENTS, "auto", RoutingInput("hello", agent="local"))
    assert (decision.agent, decision.kept) == (answers, answers == "local")


async def test_a_conversation_that_stays_asks_no_model():
    oracle = Answers(Found("gemini", 0.9))
    message = RoutingInput("hello", user="u", agent="gpt")
    decision = await led(NEAREST, oracle, message, sticky=True)
    assert (decision.agent, decision.kept, decision.asked) == ("gpt", True, None)
    assert oracle.asked == []


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "field", "reason"),
    [
        (Split("user", ()), "split.agents", "has no weight above 0"),
        (Split("user", (("gpt", 0),)), "split.agents", "has no weight above 0"),
        (Split("user", (("gpt", -1), ("gemini", 2))), "split.agents", "gives gpt a weight outside"),
        (Split("user", (("gtp", 1),)), "split.agents", "names no agent: gtp; there is gemini, gpt"),
        (Split("user", (("gpt", 1),) * 51), "split.agents", "has more than 50 agents"),
        (Ask(Semantic("", (), 0.5, 1), "gpt"), "semantic.examples", "has no example"),
        (
            Ask(Semantic("", (("gtp", "a"),), 0.5, 1), "gpt"),
            "semantic.examples",
            "names no agent: gtp",
        ),
        (Ask(Semantic("", (("gpt", " "),), 0.5, 1), "gpt"), "semantic.examples", "has an empty"),
        (
            Ask(Semantic("", (("gpt", "a" * 2_001),), 0.5, 1), "gpt"),
            "semantic.examples",
            "has an example longer than 2,000 characters",
        ),
        (
            Ask(Semantic("", (("gpt", "a"),) * (MAX_EXAMPLES + 1), 0.5, 1), "gpt"),
            "semantic.examples",
            "has more than 500 examples",
        ),
        (Ask(Semantic("", (("gpt", "a"),), 1.5, 1), "gpt"), "semantic.min_score", "must be from"),
        (Ask(Semantic("", (("gpt", "a"),), 0.5, 0), "gpt"), "semantic.timeout_ms", "must be above"),
        (Ask(Semantic("", (("gpt", "a"),), 0.5, 1), "gtp"), "semantic.else", "names no agent: gtp"),
        (
            Ask(Semantic("defalt", (("gpt", "a"),), 0.5, 1), "gpt"),
            "semantic.embedder",
            "names no embedder: defalt; there is default; did you mean `default`?",
        ),
        (
            Ask(Classifier("gtp", (("gpt", "a"), ("gemini", "b")), None, 1), "gpt"),
            "classifier.agent",
            "names no agent: gtp",
        ),
        (
            Ask(Classifier("gpt", (("gpt", "a"),), None, 1), "gpt"),
            "classifier.answers",
            "has fewer than two answers",
        ),
        (
            Ask(Classifier("gpt", (("gpt", "a"), ("gemini", "")), None, 1), "gpt"),
            "classifier.answers",
            "does not say what gemini means",
        ),
        (
            Ask(Classifier("gpt", (("gpt", "a"), ("gemini", "b")), "x" * 4_001, 1), "gpt"),
            "classifier.instructions",
            "is longer than 4,000 characters",
        ),
    ],
)
def test_a_target_that_cannot_be(target, field, reason):
    specs = [RuleSpec("r", target, "user.id != 'x'"), ELSE]
    (fault,) = faults_in(specs, AGENTS, embedders=["default"])
    assert (fault.index, fault.name, fault.field) == (0, "r", field)
    assert fault.reason.startswith(reason)


def test_a_classifier_may_lead_to_the_agent_that_it_asks():
    assert faults_in([RuleSpec("r", SORTED, "user.id != 'x'"), ELSE], AGENTS) == []


def test_targets_in_words():
    assert told("gpt") == "gpt"
    assert told(Split("user", (("gpt", 9), ("gemini", 1)))) == "a split by user: gpt 9, gemini 1"
    assert told(NEAREST) == "a semantic between gemini, local, else gpt"
