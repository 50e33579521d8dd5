"""A person at the cluster of a running Troupe: looks at its actors, deploys anew, drains its node.

    python -m tests.support.operator GCS_ADDRESS

It is a process of its own, with the instance's environment: Ray reads that once, and a test's
process belongs to no cluster. Lines of JSON go in and out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from typing import Any, Self

import psutil

from tests.support.quietly import quietly
from tests.support.troupe import ROOT, RunningTroupe

ORGANIZATION = "org_default"


class Operator:
    """Such a process, from `with` to the end of the block.

    Args:
        troupe: Whose cluster it is.

    Raises:
        RuntimeError: What was asked for failed; the message says how.
    """

    def __init__(self, troupe: RunningTroupe) -> None:
        processes = {quietly(process.name, ""): process for process in troupe.processes()}
        raylet = processes["raylet"]
        address = next(
            word.split("=", 1)[1] for word in raylet.cmdline() if word.startswith("--gcs-address=")
        )
        self._command = [sys.executable, "-m", "tests.support.operator", address]
        # It is no part of the instance, whose end would otherwise take it along.
        ours = ("LAUNCHER_INSTANCE", "LAUNCHER_NURSERY")
        self._environ = {key: text for key, text in raylet.environ().items() if key not in ours}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            operator = psutil.Process(self._process.pid)
            nodes = quietly(lambda: operator.children(recursive=True), [])
            self._process.kill()
            self._process.communicate()
            for process in nodes:
                quietly(process.kill, None)
            psutil.wait_procs(nodes)

    def actors(self) -> dict[str, int]:
        """The living actors of Troupe's own, by name, with their pids."""
        return self._ask("actors")

    def hosts(self) -> dict[str, int]:
        """Those of them that are hosts."""
        return {name: pid for name, pid in self.actors().items() if name.startswith("host-")}

    def by_id(self) -> dict[str, str]:
        """The names of the hosts that answer, by their ids."""
        return self._ask("by_id")

    def where(self, *sessions: str) -> list[str]:
        """The ids of the hosts on which these sessions live."""
        return self._ask("where", sessions=sessions)

    def loads(self) -> dict[str, int]:
        """The ids of hosts that are up, with the sessions each holds."""
        return self._ask("loads")

    def deploy(self, **environ: str) -> int:
        """Deploy once more as `serve run serve_app:app` does, with these variables laid over.

        Returns the generation that came of it.
        """
        return self._ask("deploy", environ=environ)

    def add_node(self) -> None:
        """Give the cluster one more node; it goes with this process."""
        self._ask("add_node")

    def drain_node(self, seconds: float) -> None:
        """Tell the cluster that the node of the first host goes in so many seconds."""
        self._ask("drain_node", seconds=seconds)

    def _ask(self, do: str, **facts: Any) -> Any:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps({"do": do, **facts}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the operator has ended"}
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]


def main(address: str) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever is printed is no answer
    import ray
    from ray._private import services

    # The instance listens on loopback alone, which Ray takes for a mistake.
    services.resolve_ip_for_localhost = lambda host: host
    ray.init(
        address=address,
        namespace="serve",
        log_to_driver=False,
        configure_logging=False,
        _node_ip_address="127.0.0.1",
    )
    for line in sys.stdin:
        order = json.loads(line)
        try:
            value = globals()[f"do_{order.pop('do')}"](**order)
            answers.write(json.dumps({"value": value}) + "\n")
        except Exception:
            answers.write(json.dumps({"error": traceback.format_exc()}) + "\n")


def do_actors() -> dict[str, int]:
    from ray._private.state import actors

    return {
        actor["Name"]: actor["Pid"]
        for actor in actors().values()
        if actor["State"] == "ALIVE" and actor["Name"].startswith(("host-", "directory"))
    }


def do_by_id() -> dict[str, str]:
    import ray

    names = [name for name in do_actors() if name.startswith("host-")]
    hosts = [ray.get_actor(name, namespace="troupe") for name in names]
    return dict(zip(ray.get([host.ping.remote() for host in hosts]), names, strict=True))


def do_where(sessions: list[str]) -> list[str]:
    import ray

    from contracts.commands import SessionKey

    keys = [SessionKey(ORGANIZATION, session) for session in sessions]
    return [address.host_id for address in ray.get(_directory().locate.remote(keys))]


def do_loads() -> dict[str, int]:
    import ray

    return ray.get(_directory().hosts.remote())


def do_deploy(environ: dict[str, str]) -> int:
    from ray import serve

    import serve_app

    os.environ.update(environ)
    before = do_generation()
    serve.run(serve_app.app({}), name=serve_app.APP_NAME, route_prefix="/")
    while (now := do_generation()) <= before:
        time.sleep(0.1)
    return now


def do_generation() -> int:
    import ray

    try:
        return ray.get(_directory().generation.remote())
    except (ValueError, ray.exceptions.RayActorError):
        return 0


def do_add_node() -> None:
    import ray
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    connected = ray._private.worker.global_worker.node
    Node(
        RayParams(
            gcs_address=connected.gcs_address,
            node_ip_address="127.0.0.1",
            num_cpus=4,
            memory=4 * 2**30,
            object_store_memory=100 * 2**20,
            temp_dir=connected.get_temp_dir_path(),
            include_log_monitor=False,
        ),
        head=False,
    )


def do_drain_node(seconds: float) -> None:
    import ray
    from ray._private.state import actors
    from ray.core.generated.autoscaler_pb2 import DrainNodeReason

    node = next(
        actor["Address"]["NodeID"]
        for actor in actors().values()
        if actor["State"] == "ALIVE" and actor["Name"].startswith("host-")
    )
    accepted, reason = ray._private.worker.global_worker.gcs_client.drain_node(
        node,
        DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"),
        "a test",
        int((time.time() + seconds) * 1000),
    )
    assert accepted, reason


def _directory() -> Any:
    import ray

    return ray.get_actor("directory", namespace="troupe")


if __name__ == "__main__":
    main(sys.argv[1])
