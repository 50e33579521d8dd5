"""What holds for every test: no stranger's settings, no real provider, no Ray unless it says so."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.support.fixtures"]

OURS = ("TROUPE_", "LAUNCHER_", "RAY_")
PROVIDERS = ("OPENAI_", "GEMINI_", "GOOGLE_")
OTHERS = {"DATABASE_URL", "REDIS_URL", "PORT"}
KEPT = {"TROUPE_URL"}
"""A running Troupe for the browser's tests, named on purpose."""


def scrub(environ: os._Environ[str]) -> None:
    """Take out what would change the settings, spend money or go through a proxy to ourselves."""
    for name in list(environ):
        if name in KEPT:
            continue
        if name in OTHERS or name.startswith(OURS + PROVIDERS) or name.lower().endswith("_proxy"):
            del environ[name]
    environ["NO_PROXY"] = environ["no_proxy"] = "127.0.0.1,localhost,::1"


scrub(os.environ)
# Processes that tests start import our packages, and coverage its plugin, from wherever they run.
os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])


# How long an example takes on a busy machine says nothing about what it shows.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


WHOLE = ("tests/e2e/", "tests/browser/")
"""Tests that share a running instance, which takes seconds and a gigabyte to have."""


LONG = "tests/gateway/test_fuzz.py"
"""One test of minutes: the others fit in beside it only if it begins early."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(
        key=lambda item: (item.nodeid.startswith(LONG), item.nodeid.startswith(WHOLE)), reverse=True
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Tests of one file stay in one process, and so do all that share an instance."""

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return WHOLE[0] if nodeid.startswith(WHOLE) else nodeid.partition("::")[0]

    return ByFile(config, log)


@pytest.fixture(autouse=True)
def _no_ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that is not marked `cluster` starts no Ray in this process, not even by accident."""
    ray = sys.modules.get("ray")
    if ray is not None and request.node.get_closest_marker("cluster") is None:

        def refuse(*args: object, **options: object) -> None:
            pytest.fail("this test starts Ray without being marked `cluster`")

        monkeypatch.setattr(ray, "init", refuse)
    yield
