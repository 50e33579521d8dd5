"""The composition root: settings to deployments to one Serve application.

`launcher` calls `run` in a cluster of its own; on a cluster that is there already, use
`serve run serve_app:app`. No class may be defined here: Ray would pickle it by value.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import ray
from ray import serve

from actors.following import Following
from actors.host import APP_NAME, DIRECTORY, NAMESPACE
from actors.reach import connect, next_generation, open_directory
from config.load import load
from config.settings import Settings
from gateway.deployment import gateway
from router.deployment import router

CLOSE_S = 5.0
"""What hosts may take to close their stores, once turns have ended or were stopped."""


def app(args: dict[str, str]) -> Any:
    """For `serve run serve_app:app` and Serve's YAML: settings from files and environment.

    Hosts are brought up by the first gateway that starts: this may be called without a cluster.
    """
    del args
    return _gateway(load(os.environ), next_generation())


def run(settings: Settings) -> None:
    """Bring up hosts and gateways in the connected cluster; returns when requests are answered.

    Where Troupe runs already, these take its place: sessions move to the new hosts, and the old
    ones drain. Serve must have been started, since where it listens is the cluster's business.
    """
    generation = next_generation()
    # Hosts and gateways start at the same time; both take seconds to import what they use.
    hosts = open_directory(settings, generation).start.remote()
    serve.run(_gateway(settings, generation), name=APP_NAME, route_prefix="/")
    ray.get(hosts)


def _gateway(settings: Settings, generation: int) -> Any:
    beside = router(settings, Following)
    return gateway(
        settings,
        partial(connect, generation=generation),
        generation,
        () if beside is None else (beside,),
    )


def drain(deadline_s: float) -> None:
    """Let every session go; after this the cluster may be taken down at once.

    Turns that have not ended by the deadline go on when the application is up again.
    """
    directory = ray.get_actor(DIRECTORY, namespace=NAMESPACE)
    ray.get(directory.drain.remote(deadline_s), timeout=deadline_s + CLOSE_S)
