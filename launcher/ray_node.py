"""A local Ray that starts only what this instance uses, and its Serve. Run inside `driver` alone.

`ray.init` starts a node with a dashboard server, an autoscaler's monitor and a log reader, each an
interpreter with imports of its own; none of them does anything for one machine without a dashboard.
There is no switch for them, so the class that `ray.init` makes its node from is replaced. These are
Ray's private names: the version is pinned to the minor, and `tests/launcher` starts the real thing.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import ray
from ray._private import node, ray_constants, services

NAMESPACE = "serve"
OBJECT_STORE_BYTES = 200 * 1024 * 1024
"""Arguments and results above 100 KB go there; sessions and gateways exchange none."""
LOOPBACK = "127.0.0.1"
HERE = Path(__file__).parent


class LocalNode(node.Node):
    """A head node without what only dashboards, autoscalers and consoles need."""

    def __init__(self, ray_params: Any, **options: Any) -> None:
        ray_params.no_monitor = True
        ray_params.include_log_monitor = False
        # `ray.init` turns 127.0.0.1 into an address that others reach; nobody else shall, and an
        # address changes when a laptop changes its network.
        ray_params.node_ip_address = LOOPBACK
        ray_params.setup_worker_path = str(HERE / "entry.py")
        super().__init__(ray_params, **options)

    def start_api_server(self, **_: Any) -> None:
        """Not started: with `include_dashboard=False` it would count usage, which is off."""


def start_ray(scratch: Path, cpus: int, dashboard_port: int = 0) -> None:
    """Start the cluster of this machine and connect to it.

    Args:
        scratch: Folder for sockets and logs; short, see `places`.
        cpus: How many processors tasks may ask for in all.
        dashboard_port: Where Ray's dashboard listens; 0: none, and nothing that serves it.
    """
    if not dashboard_port:
        _leave_out_the_dashboard()
    ray.init(
        address="local",
        namespace=NAMESPACE,
        num_cpus=cpus,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=bool(dashboard_port),
        dashboard_port=dashboard_port or None,
        log_to_driver=False,
        logging_level=logging.WARNING,
        configure_logging=False,
        _node_ip_address=LOOPBACK,
        _temp_dir=str(scratch),
    )


def _leave_out_the_dashboard() -> None:
    node.Node = LocalNode
    original = services._build_python_executable_command_memory_profileable

    def command_of(component: str, session: str, unbuffered: bool = True) -> list[str]:
        if component == ray_constants.PROCESS_TYPE_DASHBOARD_AGENT:
            return [sys.executable, "-I", "-S", str(HERE / "quiet_agent.py")]
        if component == ray_constants.PROCESS_TYPE_RUNTIME_ENV_AGENT:
            return [sys.executable, "-I", "-S", str(HERE / "entry.py")]
        return original(component, session, unbuffered)

    services._build_python_executable_command_memory_profileable = command_of


def start_serve(host: str, port: int) -> None:
    """Start Serve's controller and proxies, without waiting for the proxies.

    `serve.start` waits until they are up; deployments can start meanwhile. `serve.run` then waits
    until requests are answered, so nothing is lost by not waiting here.
    """
    from ray.serve._private.api import _coerce_controller_options, _create_controller_and_proxy_refs
    from ray.serve._private.client import ServeControllerClient
    from ray.serve.context import _set_global_client

    controller, _ = _create_controller_and_proxy_refs(
        {"host": host, "port": port}, None, None, None, _coerce_controller_options(None)
    )
    _set_global_client(ServeControllerClient(controller))
