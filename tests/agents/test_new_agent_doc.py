"""The code in docs/new-agent.md works: it is taken from the page and put to the suite."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from agents.registry import PROVIDERS
from config.load import DIRECTORY, load
from config.resolve import resolve

PAGE = Path(__file__).resolve().parents[2] / "docs" / "new-agent.md"
BLOCK = re.compile(
    r'^```(?P<language>\w+) title="(?P<title>[^"]+)"\n(?P<code>.*?)^```$', re.M | re.S
)
BLOCKS = [match.groupdict() for match in BLOCK.finditer(PAGE.read_text("utf-8"))]


def _code(title: str) -> str:
    [code] = [block["code"] for block in BLOCKS if block["title"] == title]
    return code


def _module(title: str) -> ModuleType:
    """The block as the module that it would be in the file it names."""
    name = title.removesuffix(".py").replace("/", ".")
    module = ModuleType(name)
    module.__file__ = f"{PAGE}:{title}"
    sys.modules[name] = module
    exec(compile(_code(title), module.__file__, "exec"), module.__dict__)
    return module


_module("agents/parrot_api.py")
_suite = _module("tests/agents/test_parrot.py")
TestParrot = _suite.TestParrot
provider = _suite.provider


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROVIDERS, "parrot", "agents.parrot_api")


def test_the_registry_is_as_the_page_shows_it() -> None:
    shown: dict[str, object] = {}
    exec(_code("agents/registry.py"), shown)
    assert shown["PROVIDERS"] == PROVIDERS


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (block["code"], re.findall(r"^  (\w+):\n    provider:", block["code"], re.MULTILINE))
        for block in BLOCKS
        if block["language"] == "yaml"
    ],
)
def test_the_settings_are_valid(text: str, names: list[str], tmp_path: Path) -> None:
    for file in DIRECTORY.glob("*.yaml"):
        shutil.copy(file, tmp_path)
    (tmp_path / "development.yaml").write_text(text, "utf-8")
    environ = {"MODELS_EXAMPLE_KEY": "k", "PARROT_API_KEY": "k"}
    specs = resolve(load(environ, tmp_path), "http://127.0.0.1:9")
    assert names
    for name in names:
        assert specs[name]
        for endpoint in specs[name]:
            assert endpoint.provider in PROVIDERS
            assert endpoint.base_url
