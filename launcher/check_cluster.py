"""Part of `make check`: whether Ray's own loader accepts `cluster.yaml`, without any cloud.

`ray up` prepares the file (defaults of its provider, limits of node types), validates it against
Ray's schema, and only then talks to the provider. The first two are done here, and what the schema
cannot know is checked beside: that head and workers exist, that workers come and go, that installed
is what is locked, and that the application is started once, on the head.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

FILE = Path(__file__).resolve().parent.parent / "cluster.yaml"
APPLICATION = "serve_app:app"


def main() -> int:
    faults = list(faults_in(yaml.safe_load(FILE.read_text())))
    for fault in faults:
        print(f"cluster.yaml: {fault}")  # noqa: T201
    return 1 if faults else 0


def faults_in(config: dict[str, Any]) -> Iterator[str]:
    """What Ray or this application would stumble over."""
    try:
        prepared = prepare_config(config)
        validate_config(prepared)
    except Exception as error:  # noqa: BLE001 - whatever Ray's loader says of the file
        yield f"Ray refuses it: {type(error).__name__}: {str(error).splitlines()[0]}"
        return
    types = prepared["available_node_types"]
    head = prepared["head_node_type"]
    workers = {name: kind for name, kind in types.items() if name != head}
    if not workers:
        yield "there is no worker group"
    for name, kind in workers.items():
        if kind["min_workers"] >= kind["max_workers"]:
            yield f"{name} does not grow: min_workers is not below max_workers"
        if not kind.get("resources", {}).get("CPU"):
            yield f"{name} has no CPU to put session hosts on"
    if not any("--require-hashes" in line for line in prepared["setup_commands"]):
        yield "setup_commands install without hashes"
    for key, role in (
        ("head_start_ray_commands", "--head"),
        ("worker_start_ray_commands", ""),
    ):
        lines = prepared[key]
        if not any("ray start" in line and role in line for line in lines):
            yield f"{key} do not start Ray"
    if not any(APPLICATION in line for line in prepared["head_start_ray_commands"]):
        yield f"the head does not start {APPLICATION}"
    if any(APPLICATION in line for line in prepared["worker_start_ray_commands"]):
        yield f"workers start {APPLICATION}, which is the head's to do"
    if "--autoscaling-config" not in " ".join(prepared["head_start_ray_commands"]):
        yield "the head's Ray does not autoscale: --autoscaling-config is missing"


if __name__ == "__main__":
    sys.exit(main())
