"""Reading YAML: a careful subset, every refusal with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.files import dotted, read_yaml


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def parse(text: str | bytes):
        file = tmp_path / "f.yaml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_yaml(file)

    return parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("1:30", "1:30"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-7", -7),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ("<<", "<<"),
    ],
)
def test_scalars_are_what_they_look_like(text, value, read):
    result = read(f"a: {text}\n")
    assert result.problems == []
    assert result.values == {"a": value}
    assert type(result.values["a"]) is type(value)


def test_every_value_knows_its_line(read):
    result = read("a:\n  b: 1\n  c:\n  - x\n  - y: 2\n")
    assert result.values == {"a": {"b": 1, "c": ["x", {"y": 2}]}}
    assert result.places["a", "b"] == "f.yaml:2"
    assert result.places["a", "c", 1, "y"] == "f.yaml:5"
    assert result.places["a",] == "f.yaml:1"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: [1, 2", 1, "is not valid YAML"),
        ("a: 1\n b: 2", 2, "is not valid YAML"),
        ("a: 1\n\tb: 2", 2, "is not valid YAML"),
        ("a: &x 1\nb: *x", 2, "aliases are not supported"),
        ("a: 1\nb: !!python/name:os.system x", 2, "tags are not supported"),
        ("a: 1\n---\nb: 2", 2, "is not valid YAML"),
    ],
)
def test_what_cannot_be_parsed_is_one_problem_with_its_line(text, line, reason, read):
    result = read(text)
    (problem,) = result.problems
    assert problem.source == f"f.yaml:{line}"
    assert reason in problem.reason
    assert result.values == {}


def test_a_key_that_stands_twice_is_refused(read):
    (problem,) = read("a:\n  b: 1\n  c: 2\n  b: 3\n").problems
    assert problem == ("f.yaml:4", "a.b", "stands twice, first on line 2")


def test_keys_must_be_text(read):
    (problem,) = read("a:\n  [1, 2]: x\n").problems
    assert problem == ("f.yaml:2", "a", "keys must be text")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a\n", "must be a mapping of sections at its top"),
        ("text", "must be a mapping of sections at its top"),
        (b"a: \xff", "cannot be read"),
        (b"a: \x00", "is not valid YAML"),
        ("[" * 5_000, "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_settings_file(text, reason, read):
    (problem,) = read(text).problems
    assert problem.source.startswith("f.yaml")
    assert reason in problem.reason


def test_a_number_too_long_to_hold(read):
    (problem,) = read(f"a: {'9' * 5_000}\n").problems
    assert problem == ("f.yaml:1", "a", "is no number that can be held")


def test_a_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_yaml(tmp_path / "x.yaml").problems == [("x.yaml", "", "the file is missing")]


@given(st.binary(max_size=80))
def test_no_file_at_all_raises(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("any") / "f.yaml"
    file.write_bytes(data)
    result = read_yaml(file)
    assert isinstance(result.values, dict)


def test_paths_read_like_code():
    assert dotted(("agents", "gpt", "endpoints", 0, "model")) == "agents.gpt.endpoints[0].model"
