"""The checks of `make check` that are ours: each finds what it is there for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from launcher import check_cluster, check_locks
from tests.house.paths import ROOT


def test_the_files_in_the_tree_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_cluster.main() == 0
    assert check_locks.main() == 0
    assert capsys.readouterr().out == ""


def _unknown_key(config: dict[str, Any]) -> None:
    config["nodes"] = 3


def _no_provider(config: dict[str, Any]) -> None:
    del config["provider"]["type"]


def _no_workers(config: dict[str, Any]) -> None:
    del config["available_node_types"]["workers"]


def _fixed_size(config: dict[str, Any]) -> None:
    config["available_node_types"]["workers"]["min_workers"] = 8


def _no_cpu(config: dict[str, Any]) -> None:
    config["available_node_types"]["workers"]["resources"] = {}


def _no_hashes(config: dict[str, Any]) -> None:
    config["setup_commands"] = ["pip install -r requirements/run.txt"]


def _no_application(config: dict[str, Any]) -> None:
    config["head_start_ray_commands"].pop()


def _no_autoscaling(config: dict[str, Any]) -> None:
    config["head_start_ray_commands"] = ["ray start --head", "serve run serve_app:app"]


def _workers_serve(config: dict[str, Any]) -> None:
    config["worker_start_ray_commands"].append("serve run serve_app:app")


def _workers_idle(config: dict[str, Any]) -> None:
    config["worker_start_ray_commands"] = []


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_unknown_key, "Ray refuses it"),
        (_no_provider, "Ray refuses it"),
        (_no_workers, "no worker group"),
        (_fixed_size, "does not grow"),
        (_no_cpu, "no CPU"),
        (_no_hashes, "without hashes"),
        (_no_application, "does not start serve_app:app"),
        (_no_autoscaling, "does not autoscale"),
        (_workers_serve, "which is the head's to do"),
        (_workers_idle, "do not start Ray"),
    ],
)
def test_a_spoilt_cluster_file_is_found(
    spoil: Callable[[dict[str, Any]], None], expected: str
) -> None:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    spoil(config)
    assert any(expected in fault for fault in check_cluster.faults_in(config))


GOOD = """\
# comment
one==1.0 ; python_version < '3.12' \\
    --hash=sha256:00
    # via someone
two-words[extra]==2.0 \\
    --hash=sha256:01 \\
    --hash=sha256:02
"""


def test_a_good_requirement_file_has_no_fault() -> None:
    assert list(check_locks.faults_in(GOOD, ["one", "two-words[extra]>=1"])) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "three>=3 \\\n    --hash=sha256:03\n", "exact version"),
        (GOOD + "three==3\n", "three has no hash"),
        (GOOD + "three @ https://host/three.whl \\\n    --hash=sha256:03\n", "names a host"),
        ("--index-url somewhere\n" + GOOD, "names a host or an option"),
        (GOOD.replace("one", "uno"), "one is missing"),
    ],
)
def test_a_bad_requirement_file_is_found(text: str, expected: str) -> None:
    faults = check_locks.faults_in(text, ["one"])
    assert any(expected in fault for fault in faults)
