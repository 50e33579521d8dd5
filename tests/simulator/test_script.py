"""The scripting language: both spellings, and that no mistake goes through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.script import FAULTS, KEYS, LIMITS, STREAM_FAULTS, Script, ScriptError, parse
from tests.simulator.clock import PATIENT

numbers = st.fixed_dictionaries(
    {},
    optional={
        key: st.integers(0, limit) for key, limit in LIMITS.items() if key not in ("at", "times")
    },
)


def test_no_script_is_none() -> None:
    assert parse(None, "gpt-5") is None
    assert parse(None, "gemini-3.1-pro") is None
    assert parse(None, "scriptedx.tokens-1") is None


def test_the_briefs_two_spellings_mean_the_same() -> None:
    header = parse("ttft_ms=300;gap_ms=20;tokens=40;fault=abort;at=5;seed=1", "gpt")
    model = parse(None, "scripted.ttft_ms-300.gap_ms-20.tokens-40.fault-abort.at-5.seed-1")
    assert header == model
    assert header == Script(ttft_ms=300, gap_ms=20, tokens=40, fault="abort", at=5, seed=1)


@PATIENT
@given(numbers)
def test_every_number_survives_both_spellings(said: dict[str, int]) -> None:
    expected = Script(**said)  # type: ignore[arg-type]
    header = "; ".join(f"{key} = {value}" for key, value in said.items())
    model = ".".join(f"{key}-{value}" for key, value in said.items())
    assert parse(header, "m") == expected
    if said:
        assert parse(None, f"scripted.{model}") == expected


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_every_fault_is_known(fault: str) -> None:
    script = parse(f"fault={fault}", "m")
    assert script is not None
    assert script.fault == fault


def test_the_header_wins_over_the_model_field_by_field() -> None:
    assert parse("gap_ms=7", "scripted.gap_ms-1.tokens-3") == Script(gap_ms=7, tokens=3)


def test_scripted_alone_and_an_empty_header_are_scripts_without_waiting() -> None:
    assert parse(None, "scripted") == Script()
    assert parse("", "m") == Script()
    assert parse("tokens=1", "scripted") == Script(tokens=1)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("speed=1", "unknown key 'speed'"),
        ("fault=explode", "unknown fault 'explode'"),
        ("finish=bored", "unknown finish 'bored'"),
        ("tokens", "'tokens' has no value"),
        ("tokens=", "'tokens' is a whole number"),
        ("tokens=-1", "'tokens' is a whole number"),
        ("tokens=1.5", "'tokens' is a whole number"),
        ("tokens=²", "'tokens' is a whole number"),
        ("tokens=100001", "from 0 to 100000"),
        (f"seed={'9' * 5000}", "'seed' is a whole number"),
        ("tokens=1;tokens=2", "'tokens' is given twice"),
        ("at=3", "'at' needs a fault"),
        ("at=3;fault=hang", "'at' needs a fault"),
        ("fault=abort;tokens=3;at=4", "at=4 is past tokens=3"),
        ("times=2", "'times' needs a fault"),
        ("=3", "unknown key ''"),
    ],
)
def test_a_mistake_is_named(header: str, says: str) -> None:
    with pytest.raises(ScriptError, match=says.replace("(", r"\(")):
        parse(header, "m")


def test_a_mistake_in_the_model_name_is_named_too() -> None:
    with pytest.raises(ScriptError, match="unknown key 'tokns'"):
        parse(None, "scripted.tokns-4")


def test_the_message_lists_what_there_is() -> None:
    with pytest.raises(ScriptError) as caught:
        parse("x=1", "m")
    assert all(key in str(caught.value) for key in KEYS)
    with pytest.raises(ScriptError) as caught:
        parse("fault=x", "m")
    assert all(fault in str(caught.value) for fault in STREAM_FAULTS)
