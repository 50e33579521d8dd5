"""The environment of a local Ray and its Serve: every variable that an instance sets, in one place.

A pure function of limits and places. Ray reads these once, in every process, so they must be there
before the first import of `ray`. Variables that a person set already win: see `merged`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FDS_PER_CONNECTION = 2.5
"""What HAProxy needs: one side, the other, and half a pipe for splicing."""
FDS_APART = 256
MOST_CONNECTIONS = 50_000
HTTP_REPLICA_PORTS = 40
GRPC_REPLICA_PORTS = 40


@dataclass(frozen=True, slots=True)
class Limits:
    """What the machine gives.

    Args:
        open_files: File descriptors a process may have.
        cpus: Processors.
        haproxy: Whether HAProxy's binary is there.
    """

    open_files: int
    cpus: int
    haproxy: bool


@dataclass(frozen=True, slots=True)
class PortPlan:
    """Who listens where within the instance's block of 100 ports."""

    first: int

    @property
    def simulator(self) -> int:
        return self.first

    @property
    def fallback_http(self) -> int:
        return self.first + 1

    @property
    def fallback_grpc(self) -> int:
        return self.first + 2

    @property
    def haproxy_metrics(self) -> int:
        return self.first + 3

    @property
    def haproxy_stats(self) -> int:
        return self.first + 4

    @property
    def dashboard(self) -> int:
        return self.first + 5

    @property
    def replicas_http(self) -> tuple[int, int]:
        return self.first + 10, self.first + 10 + HTTP_REPLICA_PORTS

    @property
    def replicas_grpc(self) -> tuple[int, int]:
        return self.first + 55, self.first + 55 + GRPC_REPLICA_PORTS


def max_connections(open_files: int) -> int:
    """How many connections HAProxy may take, so that it never runs out of file descriptors."""
    return max(64, min(MOST_CONNECTIONS, int((open_files - FDS_APART) / FDS_PER_CONNECTION)))


def ray_env(limits: Limits, ports: PortPlan, scratch: Path, token: Path) -> dict[str, str]:
    """All variables. `scratch` must be short: HAProxy adds 75 bytes to make a socket's path."""
    return {
        **_private(token),
        **_quick_start(),
        **_quiet(),
        **_serve(limits, ports),
        **(_haproxy(limits, ports, scratch) if limits.haproxy else {}),
    }


def merged(environ: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Ours, overlaid by what a person set; their own cluster's address is not for this one."""
    theirs = {
        key: value for key, value in environ.items() if key not in ("RAY_ADDRESS", "RAY_JOB_ID")
    }
    return {**ours, **theirs}


def _private(token: Path) -> dict[str, str]:
    return {
        # Whoever reaches Ray's ports may run code: ask for a token, and keep it in the checkout
        # rather than in the one file that all of a user's clusters would share.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _quick_start() -> dict[str, str]:
    return {
        # The raylet looks for its own object store at once, and so finds it not there; the
        # default is to look again after a whole second.
        "RAY_raylet_client_connect_timeout_milliseconds": "20",
        "RAY_raylet_client_num_connect_attempts": "1000",
        # Threads that numpy would start in every process, for arithmetic that nobody does.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _quiet() -> dict[str, str]:
    """What an idle cluster would do several times a second, for readers that are not there.

    Nothing here is how a death is noticed: that is a connection which closes.
    """
    return {
        "RAY_enable_metrics_collection": "0",
        "RAY_enable_open_telemetry": "0",
        "RAY_metrics_report_interval_ms": "60000",
        "RAY_task_events_report_interval_ms": "0",
        "RAY_enable_timeline": "0",
        "RAY_event_stats": "0",
        "RAY_debug_dump_period_milliseconds": "0",
        "RAY_raylet_report_resources_period_milliseconds": "1000",
        "RAY_raylet_check_gc_period_milliseconds": "10000",
        "RAY_gcs_pull_resource_loads_period_milliseconds": "5000",
        "RAY_report_worker_backlog_interval_ms": "5000",
        "RAY_memory_monitor_refresh_ms": "1000",
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "10000",
        "RAY_SERVE_EVENT_LOOP_MONITORING_INTERVAL_S": "60",
        "RAY_SERVE_LOG_TO_STDERR": "0",
    }


def _serve(limits: Limits, ports: PortPlan) -> dict[str, str]:
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1" if limits.haproxy else "0",
        # One loop for the gateway: a hop between threads per frame costs more than it protects.
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "100",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports.fallback_http),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports.fallback_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(ports.replicas_http[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(ports.replicas_http[1]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(ports.replicas_grpc[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(ports.replicas_grpc[1]),
    }


def _haproxy(limits: Limits, ports: PortPlan, scratch: Path) -> dict[str, str]:
    folder = scratch / "h"
    return {
        "RAY_SERVE_HAPROXY_MAXCONN": str(max_connections(limits.open_files)),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(max(1, limits.cpus // 4)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "a"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "m"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.haproxy_metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.haproxy_stats),
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # After every change of replicas the former HAProxy process lives on for its connections;
        # the default cuts WebSockets after two minutes.
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "3600",
        # Ports of replicas that are gone: the former process holds on to them, so with a block of
        # forty they must come back sooner than it ends. A stale connection meets a gateway all
        # the same, since nothing else uses them.
        "RAY_SERVE_PORT_QUARANTINE_S": "30",
        # A HAProxy that died is noticed by the third of these; ten seconds apart it would be away
        # for half a minute. Sooner than that, a slow reload would be taken for a death.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        # First probe of a new gateway after 250 ms, twice; one that hangs is found in 2 s.
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
    }
