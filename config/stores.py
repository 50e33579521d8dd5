"""The stores that the settings describe, as a process opens them."""

from __future__ import annotations

from config.errands import WebhookEndpoint
from config.settings import Settings
from context.exchange import Exchange, HostReports, Report
from context.memory import ContextMemory, ContextOptions
from contracts.errands import Hook
from contracts.limits import Shared


def memory_of(settings: Settings) -> ContextMemory:
    """Postgres and Redis, not opened yet. The launcher sets both addresses where none is given."""
    context = settings.context
    assert context.database_url is not None and context.redis_url is not None
    return ContextMemory(
        context.database_url.get_secret_value(),
        context.redis_url.get_secret_value(),
        ContextOptions(
            hot_ttl_s=context.hot_ttl_s,
            journal_ttl_s=context.journal_ttl_s,
            window_messages=context.window_messages,
            pool_min=context.pool_min,
            pool_max=context.pool_max,
            redis_connections=context.redis_connections,
            gather_s=context.gather_ms / 1000,
            group_max=context.group_max,
            queue_max=context.queue_max,
            connect_timeout_s=context.connect_timeout_s,
            postgres_timeout_s=context.postgres_timeout_s,
            redis_timeout_s=context.redis_timeout_s,
            redis_retry_s=context.redis_retry_s,
            migrate_timeout_s=context.migrate_timeout_s,
            hooks=tuple(hook_of(endpoint) for endpoint in settings.webhooks.endpoints),
        ),
    )


def exchange_of(
    settings: Settings, host_id: str, shared: Shared, report: Report | None
) -> Exchange:
    """What hosts tell each other, not opened yet."""
    context = settings.context
    assert context.redis_url is not None
    return Exchange(
        context.redis_url.get_secret_value(),
        host_id,
        shared,
        report,
        timeout_s=context.redis_timeout_s,
        retry_s=context.redis_retry_s,
    )


def reports_of(settings: Settings) -> HostReports:
    """What hosts tell people."""
    context = settings.context
    assert context.redis_url is not None
    return HostReports(context.redis_url.get_secret_value(), timeout_s=context.redis_timeout_s)


def hook_of(endpoint: WebhookEndpoint) -> Hook:
    """What the store has to know of an endpoint."""
    statuses = frozenset(event.removeprefix("response.") for event in endpoint.events)
    return Hook(endpoint.name, statuses, endpoint.only_background)
