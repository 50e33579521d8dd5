"""What holds for the tree as a whole and no single part could test."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
MODULES = [*PACKAGES, "serve_app"]


def test_our_packages_are_there() -> None:
    assert {"actors", "config", "contracts", "gateway", "routing"} <= set(PACKAGES)


@pytest.mark.parametrize("name", MODULES)
def test_a_top_level_name_is_ours(name: str) -> None:
    """Names as plain as `config` could be anyone's; what is imported must lie in this folder."""
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None
    assert Path(spec.origin).resolve().is_relative_to(ROOT)
    assert ".venv" not in Path(spec.origin).parts


@pytest.mark.parametrize("name", MODULES)
def test_no_installed_package_has_the_same_name(name: str) -> None:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is not None)"
    found = subprocess.run([sys.executable, "-I", "-c", code], cwd="/", check=False)
    assert found.returncode == 0, f"an installed package is called {name} too"


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_what_it_owns_and_exports_nothing(name: str) -> None:
    body = ast.parse((ROOT / name / "__init__.py").read_text()).body
    assert body and isinstance(body[0], ast.Expr), f"{name}/__init__.py has no docstring"
    names = {
        alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert names <= {"annotations", "Path"}, f"{name}/__init__.py re-exports {names}"


def test_tests_are_no_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_every_test_file_has_a_test() -> None:
    empty = [
        path.name
        for path in (ROOT / "tests").rglob("test_*.py")
        if not re.search(r"^\s*(async )?def test_|^\w+ = .*TestCase", path.read_text(), re.M)
    ]
    assert empty == []


def test_make_says_all_its_words() -> None:
    text = (ROOT / "Makefile").read_text()
    words = re.findall(r"^#   make (\w+)", text, re.M)
    targets = re.findall(r"^(\w+):", text, re.M)
    assert set(words) == set(targets) - {"help"}
