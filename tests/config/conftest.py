"""A copy of the shipped files to spoil, and a way to see every problem as plain tuples."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from config.errors import Problem, SettingsError
from config.load import DIRECTORY, load

PRODUCTION = {
    "TROUPE_ENV": "production",
    "DATABASE_URL": "postgresql://troupe:pw@db/troupe",
    "REDIS_URL": "redis://cache:6379/0",
    "TROUPE_API_KEY": "a-key-of-sixteen",
    "OPENAI_API_KEY": "sk-openai",
    "GEMINI_API_KEY": "g-gemini",
}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped files in `config/` of an otherwise empty working directory."""
    target = tmp_path / "config"
    target.mkdir()
    for file in DIRECTORY.glob("*.yaml"):
        shutil.copy(file, target)
    monkeypatch.chdir(tmp_path)
    return target


@pytest.fixture
def overlay(directory: Path) -> Callable[[str], Path]:
    """Replace development.yaml by this text."""

    def write(text: str) -> Path:
        (directory / "development.yaml").write_text(text)
        return directory

    return write


@pytest.fixture
def base(directory: Path) -> Callable[[Callable[[dict], None]], Path]:
    """Change base.yaml's values and write it anew."""

    def change(edit: Callable[[dict], None]) -> Path:
        file = directory / "base.yaml"
        values = yaml.safe_load(file.read_text())
        edit(values)
        file.write_text(yaml.safe_dump(values, sort_keys=False))
        return directory

    return change


def problems(environ: Mapping[str, str], directory: Path) -> list[tuple[str, str, str]]:
    """Every problem that stops a start with these; it must be stopped."""
    with pytest.raises(SettingsError) as caught:
        load(environ, directory)
    assert all(isinstance(problem, Problem) for problem in caught.value.problems)
    return [tuple(problem) for problem in caught.value.problems]


@pytest.fixture(name="problems")
def _problems() -> Callable[[Mapping[str, str], Path], list[tuple[str, str, str]]]:
    return problems


@pytest.fixture
def production() -> dict[str, str]:
    """Everything that production asks for."""
    return dict(PRODUCTION)
