"""The errands that the settings describe, as a gateway runs them."""

from __future__ import annotations

from config.settings import Settings
from errands.courier import Endpoint, Patience
from errands.crew import Orders
from errands.janitor import Keeping
from errands.signing import key_of


def orders(settings: Settings) -> Orders:
    """What the errands of one gateway are to do."""
    webhooks, schedules, retention = settings.webhooks, settings.schedules, settings.retention
    return Orders(
        endpoints=tuple(
            Endpoint(one.name, one.url, key_of(one.secret.get_secret_value()))
            for one in webhooks.endpoints
            if one.secret is not None
        ),
        timeout_s=webhooks.timeout_s,
        deliveries=webhooks.concurrency,
        patience=Patience(webhooks.attempts, webhooks.backoff_s, webhooks.backoff_max_s),
        private=settings.environment == "development",
        webhooks_poll_s=webhooks.poll_s,
        late_s=schedules.late_s,
        begun=schedules.concurrency,
        submit_s=settings.gateway.request_timeout_s,
        schedules_poll_s=schedules.poll_s,
        keeping=Keeping(
            default_days=retention.default_days,
            organizations=retention.organizations,
            outbox_days=webhooks.keep_days,
            schedules_days=schedules.keep_days,
            spending_days=settings.budgets.keep_days,
        ),
        sweep_s=retention.sweep_s,
        per_second=retention.per_second,
    )
