from __future__ import annotations

from pathlib import Path

import pytest

from launcher.ray_env import (
    FDS_PER_CONNECTION,
    Limits,
    PortPlan,
    max_connections,
    merged,
    ray_env,
)
from tests.house.paths import ROOT

LIMITS = Limits(open_files=65536, cpus=2, haproxy=True)
SCRATCH = Path("/tmp/troupe-1000/0123abcd")
TOKEN = Path("/home/someone/troupe/.troupe/ray-token-8000")


def variables(first: int = 20_000, limits: Limits = LIMITS) -> dict[str, str]:
    return ray_env(limits, PortPlan(first), SCRATCH, TOKEN)


@pytest.mark.parametrize("open_files", [1024, 4096, 65536, 131_072])
def test_haproxy_never_runs_out_of_file_descriptors(open_files: int) -> None:
    connections = max_connections(open_files)
    assert connections * FDS_PER_CONNECTION < open_files
    assert connections >= 64


def test_no_two_ports_of_an_instance_are_the_same() -> None:
    plan = PortPlan(20_000)
    single = [
        plan.simulator,
        plan.fallback_http,
        plan.fallback_grpc,
        plan.haproxy_metrics,
        plan.haproxy_stats,
        plan.dashboard,
    ]
    ranges = [*range(*plan.replicas_http), *range(*plan.replicas_grpc)]
    ports = single + ranges
    assert len(ports) == len(set(ports))
    assert min(ports) >= 20_000 and max(ports) < 20_100


def test_two_instances_share_no_port() -> None:
    """Every variable that holds a port differs between two blocks."""
    one, other = variables(20_000), variables(20_100)
    ports = [name for name in one if name.endswith("_PORT")]
    assert len(ports) == 8
    assert all(one[name] != other[name] for name in ports)


def test_every_path_of_haproxy_is_the_instance_s_own() -> None:
    paths = {name: text for name, text in variables().items() if "/" in text and "HAPROXY" in name}
    assert len(paths) == 5
    assert all(text.startswith(str(SCRATCH)) for text in paths.values())


def test_the_socket_s_path_fits_with_what_serve_and_haproxy_add() -> None:
    socket = Path(variables()["RAY_SERVE_HAPROXY_SOCKET_PATH"])
    node, pid = "0" * 56, ".4194304.tmp"
    assert len(str(socket.parent / node / socket.name) + pid) <= 107


def test_without_its_binary_there_is_no_haproxy() -> None:
    found = variables(limits=Limits(open_files=1024, cpus=2, haproxy=False))
    assert found["RAY_SERVE_ENABLE_HA_PROXY"] == "0"
    assert not any("HAPROXY_" in name for name in found)


def test_what_a_person_set_wins_but_not_the_address_of_their_own_cluster() -> None:
    theirs = {"RAY_SERVE_HAPROXY_NBTHREAD": "7", "RAY_ADDRESS": "10.0.0.1:6379", "HOME": "/root"}
    result = merged(theirs, variables())
    assert result["RAY_SERVE_HAPROXY_NBTHREAD"] == "7"
    assert result["HOME"] == "/root"
    assert "RAY_ADDRESS" not in result


def test_the_cluster_s_nodes_get_the_same_settings() -> None:
    """deploy/ray.env says for many machines what this says for one."""
    lines = (ROOT / "deploy" / "ray.env").read_text().splitlines()
    pairs = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert pairs.items() <= variables().items() | {
        ("RAY_SERVE_HAPROXY_MAXCONN", str(max_connections(65536)))
    }
