"""The composition root: settings to deployments to one Serve application.

`launcher` calls `run` in a cluster of its own; on a cluster that is there already, use
`serve run serve_app:app`. No class may be defined here: Ray would pickle it by value.
"""

from __future__ import annotations

import os
from typing import Any

import ray
from ray import serve

from actors.directory import NAME, connect, open_directory
from actors.host import NAMESPACE
from config.load import load
from config.settings import Settings
from gateway.deployment import gateway

APP_NAME = "troupe"


def app(args: dict[str, str]) -> Any:
    """For `serve run serve_app:app` and Serve's YAML: settings from files and environment."""
    del args
    return gateway(load(os.environ), connect)


def run(settings: Settings) -> None:
    """Bring up hosts and gateways in the connected cluster; returns when requests are answered.

    Serve must have been started, since where it listens is the cluster's business.
    """
    # Hosts and gateways start at the same time; both take seconds to import what they use.
    hosts = open_directory(settings).start.remote()
    serve.run(gateway(settings, connect), name=APP_NAME, route_prefix="/")
    ray.get(hosts)


def drain(timeout_s: float) -> None:
    """Let hosts keep what runs; after this the cluster may be taken down at once."""
    directory = ray.get_actor(NAME, namespace=NAMESPACE)
    ray.get(directory.drain.remote(), timeout=timeout_s)
