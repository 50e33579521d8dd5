"""What people read: the page of settings, the README's tables, `python -m config`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.__main__ import main
from config.docs import SHORT, page, short_table, variables_table
from config.files import dotted, read_yaml
from config.load import DIRECTORY, load_with_sources
from config.schema import annotation_at, leaves
from config.settings import Settings
from config.show import MASK, show

ROOT = DIRECTORY.parent


def test_the_page_is_current():
    written = (ROOT / "docs" / "settings.md").read_text()
    assert written == page(), "run: python -m config docs > docs/settings.md"


def test_every_setting_is_described():
    for leaf in leaves(Settings):
        description = leaf.info.description or ""
        assert description.endswith("."), f"{dotted(leaf.path)} has no description"


def test_base_holds_every_setting_that_it_must(directory):
    base = read_yaml(directory / "base.yaml").places
    for leaf in leaves(Settings):
        apart = leaf.path[0] in (
            "environment",
            "agents",
            "embedders",
            "providers",
            "prices",
            "rules",
        )
        if not apart and 0 not in leaf.path:
            assert leaf.path in base


def test_the_short_table_has_a_row_for_each_of_its_keys():
    table = short_table()
    assert all(annotation_at(Settings, path) is not None for path in SHORT)
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == [dotted(p) for p in SHORT]
    assert "OPENAI_BASE_URL" in variables_table()


def test_what_is_in_force_is_shown_with_its_source_and_without_secrets(directory, production):
    text = show(load_with_sources({**production, "PORT": "8123"}, directory))
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert lines["gateway.port"] == ["8123", "PORT"]
    assert lines["environment"] == ["production", "TROUPE_ENV"]
    assert lines["simulator.mode"][-1].startswith("config/production.yaml:")
    assert lines["agents.gpt.timeout_s"] == ["30.0", "default"]
    assert lines["agents.gpt.endpoints[0].api_key"] == [MASK, "OPENAI_API_KEY"]
    assert lines["context.database_url"] == [MASK, "DATABASE_URL"]
    for secret in ("sk-openai", "g-gemini", "a-key-of-sixteen", "pw"):
        assert secret not in text


@pytest.mark.parametrize(
    ("what", "expected"), [("docs", page), ("readme", variables_table), ("readme", short_table)]
)
def test_the_command_writes_the_pages(what, expected, capsys):
    assert main([what]) == 0
    assert expected() in capsys.readouterr().out


def test_the_command_shows_settings_or_all_problems(directory, monkeypatch, capsys):
    for name in list(os.environ):
        if name.startswith("TROUPE_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("PORT", raising=False)
    assert main(["show", "--directory", str(directory)]) == 0
    assert "gateway.port" in capsys.readouterr().out
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("TROUPE_HOSTS__COUNT", "0")
    assert main(["--directory", str(directory)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "2 settings are wrong" in captured.err


def test_python_dash_m_config_runs_by_itself(tmp_path: Path):
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TROUPE_ENV": "production"}
    done = subprocess.run(
        [sys.executable, "-m", "config"], env=environ, cwd=tmp_path, capture_output=True, timeout=60
    )
    assert done.returncode == 1
    assert b"DATABASE_URL" in done.stderr
    assert b"Traceback" not in done.stderr
